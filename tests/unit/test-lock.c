/* SPDX-License-Identifier: MIT */
/*
 * Locks: who gets which, who waits and is woken, remote holders and those that have moved, threads
 * with and without rseq, signal handlers, fork, memory. In both modes.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/lock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define NR_THREADS	8
#define NR_TURNS	100000

static const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };
static struct rseq_lock *lock;

static struct rseq_lock *create(enum rseq_percpu_mode mode)
{
	struct rseq_lock *made = rseq_lock_create_mode(mode);

	assert_non_null(made);
	return made;
}

static void test_arguments(void **state)
{
	struct rseq_lock *made = rseq_lock_create();
	const int beyond = rseq_get_max_nr_cpus();

	(void)state;
	assert_non_null(made);
	errno = KEPT_ERRNO;
	rseq_lock_destroy(NULL);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_null(rseq_lock_create_mode((enum rseq_percpu_mode)7));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_lock_acquire_cpu(NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_lock_acquire_cpu(made, -1), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_lock_acquire_cpu(made, beyond), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_lock_release_slow(NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_lock_release(made, beyond), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_lock_release_slow(made, 0), -1);
	assert_int_equal(errno, EPERM);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_lock_acquire_cpu(made, beyond - 1), 0);
	assert_int_equal(rseq_lock_release(made, beyond - 1), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(rseq_lock_release_slow(made, beyond - 1), -1);
	assert_int_equal(errno, EPERM);
	rseq_lock_destroy(made);
}

/* A lock that is taken is not taken again, from here or elsewhere, until it is released. */
static void take_everywhere(enum rseq_percpu_mode mode)
{
	struct support_cpus cpus;

	lock = create(mode);
	support_find_cpus(&cpus);
	for (int turn = 0; turn < 20; turn++) {
		int cpu;

		assert_int_equal(support_move(0, cpus.cpu[turn % cpus.nr]), 0);
		errno = KEPT_ERRNO;
		cpu = turn & 2 ? rseq_lock_try_acquire(lock) : rseq_lock_acquire(lock);
		assert_true(cpu >= 0 && cpu < rseq_get_max_nr_cpus());
		if (mode == RSEQ_PERCPU_CPU_ID)
			assert_int_equal(cpu, cpus.cpu[turn % cpus.nr]);
		assert_int_equal(errno, KEPT_ERRNO);
		if (mode == RSEQ_PERCPU_CPU_ID) {
			assert_int_equal(rseq_lock_try_acquire(lock), -1);
			assert_int_equal(errno, EBUSY);
			errno = KEPT_ERRNO;
		}
		assert_int_equal(support_move(0, cpus.cpu[(turn + 1) % cpus.nr]), 0);
		assert_int_equal(rseq_lock_release(lock, cpu), 0);
		assert_int_equal(errno, KEPT_ERRNO);
	}
	support_release(&cpus);
	rseq_lock_destroy(lock);
}

static void test_alone(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		rseq_register_current_thread();
		take_everywhere(modes[mode]);
		rseq_unregister_current_thread();
		take_everywhere(modes[mode]);
	}
}

/* The parts do what the whole does, also when nothing has failed before. */
static void test_parts(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		lock = create(modes[mode]);
		for (int i = 0; i < 100; i++) {
			int cpu = i % 2 ? rseq_lock_acquire_slow(lock) :
					rseq_lock_try_acquire_slow(lock);

			assert_in_range(cpu, 0, rseq_get_max_nr_cpus() - 1);
			if (!rseq_lock_try_release(lock, cpu))
				assert_int_equal(rseq_lock_release_slow(lock, cpu), 0);
			assert_int_equal(rseq_lock_release_slow(lock, cpu), -1);
			assert_int_equal(errno, EPERM);
		}
		rseq_lock_destroy(lock);
	}
}

/* All locks of one struct rseq_lock at once, and their opening again. */
static void test_remote(void **state)
{
	const int nr = rseq_get_max_nr_cpus();
	bool opens;

	(void)state;
	rseq_register_current_thread();
	/* Without membarrier() it is atomic for ever. */
	opens = rseq_thread_registered() && support_has_membarrier();
	for (int mode = 0; mode < 2; mode++) {
		lock = create(modes[mode]);
		for (int turn = 0; turn < 3; turn++) {
			for (int cpu = 0; cpu < nr; cpu++)
				assert_int_equal(rseq_lock_acquire_cpu(lock, cpu), 0);
			assert_int_equal(rseq_lock_try_acquire(lock), -1);
			assert_int_equal(errno, EBUSY);
			for (int cpu = 0; cpu < nr; cpu++)
				assert_int_equal(rseq_lock_release(lock, cpu), 0);
			for (int i = 0; i < 50; i++) {
				int cpu = rseq_lock_acquire(lock);

				assert_in_range(cpu, 0, nr - 1);
				assert_int_equal(rseq_lock_release(lock, cpu), 0);
			}
			/* Calm for so long, it has opened: a section can take it again. */
			for (int i = 0; opens && i < 1000; i++) {
				int cpu = rseq_lock_try_section(lock);

				if (cpu < 0)
					assert_in_range(i, 0, 998);
				else {
					assert_int_equal(rseq_lock_release(lock, cpu), 0);
					break;
				}
			}
		}
		rseq_lock_destroy(lock);
	}
	rseq_unregister_current_thread();
}

static int taken;			/* the lock's number, for the waiters below */
static unsigned int nr_waiting, nr_entered;
static int kind_of_waiter;

static void *wait_for_it(void *argument)
{
	int cpu = taken;

	(void)argument;
	if (kind_of_waiter == 1)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	support_move(0, taken);
	__atomic_fetch_add(&nr_waiting, 1, __ATOMIC_SEQ_CST);
	if (kind_of_waiter == 2)
		rseq_lock_acquire_cpu(lock, taken);
	else
		cpu = rseq_lock_acquire(lock);
	__atomic_fetch_add(&nr_entered, 1, __ATOMIC_SEQ_CST);
	rseq_lock_release(lock, cpu);
	return NULL;
}

/* Whichever way the lock is held and waited for, everyone waits, and everyone is woken. */
static void wait_and_wake(bool by_section, bool moved)
{
	const struct timespec moment = { 0, 3000000 };
	pthread_t threads[NR_THREADS];
	struct support_cpus cpus;

	lock = create(RSEQ_PERCPU_CPU_ID);
	support_find_cpus(&cpus);
	taken = cpus.cpu[0];
	nr_waiting = nr_entered = 0;
	assert_int_equal(support_move(0, taken), 0);
	if (by_section)
		assert_int_equal(rseq_lock_acquire(lock), taken);
	else
		assert_int_equal(rseq_lock_acquire_cpu(lock, taken), 0);
	if (moved)
		assert_int_equal(support_move(0, cpus.cpu[cpus.nr - 1]), 0);
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_it, NULL), 0);
	while (__atomic_load_n(&nr_waiting, __ATOMIC_SEQ_CST) < NR_THREADS)
		nanosleep(&moment, NULL);
	nanosleep(&moment, NULL);
	assert_int_equal(__atomic_load_n(&nr_entered, __ATOMIC_SEQ_CST), 0);
	assert_int_equal(rseq_lock_release(lock, taken), 0);
	for (int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(nr_entered, NR_THREADS);
	support_release(&cpus);
	rseq_lock_destroy(lock);
}

static void test_wait(void **state)
{
	(void)state;
	rseq_register_current_thread();
	for (kind_of_waiter = 0; kind_of_waiter < 3; kind_of_waiter++)
		for (int way = 0; way < 4; way++)
			wait_and_wake(way & 1, way & 2);
	rseq_unregister_current_thread();
}

/* What the locks protect: one who sees two threads in one of them counts it. */
static struct {
	__attribute__((aligned(64))) unsigned long inside, turns;
} cells[SUPPORT_MAX_CPUS];
static unsigned long nr_mistakes, nr_turns;

static void work_inside(int cpu)
{
	if (__atomic_fetch_add(&cells[cpu].inside, 1, __ATOMIC_RELAXED))
		__atomic_fetch_add(&nr_mistakes, 1, __ATOMIC_RELAXED);
	cells[cpu].turns++;
	__atomic_fetch_sub(&cells[cpu].inside, 1, __ATOMIC_RELAXED);
}

static void *work(void *argument)
{
	int index = *(int *)argument, cpu;
	unsigned long turns = 0;
	const int most = support_rounds(NR_TURNS);
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	if (index % 4 == 3)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	for (int i = 0; i < most; i++) {
		cpu = -1;
		if (i % 64 == index) {
			cpu = cpus.cpu[i / 64 % cpus.nr];
			if (rseq_lock_acquire_cpu(lock, cpu))
				cpu = -1;
		} else if (i % 8 == 1) {
			cpu = rseq_lock_try_acquire(lock);
			if (cpu < 0)
				continue;
		} else {
			cpu = rseq_lock_acquire(lock);
		}
		if (cpu < 0) {
			__atomic_fetch_add(&nr_mistakes, 1, __ATOMIC_RELAXED);
			continue;
		}
		work_inside(cpu);
		if (i % 256 == 5)
			sched_yield();
		if (rseq_lock_release(lock, cpu))
			__atomic_fetch_add(&nr_mistakes, 1, __ATOMIC_RELAXED);
		turns++;
	}
	__atomic_fetch_add(&nr_turns, turns, __ATOMIC_RELAXED);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[NR_THREADS];
	int indices[NR_THREADS];

	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		unsigned long turns = 0;

		lock = create(modes[mode]);
		nr_turns = nr_mistakes = 0;
		memset(cells, 0, sizeof(cells[0]) * (size_t)rseq_get_max_nr_cpus());
		for (int i = 0; i < NR_THREADS; i++) {
			indices[i] = i;
			assert_int_equal(pthread_create(&threads[i], NULL, work, &indices[i]), 0);
		}
		for (int i = 0; i < NR_THREADS; i++)
			pthread_join(threads[i], NULL);
		for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
			turns += cells[cpu].turns;
		assert_int_equal(nr_mistakes, 0);
		assert_int_equal(turns, nr_turns);
		rseq_lock_destroy(lock);
	}
}

static int cpu_in_handler, errno_in_handler;

static void try_in_handler(int signal)
{
	int saved_errno = errno;

	(void)signal;
	cpu_in_handler = rseq_lock_try_acquire(lock);
	errno_in_handler = errno;
	if (cpu_in_handler >= 0)
		rseq_lock_release(lock, cpu_in_handler);
	errno = saved_errno;
}

static void test_signal_handler(void **state)
{
	struct sigaction action = { .sa_handler = try_in_handler }, before;
	struct support_cpus cpus;
	int cpu;

	(void)state;
	support_find_cpus(&cpus);
	assert_int_equal(support_move(0, cpus.cpu[0]), 0);
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	lock = create(RSEQ_PERCPU_CPU_ID);
	for (int i = 0; i < 100; i++) {
		raise(SIGUSR1);
		assert_int_equal(cpu_in_handler, cpus.cpu[0]);
		cpu = rseq_lock_acquire(lock);
		raise(SIGUSR1);
		assert_int_equal(cpu_in_handler, -1);
		assert_int_equal(errno_in_handler, EBUSY);
		assert_int_equal(rseq_lock_release(lock, cpu), 0);
	}
	rseq_lock_destroy(lock);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	support_release(&cpus);
}

static int use_in_child(int held, int other)
{
	int cpu;

	if (rseq_lock_release(lock, held))
		return 1;
	for (int i = 0; i < 100; i++) {
		cpu = rseq_lock_acquire(lock);
		if (cpu < 0 || rseq_lock_release(lock, cpu))
			return 2;
		if (rseq_lock_acquire_cpu(lock, other) || rseq_lock_release(lock, other))
			return 3;
	}
	return 0;
}

/* The child has the locks that its thread had, and releases its own copies. */
static void test_fork(void **state)
{
	struct support_cpus cpus;
	int cpu, status;
	pid_t child;

	(void)state;
	support_find_cpus(&cpus);
	for (int mode = 0; mode < 2; mode++) {
		lock = create(modes[mode]);
		cpu = rseq_lock_acquire(lock);
		assert_true(cpu >= 0);
		child = fork();
		if (!child)
			_exit(use_in_child(cpu, cpus.cpu[cpus.nr - 1]));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(rseq_lock_release(lock, cpu), 0);
		rseq_lock_destroy(lock);
	}
}

/* 16 bytes for a CPU. */
static void test_memory(void **state)
{
	struct rseq_lock *locks[64];
	uintptr_t least = UINTPTR_MAX, greatest = 0;

	(void)state;
	for (int i = 0; i < 64; i++) {
		uintptr_t row;

		locks[i] = create(RSEQ_PERCPU_CPU_ID);
		row = (uintptr_t)locks[i]->rows.first;
		least = row < least ? row : least;
		greatest = row > greatest ? row : greatest;
	}
	assert_true(greatest - least <= 80 * 16);
	for (int i = 0; i < 64; i++)
		rseq_lock_destroy(locks[i]);
}

static int run_group(void)
{
	const struct CMUnitTest locks[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_remote),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_signal_handler),
		cmocka_unit_test(test_fork),
	};

	/* A lost wake-up would last for ever. */
	alarm(300);
	return cmocka_run_group_tests(locks, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
