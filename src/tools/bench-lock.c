/* SPDX-License-Identifier: MIT */
/*
 * bench-lock.c: a lock is taken and released, with nothing in between. This library's is one of
 * many, that of the CPU; of the others there is one for all threads, or one for each CPU as well.
 * The floor is a flag that each thread has for itself.
 */
#define _GNU_SOURCE		/* sched_getcpu() */

#include "bench.h"

#include <rseq/lock.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

static int setup_lock(struct bench_run *run)
{
	run->state = rseq_lock_create();
	return run->state ? 0 : -1;
}

static void teardown_lock(struct bench_run *run)
{
	rseq_lock_destroy(run->state);
}

BENCH_BODY(rseq_pair)
{
	struct rseq_lock *lock = run->state;

	BENCH_REPEAT(nr,
		int cpu = rseq_lock_acquire(lock);

		if (rseq_likely(cpu >= 0))
			rseq_lock_release(lock, cpu);
	)
}
BENCH_LOOPS(rseq_pair)

/* What is left of a lock if nobody else can want it: it is taken and released, in memory. */
static __thread int own_flag __attribute__((aligned(BENCH_LINE)));

BENCH_BODY(tls_pair)
{
	int *flag = BENCH_OWN(own_flag);

	(void)run;
	BENCH_REPEAT(nr, *flag = 1; rseq_barrier(); *flag = 0; rseq_barrier();)
}
BENCH_LOOPS(tls_pair)

struct padded_mutex {
	pthread_mutex_t mutex __attribute__((aligned(BENCH_LINE)));
};

static struct padded_mutex shared = { .mutex = PTHREAD_MUTEX_INITIALIZER };

BENCH_BODY(mutex_pair)
{
	(void)run;
	BENCH_REPEAT(nr, pthread_mutex_lock(&shared.mutex); pthread_mutex_unlock(&shared.mutex);)
}
BENCH_LOOPS(mutex_pair)

static int setup_mutexes(struct bench_run *run)
{
	size_t nr = (size_t)rseq_get_max_nr_cpus();
	struct padded_mutex *mutexes = aligned_alloc(BENCH_LINE, nr * sizeof(*mutexes));

	run->state = mutexes;
	for (size_t i = 0; mutexes && i < nr; i++)
		pthread_mutex_init(&mutexes[i].mutex, NULL);
	return mutexes ? 0 : -1;
}

static void teardown_mutexes(struct bench_run *run)
{
	free(run->state);
}

BENCH_BODY(mutexes_pair)
{
	struct padded_mutex *mutexes = run->state;

	BENCH_REPEAT(nr,
		pthread_mutex_t *mutex = &mutexes[sched_getcpu()].mutex;

		pthread_mutex_lock(mutex);
		pthread_mutex_unlock(mutex);
	)
}
BENCH_LOOPS(mutexes_pair)

static int setup_spinlock(struct bench_run *run)
{
	static pthread_spinlock_t spinlock __attribute__((aligned(BENCH_LINE)));

	run->state = (void *)&spinlock;
	return pthread_spin_init(&spinlock, PTHREAD_PROCESS_PRIVATE) ? -1 : 0;
}

BENCH_BODY(spinlock_pair)
{
	pthread_spinlock_t *spinlock = run->state;

	BENCH_REPEAT(nr, pthread_spin_lock(spinlock); pthread_spin_unlock(spinlock);)
}
BENCH_LOOPS(spinlock_pair)

static const struct bench_variant pairs[] = {
	BENCH_VARIANT("rseq_lock_acquire, rseq_lock_release", setup_lock, teardown_lock, rseq_pair),
	BENCH_VARIANT("mutex", NULL, NULL, mutex_pair),
	BENCH_VARIANT("TLS flag, set and cleared", NULL, NULL, tls_pair),
	BENCH_VARIANT("mutex of the CPU, by sched_getcpu", setup_mutexes, teardown_mutexes,
		      mutexes_pair),
	BENCH_VARIANT("spinlock", setup_spinlock, NULL, spinlock_pair),
	{ .name = "Concurrency Kit spinlock", .peer = "ck_spinlock" },
	{ 0 },
};

const struct bench bench_lock[] = {
	{ .name = "lock-pair", .area = "lock acquire+release pair", .unit = "ns",
	  .variants = pairs },
	{ .name = "lock-pair-threads", .area = "lock acquire+release pair, 64 threads",
	  .unit = "ns", .threads = 64, .scales = true, .variants = pairs },
	{ 0 },
};
