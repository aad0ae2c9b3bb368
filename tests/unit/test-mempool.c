/* SPDX-License-Identifier: MIT */
/*
 * Memory pools: arguments, contents on every CPU, both populate policies, growth and limits,
 * threads, memory use, and sets.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

#define NR_ROWS		16
#define ITEM		64

static const enum rseq_mempool_populate_policy policies[] = {
	RSEQ_MEMPOOL_POPULATE_COW_INIT, RSEQ_MEMPOOL_POPULATE_COW_ZERO,
};

static struct rseq_mempool *create(enum rseq_mempool_populate_policy policy, int nr_cpus,
		unsigned long max_nr_ranges)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	assert_non_null(attr);
	assert_int_equal(rseq_mempool_attr_set_percpu(attr, 0, nr_cpus), 0);
	assert_int_equal(rseq_mempool_attr_set_populate_policy(attr, policy), 0);
	assert_int_equal(rseq_mempool_attr_set_max_nr_ranges(attr, max_nr_ranges), 0);
	pool = rseq_mempool_create("test", ITEM, attr);
	rseq_mempool_attr_destroy(attr);
	assert_non_null(pool);
	return pool;
}

static void assert_errno(int expected)
{
	assert_int_equal(errno, expected);
	errno = 0;
}

static void test_bad_attributes(void **state)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	(void)state;
	assert_non_null(attr);
	assert_int_equal(rseq_mempool_attr_set_init(NULL, NULL, NULL), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_robust(NULL), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_percpu(NULL, 0, 0), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_percpu(attr, 0, -1), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_percpu(attr, 65536 + 64, 1), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_global(attr, 64), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_max_nr_ranges(NULL, 1), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_poison(NULL, 1), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_populate_policy(attr,
			(enum rseq_mempool_populate_policy)2), -1);
	assert_errno(EINVAL);
	rseq_mempool_attr_destroy(attr);
	rseq_mempool_attr_destroy(NULL);
}

static void test_bad_arguments(void **state)
{
	char byte = 1;
	struct rseq_mempool *pool = create(RSEQ_MEMPOOL_POPULATE_COW_INIT, NR_ROWS, 0);

	(void)state;
	assert_null(rseq_mempool_create("empty", 0, NULL));
	assert_errno(EINVAL);
	assert_null(rseq_mempool_create("large", RSEQ_MEMPOOL_STRIDE + 1, NULL));
	assert_errno(EINVAL);
	assert_null(rseq_mempool_percpu_malloc(NULL));
	assert_errno(EINVAL);
	assert_null(rseq_mempool_percpu_zmalloc(NULL));
	assert_errno(EINVAL);
	assert_null(rseq_mempool_percpu_malloc_init(pool, &byte, ITEM + 1));
	assert_errno(EINVAL);
	assert_null(rseq_mempool_percpu_malloc_init(pool, NULL, 1));
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_get_max_nr_cpus(NULL), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_get_max_nr_cpus(pool), NR_ROWS);
	rseq_mempool_percpu_free(NULL);
	rseq_mempool_free(NULL);
	assert_int_equal(rseq_mempool_destroy(NULL), 0);
	assert_int_equal(rseq_mempool_destroy(pool), 0);
}

/* Items stay where they are with a stride that no pool has, and go with 0 for the default one. */
static void test_free_with_stride(void **state)
{
	static const size_t bad[] = {
		1, 2, 8, 2048, 3 * (size_t)4096, RSEQ_MEMPOOL_STRIDE - 1, RSEQ_MEMPOOL_STRIDE + 64,
		(size_t)1 << 62, (size_t)1 << 63, SIZE_MAX,
	};
	struct rseq_mempool *pool = create(RSEQ_MEMPOOL_POPULATE_COW_INIT, NR_ROWS, 1);
	char *items[RSEQ_MEMPOOL_STRIDE / ITEM];

	(void)state;
	for (size_t i = 0; i < RSEQ_MEMPOOL_STRIDE / ITEM; i++)
		assert_non_null(items[i] = rseq_mempool_percpu_malloc(pool));
	errno = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rseq_mempool_percpu_free(items[0], bad[i]);
		assert_errno(EINVAL);
		rseq_mempool_percpu_free(NULL, bad[i]);
		assert_errno(0);
	}
	assert_null(rseq_mempool_percpu_malloc(pool));
	assert_errno(ENOMEM);
	rseq_mempool_percpu_free(items[0], 0);
	assert_errno(0);
	assert_ptr_equal(rseq_mempool_percpu_malloc(pool), items[0]);
	assert_null(rseq_mempool_percpu_malloc(pool));
	assert_errno(ENOMEM);
	assert_int_equal(rseq_mempool_destroy(pool), 0);
}

/* What no address space holds, and what wraps around to something small. */
static void test_huge_arguments(void **state)
{
	const struct {
		size_t stride;
		int nr_cpus;
		size_t item_len;
	} huge[] = {
		{ (size_t)1 << 62, INT_MAX, ITEM }, { (size_t)1 << 63, 2, ITEM },
		{ (size_t)1 << 63, 1, ITEM }, { (size_t)1 << 33, INT_MAX, 8 },
		{ (size_t)1 << 48, 1, 8 }, { (size_t)1 << 35, 1, 8 },
	};
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	(void)state;
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		assert_int_equal(rseq_mempool_attr_set_percpu(attr, huge[i].stride,
							      huge[i].nr_cpus), 0);
		assert_null(rseq_mempool_create("huge", huge[i].item_len, attr));
		assert_errno(ENOMEM);
	}
	assert_null(rseq_mempool_create("huge", SIZE_MAX, attr));
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_attr_set_percpu(attr, SIZE_MAX, 1), -1);
	assert_errno(EINVAL);
	rseq_mempool_attr_destroy(attr);
}

static void fill_copies(char *item, int value)
{
	for (int cpu = 0; cpu < NR_ROWS; cpu++)
		memset(rseq_percpu_ptr(item, cpu), value + cpu, ITEM);
}

static void assert_content(char *item, const char *expected, size_t len)
{
	for (int cpu = 0; cpu < NR_ROWS; cpu++) {
		const char *copy = rseq_percpu_ptr(item, cpu);

		assert_memory_equal(copy, expected, len);
		for (size_t i = len; i < ITEM; i++)
			assert_int_equal(copy[i], 0);
	}
}

/* Fresh items, used ones, and used ones beside others in the same page. */
static void test_contents(void **state)
{
	static char init[] = "what each CPU finds";
	char *items[300];

	(void)state;
	for (int p = 0; p < 2; p++) {
		struct rseq_mempool *pool = create(policies[p], NR_ROWS, 0);

		for (int turn = 0; turn < 12; turn++) {
			for (int i = 0; i < 300; i++) {
				bool zero = (turn + i) % 3;

				items[i] = zero ? rseq_mempool_percpu_zmalloc(pool) :
					rseq_mempool_percpu_malloc_init(pool, init, sizeof(init));
				assert_non_null(items[i]);
				assert_content(items[i], init, zero ? 0 : sizeof(init));
				if (i % 2)
					fill_copies(items[i], i);
			}
			/* Some stay for a turn, so that no range is empty as a whole. */
			for (int i = 0; i < 300; i++)
				if (i % 7 != turn % 7 || turn % 2)
					rseq_mempool_percpu_free(items[i]);
		}
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
}

/* No two live items share a byte on any CPU, over many ranges and through frees and reuse. */
static void test_items_are_distinct(void **state)
{
	enum { NR = 5000 };
	static char *items[NR];

	(void)state;
	for (int p = 0; p < 2; p++) {
		struct rseq_mempool *pool = create(policies[p], 2, 0);

		for (int i = 0; i < NR; i++) {
			items[i] = rseq_mempool_percpu_malloc(pool);
			assert_non_null(items[i]);
		}
		for (int i = 0; i < NR; i += 2)
			rseq_mempool_percpu_free(items[i]);
		for (int i = 0; i < NR; i += 2)
			items[i] = rseq_mempool_percpu_malloc(pool);
		for (int i = 0; i < NR; i++)
			for (int cpu = 0; cpu < 2; cpu++)
				*(int *)(void *)rseq_percpu_ptr(items[i], cpu) = i * 2 + cpu;
		for (int i = 0; i < NR; i++)
			for (int cpu = 0; cpu < 2; cpu++)
				assert_int_equal(*(int *)(void *)rseq_percpu_ptr(items[i], cpu),
						 i * 2 + cpu);
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
}

/* A limited pool hands out all its items, whichever CPU they were freed on. */
static void test_limit(void **state)
{
	enum { NR = RSEQ_MEMPOOL_STRIDE / ITEM };
	static void *items[NR];
	struct support_cpus cpus;
	struct rseq_mempool *pool = create(RSEQ_MEMPOOL_POPULATE_COW_ZERO, 0, 1);

	(void)state;
	support_find_cpus(&cpus);
	for (int turn = 0; turn < 4; turn++) {
		assert_int_equal(support_move(0, cpus.cpu[turn % cpus.nr]), 0);
		for (int i = 0; i < NR; i++) {
			items[i] = rseq_mempool_percpu_malloc(pool);
			assert_non_null(items[i]);
		}
		assert_null(rseq_mempool_percpu_malloc(pool));
		assert_errno(ENOMEM);
		assert_null(rseq_mempool_percpu_zmalloc(pool));
		assert_errno(ENOMEM);
		for (int i = 0; i < NR; i++)
			rseq_mempool_percpu_free(items[i]);
	}
	support_release(&cpus);
	assert_int_equal(rseq_mempool_destroy(pool), 0);
}

static int refuse_third_row(void *priv, void *addr, size_t len, int cpu)
{
	int *calls = priv;

	(*calls)++;
	assert_int_equal(len, RSEQ_MEMPOOL_STRIDE);
	memset(addr, 'i', len);
	if (cpu == 2 && *calls < 100) {
		errno = EXDEV;
		return -1;
	}
	return 0;
}

static int refuse_silently(void *priv, void *addr, size_t len, int cpu)
{
	(void)priv;
	(void)addr;
	(void)len;
	return cpu;
}

static void test_init_callback(void **state)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	(void)state;
	/* What was in errno before is not the callback's. */
	assert_int_equal(rseq_mempool_attr_set_percpu(attr, 0, 2), 0);
	assert_int_equal(rseq_mempool_attr_set_init(attr, refuse_silently, NULL), 0);
	errno = EXDEV;
	assert_null(rseq_mempool_create("refused", ITEM, attr));
	assert_errno(ENOMEM);
	for (int p = 0; p < 2; p++) {
		struct rseq_mempool *pool;
		int calls = 0;
		char *item;

		assert_int_equal(rseq_mempool_attr_set_percpu(attr, 0, 4), 0);
		assert_int_equal(rseq_mempool_attr_set_populate_policy(attr, policies[p]), 0);
		assert_int_equal(rseq_mempool_attr_set_init(attr, refuse_third_row, &calls), 0);
		assert_null(rseq_mempool_create("refused", ITEM, attr));
		assert_errno(EXDEV);
		assert_int_equal(calls, 3);

		calls = 100;
		pool = rseq_mempool_create("accepted", ITEM, attr);
		assert_non_null(pool);
		assert_int_equal(calls, 104);
		item = rseq_mempool_percpu_malloc(pool);
		for (int cpu = 0; cpu < 4; cpu++)
			assert_int_equal(rseq_percpu_ptr(item, cpu)[ITEM - 1], 'i');
		item = rseq_mempool_percpu_zmalloc(pool);
		for (int cpu = 0; cpu < 4; cpu++)
			assert_int_equal(rseq_percpu_ptr(item, cpu)[ITEM - 1], 0);
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
	rseq_mempool_attr_destroy(attr);
}

static void test_global_and_strides(void **state)
{
	const size_t strides[] = { 4096, 65536, 1 << 20 };
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct rseq_mempool *pool;
		size_t value = strides[i];
		char *item, *next;

		if (strides[i] < (size_t)sysconf(_SC_PAGESIZE))
			continue;
		assert_int_equal(rseq_mempool_attr_set_percpu(attr, strides[i], 3), 0);
		pool = rseq_mempool_create("stride", 100, attr);
		item = rseq_mempool_percpu_malloc(pool);
		next = rseq_mempool_percpu_malloc(pool);
		assert_int_equal(next - item, 128);
		memset(rseq_percpu_ptr(item, 2, strides[i]), 1, 128);
		rseq_mempool_percpu_free(item, strides[i]);
		assert_int_equal(rseq_mempool_destroy(pool), 0);

		assert_int_equal(rseq_mempool_attr_set_global(attr, strides[i]), 0);
		pool = rseq_mempool_create(NULL, 100, attr);
		assert_int_equal(rseq_mempool_get_max_nr_cpus(pool), 1);
		item = rseq_mempool_malloc_init(pool, &value, sizeof(value));
		assert_memory_equal(item, &value, sizeof(value));
		rseq_mempool_free(item, strides[i]);
		item = rseq_mempool_zmalloc(pool);
		assert_int_equal(item[0], 0);
		assert_non_null(rseq_mempool_malloc(pool));
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
	rseq_mempool_attr_destroy(attr);
}

static void test_sets(void **state)
{
	static char init[40] = "initial";
	struct rseq_mempool_set *set = rseq_mempool_set_create();
	struct rseq_mempool *small = create(RSEQ_MEMPOOL_POPULATE_COW_INIT, 2, 1);
	struct rseq_mempool *same = create(RSEQ_MEMPOOL_POPULATE_COW_INIT, 2, 1);
	struct rseq_mempool *large = rseq_mempool_create("large", 1024, NULL);
	char *item;

	(void)state;
	assert_int_equal(rseq_mempool_set_add_pool(NULL, small), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_set_add_pool(set, small), 0);
	assert_int_equal(rseq_mempool_set_add_pool(set, same), -1);
	assert_errno(EBUSY);
	assert_int_equal(rseq_mempool_set_add_pool(set, small), -1);
	assert_errno(EBUSY);
	assert_null(rseq_mempool_set_percpu_malloc(set, ITEM + 1));
	assert_errno(ENOMEM);
	assert_int_equal(rseq_mempool_set_add_pool(set, large), 0);
	assert_null(rseq_mempool_set_percpu_malloc(set, 1025));
	assert_errno(ENOMEM);
	assert_null(rseq_mempool_set_percpu_malloc_init(set, NULL, 1));
	assert_errno(EINVAL);
	assert_null(rseq_mempool_set_malloc(NULL, 1));
	assert_errno(EINVAL);

	/* The smaller pool is full after a range; what fits goes to the larger one then. */
	for (int i = 0; i < 2000; i++) {
		item = rseq_mempool_set_percpu_malloc_init(set, init, sizeof(init));
		assert_non_null(item);
		for (int cpu = 0; cpu < 2; cpu++)
			assert_memory_equal(rseq_percpu_ptr(item, cpu), init, sizeof(init));
	}
	item = rseq_mempool_set_percpu_zmalloc(set, 1000);
	assert_int_equal(item[999], 0);
	librseq_mempool_percpu_free(item, RSEQ_MEMPOOL_STRIDE);
	assert_non_null(rseq_mempool_set_zmalloc(set, 1000));
	assert_non_null(rseq_mempool_set_malloc_init(set, init, sizeof(init)));
	assert_int_equal(rseq_mempool_set_destroy(set), 0);
	assert_int_equal(rseq_mempool_set_destroy(NULL), 0);
	assert_int_equal(rseq_mempool_destroy(same), 0);
}

/* Threads allocate, mark, check and free, while pools come and go beside them. */
static struct rseq_mempool *shared_pool;
static int shared_errors;

static void *churn(void *arg)
{
	enum { NR = 40, TURNS = 3000 };
	intptr_t mark = (intptr_t)arg;
	intptr_t *items[NR] = { NULL };

	for (int turn = 0; turn < TURNS; turn++) {
		intptr_t **slot = &items[turn * 7 % NR];

		if (*slot) {
			for (int cpu = 0; cpu < 2; cpu++)
				if (*rseq_percpu_ptr(*slot, cpu) != mark)
					__atomic_fetch_add(&shared_errors, 1, __ATOMIC_RELAXED);
			rseq_mempool_percpu_free(*slot);
			*slot = NULL;
			continue;
		}
		*slot = turn % 3 ? rseq_mempool_percpu_malloc(shared_pool) :
			rseq_mempool_percpu_zmalloc(shared_pool);
		for (int cpu = 0; cpu < 2; cpu++) {
			if (!(turn % 3) && *rseq_percpu_ptr(*slot, cpu))
				__atomic_fetch_add(&shared_errors, 1, __ATOMIC_RELAXED);
			*rseq_percpu_ptr(*slot, cpu) = mark;
		}
		if (turn % 500 == 0) {
			struct rseq_mempool *own = rseq_mempool_create("own", 8, NULL);
			void *item = own ? rseq_mempool_percpu_malloc(own) : NULL;

			if (!item || rseq_mempool_destroy(own))
				__atomic_fetch_add(&shared_errors, 1, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[16];

	(void)state;
	for (int p = 0; p < 2; p++) {
		shared_pool = create(policies[p], 2, 0);
		for (intptr_t i = 0; i < 16; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, churn,
							(void *)(i + 1)), 0);
		for (int i = 0; i < 16; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(shared_errors, 0);
		assert_int_equal(rseq_mempool_destroy(shared_pool), 0);
	}
}

/* Rows that no CPU writes to cost nothing: 1000 items, 256 CPUs, 2 of them in use. */
static void test_memory(void **state)
{
	static long *items[1000];

	(void)state;
	for (int p = 0; p < 2; p++) {
		struct rseq_mempool *pool = create(policies[p], 256, 0);
		long before = support_resident();

		/* A sanitizer has memory of its own. */
		if (SUPPORT_SANITIZED || before < 0)
			skip();
		for (int i = 0; i < 1000; i++) {
			items[i] = rseq_mempool_percpu_zmalloc(pool);
			for (int cpu = 0; cpu < 2; cpu++)
				*rseq_percpu_ptr(items[i], cpu) = i;
		}
		assert_in_range(support_resident() - before, 0, 300 * 1024);
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
}

static int exhaust_memory(void)
{
	struct rlimit limit = { 64 << 20, 64 << 20 };
	struct rseq_mempool *pool = rseq_mempool_create("limited", RSEQ_MEMPOOL_STRIDE, NULL);
	int nr_items = 0;

	if (!pool || setrlimit(RLIMIT_AS, &limit))
		return 1;
	while (nr_items < 100000 && rseq_mempool_percpu_malloc(pool))
		nr_items++;
	if (nr_items == 100000 || errno != ENOMEM)
		return 2;
	return rseq_mempool_destroy(pool) ? 3 : 0;
}

static void test_no_memory(void **state)
{
	int status = -1;
	pid_t child;

	(void)state;
	/* A sanitizer ends the process that gets no memory. */
	if (SUPPORT_SANITIZED)
		skip();
	child = fork();
	if (!child)
		_exit(exhaust_memory());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_numa_helper(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	memory[0] = 1;
	assert_int_equal(rseq_mempool_range_init_numa(memory, page, -1, 0), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_range_init_numa(memory + 1, page, 0, 0), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_range_init_numa(NULL, page, 0, 0), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_range_init_numa(memory, SIZE_MAX, 0, 0), -1);
	assert_errno(EINVAL);
	assert_int_equal(rseq_mempool_range_init_numa(memory, SIZE_MAX - 2 * page, 0, 0), -1);
	assert_errno(EINVAL);
	/* Without NUMA in the kernel the call says so, and nothing else. */
	if (rseq_mempool_range_init_numa(memory, 4 * page, 0, 1 << 1))
		assert_true(errno == ENOSYS || errno == EPERM || errno == ENODEV);
	assert_int_equal(memory[0], 1);
	munmap(memory, 4 * page);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_bad_attributes),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_free_with_stride),
		cmocka_unit_test(test_huge_arguments),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_items_are_distinct),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_init_callback),
		cmocka_unit_test(test_global_and_strides),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_numa_helper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
