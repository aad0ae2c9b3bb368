/* SPDX-License-Identifier: MIT */
/*
 * rseq/refcount.h: reference count, split over CPUs until its owner gives it up.
 *
 * Its owner's reference, from create to kill, keeps the count above zero, so that get and put need
 * not look at the sum: each adds to the word of its CPU. kill adds the words up, and from then on
 * the count is one atomic word. Who brings it to zero calls release.
 *
 * Who may run with whom: get, put, tryget and kill may run at the same time on any threads, with or
 * without rseq, in signal handlers too, as long as who calls get or put has a reference, and who
 * calls tryget knows by other means that nobody destroys the count meanwhile. create and destroy of
 * other counts may run with all of these. Nothing may run with, or after, destroy of the same one,
 * but for the put or kill from whose call of release it was called.
 *
 * fork(): the child has counts of its own, as they were, with the references of threads that it
 * does not have. One that another thread was killing just then is never released there: its kill
 * returns EALREADY.
 *
 * Memory: 8 bytes in the row of each CPU that counts, 128 bytes for the count.
 */
#ifndef RSEQ_REFCOUNT_H
#define RSEQ_REFCOUNT_H

#include <rseq/section.h>

RSEQ_BEGIN_DECLS

/* For the functions below. */
struct rseq_refcount {
	uintptr_t state;		/* not 0: not by CPU. Comes first; atomic */
	char *rows;
	void (*release)(void *arg);
	void *arg;
	/* Has the bias RSEQ_REFCOUNT_BIAS until the rows have been added up; atomic. */
	__attribute__((aligned(64))) intptr_t count;
};

#define RSEQ_REFCOUNT_BIAS	((intptr_t)1 << 62)
#define RSEQ_REFCOUNT_PER_CID	((uintptr_t)1)		/* state: the rows go by mm_cid */

/*
 * Make a count of one reference, the owner's, which rseq_refcount_kill() gives up. release will be
 * called with arg, once, when there is no reference any more; it may destroy the count. In
 * rseq_refcount_create_mode(), mode chooses what numbers its parts: RSEQ_PERCPU_MM_CID makes a
 * process with few threads use few of them, on whichever CPUs it runs, and takes a function call
 * each time. Where the kernel has no mm_cid, that is RSEQ_PERCPU_CPU_ID, the one of
 * rseq_refcount_create().
 *
 * Returns: the count, or NULL with errno ENOMEM, or EINVAL if release is NULL, or for another mode.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API struct rseq_refcount *rseq_refcount_create(void (*release)(void *arg), void *arg);
RSEQ_API struct rseq_refcount *rseq_refcount_create_mode(void (*release)(void *arg), void *arg,
		enum rseq_percpu_mode mode);

/*
 * Free a count, in release or when nobody uses it; release is not called. NULL is allowed and does
 * nothing. References that are left must not be used: nobody checks that there is none.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API void rseq_refcount_destroy(struct rseq_refcount *ref);

/*
 * Give up the owner's reference, and let the count go to zero. Afterwards get and put are atomic,
 * and tryget fails. Calls release if there is no other reference.
 *
 * Returns: 0: then the count may be gone, unless the caller has a reference of his own. -1 with
 * errno EINVAL for NULL; EALREADY if kill was called before; ENOSYS if rseq_fence_all() cannot
 * work, which it could when the count was made (see there): then the owner's reference stays, get,
 * put and tryget work, and kill may be called again.
 * Context: any thread, as release can. Not within a critical section.
 * Ordering: full barrier. release sees what was written before each put.
 * Progress: blocks for one fence (see rseq/fence.h); O(CPUs).
 */
RSEQ_API int rseq_refcount_kill(struct rseq_refcount *ref);

/*
 * What get, put and tryget do when their section does not commit: register the thread if nobody
 * tried, try again a few times, by mm_cid where the count is so, and then count atomically.
 *
 * Returns, Context, Ordering: as get, put and tryget.
 * Progress: lock-free.
 */
RSEQ_API void rseq_refcount_get_slow(struct rseq_refcount *ref);
RSEQ_API void rseq_refcount_put_slow(struct rseq_refcount *ref);
RSEQ_API bool rseq_refcount_tryget_slow(struct rseq_refcount *ref);

/*
 * Try to add to this CPU's word, once.
 *
 * Returns: true when count is added. False when the section was aborted, the thread is not
 * registered, or the count is not by CPU: then nothing is added.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed, and no compiler barrier.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_refcount_try_add(struct rseq_refcount *ref,
		intptr_t count)
{
	/*
	 * No "memory" clobber: what it touches, others touch in sections, and the library in atomic
	 * accesses, which keep their order among each other.
	 */
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_BNZ_AT(RSEQ_ASM_AT("ref"), RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_INDEX("rows", "failed")
		RSEQ_ASM_ADD("count", RSEQ_ASM_INDEXED("rows"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("refcount_add", "failed")
		: /* none */
		: RSEQ_SECTION_OPERANDS(offsetof(struct rseq_abi, cpu_id)),
		  [ref] "r" (ref), [rows] "r" (ref->rows), [count] RSEQ_ASM_ADDEND (count)
		: RSEQ_ASM_CLOBBERS
		: failed);
	return true;
failed:
	return false;
}

/*
 * Try the same by mm_cid, once. Returns, Context, Ordering, Progress: the same, for a count that
 * goes by mm_cid.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_refcount_try_add_cid(struct rseq_refcount *ref,
		intptr_t count)
{
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_BNE(RSEQ_ASM_AT("ref"), "state", "failed")
		RSEQ_ASM_CHECK_REGISTERED("failed")
		RSEQ_ASM_INDEX("rows", "failed")
		RSEQ_ASM_ADD("count", RSEQ_ASM_INDEXED("rows"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("refcount_add_cid", "failed")
		: /* none */
		: RSEQ_SECTION_OPERANDS(offsetof(struct rseq_abi, mm_cid)),
		  [ref] "r" (ref), [state] RSEQ_ASM_VALUE (RSEQ_REFCOUNT_PER_CID),
		  [rows] "r" (ref->rows), [count] RSEQ_ASM_ADDEND (count)
		: RSEQ_ASM_CLOBBERS
		: failed);
	return true;
failed:
	return false;
}

/*
 * Take one more reference. The caller has one already: the owner's, another thread's that lasts
 * until then, or his own. Cannot fail. ref is not NULL.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed, and no compiler barrier.
 * Progress: wait-free where rseq works, else lock-free.
 */
RSEQ_INLINE __attribute__((nonnull)) void rseq_refcount_get(struct rseq_refcount *ref)
{
	if (rseq_unlikely(!rseq_refcount_try_add(ref, 1)))
		rseq_refcount_get_slow(ref);
}

/*
 * Give a reference back. If it was the last one, which only happens after kill, calls release. ref
 * is not NULL, and must not be used afterwards without another reference.
 *
 * Returns: nothing; errno is kept, unless release changes it.
 * Context: any thread, as release can; async-signal-safe if that is.
 * Ordering: release, towards the call of release, which is acquire.
 * Progress: wait-free where rseq works, else lock-free; and what release takes.
 */
RSEQ_INLINE __attribute__((nonnull)) void rseq_refcount_put(struct rseq_refcount *ref)
{
	/* The fence in kill orders it for the CPU. */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	rseq_sanitize_release(&ref->release);
	if (rseq_unlikely(!rseq_refcount_try_add(ref, -1)))
		rseq_refcount_put_slow(ref);
}

/*
 * Take a reference without having one, unless kill has returned: while it is under way, either
 * comes first. ref is not NULL, and something else, such as RCU, keeps it from being destroyed.
 *
 * Returns: whether it was taken; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire, towards who called kill, if it fails.
 * Progress: wait-free where rseq works, else lock-free.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_refcount_tryget(struct rseq_refcount *ref)
{
	bool taken = rseq_likely(rseq_refcount_try_add(ref, 1)) || rseq_refcount_tryget_slow(ref);

	__atomic_signal_fence(__ATOMIC_ACQUIRE);
	return taken;
}

RSEQ_END_DECLS

#endif /* RSEQ_REFCOUNT_H */
