/* SPDX-License-Identifier: MIT */
/*
 * mempool.c: the sections with which memory pools take items from the CPU's magazine, and
 * put them there.
 */
#include "function.h"

END_OF_SUBJECTS

#include "mempool-internal.h"

#include <string.h>

#define ITEM_BYTES	64
#define NR_LOADED	3		/* items in each magazine at first */
#define NR_ITEMS	(NR_LOADED + 2)

static struct rseq_mempool *pool;

/* The loaded ones, that of the subject, and that of conflicts; the same for all CPUs. */
static void *items[NR_ITEMS];

OUTER_SUBJECT(mempool_malloc)
{
	call->output = (intptr_t)rseq_mempool_percpu_malloc(pool);
	return 0;
}

OUTER_SUBJECT(mempool_free)
{
	librseq_mempool_percpu_free((void __rseq_percpu *)call->item, RSEQ_MEMPOOL_STRIDE);
	return 0;
}

/* ---- the data ---- */

#define REGION(text, member, elements)							\
	{ .name = (text), .stride = sizeof(struct mempool_magazine), .nr = (elements),	\
	  .element = sizeof(intptr_t),							\
	  .base = (char *)offsetof(struct mempool_magazine, member) }

/* Their base is an offset at first. */
static struct region regions[] = {
	REGION("the count", count, 1),
	REGION("item", items, MAGAZINE_ITEMS),
};

static int init(void)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	if (!attr || rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO))
		return -1;
	pool = rseq_mempool_create("abort", ITEM_BYTES, attr);
	rseq_mempool_attr_destroy(attr);
	if (!pool || !pool->magazines[ITEMS_USED])
		return -1;
	for (size_t i = 0; i < NR_ITEMS; i++) {
		items[i] = (void *)rseq_mempool_percpu_malloc(pool);
		if (!items[i])
			return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		regions[i].base = (char *)pool->magazines[ITEMS_USED] + (uintptr_t)regions[i].base;
	return data_share(pool->magazines[ITEMS_USED],
			  (size_t)data_nr_ids() * sizeof(struct mempool_magazine));
}

static void reset(int id, const struct input *input)
{
	struct mempool_magazine *magazine = &pool->magazines[ITEMS_USED][id];

	(void)input;
	memset(magazine, 0, sizeof(*magazine));
	magazine->count = NR_LOADED;
	for (size_t i = 0; i < NR_LOADED; i++)
		magazine->items[i] = (intptr_t)items[i];
}

/* What is above the count nobody sees. */
static void tidy(int id)
{
	struct mempool_magazine *magazine = &pool->magazines[ITEMS_USED][id];

	for (intptr_t i = magazine->count; i >= 0 && i < MAGAZINE_ITEMS; i++)
		magazine->items[i] = 0;
}

/* ---- the operations ---- */

static const struct input inputs[] = {
	{ .name = "-", .thorough = true },
};

static void prepare_malloc(struct call *call, const struct input *input, int id)
{
	(void)call;
	(void)input;
	(void)id;
}

static void prepare_free(struct call *call, const struct input *input, int id)
{
	(void)input;
	call->item = items[NR_LOADED];
	call->scratch = &pool->magazines[ITEMS_USED][id].items[NR_LOADED];
	call->scratch_bytes = sizeof(intptr_t);
}

static int take(struct call *call)
{
	struct mempool_magazine *magazine = &pool->magazines[ITEMS_USED][call->id];

	call->output = magazine->items[--magazine->count];
	return 0;
}

static int put(struct call *call)
{
	struct mempool_magazine *magazine = &pool->magazines[ITEMS_USED][call->id];

	magazine->items[magazine->count++] = (intptr_t)call->item;
	return 0;
}

enum { MALLOC, FREE, SWAP };

static const struct operation malloc_operation = {
	.own = 1U << MALLOC | 1U << FREE, .inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),
	.prepare = prepare_malloc, .model = take,
};
static const struct operation free_operation = {
	.own = 1U << MALLOC | 1U << FREE, .inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),
	.prepare = prepare_free, .model = put,
};

/* ---- conflicts ---- */

static bool take_one(enum rseq_percpu_mode mode, int id, runner *run, void **item)
{
	struct call call;
	bool well;

	call_prepare(&call, &malloc_operation, inputs, id);
	well = run(&malloc_operation, mode, &call) >= 0;
	*item = (void *)call.output;
	return well;
}

static bool put_one(enum rseq_percpu_mode mode, int id, runner *run, void *item)
{
	struct call call;

	call_prepare(&call, &free_operation, inputs, id);
	call.item = item;
	return run(&free_operation, mode, &call) >= 0;
}

static bool run_malloc(enum rseq_percpu_mode mode, int id, runner *run)
{
	void *item;

	return take_one(mode, id, run, &item);
}

static bool run_free(enum rseq_percpu_mode mode, int id, runner *run)
{
	return put_one(mode, id, run, items[NR_LOADED + 1]);
}

/* The count is the same afterwards. */
static bool run_swap(enum rseq_percpu_mode mode, int id, runner *run)
{
	void *first, *second;

	return take_one(mode, id, run, &first) && take_one(mode, id, run, &second) &&
	       put_one(mode, id, run, first) && put_one(mode, id, run, second);
}

static const struct conflict conflicts[] = {
	[MALLOC] = { "malloc", .run = run_malloc },
	[FREE] = { "free", .run = run_free },
	[SWAP] = { "malloc, malloc, free, free", .restores = true, .run = run_swap },
};

static const struct subject mempool_subjects[] = {
	{ "mempool_malloc", &malloc_operation, RSEQ_PERCPU_CPU_ID, false, mempool_malloc, 0, NULL },
	{ "mempool_free", &free_operation, RSEQ_PERCPU_CPU_ID, false, mempool_free, 0, NULL },
	{ 0 },
};

const struct structure mempool_structure = {
	.name = "mempool", .init = init, .reset = reset, .tidy = tidy,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = mempool_subjects,
};
