/* SPDX-License-Identifier: MIT */
/*
 * bench-threads.c: a loop on many threads that start together.
 */
#define _GNU_SOURCE		/* CPU_COUNT() */

#include "bench.h"

#include <rseq/thread.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

struct crew {
	struct bench_run *run;
	bench_loop *loop;
	uint64_t nr;			/* operations of each thread */
	bool cancelled;
	/* Held for writing until all threads are there, who wait to have it for reading. */
	pthread_rwlock_t gate;
};

struct worker {
	struct crew *crew;
	pthread_t thread;
	double used;			/* ns of CPU time */
};

unsigned int bench_nr_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned int)CPU_COUNT(&set);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct crew *crew = worker->crew;
	double start;

	/* Where that fails, the variants measure what a thread without rseq has to pay. */
	rseq_register_current_thread();
	pthread_rwlock_rdlock(&crew->gate);
	pthread_rwlock_unlock(&crew->gate);
	start = bench_cpu_time();
	if (!crew->cancelled)
		crew->loop(crew->run, crew->nr);
	worker->used = bench_cpu_time() - start;
	rseq_unregister_current_thread();
	return NULL;
}

static unsigned int start_workers(struct crew *crew, struct worker *workers)
{
	unsigned int nr;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	for (nr = 0; nr < crew->run->nr_threads; nr++) {
		workers[nr].crew = crew;
		if (pthread_create(&workers[nr].thread, &attr, work, &workers[nr]))
			break;
	}
	pthread_attr_destroy(&attr);
	return nr;
}

double bench_run_threads(struct bench_run *run, bench_loop *loop, uint64_t nr, double *elapsed)
{
	struct crew crew = { .run = run, .loop = loop, .gate = PTHREAD_RWLOCK_INITIALIZER };
	struct worker *workers = calloc(run->nr_threads, sizeof(*workers));
	unsigned int nr_threads = run->nr_threads, nr_cpus = bench_nr_cpus(), started;
	double used = 0, start;

	if (!workers) {
		run->missing = "no memory";
		return -1;
	}
	crew.nr = nr;
	pthread_rwlock_wrlock(&crew.gate);
	started = start_workers(&crew, workers);
	crew.cancelled = started < nr_threads;
	start = bench_process_time();
	pthread_rwlock_unlock(&crew.gate);
	for (unsigned int i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		used += workers[i].used;
	}
	if (run->bench->whole)
		used = bench_process_time() - start;
	free(workers);
	if (crew.cancelled) {
		run->missing = "so many threads cannot be made";
		return -1;
	}
	*elapsed = used / (nr_cpus < nr_threads ? nr_cpus : nr_threads);
	return used / ((double)nr * nr_threads);
}
