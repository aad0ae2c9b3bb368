/* SPDX-License-Identifier: MIT */
/*
 * Another module registers the area that this library uses, and nobody tells the library: then it
 * does not know which fields there are. Structures by mm_cid work all the same, in their slow paths
 * too.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/cache.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NR_ITEMS	4

static int nr_released;

static void test_list(void **state)
{
	struct rseq_list *list = rseq_list_create_mode(RSEQ_PERCPU_MM_CID);
	struct rseq_list_node nodes[NR_ITEMS];

	(void)state;
	assert_non_null(list);
	assert_null(rseq_list_pop(list));
	for (int i = 0; i < NR_ITEMS; i++)
		rseq_list_push(list, &nodes[i]);
	assert_non_null(rseq_list_drain(list));
	/* The row is to be opened again. */
	rseq_list_push(list, &nodes[0]);
	assert_ptr_equal(rseq_list_drain(list), &nodes[0]);
	rseq_list_destroy(list);
}

static void test_stack(void **state)
{
	struct rseq_stack *stack = rseq_stack_create_mode(NR_ITEMS, RSEQ_PERCPU_MM_CID);
	struct rseq_cache *cache;
	const struct rseq_cache_attr attr = { .size = sizeof(attr), .mode = RSEQ_PERCPU_MM_CID };

	(void)state;
	assert_non_null(stack);
	assert_null(rseq_stack_pop(stack));
	assert_int_equal(rseq_stack_push(stack, &nr_released), 0);
	assert_ptr_equal(rseq_stack_pop(stack), &nr_released);
	rseq_stack_destroy(stack);

	cache = rseq_cache_create(NULL, 64, &attr);
	assert_non_null(cache);
	assert_int_equal(rseq_cache_free(cache, rseq_cache_alloc(cache)), 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

static void test_ring(void **state)
{
	struct rseq_ring *ring = rseq_ring_create_mode(4096, 0, RSEQ_PERCPU_MM_CID);
	ssize_t nr_bytes = 0;
	char buffer[8];

	(void)state;
	assert_non_null(ring);
	assert_int_equal(rseq_ring_write(ring, "abc", 3), 0);
	for (int cid = 0; cid < rseq_get_max_nr_cpus(); cid++)
		nr_bytes += rseq_ring_read(ring, cid, buffer, sizeof(buffer));
	assert_int_equal(nr_bytes, 3);
	assert_int_equal(rseq_ring_destroy(ring), 0);
}

static void test_lock(void **state)
{
	struct rseq_lock *lock = rseq_lock_create_mode(RSEQ_PERCPU_MM_CID);
	int cids[2] = { -1, -1 };

	(void)state;
	assert_non_null(lock);
	cids[0] = rseq_lock_acquire(lock);
	assert_in_range(cids[0], 0, rseq_get_max_nr_cpus() - 1);
	/* The same one is held, unless the thread has got another meanwhile. */
	cids[1] = rseq_lock_try_acquire(lock);
	assert_int_not_equal(cids[0], cids[1]);
	for (int i = 0; i < 2; i++)
		if (cids[i] >= 0)
			assert_int_equal(rseq_lock_release(lock, cids[i]), 0);
	rseq_lock_destroy(lock);
}

static void count_release(void *arg)
{
	(void)arg;
	nr_released++;
}

static void test_refcount(void **state)
{
	struct rseq_refcount *ref = rseq_refcount_create_mode(count_release, NULL,
							      RSEQ_PERCPU_MM_CID);

	(void)state;
	assert_non_null(ref);
	assert_true(rseq_refcount_tryget(ref));
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_int_equal(nr_released, 0);
	rseq_refcount_put(ref);
	assert_int_equal(nr_released, 1);
	rseq_refcount_destroy(ref);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_stack),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_refcount),
	};

	if (!rseq_thread_registered() && support_kernel_has_rseq() &&
	    support_sys_rseq(rseq_get_abi(), 32, 0, RSEQ_SIG))
		return 1;
	nr_released = 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
