/* SPDX-License-Identifier: MIT */
/*
 * rseq/fence.h: make sure that no critical section is still at work.
 *
 * A thread that wants another CPU's data for itself tells that CPU's sections so in memory, calls a
 * fence, and from then on knows that none of them is still under way with what it read before.
 *
 * Who may run with whom: fences may run at the same time as fences and sections on any threads.
 */
#ifndef RSEQ_FENCE_H
#define RSEQ_FENCE_H

#include <rseq/compiler.h>

RSEQ_BEGIN_DECLS

/*
 * Wait until every critical section of this process that is under way on cpu has committed or was
 * aborted. On a CPU that is offline or absent there is none.
 *
 * A section is told apart by the CPU that it runs on. Where rows are chosen by mm_cid, use
 * rseq_fence_all().
 *
 * Returns: 0; -1 with errno EINVAL if cpu is negative or rseq_get_max_nr_cpus() or above, ENOSYS if
 * the kernel has no membarrier() for rseq (before 5.10, or one that loses it: see
 * rseq_info.kernel_bugs) and this thread may not visit the CPU instead, as a cpuset or a system
 * call filter forbids that. Then nothing was waited for.
 * Context: any thread, async-signal-safe. Not within a critical section. Without membarrier() the
 * thread's CPU affinity is changed meanwhile, and must not be changed by others.
 * Ordering: full barrier on this thread. Sections that begin on cpu after the call began see what
 * this thread wrote before it, and this thread sees after it what those before it committed.
 * Progress: blocks for the time of an interrupt of a busy CPU, about 15 us: batch what needs it.
 * Without membarrier(), until the scheduler has run this thread there, and about 10 system calls.
 */
RSEQ_API int rseq_fence_cpu(int cpu);

/*
 * The same for all CPUs.
 *
 * Returns: 0, or -1 with errno ENOSYS, as rseq_fence_cpu() does.
 * Context: any thread, async-signal-safe. Not within a critical section.
 * Ordering: full barrier on this thread, and as rseq_fence_cpu() with each CPU.
 * Progress: blocks as rseq_fence_cpu() does, for all CPUs at once; without membarrier() for one
 * after the other.
 */
RSEQ_API int rseq_fence_all(void);

RSEQ_END_DECLS

#endif /* RSEQ_FENCE_H */
