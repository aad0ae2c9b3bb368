/* SPDX-License-Identifier: MIT */
/*
 * Items of one page that get initial values while other CPUs' copies of the page are made: a copy
 * that the kernel began before an item got its value must not hide that value. Threads take items
 * from one pool after the other, each with a value of its own, and write to all rows, so that each
 * page is copied while its other items are being made.
 *
 * STRESS_SECONDS is how long it runs, 1 by default: the fault shows at once.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <time.h>

#define NR_THREADS	4
#define NR_ROWS		2
#define WORDS		8
#define ITEMS_PER_RANGE	(RSEQ_MEMPOOL_STRIDE / (WORDS * sizeof(uintptr_t)))
#define MAX_SECONDS	86400

struct item {
	uintptr_t words[WORDS];
};

struct round {
	struct rseq_mempool *pool;
	bool robust;
	unsigned long nr_wrong;
};

static pthread_barrier_t barrier;

static bool holds(const struct item *item, uintptr_t value)
{
	for (int i = 0; i < WORDS; i++)
		if (RSEQ_READ_ONCE(item->words[i]) != value)
			return false;
	return true;
}

static void fill(struct item *item, uintptr_t value)
{
	for (int i = 0; i < WORDS; i++)
		RSEQ_WRITE_ONCE(item->words[i], value);
}

/* Nobody else writes to the item, so that it has its value at any later time as well. */
static void *take_items(void *argument)
{
	struct item *items[ITEMS_PER_RANGE / NR_THREADS];
	uintptr_t values[ITEMS_PER_RANGE / NR_THREADS];
	const size_t nr = ITEMS_PER_RANGE / NR_THREADS;
	struct round *round = argument;
	unsigned long nr_wrong = 0;

	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < nr; i++) {
		struct item init;

		values[i] = (uintptr_t)&items[i];
		fill(&init, values[i]);
		items[i] = rseq_mempool_percpu_malloc_init(round->pool, &init, sizeof(init));
		if (!items[i])
			abort();
		for (int row = 0; row < NR_ROWS; row++)
			nr_wrong += !holds(rseq_percpu_ptr(items[i], row), values[i]);
		fill(rseq_percpu_ptr(items[i], (int)(i % NR_ROWS)), values[i]);
		if (round->robust && i % 3 == 0) {
			rseq_mempool_percpu_free(items[i]);
			items[i] = NULL;
		}
	}
	for (size_t i = 0; i < nr; i++) {
		for (int row = 0; items[i] && row < NR_ROWS; row++)
			nr_wrong += !holds(rseq_percpu_ptr(items[i], row), values[i]);
		rseq_mempool_percpu_free(items[i]);
	}
	__atomic_fetch_add(&round->nr_wrong, nr_wrong, __ATOMIC_RELAXED);
	return NULL;
}

static unsigned long run_round(bool robust)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct round round = { .robust = robust };
	pthread_t threads[NR_THREADS];

	if (!attr || rseq_mempool_attr_set_percpu(attr, 0, NR_ROWS) ||
	    (robust && rseq_mempool_attr_set_robust(attr)))
		return 1;
	round.pool = rseq_mempool_create("copies", sizeof(struct item), attr);
	rseq_mempool_attr_destroy(attr);
	if (!round.pool)
		return 1;
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, take_items, &round))
			abort();
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	return round.nr_wrong + (rseq_mempool_destroy(round.pool) ? 1 : 0);
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

int main(void)
{
	const char *text = getenv("STRESS_SECONDS"), *emulator = getenv("RSEQ_EMULATOR");
	const long seconds = text ? atol(text) : 1;
	const time_t end = now() + (seconds > MAX_SECONDS ? MAX_SECONDS : seconds);
	unsigned long nr_rounds = 0, nr_wrong = 0;

	/* qemu-user ignores madvise(), by which the library waits for copies. */
	if (emulator && *emulator) {
		printf("skipped: an emulator's madvise() does nothing\n");
		return SUPPORT_SKIP;
	}
	if (pthread_barrier_init(&barrier, NULL, NR_THREADS))
		return 1;
	while (!nr_rounds || (!nr_wrong && now() < end))
		nr_wrong += run_round(nr_rounds++ % 2);
	printf("%lu pools, %lu times a copy had another value than its item was given\n",
	       nr_rounds, nr_wrong);
	return nr_wrong != 0;
}
