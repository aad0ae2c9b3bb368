/* SPDX-License-Identifier: MIT */
/*
 * urcu-table: a read-mostly hash table, liburcu's, whose nodes come from a per-CPU cache and go
 * back into it after a grace period; and the same table with malloc(), call_rcu() for each node and
 * free().
 *
 *	urcu-table [-j THREADS] [-m rseq|malloc|all] [-n OPERATIONS] [-r ROUNDS] [-u PERCENT]
 *
 * Each thread does OPERATIONS operations on random keys, PERCENT of them updates: half of these add
 * a key, half remove one; the others look one up. The two ways take turns for ROUNDS rounds, each
 * in a process of its own. Exits with 0 if the table has the nodes that it should have.
 */
#define _GNU_SOURCE
#define RCU_MEMBARRIER
#include <urcu.h>
#include <urcu/rculfhash.h>

#include <rseq/urcu.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR_KEYS		65536
#define MAX_THREADS	1024
#define MAX_ROUNDS	101

struct entry {
	struct cds_lfht_node node;
	uint64_t key;
	uint64_t value;		/* always 3 * key, until the memory is used for another entry */
};

/* call_rcu() needs a place in each entry; a cache does not. */
struct malloc_entry {
	struct entry entry;
	struct rcu_head head;
};

struct way {
	const char *name;
	struct entry *(*alloc)(void);
	int (*free)(struct entry *entry);
};

/* What a run tells its parent. */
struct result {
	double cpu_seconds, seconds;
	long kib;
	int wrong;
};

static struct cds_lfht *table;
static struct rseq_cache *entries;
static struct rseq_cache_rcu *removed;
static const struct way *way;
static long nr_operations = 1000000;
static unsigned int percent = 10;
static intptr_t nr_entries, nr_wrong;	/* of all threads, under the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double cpu_seconds;

static struct entry *cache_alloc(void)
{
	return rseq_cache_alloc(entries);
}

static int cache_free(struct entry *entry)
{
	return rseq_cache_free_rcu(removed, entry);
}

static struct entry *malloc_alloc(void)
{
	return malloc(sizeof(struct malloc_entry));
}

static void free_entry(struct rcu_head *head)
{
	free(caa_container_of(head, struct malloc_entry, head));
}

static int malloc_free(struct entry *entry)
{
	call_rcu(&caa_container_of(entry, struct malloc_entry, entry)->head, free_entry);
	return 0;
}

static const struct way ways[] = {
	{ "rseq", cache_alloc, cache_free },
	{ "malloc", malloc_alloc, malloc_free },
};

static double seconds_of(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Neighbours are far apart, and no hash is 0. */
static unsigned long hash_of(uint64_t key)
{
	return (unsigned long)((key + 1) * 0x9e3779b97f4a7c15ULL >> 16);
}

static int is_key(struct cds_lfht_node *node, const void *key)
{
	return caa_container_of(node, struct entry, node)->key == *(const uint64_t *)key;
}

/* Returns whether something was wrong. */
static int look_up(uint64_t key)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	int wrong;

	rcu_read_lock();
	cds_lfht_lookup(table, hash_of(key), is_key, &key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	wrong = node && caa_container_of(node, struct entry, node)->value != 3 * key;
	rcu_read_unlock();
	return wrong;
}

/* Returns how many entries there are more, or less. */
static int add(uint64_t key)
{
	struct entry *entry = way->alloc();
	struct cds_lfht_node *node;

	if (!entry)
		return 0;
	cds_lfht_node_init(&entry->node);
	entry->key = key;
	entry->value = 3 * key;
	rcu_read_lock();
	node = cds_lfht_add_unique(table, hash_of(key), is_key, &key, &entry->node);
	rcu_read_unlock();
	if (node == &entry->node)
		return 1;
	/* Nobody saw it: it needs no grace period. */
	if (way == &ways[0])
		rseq_cache_free(entries, entry);
	else
		free(entry);
	return 0;
}

static int delete(uint64_t key)
{
	struct cds_lfht_iter iter;
	int error;

	rcu_read_lock();
	cds_lfht_lookup(table, hash_of(key), is_key, &key, &iter);
	error = cds_lfht_del(table, cds_lfht_iter_get_node(&iter));
	rcu_read_unlock();
	/* Out of the read-side critical section, so that the free may wait if too many do. */
	if (!error)
		error = way->free(caa_container_of(iter.node, struct entry, node));
	return error ? 0 : -1;
}

static void *work(void *argument)
{
	uint64_t random = 0x853c49e6748fea9bULL * (uintptr_t)argument;
	intptr_t more = 0, wrong = 0;
	double start;

	rcu_register_thread();
	start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	for (long i = 0; i < nr_operations; i++) {
		uint64_t key;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		key = random >> 32 & (NR_KEYS - 1);
		if ((random & 0xffff) * 100 >= percent * 0x10000UL)
			wrong += look_up(key);
		else
			more += random & 0x10000 ? add(key) : delete(key);
	}
	start = seconds_of(CLOCK_THREAD_CPUTIME_ID) - start;
	rcu_unregister_thread();
	pthread_mutex_lock(&lock);
	cpu_seconds += start;
	nr_entries += more;
	nr_wrong += wrong;
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int make_table(void)
{
	if (way == &ways[0]) {
		entries = rseq_cache_create("entries", sizeof(struct entry), NULL);
		removed = entries ? rseq_cache_rcu_create(entries, NULL) : NULL;
		if (!removed)
			return -1;
	}
	table = cds_lfht_new(NR_KEYS, NR_KEYS, NR_KEYS, 0, NULL);
	if (!table)
		return -1;
	for (uint64_t key = 0; key < NR_KEYS; key += 2)
		nr_entries += add(key);
	return 0;
}

/* Counts what is there and takes it out. */
static void empty_table(struct result *result)
{
	struct cds_lfht_iter iter;
	struct entry *entry;
	intptr_t nr = 0;

	cds_lfht_for_each_entry(table, &iter, entry, node) {
		result->wrong |= entry->value != 3 * entry->key;
		if (cds_lfht_del(table, &entry->node) || way->free(entry))
			result->wrong = 1;
		nr++;
	}
	result->wrong |= nr != nr_entries || nr_wrong;
}

/* In a process of its own. */
static struct result run(long nr_threads)
{
	static pthread_t threads[MAX_THREADS];
	struct result result = { .wrong = 1 };
	struct rusage usage;

	rcu_register_thread();
	if (make_table())
		return result;
	result.seconds = seconds_of(CLOCK_MONOTONIC);
	for (long i = 0; i < nr_threads; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)))
			return result;
	for (long i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	result.seconds = seconds_of(CLOCK_MONOTONIC) - result.seconds;
	result.cpu_seconds = cpu_seconds;
	result.kib = getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_maxrss;
	result.wrong = 0;
	empty_table(&result);
	if (way == &ways[0])
		result.wrong |= rseq_cache_rcu_destroy(removed) || rseq_cache_destroy(entries);
	else
		rcu_barrier();
	result.wrong |= cds_lfht_destroy(table, NULL) != 0;
	rcu_unregister_thread();
	return result;
}

static struct result run_in_child(long nr_threads)
{
	struct result result = { .wrong = 1 };
	int ends[2], status;
	pid_t child;

	if (pipe(ends))
		return result;
	child = fork();
	if (!child) {
		result = run(nr_threads);
		_exit(write(ends[1], &result, sizeof(result)) != sizeof(result));
	}
	close(ends[1]);
	if (child < 0 || read(ends[0], &result, sizeof(result)) != sizeof(result))
		result.wrong = 1;
	close(ends[0]);
	if (child > 0 && (waitpid(child, &status, 0) != child || status))
		result.wrong = 1;
	return result;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static double median(double *values, long nr)
{
	qsort(values, (size_t)nr, sizeof(*values), compare);
	return values[nr / 2];
}

int main(int argc, char **argv)
{
	static double cpu[2][MAX_ROUNDS], wall[2][MAX_ROUNDS], kib[2][MAX_ROUNDS];
	long nr_threads = sysconf(_SC_NPROCESSORS_ONLN), nr_rounds = 1;
	const char *only = "all";
	int option, wrong = 0;

	while ((option = getopt(argc, argv, "j:m:n:r:u:")) != -1) {
		switch (option) {
		case 'j': nr_threads = atol(optarg); break;
		case 'm': only = optarg; break;
		case 'n': nr_operations = atol(optarg); break;
		case 'r': nr_rounds = atol(optarg); break;
		case 'u': percent = (unsigned int)atol(optarg); break;
		default: return 2;
		}
	}
	if (nr_threads < 1 || nr_threads > MAX_THREADS || nr_operations < 1 || nr_rounds < 1 ||
	    nr_rounds > MAX_ROUNDS || percent > 100)
		return 2;
	for (long round = 0; round < nr_rounds; round++) {
		for (int i = 0; i < 2; i++) {
			double all = (double)nr_operations * (double)nr_threads;
			struct result result;

			way = &ways[i];
			if (strcmp(only, "all") && strcmp(only, way->name))
				continue;
			result = run_in_child(nr_threads);
			cpu[i][round] = result.cpu_seconds / all * 1e9;
			wall[i][round] = result.seconds / all * 1e9;
			kib[i][round] = (double)result.kib;
			wrong |= result.wrong;
		}
	}
	for (int i = 0; i < 2; i++) {
		if (!strcmp(only, "all") || !strcmp(only, ways[i].name))
			printf("%-6s  %6.1f ns of CPU and %6.1f ns in all for each, %6.1f MiB\n",
			       ways[i].name, median(cpu[i], nr_rounds), median(wall[i], nr_rounds),
			       median(kib[i], nr_rounds) / 1024);
	}
	if (wrong)
		fprintf(stderr, "urcu-table: the table is wrong, or there is no memory\n");
	return wrong;
}
