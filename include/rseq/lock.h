/* SPDX-License-Identifier: MIT */
/*
 * rseq/lock.h: a lock for each CPU, which its own threads take and release without atomics.
 *
 * A thread takes the lock of the CPU that it runs on, and holds that one, though it may migrate,
 * until it releases it. Whoever else wants a CPU's lock (another CPU's thread, one without rseq, or
 * one that finds it taken) makes it an ordinary atomic one for a while. Who has to wait sleeps.
 *
 * Who may run with whom: acquire, try_acquire, acquire_cpu and release may run at the same time on
 * any threads, with or without rseq; in signal handlers only try_acquire and release. create and
 * destroy of other locks may run with all of these. Nothing may run with, or after, destroy of the
 * same lock; that includes a release that has not returned.
 *
 * A lock is not recursive, and nobody finds out: a thread that takes another one of the same struct
 * rseq_lock waits for itself if it has not migrated meanwhile. Any thread may release a held lock,
 * not only the one that took it, if it synchronises with that. The lock of a thread that ends stays
 * held. In the child of fork(), locks are as they were: those of the thread that called it are the
 * child's to release, those of other threads stay held for ever. A thread that waits goes on after
 * signals, and cannot be cancelled. The lock is not fair.
 *
 * Memory: 16 bytes in the row of each CPU that locks, 48 bytes for the lock. Where membarrier()
 * lacks rseq (before Linux 5.10), in the row of each possible CPU.
 */
#ifndef RSEQ_LOCK_H
#define RSEQ_LOCK_H

#include <rseq/section.h>

RSEQ_BEGIN_DECLS

/* A CPU's part. Its sections write to held, and keep off unless gate is 0, open. */
struct rseq_lock_row {
	uintptr_t held;
	uint64_t gate;
};

/* For the functions below. */
struct rseq_lock {
	struct rseq_rows rows;
	uint64_t closings;
	unsigned int stays_atomic;
};

/*
 * Make a lock that nobody holds. In rseq_lock_create_mode(), mode chooses what numbers its parts:
 * RSEQ_PERCPU_MM_CID makes a process with few threads use few of them, on whichever CPUs it runs.
 * Where the kernel has no mm_cid, that is RSEQ_PERCPU_CPU_ID, the one of rseq_lock_create().
 *
 * Returns: the lock, or NULL with errno ENOMEM, or EINVAL for another mode.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API struct rseq_lock *rseq_lock_create(void);
RSEQ_API struct rseq_lock *rseq_lock_create_mode(enum rseq_percpu_mode mode);

/*
 * Free a lock that nobody holds. NULL is allowed and does nothing.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API void rseq_lock_destroy(struct rseq_lock *lock);

/*
 * Lock one CPU, or one mm_cid, whichever the caller runs on: wait until it is free.
 *
 * Returns: 0; -1 with errno EINVAL if lock is NULL or cpu is not possible, ENOSYS if the fence
 * cannot work, which it could when the lock was made (see rseq_fence_cpu()): then it is not locked.
 * Context: any thread; not async-signal-safe. Not within a critical section.
 * Ordering: acquire.
 * Progress: blocks for one fence (see rseq/fence.h) unless others have made it atomic already, and
 * while the lock is held.
 */
RSEQ_API int rseq_lock_acquire_cpu(struct rseq_lock *lock, int cpu);

/*
 * What acquire, try_acquire and release do when their section does not commit.
 *
 * Returns, Context, Ordering: as these do.
 * Progress: as these do; a thread without rseq, and one that was aborted too often, waits for a
 * fence unless others have made the lock atomic already.
 */
RSEQ_API int rseq_lock_acquire_slow(struct rseq_lock *lock);
RSEQ_API int rseq_lock_try_acquire_slow(struct rseq_lock *lock);
RSEQ_API int rseq_lock_release_slow(struct rseq_lock *lock, int cpu);

/*
 * Try to lock this CPU in a section, once. The lock is not NULL.
 *
 * Returns: its number. -1, errno kept, when the section was aborted, the thread is not registered,
 * or the lock is held or atomic: then nothing is changed.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) int rseq_lock_try_section(struct rseq_lock *lock)
{
	intptr_t cpu;

	__asm__ __volatile__ (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_INDEX_BY("rows", "id", RSEQ_ASM_ABORT_LABEL)
		RSEQ_ASM_GET_ID("cpu", "id")
		RSEQ_ASM_BNZ_AT(RSEQ_ASM_ROW("rows", "8"), RSEQ_ASM_RESULT_LABEL("taken"))
		RSEQ_ASM_BNZ_AT(RSEQ_ASM_ROW("rows", "0"), RSEQ_ASM_RESULT_LABEL("taken"))
		RSEQ_ASM_STORE("held", RSEQ_ASM_ROW("rows", "0"))
		RSEQ_SECTION_END
		RSEQ_SECTION_RESULTS("lock_acquire", "cpu", "-1",
				     RSEQ_SECTION_RESULT("taken", "cpu", "-1"))
		: [cpu] "=&r" (cpu)
		: RSEQ_SECTION_ROWS(&lock->rows), [held] RSEQ_ASM_VALUE ((uintptr_t)1)
		: "memory", RSEQ_ASM_CLOBBERS);
	/* The last holder may have released it on another CPU. */
	rseq_smp_rmb();
	if (RSEQ_SANITIZE_THREAD && cpu >= 0) {
		struct rseq_lock_row *row = (struct rseq_lock_row *)(lock->rows.first +
				(uintptr_t)cpu * RSEQ_PERCPU_STRIDE);

		rseq_sanitize_acquire(&row->held);
		rseq_sanitize_acquire(&row->gate);
	}
	return (int)cpu;
}

/*
 * Try to release a CPU's lock in a section, once. The caller holds it.
 *
 * Returns: whether it is released. Not, when the section was aborted, the thread is not registered,
 * it runs on another CPU, or the lock is atomic or not held.
 * Context: any thread, async-signal-safe.
 * Ordering: release.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_lock_try_release(struct rseq_lock *lock, int cpu)
{
	char *row = lock->rows.first + (uintptr_t)(unsigned int)cpu * RSEQ_PERCPU_STRIDE;

	rseq_sanitize_release(row);
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_CHECK_REGISTERED("failed")
		RSEQ_ASM_CHECK_ID_BY("cpu", "id", RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_BNZ_AT(RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "8"),
				RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_BNE(RSEQ_ASM_AT("row"), "held", "failed")
		RSEQ_ASM_STORE_RELEASE("free", RSEQ_ASM_AT("row"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("lock_release", "failed")
		: /* none */
		: [rseq_area] "r" (RSEQ_ASM_AREA), [id] "r" (lock->rows.id), [cpu] "r" (cpu),
		  [row] "r" (row), [held] RSEQ_ASM_VALUE ((uintptr_t)1),
		  [free] RSEQ_ASM_VALUE ((uintptr_t)0)
		: "memory", RSEQ_ASM_CLOBBERS
		: failed);
	return true;
failed:
	return false;
}

/*
 * Lock this CPU: wait until it is free. If the thread has moved when it is woken, it takes the lock
 * of the CPU where it is then. The lock is not NULL.
 *
 * Returns: the number of the CPU, or of the mm_cid, that is locked, to be released; errno is kept.
 * -1 with errno ENOSYS as rseq_lock_acquire_cpu(), in a thread without rseq or aborted too often.
 * Context: any thread; not async-signal-safe. Not within a critical section.
 * Ordering: acquire.
 * Progress: blocks while the lock is held, asleep; else wait-free where rseq works.
 */
RSEQ_INLINE __attribute__((nonnull)) int rseq_lock_acquire(struct rseq_lock *lock)
{
	int cpu = rseq_lock_try_section(lock);

	return rseq_likely(cpu >= 0) ? cpu : rseq_lock_acquire_slow(lock);
}

/*
 * Lock this CPU if that is free. The lock is not NULL.
 *
 * Returns: the number, as rseq_lock_acquire() does; errno is kept. -1 with errno EBUSY if the lock
 * is held, or was while somebody made it atomic, or ENOSYS as rseq_lock_acquire() does.
 * Context: any thread, async-signal-safe. Not within a critical section.
 * Ordering: acquire, if it is locked.
 * Progress: wait-free where rseq works; else lock-free, and blocks for one fence at most.
 */
RSEQ_INLINE __attribute__((nonnull)) int rseq_lock_try_acquire(struct rseq_lock *lock)
{
	int cpu = rseq_lock_try_section(lock);

	return rseq_likely(cpu >= 0) ? cpu : rseq_lock_try_acquire_slow(lock);
}

/*
 * Release the lock of one CPU, from whichever CPU. The lock is not NULL, and cpu is what
 * rseq_lock_acquire() or rseq_lock_try_acquire() has returned, or what was given to
 * rseq_lock_acquire_cpu().
 *
 * Returns: 0; errno is kept. -1 with errno EINVAL if cpu is not possible, EPERM if nobody holds the
 * lock.
 * Context: any thread, async-signal-safe.
 * Ordering: release.
 * Progress: wait-free where rseq works and the thread has not moved; else lock-free. Wakes all
 * threads that wait.
 */
RSEQ_INLINE __attribute__((nonnull)) int rseq_lock_release(struct rseq_lock *lock, int cpu)
{
	if (rseq_likely(rseq_lock_try_release(lock, cpu)))
		return 0;
	return rseq_lock_release_slow(lock, cpu);
}

RSEQ_END_DECLS

#endif /* RSEQ_LOCK_H */
