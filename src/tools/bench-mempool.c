/* SPDX-License-Identifier: MIT */
/*
 * bench-mempool.c: pools of per-CPU memory against malloc(), which gives memory for one CPU only.
 */
#include "bench.h"

#include <rseq/mempool.h>
#include <rseq/thread.h>

#include <stdlib.h>
#include <string.h>

#define NR_ITEMS	1000

/* Against the order of a free list, and the compiler's knowledge of malloc(). */
#define BENCH_PAIR(allocate, release)						\
	do {									\
		void *item = allocate;						\
										\
		BENCH_HIDE(item);						\
		release;							\
	} while (0);

/* A pool of items of this size, for as many CPUs as the benchmark says. */
static int setup_pool(struct bench_run *run)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	void __rseq_percpu *item;

	if (!attr)
		return -1;
	rseq_mempool_attr_set_percpu(attr, 0, (int)run->bench->cpus_of_pool);
	run->state = rseq_mempool_create("bench", run->bench->bytes, attr);
	rseq_mempool_attr_destroy(attr);
	if (!run->state)
		return -1;
	item = rseq_mempool_percpu_malloc(run->state);
	if (!item)
		return -1;
	rseq_mempool_percpu_free(item);
	return 0;
}

static void teardown_pool(struct bench_run *run)
{
	rseq_mempool_destroy(run->state);
}

BENCH_BODY(pool_malloc)
{
	struct rseq_mempool *pool = run->state;

	BENCH_REPEAT(nr,
		BENCH_PAIR(rseq_mempool_percpu_malloc(pool), rseq_mempool_percpu_free(item)))
}
BENCH_LOOPS(pool_malloc)

/* Each item is written to, on this CPU alone: that is what has to be zeroed. */
BENCH_BODY(pool_zmalloc)
{
	struct rseq_mempool *pool = run->state;
	int cpu = (int)rseq_cpu_start();

	BENCH_REPEAT(nr,
		BENCH_PAIR(rseq_mempool_percpu_zmalloc(pool),
			   *(volatile long *)rseq_percpu_ptr(item, cpu) = 1;
			   rseq_mempool_percpu_free(item)))
}
BENCH_LOOPS(pool_zmalloc)

BENCH_BODY(libc_malloc)
{
	size_t bytes = run->bench->bytes;

	BENCH_REPEAT(nr, BENCH_PAIR(malloc(bytes), free(item)))
}
BENCH_LOOPS(libc_malloc)

BENCH_BODY(libc_calloc)
{
	size_t bytes = run->bench->bytes;

	BENCH_REPEAT(nr, BENCH_PAIR(calloc(1, bytes), *(volatile long *)item = 1; free(item)))
}
BENCH_LOOPS(libc_calloc)

static const struct bench_variant mallocs[] = {
	BENCH_VARIANT("rseq_mempool_percpu_malloc, free", setup_pool, teardown_pool, pool_malloc),
	BENCH_VARIANT("malloc, free", NULL, NULL, libc_malloc),
	{ 0 },
};

static const struct bench_variant zmallocs[] = {
	BENCH_VARIANT("rseq_mempool_percpu_zmalloc, free", setup_pool, teardown_pool, pool_zmalloc),
	BENCH_VARIANT("malloc, free", NULL, NULL, libc_malloc),
	BENCH_VARIANT("calloc, free", NULL, NULL, libc_calloc),
	{ 0 },
};

/* The fastest of a few: what destroying a pool leaves to do is not the next one's. */
#define NR_CREATIONS	64

static double measure_create(struct bench_run *run)
{
	double least = -1;

	for (int i = 0; i < NR_CREATIONS; i++) {
		struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
		double start = bench_now(), time;
		struct rseq_mempool *pool;

		if (!attr)
			return -1;
		rseq_mempool_attr_set_percpu(attr, 0, (int)run->bench->cpus_of_pool);
		pool = rseq_mempool_create("bench", run->bench->bytes, attr);
		time = bench_now() - start;
		rseq_mempool_attr_destroy(attr);
		if (!pool)
			return -1;
		rseq_mempool_destroy(pool);
		if (least < 0 || time < least)
			least = time;
	}
	return least;
}

BENCH_BODY(pool_create)
{
	for (; nr; nr--) {
		struct bench_run pool = { .bench = run->bench };

		if (setup_pool(&pool))
			abort();
		teardown_pool(&pool);
	}
}
BENCH_LOOPS(pool_create)

static size_t size_of_array(const struct bench *bench)
{
	return (size_t)bench->cpus_of_pool * RSEQ_MEMPOOL_STRIDE;
}

static double measure_calloc(struct bench_run *run)
{
	double least = -1;

	for (int i = 0; i < NR_CREATIONS; i++) {
		double start = bench_now(), time;
		void *array = calloc(1, size_of_array(run->bench));

		BENCH_HIDE(array);
		time = bench_now() - start;
		if (!array)
			return -1;
		free(array);
		if (least < 0 || time < least)
			least = time;
	}
	return least;
}

static const struct bench_variant creations[] = {
	{ .name = "create", .measure = measure_create },
	{ .name = "calloc of the rows", .measure = measure_calloc },
	{ 0 },
};

BENCH_BODY(array_create)
{
	size_t size = size_of_array(run->bench);

	for (; nr; nr--) {
		char *array = calloc(1, size);

		if (!array)
			abort();
		*(volatile char *)array = 1;
		free(array);
	}
}
BENCH_LOOPS(array_create)

static const struct bench_variant lives[] = {
	BENCH_VARIANT("create, malloc, free, destroy", NULL, NULL, pool_create),
	BENCH_VARIANT("calloc of the rows, free", NULL, NULL, array_create),
	{ 0 },
};

/* Items of all zeros, each of which this CPU writes to. */
static bool use_pool(struct bench_run *run)
{
	int cpu = (int)rseq_cpu_start();

	if (setup_pool(run))
		return false;
	for (int i = 0; i < NR_ITEMS; i++) {
		void __rseq_percpu *item = rseq_mempool_percpu_zmalloc(run->state);

		if (!item)
			return false;
		memset(rseq_percpu_ptr(item, cpu), 1, run->bench->bytes);
	}
	return true;
}

static bool use_arrays(struct bench_run *run)
{
	int cpu = (int)rseq_cpu_start();

	for (int i = 0; i < NR_ITEMS; i++) {
		char *item = calloc(run->bench->cpus_of_pool, run->bench->bytes);

		if (!item)
			return false;
		BENCH_HIDE(item);
		memset(item + (size_t)cpu * run->bench->bytes, 1, run->bench->bytes);
		BENCH_USE(item);
	}
	return true;
}

static double measure_pool(struct bench_run *run)
{
	return bench_memory(run, NULL, use_pool);
}

static double measure_arrays(struct bench_run *run)
{
	return bench_memory(run, NULL, use_arrays);
}

static const struct bench_variant memory[] = {
	{ .name = "rseq_mempool_percpu_zmalloc", .measure = measure_pool },
	{ .name = "calloc of a copy for each CPU", .measure = measure_arrays },
	{ 0 },
};

const struct bench bench_mempool[] = {
	{ .name = "mempool-malloc", .area = "mempool malloc+free", .unit = "ns", .max_value = 20,
	  .bytes = 64, .variants = mallocs },
	{ .name = "mempool-zmalloc", .area = "mempool zmalloc+free", .unit = "ns", .bytes = 64,
	  .variants = zmallocs },
	{ .name = "mempool-zmalloc-256", .area = "mempool zmalloc+free, 256 CPUs", .unit = "ns",
	  .max_value = 60, .bytes = 64, .cpus_of_pool = 256, .variants = zmallocs },
	{ .name = "mempool-create-256", .area = "mempool create, 256 CPUs", .unit = "ns",
	  .max_value = 100e3, .bytes = 64, .cpus_of_pool = 256, .variants = creations },
	{ .name = "mempool-life-256", .area = "mempool create to destroy, 256 CPUs", .unit = "ns",
	  .bytes = 64, .cpus_of_pool = 256, .variants = lives },
	{ .name = "mempool-memory", .area = "memory of 1000 items of 64 bytes, 256 CPUs",
	  .unit = "KiB", .max_value = 300, .bytes = 64, .cpus_of_pool = 256, .once = true,
	  .variants = memory },
	{ 0 },
};
