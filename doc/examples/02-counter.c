/* SPDX-License-Identifier: MIT */
/*
 * 02-counter: threads count together, and the sum is exact.
 *
 * Every other thread registers first. The rest leave that to their first increment; a thread that
 * cannot be registered at all counts as well, only not as fast.
 */
#include <rseq/counter.h>
#include <rseq/thread.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	8
#define NR_INCREMENTS	1000000

static struct rseq_counter *counter;

static void *run(void *wants_rseq)
{
	bool registered = wants_rseq && !rseq_register_current_thread();
	int i;

	for (i = 0; i < NR_INCREMENTS; i++)
		rseq_counter_inc(counter);

	if (registered)
		rseq_unregister_current_thread();
	return NULL;
}

int main(void)
{
	const intptr_t expected = (intptr_t)NR_THREADS * NR_INCREMENTS;
	pthread_t threads[NR_THREADS];
	intptr_t sum;
	int i, error;

	counter = rseq_counter_create();
	if (!counter) {
		perror("02-counter: rseq_counter_create");
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_THREADS; i++) {
		error = pthread_create(&threads[i], NULL, run, i % 2 ? counter : NULL);
		if (error) {
			fprintf(stderr, "02-counter: thread %d: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}

	/* A sum may be taken at any time; once all threads have been joined, nothing is missing. */
	sum = rseq_counter_sum(counter);
	printf("%jd so far\n", (intmax_t)sum);
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	sum = rseq_counter_sum(counter);
	printf("%jd in the end, %jd expected\n", (intmax_t)sum, (intmax_t)expected);

	rseq_counter_destroy(counter);
	return sum == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
