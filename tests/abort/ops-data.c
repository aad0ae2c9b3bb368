/* SPDX-License-Identifier: MIT */
/*
 * ops-data.c: what the operations of rseq/ops.h work on and are tried with, and what they do, in
 * plain C, as their documentation says it.
 *
 * Each id has a word that points to a node of its row, so that every operation can work on it: it
 * is the head of a list, a pointer to a pointer, and a number that nodes are counted with.
 */
#include "ops.h"

#include <string.h>

#define NR_NODES	8
#define NR_LISTED	4		/* nodes in the list at first */
#define COPY_BYTES	256

/* Nodes that are put in front of the list: by the subject, and by conflicting operations. */
enum { NEW_NODE = NR_LISTED, STORED_NODE, DOUBLE_NODE, OTHER_NODE };

struct node {
	intptr_t next;
	intptr_t *count;
};

_Static_assert(sizeof(struct node) == ADDEND, "an addition leads to the next node");

struct row {
	intptr_t word;
	intptr_t second;		/* operand v2, and v of operations with constants */
	intptr_t loaded;		/* where an operation puts what it loaded */
	intptr_t conflict_loaded;	/* where a conflicting one does */
	intptr_t counts[NR_NODES];
	struct node nodes[NR_NODES];
	char copy[COPY_BYTES];
};

static struct row *rows;
static char (*sources)[COPY_BYTES];	/* of copies: by the subject, and by conflicts */

static intptr_t node_of(int id, int node)
{
	return node < 0 ? 0 : (intptr_t)&rows[id].nodes[node];
}

#define REGION(text, member, elements)							\
	{ .name = (text), .stride = sizeof(struct row), .nr = (elements),		\
	  .element = sizeof(((struct row *)NULL)->member) / (elements),			\
	  .base = (char *)offsetof(struct row, member) }

/* Their base is an offset at first. */
static struct region regions[] = {
	REGION("the word", word, 1),
	REGION("v2", second, 1),
	REGION("what was loaded", loaded, 1),
	REGION("what a conflict loaded", conflict_loaded, 1),
	REGION("count", counts, NR_NODES),
	REGION("node", nodes, NR_NODES),
	REGION("byte of the copy", copy, COPY_BYTES),
};

static int init(void)
{
	rows = data_shared((size_t)data_nr_ids() * sizeof(*rows));
	sources = data_shared(2 * sizeof(*sources));
	if (!rows || !sources)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		regions[i].base = (char *)rows + (uintptr_t)regions[i].base;
	for (size_t i = 0; i < COPY_BYTES; i++) {
		sources[0][i] = (char)(i % 61 + 'A');
		sources[1][i] = (char)(i % 59 + 2);
	}
	return 0;
}

static void reset(int id, const struct input *input)
{
	struct row *row = &rows[id];

	(void)input;
	memset(row, 0, sizeof(*row));
	row->word = node_of(id, 0);
	row->second = SECOND_OLD;
	row->loaded = -1;
	row->conflict_loaded = -1;
	for (int i = 0; i < NR_NODES; i++) {
		row->counts[i] = 1000 * id + 100 * i;
		row->nodes[i].count = &row->counts[i];
	}
	for (int i = 0; i + 1 < NR_LISTED; i++)
		row->nodes[i].next = node_of(id, i + 1);
	row->nodes[NEW_NODE].next = node_of(id, 0);
	memset(row->copy, '.', sizeof(row->copy));
}

/* ---- operands ---- */

/* Copies begin at odd addresses, too, but for those that are long. */
static void prepare(struct call *call, const struct input *input, int id)
{
	struct row *row = &rows[id];

	call->v = &row->word;
	call->v2 = &row->second;
	call->load = &row->loaded;
	call->expect = node_of(id, input->expect);
	call->expect2 = input->expect2;
	call->newv = node_of(id, NEW_NODE);
	call->newv2 = SECOND_NEW;
	call->count = ADDEND;
	call->offset = offsetof(struct node, next);
	call->src = sources[0] + input->len % 5;
	call->dst = row->copy + 16 + input->len % 3;
	call->len = input->len;
}

static void prepare_constant(struct call *call, const struct input *input, int id)
{
	prepare(call, input, id);
	call->v = &rows[id].second;
	call->expect = SECOND_OLD;
	call->newv = SECOND_NEW;
}

static void prepare_pop(struct call *call, const struct input *input, int id)
{
	prepare(call, input, id);
	call->scratch = call->load;
	call->scratch_bytes = sizeof(*call->load);
}

static void prepare_add_at(struct call *call, const struct input *input, int id)
{
	prepare(call, input, id);
	call->offset = offsetof(struct node, count);
}

static void prepare_store_store(struct call *call, const struct input *input, int id)
{
	prepare(call, input, id);
	call->scratch = call->v2;
	call->scratch_bytes = sizeof(*call->v2);
}

static void prepare_copy(struct call *call, const struct input *input, int id)
{
	prepare(call, input, id);
	call->scratch = call->dst;
	call->scratch_bytes = call->len;
}

static const struct input any[] = {
	{ .name = "-", .thorough = true },
};
static const struct input equal_or_not[] = {
	{ .name = "equal", .thorough = true },
	{ .name = "differs", .expect = STORED_NODE, .thorough = true },
};
static const struct input constants[] = {
	{ .name = "equal", .thorough = true },
};
static const struct input node_or_not[] = {
	{ .name = "node", .expect = -1, .thorough = true },
	{ .name = "equals", .expect = 0, .thorough = true },
};
static const struct input double_compare[] = {
	{ .name = "equal", .expect2 = SECOND_OLD, .thorough = true },
	{ .name = "first differs", .expect = STORED_NODE, .expect2 = SECOND_OLD, .thorough = true },
	{ .name = "second differs", .expect2 = SECOND_NEW + 2, .thorough = true },
};

/* All paths of a copy: each bit of a length below a block, ends that do and do not overlap. */
#define COPY(length)	{ .name = "len " #length, .len = (length) }
#define ALSO(length)	{ .name = "len " #length, .len = (length), .redundant = true }
static const struct input lengths[] = {
	{ .name = "differs", .expect = STORED_NODE, .len = 3, .thorough = true },
	{ .name = "len 40", .len = 40, .thorough = true },
	{ .name = "len 191", .len = 128 + 63, .thorough = true },
	{ .name = "len 191, narrow", .len = 128 + 63, .narrow = true },
	{ .name = "len 129, narrow", .len = 129, .narrow = true },
	COPY(0), COPY(1), COPY(3), COPY(5), COPY(12), COPY(24), COPY(80), COPY(129),
	ALSO(2), ALSO(4), ALSO(7), ALSO(8), ALSO(9), ALSO(15), ALSO(16), ALSO(17), ALSO(31),
	ALSO(32), ALSO(33), ALSO(47), ALSO(48), ALSO(63), ALSO(64), ALSO(65), ALSO(79), ALSO(112),
	ALSO(127), ALSO(128), ALSO(143), ALSO(160), ALSO(192),
};

/* ---- the model ---- */

static int load_cbne_store(struct call *call)
{
	if (*call->v != call->expect)
		return 1;
	*call->v = call->newv;
	return 0;
}

static int load_cbeq_store_add_load_store(struct call *call)
{
	if (*call->v == call->expect)
		return 1;
	*call->load = *call->v;
	*call->v = *(intptr_t *)(*call->v + call->offset);
	return 0;
}

static int load_add_store(struct call *call)
{
	*call->v += call->count;
	return 0;
}

static int load_add_load_load_add_store(struct call *call)
{
	intptr_t *p = *(intptr_t **)(*call->v + call->offset);

	*p += call->count;
	return 0;
}

static int load_cbne_load_cbne_store(struct call *call)
{
	if (*call->v != call->expect || *call->v2 != call->expect2)
		return 1;
	*call->v = call->newv;
	return 0;
}

static int load_cbne_store_store(struct call *call)
{
	if (*call->v != call->expect)
		return 1;
	*call->v2 = call->newv2;
	*call->v = call->newv;
	return 0;
}

static int load_cbne_memcpy_store(struct call *call)
{
	if (*call->v != call->expect)
		return 1;
	memcpy(call->dst, call->src, call->len);
	*call->v = call->newv;
	return 0;
}

/* ---- conflicts ---- */

enum {
	STORE, POP, ADD, ADD_AT, DOUBLE, STORE_STORE, COPY_STORE,
	SECOND,				/* v2 alone */
	ABA				/* pop, pop, push the first one back */
};

static bool store(enum rseq_percpu_mode mode, int id, intptr_t *v, intptr_t newv, runner *run)
{
	struct call call;

	call_prepare(&call, &ops[LOAD_CBNE_STORE], any, id);
	call.v = v;
	call.expect = *v;
	call.newv = newv;
	return run(&ops[LOAD_CBNE_STORE], mode, &call) >= 0;
}

/* In front of the list. */
static bool push(enum rseq_percpu_mode mode, int id, intptr_t node, runner *run)
{
	((struct node *)node)->next = rows[id].word;
	return store(mode, id, &rows[id].word, node, run);
}

static bool run_store(enum rseq_percpu_mode mode, int id, runner *run)
{
	return push(mode, id, node_of(id, STORED_NODE), run);
}

static int pop(enum rseq_percpu_mode mode, int id, runner *run)
{
	const struct input input = { .expect = -1 };
	struct call call;

	call_prepare(&call, &ops[LOAD_CBEQ_STORE_ADD_LOAD_STORE], &input, id);
	call.load = &rows[id].conflict_loaded;
	return run(&ops[LOAD_CBEQ_STORE_ADD_LOAD_STORE], mode, &call);
}

static bool run_pop(enum rseq_percpu_mode mode, int id, runner *run)
{
	return pop(mode, id, run) >= 0;
}

/* All others, with operands that suit the data as they are. */
static bool operate(int operation, enum rseq_percpu_mode mode, int id, int node, runner *run)
{
	const struct input input = { .len = 40 };
	struct call call;

	call_prepare(&call, &ops[operation], &input, id);
	call.expect = *call.v;
	call.expect2 = *call.v2;
	call.newv = node_of(id, node);
	call.newv2 = SECOND_NEW + 2;
	call.src = sources[1];
	return run(&ops[operation], mode, &call) >= 0;
}

static bool run_add(enum rseq_percpu_mode mode, int id, runner *run)
{
	return operate(LOAD_ADD_STORE, mode, id, 0, run);
}

static bool run_add_at(enum rseq_percpu_mode mode, int id, runner *run)
{
	return operate(LOAD_ADD_LOAD_LOAD_ADD_STORE, mode, id, 0, run);
}

static bool run_double(enum rseq_percpu_mode mode, int id, runner *run)
{
	return operate(LOAD_CBNE_LOAD_CBNE_STORE, mode, id, DOUBLE_NODE, run);
}

static bool run_store_store(enum rseq_percpu_mode mode, int id, runner *run)
{
	return operate(LOAD_CBNE_STORE_STORE, mode, id, OTHER_NODE, run);
}

static bool run_copy(enum rseq_percpu_mode mode, int id, runner *run)
{
	return operate(LOAD_CBNE_MEMCPY_STORE, mode, id, DOUBLE_NODE, run);
}

static bool run_second(enum rseq_percpu_mode mode, int id, runner *run)
{
	return store(mode, id, &rows[id].second, SECOND_NEW + 2, run);
}

static bool swap_neighbours(enum rseq_percpu_mode mode, int id, runner *run)
{
	intptr_t first = rows[id].word;
	int result = pop(mode, id, run);

	if (result)
		return result >= 0;
	return pop(mode, id, run) >= 0 && push(mode, id, first, run);
}

static const struct conflict conflicts[] = {
	[STORE] = { "load_cbne_store", .run = run_store },
	[POP] = { "load_cbeq_store_add_load_store", .run = run_pop },
	[ADD] = { "load_add_store", .run = run_add },
	[ADD_AT] = { "load_add_load_load_add_store", .run = run_add_at },
	[DOUBLE] = { "load_cbne_load_cbne_store", .run = run_double },
	[STORE_STORE] = { "load_cbne_store_store", .run = run_store_store },
	[COPY_STORE] = { "load_cbne_memcpy_store", .run = run_copy },
	[SECOND] = { "load_cbne_store of v2", .run = run_second },
	[ABA] = { "pop, pop, push", .restores = true, .run = swap_neighbours },
};

/* ---- all of it ---- */

#define OPERATION(conflict, values, prepares, does)					\
	{ .takes_id = true, .own = 1U << (conflict), .inputs = (values),		\
	  .nr_inputs = ARRAY_SIZE(values), .prepare = (prepares), .model = (does) }

const struct operation ops[NR_OPS] = {
	[LOAD_CBNE_STORE] = OPERATION(STORE, equal_or_not, prepare, load_cbne_store),
	[LOAD_CBEQ_STORE_ADD_LOAD_STORE] = OPERATION(POP, node_or_not, prepare_pop,
						     load_cbeq_store_add_load_store),
	[LOAD_ADD_STORE] = OPERATION(ADD, any, prepare, load_add_store),
	[LOAD_ADD_LOAD_LOAD_ADD_STORE] = OPERATION(ADD_AT, any, prepare_add_at,
						   load_add_load_load_add_store),
	[LOAD_CBNE_LOAD_CBNE_STORE] = OPERATION(DOUBLE, double_compare, prepare,
						load_cbne_load_cbne_store),
	[LOAD_CBNE_STORE_STORE] = OPERATION(STORE_STORE, equal_or_not, prepare_store_store,
					    load_cbne_store_store),
	[LOAD_CBNE_MEMCPY_STORE] = {
		.takes_id = true, .copies = true, .own = 1U << COPY_STORE,
		.inputs = lengths, .nr_inputs = ARRAY_SIZE(lengths),
		.prepare = prepare_copy, .model = load_cbne_memcpy_store,
	},
	[LOAD_CBNE_STORE_CONSTANT] = OPERATION(SECOND, constants, prepare_constant,
					       load_cbne_store),
	[LOAD_ADD_STORE_CONSTANT] = OPERATION(ADD, any, prepare, load_add_store),
};

const struct structure ops_structure = {
	.name = "ops", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = ops_subjects,
};
