/* SPDX-License-Identifier: MIT */
/*
 * model.c: the operations in plain C, as their documentation says them, and what each is tried
 * with.
 */
#include "data.h"

#include <string.h>

const char *const conflict_names[NR_CONFLICTS] = {
	[CONFLICT_NONE] = "nothing",
	[CONFLICT_STORE] = "load_cbne_store",
	[CONFLICT_POP] = "load_cbeq_store_add_load_store",
	[CONFLICT_ADD] = "load_add_store",
	[CONFLICT_ADD_AT] = "load_add_load_load_add_store",
	[CONFLICT_DOUBLE] = "load_cbne_load_cbne_store",
	[CONFLICT_STORE_STORE] = "load_cbne_store_store",
	[CONFLICT_COPY] = "load_cbne_memcpy_store",
	[CONFLICT_COUNTER] = "counter_add",
	[CONFLICT_SECOND] = "load_cbne_store of v2",
	[CONFLICT_ABA] = "pop, pop, push",
};

static int load_add_load_load_add_store(struct call *call)
{
	intptr_t *p = *(intptr_t **)(*call->v + call->offset);

	*p += call->count;
	return 0;
}

int model_run(enum operation operation, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *counted = (intptr_t *)((uintptr_t)call->counter +
					 (uintptr_t)call->id * RSEQ_PERCPU_STRIDE);

	(void)mode;
	switch (operation) {
	case LOAD_CBNE_STORE:
		if (*call->v != call->expect)
			return 1;
		*call->v = call->newv;
		return 0;
	case LOAD_CBEQ_STORE_ADD_LOAD_STORE:
		if (*call->v == call->expect)
			return 1;
		*call->load = *call->v;
		*call->v = *(intptr_t *)(*call->v + call->offset);
		return 0;
	case LOAD_ADD_STORE:
		*call->v += call->count;
		return 0;
	case LOAD_ADD_LOAD_LOAD_ADD_STORE:
		return load_add_load_load_add_store(call);
	case LOAD_CBNE_LOAD_CBNE_STORE:
		if (*call->v != call->expect || *call->v2 != call->expect2)
			return 1;
		*call->v = call->newv;
		return 0;
	case LOAD_CBNE_STORE_STORE:
		if (*call->v != call->expect)
			return 1;
		*call->v2 = call->newv2;
		*call->v = call->newv;
		return 0;
	case LOAD_CBNE_MEMCPY_STORE:
		if (*call->v != call->expect)
			return 1;
		memcpy(call->dst, call->src, call->len);
		*call->v = call->newv;
		return 0;
	default:
		*counted += call->count;
		return 0;
	}
}

int real_run(enum operation operation, enum rseq_percpu_mode mode, struct call *call)
{
	const struct subject *subject = subjects;
	int result = -1;

	while (subject->operation != operation || subject->mode != mode || subject->constant)
		if (++subject == subjects + nr_subjects)
			return -1;
	for (int tries = 0; result < 0 && tries < 1000; tries++) {
		if (current_id(mode) != call->id)
			return -1;
		call->tries_left = 3;
		result = subject->function(call);
	}
	return result;
}

static const struct input any[] = {
	{ .name = "-", .thorough = true },
};
static const struct input equal_or_not[] = {
	{ .name = "equal", .thorough = true },
	{ .name = "differs", .expect = STORED_NODE, .thorough = true },
};
static const struct input constants[] = {
	{ .name = "equal", .second = true, .thorough = true },
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
	COPY(0), COPY(1), COPY(3), COPY(5), COPY(12), COPY(24), COPY(80), COPY(129),
	ALSO(2), ALSO(4), ALSO(7), ALSO(8), ALSO(9), ALSO(15), ALSO(16), ALSO(17), ALSO(31),
	ALSO(32), ALSO(33), ALSO(47), ALSO(48), ALSO(63), ALSO(64), ALSO(65), ALSO(79), ALSO(112),
	ALSO(127), ALSO(128), ALSO(143), ALSO(160), ALSO(192),
};

#define INPUTS(array)	(*inputs = (array), sizeof(array) / sizeof((array)[0]))

size_t inputs_of(const struct subject *subject, const struct input **inputs)
{
	switch (subject->operation) {
	case LOAD_CBNE_STORE:
		return subject->constant ? INPUTS(constants) : INPUTS(equal_or_not);
	case LOAD_CBEQ_STORE_ADD_LOAD_STORE:
		return INPUTS(node_or_not);
	case LOAD_CBNE_LOAD_CBNE_STORE:
		return INPUTS(double_compare);
	case LOAD_CBNE_STORE_STORE:
		return INPUTS(equal_or_not);
	case LOAD_CBNE_MEMCPY_STORE:
		return INPUTS(lengths);
	default:
		return INPUTS(any);
	}
}

enum conflict own_conflict(const struct subject *subject)
{
	switch (subject->operation) {
	case LOAD_CBNE_STORE:
		return subject->constant ? CONFLICT_SECOND : CONFLICT_STORE;
	case LOAD_CBEQ_STORE_ADD_LOAD_STORE:
		return CONFLICT_POP;
	case LOAD_ADD_STORE:
		return CONFLICT_ADD;
	case LOAD_ADD_LOAD_LOAD_ADD_STORE:
		return CONFLICT_ADD_AT;
	case LOAD_CBNE_LOAD_CBNE_STORE:
		return CONFLICT_DOUBLE;
	case LOAD_CBNE_STORE_STORE:
		return CONFLICT_STORE_STORE;
	case LOAD_CBNE_MEMCPY_STORE:
		return CONFLICT_COPY;
	default:
		return CONFLICT_COUNTER;
	}
}

/* A counter goes by the CPU number, which excludes no operation that goes by the concurrency id. */
bool conflict_applies(enum conflict conflict, enum rseq_percpu_mode mode)
{
	return conflict != CONFLICT_COUNTER || mode == RSEQ_PERCPU_CPU_ID;
}
