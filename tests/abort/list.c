/* SPDX-License-Identifier: MIT */
/*
 * list.c: the sections of rseq/list.h, and that which opens a row again after a drain; see
 * subjects.h.
 */
#include "function.h"

#include <rseq/list.h>

/* Within the library: what opens a row for its own CPU, and its answer that it was aborted. */
#define RETRY_ABORTED	3
extern int rseq_percpu_retry(const struct rseq_rows *rows, size_t gate);

#define NR_MODES	2
#define NR_NODES	3		/* of each id and mode: in the list, and for conflicts */
#define CONFLICT_NODE	2

/* As the library marks a row that a drain holds, or has emptied. */
#define CLOSED		UINTPTR_MAX
#define RELEASED	(UINTPTR_MAX - 1)

static struct rseq_list *lists[NR_MODES];
static struct rseq_list_node *nodes[NR_MODES];	/* NR_NODES for each id */
static struct rseq_list_node *pushed;		/* by the operation, on whichever id */

static struct rseq_list_row *row_of(enum rseq_percpu_mode mode, int id)
{
	return (struct rseq_list_row *)(rseq_rows_of(lists[mode]).first +
					(size_t)id * RSEQ_PERCPU_STRIDE);
}

static struct rseq_list_node *node_of(enum rseq_percpu_mode mode, int id, int index)
{
	return &nodes[mode][id * NR_NODES + index];
}

/* ---- the functions ---- */

/* One function serves both modes, as one section does, all of whose ways are to be tried. */
BODY enum rseq_percpu_mode mode_of(const struct call *call)
{
	return call->object == lists[RSEQ_PERCPU_MM_CID] ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;
}

/* A try that fails does not say why. */
SUBJECT(list_try_push)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_list *object = call->object;
	struct rseq_list_node *item = call->item;
	int result;

	do {
		result = rseq_list_try_push(object, item, item) ? 0 : -1;
		if (result && RSEQ_READ_ONCE(row_of(mode, current_id(mode))->gate))
			result = 1;
	} while (once_more(call, mode, result));
	call->modified = CHANGED(object) || CHANGED(item);
	return result;
}

SUBJECT(list_try_pop)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_list *object = call->object;
	struct rseq_list_node *node;
	int result;

	do {
		node = rseq_list_try_pop(object);
		result = node == RSEQ_LIST_ABORTED ? -1 : !node;
	} while (once_more(call, mode, result));
	call->output = result ? 0 : (intptr_t)node;
	call->modified = CHANGED(object);
	return result;
}

END_OF_SUBJECTS

OUTER_SUBJECT(list_push)
{
	rseq_list_push(call->object, call->item);
	return 0;
}

OUTER_SUBJECT(list_pop)
{
	struct rseq_list_node *node = rseq_list_pop(call->object);

	call->output = (intptr_t)node;
	return !node;
}

OUTER_SUBJECT(list_push_slow)
{
	rseq_list_push_slow(call->object, call->item, call->item);
	return 0;
}

OUTER_SUBJECT(list_pop_slow)
{
	struct rseq_list_node *node = rseq_list_pop_slow(call->object, RSEQ_LIST_ABORTED);

	call->output = (intptr_t)node;
	return !node;
}

BODY int open_row(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_rows rows = rseq_rows_of(call->object);
	int result;

	do {
		result = rseq_percpu_retry(&rows, offsetof(struct rseq_list_row, gate));
		result = result == RETRY_ABORTED ? -1 : 0;
	} while (once_more(call, mode, result));
	return result;
}

OUTER_SUBJECT(list_open)
{
	return open_row(call, RSEQ_PERCPU_CPU_ID);
}

OUTER_SUBJECT(list_open_mm_cid)
{
	return open_row(call, RSEQ_PERCPU_MM_CID);
}

/* ---- the data: each id's row and nodes, for each mode ---- */

static struct region regions[] = {
	{ .name = "row", .stride = RSEQ_PERCPU_STRIDE, .nr = 2, .element = sizeof(intptr_t) },
	{ .name = "row by mm_cid", .stride = RSEQ_PERCPU_STRIDE, .nr = 2,
	  .element = sizeof(intptr_t) },
	{ .name = "node", .stride = NR_NODES * sizeof(struct rseq_list_node), .nr = NR_NODES,
	  .element = sizeof(struct rseq_list_node) },
	{ .name = "node by mm_cid", .stride = NR_NODES * sizeof(struct rseq_list_node),
	  .nr = NR_NODES, .element = sizeof(struct rseq_list_node) },
	{ .name = "pushed node", .nr = 1, .element = sizeof(struct rseq_list_node) },
};

static int init(void)
{
	for (int mode = 0; mode < NR_MODES; mode++) {
		lists[mode] = rseq_list_create_mode((enum rseq_percpu_mode)mode);
		nodes[mode] = data_shared((size_t)data_nr_ids() * NR_NODES *
					  sizeof(struct rseq_list_node));
		if (!lists[mode] || !nodes[mode])
			return -1;
		for (int id = 0; id < data_nr_ids(); id++)
			if (data_share(row_of((enum rseq_percpu_mode)mode, id),
				       sizeof(struct rseq_list_row)))
				return -1;
		regions[mode].base = rseq_rows_of(lists[mode]).first;
		regions[2 + mode].base = (char *)nodes[mode];
	}
	pushed = data_shared(sizeof(*pushed));
	regions[4].base = (char *)pushed;
	return pushed ? 0 : -1;
}

/* What an input's state says: how many nodes, and what the gate is. */
#define NODES(state)	((state) % NR_NODES)
#define GATE(state)	((state) / NR_NODES)
enum { OPEN = 0, IS_CLOSED = NR_NODES, IS_RELEASED = 2 * NR_NODES };

static void reset_mode(enum rseq_percpu_mode mode, int id, int state)
{
	static const uintptr_t gates[] = { 0, CLOSED, RELEASED };
	struct rseq_list_row *row = row_of(mode, id);

	row->head = NODES(state) ? node_of(mode, id, 0) : NULL;
	row->gate = gates[GATE(state)];
	for (int i = 0; i < NR_NODES; i++)
		node_of(mode, id, i)->next = i + 1 < NODES(state) ? node_of(mode, id, i + 1) : NULL;
}

static void reset(int id, const struct input *input)
{
	for (int mode = 0; mode < NR_MODES; mode++)
		reset_mode((enum rseq_percpu_mode)mode, id, input->state);
	pushed->next = NULL;
}

/* ---- the operations, and what they do ---- */

static const struct input try_inputs[] = {
	{ .name = "two nodes", .state = 2, .thorough = true },
	{ .name = "one node", .state = 1, .redundant = true },
	{ .name = "empty", .state = 0, .thorough = true },
	{ .name = "closed", .state = 2 + IS_CLOSED },
	{ .name = "released", .state = IS_RELEASED },
};

/*
 * A closed row makes the infallible operations wait for the drain, which does not end here. An
 * empty one makes pop look again out of its section, where a drain may come in between.
 */
static const struct input inputs[] = {
	{ .name = "two nodes", .state = 2, .thorough = true },
};

static const struct input opening_inputs[] = {
	{ .name = "released", .state = IS_RELEASED, .thorough = true },
};

static int push(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_list_row *row = row_of(mode, call->id);
	struct rseq_list_node *node = call->item;

	if (row->gate)
		return 1;
	node->next = row->head;
	row->head = node;
	return 0;
}

static int pop(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_list_row *row = row_of(mode, call->id);
	struct rseq_list_node *node = row->head;

	if (row->gate || !node)
		return 1;
	call->output = (intptr_t)node;
	row->head = node->next;
	return 0;
}

enum { PUSH, POP, POP_TWO_PUSH_FIRST, DRAIN };

#define OWN_OF_PUSH	(1U << POP | 1U << DRAIN)
#define OWN_OF_POP	(1U << PUSH | 1U << POP_TWO_PUSH_FIRST | 1U << DRAIN)

/* The operations of one mode. */
#define OPERATIONS(suffix, mode)							\
static void prepare_##suffix(struct call *call, const struct input *input, int id)	\
{											\
	(void)input;									\
	(void)id;									\
	call->object = lists[mode];							\
	call->item = pushed;								\
}											\
static void prepare_push_##suffix(struct call *call, const struct input *input, int id)	\
{											\
	prepare_##suffix(call, input, id);						\
	call->scratch = call->item;							\
	call->scratch_bytes = sizeof(struct rseq_list_node);				\
}											\
static int model_try_push_##suffix(struct call *call)					\
{											\
	return push(call, mode);							\
}											\
static int model_try_pop_##suffix(struct call *call)					\
{											\
	return pop(call, mode);								\
}											\
static int model_open_##suffix(struct call *call)					\
{											\
	row_of(mode, call->id)->gate = 0;						\
	return 0;									\
}											\
/* After a drain, they open the row. */							\
static int model_push_##suffix(struct call *call)					\
{											\
	model_open_##suffix(call);							\
	return push(call, mode);							\
}											\
static int model_pop_##suffix(struct call *call)					\
{											\
	model_open_##suffix(call);							\
	return pop(call, mode);								\
}											\
static const struct operation try_push_##suffix = {					\
	.temporaries = true, .own = OWN_OF_PUSH,					\
	.inputs = try_inputs, .nr_inputs = ARRAY_SIZE(try_inputs),			\
	.prepare = prepare_push_##suffix, .model = model_try_push_##suffix,		\
};											\
static const struct operation try_pop_##suffix = {					\
	.temporaries = true, .own = OWN_OF_POP, .outputs = 1,				\
	.inputs = try_inputs, .nr_inputs = ARRAY_SIZE(try_inputs),			\
	.prepare = prepare_##suffix, .model = model_try_pop_##suffix,			\
};											\
static const struct operation push_##suffix = {						\
	.temporaries = true, .own = OWN_OF_PUSH,					\
	.inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),				\
	.prepare = prepare_push_##suffix, .model = model_push_##suffix,			\
};											\
static const struct operation pop_##suffix = {						\
	.temporaries = true, .own = OWN_OF_POP, .outputs = 1,				\
	.inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),				\
	.prepare = prepare_##suffix, .model = model_pop_##suffix,			\
};											\
static const struct operation open_##suffix = {						\
	.own = 1U << DRAIN, .inputs = opening_inputs,					\
	.nr_inputs = ARRAY_SIZE(opening_inputs),					\
	.prepare = prepare_##suffix, .model = model_open_##suffix,			\
};

OPERATIONS(cpu_id, RSEQ_PERCPU_CPU_ID)
OPERATIONS(mm_cid, RSEQ_PERCPU_MM_CID)

/* ---- what others do meanwhile ---- */

static bool push_node(enum rseq_percpu_mode mode, int id, intptr_t node, runner *run)
{
	const struct operation *operation = mode ? &try_push_mm_cid : &try_push_cpu_id;
	struct call call;

	call_prepare(&call, operation, try_inputs, id);
	call.item = (void *)node;
	call.scratch = call.item;
	return run(operation, mode, &call) >= 0;
}

/* *node is 0 if there is none. */
static bool pop_node(enum rseq_percpu_mode mode, int id, intptr_t *node, runner *run)
{
	const struct operation *operation = mode ? &try_pop_mm_cid : &try_pop_cpu_id;
	struct call call;
	int result;

	call_prepare(&call, operation, try_inputs, id);
	call.output = 0;
	result = run(operation, mode, &call);
	*node = result ? 0 : call.output;
	return result >= 0;
}

static bool run_push(enum rseq_percpu_mode mode, int id, runner *run)
{
	return push_node(mode, id, (intptr_t)node_of(mode, id, CONFLICT_NODE), run);
}

static bool run_pop(enum rseq_percpu_mode mode, int id, runner *run)
{
	intptr_t node;

	return pop_node(mode, id, &node, run);
}

/* The head is the same again, and the node behind it is not. */
static bool run_pop_two_push_first(enum rseq_percpu_mode mode, int id, runner *run)
{
	intptr_t first, second;

	if (!pop_node(mode, id, &first, run) || !pop_node(mode, id, &second, run))
		return false;
	return !first || push_node(mode, id, first, run);
}

/* As another CPU does it, with a fence in between. */
static bool run_drain(enum rseq_percpu_mode mode, int id, runner *run)
{
	struct rseq_list_row *row = row_of(mode, id);

	(void)run;
	RSEQ_WRITE_ONCE(row->head, NULL);
	RSEQ_WRITE_ONCE(row->gate, RELEASED);
	return true;
}

static const struct conflict conflicts[] = {
	[PUSH] = { "list_push", .run = run_push },
	[POP] = { "list_pop", .run = run_pop },
	[POP_TWO_PUSH_FIRST] = { "two list_pop, and list_push of the first", .restores = true,
				 .run = run_pop_two_push_first },
	[DRAIN] = { "list_drain", .run = run_drain },
};

/* ---- all of it ---- */

#define ENTRY(name, operation, mode, keeps, code)					\
	{ #name, &operation, mode, keeps, (subject_function *)(name), (uintptr_t)(code), NULL }

static const struct subject list_subjects[] = {
	ENTRY(list_try_push, try_push_cpu_id, RSEQ_PERCPU_CPU_ID, ALL_KEPT, list_try_push),
	ENTRY(list_try_push, try_push_mm_cid, RSEQ_PERCPU_MM_CID, ALL_KEPT, list_try_push),
	ENTRY(list_try_pop, try_pop_cpu_id, RSEQ_PERCPU_CPU_ID, ALL_KEPT, list_try_pop),
	ENTRY(list_try_pop, try_pop_mm_cid, RSEQ_PERCPU_MM_CID, ALL_KEPT, list_try_pop),
	ENTRY(list_push, push_cpu_id, RSEQ_PERCPU_CPU_ID, false, list_push),
	ENTRY(list_pop, pop_cpu_id, RSEQ_PERCPU_CPU_ID, false, list_pop),
	ENTRY(list_push_slow, push_cpu_id, RSEQ_PERCPU_CPU_ID, false, rseq_list_push_slow),
	ENTRY(list_pop_slow, pop_cpu_id, RSEQ_PERCPU_CPU_ID, false, rseq_list_pop_slow),
	ENTRY(list_push_slow, push_mm_cid, RSEQ_PERCPU_MM_CID, false, rseq_list_push_slow),
	ENTRY(list_pop_slow, pop_mm_cid, RSEQ_PERCPU_MM_CID, false, rseq_list_pop_slow),
	ENTRY(list_push, push_mm_cid, RSEQ_PERCPU_MM_CID, false, list_push),
	ENTRY(list_pop, pop_mm_cid, RSEQ_PERCPU_MM_CID, false, list_pop),
	{ "list_open", &open_cpu_id, RSEQ_PERCPU_CPU_ID, false, list_open,
	  (uintptr_t)rseq_percpu_retry, NULL },
	{ "list_open_mm_cid", &open_mm_cid, RSEQ_PERCPU_MM_CID, false, list_open_mm_cid,
	  (uintptr_t)rseq_percpu_retry, NULL },
	{ 0 },
};

const struct structure list_structure = {
	.name = "list", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = list_subjects,
};
