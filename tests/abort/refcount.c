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

#define PER_CID		RSEQ_REFCOUNT_PER_CID

/* As the library marks a count that has been killed. */
#define KILLED		5U

/* Copies of what the library made, by mode, in shared memory, with the same rows. */
static struct rseq_refcount *refs;

/* ---- the functions ---- */

BODY int try_add(struct call *call, struct rseq_refcount *object, intptr_t count)
{
	int result;

	do {
		result = rseq_refcount_try_add(object, count) ? 0 : -1;
		if (result && RSEQ_READ_ONCE(object->state))
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

SUBJECT(refcount_try_add_cid)
{
	struct rseq_refcount *object = call->object;
	intptr_t count = call->count;
	int result;

	do {
		result = rseq_refcount_try_add_cid(object, count) ? 0 : -1;
		if (result && RSEQ_READ_ONCE(object->state) != PER_CID)
			result = 1;
	} while (once_more(call, RSEQ_PERCPU_MM_CID, result));
	call->modified = CHANGED(object) || CHANGED(count);
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

#define REGIONS(by)									\
	{ .name = "the word" by, .stride = RSEQ_PERCPU_STRIDE, .nr = 1,			\
	  .element = sizeof(intptr_t) },						\
	{ .name = "the state" by, .nr = 1, .element = sizeof(intptr_t) },			\
	{ .name = "the atomic word" by, .nr = 1, .element = sizeof(intptr_t) }

static struct region regions[] = { REGIONS(""), REGIONS(" by mm_cid") };

static intptr_t *word_of(const struct rseq_refcount *ref, int id)
{
	return (intptr_t *)(ref->rows + (size_t)id * RSEQ_PERCPU_STRIDE);
}

static void release(void *arg)
{
	(void)arg;
}

static int init(void)
{
	struct region *region = regions;

	refs = data_shared(2 * sizeof(*refs));
	if (!refs)
		return -1;
	for (int mode = 0; mode < 2; mode++) {
		struct rseq_refcount *ref = &refs[mode], *made = rseq_refcount_create_mode(release,
				NULL, (enum rseq_percpu_mode)mode);

		if (!made)
			return -1;
		*ref = *made;
		region++->base = ref->rows;
		region++->base = (char *)&ref->state;
		region++->base = (char *)&ref->count;
		for (int id = 0; id < data_nr_ids(); id++)
			if (data_share(word_of(ref, id), sizeof(intptr_t)))
				return -1;
	}
	return 0;
}

static void reset(int id, const struct input *input)
{
	for (int mode = 0; mode < 2; mode++) {
		*word_of(&refs[mode], id) = FIRST_VALUE * (id + 1);
		refs[mode].state = input->state ? (uintptr_t)input->state :
				   mode == RSEQ_PERCPU_MM_CID ? PER_CID : 0;
		refs[mode].count = RSEQ_REFCOUNT_BIAS + 1;
	}
}

/* ---- the operations, and what they do ---- */

static const struct input try_inputs[] = {
	{ .name = "-", .thorough = true },
	{ .name = "killed", .state = (int)KILLED },
};

static const struct input inputs[] = {
	{ .name = "-", .thorough = true },
};

static void prepare_cpu_id(struct call *call, const struct input *input, int id)
{
	(void)input;
	(void)id;
	call->object = &refs[RSEQ_PERCPU_CPU_ID];
	call->count = ADDEND;
}

static void prepare_mm_cid(struct call *call, const struct input *input, int id)
{
	prepare_cpu_id(call, input, id);
	call->object = &refs[RSEQ_PERCPU_MM_CID];
}

static int model_try_add(struct call *call)
{
	struct rseq_refcount *ref = call->object;

	if (ref->state > PER_CID)
		return 1;
	*word_of(ref, call->id) += call->count;
	return 0;
}

static int model_add(struct rseq_refcount *ref, intptr_t count, int id)
{
	if (ref->state > PER_CID)
		ref->count += count;
	else
		*word_of(ref, id) += count;
	return 0;
}

static int model_get(struct call *call)
{
	return model_add(call->object, 1, call->id);
}

static int model_put(struct call *call)
{
	return model_add(call->object, -1, call->id);
}

enum { ADD, ADD_AND_BACK, KILL };

/* In front of its section a slow one looks at the state, so that what comes in between shows. */
#define OPERATION(does, owns, values, suffix)						\
	{ .own = (owns), .inputs = (values), .nr_inputs = ARRAY_SIZE(values),		\
	  .prepare = prepare_##suffix, .model = (does) }
#define OPERATIONS(name, does, owns, values)						\
	static const struct operation name[2] = {					\
		[RSEQ_PERCPU_CPU_ID] = OPERATION(does, owns, values, cpu_id),		\
		[RSEQ_PERCPU_MM_CID] = OPERATION(does, owns, values, mm_cid),		\
	}

OPERATIONS(try_add_operations, model_try_add, 1U << ADD | 1U << KILL, try_inputs);
OPERATIONS(get_operations, model_get, 1U << ADD, inputs);
OPERATIONS(put_operations, model_put, 1U << ADD, inputs);

/* ---- what others do meanwhile ---- */

static bool add_count(intptr_t count, enum rseq_percpu_mode mode, int id, runner *run)
{
	const struct operation *operation = &try_add_operations[mode];
	struct call call;

	call_prepare(&call, operation, try_inputs, id);
	call.count = count;
	return run(operation, mode, &call) >= 0;
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
	struct rseq_refcount *ref = &refs[mode];

	(void)run;
	RSEQ_WRITE_ONCE(ref->state, KILLED);
	RSEQ_WRITE_ONCE(*word_of(ref, id), 0);
	return true;
}

static const struct conflict conflicts[] = {
	[ADD] = { "refcount_add", .run = run_add },
	[ADD_AND_BACK] = { "refcount_add, and back", .restores = true, .run = run_add_and_back },
	[KILL] = { "refcount_kill", .run = run_kill },
};

/* ---- all of it ---- */

#define TRY_ENTRY(name)									\
	{ #name, &try_add_operations[RSEQ_PERCPU_CPU_ID], RSEQ_PERCPU_CPU_ID, ALL_KEPT,	\
	  FUNCTION_AND_CODE(name), NULL }
#define ENTRY(name, operations)								\
	{ #name, &operations[RSEQ_PERCPU_CPU_ID], RSEQ_PERCPU_CPU_ID, false,		\
	  FUNCTION_AND_CODE(name), NULL }
#define SLOW_ENTRY(name, operations)							\
	{ #name, &operations[RSEQ_PERCPU_CPU_ID], RSEQ_PERCPU_CPU_ID, false, name,	\
	  (uintptr_t)rseq_refcount_add_again, NULL }
#define CID_ENTRY(name, operations)							\
	{ #name " by mm_cid", &operations[RSEQ_PERCPU_MM_CID], RSEQ_PERCPU_MM_CID, false,	\
	  name, (uintptr_t)rseq_refcount_add_again, NULL }

static const struct subject refcount_subjects[] = {
	TRY_ENTRY(refcount_try_add),
	TRY_ENTRY(refcount_try_add_constant),
	ENTRY(refcount_get, get_operations),
	ENTRY(refcount_put, put_operations),
	ENTRY(refcount_tryget, get_operations),
	SLOW_ENTRY(refcount_get_slow, get_operations),
	SLOW_ENTRY(refcount_put_slow, put_operations),
	SLOW_ENTRY(refcount_tryget_slow, get_operations),
	{ "refcount_try_add_cid", &try_add_operations[RSEQ_PERCPU_MM_CID], RSEQ_PERCPU_MM_CID,
	  ALL_KEPT, FUNCTION_AND_CODE(refcount_try_add_cid), NULL },
	CID_ENTRY(refcount_get, get_operations),
	CID_ENTRY(refcount_put, put_operations),
	CID_ENTRY(refcount_tryget, get_operations),
	{ 0 },
};

const struct structure refcount_structure = {
	.name = "refcount", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = refcount_subjects,
};
