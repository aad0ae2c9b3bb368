/* SPDX-License-Identifier: MIT */
/*
 * 05-ring: threads trace what they do while another one collects it, and nothing is missing.
 *
 * Every other thread leaves its registration to its first write. What a full buffer refuses is
 * counted; the threads here go on with the next event.
 */
#include <rseq/ring.h>
#include <rseq/thread.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	4
#define NR_EVENTS	100000

struct event {
	unsigned int thread;
	unsigned int number;
	char what[];			/* up to the end of the record */
};

static struct rseq_ring *ring;
static unsigned int nr_running = NR_THREADS;

static void *trace(void *argument)
{
	const unsigned int thread = *(unsigned int *)argument;
	bool registered = thread % 2 && !rseq_register_current_thread();
	unsigned int i;

	for (i = 0; i < NR_EVENTS; i++) {
		_Alignas(struct event) char buf[64];
		struct event *event = (struct event *)buf;
		size_t len = sizeof(*event) + i % 32 + 1;

		event->thread = thread;
		event->number = i;
		memset(event->what, 'a' + (int)(i % 26), len - sizeof(*event));
		rseq_ring_write(ring, buf, len);
	}
	if (registered)
		rseq_unregister_current_thread();
	__atomic_fetch_sub(&nr_running, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Returns how many events there were. */
static uint64_t collect(void)
{
	uint64_t nr_events = 0;
	char buf[64];
	int cpu;

	for (cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		while (rseq_ring_read(ring, cpu, buf, sizeof(buf)) > 0)
			nr_events++;
	return nr_events;
}

static uint64_t count_refused(void)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };
	uint64_t refused = 0;
	int cpu;

	for (cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		if (!rseq_ring_stat(ring, cpu, &stat))
			refused += stat.refused;
	return refused;
}

int main(void)
{
	unsigned int numbers[NR_THREADS];
	pthread_t threads[NR_THREADS];
	uint64_t collected = 0, refused;
	unsigned int i;
	int error;

	ring = rseq_ring_create(1 << 20, 0);
	if (!ring) {
		perror("05-ring: rseq_ring_create");
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_THREADS; i++) {
		numbers[i] = i;
		error = pthread_create(&threads[i], NULL, trace, &numbers[i]);
		if (error) {
			fprintf(stderr, "05-ring: thread %u: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}
	while (__atomic_load_n(&nr_running, __ATOMIC_ACQUIRE))
		collected += collect();
	collected += collect();
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);

	refused = count_refused();
	printf("%ju collected, %ju refused, %d in all\n", (uintmax_t)collected,
	       (uintmax_t)refused, NR_THREADS * NR_EVENTS);
	rseq_ring_destroy(ring);
	return collected + refused == NR_THREADS * NR_EVENTS ? EXIT_SUCCESS : EXIT_FAILURE;
}
