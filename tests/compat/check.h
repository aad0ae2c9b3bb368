/* SPDX-License-Identifier: MIT */
/*
 * check.h: what the programs of this directory share. They are written as users of librseq write
 * them, against its public interface alone: they know nothing of this library but the installed
 * headers, and nothing of the tree they lie in.
 *
 * Each must come to the same exact result where threads have rseq and where they have not: a
 * thread asks once, and does the same work some other way if need be.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
# define _GNU_SOURCE
#endif

#include <rseq/rseq.h>

#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS	64
#define FEW_CPUS	2

static int failures;

#define check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,	\
				#condition);					\
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);	\
		}								\
	} while (0)

/* What a thread does first: registers, and tells whether critical sections can be used. */
static inline bool enter_thread(void)
{
	bool registered = !rseq_register_current_thread();

	check(registered == (rseq_current_cpu_raw() >= 0));
	check(registered == rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL));
	return registered;
}

static inline void leave_thread(bool registered)
{
	if (registered)
		check(!rseq_unregister_current_thread());
}

/* Collisions are rare on many CPUs. */
static inline void keep_to_few_cpus(void)
{
	cpu_set_t all, few;
	int nr = 0;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	CPU_ZERO(&few);
	for (int cpu = 0; cpu < CPU_SETSIZE && nr < FEW_CPUS; cpu++) {
		if (CPU_ISSET(cpu, &all)) {
			CPU_SET(cpu, &few);
			nr++;
		}
	}
	sched_setaffinity(0, sizeof(few), &few);
}

/* Each gets its number as its argument. */
static inline void run_threads(int nr, void *(*function)(void *))
{
	pthread_t threads[MAX_THREADS];
	int started = 0;

	for (; started < nr; started++)
		if (pthread_create(&threads[started], NULL, function, (void *)(intptr_t)started))
			break;
	check(started == nr);
	while (started)
		check(!pthread_join(threads[--started], NULL));
}

/* Ids to be tried: cpu_id, and mm_cid where this thread has it. */
static inline int nr_modes(void)
{
	return rseq_mm_cid_available() ? 2 : 1;
}

static inline int start_cpu(enum rseq_percpu_mode mode)
{
	return (int)(mode == RSEQ_PERCPU_MM_CID ? rseq_current_mm_cid() : rseq_cpu_start());
}

/* The last line of a program says how it ran, for whoever counts. */
static inline int finish(void)
{
	printf("%s rseq, %d failures\n",
	       rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL) ? "with" : "without", failures);
	return failures != 0;
}

#endif /* CHECK_H */
