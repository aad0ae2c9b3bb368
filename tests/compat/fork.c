/* SPDX-License-Identifier: MIT */
/*
 * Pools and fork(): the child destroys a pool of initial pages, which is the parent's, and goes on
 * with one of zero pages as if it were its own.
 */
#include "check.h"

#include <rseq/mempool.h>

#include <sys/wait.h>

static struct rseq_mempool *create(enum rseq_mempool_populate_policy policy)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	if (!attr)
		return NULL;
	check(!rseq_mempool_attr_set_populate_policy(attr, policy));
	pool = rseq_mempool_create("forked", sizeof(long), attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

static void use_in_child(struct rseq_mempool *pool, long *item)
{
	long *other = (long *)rseq_mempool_percpu_zmalloc(pool);

	check(other && other != item);
	for (int cpu = 0; other && cpu < rseq_mempool_get_max_nr_cpus(pool); cpu++) {
		check(*rseq_percpu_ptr(other, cpu) == 0);
		check(*rseq_percpu_ptr(item, cpu) == 4711 + cpu);
		*rseq_percpu_ptr(item, cpu) = 0;
	}
	rseq_mempool_percpu_free(other);
	rseq_mempool_percpu_free(item);
}

static void try_policy(enum rseq_mempool_populate_policy policy)
{
	struct rseq_mempool *pool = create(policy);
	long *item = pool ? (long *)rseq_mempool_percpu_zmalloc(pool) : NULL;
	int status = -1;
	pid_t child;

	check(item);
	if (!item)
		return;
	for (int cpu = 0; cpu < rseq_mempool_get_max_nr_cpus(pool); cpu++)
		*rseq_percpu_ptr(item, cpu) = 4711 + cpu;
	child = fork();
	if (!child) {
		if (policy == RSEQ_MEMPOOL_POPULATE_COW_ZERO)
			use_in_child(pool, item);
		check(!rseq_mempool_destroy(pool));
		_exit(failures != 0);
	}
	check(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	for (int cpu = 0; cpu < rseq_mempool_get_max_nr_cpus(pool); cpu++)
		check(*rseq_percpu_ptr(item, cpu) == 4711 + cpu);
	rseq_mempool_percpu_free(item);
	check(!rseq_mempool_destroy(pool));
}

int main(void)
{
	try_policy(RSEQ_MEMPOOL_POPULATE_COW_INIT);
	try_policy(RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	return finish();
}
