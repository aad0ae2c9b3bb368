/* SPDX-License-Identifier: MIT */
/*
 * 07-cache: objects that are made once and used by many threads in turn.
 *
 * Each thread borrows requests, fills them in and gives them back. A request has a buffer that its
 * constructor allocates: that happens once for each request that the cache ever holds, not once for
 * each use. In the end the cache says what it did, and all memory goes back.
 */
#include <rseq/cache.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	8
#define NR_ROUNDS	50000
#define NR_AT_A_TIME	16
#define BUFFER_SIZE	256

struct request {
	char *buffer;
	int number;
};

static struct rseq_cache *requests;

static int construct(void *object, void *priv)
{
	struct request *request = object;

	(void)priv;
	request->buffer = malloc(BUFFER_SIZE);
	return request->buffer ? 0 : -1;
}

static void destruct(void *object, void *priv)
{
	struct request *request = object;

	(void)priv;
	free(request->buffer);
}

static void *run(void *failures)
{
	struct request *taken[NR_AT_A_TIME];

	for (int round = 0; round < NR_ROUNDS; round++) {
		for (int i = 0; i < NR_AT_A_TIME; i++) {
			taken[i] = rseq_cache_alloc(requests);
			if (!taken[i]) {
				__atomic_fetch_add((int *)failures, 1, __ATOMIC_RELAXED);
				continue;
			}
			taken[i]->number = round;
			memset(taken[i]->buffer, i, BUFFER_SIZE / 16);
		}
		for (int i = 0; i < NR_AT_A_TIME; i++)
			rseq_cache_free(requests, taken[i]);
	}
	return NULL;
}

int main(void)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr),
		.construct = construct,
		.destruct = destruct,
	};
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	pthread_t threads[NR_THREADS];
	int failures = 0;

	requests = rseq_cache_create("requests", sizeof(struct request), &attr);
	if (!requests) {
		perror("07-cache: rseq_cache_create");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < NR_THREADS; i++) {
		int error = pthread_create(&threads[i], NULL, run, &failures);

		if (error) {
			fprintf(stderr, "07-cache: thread %d: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);

	rseq_cache_stat(requests, &stat);
	printf("%d requests served by %ju that were made; %zu wait on CPUs, %zu in the depot\n",
	       NR_THREADS * NR_ROUNDS * NR_AT_A_TIME - failures, (uintmax_t)stat.created,
	       stat.on_cpus, stat.in_depot);
	printf("%zu returned by a trim\n", rseq_cache_trim(requests));
	if (rseq_cache_destroy(requests)) {
		perror("07-cache: rseq_cache_destroy");
		return EXIT_FAILURE;
	}
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
