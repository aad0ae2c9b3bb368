/* SPDX-License-Identifier: MIT */
/*
 * Caches and many threads, with and without rseq: their bound, objects that change hands, trims
 * while others work, signal handlers, and fork().
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/cache.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

#define NR_THREADS	1000
#define WORKING_SET	64
#define OBJECT_SIZE	1024
#define NR_WORKERS	8
#define NR_ROUNDS	2000
#define NR_HELD		24

static struct rseq_cache_stat stat_of(const struct rseq_cache *cache)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	assert_int_equal(rseq_cache_stat(cache, &stat), 0);
	return stat;
}

static struct rseq_cache *make(size_t object_size, struct rseq_cache_attr attr, int way)
{
	struct rseq_cache *cache;

	attr.size = sizeof(attr);
	attr.mode = way ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;
	cache = rseq_cache_create("threads", object_size, &attr);
	assert_non_null(cache);
	return cache;
}

/* What threads share: they stay until all have done their part, as idle threads of a server do. */
struct crowd {
	struct rseq_cache *cache;
	pthread_barrier_t done, over;
	bool some_without;
	unsigned int next, failed;	/* atomic */
};

static void *use_working_set(void *argument)
{
	struct crowd *crowd = argument;
	void *objects[WORKING_SET];

	if (crowd->some_without && __atomic_fetch_add(&crowd->next, 1, __ATOMIC_RELAXED) % 2)
		support_go_without_rseq();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < WORKING_SET; i++) {
			objects[i] = rseq_cache_alloc(crowd->cache);
			if (objects[i])
				memset(objects[i], i, OBJECT_SIZE);
			else
				__atomic_fetch_add(&crowd->failed, 1, __ATOMIC_RELAXED);
		}
		for (int i = 0; i < WORKING_SET; i++)
			rseq_cache_free(crowd->cache, objects[i]);
	}
	pthread_barrier_wait(&crowd->done);
	pthread_barrier_wait(&crowd->over);
	return NULL;
}

/*
 * A thousand threads have each used 64 objects of 1 KiB: 62.5 MiB, were it per thread. The cache
 * keeps no more than CPUs and depot may, on two CPUs below 2 MiB; the allocator got the rest.
 */
static void check_bound(int way, bool some_without)
{
	struct rseq_cache_attr attr = { 0 };
	struct crowd crowd = {
		.cache = make(OBJECT_SIZE, attr, way), .some_without = some_without,
	};
	static pthread_t threads[NR_THREADS];
	struct rseq_cache_stat stat;
	struct support_cpus cpus;
	size_t rows, kept;

	support_find_cpus(&cpus);
	rows = (size_t)cpus.nr * (some_without ? 2 : 1);
	pthread_barrier_init(&crowd.done, NULL, NR_THREADS + 1);
	pthread_barrier_init(&crowd.over, NULL, NR_THREADS + 1);
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_working_set, &crowd), 0);
	pthread_barrier_wait(&crowd.done);
	stat = stat_of(crowd.cache);
	kept = stat.created - stat.released;
	pthread_barrier_wait(&crowd.over);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);

	print_message("%zu objects kept: %zu on CPUs, %zu in the depot; %zu ever made\n", kept,
		      stat.on_cpus, stat.in_depot, (size_t)stat.created);
	assert_int_equal(crowd.failed, 0);
	assert_int_equal(stat.out, 0);
	assert_int_equal(kept, stat.on_cpus + stat.in_depot);
	assert_true(stat.on_cpus <= rows * stat.per_cpu);
	assert_true(stat.in_depot <= stat.depot);
	assert_true((2 * 2 * stat.per_cpu + stat.depot) * OBJECT_SIZE <= 2 << 20);
	assert_int_equal(rseq_cache_destroy(crowd.cache), 0);
	pthread_barrier_destroy(&crowd.done);
	pthread_barrier_destroy(&crowd.over);
}

static void test_bound(void **state)
{
	(void)state;
	for (int way = 0; way < 2; way++)
		for (int some_without = 0; some_without < 2; some_without++)
			check_bound(way, some_without);
}

/* An object's first word: who has it, and what the constructor wrote behind. */
struct object {
	uint64_t owner;		/* atomic; 0 when it is nobody's */
	uint64_t constructed;
	char payload[48];
};

static long nr_constructed, nr_destructed;	/* atomic */

static int construct(void *object, void *priv)
{
	(void)priv;
	memset(object, 0, sizeof(struct object));
	((struct object *)object)->constructed = 1;
	__atomic_fetch_add(&nr_constructed, 1, __ATOMIC_RELAXED);
	return 0;
}

static void destruct(void *object, void *priv)
{
	(void)priv;
	((struct object *)object)->constructed = 2;
	__atomic_fetch_add(&nr_destructed, 1, __ATOMIC_RELAXED);
}

struct worker {
	struct rseq_cache *cache;
	struct object *(*mailbox)[NR_HELD];
	unsigned int number;
	long wrong;
};

/* Takes and gives; every object must be nobody's when it comes, and its own when it goes. */
static void *work(void *argument)
{
	struct worker *worker = argument;
	struct object *held[NR_HELD], *other;
	uint64_t id = worker->number + 1;

	if (worker->number % 4 == 3)
		support_go_without_rseq();
	for (int round = 0; round < NR_ROUNDS; round++) {
		for (int i = 0; i < NR_HELD; i++) {
			held[i] = rseq_cache_alloc(worker->cache);
			worker->wrong += held[i]->constructed != 1;
			worker->wrong += __atomic_exchange_n(&held[i]->owner, id,
							     __ATOMIC_RELAXED) != 0;
			memset(held[i]->payload, (int)id, sizeof(held[i]->payload));
		}
		for (int i = 0; i < NR_HELD; i++) {
			/* Every other object is freed by another thread. */
			other = held[i];
			if (i % 2)
				other = __atomic_exchange_n(&(*worker->mailbox)[i], held[i],
							    __ATOMIC_ACQ_REL);
			if (!other)
				continue;
			worker->wrong += !__atomic_exchange_n(&other->owner, 0, __ATOMIC_RELAXED);
			worker->wrong += other->payload[0] != other->payload[47];
			worker->wrong += rseq_cache_free(worker->cache, other) != 0;
		}
	}
	return NULL;
}

static void check_work(int way, unsigned int flags, bool trims)
{
	struct rseq_cache_attr attr = {
		.per_cpu = 16, .depot = 64, .construct = construct, .destruct = destruct,
		.flags = flags,
	};
	struct object *mailbox[NR_HELD] = { NULL };
	struct worker workers[NR_WORKERS];
	pthread_t threads[NR_WORKERS];
	struct rseq_cache *cache = make(sizeof(struct object), attr, way);
	size_t trimmed = 0;

	nr_constructed = nr_destructed = 0;
	for (unsigned int i = 0; i < NR_WORKERS; i++) {
		workers[i] = (struct worker){ cache, &mailbox, i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; trims && i < 100; i++) {
		trimmed += rseq_cache_trim(cache);
		sched_yield();
	}
	for (int i = 0; i < NR_WORKERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
	for (int i = 0; i < NR_HELD; i++) {
		if (!mailbox[i])
			continue;
		mailbox[i]->owner = 0;
		assert_int_equal(rseq_cache_free(cache, mailbox[i]), 0);
	}
	assert_int_equal(stat_of(cache).out, 0);
	assert_int_equal(stat_of(cache).created, nr_constructed);
	assert_int_equal(stat_of(cache).released, nr_destructed);
	assert_int_equal(stat_of(cache).refused, 0);
	assert_true((size_t)nr_destructed >= trimmed);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(nr_constructed, nr_destructed);
}

static void test_exchange(void **state)
{
	(void)state;
	for (int way = 0; way < 2; way++)
		check_work(way, 0, false);
}

static void test_trim_meanwhile(void **state)
{
	(void)state;
	for (int way = 0; way < 2; way++)
		check_work(way, 0, true);
}

static void test_debug_meanwhile(void **state)
{
	(void)state;
	check_work(0, RSEQ_CACHE_DEBUG, true);
}

/* An allocator for signal handlers: it hands out its places once. */
static struct object places[200000];
static size_t nr_places, nr_back;	/* atomic */

static void *take_place(size_t size, size_t alignment, void *priv)
{
	size_t place = __atomic_fetch_add(&nr_places, 1, __ATOMIC_RELAXED);

	(void)alignment;
	(void)priv;
	return size == sizeof(struct object) && place < 200000 ? &places[place] : NULL;
}

static void give_place(void *object, size_t size, void *priv)
{
	(void)object;
	(void)size;
	(void)priv;
	__atomic_fetch_add(&nr_back, 1, __ATOMIC_RELAXED);
}

static struct rseq_cache *handled;
static bool stop_using;		/* atomic */
static volatile sig_atomic_t nr_handled, handler_wrong;

static void use_in_handler(int signal)
{
	struct object *held[NR_HELD];

	(void)signal;
	for (int i = 0; i < NR_HELD; i++) {
		held[i] = rseq_cache_alloc(handled);
		handler_wrong += !held[i] || held[i]->owner;
		if (held[i])
			held[i]->owner = 1;
	}
	for (int i = 0; i < NR_HELD; i++) {
		if (held[i])
			held[i]->owner = 0;
		handler_wrong += rseq_cache_free(handled, held[i]) != 0;
	}
	nr_handled++;
}

static void *hit(void *argument)
{
	pthread_t *thread = argument;

	while (!__atomic_load_n(&stop_using, __ATOMIC_RELAXED)) {
		pthread_kill(*thread, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

static void test_signal_handler(void **state)
{
	struct sigaction action = { .sa_handler = use_in_handler }, before;
	struct rseq_cache_attr attr = {
		.per_cpu = 8, .depot = 16, .alloc = take_place, .free = give_place,
	};
	pthread_t self = pthread_self(), other;
	struct object *held[NR_HELD];
	long wrong = 0;

	(void)state;
	handled = make(sizeof(struct object), attr, 0);
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(pthread_create(&other, NULL, hit, &self), 0);
	while (nr_handled < 100) {
		for (int i = 0; i < NR_HELD; i++) {
			held[i] = rseq_cache_alloc(handled);
			wrong += !held[i] || held[i]->owner;
			if (held[i])
				held[i]->owner = 2;
		}
		for (int i = 0; i < NR_HELD; i++) {
			wrong += held[i] && held[i]->owner != 2;
			if (held[i])
				held[i]->owner = 0;
			wrong += rseq_cache_free(handled, held[i]) != 0;
		}
	}
	__atomic_store_n(&stop_using, true, __ATOMIC_RELAXED);
	pthread_join(other, NULL);
	stop_using = false;
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_int_equal(wrong, 0);
	assert_int_equal(handler_wrong, 0);
	assert_int_equal(stat_of(handled).out, 0);
	assert_int_equal(rseq_cache_destroy(handled), 0);
	assert_int_equal(nr_places, nr_back);
}

static void *use_until_stopped(void *cache)
{
	while (!__atomic_load_n(&stop_using, __ATOMIC_RELAXED)) {
		void *object = rseq_cache_alloc(cache);

		rseq_cache_free(cache, object);
	}
	return NULL;
}

/* In a child: what the parent freed is there, once. Returns 0, or the number of a failed check. */
static int use_in_child(struct rseq_cache *cache, size_t nr_out)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	void *objects[NR_HELD];

	for (int i = 0; i < NR_HELD; i++) {
		objects[i] = rseq_cache_alloc(cache);
		if (!objects[i])
			return 1;
		for (int j = 0; j < i; j++)
			if (objects[i] == objects[j])
				return 2;
	}
	rseq_cache_free_batch(cache, objects, NR_HELD);
	rseq_cache_trim(cache);
	if (rseq_cache_stat(cache, &stat) || stat.on_cpus || stat.in_depot || stat.out > nr_out)
		return 3;
	return 0;
}

/* A fork() of a process whose other threads are in the cache: what these had stays out. */
static void test_fork(void **state)
{
	struct rseq_cache_attr attr = { .per_cpu = 8, .depot = 16 };
	pthread_t threads[NR_WORKERS];
	struct rseq_cache *cache;
	int status;
	pid_t child;

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer's malloc() waits for ever in such a child\n");
		skip();
	}
	cache = make(128, attr, 0);
	for (int i = 0; i < NR_WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_until_stopped, cache), 0);
	for (int i = 0; i < 20; i++) {
		child = fork();
		if (!child)
			_exit(use_in_child(cache, NR_WORKERS * 8));
		assert_true(child > 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	__atomic_store_n(&stop_using, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_WORKERS; i++)
		pthread_join(threads[i], NULL);
	stop_using = false;
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

static int run_group(void)
{
	const struct CMUnitTest cache[] = {
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_trim_meanwhile),
		cmocka_unit_test(test_debug_meanwhile),
		cmocka_unit_test(test_signal_handler),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(cache, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
