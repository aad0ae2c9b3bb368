/* SPDX-License-Identifier: MIT */
/*
 * A thread makes the first structure of its process, and is stopped where the library has just told
 * libc what to do at a fork(), when another thread calls that. The child, which tells libc anew,
 * can use structures and fork.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/list.h>

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include <cmocka.h>

#define TIMEOUT_SECONDS	10

/* The thread sanitizer calls it before it is ready for functions of the program. */
#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)

static int stop_after, nr_told;		/* the latter is atomic */
static bool forked;			/* atomic */

RSEQ_API int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
		void *owner);

/* What pthread_atfork() calls, which the dynamic linker finds here first. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *owner)
{
	int (*next)(void (*)(void), void (*)(void), void (*)(void), void *);
	int result;

	*(void **)(void *)&next = dlsym(RTLD_NEXT, "__register_atfork");
	result = next(prepare, parent, child, owner);
	if (__atomic_add_fetch(&nr_told, 1, __ATOMIC_SEQ_CST) == stop_after)
		while (!__atomic_load_n(&forked, __ATOMIC_SEQ_CST))
			usleep(100);
	return result;
}

static void *make_list(void *unused)
{
	(void)unused;
	rseq_list_destroy(rseq_list_create());
	return NULL;
}

/* Who hangs in fork() may have blocked signals, and goes with its parent. */
static pid_t fork_child(void)
{
	pid_t child = fork();

	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

/* Returns whether it exits with 0. */
static bool ends_well(pid_t child, int seconds)
{
	for (int i = 0; i < seconds * 1000; i++) {
		int status;

		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) && !WEXITSTATUS(status);
		usleep(1000);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return false;
}

static int use_and_fork(void)
{
	struct rseq_list_node node;
	struct rseq_list *list = rseq_list_create();
	pid_t child;
	int status;

	if (!list)
		return 1;
	rseq_list_push(list, &node);
	child = fork();
	if (!child)
		_exit(rseq_list_drain(list) != &node);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	return status || rseq_list_drain(list) != &node;
}

/* In a process that has not used the library yet. */
static int stop_and_fork(void)
{
	pthread_t thread;
	pid_t child;
	bool good;

	if (pthread_create(&thread, NULL, make_list, NULL))
		return 1;
	while (__atomic_load_n(&nr_told, __ATOMIC_SEQ_CST) < stop_after)
		usleep(100);
	child = fork_child();
	if (!child) {
		stop_after = 0;
		_exit(use_and_fork());
	}
	good = child > 0 && ends_well(child, TIMEOUT_SECONDS);
	__atomic_store_n(&forked, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	return !good;
}

static void test_stopped(int after)
{
	pid_t child;

	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer intercepts this itself\n");
		skip();
	}
	child = fork_child();
	if (!child) {
		stop_after = after;
		_exit(stop_and_fork());
	}
	assert_true(child > 0);
	assert_true(ends_well(child, 2 * TIMEOUT_SECONDS));
}

/* The first of them is for pools, the second for the locks of structures. */
static void test_pools(void **state)
{
	(void)state;
	test_stopped(1);
}

static void test_locks(void **state)
{
	(void)state;
	test_stopped(2);
}

#else

static void test_pools(void **state)
{
	(void)state;
	print_message("what libc is told of fork() cannot be intercepted here\n");
	skip();
}

#define test_locks test_pools

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
