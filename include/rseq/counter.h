/* SPDX-License-Identifier: MIT */
/*
 * rseq/counter.h: statistics counter, split over CPUs.
 *
 * Who may run with whom: add, inc, dec and sum may run at the same time on any threads, with or
 * without rseq, in signal handlers too. create and destroy of other counters may run with all of
 * these. Nothing may run with, or after, destroy of the same counter.
 *
 * Memory: 8 bytes in the row of each CPU that counts. 8200 counters share a range, whose rows are
 * RSEQ_PERCPU_STRIDE bytes apart: pages of them that no CPU counts in cost address space alone. For
 * each counter there are 4 bytes more, and for each range a page and a page at each end of the part
 * of a row that is in use. Memory of destroyed counters is reused, not returned.
 */
#ifndef RSEQ_COUNTER_H
#define RSEQ_COUNTER_H

#include <rseq/section.h>

RSEQ_BEGIN_DECLS

struct rseq_counter;

/*
 * Make a counter that stands at 0.
 *
 * Returns: the counter, or NULL with errno ENOMEM.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes a lock of the memory pools.
 */
RSEQ_API struct rseq_counter *rseq_counter_create(void);

/*
 * Free a counter. NULL is allowed and does nothing.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes a lock of the memory pools.
 */
RSEQ_API void rseq_counter_destroy(struct rseq_counter *counter);

/*
 * The sum of all that was added. Exact when no add is under way; each add that runs meanwhile is
 * either in it or not. Wraps around like unsigned addition.
 *
 * Returns: the sum; 0 with errno EINVAL for NULL.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed. To see another thread's add, synchronise with that thread after it.
 * Progress: wait-free, O(CPUs).
 */
RSEQ_API intptr_t rseq_counter_sum(const struct rseq_counter *counter);

/*
 * What rseq_counter_add() does when its section is aborted, or its thread is not registered:
 * registers the thread if nobody tried, tries again a few times, then adds atomically.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed.
 * Progress: wait-free.
 */
RSEQ_API void rseq_counter_add_slow(struct rseq_counter *counter, intptr_t count);

/*
 * Try to add count to a counter, once. The counter must not be NULL.
 *
 * Returns: true when it is added, false when the section was aborted or the thread is not
 * registered; then nothing is added.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed, and no compiler barrier.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_counter_try_add(struct rseq_counter *counter,
		intptr_t count)
{
	/*
	 * No "memory" clobber: a counter's memory is touched by sections and by volatile accesses
	 * of the library alone, which keep their order among each other.
	 */
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_INDEX("counter", "failed")
		RSEQ_ASM_ADD("count", RSEQ_ASM_INDEXED("counter"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("counter_add", "failed")
		: /* none */
		: RSEQ_SECTION_OPERANDS(offsetof(struct rseq_abi, cpu_id)),
		  [counter] "r" (counter), [count] RSEQ_ASM_ADDEND (count)
		: RSEQ_ASM_CLOBBERS
		: failed);
	return true;
failed:
	return false;
}

/*
 * Add count to a counter. Cannot fail. The counter must not be NULL.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed, and no compiler barrier.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) void rseq_counter_add(struct rseq_counter *counter,
		intptr_t count)
{
	if (rseq_unlikely(!rseq_counter_try_add(counter, count)))
		rseq_counter_add_slow(counter, count);
}

/* rseq_counter_add() of 1 and of -1. */
RSEQ_INLINE __attribute__((nonnull)) void rseq_counter_inc(struct rseq_counter *counter)
{
	rseq_counter_add(counter, 1);
}

RSEQ_INLINE __attribute__((nonnull)) void rseq_counter_dec(struct rseq_counter *counter)
{
	rseq_counter_add(counter, -1);
}

RSEQ_END_DECLS

#endif /* RSEQ_COUNTER_H */
