/* SPDX-License-Identifier: MIT */
/*
 * counter.c: the sections of rseq/counter.h, and an example of a data structure's; see subjects.h.
 */
#include "function.h"

#include <rseq/counter.h>

#define ADDEND		16
#define FIRST_VALUE	1000		/* and that times the id more */

SUBJECT(counter_try_add)
{
	struct rseq_counter *object = call->object;
	intptr_t count = call->count;
	int result;

	do
		result = rseq_counter_try_add(object, count) ? 0 : -1;
	while (once_more(call, RSEQ_PERCPU_CPU_ID, result));
	call->modified = CHANGED(object) || CHANGED(count);
	return result;
}

SUBJECT(counter_try_add_constant)
{
	struct rseq_counter *object = call->object;
	int result;

	do
		result = rseq_counter_try_add(object, ADDEND) ? 0 : -1;
	while (once_more(call, RSEQ_PERCPU_CPU_ID, result));
	call->modified = CHANGED(object);
	return result;
}

END_OF_SUBJECTS

OUTER_SUBJECT(counter_add)
{
	struct rseq_counter *object = call->object;
	intptr_t count = call->count;

	rseq_counter_add(object, count);
	call->modified = CHANGED(object) || CHANGED(count);
	return 0;
}

OUTER_SUBJECT(counter_add_slow)
{
	rseq_counter_add_slow(call->object, call->count);
	return 0;
}

/* ---- the data: a word for each CPU ---- */

static struct rseq_counter *counter;

static struct region regions[] = {
	{ .name = "the word", .stride = RSEQ_PERCPU_STRIDE, .nr = 1, .element = sizeof(intptr_t) },
};

static intptr_t *word_of(int id)
{
	return (intptr_t *)((char *)counter + (size_t)id * RSEQ_PERCPU_STRIDE);
}

static int init(void)
{
	counter = rseq_counter_create();
	if (!counter)
		return -1;
	regions[0].base = (char *)counter;
	for (int id = 0; id < data_nr_ids(); id++)
		if (data_share(word_of(id), sizeof(intptr_t)))
			return -1;
	return 0;
}

static void reset(int id, const struct input *input)
{
	(void)input;
	*word_of(id) = FIRST_VALUE * (id + 1);
}

/* ---- the operation, and what it does ---- */

static const struct input inputs[] = {
	{ .name = "-", .thorough = true },
};

static void prepare(struct call *call, const struct input *input, int id)
{
	(void)input;
	(void)id;
	call->object = counter;
	call->count = ADDEND;
}

static int add(struct call *call)
{
	*word_of(call->id) += call->count;
	return 0;
}

enum { ADD, ADD_AND_BACK, CLEAR };

static const struct operation add_operation = {
	.own = 1U << ADD | 1U << CLEAR,
	.inputs = inputs, .nr_inputs = ARRAY_SIZE(inputs),
	.prepare = prepare, .model = add,
};

/* ---- what others do meanwhile ---- */

static bool add_count(intptr_t count, enum rseq_percpu_mode mode, int id, runner *run)
{
	struct call call;

	call_prepare(&call, &add_operation, inputs, id);
	call.count = count;
	return run(&add_operation, mode, &call) >= 0;
}

static bool run_add(enum rseq_percpu_mode mode, int id, runner *run)
{
	return add_count(ADDEND + 1, mode, id, run);
}

static bool run_add_and_back(enum rseq_percpu_mode mode, int id, runner *run)
{
	return add_count(ADDEND + 1, mode, id, run) && add_count(-ADDEND - 1, mode, id, run);
}

/* Additions may come in any order, but not these. */
static bool run_clear(enum rseq_percpu_mode mode, int id, runner *run)
{
	(void)mode;
	(void)run;
	RSEQ_WRITE_ONCE(*word_of(id), 0);
	return true;
}

static const struct conflict conflicts[] = {
	[ADD] = { "counter_add", .run = run_add },
	[ADD_AND_BACK] = { "counter_add, and back", .restores = true, .run = run_add_and_back },
	[CLEAR] = { "a store", .run = run_clear },
};

/* ---- all of it ---- */

#define ENTRY(name, keeps)								\
	{ #name, &add_operation, RSEQ_PERCPU_CPU_ID, keeps, FUNCTION_AND_CODE(name), NULL }

static const struct subject counter_subjects[] = {
	ENTRY(counter_try_add, ALL_KEPT),
	ENTRY(counter_try_add_constant, ALL_KEPT),
	ENTRY(counter_add, false),
	{ "counter_add_slow", &add_operation, RSEQ_PERCPU_CPU_ID, false, counter_add_slow,
	  (uintptr_t)rseq_counter_add_slow, NULL },
	{ 0 },
};

const struct structure counter_structure = {
	.name = "counter", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = counter_subjects,
};
