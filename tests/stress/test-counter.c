/* SPDX-License-Identifier: MIT */
/*
 * Counters in a long storm: 64 threads on the CPUs at hand, half of which add without rseq, come
 * and go, and are disturbed in every way. Not one add may be lost. Says how many sections were
 * aborted a second, so that a run that tests nothing shows.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/counter.h>

#include <time.h>

#define NR_THREADS	64
#define NR_COUNTERS	4

/* Turns between two looks at the flag that ends it all, and the rounds of a thread's life. */
#define TURNS_PER_ROUND	64
#define ROUNDS_PER_LIFE	2048

static struct rseq_counter *counters[NR_COUNTERS];
static struct storm *storm;
static bool stop;

/* What was added, by threads that are over. */
static intptr_t expected[NR_COUNTERS];
static unsigned long nr_lives, nr_without;

static __thread volatile intptr_t handler_adds;

static void add_in_signal(void)
{
	rseq_counter_inc(counters[0]);
	handler_adds = handler_adds + 1;
}

/* Few counters, for collisions; several in turn, as one alone is rarely hit inside its section. */
static void add_one_round(intptr_t *sums)
{
	for (int i = 0; i < TURNS_PER_ROUND; i++) {
		rseq_counter_inc(counters[0]);
		rseq_counter_dec(counters[1]);
		rseq_counter_add(counters[2], i);
		rseq_counter_add(counters[3], -7);
	}
	sums[0] += TURNS_PER_ROUND;
	sums[1] -= TURNS_PER_ROUND;
	sums[2] += TURNS_PER_ROUND * (TURNS_PER_ROUND - 1) / 2;
	sums[3] -= 7 * TURNS_PER_ROUND;
}

/* Threads without rseq add slowly: most of the time is for those whose sections it is about. */
static void make_room(unsigned int round)
{
	const struct timespec moment = { 0, 2000000 };

	if (round % 64 == 0)
		sched_yield();
	if (round % 4 == 0 && !rseq_thread_registered())
		nanosleep(&moment, NULL);
}

/* One life of a thread; its sums go to the total when it is over. */
static void *live(void *argument)
{
	unsigned int index = *(unsigned int *)argument;
	intptr_t sums[NR_COUNTERS] = { 0 };

	if (index % 2)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	storm_enter(storm, index);
	for (unsigned int round = 0; round < ROUNDS_PER_LIFE; round++) {
		if (__atomic_load_n(&stop, __ATOMIC_RELAXED))
			break;
		add_one_round(sums);
		make_room(round);
	}
	storm_leave(storm, index);
	sums[0] += handler_adds;
	for (int i = 0; i < NR_COUNTERS; i++)
		__atomic_fetch_add(&expected[i], sums[i], __ATOMIC_RELAXED);
	__atomic_fetch_add(&nr_lives, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Keeps one thread alive after the other. */
static void *keep_alive(void *argument)
{
	pthread_t thread;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (pthread_create(&thread, NULL, live, argument))
			sched_yield();
		else
			pthread_join(thread, NULL);
	}
	return NULL;
}

static int check(void)
{
	int wrong = 0;

	for (int i = 0; i < NR_COUNTERS; i++) {
		intptr_t sum = rseq_counter_sum(counters[i]);

		if (sum == expected[i])
			continue;
		printf("counter %d: %jd instead of %jd\n", i, (intmax_t)sum,
		       (intmax_t)expected[i]);
		wrong = 1;
	}
	return wrong;
}

static void report(void)
{
	printf("%lu threads, %lu of them without rseq\n", nr_lives, nr_without);
	storm_report(storm);
}

static int run(void)
{
	storm_keep_to_few_cpus();
	for (int i = 0; i < NR_COUNTERS; i++) {
		counters[i] = rseq_counter_create();
		if (!counters[i])
			return 1;
	}
	storm = storm_start(STORM_ALL, NR_THREADS, add_in_signal);
	if (!storm)
		return 1;
	storm_run(NR_THREADS, keep_alive, NULL, &stop);
	report();
	storm_stop(storm);
	return check();
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
