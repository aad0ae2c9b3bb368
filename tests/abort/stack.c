/* SPDX-License-Identifier: MIT */
/*
 * stack.c: the sections of rseq/stack.h, and that which sets the bounds of a row; see subjects.h.
 *
 * What is above the newest item is of no meaning, and a try that is aborted leaves something there.
 */
#include "function.h"

#include <rseq/stack.h>

/* Within the library: what sets a bound of a row for its own CPU. */
extern int rseq_percpu_set(const struct rseq_rows *rows, int id, uintptr_t *word, uintptr_t value);

#define NR_MODES	2
#define CAPACITY	24
#define PUSHED		((void *)(uintptr_t)7777)
#define CONFLICT_PUSHED	((void *)(uintptr_t)9999)

/* As the library marks a row that another CPU works on, or has emptied. */
#define CLOSED		UINTPTR_MAX
#define RELEASED	(UINTPTR_MAX - 1)

struct row {
	uintptr_t top, limit, floor, setting;
	void *items[CAPACITY];
};

static struct rseq_stack *stacks[NR_MODES];
static void **popped;			/* by a batch, on whichever id */
static void **source;			/* of a batch */

static struct row *row_of(enum rseq_percpu_mode mode, int id)
{
	return (struct row *)(rseq_rows_of(stacks[mode]).first + (size_t)id * RSEQ_PERCPU_STRIDE);
}

BODY uintptr_t address_of(const struct row *row, uintptr_t item)
{
	return (uintptr_t)(row->items + item);
}

static uintptr_t count_of(const struct row *row)
{
	return row->top ? (row->top - address_of(row, 0)) / sizeof(void *) : 0;
}

BODY void clear(void **items, size_t from)
{
	for (size_t i = from; i < CAPACITY; i++)
		RSEQ_WRITE_ONCE(items[i], NULL);
}

/* ---- the functions ---- */

/* One function serves both modes, as one section does, all of whose ways are to be tried. */
BODY enum rseq_percpu_mode mode_of(const struct call *call)
{
	return call->object == stacks[RSEQ_PERCPU_MM_CID] ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;
}

/* A try that fails does not say why. */
BODY bool is_bound(enum rseq_percpu_mode mode, bool push)
{
	const struct row *row = row_of(mode, current_id(mode));

	if (push)
		return RSEQ_READ_ONCE(row->top) >= RSEQ_READ_ONCE(row->limit);
	return RSEQ_READ_ONCE(row->top) <= RSEQ_READ_ONCE(row->floor);
}

SUBJECT(stack_try_push)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_stack *object = call->object;
	void *item = call->item;
	int result;

	do {
		result = rseq_stack_try_push(object, item) ? 0 : -1;
		if (result && is_bound(mode, true))
			result = 1;
	} while (once_more(call, mode, result));
	call->modified = CHANGED(object) || CHANGED(item);
	return result;
}

SUBJECT(stack_try_pop)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_stack *object = call->object;
	void *item;
	int result;

	do {
		item = rseq_stack_try_pop(object);
		result = item ? 0 : -1;
		if (result && is_bound(mode, false))
			result = 1;
	} while (once_more(call, mode, result));
	call->output = (intptr_t)item;
	call->modified = CHANGED(object);
	return result;
}

END_OF_SUBJECTS

/* Copies change vector registers, too. */
BODY int try_push_batch(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_stack *object = call->object;
	char *src = call->src;
	size_t len = call->len, nr;
	int result;

	do {
		nr = rseq_stack_try_push_batch(object, (void **)src, len);
		result = nr ? 0 : -1;
		if (result && is_bound(mode, true))
			result = 1;
	} while (once_more(call, mode, result));
	call->output = (intptr_t)nr;
	call->modified = CHANGED(object) || CHANGED(src) || CHANGED(len);
	return result;
}

BODY int try_pop_batch(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_stack *object = call->object;
	char *dst = call->dst;
	size_t len = call->len, nr;
	int result;

	do {
		nr = rseq_stack_try_pop_batch(object, (void **)dst, len);
		result = nr ? 0 : -1;
		if (result && is_bound(mode, false))
			result = 1;
	} while (once_more(call, mode, result));
	call->output = (intptr_t)nr;
	call->modified = CHANGED(object) || CHANGED(dst) || CHANGED(len);
	clear((void **)dst, nr);
	return result;
}

OUTER_SUBJECT(stack_try_push_batch)
{
	return try_push_batch(call, RSEQ_PERCPU_CPU_ID);
}

OUTER_SUBJECT(stack_try_push_batch_mm_cid)
{
	return try_push_batch(call, RSEQ_PERCPU_MM_CID);
}

OUTER_SUBJECT(stack_try_pop_batch)
{
	return try_pop_batch(call, RSEQ_PERCPU_CPU_ID);
}

OUTER_SUBJECT(stack_try_pop_batch_mm_cid)
{
	return try_pop_batch(call, RSEQ_PERCPU_MM_CID);
}

OUTER_SUBJECT(stack_push)
{
	return rseq_stack_push(call->object, call->item) ? 1 : 0;
}

OUTER_SUBJECT(stack_pop)
{
	call->output = (intptr_t)rseq_stack_pop(call->object);
	return !call->output;
}

OUTER_SUBJECT(stack_push_batch_slow)
{
	call->output = (intptr_t)rseq_stack_push_batch_slow(call->object, (void **)call->src,
							    call->len);
	return !call->output;
}

OUTER_SUBJECT(stack_pop_batch_slow)
{
	call->output = (intptr_t)rseq_stack_pop_batch_slow(call->object, (void **)call->dst,
							   call->len);
	clear((void **)call->dst, (size_t)call->output);
	return !call->output;
}

BODY int set_limit(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_rows rows = rseq_rows_of(call->object);
	int id, result;

	do {
		id = current_id(mode);
		result = rseq_percpu_set(&rows, id, &row_of(mode, id)->limit,
					 address_of(row_of(mode, id), CAPACITY));
	} while (once_more(call, mode, result ? -1 : 0));
	return result ? -1 : 0;
}

OUTER_SUBJECT(stack_set_limit)
{
	return set_limit(call, RSEQ_PERCPU_CPU_ID);
}

OUTER_SUBJECT(stack_set_limit_mm_cid)
{
	return set_limit(call, RSEQ_PERCPU_MM_CID);
}

/* ---- the data: each id's row, for each mode ---- */

static struct region regions[] = {
	{ .name = "word of the row", .nr = sizeof(struct row) / sizeof(intptr_t),
	  .element = sizeof(intptr_t) },
	{ .name = "word of the row by mm_cid", .nr = sizeof(struct row) / sizeof(intptr_t),
	  .element = sizeof(intptr_t) },
	{ .name = "popped item", .nr = CAPACITY, .element = sizeof(void *) },
};

static int init(void)
{
	for (int m = 0; m < NR_MODES; m++) {
		enum rseq_percpu_mode mode = (enum rseq_percpu_mode)m;

		stacks[m] = rseq_stack_create_mode(CAPACITY, mode);
		if (!stacks[m])
			return -1;
		for (int id = 0; id < data_nr_ids(); id++)
			if (data_share(row_of(mode, id), sizeof(struct row)))
				return -1;
		regions[m].base = (char *)row_of(mode, 0);
		regions[m].stride = RSEQ_PERCPU_STRIDE;
	}
	popped = data_shared(CAPACITY * sizeof(*popped));
	source = data_shared(CAPACITY * sizeof(*source));
	if (!popped || !source)
		return -1;
	regions[NR_MODES].base = (char *)popped;
	for (uintptr_t i = 0; i < CAPACITY; i++)
		source[i] = (void *)(5000 + i);
	return 0;
}

/* What an input's state says: how many items, and what the bounds are. */
#define ITEMS(state)	((state) % 32)
#define BOUNDS(state)	((state) / 32)
enum { OPEN = 0, IS_CLOSED = 32, IS_RELEASED = 64, IS_UNTOUCHED = 96 };

static void reset_mode(enum rseq_percpu_mode mode, int id, int state)
{
	struct row *row = row_of(mode, id);
	const uintptr_t floors[] = { address_of(row, 0), CLOSED, RELEASED, 0 };
	size_t count = (size_t)ITEMS(state);

	row->top = state == IS_UNTOUCHED ? 0 : address_of(row, count);
	row->limit = BOUNDS(state) ? 0 : address_of(row, CAPACITY);
	row->floor = floors[BOUNDS(state)];
	row->setting = 0;
	clear(row->items, 0);
	while (count--)
		row->items[count] = (void *)((size_t)(id + 1) * 100 + count);
}

static void reset(int id, const struct input *input)
{
	for (int mode = 0; mode < NR_MODES; mode++)
		reset_mode((enum rseq_percpu_mode)mode, id, input->state);
	clear(popped, 0);
}

static void tidy(int id)
{
	for (int mode = 0; mode < NR_MODES; mode++) {
		struct row *row = row_of((enum rseq_percpu_mode)mode, id);

		if (count_of(row) < CAPACITY)
			clear(row->items, count_of(row));
	}
}

/* ---- the operations, and what they do ---- */

static const struct input push_inputs[] = {
	{ .name = "two items", .state = 2, .thorough = true },
	{ .name = "empty", .state = 0, .redundant = true },
	{ .name = "full", .state = CAPACITY, .thorough = true },
	{ .name = "closed", .state = 2 + IS_CLOSED },
	{ .name = "released", .state = IS_RELEASED },
	{ .name = "untouched", .state = IS_UNTOUCHED },
};

static const struct input pop_inputs[] = {
	{ .name = "two items", .state = 2, .thorough = true },
	{ .name = "full", .state = CAPACITY, .redundant = true },
	{ .name = "empty", .state = 0, .thorough = true },
	{ .name = "closed", .state = 2 + IS_CLOSED },
	{ .name = "released", .state = IS_RELEASED },
	{ .name = "untouched", .state = IS_UNTOUCHED },
};

/* All paths of a copy of whole words. A row that is full or empty is left before the section. */
#define LENGTH(items, length)	{ .name = #length " items", .state = (items), .len = (length) }
static const struct input push_batch_inputs[] = {
	{ .name = "five items", .state = 4, .len = 5, .thorough = true },
	{ .name = "more than fit", .state = CAPACITY - 3, .len = 5 },
	LENGTH(4, 1), LENGTH(4, 2), LENGTH(4, 3), LENGTH(4, 4), LENGTH(4, 8), LENGTH(4, 9),
	LENGTH(4, 10), LENGTH(4, 16), LENGTH(4, 18), LENGTH(2, 22),
	{ .name = "16 items, narrow", .state = 4, .len = 16, .narrow = true },
};

static const struct input pop_batch_inputs[] = {
	{ .name = "closed", .state = 10 + IS_CLOSED, .len = 5 },
	{ .name = "five items", .state = 10, .len = 5, .thorough = true },
	{ .name = "more than there are", .state = 3, .len = 5 },
	LENGTH(20, 1), LENGTH(20, 2), LENGTH(20, 3), LENGTH(20, 4), LENGTH(20, 8), LENGTH(20, 9),
	LENGTH(20, 10), LENGTH(20, 16), LENGTH(20, 18), LENGTH(23, 22),
	{ .name = "16 items, narrow", .state = 20, .len = 16, .narrow = true },
};

/*
 * A row that is not open makes the others open it under the stack's lock, which a conflict does not
 * take. An empty one makes pop look again out of its section, where a steal may come in between.
 */
static const struct input inputs[] = {
	{ .name = "two items", .state = 2, .len = 1, .thorough = true },
};

static const struct input opening_inputs[] = {
	{ .name = "released", .state = IS_RELEASED, .thorough = true },
};

static int push(struct call *call, enum rseq_percpu_mode mode, void *const *items, size_t nr)
{
	struct row *row = row_of(mode, call->id);
	uintptr_t count = count_of(row);

	if (row->top >= row->limit)
		return 1;
	if (nr > CAPACITY - count)
		nr = CAPACITY - count;
	for (size_t i = 0; i < nr; i++)
		row->items[count + i] = items[i];
	row->top = address_of(row, count + nr);
	call->output = (intptr_t)nr;
	return 0;
}

static int pop(struct call *call, enum rseq_percpu_mode mode, void **items, size_t nr)
{
	struct row *row = row_of(mode, call->id);

	if (row->top <= row->floor)
		return 1;
	if (nr > count_of(row))
		nr = count_of(row);
	row->top -= nr * sizeof(void *);
	for (size_t i = 0; i < nr; i++)
		items[i] = row->items[count_of(row) + i];
	call->output = (intptr_t)nr;
	return 0;
}

/* After a steal, operations that complete by themselves open the row. */
static void open_row(enum rseq_percpu_mode mode, int id)
{
	struct row *row = row_of(mode, id);

	if (row->floor != address_of(row, 0))
		row->limit = address_of(row, CAPACITY);
	row->floor = address_of(row, 0);
}

enum { PUSH, POP, SWAP, STEAL };

#define OWN_OF_PUSH	(1U << POP | 1U << SWAP | 1U << STEAL)
#define OWN_OF_POP	(1U << PUSH | 1U << SWAP | 1U << STEAL)
/* Where a steal makes it look at the row again, it need not be in the same one until it says so. */
#define OWN_OF_POP_SLOW	(1U << PUSH | 1U << SWAP)

#define OPERATION(of, who, suffix, model_of, ...)					\
static const struct operation of##_##suffix = {						\
	.temporaries = true, .own = OWN_OF_##who, .prepare = prepare_##suffix,		\
	.model = model_of##_##suffix, __VA_ARGS__					\
};

/* The operations of one mode. */
#define OPERATIONS(suffix, mode)							\
static void prepare_##suffix(struct call *call, const struct input *input, int id)	\
{											\
	struct row *row = row_of(mode, id);						\
											\
	call->object = stacks[mode];							\
	call->item = PUSHED;								\
	call->src = (char *)source;							\
	call->dst = (char *)popped;							\
	call->len = input->len;								\
	call->scratch = row->items + ITEMS(input->state);				\
	call->scratch_bytes = (size_t)(CAPACITY - ITEMS(input->state)) * sizeof(void *);	\
}											\
static void prepare_pop_##suffix(struct call *call, const struct input *input, int id)	\
{											\
	prepare_##suffix(call, input, id);						\
	call->scratch = popped;								\
	call->scratch_bytes = CAPACITY * sizeof(*popped);				\
}											\
static int model_try_push_##suffix(struct call *call)					\
{											\
	int result = push(call, mode, &call->item, 1);					\
											\
	call->output = 0;								\
	return result;									\
}											\
static int model_try_pop_##suffix(struct call *call)					\
{											\
	void *item = NULL;								\
	int result = pop(call, mode, &item, 1);						\
											\
	call->output = (intptr_t)item;							\
	return result;									\
}											\
static int model_push_batch_##suffix(struct call *call)					\
{											\
	return push(call, mode, (void **)call->src, call->len);				\
}											\
static int model_pop_batch_##suffix(struct call *call)					\
{											\
	return pop(call, mode, (void **)call->dst, call->len);				\
}											\
static int model_push_##suffix(struct call *call)					\
{											\
	open_row(mode, call->id);							\
	return model_try_push_##suffix(call);						\
}											\
static int model_pop_##suffix(struct call *call)					\
{											\
	open_row(mode, call->id);							\
	return model_try_pop_##suffix(call);						\
}											\
static int model_push_slow_##suffix(struct call *call)					\
{											\
	open_row(mode, call->id);							\
	return model_push_batch_##suffix(call);						\
}											\
static int model_pop_slow_##suffix(struct call *call)					\
{											\
	open_row(mode, call->id);							\
	return model_pop_batch_##suffix(call);						\
}											\
static int model_set_limit_##suffix(struct call *call)					\
{											\
	row_of(mode, call->id)->limit = address_of(row_of(mode, call->id), CAPACITY);	\
	return 0;									\
}											\
OPERATION(try_push, PUSH, suffix, model_try_push,					\
	  .inputs = push_inputs, .nr_inputs = ARRAY_SIZE(push_inputs))			\
OPERATION(try_pop, POP, suffix, model_try_pop, .outputs = 1,				\
	  .inputs = pop_inputs, .nr_inputs = ARRAY_SIZE(pop_inputs))			\
OPERATION(try_push_batch, PUSH, suffix, model_push_batch, .copies = true,		\
	  .inputs = push_batch_inputs, .nr_inputs = ARRAY_SIZE(push_batch_inputs))	\
OPERATION(push, PUSH, suffix, model_push,						\
	  .inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs))				\
OPERATION(pop, POP, suffix, model_pop, .outputs = 1,					\
	  .inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs))				\
OPERATION(push_slow, PUSH, suffix, model_push_slow, .copies = true,			\
	  .inputs = push_batch_inputs, .nr_inputs = ARRAY_SIZE(push_batch_inputs))	\
static const struct operation try_pop_batch_##suffix = {				\
	.temporaries = true, .copies = true, .own = OWN_OF_POP,				\
	.inputs = pop_batch_inputs, .nr_inputs = ARRAY_SIZE(pop_batch_inputs),		\
	.prepare = prepare_pop_##suffix, .model = model_pop_batch_##suffix,		\
};											\
static const struct operation pop_slow_##suffix = {					\
	.temporaries = true, .copies = true, .own = OWN_OF_POP_SLOW,				\
	.inputs = pop_batch_inputs + 1, .nr_inputs = ARRAY_SIZE(pop_batch_inputs) - 1,	\
	.prepare = prepare_pop_##suffix, .model = model_pop_slow_##suffix,		\
};											\
static const struct operation set_limit_##suffix = {					\
	.own = 1U << STEAL, .inputs = opening_inputs,					\
	.nr_inputs = ARRAY_SIZE(opening_inputs),					\
	.prepare = prepare_##suffix, .model = model_set_limit_##suffix,			\
};

OPERATIONS(cpu_id, RSEQ_PERCPU_CPU_ID)
OPERATIONS(mm_cid, RSEQ_PERCPU_MM_CID)

/* ---- what others do meanwhile ---- */

static bool push_item(enum rseq_percpu_mode mode, int id, void *item, runner *run)
{
	const struct operation *operation = mode ? &try_push_mm_cid : &try_push_cpu_id;
	struct call call;

	call_prepare(&call, operation, push_inputs, id);
	call.item = item;
	return run(operation, mode, &call) >= 0;
}

/* *item is NULL if there is none. */
static bool pop_item(enum rseq_percpu_mode mode, int id, void **item, runner *run)
{
	const struct operation *operation = mode ? &try_pop_mm_cid : &try_pop_cpu_id;
	struct call call;
	int result;

	call_prepare(&call, operation, pop_inputs, id);
	call.output = 0;
	result = run(operation, mode, &call);
	*item = (void *)call.output;
	return result >= 0;
}

static bool run_push(enum rseq_percpu_mode mode, int id, runner *run)
{
	return push_item(mode, id, CONFLICT_PUSHED, run);
}

static bool run_pop(enum rseq_percpu_mode mode, int id, runner *run)
{
	void *item;

	return pop_item(mode, id, &item, run);
}

/* The count is the same again, and the items are not. */
static bool run_swap(enum rseq_percpu_mode mode, int id, runner *run)
{
	void *first, *second;

	if (!pop_item(mode, id, &first, run) || !pop_item(mode, id, &second, run))
		return false;
	if (first && !push_item(mode, id, first, run))
		return false;
	return !second || push_item(mode, id, second, run);
}

/* As another CPU does it, with a fence in between. */
static bool run_steal(enum rseq_percpu_mode mode, int id, runner *run)
{
	struct row *row = row_of(mode, id);

	(void)run;
	RSEQ_WRITE_ONCE(row->limit, 0);
	RSEQ_WRITE_ONCE(row->floor, RELEASED);
	RSEQ_WRITE_ONCE(row->top, address_of(row, 0));
	return true;
}

static const struct conflict conflicts[] = {
	[PUSH] = { "stack_push", .run = run_push },
	[POP] = { "stack_pop", .run = run_pop },
	[SWAP] = { "two stack_pop, and stack_push of both", .restores = true, .run = run_swap },
	[STEAL] = { "stack_steal", .run = run_steal },
};

/* ---- all of it ---- */

#define ENTRY(name, operation, mode, keeps, code)					\
	{ #name, &operation, mode, keeps, (subject_function *)(name), (uintptr_t)(code), NULL }
#define ENTRIES(name, operation, keeps)							\
	ENTRY(name, operation##_cpu_id, RSEQ_PERCPU_CPU_ID, keeps, name),		\
	ENTRY(name##_mm_cid, operation##_mm_cid, RSEQ_PERCPU_MM_CID, keeps, name##_mm_cid)
#define ENTRIES_OF_ONE(name, operation, keeps, code)					\
	ENTRY(name, operation##_cpu_id, RSEQ_PERCPU_CPU_ID, keeps, code),		\
	ENTRY(name, operation##_mm_cid, RSEQ_PERCPU_MM_CID, keeps, code)

static const struct subject stack_subjects[] = {
	ENTRIES_OF_ONE(stack_try_push, try_push, ALL_KEPT, stack_try_push),
	ENTRIES_OF_ONE(stack_try_pop, try_pop, ALL_KEPT, stack_try_pop),
	ENTRIES(stack_try_push_batch, try_push_batch, false),
	ENTRIES(stack_try_pop_batch, try_pop_batch, false),
	ENTRIES_OF_ONE(stack_push, push, false, stack_push),
	ENTRIES_OF_ONE(stack_pop, pop, false, stack_pop),
	ENTRIES_OF_ONE(stack_push_batch_slow, push_slow, false, rseq_stack_push_batch_slow),
	ENTRIES_OF_ONE(stack_pop_batch_slow, pop_slow, false, rseq_stack_pop_batch_slow),
	ENTRY(stack_set_limit, set_limit_cpu_id, RSEQ_PERCPU_CPU_ID, false, rseq_percpu_set),
	ENTRY(stack_set_limit_mm_cid, set_limit_mm_cid, RSEQ_PERCPU_MM_CID, false,
	      rseq_percpu_set),
	{ 0 },
};

const struct structure stack_structure = {
	.name = "stack", .init = init, .reset = reset, .tidy = tidy,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = stack_subjects,
};
