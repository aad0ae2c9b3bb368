/* SPDX-License-Identifier: MIT */
/*
 * 06-lock: a hash table for each CPU under that CPU's lock. Threads count words in the table of the
 * CPU that they run on; the main thread takes each CPU's lock in turn and adds the tables up.
 */
#include <rseq/lock.h>
#include <rseq/thread.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	8
#define NR_TURNS	100000
#define NR_BUCKETS	64

struct table {
	long counts[NR_BUCKETS];
};

static struct rseq_lock *lock;
static struct table *tables;	/* one for each CPU */

static void *run(void *failed)
{
	int i, cpu;

	for (i = 0; i < NR_TURNS; i++) {
		cpu = rseq_lock_acquire(lock);
		if (cpu < 0)
			return failed;
		/* The thread may migrate in here: the table goes with the lock. */
		tables[cpu].counts[i % NR_BUCKETS]++;
		rseq_lock_release(lock, cpu);
	}
	return NULL;
}

/* May run while others count. */
static long sum(void)
{
	long total = 0;
	int cpu, i;

	for (cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		if (rseq_lock_acquire_cpu(lock, cpu)) {
			perror("06-lock: rseq_lock_acquire_cpu");
			exit(EXIT_FAILURE);
		}
		for (i = 0; i < NR_BUCKETS; i++)
			total += tables[cpu].counts[i];
		rseq_lock_release(lock, cpu);
	}
	return total;
}

int main(void)
{
	const long expected = (long)NR_THREADS * NR_TURNS;
	pthread_t threads[NR_THREADS];
	void *failed;
	long total;
	int i, error;

	lock = rseq_lock_create();
	tables = calloc((size_t)rseq_get_max_nr_cpus(), sizeof(*tables));
	if (!lock || !tables) {
		perror("06-lock");
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_THREADS; i++) {
		error = pthread_create(&threads[i], NULL, run, lock);
		if (error) {
			fprintf(stderr, "06-lock: thread %d: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}
	printf("%ld so far\n", sum());
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], &failed);
		if (failed) {
			fprintf(stderr, "06-lock: a lock could not be taken\n");
			return EXIT_FAILURE;
		}
	}
	total = sum();
	printf("%ld in the end, %ld expected\n", total, expected);
	free(tables);
	rseq_lock_destroy(lock);
	return total == expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
