/* SPDX-License-Identifier: MIT */
/*
 * threads.c: threads that wait for something to do, and do it together.
 */
#include "steps.h"

#include <pthread.h>
#include <stdint.h>

int nr_threads = 1;

static pthread_t threads[USER_MAX_THREADS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void (*job)(int index);		/* NULL: end */
static unsigned long nr_jobs;
static int nr_busy;

struct start {
	int index;
	unsigned long nr_jobs;		/* that were there before */
};

static struct start starts[USER_MAX_THREADS];

static void *serve(void *argument)
{
	struct start *start = argument;
	void (*function)(int index);

	do {
		pthread_mutex_lock(&mutex);
		while (nr_jobs == start->nr_jobs)
			pthread_cond_wait(&changed, &mutex);
		start->nr_jobs = nr_jobs;
		function = job;
		pthread_mutex_unlock(&mutex);
		if (function)
			function(start->index);
		pthread_mutex_lock(&mutex);
		nr_busy--;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
	} while (function);
	return NULL;
}

void threads_start(int nr)
{
	check(nr_threads + nr <= USER_MAX_THREADS);
	for (int end = nr_threads + nr; nr_threads < end; nr_threads++) {
		struct start *start = &starts[nr_threads];

		*start = (struct start){ nr_threads, nr_jobs };
		check(!pthread_create(&threads[nr_threads], NULL, serve, start));
	}
}

void threads_run(void (*function)(int index))
{
	/* In the child of fork() another thread may hold the mutex, for ever. */
	if (nr_threads == 1) {
		if (function)
			function(0);
		return;
	}
	pthread_mutex_lock(&mutex);
	job = function;
	nr_jobs++;
	nr_busy = nr_threads - 1;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	if (function)
		function(0);
	pthread_mutex_lock(&mutex);
	while (nr_busy)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

void threads_end(void)
{
	threads_run(NULL);
	while (nr_threads > 1)
		check(!pthread_join(threads[--nr_threads], NULL));
}
