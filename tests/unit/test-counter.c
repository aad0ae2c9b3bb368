/* SPDX-License-Identifier: MIT */
/*
 * Counters one at a time and by the thousand: values, memory, reuse, signal handlers and fork.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "child.h"

#define KEPT_ERRNO	4321
#define NR_MANY		20000

/* What a child answers whose limits are not kept. */
#define NO_LIMIT	99

/* KiB of the mapping around address that are this process's own, from /proc/self/smaps; or -1. */
static long resident_kib(uintptr_t address)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false;
	long kib = -1, value;
	char line[512];

	if (!file)
		return -1;
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = address >= start && address < end;
		else if (inside && sscanf(line, "Rss: %ld", &value) == 1)
			kib = value;
	}
	fclose(file);
	return kib;
}

/*
 * Comes first: no counter was made yet. One counter on one CPU costs the page with the range's
 * header, and the page with its word; not more for its sum, nor for destroy.
 */
static void test_memory(void **state)
{
	const long page_kib = sysconf(_SC_PAGESIZE) / 1024;
	struct support_cpus cpus;
	struct rseq_counter *counter;
	long kib, kib_afterwards;

	(void)state;
	rseq_register_current_thread();
	support_find_cpus(&cpus);
	assert_int_equal(support_move(0, cpus.cpu[cpus.nr - 1]), 0);
	counter = rseq_counter_create();
	assert_non_null(counter);
	for (int i = 0; i < 1000; i++)
		rseq_counter_inc(counter);
	assert_int_equal(rseq_counter_sum(counter), 1000);
	kib = resident_kib((uintptr_t)counter);
	assert_int_equal(support_release(&cpus), 0);
	rseq_counter_destroy(counter);
	kib_afterwards = resident_kib((uintptr_t)counter);
	rseq_unregister_current_thread();
	if (kib < 0) {
		print_message("/proc/self/smaps cannot be read\n");
		skip();
	}
	/* Two of each, where an aborted try went to another row. */
	print_message("%ld KiB\n", kib);
	assert_true(kib <= 4 * page_kib);
	assert_true(kib >= page_kib);
	assert_true(kib_afterwards <= kib);
}

/*
 * Ten thousand counters on one CPU: 8 bytes in its row and 4 in the list of free ones each, and for
 * each range of 8200 a page before the rows, and what is left of the first and last pages. Shown by
 * all that this process has, as malloc() is part of it.
 */
static long process_kib(void)
{
	/* Page by page; the numbers of statm are kept roughly. */
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	long kib = -1, value;
	char line[512];

	if (!file)
		return -1;
	while (kib < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "Rss: %ld", &value) == 1)
			kib = value;
	fclose(file);
	return kib;
}

#define NR_MEASURED	10000
#define OVERHEAD_KIB(page)	(2 * 6 * (page))

static void test_memory_of_many(void **state)
{
	static struct rseq_counter *counters[NR_MEASURED];
	const long page_kib = sysconf(_SC_PAGESIZE) / 1024;
	const long expected = NR_MEASURED * 12 / 1024 + OVERHEAD_KIB(page_kib);
	struct support_cpus cpus;
	long before, after;

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer has memory of its own\n");
		skip();
	}
	rseq_register_current_thread();
	support_find_cpus(&cpus);
	assert_int_equal(support_move(0, cpus.cpu[0]), 0);
	for (int i = 0; i < NR_MEASURED; i++)
		counters[i] = NULL;
	before = process_kib();
	for (int i = 0; i < NR_MEASURED; i++) {
		counters[i] = rseq_counter_create();
		assert_non_null(counters[i]);
		rseq_counter_inc(counters[i]);
	}
	after = process_kib();
	for (int i = 0; i < NR_MEASURED; i++) {
		assert_int_equal(rseq_counter_sum(counters[i]), 1);
		rseq_counter_destroy(counters[i]);
	}
	assert_int_equal(support_release(&cpus), 0);
	rseq_unregister_current_thread();
	if (before < 0 || after < 0) {
		print_message("/proc/self/smaps_rollup cannot be read\n");
		skip();
	}
	print_message("%ld KiB, %ld expected at most\n", after - before, expected);
	assert_true(after - before <= expected);
}

static void test_null(void **state)
{
	(void)state;
	errno = KEPT_ERRNO;
	rseq_counter_destroy(NULL);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(rseq_counter_sum(NULL), 0);
	assert_int_equal(errno, EINVAL);
}

static void test_errno_kept(void **state)
{
	struct rseq_counter *counter;

	(void)state;
	errno = KEPT_ERRNO;
	counter = rseq_counter_create();
	assert_non_null(counter);
	rseq_counter_inc(counter);
	rseq_counter_add_slow(counter, 2);
	assert_int_equal(rseq_counter_sum(counter), 3);
	rseq_counter_destroy(counter);
	assert_int_equal(errno, KEPT_ERRNO);
}

/* Constants that an instruction holds, and others that it does not, on either architecture. */
#define FOR_EACH_ADDEND(f)						\
	f(0) f(1) f(-1) f(2) f(127) f(128) f(-128) f(-129) f(255) f(256)	\
	f(4095) f(4096) f(4097) f(-4095) f(-4096) f(0xfff000) f(0x1000000)	\
	f(0x7fffffff) f(0x80000000) f(-0x7fffffff) f(-0x80000000L)	\
	f(-0x80000001L) f(0xffffffff) f(0x100000000) f(-0x100000000)	\
	f(0x123456789abcdef) f(-0x123456789abcdef) f(INTPTR_MAX) f(INTPTR_MIN)

static void test_constants(void **state)
{
	struct rseq_counter *counter = rseq_counter_create();
	uintptr_t expected = 0;

	(void)state;
	assert_non_null(counter);
#define ADD_AND_COMPARE(n)							\
	rseq_counter_add(counter, n);						\
	expected += (uintptr_t)(n);						\
	assert_int_equal(rseq_counter_sum(counter), expected);
	FOR_EACH_ADDEND(ADD_AND_COMPARE)
#undef ADD_AND_COMPARE
	rseq_counter_destroy(counter);
}

static void test_variables(void **state)
{
#define ELEMENT(n)	(intptr_t)(n),
	static const volatile intptr_t addends[] = { FOR_EACH_ADDEND(ELEMENT) };
#undef ELEMENT
	struct rseq_counter *counter = rseq_counter_create();
	uintptr_t expected = 0;

	(void)state;
	assert_non_null(counter);
	for (size_t i = 0; i < sizeof(addends) / sizeof(addends[0]); i++) {
		rseq_counter_add(counter, addends[i]);
		expected += (uintptr_t)addends[i];
		assert_int_equal(rseq_counter_sum(counter), expected);
		rseq_counter_add_slow(counter, addends[i]);
		expected += (uintptr_t)addends[i];
		assert_int_equal(rseq_counter_sum(counter), expected);
	}
	rseq_counter_destroy(counter);
}

static void test_wrap_around(void **state)
{
	struct rseq_counter *counter = rseq_counter_create();

	(void)state;
	assert_non_null(counter);
	rseq_counter_add(counter, INTPTR_MAX);
	rseq_counter_inc(counter);
	assert_int_equal(rseq_counter_sum(counter), INTPTR_MIN);
	rseq_counter_dec(counter);
	assert_int_equal(rseq_counter_sum(counter), INTPTR_MAX);
	rseq_counter_add(counter, INTPTR_MIN);
	assert_int_equal(rseq_counter_sum(counter), -1);
	rseq_counter_inc(counter);
	assert_int_equal(rseq_counter_sum(counter), 0);
	rseq_counter_dec(counter);
	rseq_counter_dec(counter);
	assert_int_equal(rseq_counter_sum(counter), -2);
	rseq_counter_destroy(counter);
}

/* try_add() counts or does not, as it says. */
static void test_try_add(void **state)
{
	struct rseq_counter *counter = rseq_counter_create();
	intptr_t done = 0;

	(void)state;
	assert_non_null(counter);
	rseq_register_current_thread();
	for (int i = 0; i < 100000; i++)
		done += rseq_counter_try_add(counter, 1);
	assert_int_equal(rseq_counter_sum(counter), done);
	if (rseq_thread_registered())
		assert_true(done > 0);
	else
		assert_int_equal(done, 0);
	rseq_unregister_current_thread();
	rseq_counter_destroy(counter);
}

static int compare_addresses(const void *a, const void *b)
{
	uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;

	return left < right ? -1 : left > right;
}

/* Adds on every CPU at hand, with rseq if this thread has it, and without. */
static void add_everywhere(struct rseq_counter *const *counters, int nr)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	for (int c = 0; c < cpus.nr; c++) {
		support_move(0, cpus.cpu[c]);
		for (int i = 0; i < nr; i++)
			rseq_counter_add(counters[i], i);
	}
	support_release(&cpus);
}

/* More than fit into one mapping; each is its own, and a new one in its place starts at 0. */
static void test_many(void **state)
{
	static struct rseq_counter *counters[NR_MANY], *sorted[NR_MANY];
	struct support_cpus cpus;
	bool reused = false;

	(void)state;
	support_find_cpus(&cpus);
	for (int round = 0; round < 2; round++) {
		struct rseq_counter *first = counters[0];

		for (int i = 0; i < NR_MANY; i++) {
			counters[i] = rseq_counter_create();
			assert_non_null(counters[i]);
			assert_int_equal(rseq_counter_sum(counters[i]), 0);
			reused |= counters[i] == first;
		}
		memcpy(sorted, counters, sizeof(sorted));
		qsort(sorted, NR_MANY, sizeof(sorted[0]), compare_addresses);
		for (int i = 1; i < NR_MANY; i++)
			assert_ptr_not_equal(sorted[i - 1], sorted[i]);

		add_everywhere(counters, NR_MANY);
		rseq_register_current_thread();
		add_everywhere(counters, NR_MANY);
		rseq_unregister_current_thread();
		for (int i = 0; i < NR_MANY; i++)
			assert_int_equal(rseq_counter_sum(counters[i]), 2 * i * cpus.nr);

		/* Every other one first, so that its place is found between others. */
		for (int i = 0; i < NR_MANY; i += 2)
			rseq_counter_destroy(counters[i]);
		for (int i = 1; i < NR_MANY; i += 2)
			assert_int_equal(rseq_counter_sum(counters[i]), 2 * i * cpus.nr);
		for (int i = 1; i < NR_MANY; i += 2)
			rseq_counter_destroy(counters[i]);
	}
	assert_true(reused);
}

/* In a child: no more address space than there is. Returns 0, or the number of a failed check. */
static int exhaust(void)
{
	static struct rseq_counter *counters[NR_MANY];
	const struct rlimit none = { 0, RLIM_INFINITY };
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int nr = 0;

	if (setrlimit(RLIMIT_AS, &none))
		return 1;
	if (mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return NO_LIMIT;
	errno = 0;
	while (nr < NR_MANY && (counters[nr] = rseq_counter_create()))
		nr++;
	if (nr == NR_MANY || errno != ENOMEM)
		return 2;
	errno = 0;
	if (rseq_counter_create() || errno != ENOMEM)
		return 3;
	for (int i = 0; i < nr; i++)
		rseq_counter_add(counters[i], i);
	for (int i = 0; i < nr; i++)
		if (rseq_counter_sum(counters[i]) != i)
			return 4;
	/* What is given back serves again. */
	if (nr) {
		rseq_counter_destroy(counters[nr - 1]);
		counters[nr - 1] = rseq_counter_create();
		if (!counters[nr - 1] || rseq_counter_sum(counters[nr - 1]))
			return 5;
	}
	if (setrlimit(RLIMIT_AS, &all) || !rseq_counter_create())
		return 6;
	return 0;
}

static void test_no_memory(void **state)
{
	int result;

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer needs address space of its own\n");
		skip();
	}
	result = in_child(exhaust);
	if (result == NO_LIMIT) {
		print_message("an emulator does not limit the address space\n");
		skip();
	}
	assert_int_equal(result, 0);
}

static struct rseq_counter *handled;
static volatile intptr_t sum_in_handler;

static void add_in_handler(int signal)
{
	(void)signal;
	rseq_counter_add(handled, 5);
	sum_in_handler = rseq_counter_sum(handled);
}

static void test_signal_handler(void **state)
{
	struct sigaction action = { .sa_handler = add_in_handler }, before;

	(void)state;
	handled = rseq_counter_create();
	assert_non_null(handled);
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	for (int i = 0; i < 100; i++) {
		rseq_counter_inc(handled);
		assert_int_equal(raise(SIGUSR1), 0);
		assert_int_equal(sum_in_handler, 6 * (i + 1));
	}
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_int_equal(rseq_counter_sum(handled), 600);
	rseq_counter_destroy(handled);
}

static struct rseq_counter *inherited;

static void *add_in_thread(void *argument)
{
	(void)argument;
	for (int i = 0; i < 10000; i++)
		rseq_counter_inc(inherited);
	return NULL;
}

static int add_in_fork(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 10000; i++)
		rseq_counter_inc(inherited);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, add_in_thread, NULL))
			return 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	if (rseq_counter_sum(inherited) != 7 + 50000)
		return 2;
	rseq_counter_destroy(inherited);
	inherited = rseq_counter_create();
	return inherited && !rseq_counter_sum(inherited) ? 0 : 3;
}

/* A child has counters of its own, which start where its parent's stood. */
static void test_fork(void **state)
{
	(void)state;
	inherited = rseq_counter_create();
	assert_non_null(inherited);
	for (int way = 0; way < 2; way++) {
		if (way)
			rseq_register_current_thread();
		rseq_counter_add(inherited, 7 - rseq_counter_sum(inherited));
		assert_int_equal(in_child(add_in_fork), 0);
		assert_int_equal(rseq_counter_sum(inherited), 7);
		rseq_counter_inc(inherited);
		assert_int_equal(rseq_counter_sum(inherited), 8);
	}
	rseq_unregister_current_thread();
	rseq_counter_destroy(inherited);
}

static int run_group(void)
{
	const struct CMUnitTest counter[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_of_many),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_errno_kept),
		cmocka_unit_test(test_constants),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_wrap_around),
		cmocka_unit_test(test_try_add),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_signal_handler),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(counter, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
