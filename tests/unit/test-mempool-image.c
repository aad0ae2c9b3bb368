/* SPDX-License-Identifier: MIT */
/*
 * Initial values where the rows cannot share them, as a limit of the process forbids it: each row
 * shows them all the same, and the process keeps what it needs for other things.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define NR_ROWS		1024
#define NR_RANGES	40
#define MAX_MAPPINGS	65530		/* of a process, unless the kernel is told otherwise */
#define SLACK		1024		/* for what else ranges map, and who watches a process */

static size_t page;

/* One item in each range. */
static struct rseq_mempool *create(bool poisoned, unsigned long max_nr_ranges)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_percpu(attr, page, NR_ROWS);
	rseq_mempool_attr_set_max_nr_ranges(attr, max_nr_ranges);
	if (poisoned)
		rseq_mempool_attr_set_poison(attr, 0x5caff01d);
	pool = rseq_mempool_create("image", page, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

static bool shows(long *item, long value)
{
	for (int row = 0; row < NR_ROWS; row++)
		if (*rseq_percpu_ptr(item, row, page) != value)
			return false;
	return true;
}

static long *allocate(struct rseq_mempool *pool, long value)
{
	long *item = rseq_mempool_percpu_malloc_init(pool, &value, sizeof(value));

	return item && shows(item, value) ? item : NULL;
}

static int try_with_short_files(void)
{
	const struct rlimit limit = { page - 1, page - 1 };
	struct rseq_mempool *pool = create(false, 0), *limited = create(false, 1);
	struct rseq_mempool *poisoned = create(true, 0);
	long *item;

	if (!pool || !limited || !poisoned || setrlimit(RLIMIT_FSIZE, &limit))
		return 1;
	if (!allocate(pool, 1) || !allocate(limited, 2) || !allocate(poisoned, 3))
		return 2;
	item = rseq_mempool_percpu_malloc(poisoned);
	if (!item || !shows(item, 0x5caff01d))
		return 3;
	return 0;
}

/* A file of memory that is longer than the limit would have the process killed by a signal. */
static void test_short_files(void **state)
{
	int status = -1;
	pid_t child = fork();

	(void)state;
	if (!child)
		_exit(try_with_short_files());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int count_mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	int nr = 0, character;

	if (!file)
		return -1;
	while ((character = getc(file)) != EOF)
		nr += character == '\n';
	fclose(file);
	return nr;
}

/* The second turn has what the first one gave back. */
static void test_mappings_left(void **state)
{
	const int before = count_mappings(), most = before + MAX_MAPPINGS / 2 + SLACK;

	(void)state;
	if (before < 0) {
		print_message("/proc/self/maps cannot be read\n");
		skip();
	}
	for (int turn = 0; turn < 2; turn++) {
		struct rseq_mempool *pool = create(false, 0);

		assert_non_null(allocate(pool, 1));
		assert_in_range(count_mappings(), before + NR_ROWS / 2, before + 2 * NR_ROWS);
		for (long i = 1; i < NR_RANGES; i++)
			assert_non_null(allocate(pool, i));
		assert_in_range(count_mappings(), before, most);
		assert_int_equal(rseq_mempool_destroy(pool), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_files),
		cmocka_unit_test(test_mappings_left),
	};

	page = (size_t)sysconf(_SC_PAGESIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
