/* SPDX-License-Identifier: MIT */
/*
 * lock.c: the sections of rseq/lock.h, and those with which the library tries again and makes a
 * lock atomic on its own CPU; see subjects.h.
 */
#include "function.h"

#include <rseq/lock.h>

/* Within the library. */
extern bool rseq_lock_close_here(struct rseq_lock *lock, int cpu);
extern int rseq_lock_try_again(struct rseq_lock *lock);

#define NR_MODES	2

/* As the library marks an atomic lock: held by a section, with the first number, or in the gate. */
#define KEPT_HERE	(256U + 0x70U + 2U)
#define KEPT		(512U + 2U)
#define TAKEN		(512U + 4U)

/* Copies of what the library made, in shared memory, with the same rows. */
static struct rseq_lock *locks;

static struct rseq_lock_row *row_of(enum rseq_percpu_mode mode, int id)
{
	return (struct rseq_lock_row *)(locks[mode].rows.first + (size_t)id * RSEQ_PERCPU_STRIDE);
}

/* ---- the functions ---- */

BODY bool is_in_the_way(enum rseq_percpu_mode mode)
{
	struct rseq_lock_row *row = row_of(mode, current_id(mode));

	return RSEQ_READ_ONCE(row->gate) || RSEQ_READ_ONCE(row->held);
}

/* One function serves both modes, as one section does, all of whose ways are to be tried. */
BODY enum rseq_percpu_mode mode_of(const struct call *call)
{
	return call->object == &locks[RSEQ_PERCPU_MM_CID] ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;
}

SUBJECT(lock_try_section)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_lock *object = call->object;
	int result, cpu;

	do {
		cpu = rseq_lock_try_section(object);
		result = cpu >= 0 ? 0 : -1;
		if (result && is_in_the_way(mode))
			result = 1;
	} while (once_more(call, mode, result));
	call->output = result ? 0 : cpu + 1;
	call->modified = CHANGED(object);
	return result;
}

BODY bool is_releasable(const struct rseq_lock_row *row)
{
	return !RSEQ_READ_ONCE(row->gate) && RSEQ_READ_ONCE(row->held);
}

BODY int try_release(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_lock *object = call->object;
	int id = call->id;
	int result;

	do {
		result = rseq_lock_try_release(object, id) ? 0 : -1;
		if (result && current_id(mode) == id && !is_releasable(row_of(mode, id)))
			result = 1;
	} while (once_more(call, mode, result));
	call->modified = CHANGED(object) || CHANGED(id);
	return result;
}

SUBJECT(lock_try_release)
{
	return try_release(call, RSEQ_PERCPU_CPU_ID);
}

SUBJECT(lock_try_release_mm_cid)
{
	return try_release(call, RSEQ_PERCPU_MM_CID);
}

END_OF_SUBJECTS

/* The number of the lock, if there is one. */
static int taken(struct call *call, int cpu)
{
	call->output = cpu + 1;
	return cpu < 0;
}

OUTER_SUBJECT(lock_try_acquire)
{
	return taken(call, rseq_lock_try_acquire(call->object));
}

OUTER_SUBJECT(lock_try_again)
{
	return taken(call, rseq_lock_try_again(call->object));
}

BODY int close_here(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_lock_row *row = row_of(mode, call->id);

	rseq_lock_close_here(call->object, call->id);
	if (RSEQ_READ_ONCE(row->gate) == KEPT_HERE)
		return 0;
	if (current_id(mode) != call->id)
		return -1;
	return RSEQ_READ_ONCE(row->gate) || !RSEQ_READ_ONCE(row->held) ? 1 : -1;
}

OUTER_SUBJECT(lock_close_here)
{
	return close_here(call, RSEQ_PERCPU_CPU_ID);
}

OUTER_SUBJECT(lock_close_here_mm_cid)
{
	return close_here(call, RSEQ_PERCPU_MM_CID);
}

/* ---- the data: each id's row, for each mode ---- */

static struct region regions[] = {
	{ .name = "row", .stride = RSEQ_PERCPU_STRIDE, .nr = 2, .element = sizeof(intptr_t) },
	{ .name = "row by mm_cid", .stride = RSEQ_PERCPU_STRIDE, .nr = 2,
	  .element = sizeof(intptr_t) },
};

static int init(void)
{
	locks = data_shared(NR_MODES * sizeof(*locks));
	if (!locks)
		return -1;
	for (int mode = 0; mode < NR_MODES; mode++) {
		struct rseq_lock *made = rseq_lock_create_mode((enum rseq_percpu_mode)mode);

		if (!made)
			return -1;
		locks[mode] = *made;
		for (int id = 0; id < data_nr_ids(); id++)
			if (data_share(row_of((enum rseq_percpu_mode)mode, id),
				       sizeof(struct rseq_lock_row)))
				return -1;
		regions[mode].base = locks[mode].rows.first;
	}
	return 0;
}

/* What an input's state says. */
enum { IS_FREE, IS_HELD, IS_KEPT, IS_TAKEN };

static void reset(int id, const struct input *input)
{
	static const uint64_t gates[] = { 0, 0, KEPT, TAKEN };

	for (int mode = 0; mode < NR_MODES; mode++) {
		struct rseq_lock_row *row = row_of((enum rseq_percpu_mode)mode, id);

		row->held = input->state == IS_HELD || input->state == IS_KEPT;
		row->gate = gates[input->state];
		locks[mode].closings = 0;
	}
}

/* ---- the operations, and what they do ---- */

static const struct input acquiring_inputs[] = {
	{ .name = "free", .state = IS_FREE, .thorough = true },
	{ .name = "held", .state = IS_HELD, .thorough = true },
	{ .name = "kept", .state = IS_KEPT },
	{ .name = "taken", .state = IS_TAKEN },
};

static const struct input releasing_inputs[] = {
	{ .name = "held", .state = IS_HELD, .thorough = true },
	{ .name = "kept", .state = IS_KEPT },
};

/*
 * Those that reach the section in what looks at the lock first. Conflicts are tried within the
 * section alone: what comes in between the two makes them do nothing, and be called again.
 */
static const struct input free_input[] = {
	{ .name = "free", .state = IS_FREE, .thorough = true },
};

static const struct input held_input[] = {
	{ .name = "held", .state = IS_HELD, .thorough = true },
};

static int acquire(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_lock_row *row = row_of(mode, call->id);

	if (row->gate || row->held)
		return 1;
	row->held = 1;
	call->output = call->id + 1;
	return 0;
}

static int release(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_lock_row *row = row_of(mode, call->id);

	if (row->gate || !row->held)
		return 1;
	row->held = 0;
	return 0;
}

static int keep(struct call *call, enum rseq_percpu_mode mode)
{
	struct rseq_lock_row *row = row_of(mode, call->id);

	if (row->gate || !row->held)
		return 1;
	row->gate = KEPT_HERE;
	return 0;
}

enum { ACQUIRE, RELEASE, ACQUIRE_AND_RELEASE, RELEASE_AND_ACQUIRE, TAKE };

/* The operations of one mode. */
#define OPERATIONS(suffix, mode)							\
static void prepare_##suffix(struct call *call, const struct input *input, int id)	\
{											\
	(void)input;									\
	(void)id;									\
	call->object = &locks[mode];							\
}											\
static int model_acquire_##suffix(struct call *call)					\
{											\
	return acquire(call, mode);							\
}											\
static int model_release_##suffix(struct call *call)					\
{											\
	return release(call, mode);							\
}											\
static int model_keep_##suffix(struct call *call)					\
{											\
	return keep(call, mode);							\
}											\
static const struct operation acquire_##suffix = {					\
	.own = 1U << ACQUIRE | 1U << TAKE, .outputs = 1,				\
	.inputs = acquiring_inputs, .nr_inputs = ARRAY_SIZE(acquiring_inputs),		\
	.prepare = prepare_##suffix, .model = model_acquire_##suffix,			\
};											\
static const struct operation acquire_slow_##suffix = {					\
	.outputs = 1,									\
	.inputs = free_input, .nr_inputs = ARRAY_SIZE(free_input),			\
	.prepare = prepare_##suffix, .model = model_acquire_##suffix,			\
};											\
static const struct operation release_##suffix = {					\
	.takes_id = true, .own = 1U << RELEASE | 1U << TAKE,				\
	.inputs = releasing_inputs, .nr_inputs = ARRAY_SIZE(releasing_inputs),		\
	.prepare = prepare_##suffix, .model = model_release_##suffix,			\
};											\
static const struct operation keep_##suffix = {						\
	.takes_id = true,								\
	.inputs = held_input, .nr_inputs = ARRAY_SIZE(held_input),			\
	.prepare = prepare_##suffix, .model = model_keep_##suffix,			\
};

OPERATIONS(cpu_id, RSEQ_PERCPU_CPU_ID)
OPERATIONS(mm_cid, RSEQ_PERCPU_MM_CID)

/* ---- what others do meanwhile ---- */

static bool run_acquire(enum rseq_percpu_mode mode, int id, runner *run)
{
	const struct operation *operation = mode ? &acquire_mm_cid : &acquire_cpu_id;
	struct call call;

	call_prepare(&call, operation, acquiring_inputs, id);
	return run(operation, mode, &call) >= 0;
}

static bool run_release(enum rseq_percpu_mode mode, int id, runner *run)
{
	const struct operation *operation = mode ? &release_mm_cid : &release_cpu_id;
	struct call call;

	call_prepare(&call, operation, releasing_inputs, id);
	return run(operation, mode, &call) >= 0;
}

static bool run_acquire_and_release(enum rseq_percpu_mode mode, int id, runner *run)
{
	return run_acquire(mode, id, run) && run_release(mode, id, run);
}

static bool run_release_and_acquire(enum rseq_percpu_mode mode, int id, runner *run)
{
	return run_release(mode, id, run) && run_acquire(mode, id, run);
}

/* As another CPU does it, with a fence in between. */
static bool run_take(enum rseq_percpu_mode mode, int id, runner *run)
{
	struct rseq_lock_row *row = row_of(mode, id);

	(void)run;
	RSEQ_WRITE_ONCE(row->gate, RSEQ_READ_ONCE(row->held) ? KEPT : TAKEN);
	return true;
}

static const struct conflict conflicts[] = {
	[ACQUIRE] = { "lock_acquire", .run = run_acquire },
	[RELEASE] = { "lock_release", .run = run_release },
	[ACQUIRE_AND_RELEASE] = { "lock_acquire, lock_release", .run = run_acquire_and_release },
	[RELEASE_AND_ACQUIRE] = { "lock_release, lock_acquire", .run = run_release_and_acquire },
	[TAKE] = { "lock_acquire_cpu", .run = run_take },
};

/* ---- all of it ---- */

#define ENTRY(name, operation, mode, keeps)						\
	{ #name, &operation, mode, keeps, FUNCTION_AND_CODE(name), NULL }
#define INNER_ENTRY(name, operation, mode, code)					\
	{ #name, &operation, mode, false, name, (uintptr_t)(code), NULL }

static const struct subject lock_subjects[] = {
	ENTRY(lock_try_section, acquire_cpu_id, RSEQ_PERCPU_CPU_ID, ALL_KEPT),
	ENTRY(lock_try_section, acquire_mm_cid, RSEQ_PERCPU_MM_CID, ALL_KEPT),
	ENTRY(lock_try_release, release_cpu_id, RSEQ_PERCPU_CPU_ID, ALL_KEPT),
	ENTRY(lock_try_release_mm_cid, release_mm_cid, RSEQ_PERCPU_MM_CID, ALL_KEPT),
	ENTRY(lock_try_acquire, acquire_slow_cpu_id, RSEQ_PERCPU_CPU_ID, false),
	ENTRY(lock_try_acquire, acquire_slow_mm_cid, RSEQ_PERCPU_MM_CID, false),
	INNER_ENTRY(lock_try_again, acquire_slow_cpu_id, RSEQ_PERCPU_CPU_ID,
		    rseq_lock_try_again),
	INNER_ENTRY(lock_try_again, acquire_slow_mm_cid, RSEQ_PERCPU_MM_CID,
		    rseq_lock_try_again),
	INNER_ENTRY(lock_close_here, keep_cpu_id, RSEQ_PERCPU_CPU_ID, rseq_lock_close_here),
	INNER_ENTRY(lock_close_here_mm_cid, keep_mm_cid, RSEQ_PERCPU_MM_CID,
		    rseq_lock_close_here),
	{ 0 },
};

const struct structure lock_structure = {
	.name = "lock", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = lock_subjects,
};
