/* SPDX-License-Identifier: MIT */
/*
 * bench-refcount.c: a reference is taken and given back, which is what keeps something alive while
 * it is read.
 */
#include "bench.h"

#include <rseq/refcount.h>

#include <pthread.h>

static void release(void *argument)
{
	(void)argument;
}

static int setup_refcount(struct bench_run *run)
{
	run->state = rseq_refcount_create(release, NULL);
	return run->state ? 0 : -1;
}

static void teardown_refcount(struct bench_run *run)
{
	rseq_refcount_destroy(run->state);
}

BENCH_BODY(rseq_pair)
{
	struct rseq_refcount *ref = run->state;

	BENCH_REPEAT(nr, rseq_refcount_get(ref); rseq_refcount_put(ref);)
}
BENCH_LOOPS(rseq_pair)

static __thread intptr_t own_count __attribute__((aligned(BENCH_LINE)));

BENCH_BODY(tls_pair)
{
	intptr_t *count = BENCH_OWN(own_count);

	(void)run;
	BENCH_REPEAT(nr, (*count)++; rseq_barrier(); (*count)++; rseq_barrier();)
}
BENCH_LOOPS(tls_pair)

static intptr_t shared_count __attribute__((aligned(BENCH_LINE)));

/* Ordered as the release of what is counted needs it. */
BENCH_BODY(atomic_pair)
{
	(void)run;
	BENCH_REPEAT(nr,
		__atomic_fetch_add(&shared_count, 1, __ATOMIC_RELAXED);
		__atomic_fetch_sub(&shared_count, 1, __ATOMIC_ACQ_REL);
	)
}
BENCH_LOOPS(atomic_pair)

static struct {
	pthread_mutex_t mutex __attribute__((aligned(BENCH_LINE)));
	intptr_t count;
} locked = { .mutex = PTHREAD_MUTEX_INITIALIZER };

BENCH_BODY(mutex_pair)
{
	(void)run;
	BENCH_REPEAT(nr,
		pthread_mutex_lock(&locked.mutex);
		locked.count++;
		pthread_mutex_unlock(&locked.mutex);
		pthread_mutex_lock(&locked.mutex);
		locked.count--;
		pthread_mutex_unlock(&locked.mutex);
	)
}
BENCH_LOOPS(mutex_pair)

static const struct bench_variant pairs[] = {
	BENCH_VARIANT("rseq_refcount_get, rseq_refcount_put", setup_refcount, teardown_refcount,
		      rseq_pair),
	BENCH_VARIANT("two TLS increments", NULL, NULL, tls_pair),
	{ .name = "liburcu-memb read_lock, read_unlock", .peer = "urcu_read" },
	BENCH_VARIANT("atomic increment and decrement", NULL, NULL, atomic_pair),
	BENCH_VARIANT("count and mutex", NULL, NULL, mutex_pair),
	{ 0 },
};

const struct bench bench_refcount[] = {
	{ .name = "refcount-pair", .area = "reference get+put pair", .unit = "ns",
	  .max_ratio = 2.0, .variants = pairs },
	{ .name = "refcount-pair-threads", .area = "reference get+put pair, 64 threads",
	  .unit = "ns", .threads = 64, .scales = true, .variants = pairs },
	{ 0 },
};
