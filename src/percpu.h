/* SPDX-License-Identifier: MIT */
/*
 * percpu.h: the per-CPU memory of the library's own structures, and their way without rseq.
 *
 * An item has a row for each possible CPU, which that CPU's sections write to, and behind these a
 * second row for each, which threads without rseq write to: atomically, or under the item's lock.
 * Rows are RSEQ_PERCPU_STRIDE bytes apart. Items of the same size class share pages.
 */
#ifndef RSEQ_PERCPU_H
#define RSEQ_PERCPU_H

#include "mempool-internal.h"

#include <rseq/section.h>

#include <signal.h>

/* Tries of a section that is aborted before a structure's other way is taken. */
#define RSEQ_MAX_TRIES	8

/* Zeroed rows of len bytes, aligned to the power of two at or above len, at most to 64. */
void *rseq_percpu_zalloc(size_t len) rseq_hidden;
void rseq_percpu_free(void *rows) rseq_hidden;

static inline void *rseq_percpu_row(const void *rows, int row)
{
	return (char *)(uintptr_t)rows + (size_t)row * RSEQ_PERCPU_STRIDE;
}

/* The handle of these rows; see rseq_rows_of(). */
static inline void *rseq_rows_handle(const struct rseq_rows *rows)
{
	return rows->first + rows->id;
}

/* Whether the second rows, of all items that share pages with this one, may hold anything. */
static inline bool rseq_percpu_fallback_used(const void *rows)
{
	const struct mempool_range *range = rseq_range_of(rows, RSEQ_PERCPU_STRIDE);

	return __atomic_load_n(&range->fallback_used, __ATOMIC_RELAXED);
}

/* To be called before the first of them is written to. */
static inline void rseq_percpu_use_fallback(const void *rows)
{
	struct mempool_range *range = rseq_range_of(rows, RSEQ_PERCPU_STRIDE);

	if (!__atomic_load_n(&range->fallback_used, __ATOMIC_RELAXED))
		__atomic_store_n(&range->fallback_used, true, __ATOMIC_RELAXED);
}

/*
 * A word in a row that its sections look at. Open, it is 0. Who wants the row for himself, and has
 * the lock, closes it and waits with a fence for the sections under way; once it is released, the
 * row's own CPU opens it again. Were it opened from elsewhere, a section could have read one part
 * of the row before and another after, whereas while a thread opens it here, none is under way.
 */
#define RSEQ_GATE_CLOSED	UINTPTR_MAX
#define RSEQ_GATE_RELEASED	(UINTPTR_MAX - 1)

static inline uintptr_t rseq_gate_state(const uintptr_t *gate)
{
	return __atomic_load_n(gate, __ATOMIC_ACQUIRE);
}

static inline void rseq_gate_close(uintptr_t *gate)
{
	__atomic_store_n(gate, RSEQ_GATE_CLOSED, __ATOMIC_SEQ_CST);
}

static inline void rseq_gate_release(uintptr_t *gate)
{
	__atomic_store_n(gate, RSEQ_GATE_RELEASED, __ATOMIC_RELEASE);
}

/*
 * Before a section is tried again that did not commit: registers a thread that nobody tried to
 * register, and opens a released gate, which is gate bytes into each row. Says what there was.
 */
enum rseq_retry {
	RSEQ_RETRY_NEVER,	/* no rseq in this thread */
	RSEQ_RETRY_CLOSED,	/* the row is somebody's for now */
	RSEQ_RETRY_OPENED,	/* there was a reason, and it is gone */
	RSEQ_RETRY_ABORTED,	/* a section was aborted, or the last one found what it says */
};

enum rseq_retry rseq_percpu_retry(const struct rseq_rows *rows, size_t gate) rseq_hidden;

/* Commits a value to a word of the row whose number is id: 0, if that is this thread's row now. */
int rseq_percpu_set(const struct rseq_rows *rows, int id, uintptr_t *word, uintptr_t value)
	rseq_hidden;

/* Waits for the sections of a row, or of all if it is negative. 0, or -1 with errno ENOSYS. */
int rseq_percpu_fence(const struct rseq_rows *rows, int row) rseq_hidden;

/* Whether rows are numbered by CPU; else they are by mm_cid. */
static inline bool rseq_rows_by_cpu(const struct rseq_rows *rows)
{
	return rows->id == RSEQ_ID_CPU_ID;
}

static inline enum rseq_percpu_mode rseq_rows_mode(const struct rseq_rows *rows)
{
	return rseq_rows_by_cpu(rows) ? RSEQ_PERCPU_CPU_ID : RSEQ_PERCPU_MM_CID;
}

/*
 * The number of the row that a registered thread is at, for now: the field that its sections look
 * at, whoever registered it. A signal handler may have ended that meanwhile: then any row does.
 */
static inline int rseq_rows_current(const struct rseq_rows *rows)
{
	const uint32_t *fields = (const uint32_t *)(const void *)rseq_get_abi();
	uint32_t id = RSEQ_READ_ONCE(fields[rows->id]);

	return id < (uint32_t)rseq_get_max_nr_cpus() ? (int)id : 0;
}

/* The CPU whose second row this thread takes: always one that has a row. */
int rseq_percpu_fallback_cpu(void) rseq_hidden;

/* The field that tells rows apart: as asked for, or cpu_id where mm_cid is not to be had. */
int rseq_percpu_set_id(uintptr_t *id, enum rseq_percpu_mode mode) rseq_hidden;

void rseq_count_abort(void) rseq_hidden;

/*
 * The lock of an object's second rows, one of a few that all objects share. Signals are blocked
 * while it is held, so that it may be taken in signal handlers; fork() waits for it. No two are
 * taken at once, and no memory is allocated under one.
 */
void rseq_fallback_lock(const void *object, sigset_t *signals) rseq_hidden;
void rseq_fallback_unlock(const void *object, const sigset_t *signals) rseq_hidden;

#endif /* RSEQ_PERCPU_H */
