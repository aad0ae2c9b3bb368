/* SPDX-License-Identifier: MIT */
/*
 * bench-cache.c: caches of objects against allocators, and what memory they keep once many threads
 * have used and freed objects.
 */
#include "bench.h"

#include <rseq/cache.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	1000
#define NR_OBJECTS	64

/* Bytes of a thread's stack that are there before memory is measured. */
#define USED_STACK	16384

static int setup_cache(struct bench_run *run)
{
	run->state = rseq_cache_create("bench", run->bench->bytes, NULL);
	return run->state ? 0 : -1;
}

static void teardown_cache(struct bench_run *run)
{
	rseq_cache_destroy(run->state);
}

BENCH_BODY(rseq_pair)
{
	struct rseq_cache *cache = run->state;

	BENCH_REPEAT(nr,
		void *object = rseq_cache_alloc(cache);

		BENCH_USE(object);
		rseq_cache_free(cache, object);
	)
}
BENCH_LOOPS(rseq_pair)

BENCH_BODY(libc_pair)
{
	size_t bytes = run->bench->bytes;

	BENCH_REPEAT(nr,
		void *object = malloc(bytes);

		BENCH_HIDE(object);
		free(object);
	)
}
BENCH_LOOPS(libc_pair)

/* An allocator that is loaded beside the one that this program uses. */
struct allocator {
	void *(*malloc)(size_t size);
	void (*free)(void *memory);
};

static int load_allocator(struct bench_run *run, const char *library, const char *prefix,
		char *reason, size_t size)
{
	struct allocator *allocator = calloc(1, sizeof(*allocator));
	void *module = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	char symbol[32];

	run->state = allocator;
	snprintf(reason, size, "%s", module ? "the library has other functions" : dlerror());
	run->missing = reason;
	if (!allocator)
		return -1;
	if (module) {
		snprintf(symbol, sizeof(symbol), "%smalloc", prefix);
		*(void **)&allocator->malloc = dlsym(module, symbol);
		snprintf(symbol, sizeof(symbol), "%sfree", prefix);
		*(void **)&allocator->free = dlsym(module, symbol);
	}
	if (allocator->malloc && allocator->free) {
		run->missing = NULL;
		return 0;
	}
	free(allocator);
	return -1;
}

/* Each has a reason of its own: both may be missing. */
static int setup_jemalloc(struct bench_run *run)
{
	static char reason[256];

	return load_allocator(run, "libjemalloc.so.2", "", reason, sizeof(reason));
}

static int setup_tcmalloc(struct bench_run *run)
{
	static char reason[256];

	return load_allocator(run, "libtcmalloc_minimal.so.4", "tc_", reason, sizeof(reason));
}

/* The library stays: its threads' memory is its own. */
static void teardown_allocator(struct bench_run *run)
{
	free(run->state);
}

BENCH_BODY(other_pair)
{
	const struct allocator allocator = *(struct allocator *)run->state;
	size_t bytes = run->bench->bytes;

	BENCH_REPEAT(nr,
		void *object = allocator.malloc(bytes);

		BENCH_USE(object);
		allocator.free(object);
	)
}
BENCH_LOOPS(other_pair)

static const struct bench_variant pairs[] = {
	BENCH_VARIANT("rseq_cache_alloc, rseq_cache_free", setup_cache, teardown_cache, rseq_pair),
	BENCH_VARIANT("malloc, free", NULL, NULL, libc_pair),
	BENCH_VARIANT("jemalloc", setup_jemalloc, teardown_allocator, other_pair),
	BENCH_VARIANT("tcmalloc", setup_tcmalloc, teardown_allocator, other_pair),
	{ 0 },
};

/* What each thread calls for its objects. */
struct heap {
	struct bench_run *run;
	void *(*allocate)(struct bench_run *run);
	void (*release)(struct bench_run *run, void *object);
};

static struct heap heap;
static pthread_barrier_t ready, done;
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;

/* Keeps the compiler from leaving the memory out. */
static void use_stack(void)
{
	char bytes[USED_STACK], *at = bytes;

	memset(bytes, 1, sizeof(bytes));
	BENCH_HIDE(at);
}

/* Threads end with the process, after it was measured: what they keep is what counts. */
static void *use_objects(void *unused)
{
	void *objects[NR_OBJECTS];

	use_stack();
	pthread_barrier_wait(&ready);
	pthread_rwlock_rdlock(&gate);
	pthread_rwlock_unlock(&gate);
	for (int i = 0; i < NR_OBJECTS; i++) {
		objects[i] = heap.allocate(heap.run);
		if (!objects[i])
			abort();
		memset(objects[i], 1, heap.run->bench->bytes);
	}
	for (int i = 0; i < NR_OBJECTS; i++)
		heap.release(heap.run, objects[i]);
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&ready);
	return unused;
}

static bool start_threads(struct bench_run *run)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)run;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 8 * USED_STACK);
	pthread_barrier_init(&ready, NULL, NR_THREADS + 1);
	pthread_barrier_init(&done, NULL, NR_THREADS + 1);
	pthread_rwlock_wrlock(&gate);
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&thread, &attr, use_objects, NULL))
			return false;
	pthread_barrier_wait(&ready);
	return true;
}

static bool let_threads_work(struct bench_run *run)
{
	(void)run;
	pthread_rwlock_unlock(&gate);
	pthread_barrier_wait(&done);
	return true;
}

static double measure_heap(struct bench_run *run, void *(*allocate)(struct bench_run *run),
		void (*release)(struct bench_run *run, void *object))
{
	heap = (struct heap){ run, allocate, release };
	return bench_memory(run, start_threads, let_threads_work);
}

static void *allocate_cached(struct bench_run *run)
{
	return rseq_cache_alloc(run->state);
}

static void release_cached(struct bench_run *run, void *object)
{
	rseq_cache_free(run->state, object);
}

static double measure_cache(struct bench_run *run)
{
	return measure_heap(run, allocate_cached, release_cached);
}

/* A thread's own cache, which keeps what the thread has freed. */
static __thread struct {
	int nr;
	void *objects[NR_OBJECTS];
} own;

static void *allocate_own(struct bench_run *run)
{
	return own.nr ? own.objects[--own.nr] : malloc(run->bench->bytes);
}

static void release_own(struct bench_run *run, void *object)
{
	(void)run;
	if (own.nr < NR_OBJECTS)
		own.objects[own.nr++] = object;
	else
		free(object);
}

static double measure_own(struct bench_run *run)
{
	return measure_heap(run, allocate_own, release_own);
}

static void *allocate_libc(struct bench_run *run)
{
	return malloc(run->bench->bytes);
}

static void release_libc(struct bench_run *run, void *object)
{
	(void)run;
	free(object);
}

static double measure_libc(struct bench_run *run)
{
	return measure_heap(run, allocate_libc, release_libc);
}

static void *allocate_other(struct bench_run *run)
{
	return ((struct allocator *)run->state)->malloc(run->bench->bytes);
}

static void release_other(struct bench_run *run, void *object)
{
	((struct allocator *)run->state)->free(object);
}

static double measure_other(struct bench_run *run)
{
	return measure_heap(run, allocate_other, release_other);
}

static const struct bench_variant memory[] = {
	{ .name = "rseq_cache", .setup = setup_cache, .teardown = teardown_cache,
	  .measure = measure_cache },
	{ .name = "a cache of 64 objects in each thread", .measure = measure_own },
	{ .name = "malloc", .measure = measure_libc },
	{ .name = "jemalloc", .setup = setup_jemalloc, .teardown = teardown_allocator,
	  .measure = measure_other },
	{ .name = "tcmalloc", .setup = setup_tcmalloc, .teardown = teardown_allocator,
	  .measure = measure_other },
	{ 0 },
};

const struct bench bench_cache[] = {
	{ .name = "cache-pair", .area = "cache alloc+free pair, 1 KiB", .unit = "ns",
	  .bytes = 1024, .max_ratio = 1, .against_all = true, .variants = pairs },
	{ .name = "cache-pair-8-threads", .area = "cache alloc+free pair of 1 KiB, 8 threads",
	  .unit = "ns", .bytes = 1024, .max_ratio = 1, .against_all = true, .threads = 8,
	  .variants = pairs },
	{ .name = "cache-pair-threads", .area = "cache alloc+free pair of 1 KiB, 64 threads",
	  .unit = "ns", .bytes = 1024, .max_ratio = 1, .against_all = true, .threads = 64,
	  .scales = true, .variants = pairs },
	{ .name = "cache-memory", .area = "memory of 1000 threads with 64 x 1 KiB", .unit = "KiB",
	  .bytes = 1024, .max_value = 2048, .once = true, .variants = memory },
	{ 0 },
};
