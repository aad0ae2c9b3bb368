/* SPDX-License-Identifier: MIT */
/*
 * How many CPU numbers there can be: the list, and what is believed where it is missing or wrong.
 */
#include "internal.h"
#include "support.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cmocka.h>

#define POSSIBLE_CPUS	"/sys/devices/system/cpu/possible"

/* What a child answers that cannot put a list of its own in place. */
#define NO_NAMESPACE	-2

/* What the library makes of a list, which it reads bit by bit. */
static int parse(const char *list)
{
	int ends[2], result;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], list, strlen(list)), strlen(list));
	close(ends[1]);
	result = rseq_read_cpu_list(ends[0], -1, NULL);
	close(ends[0]);
	return result;
}

static bool contains(const char *list, int cpu)
{
	bool found = false;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], list, strlen(list)), strlen(list));
	close(ends[1]);
	assert_true(rseq_read_cpu_list(ends[0], cpu, &found) > 0);
	close(ends[0]);
	return found;
}

static void test_lists(void **state)
{
	static const struct {
		const char *list;
		int expected;
	} cases[] = {
		{ "0", 1 },
		{ "0\n", 1 },
		{ "0-1\n", 2 },
		{ "0-127", 128 },
		{ "0-3,8-11\n", 12 },
		{ "0,2,4,6", 7 },
		{ "5", 6 },
		{ "0-8191\n", 8192 },
		{ "4,0-1", 5 },
		{ "000-007", 8 },
	};
	char long_list[4096] = "0";

	(void)state;
	for (int cpu = 2; cpu < 1000; cpu += 2)
		sprintf(long_list + strlen(long_list), ",%d", cpu);
	assert_int_equal(parse(long_list), 999);
	for (int cpu = 0; cpu < 1000; cpu += 37)
		assert_true(contains(long_list, cpu) == !(cpu % 2));
	for (int cpu = 0; cpu < 14; cpu++)
		assert_true(contains("0-3,8-11\n", cpu) == (cpu < 4 || (cpu > 7 && cpu < 12)));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (parse(cases[i].list) != cases[i].expected)
			fail_msg("\"%s\" is %d", cases[i].list,
				 parse(cases[i].list));
}

static void test_no_lists(void **state)
{
	static const char *const cases[] = {
		"", "\n", " ", "0 ", " 0", "-1", "0-", "0,", ",0", "0,,1", "0--1", "0-,1", "a",
		"0-3\n\n", "0-3\n4", "0x3", "all", "0-3;4", "8192", "0-8192",
		"99999999999999999999", "0-99999999999999999999", "+1", "0.5",
		"0-1-2", "3-1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (parse(cases[i]))
			fail_msg("\"%s\" is %d", cases[i], parse(cases[i]));
}

/* In a child: the answer where the file is the one given, or NO_NAMESPACE. */
static int answer_with_file(const char *file)
{
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return NO_NAMESPACE;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount(file, POSSIBLE_CPUS, NULL, MS_BIND, NULL))
		return NO_NAMESPACE;
	errno = 4321;
	if (rseq_get_max_nr_cpus() != rseq_get_max_nr_cpus() || errno != 4321)
		return -1;
	return rseq_get_max_nr_cpus();
}

/* The answer of a new process that finds this content in the list's file. */
static int answer_with_content(const char *content)
{
	char name[] = "/tmp/possible-XXXXXX";
	int file = mkstemp(name), ends[2], answer = -1;
	size_t length = strlen(content);
	pid_t child;

	assert_true(file >= 0 && write(file, content, length) == (ssize_t)length);
	close(file);
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (!child) {
		answer = answer_with_file(name);
		_exit(write(ends[1], &answer, sizeof(answer)) != sizeof(answer));
	}
	assert_true(child > 0);
	assert_int_equal(read(ends[0], &answer, sizeof(answer)), sizeof(answer));
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ends[0]);
	close(ends[1]);
	unlink(name);
	return answer;
}

/* What the scheduler's masks have room for: the answer of last resort. */
static int mask_bound(void)
{
	unsigned long mask[SUPPORT_MAX_CPUS / (8 * sizeof(unsigned long))];

	return (int)syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask) * 8;
}

/* Must come before any other test asks in this process: children inherit the answer. */
static void test_list_replaced(void **state)
{
	/* The last ones are lists, but not the kernel's, who might have more. */
	static const char *const unusable[] = { "", "garbage", "0-", "0-99999\n", "0\n", "0-1\n" };
	int answer = answer_with_content("0-8191\n");

	(void)state;
	if (answer == NO_NAMESPACE) {
		print_message("no permission to mount a file over " POSSIBLE_CPUS "\n");
		skip();
	}
	assert_int_equal(answer, 8192);
	for (size_t i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++)
		assert_int_equal(answer_with_content(unusable[i]), mask_bound());
}

static void test_answer(void **state)
{
	struct support_cpus cpus;
	char list[4096] = "";
	int answer, file;

	(void)state;
	errno = 4321;
	answer = rseq_get_max_nr_cpus();
	assert_int_equal(errno, 4321);
	support_find_cpus(&cpus);
	assert_true(answer > cpus.cpu[cpus.nr - 1]);

	file = open(POSSIBLE_CPUS, O_RDONLY);
	if (file >= 0) {
		assert_true(read(file, list, sizeof(list) - 1) > 0);
		close(file);
		assert_int_equal(answer, parse(list));
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(rseq_get_max_nr_cpus(), answer);

	/* Nor does it follow the caller's mask. */
	assert_int_equal(support_move(0, cpus.cpu[0]), 0);
	assert_int_equal(rseq_get_max_nr_cpus(), answer);
	assert_int_equal(support_release(&cpus), 0);
}

int main(void)
{
	const struct CMUnitTest cpus[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_no_lists),
		cmocka_unit_test(test_list_replaced),
		cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(cpus, NULL, NULL);
}
