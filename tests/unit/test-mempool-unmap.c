/* SPDX-License-Identifier: MIT */
/*
 * Pools whose memory cannot be unmapped: destroying says so, frees all the rest, and nothing twice.
 * The munmap() of this program takes the place of libc's, and fails when it is told to.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MAX_CALLS	64
#define NR_RANGES	2

struct call {
	void *address;
	size_t length;
	int error;
};

static struct call calls[MAX_CALLS];
static int nr_calls = -1;		/* -1: calls are not recorded */
static int first_failing, nr_failing, failing_error;

int munmap(void *address, size_t length)
{
	struct call *call;

	if (nr_calls < 0 || nr_calls == MAX_CALLS)
		return (int)syscall(SYS_munmap, address, length);
	call = &calls[nr_calls];
	*call = (struct call){ address, length, 0 };
	if (nr_calls >= first_failing && nr_calls < first_failing + nr_failing)
		call->error = failing_error;
	nr_calls++;
	if (!call->error)
		return (int)syscall(SYS_munmap, address, length);
	errno = call->error;
	return -1;
}

/* From now on calls are recorded, and nr of them fail from the one with this number. */
static void record(int first, int nr, int error)
{
	nr_calls = 0;
	first_failing = first;
	nr_failing = nr;
	failing_error = error;
}

static int stop_recording(void)
{
	int nr = nr_calls;

	nr_calls = -1;
	return nr;
}

/* Pages of the memory that are mapped. */
static size_t count_mapped(const struct call *call)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t nr = 0;
	unsigned char resident;

	for (size_t offset = 0; offset < call->length; offset += page)
		nr += !mincore((char *)call->address + offset, 1, &resident);
	return nr;
}

static bool overlap(const struct call *one, const struct call *other)
{
	return (char *)one->address < (char *)other->address + other->length &&
	       (char *)other->address < (char *)one->address + one->length;
}

/* What was refused is still there, what was not is gone, and nothing was given back twice. */
static void check_calls(int nr)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < nr; i++) {
		const size_t nr_pages = (calls[i].length + page - 1) / page;

		assert_int_equal(count_mapped(&calls[i]), calls[i].error ? nr_pages : 0);
		for (int j = 0; j < i; j++)
			assert_false(overlap(&calls[i], &calls[j]));
	}
	for (int i = 0; i < nr; i++)
		if (calls[i].error)
			assert_int_equal(munmap(calls[i].address, calls[i].length), 0);
}

static struct rseq_mempool *create(enum rseq_mempool_populate_policy policy, size_t item_len)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	assert_int_equal(rseq_mempool_attr_set_populate_policy(attr, policy), 0);
	assert_int_equal(rseq_mempool_attr_set_percpu(attr, 0, 4), 0);
	pool = rseq_mempool_create("unmapped", item_len, attr);
	rseq_mempool_attr_destroy(attr);
	assert_non_null(pool);
	for (size_t i = 0; i < NR_RANGES * RSEQ_MEMPOOL_STRIDE / item_len; i++) {
		char *item = rseq_mempool_percpu_zmalloc(pool);

		assert_non_null(item);
		*rseq_percpu_ptr(item, 3) = 1;
	}
	return pool;
}

static int destroy(void *pool)
{
	return rseq_mempool_destroy(pool);
}

static int destroy_set(void *set)
{
	return rseq_mempool_set_destroy(set);
}

/* Destroys what make() makes, once with each of its unmappings refused, and once with all. */
static void try_all(void *(*make)(enum rseq_mempool_populate_policy),
		int (*end)(void *object), enum rseq_mempool_populate_policy policy)
{
	int nr, error = EINVAL;
	void *object = make(policy);

	errno = EXDEV;
	record(0, 0, 0);
	assert_int_equal(end(object), 0);
	nr = stop_recording();
	assert_int_equal(errno, EXDEV);
	assert_in_range(nr, NR_RANGES, MAX_CALLS - 1);
	check_calls(nr);

	for (int first = 0; first <= nr; first++) {
		object = make(policy);
		record(first % nr, first == nr ? nr : 1, error);
		assert_int_equal(end(object), -1);
		assert_int_equal(errno, error);
		assert_int_equal(stop_recording(), nr);
		check_calls(nr);
		error = error == EINVAL ? ENOMEM : EINVAL;
	}
}

static void *make_pool(enum rseq_mempool_populate_policy policy)
{
	return create(policy, 256);
}

static void *make_set(enum rseq_mempool_populate_policy policy)
{
	struct rseq_mempool_set *set = rseq_mempool_set_create();

	assert_non_null(set);
	for (size_t item_len = 1024; item_len <= 4096; item_len *= 2)
		assert_int_equal(rseq_mempool_set_add_pool(set, create(policy, item_len)), 0);
	return set;
}

static void test_destroy(void **state)
{
	(void)state;
	try_all(make_pool, destroy, RSEQ_MEMPOOL_POPULATE_COW_INIT);
	try_all(make_pool, destroy, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
}

static void test_destroy_set(void **state)
{
	(void)state;
	try_all(make_set, destroy_set, RSEQ_MEMPOOL_POPULATE_COW_INIT);
	try_all(make_set, destroy_set, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
}

/* Ranges are cut from larger mappings. What cannot be cut off works, and goes with the range. */
static void test_growth(void **state)
{
	const enum rseq_mempool_populate_policy policies[] = {
		RSEQ_MEMPOOL_POPULATE_COW_INIT, RSEQ_MEMPOOL_POPULATE_COW_ZERO,
	};

	(void)state;
	for (int p = 0; p < 2; p++) {
		struct rseq_mempool *pool;
		int nr;

		record(0, MAX_CALLS, ENOMEM);
		pool = create(policies[p], 256);
		nr = stop_recording();
		assert_in_range(nr, NR_RANGES, MAX_CALLS - 1);
		assert_int_equal(rseq_mempool_destroy(pool), 0);
		for (int i = 0; i < nr; i++)
			assert_int_equal(count_mapped(&calls[i]), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_destroy),
		cmocka_unit_test(test_destroy_set),
		cmocka_unit_test(test_growth),
	};
	struct support_cpus cpus;

	/* Another CPU has items of its own at hand, and may make a pool need one more range. */
	support_find_cpus(&cpus);
	support_move(0, cpus.cpu[0]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
