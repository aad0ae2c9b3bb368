/* SPDX-License-Identifier: MIT */
/*
 * Reference counts: the one call of release, when it comes and from where, with and without rseq;
 * kill that races with puts; signal handlers, fork, memory.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/refcount.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define NR_THREADS	8
#define NR_TURNS	2000
#define NR_RACES	300

static struct rseq_refcount *ref;
static enum rseq_percpu_mode mode;
static unsigned int released;		/* calls of release; atomic */

static void count_release(void *arg)
{
	assert_ptr_equal(arg, &released);
	__atomic_fetch_add(&released, 1, __ATOMIC_RELAXED);
}

static struct rseq_refcount *create(void)
{
	struct rseq_refcount *made = rseq_refcount_create_mode(count_release, &released, mode);

	released = 0;
	assert_non_null(made);
	return made;
}

static unsigned int nr_released(void)
{
	return __atomic_load_n(&released, __ATOMIC_RELAXED);
}

static void test_arguments(void **state)
{
	(void)state;
	errno = 0;
	assert_null(rseq_refcount_create(NULL, NULL));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_refcount_create_mode(count_release, NULL, (enum rseq_percpu_mode)2));
	assert_int_equal(errno, EINVAL);
	ref = rseq_refcount_create(count_release, &released);
	assert_non_null(ref);
	rseq_refcount_destroy(ref);
	assert_int_equal(rseq_refcount_kill(NULL), -1);
	assert_int_equal(errno, EINVAL);
	errno = KEPT_ERRNO;
	rseq_refcount_destroy(NULL);
	assert_int_equal(errno, KEPT_ERRNO);
	ref = create();
	rseq_refcount_get(ref);
	assert_true(rseq_refcount_tryget(ref));
	rseq_refcount_put(ref);
	rseq_refcount_get_slow(ref);
	assert_true(rseq_refcount_tryget_slow(ref));
	rseq_refcount_put_slow(ref);
	rseq_refcount_put_slow(ref);
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_int_equal(nr_released(), 0);
	rseq_refcount_put(ref);
	assert_int_equal(nr_released(), 1);
	rseq_refcount_destroy(ref);
	assert_int_equal(errno, KEPT_ERRNO);
}

/* Without another reference, kill itself releases. */
static void test_kill_alone(void **state)
{
	(void)state;
	for (int turns = 0; turns < 100; turns++) {
		ref = create();
		for (int i = 0; i < turns; i++)
			rseq_refcount_get(ref);
		for (int i = 0; i < turns; i++)
			rseq_refcount_put(ref);
		assert_int_equal(nr_released(), 0);
		assert_int_equal(rseq_refcount_kill(ref), 0);
		assert_int_equal(nr_released(), 1);
		assert_false(rseq_refcount_tryget(ref));
		assert_int_equal(rseq_refcount_kill(ref), -1);
		assert_int_equal(errno, EALREADY);
		assert_int_equal(nr_released(), 1);
		rseq_refcount_destroy(ref);
	}
}

/* References of every CPU at hand, given back on others; release comes with the last. */
static void use_everywhere(bool by_rseq)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	if (by_rseq)
		rseq_register_current_thread();
	ref = create();
	for (int i = 0; i < cpus.nr; i++) {
		assert_int_equal(support_move(0, cpus.cpu[i]), 0);
		rseq_refcount_get(ref);
		rseq_refcount_get(ref);
		assert_true(rseq_refcount_tryget(ref));
	}
	for (int i = 0; i < 2 * cpus.nr; i++) {
		assert_int_equal(support_move(0, cpus.cpu[(i + 1) % cpus.nr]), 0);
		rseq_refcount_put(ref);
	}
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_false(rseq_refcount_tryget(ref));
	rseq_refcount_get(ref);
	for (int i = 0; i < cpus.nr; i++) {
		rseq_refcount_put(ref);
		assert_int_equal(nr_released(), 0);
	}
	rseq_refcount_put(ref);
	assert_int_equal(nr_released(), 1);
	assert_false(rseq_refcount_tryget(ref));
	rseq_refcount_destroy(ref);
	support_release(&cpus);
	if (by_rseq)
		rseq_unregister_current_thread();
}

static void test_everywhere(void **state)
{
	(void)state;
	use_everywhere(true);
	use_everywhere(false);
}

static void *get_without_rseq(void *argument)
{
	(void)argument;
	support_go_without_rseq();
	for (int i = 0; i < 10; i++)
		rseq_refcount_get(ref);
	return NULL;
}

static void in_thread(void *(*function)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void *put_without_rseq(void *argument)
{
	(void)argument;
	support_go_without_rseq();
	for (int i = 0; i < 10; i++)
		rseq_refcount_put(ref);
	return NULL;
}

/* References of one kind of thread, given back by the other: words of their own below zero. */
static void test_mixed(void **state)
{
	(void)state;
	rseq_register_current_thread();
	ref = create();
	for (int i = 0; i < 10; i++)
		rseq_refcount_get(ref);
	in_thread(put_without_rseq);
	assert_int_equal(nr_released(), 0);
	in_thread(get_without_rseq);
	for (int i = 0; i < 9; i++)
		rseq_refcount_put(ref);
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_int_equal(nr_released(), 0);
	rseq_refcount_put(ref);
	assert_int_equal(nr_released(), 1);
	rseq_refcount_destroy(ref);
	rseq_unregister_current_thread();
}

static unsigned int nr_ready;		/* atomic */
static unsigned long nr_late;		/* uses after release; atomic */

/* Each has a reference of its own from the first thread, and gives it back at last. */
static void *race(void *argument)
{
	int index = *(int *)argument;

	if (index % 4 == 3)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	__atomic_fetch_add(&nr_ready, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_TURNS; i++) {
		rseq_refcount_get(ref);
		if (rseq_refcount_tryget(ref))
			rseq_refcount_put(ref);
		if (nr_released())
			__atomic_fetch_add(&nr_late, 1, __ATOMIC_RELAXED);
		rseq_refcount_put(ref);
	}
	rseq_refcount_put(ref);
	return NULL;
}

static void test_race(void **state)
{
	const int nr_races = support_rounds(NR_RACES);
	pthread_t threads[NR_THREADS];
	int indices[NR_THREADS];

	(void)state;
	for (int i = 0; i < NR_THREADS; i++)
		indices[i] = i;
	for (int turn = 0; turn < nr_races; turn++) {
		ref = create();
		nr_ready = 0;
		for (int i = 0; i < NR_THREADS; i++) {
			rseq_refcount_get(ref);
			assert_int_equal(pthread_create(&threads[i], NULL, race, &indices[i]), 0);
		}
		while (__atomic_load_n(&nr_ready, __ATOMIC_RELAXED) <
		       (unsigned int)turn % (NR_THREADS + 1))
			sched_yield();
		assert_int_equal(rseq_refcount_kill(ref), 0);
		for (int i = 0; i < NR_THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(nr_released(), 1);
		assert_false(rseq_refcount_tryget(ref));
		rseq_refcount_destroy(ref);
	}
	assert_int_equal(nr_late, 0);
}

static void destroy_in_release(void *arg)
{
	rseq_refcount_destroy(*(struct rseq_refcount **)arg);
	released++;
}

/* release may free the count, whether it is called by kill or by put. */
static void test_destroy_in_release(void **state)
{
	(void)state;
	released = 0;
	for (int by_put = 0; by_put < 2; by_put++) {
		ref = rseq_refcount_create_mode(destroy_in_release, &ref, mode);
		assert_non_null(ref);
		if (by_put)
			rseq_refcount_get(ref);
		assert_int_equal(rseq_refcount_kill(ref), 0);
		if (by_put)
			rseq_refcount_put(ref);
	}
	assert_int_equal(released, 2);
}

static int nr_killed;

static void *kill_it(void *argument)
{
	(void)argument;
	if (!rseq_refcount_kill(ref))
		__atomic_fetch_add(&nr_killed, 1, __ATOMIC_RELAXED);
	else if (errno != EALREADY)
		__atomic_fetch_add(&nr_late, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Of two kills at once one is too late; the count lasts, as this thread has a reference. */
static void test_two_kills(void **state)
{
	pthread_t threads[2];

	(void)state;
	for (int turn = 0; turn < 100; turn++) {
		ref = create();
		rseq_refcount_get(ref);
		nr_killed = 0;
		for (int i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, kill_it, NULL), 0);
		for (int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(nr_killed, 1);
		assert_int_equal(nr_released(), 0);
		rseq_refcount_put(ref);
		assert_int_equal(nr_released(), 1);
		rseq_refcount_destroy(ref);
	}
	assert_int_equal(nr_late, 0);
}

static void get_in_handler(int signal)
{
	(void)signal;
	rseq_refcount_get(ref);
	if (rseq_refcount_tryget(ref))
		rseq_refcount_put(ref);
}

static void put_in_handler(int signal)
{
	(void)signal;
	rseq_refcount_put(ref);
}

static void test_signal_handler(void **state)
{
	struct sigaction get = { .sa_handler = get_in_handler }, before;
	struct sigaction put = { .sa_handler = put_in_handler };

	(void)state;
	ref = create();
	assert_int_equal(sigaction(SIGUSR1, &get, &before), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(sigaction(SIGUSR1, &put, NULL), 0);
	for (int i = 0; i < 99; i++)
		assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_int_equal(nr_released(), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(nr_released(), 1);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	rseq_refcount_destroy(ref);
}

static int kill_in_child(void)
{
	rseq_refcount_get(ref);
	rseq_refcount_put(ref);
	if (rseq_refcount_kill(ref) || nr_released())
		return 1;
	rseq_refcount_put(ref);
	return nr_released() == 1 ? 0 : 2;
}

/* A child's count is its own from the fork on. */
static void test_fork(void **state)
{
	int status = -1;
	pid_t child;

	(void)state;
	ref = create();
	rseq_refcount_get(ref);
	child = fork();
	if (!child)
		_exit(kill_in_child());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(nr_released(), 0);
	rseq_refcount_put(ref);
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_int_equal(nr_released(), 1);
	rseq_refcount_destroy(ref);
}

/* One word for a CPU; a new count in the place of another starts anew. */
static void test_memory(void **state)
{
	struct rseq_refcount *refs[64];

	(void)state;
	released = 0;
	for (int turn = 0; turn < 2; turn++) {
		uintptr_t least = UINTPTR_MAX, greatest = 0;

		for (int i = 0; i < 64; i++) {
			uintptr_t row;

			refs[i] = rseq_refcount_create_mode(count_release, &released, mode);
			assert_non_null(refs[i]);
			row = (uintptr_t)refs[i]->rows;
			least = row < least ? row : least;
			greatest = row > greatest ? row : greatest;
			rseq_refcount_get(refs[i]);
		}
		assert_true(greatest - least <= 72 * sizeof(intptr_t));
		for (int i = 0; i < 64; i++)
			rseq_refcount_destroy(refs[i]);
	}
	assert_int_equal(sizeof(struct rseq_refcount), 128);
	assert_int_equal(nr_released(), 0);
}

static void test_try(void **state)
{
	intptr_t done = 0;
	bool expected;

	(void)state;
	rseq_register_current_thread();
	/* Without membarrier(), counts are atomic from the start. */
	expected = rseq_thread_registered() && support_has_membarrier() &&
		   (mode == RSEQ_PERCPU_CPU_ID || !rseq_mm_cid_available());
	ref = create();
	for (int i = 0; i < 10000; i++)
		done += rseq_refcount_try_add(ref, 1);
	assert_true(expected ? done > 0 : !done);
	for (intptr_t i = 0; i < done; i++)
		rseq_refcount_put(ref);
	assert_int_equal(rseq_refcount_kill(ref), 0);
	assert_int_equal(nr_released(), 1);
	assert_false(rseq_refcount_try_add(ref, 1));
	rseq_refcount_destroy(ref);
	rseq_unregister_current_thread();
}

static int run_group(void)
{
	const struct CMUnitTest refcount[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_kill_alone),
		cmocka_unit_test(test_everywhere),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_destroy_in_release),
		cmocka_unit_test(test_two_kills),
		cmocka_unit_test(test_signal_handler),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_try),
	};

	int failed = cmocka_run_group_tests(refcount, NULL, NULL);

	mode = RSEQ_PERCPU_MM_CID;
	return failed + cmocka_run_group_tests_name("by mm_cid", refcount, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
