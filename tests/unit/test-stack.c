/* SPDX-License-Identifier: MIT */
/*
 * Stacks by one thread at a time: what each function does and returns, by CPU and by mm_cid, with
 * rseq and without, in signal handlers and in the child of fork(); and what memory a stack takes.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/stack.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#define CAPACITY	100

/* Too many for a row of the size classes. */
#define LARGE_CAPACITY	50000

static const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };
#define NR_MODES	2

static struct support_cpus cpus;
static char things[2 * LARGE_CAPACITY];

/* Everything is done on one CPU, so that it is one part's; by mm_cid that is any. */
static int stay(void)
{
	int here = cpus.cpu[0];

	assert_int_equal(support_move(0, here), 0);
	return here;
}

static size_t count_all(const struct rseq_stack *stack)
{
	size_t total = 0;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		total += rseq_stack_count(stack, cpu);
	return total;
}

static void push_many(struct rseq_stack *stack, size_t first, size_t nr)
{
	for (size_t i = first; i < first + nr; i++)
		assert_int_equal(rseq_stack_push(stack, &things[i]), 0);
}

static void test_last_in_first_out(void **state)
{
	(void)state;
	stay();
	for (int m = 0; m < NR_MODES; m++) {
		struct rseq_stack *stack = rseq_stack_create_mode(CAPACITY, modes[m]);

		assert_non_null(stack);
		assert_null(rseq_stack_pop(stack));
		push_many(stack, 0, CAPACITY);
		assert_int_equal(count_all(stack), CAPACITY);
		errno = 0;
		assert_int_equal(rseq_stack_push(stack, &things[0]), -1);
		assert_int_equal(errno, ENOSPC);
		errno = EXDEV;
		for (int i = CAPACITY; i--;)
			assert_ptr_equal(rseq_stack_pop(stack), &things[i]);
		assert_null(rseq_stack_pop(stack));
		assert_int_equal(errno, EXDEV);
		assert_int_equal(count_all(stack), 0);
		rseq_stack_destroy(stack);
	}
}

static void test_bad_arguments(void **state)
{
	struct rseq_stack *stack = rseq_stack_create(CAPACITY);
	const int nr_cpus = rseq_get_max_nr_cpus();
	void *items[1];

	(void)state;
	assert_non_null(stack);
	errno = 0;
	assert_null(rseq_stack_create(0));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_stack_create_mode(CAPACITY, (enum rseq_percpu_mode)7));
	assert_int_equal(errno, EINVAL);
	for (size_t capacity = SIZE_MAX; capacity > SIZE_MAX >> 12; capacity /= 2) {
		errno = 0;
		assert_null(rseq_stack_create(capacity));
		assert_int_equal(errno, ENOMEM);
	}
	errno = 0;
	assert_int_equal(rseq_stack_push(stack, NULL), -1);
	assert_int_equal(errno, EINVAL);
	for (int cpu = -1; cpu <= nr_cpus; cpu += nr_cpus + 1) {
		errno = 0;
		assert_int_equal(rseq_stack_count(stack, cpu), 0);
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_int_equal(rseq_stack_steal(stack, cpu, items, 1), 0);
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_int_equal(rseq_stack_set_capacity(stack, cpu, 1), -1);
		assert_int_equal(errno, EINVAL);
	}
	errno = 0;
	assert_int_equal(rseq_stack_count(NULL, 0), 0);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_stack_steal(NULL, 0, items, 1), 0);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_stack_steal(stack, 0, NULL, 1), 0);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_stack_drain(stack, NULL, NULL), 0);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_stack_set_capacity(NULL, 0, 1), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_stack_set_capacity(stack, 0, CAPACITY + 1), -1);
	assert_int_equal(errno, EINVAL);
	errno = EXDEV;
	rseq_stack_destroy(stack);
	rseq_stack_destroy(NULL);
	assert_int_equal(errno, EXDEV);
}

static void test_batches(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 33, CAPACITY };
	void *in[CAPACITY + 8], *out[CAPACITY + 8];

	(void)state;
	stay();
	for (int i = 0; i < CAPACITY + 8; i++)
		in[i] = &things[i];
	for (int m = 0; m < NR_MODES; m++) {
		struct rseq_stack *stack = rseq_stack_create_mode(CAPACITY, modes[m]);

		assert_non_null(stack);
		errno = EXDEV;
		assert_int_equal(rseq_stack_push_batch(stack, in, 0), 0);
		assert_int_equal(rseq_stack_pop_batch(stack, out, 0), 0);
		assert_int_equal(rseq_stack_pop_batch(stack, out, CAPACITY), 0);
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			size_t nr = sizes[s];

			assert_int_equal(rseq_stack_push_batch(stack, in, nr), nr);
			assert_int_equal(count_all(stack), nr);
			memset(out, 0, sizeof(out));
			assert_int_equal(rseq_stack_pop_batch(stack, out, nr), nr);
			assert_memory_equal(out, in, nr * sizeof(*in));
			assert_null(out[nr]);
			assert_int_equal(count_all(stack), 0);
		}
		/* As one after the other. */
		push_many(stack, 0, 3);
		assert_int_equal(rseq_stack_push_batch(stack, in + 3, 4), 4);
		assert_ptr_equal(rseq_stack_pop(stack), in[6]);
		assert_int_equal(rseq_stack_pop_batch(stack, out, 4), 4);
		assert_memory_equal(out, in + 2, 4 * sizeof(*in));
		/* As many as there is room for, and as there are. */
		assert_int_equal(rseq_stack_push_batch(stack, in + 2, CAPACITY + 6), CAPACITY - 2);
		assert_int_equal(rseq_stack_push_batch(stack, in, 1), 0);
		assert_int_equal(rseq_stack_pop_batch(stack, out, CAPACITY + 8), CAPACITY);
		assert_memory_equal(out, in, CAPACITY * sizeof(*in));
		assert_int_equal(errno, EXDEV);
		rseq_stack_destroy(stack);
	}
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_batches),
	};

	support_find_cpus(&cpus);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
