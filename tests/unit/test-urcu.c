/* SPDX-License-Identifier: MIT */
/*
 * Deferred frees: when objects come back, how many call_rcu() gets at a time, and what happens at
 * the bound of the backlog. One source for each flavour of liburcu.
 */
#define _GNU_SOURCE

#include "support.h"
#include "urcu-flavor.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define BATCH		8
#define BACKLOG		24
#define NR_OBJECTS	100
#define NR_WORKERS	6
#define NR_SLOTS	16
#define NR_ROUNDS	4000

static size_t nr_out(const struct rseq_cache *cache)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	assert_int_equal(rseq_cache_stat(cache, &stat), 0);
	return stat.out;
}

static void stay(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	assert_int_equal(support_move(0, cpus.cpu[cpus.nr - 1]), 0);
}

/*
 * A flavour for this test alone: it keeps what call_rcu() gets until it is told that a grace period
 * is over, and counts.
 */
static struct fake {
	struct rcu_head *heads[64];
	int nr_heads, nr_synchronized, nr_barriers, reading;
} fake;

static void fake_call_rcu(struct rcu_head *head, void (*function)(struct rcu_head *head))
{
	head->func = function;
	fake.heads[fake.nr_heads++] = head;
}

static void fake_synchronize(void)
{
	assert_false(fake.reading);
	fake.nr_synchronized++;
}

static int fake_read_ongoing(void)
{
	return fake.reading;
}

static void end_grace_period(void)
{
	int nr = fake.nr_heads;

	fake.nr_heads = 0;
	for (int i = 0; i < nr; i++)
		fake.heads[i]->func(fake.heads[i]);
}

static void fake_barrier(void)
{
	fake.nr_barriers++;
	end_grace_period();
}

static const struct rcu_flavor_struct fake_flavor = {
	.read_ongoing = fake_read_ongoing,
	.update_call_rcu = fake_call_rcu,
	.update_synchronize_rcu = fake_synchronize,
	.barrier = fake_barrier,
};

static void test_wrong_arguments(void **state)
{
	struct rseq_cache *cache = rseq_cache_create(NULL, 64, NULL);
	struct rseq_list *list = rseq_list_create();
	struct rseq_cache_rcu_attr attr = { .size = sizeof(attr) };
	struct rseq_cache_rcu *rcu;

	(void)state;
	errno = 0;
	assert_null(rseq_cache_rcu_create(NULL, NULL));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_cache_rcu_create_flavor(cache, NULL, NULL));
	assert_int_equal(errno, EINVAL);
	attr.batch = RSEQ_CACHE_RCU_MAX_BATCH + 1;
	errno = 0;
	assert_null(rseq_cache_rcu_create(cache, &attr));
	assert_int_equal(errno, EINVAL);
	attr.batch = 0;
	attr.mode = (enum rseq_percpu_mode)9;
	errno = 0;
	assert_null(rseq_cache_rcu_create(cache, &attr));
	assert_int_equal(errno, EINVAL);
	attr.size = 0;
	errno = 0;
	assert_null(rseq_cache_rcu_create(cache, &attr));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_list_drain_rcu(list, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);

	errno = KEPT_ERRNO;
	rcu = rseq_cache_rcu_create(cache, NULL);
	assert_non_null(rcu);
	assert_int_equal(rseq_cache_free_rcu(rcu, NULL), 0);
	assert_int_equal(rseq_cache_rcu_backlog(rcu), 0);
	assert_int_equal(rseq_cache_rcu_destroy(rcu), 0);
	assert_int_equal(rseq_cache_rcu_destroy(NULL), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	rseq_list_destroy(list);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

static struct rseq_cache_rcu *make_fake(struct rseq_cache *cache, size_t backlog)
{
	const struct rseq_cache_rcu_attr attr = {
		.size = sizeof(attr), .batch = BATCH, .backlog = backlog,
	};
	struct rseq_cache_rcu *rcu = rseq_cache_rcu_create_flavor(cache, &attr, &fake_flavor);

	assert_non_null(rcu);
	memset(&fake, 0, sizeof(fake));
	return rcu;
}

static void take(struct rseq_cache *cache, void **objects, int nr)
{
	for (int i = 0; i < nr; i++) {
		objects[i] = rseq_cache_alloc(cache);
		assert_non_null(objects[i]);
		memset(objects[i], i, 64);
	}
}

/* One call_rcu() for each batch, and nothing comes back, nor is written to, before it says so. */
static void test_batches(void **state)
{
	struct rseq_cache *cache = rseq_cache_create(NULL, 64, NULL);
	struct rseq_cache_rcu *rcu = make_fake(cache, 0);
	void *objects[NR_OBJECTS];
	char expected[64];

	(void)state;
	stay();
	take(cache, objects, NR_OBJECTS);
	for (int i = 0; i < NR_OBJECTS; i++) {
		errno = KEPT_ERRNO;
		assert_int_equal(rseq_cache_free_rcu(rcu, objects[i]), 0);
		assert_int_equal(errno, KEPT_ERRNO);
		assert_int_equal(fake.nr_heads, i / BATCH);
		assert_int_equal(rseq_cache_rcu_backlog(rcu), i + 1);
		assert_int_equal(nr_out(cache), NR_OBJECTS);
	}
	for (int i = 0; i < NR_OBJECTS; i++) {
		memset(expected, i, sizeof(expected));
		assert_memory_equal(objects[i], expected, sizeof(expected));
	}
	end_grace_period();
	assert_int_equal(rseq_cache_rcu_backlog(rcu), NR_OBJECTS % BATCH);
	assert_int_equal(nr_out(cache), NR_OBJECTS % BATCH);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_cache_rcu_barrier(rcu), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(rseq_cache_rcu_backlog(rcu), 0);
	assert_int_equal(nr_out(cache), 0);
	assert_int_equal(fake.nr_synchronized, 0);
	assert_int_equal(rseq_cache_rcu_destroy(rcu), 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

/*
 * Beyond the bound the caller waits for a grace period and works, but not where readers do not
 * wait.
 */
static void test_bound(void **state)
{
	struct rseq_cache *cache = rseq_cache_create(NULL, 64, NULL);
	struct rseq_cache_rcu *rcu = make_fake(cache, BACKLOG);
	void *objects[NR_OBJECTS];
	int i = 0;

	(void)state;
	stay();
	take(cache, objects, NR_OBJECTS);
	fake.reading = 1;
	while (i < BACKLOG + BATCH)
		assert_int_equal(rseq_cache_free_rcu(rcu, objects[i++]), 0);
	for (int again = 0; again < 3; again++) {
		errno = 0;
		assert_int_equal(rseq_cache_free_rcu(rcu, objects[i]), -1);
		assert_int_equal(errno, EDEADLK);
	}
	assert_int_equal(fake.nr_heads, BACKLOG / BATCH);
	assert_int_equal(rseq_cache_rcu_backlog(rcu), BACKLOG + BATCH);
	assert_int_equal(nr_out(cache), NR_OBJECTS);

	/* It is still the caller's, who may free it later. */
	fake.reading = 0;
	while (i < NR_OBJECTS) {
		errno = KEPT_ERRNO;
		assert_int_equal(rseq_cache_free_rcu(rcu, objects[i++]), 0);
		assert_int_equal(errno, KEPT_ERRNO);
		assert_true(rseq_cache_rcu_backlog(rcu) <= BACKLOG + BATCH);
	}
	assert_int_equal(fake.nr_heads, BACKLOG / BATCH);
	assert_int_equal(fake.nr_synchronized, (NR_OBJECTS - BACKLOG - 1) / BATCH);
	assert_int_equal(nr_out(cache), rseq_cache_rcu_backlog(rcu));

	/* After a grace period there is room again. */
	end_grace_period();
	take(cache, objects, BATCH + 1);
	for (i = 0; i <= BATCH; i++)
		assert_int_equal(rseq_cache_free_rcu(rcu, objects[i]), 0);
	assert_true(fake.nr_heads > 0);
	assert_int_equal(fake.nr_synchronized, (NR_OBJECTS - BACKLOG - 1) / BATCH);
	assert_int_equal(rseq_cache_rcu_destroy(rcu), 0);
	assert_true(fake.nr_barriers > 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

/* An object: constant from when it is published until a grace period after it is removed. */
struct object {
	struct rseq_list_node node;
	uintptr_t value, same;
};

static void *fail_alloc(size_t size, size_t alignment, void *priv)
{
	(void)alignment;
	return *(bool *)priv ? NULL : malloc(size);
}

static void plain_free(void *object, size_t size, void *priv)
{
	(void)size;
	(void)priv;
	free(object);
}

/* The real flavour: a reader that is there keeps all objects from coming back. */
static struct {
	int inside, leave;	/* atomic */
} gate;

static void *read_for_long(void *argument)
{
	(void)argument;
	rcu_register_thread();
	rcu_read_lock();
	__atomic_store_n(&gate.inside, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&gate.leave, __ATOMIC_ACQUIRE))
		sched_yield();
	rcu_read_unlock();
	rcu_unregister_thread();
	return NULL;
}

static void test_reader(void **state)
{
	bool fail = false;
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .alloc = fail_alloc, .free = plain_free, .priv = &fail,
	};
	struct rseq_cache *cache = rseq_cache_create(NULL, 64, &attr);
	struct rseq_cache_rcu *rcu = rseq_cache_rcu_create(cache, NULL);
	static void *objects[3000];
	const int nr = sizeof(objects) / sizeof(objects[0]);
	pthread_t reader;

	(void)state;
	assert_non_null(rcu);
	rcu_register_thread();
	memset(&gate, 0, sizeof(gate));
	assert_int_equal(pthread_create(&reader, NULL, read_for_long, NULL), 0);
	while (!__atomic_load_n(&gate.inside, __ATOMIC_ACQUIRE))
		sched_yield();
	take(cache, objects, nr);
	for (int i = 0; i < nr; i++)
		assert_int_equal(rseq_cache_free_rcu(rcu, objects[i]), 0);
	assert_int_equal(rseq_cache_rcu_backlog(rcu), nr);
	assert_int_equal(nr_out(cache), nr);
	fail = true;
	assert_null(rseq_cache_alloc(cache));
	__atomic_store_n(&gate.leave, 1, __ATOMIC_RELEASE);
	assert_int_equal(rseq_cache_rcu_barrier(rcu), 0);
	assert_int_equal(rseq_cache_rcu_backlog(rcu), 0);
	assert_int_equal(nr_out(cache), 0);
	rcu_thread_offline();
	pthread_join(reader, NULL);
	rcu_thread_online();
	assert_int_equal(rseq_cache_rcu_destroy(rcu), 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	rcu_unregister_thread();
}

static long nr_called;		/* atomic */

static void count_each(struct rseq_list_node *node, void *arg)
{
	__atomic_fetch_add(&nr_called, 1, __ATOMIC_RELAXED);
	rseq_cache_free(arg, node);
}

/* All of a list's nodes, once, after a reader that was there. */
static void test_list(void **state)
{
	struct rseq_cache *cache = rseq_cache_create(NULL, 64, NULL);
	struct rseq_list *list = rseq_list_create();
	void *objects[NR_OBJECTS];
	pthread_t reader;

	(void)state;
	assert_non_null(list);
	rcu_register_thread();
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_list_drain_rcu(list, count_each, cache), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	memset(&gate, 0, sizeof(gate));
	assert_int_equal(pthread_create(&reader, NULL, read_for_long, NULL), 0);
	while (!__atomic_load_n(&gate.inside, __ATOMIC_ACQUIRE))
		sched_yield();
	take(cache, objects, NR_OBJECTS);
	for (int i = 0; i < NR_OBJECTS; i++)
		rseq_list_push(list, &((struct object *)objects[i])->node);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_list_drain_rcu(list, count_each, cache), 1);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_true(rseq_list_empty(list));
	assert_int_equal(rseq_list_drain_rcu(list, count_each, cache), 0);
	assert_int_equal(__atomic_load_n(&nr_called, __ATOMIC_RELAXED), 0);
	__atomic_store_n(&gate.leave, 1, __ATOMIC_RELEASE);
	rcu_barrier();
	assert_int_equal(__atomic_load_n(&nr_called, __ATOMIC_RELAXED), NR_OBJECTS);
	assert_int_equal(nr_out(cache), 0);
	rcu_thread_offline();
	pthread_join(reader, NULL);
	rcu_thread_online();
	rseq_list_destroy(list);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	rcu_unregister_thread();
}

static struct object *slots[NR_SLOTS];		/* atomic */
static struct rseq_cache *objects_cache;
static struct rseq_cache_rcu *objects_rcu;
static long nr_wrong;				/* atomic */
static bool readers_stop;			/* atomic */

static void free_removed(struct object *object)
{
	while (rseq_cache_free_rcu(objects_rcu, object)) {
		if (errno != EDEADLK || !IS_QSBR)
			__atomic_fetch_add(&nr_wrong, 1, __ATOMIC_RELAXED);
		rseq_cache_rcu_help(objects_rcu);
	}
}

static void *replace(void *argument)
{
	uintptr_t value = (uintptr_t)argument << 32;

	rcu_register_thread();
	if ((uintptr_t)argument % 3 == 2 && support_registered_length(rseq_get_abi()))
		support_sys_rseq(rseq_get_abi(), support_registered_length(rseq_get_abi()),
				 RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	for (int i = 0; i < NR_ROUNDS; i++) {
		struct object *object = rseq_cache_alloc(objects_cache);

		object->value = object->same = ++value;
		object = __atomic_exchange_n(&slots[i % NR_SLOTS], object, __ATOMIC_ACQ_REL);
		if (object)
			free_removed(object);
		if (IS_QSBR && i % 64 == 0)
			rcu_quiescent_state();
	}
	rcu_unregister_thread();
	return NULL;
}

static void *look(void *argument)
{
	(void)argument;
	rcu_register_thread();
	for (unsigned int i = 0; !__atomic_load_n(&readers_stop, __ATOMIC_RELAXED); i++) {
		struct object *object;
		uintptr_t value;

		rcu_read_lock();
		object = __atomic_load_n(&slots[i % NR_SLOTS], __ATOMIC_ACQUIRE);
		if (object) {
			value = RSEQ_READ_ONCE(object->value);
			if (i % 256 == 0)
				sched_yield();
			if (RSEQ_READ_ONCE(object->same) != value ||
			    RSEQ_READ_ONCE(object->value) != value)
				__atomic_fetch_add(&nr_wrong, 1, __ATOMIC_RELAXED);
		}
		rcu_read_unlock();
		rcu_quiescent_state();
	}
	rcu_unregister_thread();
	return NULL;
}

/* Writers free what readers look at, with a backlog that is soon at its bound. */
static void test_threads(void **state)
{
	const struct rseq_cache_rcu_attr attr = {
		.size = sizeof(attr), .batch = 32, .backlog = 256,
	};
	pthread_t writers[NR_WORKERS], readers[2];

	(void)state;
	objects_cache = rseq_cache_create(NULL, sizeof(struct object), NULL);
	objects_rcu = rseq_cache_rcu_create(objects_cache, &attr);
	assert_non_null(objects_rcu);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, look, NULL), 0);
	for (uintptr_t i = 0; i < NR_WORKERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, replace, (void *)(i + 1)), 0);
	for (int i = 0; i < NR_WORKERS; i++)
		pthread_join(writers[i], NULL);
	__atomic_store_n(&readers_stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	readers_stop = false;
	rcu_register_thread();
	assert_int_equal(nr_wrong, 0);
	assert_int_equal(rseq_cache_rcu_barrier(objects_rcu), 0);
	assert_int_equal(rseq_cache_rcu_backlog(objects_rcu), 0);
	assert_int_equal(nr_out(objects_cache), NR_SLOTS);
	for (int i = 0; i < NR_SLOTS; i++) {
		rseq_cache_free(objects_cache, slots[i]);
		slots[i] = NULL;
	}
	assert_int_equal(rseq_cache_rcu_destroy(objects_rcu), 0);
	assert_int_equal(rseq_cache_destroy(objects_cache), 0);
	rcu_unregister_thread();
}

static void free_again(struct rseq_list_node *node, void *arg)
{
	(void)arg;
	__atomic_fetch_add(&nr_called, 1, __ATOMIC_RELAXED);
	free_removed((struct object *)(void *)node);
}

/* A callback may free after a grace period too, beyond the bound as well. */
static void test_free_in_callback(void **state)
{
	const struct rseq_cache_rcu_attr attr = { .size = sizeof(attr), .batch = 4, .backlog = 8 };
	struct rseq_list *list = rseq_list_create();
	void *objects[NR_OBJECTS];

	(void)state;
	nr_called = 0;
	objects_cache = rseq_cache_create(NULL, 64, NULL);
	objects_rcu = rseq_cache_rcu_create(objects_cache, &attr);
	assert_non_null(objects_rcu);
	rcu_register_thread();
	take(objects_cache, objects, NR_OBJECTS);
	for (int i = 0; i < NR_OBJECTS; i++)
		rseq_list_push(list, &((struct object *)objects[i])->node);
	assert_int_equal(rseq_list_drain_rcu(list, free_again, NULL), 1);
	rcu_barrier();
	assert_int_equal(nr_called, NR_OBJECTS);
	assert_int_equal(rseq_cache_rcu_destroy(objects_rcu), 0);
	assert_int_equal(nr_out(objects_cache), 0);
	assert_int_equal(rseq_cache_destroy(objects_cache), 0);
	rseq_list_destroy(list);
	rcu_unregister_thread();
}

static int run_group(void)
{
	const struct CMUnitTest urcu[] = {
		cmocka_unit_test(test_wrong_arguments),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_free_in_callback),
	};

	return cmocka_run_group_tests(urcu, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	if (RSEQ_SANITIZE_THREAD) {
		printf("skipped: liburcu is not compiled for the sanitizer of threads\n");
		return SUPPORT_SKIP;
	}
	return support_run_both_ways(argv, run_group);
}
