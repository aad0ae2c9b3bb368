/* SPDX-License-Identifier: MIT */
/*
 * 08-refcount: a server's configuration, which threads take references to for each request, until
 * its owner gives it up. The last of them to be done with it frees it, once.
 */
#include <rseq/refcount.h>
#include <rseq/thread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	8

struct configuration {
	struct rseq_refcount *references;
	char name[32];
};

static struct configuration *configuration;
static atomic_int nr_freed;
static atomic_long nr_served;

static void free_configuration(void *arg)
{
	struct configuration *old = arg;

	printf("\"%s\" is freed\n", old->name);
	rseq_refcount_destroy(old->references);
	free(old);
	nr_freed++;
}

/* Each thread has a reference from its creator, and takes more while it serves. */
static void *serve(void *arg)
{
	struct configuration *mine = arg;

	/* A request, which may outlive this function elsewhere. Fails once the owner gave it up. */
	while (rseq_refcount_tryget(mine->references)) {
		nr_served++;
		rseq_refcount_put(mine->references);
	}
	rseq_refcount_put(mine->references);
	return NULL;
}

int main(void)
{
	pthread_t threads[NR_THREADS];
	int i, error;

	configuration = malloc(sizeof(*configuration));
	if (configuration)
		configuration->references = rseq_refcount_create(free_configuration, configuration);
	if (!configuration || !configuration->references) {
		perror("08-refcount");
		return EXIT_FAILURE;
	}
	strcpy(configuration->name, "first");
	for (i = 0; i < NR_THREADS; i++) {
		rseq_refcount_get(configuration->references);
		error = pthread_create(&threads[i], NULL, serve, configuration);
		if (error) {
			fprintf(stderr, "08-refcount: thread %d: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}
	if (rseq_refcount_kill(configuration->references)) {
		perror("08-refcount: rseq_refcount_kill");
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("%ld requests served, freed %d times\n", nr_served, nr_freed);
	return nr_freed == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
