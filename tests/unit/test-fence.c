/* SPDX-License-Identifier: MIT */
/*
 * Fences: after one, no section is under way with what it read before. With membarrier(), and
 * where a filter refuses that, by visiting the CPUs; and where both are refused, an error.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/fence.h>
#include <rseq/ops.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "child.h"

#define KEPT_ERRNO	4321
#define NR_ROUNDS	300

/*
 * Two banks with a word for each CPU. Sections find the words of one of them through current, and
 * add to their CPU's. Once current leads to the other bank, and a fence is over, those stand still.
 */
static intptr_t words[2][SUPPORT_MAX_CPUS][8];
static intptr_t *tables[2][SUPPORT_MAX_CPUS];
static intptr_t current, stop;
static unsigned long nr_adds;

static void *add_for_ever(void *argument)
{
	int index = *(const int *)argument;
	struct support_cpus cpus;
	unsigned long adds = 0;

	support_find_cpus(&cpus);
	support_move(0, cpus.cpu[index % cpus.nr]);
	rseq_register_current_thread();
	while (!RSEQ_READ_ONCE(stop)) {
		int cpu = (int)rseq_cpu_start();
		long offset = (long)sizeof(tables[0][0]) * cpu;

		if (!rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
							    &current, offset, 1, cpu))
			adds++;
	}
	__atomic_fetch_add(&nr_adds, adds, __ATOMIC_RELAXED);
	rseq_unregister_current_thread();
	return NULL;
}

/* Returns 0, or the number of the failed check. */
static int switch_and_compare(bool all, const struct support_cpus *cpus)
{
	static intptr_t before[SUPPORT_MAX_CPUS];
	const int nr_rounds = support_rounds(NR_ROUNDS);

	for (int round = 0; round < nr_rounds; round++) {
		int old = round % 2;

		__atomic_store_n(&current, (intptr_t)tables[!old], __ATOMIC_RELAXED);
		if (all && rseq_fence_all())
			return 1;
		for (int c = 0; !all && c < cpus->nr; c++)
			if (rseq_fence_cpu(cpus->cpu[c]))
				return 2;
		for (int c = 0; c < cpus->nr; c++)
			before[c] = RSEQ_READ_ONCE(words[old][cpus->cpu[c]][0]);
		sched_yield();
		for (int c = 0; c < cpus->nr; c++)
			if (RSEQ_READ_ONCE(words[old][cpus->cpu[c]][0]) != before[c])
				return 3;
	}
	return 0;
}

static void set_up(void)
{
	stop = 0;
	nr_adds = 0;
	memset(words, 0, sizeof(words));
	for (int bank = 0; bank < 2; bank++)
		for (int cpu = 0; cpu < SUPPORT_MAX_CPUS; cpu++)
			tables[bank][cpu] = words[bank][cpu];
	current = (intptr_t)tables[0];
}

static int fence_among_threads(void)
{
	static const int indices[] = { 0, 1, 2, 3 };
	struct support_cpus cpus, afterwards;
	intptr_t sum = 0;
	pthread_t threads[4];
	int result;

	support_find_cpus(&cpus);
	set_up();
	for (int i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, add_for_ever, (void *)&indices[i]))
			return 10;
	result = switch_and_compare(true, &cpus);
	if (!result)
		result = switch_and_compare(false, &cpus);
	RSEQ_WRITE_ONCE(stop, 1);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	support_find_cpus(&afterwards);
	for (int c = 0; c < cpus.nr; c++)
		sum += words[0][cpus.cpu[c]][0] + words[1][cpus.cpu[c]][0];
	if (cpus.nr != afterwards.nr)
		return 11;
	return result ? result : sum == (intptr_t)nr_adds ? 0 : 12;
}

static void test_arguments(void **state)
{
	(void)state;
	errno = 0;
	assert_int_equal(rseq_fence_cpu(-1), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_fence_cpu(rseq_get_max_nr_cpus()), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_fence_cpu(INT_MAX), -1);
	assert_int_equal(errno, EINVAL);
}

/* On CPUs that are absent or offline nothing runs; errno is kept. */
static void test_every_cpu(void **state)
{
	(void)state;
	errno = KEPT_ERRNO;
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		assert_int_equal(rseq_fence_cpu(cpu), 0);
	assert_int_equal(rseq_fence_all(), 0);
	assert_int_equal(errno, KEPT_ERRNO);
}

static void test_threads(void **state)
{
	(void)state;
	assert_int_equal(fence_among_threads(), 0);
	rseq_register_current_thread();
	assert_int_equal(fence_among_threads(), 0);
	rseq_unregister_current_thread();
}

static void test_fork(void **state)
{
	(void)state;
	/* It allows no threads in the child of a process that had some. */
	if (RSEQ_SANITIZE_THREAD)
		skip();
	assert_int_equal(rseq_fence_all(), 0);
	assert_int_equal(in_child(fence_among_threads), 0);
}

static int without_membarrier(void)
{
	if (refuse(__NR_membarrier, ENOSYS))
		return NO_FILTER;
	return fence_among_threads();
}

static int forbidden(int (*call)(void))
{
	errno = 0;
	return call() == -1 && errno == ENOSYS ? 0 : 1;
}

static int fence_first(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	return rseq_fence_cpu(cpus.cpu[0]);
}

/* Where rseq is off, no section can be under way, and there is nothing to wait for. */
static int without_any_way(void)
{
	rseq_register_current_thread();
	if (!rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL))
		return rseq_fence_all();
	if (refuse(__NR_membarrier, EPERM) || refuse(__NR_sched_setaffinity, EPERM))
		return NO_FILTER;
	return forbidden(rseq_fence_all) + forbidden(fence_first);
}

static void test_visit(void **state)
{
	(void)state;
	expect_success(without_membarrier);
}

static void test_no_way(void **state)
{
	(void)state;
	expect_success(without_any_way);
}

static int run_group(void)
{
	const struct CMUnitTest fence[] = {
		/* In children, before this process has chosen its way. */
		cmocka_unit_test(test_visit),
		cmocka_unit_test(test_no_way),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_every_cpu),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(fence, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
