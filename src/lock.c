/* SPDX-License-Identifier: MIT */
/*
 * lock.c: what a lock does out of its sections.
 *
 * A CPU's lock is in one of two words. While its gate is open, sections on that CPU write held.
 * When it is not, sections keep off, and the gate is the lock, for atomic operations alone, which
 * open it again when the lock is free: held is 0 then, and has been since the gate's last closing
 * was settled, so that no section sees one part of the row before and another after.
 *
 * Who closes the gate has to know what sections have left in held. From elsewhere, a fence tells
 * that none is under way. On the CPU itself a section that closes the gate needs none: while it
 * commits, no other one is under way there. It may overwrite another thread's announcement, but no
 * more than that: whoever goes on from an announcement has waited for the fence first.
 *
 * If held is not 0 then, its holder keeps the lock until he writes 0 there, from any CPU, with no
 * section: nobody else writes it meanwhile. He looks at the gate after that, and who has closed it
 * looks at held after that, so that one of them notices.
 */
#include "percpu.h"

#include <rseq/lock.h>
#include <rseq/ops.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* include/uapi/linux/futex.h, which not every compiler's directories have beside a libc's. */
enum {
	FUTEX_WAIT		= 0,
	FUTEX_WAKE		= 1,
	FUTEX_PRIVATE_FLAG	= 128,
};

/* A gate: 0, or from its low end a state, whether threads sleep, calm, and the closing's number. */
#define STATE		7U
enum {
	OPEN,			/* the whole gate is 0 */
	CLOSING,		/* announced: sections may be under way */
	KEPT,			/* held by whom a section, or held itself, tells */
	FREE,
	TAKEN,			/* held, atomically */
};

#define SLEEPERS	8U
#define CALM		16U	/* one release on the lock's own CPU */
#define CALM_MASK	0x70U
#define NUMBER		256U

/*
 * Releases on the lock's own CPU, one after another, until its gate opens. A fence costs as much
 * as some hundred atomic operations: not each one from elsewhere should lead to the next fence.
 */
#define CALM_ENOUGH	(7 * CALM)

/* Not static for the test that aborts their sections. */
__attribute__((noinline)) bool rseq_lock_close_here(struct rseq_lock *lock, int cpu) rseq_hidden;
__attribute__((noinline)) int rseq_lock_try_again(struct rseq_lock *lock) rseq_hidden;

/* What one look at a lock has come to. */
enum outcome {
	LOCKED,
	HELD,			/* by another: sleep, or give up */
	CHANGED,		/* look again: somebody has got ahead */
	FAILED,			/* no fence */
};

static struct rseq_lock_row *row_of(const struct rseq_lock *lock, int cpu)
{
	return rseq_percpu_row(lock->rows.first, cpu);
}

static unsigned int state_of(uint64_t gate)
{
	return gate & STATE;
}

static uint64_t with_state(uint64_t gate, unsigned int state)
{
	return (gate & ~(uint64_t)STATE) | state;
}

static uint64_t gate_of(const struct rseq_lock_row *row)
{
	return __atomic_load_n(&row->gate, __ATOMIC_SEQ_CST);
}

static bool change(struct rseq_lock_row *row, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&row->gate, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

static bool is_held(const struct rseq_lock_row *row)
{
	return __atomic_load_n(&row->held, __ATOMIC_ACQUIRE);
}

/* The half of the gate with the state. */
static void *futex_of(struct rseq_lock_row *row)
{
	return (uint32_t *)&row->gate + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

static void futex(struct rseq_lock_row *row, int operation, uint32_t value)
{
	int saved_errno = errno;

	syscall(SYS_futex, futex_of(row), operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
	errno = saved_errno;
}

/* Unique to each closing, so that nobody takes a gate for the one that he has seen before. */
static uint64_t next_number(struct rseq_lock *lock)
{
	return NUMBER * (1 + __atomic_fetch_add(&lock->closings, 1, __ATOMIC_RELAXED));
}

/* The lock that is this thread's, for now. */
static int own_cpu(const struct rseq_lock *lock)
{
	if (!rseq_thread_registered())
		return rseq_percpu_fallback_cpu();
	return rseq_rows_current(&lock->rows);
}

static bool is_own(const struct rseq_lock *lock, int cpu)
{
	return rseq_thread_registered() && own_cpu(lock) == cpu;
}

struct rseq_lock *rseq_lock_create(void)
{
	return rseq_lock_create_mode(RSEQ_PERCPU_CPU_ID);
}

struct rseq_lock *rseq_lock_create_mode(enum rseq_percpu_mode mode)
{
	struct rseq_lock *lock = calloc(1, sizeof(*lock));

	if (!lock)
		return NULL;
	if (rseq_percpu_set_id(&lock->rows.id, mode))
		goto error;
	lock->rows.first = rseq_percpu_zalloc(sizeof(struct rseq_lock_row));
	if (!lock->rows.first)
		goto error;
	lock->stays_atomic = !rseq_fence_has_membarrier();
	if (lock->stays_atomic)
		for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
			row_of(lock, cpu)->gate = FREE;
	return lock;
error:
	free(lock);
	return NULL;
}

void rseq_lock_destroy(struct rseq_lock *lock)
{
	int saved_errno = errno;

	if (!lock)
		return;
	rseq_percpu_free(lock->rows.first);
	free(lock);
	errno = saved_errno;
}

/* What the gate becomes when the lock is released. */
static uint64_t released(const struct rseq_lock *lock, uint64_t gate)
{
	if (!lock->stays_atomic && (gate & CALM_MASK) >= CALM_ENOUGH)
		return OPEN;
	return with_state(gate & ~(uint64_t)SLEEPERS, FREE);
}

static bool release_gate(struct rseq_lock *lock, struct rseq_lock_row *row, uint64_t gate,
		uint64_t calmed)
{
	if (!change(row, gate, released(lock, calmed)))
		return false;
	if (gate & SLEEPERS)
		futex(row, FUTEX_WAKE, INT_MAX);
	return true;
}

/*
 * To be called after the gate was made KEPT, and after held was written: who comes second goes on
 * from there. The holder of a lock that is no more KEPT is another one.
 */
static void notice_release(struct rseq_lock *lock, struct rseq_lock_row *row)
{
	uint64_t gate;

	rseq_smp_mb();
	do {
		gate = gate_of(row);
	} while (state_of(gate) == KEPT && !is_held(row) && !release_gate(lock, row, gate, gate));
}

/* A gate that is CLOSING: anyone may go on from there after a fence of his own. */
static enum outcome settle(struct rseq_lock *lock, int cpu, uint64_t gate)
{
	struct rseq_lock_row *row = row_of(lock, cpu);

	if (rseq_percpu_fence(&lock->rows, cpu)) {
		change(row, gate, OPEN);
		return FAILED;
	}
	if (!is_held(row))
		return change(row, gate, with_state(gate, TAKEN)) ? LOCKED : CHANGED;
	if (change(row, gate, with_state(gate, KEPT)))
		notice_release(lock, row);
	return CHANGED;
}

/* Closes an open gate from anywhere. */
static enum outcome close_and_settle(struct rseq_lock *lock, int cpu)
{
	uint64_t gate = with_state(next_number(lock), CLOSING);

	return change(row_of(lock, cpu), OPEN, gate) ? settle(lock, cpu, gate) : CHANGED;
}

static enum outcome try_to_take(struct rseq_lock *lock, int cpu, uint64_t gate)
{
	struct rseq_lock_row *row = row_of(lock, cpu);

	switch (state_of(gate)) {
	case OPEN:
		return close_and_settle(lock, cpu);
	case CLOSING:
		return settle(lock, cpu, gate);
	case FREE:
		return change(row, gate, with_state(gate, TAKEN)) ? LOCKED : CHANGED;
	case KEPT:
		if (is_held(row))
			return HELD;
		notice_release(lock, row);
		return CHANGED;
	default:
		return HELD;
	}
}

/* Ends when the gate has changed, or for no reason. */
static void wait_for_change(struct rseq_lock_row *row, uint64_t gate)
{
	if (gate & SLEEPERS || change(row, gate, gate | SLEEPERS))
		futex(row, FUTEX_WAIT, (uint32_t)(gate | SLEEPERS));
}

/*
 * On the CPU whose lock is held by a thread that has left it, or is preempted: closes the gate in a
 * section, so that its release will be noticed. It will open at once with that release. Returns
 * false if that does not work.
 */
bool rseq_lock_close_here(struct rseq_lock *lock, int cpu)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(&lock->rows);
	struct rseq_lock_row *row = row_of(lock, cpu);
	uint64_t gate = with_state(next_number(lock), KEPT) | CALM_ENOUGH;

	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		if (!rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode,
							 (intptr_t *)&row->gate, OPEN,
							 (intptr_t *)&row->held, 1,
							 (intptr_t)gate, cpu)) {
			notice_release(lock, row);
			return true;
		}
		if (!is_own(lock, cpu) || gate_of(row) || !is_held(row))
			return true;
		rseq_count_abort();
	}
	return false;
}

/* Tries in sections as long as they may help. Returns the number, or -1. */
int rseq_lock_try_again(struct rseq_lock *lock)
{
	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		bool was_registered = rseq_thread_registered();
		int cpu;

		if (!was_registered && !rseq_thread_register_lazily())
			return -1;
		cpu = own_cpu(lock);
		if (gate_of(row_of(lock, cpu)) || is_held(row_of(lock, cpu)))
			return -1;
		/* Nothing in its way: the last one was aborted. */
		if (was_registered)
			rseq_count_abort();
		cpu = rseq_lock_try_section(lock);
		if (cpu >= 0)
			return cpu;
	}
	return -1;
}

#define AGAIN	(-2)

/* Returns the number, -1 with errno ENOSYS, or AGAIN. */
static int acquire_or_sleep(struct rseq_lock *lock)
{
	int cpu = rseq_lock_try_again(lock);
	uint64_t gate;

	if (cpu >= 0)
		return cpu;
	cpu = own_cpu(lock);
	gate = gate_of(row_of(lock, cpu));
	if (!gate && is_held(row_of(lock, cpu)) && is_own(lock, cpu) &&
	    rseq_lock_close_here(lock, cpu))
		return AGAIN;
	switch (try_to_take(lock, cpu, gate)) {
	case LOCKED:
		return cpu;
	case FAILED:
		return -1;
	case HELD:
		wait_for_change(row_of(lock, cpu), gate);
		return AGAIN;
	default:
		return AGAIN;
	}
}

int rseq_lock_acquire_slow(struct rseq_lock *lock)
{
	int cpu;

	do {
		cpu = acquire_or_sleep(lock);
	} while (cpu == AGAIN);
	return cpu;
}

int rseq_lock_try_acquire_slow(struct rseq_lock *lock)
{
	int cpu = rseq_lock_try_again(lock);
	enum outcome outcome = CHANGED;

	if (cpu >= 0)
		return cpu;
	cpu = own_cpu(lock);
	for (int try = 0; try < RSEQ_MAX_TRIES && outcome == CHANGED; try++) {
		uint64_t gate = gate_of(row_of(lock, cpu));

		outcome = !gate && is_held(row_of(lock, cpu)) ? HELD : try_to_take(lock, cpu, gate);
	}
	if (outcome == LOCKED)
		return cpu;
	if (outcome != FAILED)
		errno = EBUSY;
	return -1;
}

int rseq_lock_acquire_cpu(struct rseq_lock *lock, int cpu)
{
	enum outcome outcome;

	if (!lock || cpu < 0 || cpu >= rseq_get_max_nr_cpus()) {
		errno = EINVAL;
		return -1;
	}
	do {
		uint64_t gate = gate_of(row_of(lock, cpu));

		outcome = try_to_take(lock, cpu, gate);
		if (outcome == HELD)
			wait_for_change(row_of(lock, cpu), gate);
	} while (outcome == HELD || outcome == CHANGED);
	return outcome == LOCKED ? 0 : -1;
}

static void release_atomically(struct rseq_lock *lock, int cpu)
{
	struct rseq_lock_row *row = row_of(lock, cpu);
	bool own = is_own(lock, cpu);
	uint64_t gate, calmed;

	do {
		gate = gate_of(row);
		calmed = own ? gate : gate & ~(uint64_t)CALM_MASK;
		if (own && (gate & CALM_MASK) < CALM_ENOUGH)
			calmed += CALM;
	} while (!release_gate(lock, row, gate, calmed));
}

int rseq_lock_release_slow(struct rseq_lock *lock, int cpu)
{
	struct rseq_lock_row *row;

	if (!lock || cpu < 0 || cpu >= rseq_get_max_nr_cpus()) {
		errno = EINVAL;
		return -1;
	}
	row = row_of(lock, cpu);
	if (state_of(gate_of(row)) == TAKEN) {
		release_atomically(lock, cpu);
		return 0;
	}
	if (!is_held(row)) {
		errno = EPERM;
		return -1;
	}
	__atomic_store_n(&row->held, 0, __ATOMIC_RELEASE);
	notice_release(lock, row);
	return 0;
}
