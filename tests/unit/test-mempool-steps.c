/* SPDX-License-Identifier: MIT */
/*
 * Allocating and freeing take as many instructions in a pool of thousands of ranges as in one of a
 * few, and items of zeros as many for 256 CPUs as for two, or for 64 if all others are in use:
 * exactly as many, counted by single steps of a child.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/ptrace.h>

#include <cmocka.h>

#define FEW_RANGES	100
#define MANY_RANGES	4000
#define ITEMS_PER_RANGE	4
#define NR_ITEMS	50		/* that are freed and allocated while steps are counted */
#define NO_PTRACE	3

static size_t stride;

/* Which items: those of old and new ranges, each of which was full before. */
static size_t nth(size_t i, size_t nr_ranges)
{
	return i * (nr_ranges / NR_ITEMS) * ITEMS_PER_RANGE;
}

static void free_and_allocate(struct rseq_mempool *pool, char **items, size_t nr_ranges)
{
	for (size_t i = 0; i < NR_ITEMS; i++)
		rseq_mempool_percpu_free(items[nth(i, nr_ranges)], stride);
	for (size_t i = 0; i < NR_ITEMS; i++)
		items[nth(i, nr_ranges)] = rseq_mempool_percpu_malloc(pool);
}

/* In the child: fills a pool, then works between two stops. A limit keeps all frees in ranges. */
static int work(size_t nr_ranges)
{
	static char *items[MANY_RANGES * ITEMS_PER_RANGE];
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_global(attr, stride);
	rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	rseq_mempool_attr_set_max_nr_ranges(attr, nr_ranges);
	pool = rseq_mempool_create("steps", stride / ITEMS_PER_RANGE, attr);
	for (size_t i = 0; i < nr_ranges * ITEMS_PER_RANGE; i++) {
		items[i] = rseq_mempool_percpu_malloc(pool);
		if (!items[i])
			return 1;
	}
	if (rseq_mempool_percpu_malloc(pool))
		return 2;
	free_and_allocate(pool, items, nr_ranges);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return NO_PTRACE;
	raise(SIGSTOP);
	free_and_allocate(pool, items, nr_ranges);
	raise(SIGSTOP);
	for (size_t i = 0; i < NR_ITEMS; i++)
		if (!items[nth(i, nr_ranges)])
			return 4;
	return rseq_mempool_destroy(pool) ? 5 : 0;
}

/* In the child: takes items of zeros that nobody used before, under the lock. */
static int take_zeros(size_t nr_cpus)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;
	char *items[NR_ITEMS];

	rseq_mempool_attr_set_percpu(attr, 0, (int)nr_cpus);
	rseq_mempool_attr_set_max_nr_ranges(attr, 1);
	pool = rseq_mempool_create("steps", 64, attr);
	if (!rseq_mempool_percpu_zmalloc(pool))
		return 1;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return NO_PTRACE;
	raise(SIGSTOP);
	for (size_t i = 0; i < NR_ITEMS; i++)
		items[i] = rseq_mempool_percpu_zmalloc(pool);
	raise(SIGSTOP);
	for (size_t i = 0; i < NR_ITEMS; i++)
		if (!items[i])
			return 4;
	return rseq_mempool_destroy(pool) ? 5 : 0;
}

/* In the child: takes an item of zeros that was used before, again and again, in a full range. */
static int take_last_zeros(size_t nr_cpus)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;
	char *item = NULL;

	rseq_mempool_attr_set_percpu(attr, 0, (int)nr_cpus);
	rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	rseq_mempool_attr_set_max_nr_ranges(attr, 2);
	pool = rseq_mempool_create("steps", 64, attr);
	for (size_t i = 0; i < RSEQ_MEMPOOL_STRIDE / 64; i++) {
		item = rseq_mempool_percpu_zmalloc(pool);
		if (!item)
			return 1;
	}
	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(rseq_mempool_percpu_zmalloc(pool));
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return NO_PTRACE;
	raise(SIGSTOP);
	for (size_t i = 0; i < NR_ITEMS; i++)
		rseq_mempool_percpu_free(rseq_mempool_percpu_zmalloc(pool));
	raise(SIGSTOP);
	return rseq_mempool_destroy(pool) ? 5 : 0;
}

/* Steps of the child between its two stops. */
static unsigned long count_steps(int (*work_on)(size_t), size_t nr)
{
	unsigned long steps = 0;
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(work_on(nr));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
		skip();
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	do {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSTOPPED(status));
		steps++;
	} while (WSTOPSIG(status) == SIGTRAP);
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	return steps;
}

static void test_steps(void **state)
{
	const char *emulator = getenv("RSEQ_EMULATOR");
	unsigned long few, many;

	(void)state;
	/* A sanitizer's own steps depend on what it has seen before. */
	if (RSEQ_SANITIZE_THREAD || (emulator && *emulator))
		skip();
	stride = (size_t)sysconf(_SC_PAGESIZE);
	few = count_steps(work, FEW_RANGES);
	many = count_steps(work, MANY_RANGES);
	print_message("%lu instructions with %d ranges, %lu with %d\n", few, FEW_RANGES, many,
		      MANY_RANGES);
	assert_int_equal(few, many);
	assert_in_range(few, 2 * NR_ITEMS, 2 * NR_ITEMS * 1000);
}

static void test_zeros(void **state)
{
	const char *emulator = getenv("RSEQ_EMULATOR");
	unsigned long few, many;

	(void)state;
	if (RSEQ_SANITIZE_THREAD || (emulator && *emulator))
		skip();
	few = count_steps(take_zeros, 2);
	many = count_steps(take_zeros, 256);
	print_message("%lu instructions with 2 CPUs, %lu with 256\n", few, many);
	assert_int_equal(few, many);
	assert_in_range(few, NR_ITEMS, NR_ITEMS * 1000);
	few = count_steps(take_last_zeros, 64);
	many = count_steps(take_last_zeros, 256);
	print_message("almost full: %lu instructions with 64 CPUs, %lu with 256\n", few, many);
	assert_int_equal(few, many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_zeros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
