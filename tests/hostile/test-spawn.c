/* SPDX-License-Identifier: MIT */
/*
 * vfork() and posix_spawn() in a storm, while threads work. The child of vfork() runs on its
 * parent's storage, and calls what it may: it is told that it can do nothing, and the parent is
 * as it was.
 */
#define _GNU_SOURCE

#include "works.h"

#include <rseq/info.h>

#include <pthread.h>
#include <spawn.h>

#define NR_VFORKS	1500
#define NR_SPAWNS	150
#define NR_WORKERS	3
#define NR_SPAWNERS	2

extern char **environ;

static struct works *works;
static bool stop;
static bool shares_memory = true;	/* not where an emulator forks instead */

static void *work_on(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		works_round(works);
	return NULL;
}

/* What the child may do, and what it is to be told; returns what was wrong, in bits. */
static int act(int expected)
{
	struct rseq_info info = { .size = sizeof(info) };
	int wrong = 0, error;

	error = rseq_register_current_thread() ? errno : 0;
	if (shares_memory && error != expected)
		wrong |= 1;
	error = rseq_unregister_current_thread() ? errno : 0;
	if (shares_memory && error != (expected == EOPNOTSUPP ? ECHILD : expected))
		wrong |= 2;
	if (rseq_get_info(&info))
		wrong |= 4;
	if (shares_memory && expected != EOPNOTSUPP &&
	    (info.reason != RSEQ_REASON_VFORK_CHILD || info.owner != RSEQ_OWNER_NONE))
		wrong |= 8;
	rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL);
	if (rseq_get_max_nr_cpus() <= 0)
		wrong |= 16;
	rseq_unregister_current_thread();
	rseq_register_current_thread();
	return wrong;
}

static int vfork_and_act(int expected)
{
	volatile int wrong = 0;
	int status = -1;
	pid_t child = vfork();

	if (!child) {
		wrong = act(expected);
		_exit(wrong);
	}
	check(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* In a thread that is registered, or not yet, or not any more. */
static void *vfork_all_the_time(void *argument)
{
	const int number = *(const int *)argument;
	struct rseq_info info = { .size = sizeof(info) }, after = info;
	void *area = rseq_get_abi();
	unsigned int length;
	int expected;

	if (number % 3 == 0)
		rseq_register_current_thread();
	for (int i = 0; i < NR_VFORKS / NR_SPAWNERS; i++) {
		check(!rseq_get_info(&info));
		length = support_registered_length(area);
		expected = info.reason == RSEQ_REASON_DISABLED ? EOPNOTSUPP :
			   info.owner == RSEQ_OWNER_LIBC ? 0 : ECHILD;
		check(!vfork_and_act(expected));
		check(!rseq_get_info(&after));
		info.aborts = after.aborts;
		check(!memcmp(&info, &after, sizeof(info)));
		check(support_registered_length(area) == length);
		works_round(works);
		if (i % 7 == 0)
			rseq_unregister_current_thread();
		if (i % 7 == 3)
			rseq_register_current_thread();
	}
	return NULL;
}

static void *spawn_all_the_time(void *unused)
{
	char *const arguments[] = { (char *)"test-spawn", (char *)"nothing", NULL };

	(void)unused;
	for (int i = 0; i < NR_SPAWNS / NR_SPAWNERS; i++) {
		pid_t child = -1;

		check(!posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ));
		works_wait(child);
		works_round(works);
	}
	return NULL;
}

static int run(char **argv)
{
	static const int numbers[] = { 0, 1, 2, 3 };
	const char *emulator = getenv("RSEQ_EMULATOR");
	pthread_t workers[NR_WORKERS], spawners[2 * NR_SPAWNERS];

	(void)argv;
	shares_memory = !(emulator && *emulator);
	works = works_create(RSEQ_PERCPU_CPU_ID);
	check(works);
	if (!works)
		return 1;
	for (int i = 0; i < NR_WORKERS; i++)
		check(!pthread_create(&workers[i], NULL, work_on, NULL));
	for (int i = 0; i < NR_SPAWNERS; i++) {
		check(!pthread_create(&spawners[i], NULL, vfork_all_the_time,
				      (void *)&numbers[i]));
		check(!pthread_create(&spawners[NR_SPAWNERS + i], NULL,
				      shares_memory ? spawn_all_the_time : vfork_all_the_time,
				      (void *)&numbers[i + 1]));
	}
	for (int i = 0; i < 2 * NR_SPAWNERS; i++)
		check(!pthread_join(spawners[i], NULL));
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_WORKERS; i++)
		check(!pthread_join(workers[i], NULL));
	works_settle(works, 0);
	works_destroy(works, 0);
	return 0;
}

int main(int argc, char **argv)
{
	/* A new program: it has its own storage, and is registered anew. */
	if (argc > 1) {
		struct rseq_info info = { .size = sizeof(info) };

		return rseq_get_info(&info) || info.reason == RSEQ_REASON_VFORK_CHILD;
	}
	return works_run_all_ways(argv, run);
}
