/* SPDX-License-Identifier: MIT */
/*
 * Pools in the child of fork(): one of COW_ZERO goes on there, one of COW_INIT can be read, written
 * to and destroyed, and no more.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define NR_ROWS		16
#define ITEM		64
#define NR_FORKS	40
#define NR_THREADS	4

enum { INIT = RSEQ_MEMPOOL_POPULATE_COW_INIT, ZERO = RSEQ_MEMPOOL_POPULATE_COW_ZERO };

static struct rseq_mempool *create(int policy, size_t item_len, bool robust)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_percpu(attr, 0, NR_ROWS);
	rseq_mempool_attr_set_populate_policy(attr, (enum rseq_mempool_populate_policy)policy);
	if (robust)
		rseq_mempool_attr_set_robust(attr);
	pool = rseq_mempool_create("forked", item_len, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

/* The status with which a child ends that does this. */
static int run_child(int (*function)(void *), void *argument)
{
	const struct rlimit no_core = { 0, 0 };
	int status = -1;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		_exit(function(argument));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

struct used {
	struct rseq_mempool *pool;
	int *item;
};

static int use_zero_pool(void *argument)
{
	struct used *used = argument;
	int *other, value = 6;

	if (*used->item != 7 || *rseq_percpu_ptr(used->item, 1) != 5)
		return 1;
	*used->item = 8;
	rseq_mempool_percpu_free(used->item);
	other = rseq_mempool_percpu_zmalloc(used->pool);
	if (!other || *other)
		return 2;
	other = rseq_mempool_percpu_malloc_init(used->pool, &value, sizeof(value));
	for (int row = 0; other && row < NR_ROWS; row++)
		if (*rseq_percpu_ptr(other, row) != 6)
			return 3;
	if (!other || !rseq_mempool_percpu_malloc(used->pool))
		return 4;
	return rseq_mempool_destroy(used->pool) ? 5 : 0;
}

/* Allocation in every way is refused. */
static bool is_refused(struct rseq_mempool *pool)
{
	int value = 1;

	errno = 0;
	if (rseq_mempool_percpu_malloc(pool) || errno != EPERM)
		return false;
	errno = 0;
	if (rseq_mempool_percpu_zmalloc(pool) || errno != EPERM)
		return false;
	errno = 0;
	return !rseq_mempool_percpu_malloc_init(pool, &value, sizeof(value)) && errno == EPERM;
}

static int use_init_pool(void *argument)
{
	struct used *used = argument;

	if (*used->item != 7 || *rseq_percpu_ptr(used->item, 1) != 5)
		return 1;
	if (!is_refused(used->pool))
		return 2;
	*used->item = 9;
	*rseq_percpu_ptr(used->item, 2) = 9;
	if (*used->item != 9 || *rseq_percpu_ptr(used->item, 2) != 9)
		return 3;
	errno = EXDEV;
	rseq_mempool_percpu_free(used->item);
	if (errno != EXDEV || *used->item != 9)
		return 4;
	return rseq_mempool_destroy(used->pool) ? 5 : 0;
}

static void test_child(void **state)
{
	int value = 5;

	(void)state;
	for (int policy = INIT; policy <= ZERO; policy++) {
		struct used used = { .pool = create(policy, ITEM, false) };

		used.item = rseq_mempool_percpu_malloc_init(used.pool, &value, sizeof(value));
		*used.item = 7;
		for (int i = 0; i < 2; i++)
			assert_int_equal(run_child(policy == INIT ? use_init_pool : use_zero_pool,
						   &used), 0);
		assert_int_equal(*used.item, 7);
		for (int row = 1; row < NR_ROWS; row++)
			assert_int_equal(*rseq_percpu_ptr(used.item, row), 5);
		rseq_mempool_percpu_free(used.item);
		assert_non_null(rseq_mempool_percpu_malloc(used.pool));
		assert_int_equal(rseq_mempool_destroy(used.pool), 0);
	}
}

/* What no CPU wrote to follows the parent, which gives the item another value meanwhile. */
static void test_initial_values_follow(void **state)
{
	struct rseq_mempool *pool = create(INIT, RSEQ_MEMPOOL_STRIDE, false);
	int before = 1, after = 2, channel[2], status = -1;
	int *item = rseq_mempool_percpu_malloc_init(pool, &before, sizeof(before));
	pid_t child;
	char byte = 0;

	(void)state;
	assert_int_equal(pipe(channel), 0);
	*rseq_percpu_ptr(item, 1) = 11;
	assert_int_equal(*rseq_percpu_ptr(item, 2), 1);
	child = fork();
	if (!child) {
		*rseq_percpu_ptr(item, 3) = 13;
		if (read(channel[0], &byte, 1) != 1)
			_exit(1);
		_exit(*rseq_percpu_ptr(item, 1) == 11 && *rseq_percpu_ptr(item, 2) == 2 &&
		      *rseq_percpu_ptr(item, 3) == 13 ? 0 : 2);
	}
	rseq_mempool_percpu_free(item);
	while (rseq_mempool_percpu_malloc_init(pool, &after, sizeof(after)) != (void *)item)
		;
	for (int row = 0; row < NR_ROWS; row++)
		assert_int_equal(*rseq_percpu_ptr(item, row), 2);
	assert_int_equal(write(channel[1], &byte, 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(channel[0]);
	close(channel[1]);
	assert_int_equal(rseq_mempool_destroy(pool), 0);
}

static int destroy(void *pool)
{
	return rseq_mempool_destroy(pool) ? 1 : 0;
}

static int destroy_set(void *set)
{
	errno = 0;
	if (rseq_mempool_set_percpu_malloc(set, 1) || errno != EPERM)
		return 1;
	return rseq_mempool_set_destroy(set) ? 2 : 0;
}

/* An item in use is the parent's affair where the pool is, and a leak where it is the child's. */
static void test_robust(void **state)
{
	(void)state;
	for (int policy = INIT; policy <= ZERO; policy++) {
		struct rseq_mempool *pool = create(policy, ITEM, true);
		void *item = rseq_mempool_percpu_malloc(pool);
		int status = run_child(destroy, pool);

		if (policy == INIT)
			assert_int_equal(status, 0);
		else
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		rseq_mempool_percpu_free(item);
		assert_int_equal(run_child(destroy, pool), 0);
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
}

static void test_sets(void **state)
{
	struct rseq_mempool_set *set = rseq_mempool_set_create();

	(void)state;
	assert_int_equal(rseq_mempool_set_add_pool(set, create(INIT, 8, false)), 0);
	assert_int_equal(rseq_mempool_set_add_pool(set, create(INIT, 16, false)), 0);
	assert_non_null(rseq_mempool_set_percpu_malloc(set, 1));
	assert_int_equal(run_child(destroy_set, set), 0);
	assert_non_null(rseq_mempool_set_percpu_malloc(set, 1));
	assert_int_equal(rseq_mempool_set_destroy(set), 0);
}

static int refuse_grandchild(void *pool)
{
	return is_refused(pool) ? destroy(pool) : 3;
}

/* A child's own pool is its own, and foreign to its children in turn. */
static int make_in_child(void *unused)
{
	struct rseq_mempool *pool = create(INIT, ITEM, false);
	int status = -1;
	pid_t child;

	(void)unused;
	if (!pool || !rseq_mempool_percpu_zmalloc(pool))
		return 1;
	child = fork();
	if (!child)
		_exit(refuse_grandchild(pool));
	if (waitpid(child, &status, 0) != child || status)
		return 2;
	return rseq_mempool_percpu_zmalloc(pool) ? destroy(pool) : 4;
}

static void test_grandchild(void **state)
{
	(void)state;
	assert_int_equal(run_child(make_in_child, NULL), 0);
}

/*
 * Threads allocate all the time: a child is never left with a lock that one of them had. Robust
 * pools of large items hold theirs for long.
 */
#define LARGE_ITEM	4096

static struct rseq_mempool *shared[2];
static bool stop;

static void *churn(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int policy = INIT; policy <= ZERO; policy++) {
			void *item = rseq_mempool_percpu_malloc(shared[policy]);
			void *other = rseq_mempool_percpu_zmalloc(shared[policy]);
			struct rseq_mempool *own = create(policy, ITEM, false);

			rseq_mempool_percpu_free(item);
			rseq_mempool_percpu_free(other);
			rseq_mempool_percpu_malloc(own);
			rseq_mempool_destroy(own);
		}
	}
	return NULL;
}

static int use_after_churn(void *unused)
{
	long *item = rseq_mempool_percpu_zmalloc(shared[ZERO]);
	struct rseq_mempool *own = create(INIT, ITEM, false);

	(void)unused;
	for (int row = 0; row < NR_ROWS; row++)
		if (!item || *rseq_percpu_ptr(item, row))
			return 1;
	rseq_mempool_percpu_free(item);
	if (!own || !rseq_mempool_percpu_malloc(own) || rseq_mempool_destroy(own))
		return 2;
	return is_refused(shared[INIT]) && !destroy(shared[INIT]) ? 0 : 3;
}

static void test_threads(void **state)
{
	pthread_t threads[NR_THREADS];

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer's malloc() waits for ever in such a child\n");
		skip();
	}
	for (int policy = INIT; policy <= ZERO; policy++)
		shared[policy] = create(policy, LARGE_ITEM, true);
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
	for (int i = 0; i < NR_FORKS; i++)
		assert_int_equal(run_child(use_after_churn, NULL), 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int policy = INIT; policy <= ZERO; policy++)
		assert_int_equal(rseq_mempool_destroy(shared[policy]), 0);
	stop = false;
}

/*
 * Threads move items between the CPUs' free ones and the pool's while the pages of both are copied
 * for a child: it has no item twice, and zeros where it asks for them.
 */
#define NR_MOVED	100

static void *move_items(void *pool)
{
	long *items[NR_MOVED];

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < NR_MOVED; i++) {
			items[i] = rseq_mempool_percpu_zmalloc(pool);
			for (int row = 0; row < NR_ROWS; row++)
				*rseq_percpu_ptr(items[i], row) = -1;
		}
		for (int i = 0; i < NR_MOVED; i++)
			rseq_mempool_percpu_free(items[i]);
	}
	return NULL;
}

static int use_moved(void *pool)
{
	long *items[4 * NR_MOVED];

	for (int i = 0; i < 4 * NR_MOVED; i++) {
		items[i] = i % 4 ? rseq_mempool_percpu_zmalloc(pool) :
			rseq_mempool_percpu_malloc(pool);
		for (int row = 0; row < NR_ROWS; row++) {
			if (i % 4 && *rseq_percpu_ptr(items[i], row))
				return 1;
			*rseq_percpu_ptr(items[i], row) = i + 1;
		}
	}
	for (int i = 0; i < 4 * NR_MOVED; i++) {
		for (int row = 0; row < NR_ROWS; row++)
			if (*rseq_percpu_ptr(items[i], row) != i + 1)
				return 2;
		rseq_mempool_percpu_free(items[i]);
	}
	return 0;
}

static void test_moving_items(void **state)
{
	struct rseq_mempool *pool = create(ZERO, ITEM, false);
	pthread_t threads[NR_THREADS];

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer's malloc() waits for ever in such a child\n");
		skip();
	}
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, move_items, pool), 0);
	for (int i = 0; i < 5 * NR_FORKS; i++)
		assert_int_equal(run_child(use_moved, pool), 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	stop = false;
	assert_int_equal(rseq_mempool_destroy(pool), 0);
}

/* What the CPUs had for themselves is not lost for the child. */
static int count_all(void *argument)
{
	struct used *used = argument;
	const uintptr_t row = (uintptr_t)used->item & ~((uintptr_t)RSEQ_MEMPOOL_STRIDE - 1);
	char *item, *first = (char *)row;
	int nr = 0;

	while ((item = rseq_mempool_percpu_malloc(used->pool)) >= first &&
	       item < first + RSEQ_MEMPOOL_STRIDE)
		nr++;
	return nr == RSEQ_MEMPOOL_STRIDE / ITEM - 1 ? 0 : 1;
}

static void test_nothing_is_lost(void **state)
{
	struct used used = { .pool = create(ZERO, ITEM, false) };
	void *items[NR_MOVED];

	(void)state;
	used.item = rseq_mempool_percpu_zmalloc(used.pool);
	for (int i = 0; i < NR_MOVED; i++)
		items[i] = rseq_mempool_percpu_malloc(used.pool);
	for (int i = 0; i < NR_MOVED; i++)
		rseq_mempool_percpu_free(items[i]);
	assert_int_equal(run_child(count_all, &used), 0);
	assert_int_equal(rseq_mempool_destroy(used.pool), 0);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_child),
		cmocka_unit_test(test_initial_values_follow),
		cmocka_unit_test(test_robust),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_grandchild),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_moving_items),
		cmocka_unit_test(test_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
