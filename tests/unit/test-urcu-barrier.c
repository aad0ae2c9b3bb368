/* SPDX-License-Identifier: MIT */
/*
 * What a barrier waits for beside what CPUs gather: objects that other threads have taken already.
 * One source for each flavour of liburcu.
 *
 * Another thread is held up with objects in its hands until the barrier asks whether it has to go
 * offline, as it does before it waits. One that does not wait comes back before that, and the
 * objects are still out.
 */
#define _GNU_SOURCE

#include "support.h"
#include "urcu-flavor.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define BATCH		8
#define SECONDS		60

static struct rseq_cache *cache;
static struct rseq_cache_rcu *rcu;

static __thread bool hold_up;		/* this thread */
static int held, let_go;		/* atomic */

static void sleep_a_moment(void)
{
	poll(NULL, 0, 1);
}

/* A reader that is online would keep a barrier that does not wait here from its end. */
static void wait_until_let_go(void)
{
	bool online = IS_QSBR && rcu_read_ongoing();

	if (!hold_up)
		return;
	hold_up = false;
	if (online)
		rcu_thread_offline();
	__atomic_store_n(&held, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&let_go, __ATOMIC_ACQUIRE))
		sleep_a_moment();
	if (online)
		rcu_thread_online();
}

static void hold_call_rcu(struct rcu_head *head, void (*function)(struct rcu_head *head))
{
	wait_until_let_go();
	rcu_flavor.update_call_rcu(head, function);
}

/* For urcu-qsbr, the grace period needs the thread in the barrier to be offline. */
static void hold_synchronize(void)
{
	wait_until_let_go();
	rcu_flavor.update_synchronize_rcu();
}

static int read_ongoing(void)
{
	__atomic_store_n(&let_go, 1, __ATOMIC_RELEASE);
	return rcu_flavor.read_ongoing();
}

static size_t nr_out(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	assert_int_equal(rseq_cache_stat(cache, &stat), 0);
	return stat.out;
}

static struct rcu_flavor_struct flavor;

static int set_up(void **state)
{
	const struct rseq_cache_rcu_attr attr = { .size = sizeof(attr), .batch = BATCH };
	struct support_cpus cpus;

	(void)state;
	alarm(SECONDS);
	support_find_cpus(&cpus);
	support_move(0, cpus.cpu[cpus.nr - 1]);
	rcu_register_thread();
	flavor = rcu_flavor;
	flavor.update_call_rcu = hold_call_rcu;
	flavor.update_synchronize_rcu = hold_synchronize;
	flavor.read_ongoing = read_ongoing;
	held = let_go = 0;
	cache = rseq_cache_create(NULL, 64, NULL);
	rcu = cache ? rseq_cache_rcu_create_flavor(cache, &attr, &flavor) : NULL;
	return rcu ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	if (rseq_cache_rcu_destroy(rcu) || rseq_cache_destroy(cache))
		return -1;
	rcu_unregister_thread();
	alarm(0);
	return 0;
}

/* Not registered: liburcu's lists of threads would lead astray in a child that lacks this one. */
static void *help(void *argument)
{
	(void)argument;
	hold_up = true;
	rseq_cache_rcu_help(rcu);
	return NULL;
}

static void *register_and_help(void *argument)
{
	rcu_register_thread();
	help(argument);
	rcu_unregister_thread();
	return NULL;
}

/* One more than there is room for. */
static void *free_one_more(void *object)
{
	rcu_register_thread();
	hold_up = true;
	rseq_cache_free_rcu(rcu, object);
	rcu_unregister_thread();
	return NULL;
}

static void *call_barrier(void *argument)
{
	(void)argument;
	rcu_register_thread();
	hold_up = true;
	rseq_cache_rcu_barrier(rcu);
	rcu_unregister_thread();
	return NULL;
}

/* This thread frees as many objects as a CPU gathers; the other one takes them, and is held up. */
static pthread_t start(void *(*other)(void *), void *argument)
{
	pthread_t thread;

	for (int i = 0; i < BATCH; i++)
		assert_int_equal(rseq_cache_free_rcu(rcu, rseq_cache_alloc(cache)), 0);
	assert_int_equal(pthread_create(&thread, NULL, other, argument), 0);
	while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE))
		sleep_a_moment();
	return thread;
}

/* nr_late objects are not freed yet as far as the barrier can know. */
static void expect_all_back(void *(*other)(void *), void *argument, size_t nr_late)
{
	pthread_t thread = start(other, argument);
	size_t after;

	errno = KEPT_ERRNO;
	assert_int_equal(rseq_cache_rcu_barrier(rcu), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	after = nr_out();
	__atomic_store_n(&let_go, 1, __ATOMIC_RELEASE);
	rcu_thread_offline();
	pthread_join(thread, NULL);
	rcu_thread_online();
	assert_true(after <= nr_late);
}

static void test_help(void **state)
{
	(void)state;
	expect_all_back(register_and_help, NULL, 0);
}

static void test_hand_over(void **state)
{
	(void)state;
	expect_all_back(free_one_more, rseq_cache_alloc(cache), 1);
}

static void test_barrier(void **state)
{
	(void)state;
	expect_all_back(call_barrier, NULL, 0);
}

/* A child does not have the thread that is held up in its parent, and must not wait for it. */
static int use_in_child(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	alarm(SECONDS);
	for (int i = 0; i < 2 * BATCH; i++)
		if (rseq_cache_free_rcu(rcu, rseq_cache_alloc(cache)))
			return 1;
	if (rseq_cache_rcu_barrier(rcu) || rseq_cache_stat(cache, &stat))
		return 2;
	if (stat.out != BATCH)
		return 3;
	return rseq_cache_rcu_destroy(rcu) ? 4 : 0;
}

static void fork_without_call_rcu(void)
{
	pid_t child;
	int status;

	call_rcu_before_fork();
#ifdef FLAVOR_BP
	urcu_bp_before_fork();
#endif
	child = fork();
	if (!child) {
#ifdef FLAVOR_BP
		urcu_bp_after_fork_child();
#endif
		call_rcu_after_fork_child();
		_exit(use_in_child());
	}
#ifdef FLAVOR_BP
	urcu_bp_after_fork_parent();
#endif
	call_rcu_after_fork_parent();
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_fork(void **state)
{
	const char *emulator = getenv("RSEQ_EMULATOR");
	pthread_t thread;

	(void)state;
	if (emulator && *emulator)
		return;		/* qemu-user does not survive fork() among threads */
	thread = start(help, NULL);
	fork_without_call_rcu();
	assert_int_equal(nr_out(), BATCH);
	__atomic_store_n(&let_go, 1, __ATOMIC_RELEASE);
	rcu_thread_offline();
	pthread_join(thread, NULL);
	rcu_thread_online();
	assert_int_equal(nr_out(), 0);
}

static int run_group(void)
{
	const struct CMUnitTest barrier[] = {
		cmocka_unit_test_setup_teardown(test_help, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hand_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_barrier, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fork, set_up, tear_down),
	};

	return cmocka_run_group_tests(barrier, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	if (RSEQ_SANITIZE_THREAD) {
		printf("skipped: liburcu is not compiled for the sanitizer of threads\n");
		return SUPPORT_SKIP;
	}
	return support_run_both_ways(argv, run_group);
}
