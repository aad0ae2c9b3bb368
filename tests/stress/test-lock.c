/* SPDX-License-Identifier: MIT */
/*
 * Locks in a long storm: 64 threads on the CPUs at hand, a quarter of which have no rseq, take the
 * lock of their CPU or of another, and hold it for different times, over migrations and signals,
 * whose handlers try as well. No two may be inside at once, and none may wait for ever. In both
 * modes in turn.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/lock.h>

#include <time.h>

#define NR_THREADS	64
#define NR_LOCKS	2
#define TURNS_PER_ROUND	64

/* Not atomic: what two threads do at once is lost. */
struct cell {
	__attribute__((aligned(64))) unsigned long turns;
	int owner;
};

static struct rseq_lock *locks[NR_LOCKS];
static struct cell cells[NR_LOCKS][SUPPORT_MAX_CPUS];
static struct support_cpus cpus;
static unsigned long nr_in_handlers, nr_remote, nr_busy;	/* atomic */

static void work_inside(struct cell *cell)
{
	unsigned long turns = RSEQ_READ_ONCE(cell->turns);

	if (RSEQ_READ_ONCE(cell->owner))
		storm_mistake();
	RSEQ_WRITE_ONCE(cell->owner, 1);
	RSEQ_WRITE_ONCE(cell->turns, turns + 1);
	if (RSEQ_READ_ONCE(cell->owner) != 1)
		storm_mistake();
	RSEQ_WRITE_ONCE(cell->owner, 0);
}

/* Returns 1 if it had its turn. */
static unsigned long have_a_turn(int index, int cpu, bool yield)
{
	if (cpu < 0)
		return 0;
	work_inside(&cells[index][cpu]);
	if (yield)
		sched_yield();
	if (rseq_lock_release(locks[index], cpu))
		storm_mistake();
	return 1;
}

static void on_signal(void)
{
	int cpu = rseq_lock_try_acquire(locks[0]);

	__atomic_fetch_add(&nr_in_handlers, have_a_turn(0, cpu, false), __ATOMIC_RELAXED);
}

static unsigned long own_turns(unsigned int round)
{
	unsigned long turns = 0, got;
	int cpu;

	for (int i = 0; i < TURNS_PER_ROUND; i++) {
		if (i % 16 == 9) {
			got = have_a_turn(i % NR_LOCKS, rseq_lock_try_acquire(locks[i % NR_LOCKS]),
					  false);
			if (!got)
				__atomic_fetch_add(&nr_busy, 1, __ATOMIC_RELAXED);
			turns += got;
			continue;
		}
		cpu = rseq_lock_acquire(locks[i % NR_LOCKS]);
		if (cpu < 0)
			storm_mistake();
		turns += have_a_turn(i % NR_LOCKS, cpu, round % 8 == 0 && i == 5);
	}
	return turns;
}

static unsigned long one_remote_turn(int index, unsigned int round)
{
	int cpu = cpus.cpu[round % (unsigned int)cpus.nr];

	if (rseq_lock_acquire_cpu(locks[index], cpu)) {
		storm_mistake();
		return 0;
	}
	__atomic_fetch_add(&nr_remote, 1, __ATOMIC_RELAXED);
	return have_a_turn(index, cpu, round % 16 == 0);
}

static unsigned long one_round(unsigned int round)
{
	unsigned long turns = own_turns(round);

	if (round % 128 == 0)
		turns += one_remote_turn((int)(round / 128 % NR_LOCKS), round / 256);
	return turns;
}

static void check(unsigned long turns)
{
	unsigned long nr = 0;

	for (int index = 0; index < NR_LOCKS; index++)
		for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
			nr += cells[index][cpu].turns;
	if (nr == turns + nr_in_handlers)
		return;
	printf("%lu turns instead of %lu and %lu in handlers\n", nr, turns, nr_in_handlers);
	storm_mistake();
}

static void report(unsigned long turns)
{
	unsigned long per = (unsigned long)storm_seconds();

	printf("per second: %lu turns, %lu in handlers, %lu from elsewhere, %lu tries in vain\n",
	       turns / per, nr_in_handlers / per, nr_remote / per, nr_busy / per);
}

static int set_up(void)
{
	const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };

	support_find_cpus(&cpus);
	for (int index = 0; index < NR_LOCKS; index++) {
		locks[index] = rseq_lock_create_mode(modes[index]);
		if (!locks[index])
			return -1;
	}
	return 0;
}

/* A lost wake-up would last for ever. */
static int run(void)
{
	const struct storm_test test = {
		.nr_threads = NR_THREADS,
		.set_up = set_up,
		.round = one_round,
		.on_signal = on_signal,
		.report = report,
		.check = check,
	};

	return storm_test(&test);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
