/* SPDX-License-Identifier: MIT */
/*
 * 09-fence: how many events there are on each CPU in each interval, while threads count them with
 * one addition each that is not atomic. None is lost, and none is counted twice.
 *
 * Each CPU has two slots, and a pointer to the one that its sections add to. The main thread turns
 * the pointer to the other slot, and waits with a fence for the sections that saw it before. From
 * then on the first slot is its own, to read and to clear.
 */
#include <rseq/fence.h>
#include <rseq/ops.h>

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NR_THREADS	8
#define NR_EVENTS	4000000
#define NR_INTERVALS	10
#define MAX_TRIES	8

struct slot {
	intptr_t *events_at;		/* the next field's address, as the section wants it */
	intptr_t events;
};

struct row {
	intptr_t current;		/* the slot to add to; atomic */
	struct slot slots[2];
	char pad[128 - sizeof(intptr_t) - 2 * sizeof(struct slot)];
};

static struct row *rows;		/* one for each CPU */
static intptr_t without_rseq;		/* events that no section counted; atomic */

static void count_event(void)
{
	for (int i = 0; i < MAX_TRIES; i++) {
		int cpu = (int)rseq_cpu_start();

		/* The slot that current points to, and there what events_at points to, plus 1. */
		if (!rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
				&rows[cpu].current, offsetof(struct slot, events_at), 1, cpu))
			return;
	}
	__atomic_fetch_add(&without_rseq, 1, __ATOMIC_RELAXED);
}

static void *run(void *unused)
{
	rseq_register_current_thread();
	for (int i = 0; i < NR_EVENTS; i++)
		count_event();
	return unused;
}

static struct slot *turn(struct row *row)
{
	struct slot *before = (struct slot *)row->current;
	struct slot *after = &row->slots[before == &row->slots[0]];

	__atomic_store_n(&row->current, (intptr_t)after, __ATOMIC_RELEASE);
	return before;
}

/*
 * Takes the events of some CPUs. A fence costs the same for all of them as for one: turn all
 * pointers first.
 */
static intptr_t take(int first, int end)
{
	intptr_t total = 0;
	int cpu, error;

	for (cpu = first; cpu < end; cpu++)
		turn(&rows[cpu]);
	error = end - first == 1 ? rseq_fence_cpu(first) : rseq_fence_all();
	if (error) {
		/* Sections may be at work on either slot. All events stay where they are. */
		perror("09-fence: fence");
		for (cpu = first; cpu < end; cpu++)
			turn(&rows[cpu]);
		return 0;
	}
	for (cpu = first; cpu < end; cpu++) {
		struct row *row = &rows[cpu];
		struct slot *mine = &row->slots[row->current == (intptr_t)&row->slots[0]];

		total += mine->events;
		mine->events = 0;
	}
	return total;
}

static int make_rows(int nr_cpus)
{
	rows = calloc((size_t)nr_cpus, sizeof(*rows));
	if (!rows)
		return -1;
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		for (int i = 0; i < 2; i++)
			rows[cpu].slots[i].events_at = &rows[cpu].slots[i].events;
		rows[cpu].current = (intptr_t)&rows[cpu].slots[0];
	}
	return 0;
}

int main(void)
{
	const intptr_t expected = (intptr_t)NR_THREADS * NR_EVENTS;
	const int nr_cpus = rseq_get_max_nr_cpus();
	pthread_t threads[NR_THREADS];
	intptr_t total = 0, some;

	if (make_rows(nr_cpus)) {
		perror("09-fence");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < NR_THREADS; i++) {
		int error = pthread_create(&threads[i], NULL, run, NULL);

		if (error) {
			fprintf(stderr, "09-fence: thread %d: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}
	for (int i = 0; i < NR_INTERVALS; i++) {
		const struct timespec interval = { 0, 1000000 };

		nanosleep(&interval, NULL);
		some = take(0, i % 2 ? 1 : nr_cpus);
		printf("%jd events on %s\n", (intmax_t)some, i % 2 ? "CPU 0" : "all CPUs");
		total += some;
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	/* Nobody adds any more, and no fence is needed. */
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		total += rows[cpu].slots[0].events + rows[cpu].slots[1].events;
	total += without_rseq;
	printf("%jd in the end, %jd expected\n", (intmax_t)total, (intmax_t)expected);
	free(rows);
	return total == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
