/* SPDX-License-Identifier: MIT */
/*
 * refcount.c: the sections of rseq/refcount.h; see subjects.h.
 */
#include "function.h"

#include <rseq/refcount.h>

/* Within the library: what the slow functions share. */
extern bool rseq_refcount_add_again(struct rseq_refcount *ref, intptr_t count);

#define FIRST_VALUE	1000
#define ADDEND		3

/* As the library marks a count that has been killed. */
#define KILLED		4U

/* A copy of what the library made, in shared memory, with the same rows. */
static struct rseq_refcount *ref;

/* ---- the functions ---- */

BODY int try_add(struct call *call, struct rseq_refcount *object, intptr_t count)
{
	int result;

	do {
		result = rseq_refcount_try_add(object, count) ? 0 : -1;
		if (result && RSEQ_READ_ONCE(object->mode))
			result = 1;
	} while (once_more(call, RSEQ_PERCPU_CPU_ID, result));
	return result;
}

SUBJECT(refcount_try_add)
{
	struct rseq_refcount *object = call->object;
	intptr_t count = call->count;
	int result = try_add(call, object, count);

	call->modified = CHANGED(object) || CHANGED(count);
	return result;
}

SUBJECT(refcount_try_add_constant)
{
	struct rseq_refcount *object = call->object;
	int result = try_add(call, object, ADDEND);

	call->modified = CHANGED(object);
	return result;
}

END_OF_SUBJECTS

OUTER_SUBJECT(refcount_get)
{
	rseq_refcount_get(call->object);
	return 0;
}

OUTER_SUBJECT(refcount_put)
{
	rseq_refcount_put(call->object);
	return 0;
}

OUTER_SUBJECT(refcount_tryget)
{
	return !rseq_refcount_tryget(call->object);
}

OUTER_SUBJECT(refcount_get_slow)
{
	rseq_refcount_get_slow(call->object);
	return 0;
}

OUTER_SUBJECT(refcount_put_slow)
{
	rseq_refcount_put_slow(call->object);
	return 0;
}

OUTER_SUBJECT(refcount_tryget_slow)
{
	return !rseq_refcount_tryget_slow(call->object);
}

/* ---- the data: the word of each id, and the atomic one ---- */

static struct region regions[] = {
	{ .name = "the word", .stride = RSEQ_PERCPU_STRIDE, .nr = 1, .element = sizeof(intptr_t) },
	{ .name = "the mode", .nr = 1, .element = sizeof(intptr_t) },
	{ .name = "the atomic word", .nr = 1, .element = sizeof(intptr_t) },
};

static intptr_t *word_of(int id)
{
	return (intptr_t *)(ref->rows + (size_t)id * RSEQ_PERCPU_STRIDE);
}

static void release(void *arg)
{
	(void)arg;
}

static int init(void)
{
	struct rseq_refcount *made = rseq_refcount_create(release, NULL);

	ref = data_shared(sizeof(*ref));
	if (!made || !ref)
		return -1;
	*ref = *made;
	regions[0].base = ref->rows;
	regions[1].base = (char *)&ref->mode;
	regions[2].base = (char *)&ref->count;
	for (int id = 0; id < data_nr_ids(); id++)
		if (data_share(word_of(id), sizeof(intptr_t)))
			return -1;
	return 0;
}

static void reset(int id, const struct input *input)
{
	*word_of(id) = FIRST_VALUE * (id + 1);
	ref->mode = (uintptr_t)input->state;
	ref->count = RSEQ_REFCOUNT_BIAS + 1;
}

/* ---- the operations, and what they do ---- */

static const struct input try_inputs[] = {
	{ .name = "-", .thorough = true },
	{ .name = "killed", .state = (int)KILLED },
};

static const struct input inputs[] = {
	{ .name = "-", .thorough = true },
};

static void prepare(struct call *call, const struct input *input, int id)
{
	(void)input;
	(void)id;
	call->object = ref;
	call->count = ADDEND;
}

static int model_try_add(struct call *call)
{
	if (ref->mode)
		return 1;
	*word_of(call->id) += call->count;
	return 0;
}

static int model_add(intptr_t count, int id)
{
	if (ref->mode)
		ref->count += count;
	else
		*word_of(id) += count;
	return 0;
}

static int model_get(struct call *call)
{
	return model_add(1, call->id);
}

static int model_put(struct call *call)
{
	return model_add(-1, call->id);
}

enum { ADD, ADD_AND_BACK, KILL };

#define OWN	(1U << ADD | 1U << KILL)

static const struct operation try_add_operation = {
	.own = OWN, .inputs = try_inputs, .nr_inputs = ARRAY_SIZE(try_inputs),
	.prepare = prepare, .model = model_try_add,
};

/* In front of its section a slow one looks at the mode, so that what comes in between shows. */
static const struct operation get_operation = {
	.own = 1U << ADD, .inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),
	.prepare = prepare, .model = model_get,
};

static const struct operation put_operation = {
	.own = 1U << ADD, .inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),
	.prepare = prepare, .model = model_put,
};

/* ---- what others do meanwhile ---- */

static bool add_count(intptr_t count, enum rseq_percpu_mode mode, int id, runner *run)
{
	struct call call;

	call_prepare(&call, &try_add_operation, try_inputs, id);
	call.count = count;
	return run(&try_add_operation, mode, &call) >= 0;
}

static bool run_add(enum rseq_percpu_mode mode, int id, runner *run)
{
	return add_count(ADDEND + 1, mode, id, run);
}

static bool run_add_and_back(enum rseq_percpu_mode mode, int id, runner *run)
{
	return add_count(ADDEND + 1, mode, id, run) && add_count(-ADDEND - 1, mode, id, run);
}

/* As another CPU does it, with a fence in between; that it takes the row's sum shows the order. */
static bool run_kill(enum rseq_percpu_mode mode, int id, runner *run)
{
	(void)mode;
	(void)run;
	RSEQ_WRITE_ONCE(ref->mode, KILLED);
	RSEQ_WRITE_ONCE(*word_of(id), 0);
	return true;
}

static const struct conflict conflicts[] = {
	[ADD] = { "refcount_add", .run = run_add },
	[ADD_AND_BACK] = { "refcount_add, and back", .restores = true, .run = run_add_and_back },
	[KILL] = { "refcount_kill", .run = run_kill },
};

/* ---- all of it ---- */

#define ENTRY(name, operation, keeps)							\
	{ #name, &operation, RSEQ_PERCPU_CPU_ID, keeps, FUNCTION_AND_CODE(name), NULL }
#define SLOW_ENTRY(name, operation)							\
	{ #name, &operation, RSEQ_PERCPU_CPU_ID, false, name,				\
	  (uintptr_t)rseq_refcount_add_again, NULL }

static const struct subject refcount_subjects[] = {
	ENTRY(refcount_try_add, try_add_operation, ALL_KEPT),
	ENTRY(refcount_try_add_constant, try_add_operation, ALL_KEPT),
	ENTRY(refcount_get, get_operation, false),
	ENTRY(refcount_put, put_operation, false),
	ENTRY(refcount_tryget, get_operation, false),
	SLOW_ENTRY(refcount_get_slow, get_operation),
	SLOW_ENTRY(refcount_put_slow, put_operation),
	SLOW_ENTRY(refcount_tryget_slow, get_operation),
	{ 0 },
};

const struct structure refcount_structure = {
	.name = "refcount", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = refcount_subjects,
};
