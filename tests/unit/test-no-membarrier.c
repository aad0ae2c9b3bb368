/* SPDX-License-Identifier: MIT */
/*
 * Locks, reference counts and lists where a filter refuses membarrier(): before they are made, and
 * afterwards; with CPUs that may be visited instead, and without. Threads with and without rseq use
 * them at the same time, and all that is counted under a lock or by references is exact.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/fence.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/refcount.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "child.h"

#define NR_THREADS	6
#define NR_TURNS	400

/* Protected by the lock of the CPU that is its index. */
static unsigned long protected_by[SUPPORT_MAX_CPUS][8];
static struct rseq_lock *lock;
static struct rseq_refcount *ref;
static struct rseq_list *list;
static struct rseq_list_node nodes[NR_THREADS];
static unsigned int nr_released;
static int nr_failed;

static void on_release(void *arg)
{
	(void)arg;
	__atomic_fetch_add(&nr_released, 1, __ATOMIC_RELAXED);
}

static int make(void)
{
	lock = rseq_lock_create();
	ref = rseq_refcount_create(on_release, NULL);
	list = rseq_list_create();
	return lock && ref && list ? 0 : -1;
}

static int refuse_membarrier(void)
{
	return refuse(__NR_membarrier, ENOSYS);
}

/* An own CPU's lock, or one that others take by themselves. */
static int have_a_turn(int turn)
{
	int cpu = turn % 16 == 15 ? (int)rseq_current_cpu() : -1;

	if (cpu >= 0 && rseq_lock_acquire_cpu(lock, cpu))
		return -1;
	if (cpu < 0)
		cpu = rseq_lock_acquire(lock);
	if (cpu < 0)
		return -1;
	protected_by[cpu][0]++;
	if (turn % 64 == 0)
		sched_yield();
	return rseq_lock_release(lock, cpu);
}

static void *work(void *argument)
{
	struct rseq_list_node *node = argument;

	if ((node - nodes) % 3 == 2)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	rseq_list_push(list, node);
	for (int i = 0; i < NR_TURNS; i++) {
		if (!rseq_refcount_tryget(ref) || have_a_turn(i))
			__atomic_fetch_add(&nr_failed, 1, __ATOMIC_RELAXED);
		rseq_refcount_put(ref);
	}
	rseq_refcount_put(ref);
	return NULL;
}

static int nr_drained(void)
{
	struct rseq_list_node *node = rseq_list_drain(list);
	int nr = 0;

	for (; node; node = node->next)
		nr++;
	return nr;
}

/* The owner's reference is given up while the threads still have theirs. */
static int use_by_threads(void)
{
	pthread_t threads[NR_THREADS];
	unsigned long sum = 0;

	for (int i = 0; i < NR_THREADS; i++)
		rseq_refcount_get(ref);
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, &nodes[i]))
			return 1;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int cpu = 0; cpu < SUPPORT_MAX_CPUS; cpu++)
		sum += protected_by[cpu][0];
	if (nr_failed || sum != NR_THREADS * NR_TURNS)
		return 2;
	if (nr_released || rseq_refcount_kill(ref) || nr_released != 1)
		return 3;
	if (rseq_refcount_tryget(ref) || rseq_refcount_kill(ref) != -1 || errno != EALREADY)
		return 4;
	return nr_drained() == NR_THREADS ? 0 : 5;
}

static int refused_before(void)
{
	if (refuse_membarrier())
		return NO_FILTER;
	return make() ? 6 : use_by_threads();
}

static int refused_afterwards(void)
{
	if (make())
		return 6;
	if (refuse_membarrier())
		return NO_FILTER;
	return use_by_threads();
}

/* Then nothing of them needs a fence but what empties a list of others. */
static int refused_all_before(void)
{
	if (refuse_membarrier() || refuse(__NR_sched_setaffinity, EPERM))
		return NO_FILTER;
	if (make())
		return 6;
	for (int i = 0; i < NR_TURNS; i++)
		if (have_a_turn(i))
			return 7;
	rseq_refcount_get(ref);
	if (rseq_refcount_kill(ref) || nr_released || rseq_refcount_tryget(ref))
		return 8;
	rseq_refcount_put(ref);
	return nr_released == 1 ? 0 : 9;
}

/* What needs a fence fails and changes nothing; what does not goes on. */
static int refused_all_afterwards(void)
{
	int cpu;

	rseq_register_current_thread();
	if (make())
		return 6;
	if (refuse_membarrier() || refuse(__NR_sched_setaffinity, EPERM))
		return NO_FILTER;
	if (!rseq_thread_registered())
		return 0;
	rseq_list_push(list, &nodes[0]);
	rseq_refcount_get(ref);
	errno = 0;
	if (rseq_refcount_kill(ref) != -1 || errno != ENOSYS || nr_released)
		return 10;
	if (!rseq_refcount_tryget(ref))
		return 11;
	rseq_refcount_put(ref);
	rseq_refcount_put(ref);
	errno = 0;
	if (rseq_refcount_kill(ref) != -1 || errno != ENOSYS || nr_released)
		return 12;
	errno = 0;
	if (rseq_list_drain(list) || errno != ENOSYS)
		return 13;
	cpu = rseq_lock_acquire(lock);
	if (cpu < 0 || rseq_lock_release(lock, cpu))
		return 14;
	errno = 0;
	if (rseq_lock_acquire_cpu(lock, cpu) != -1 || errno != ENOSYS)
		return 15;
	cpu = rseq_lock_acquire(lock);
	return cpu < 0 || rseq_lock_release(lock, cpu) ? 16 : 0;
}

static void test_refused_before(void **state)
{
	(void)state;
	expect_success(refused_before);
}

static void test_refused_afterwards(void **state)
{
	(void)state;
	expect_success(refused_afterwards);
}

static void test_refused_all_before(void **state)
{
	(void)state;
	expect_success(refused_all_before);
}

static void test_refused_all_afterwards(void **state)
{
	(void)state;
	expect_success(refused_all_afterwards);
}

static int run_group(void)
{
	const struct CMUnitTest fence[] = {
		cmocka_unit_test(test_refused_before),
		cmocka_unit_test(test_refused_afterwards),
		cmocka_unit_test(test_refused_all_before),
		cmocka_unit_test(test_refused_all_afterwards),
	};

	return cmocka_run_group_tests(fence, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
