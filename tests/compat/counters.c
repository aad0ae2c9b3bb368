/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU counters, by cpu_id and by mm_cid: added to directly, and through a pointer that each
 * CPU has to a table of its own.
 */
#include "check.h"

#include <rseq/mempool.h>

#define NR_ADDS		2000

struct table {
	intptr_t unused;
	intptr_t *counter;
};

struct counters {
	intptr_t direct;
	intptr_t aside;
	struct table *table;
	struct table own_table;
};

static struct counters __rseq_percpu *counters;
static enum rseq_percpu_mode mode;
static intptr_t without_rseq[2];

static int add_direct(struct counters *mine, intptr_t count, int cpu)
{
	if (mode == RSEQ_PERCPU_MM_CID)
		return rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID,
						&mine->direct, count, cpu);
	return rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &mine->direct, count,
					cpu);
}

static int add_aside(struct counters *mine, intptr_t count, int cpu)
{
#ifdef rseq_arch_has_load_add_load_load_add_store
	/* The mode may as well be known at run time alone. */
	return rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, mode,
			(intptr_t *)&mine->table, (long)offsetof(struct table, counter), count,
			cpu);
#else
	return rseq_load_add_store__ptr(RSEQ_MO_RELAXED, mode, &mine->aside, count, cpu);
#endif
}

static void add(bool registered, intptr_t count)
{
	int cpu;

	if (!registered) {
		__atomic_fetch_add(&without_rseq[0], count, __ATOMIC_RELAXED);
		__atomic_fetch_add(&without_rseq[1], -count, __ATOMIC_RELAXED);
		return;
	}
	do
		cpu = start_cpu(mode);
	while (rseq_unlikely(add_direct(rseq_percpu_ptr(counters, cpu), count, cpu)));
	do
		cpu = start_cpu(mode);
	while (rseq_unlikely(add_aside(rseq_percpu_ptr(counters, cpu), -count, cpu)));
}

static void *count(void *number)
{
	bool registered = enter_thread();

	for (int i = 0; i < NR_ADDS; i++) {
		add(registered, (intptr_t)number + 1);
		if (i % 256 == 0)
			sched_yield();
	}
	leave_thread(registered);
	return NULL;
}

static void try_mode(struct rseq_mempool *pool)
{
	intptr_t expected = (intptr_t)NR_ADDS * MAX_THREADS * (MAX_THREADS + 1) / 2;
	intptr_t direct, aside;
	int nr_cpus = rseq_mempool_get_max_nr_cpus(pool);

	counters = (struct counters __rseq_percpu *)rseq_mempool_percpu_zmalloc(pool);
	check(counters);
	if (!counters)
		return;
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		struct counters *mine = rseq_percpu_ptr(counters, cpu);

		check(!mine->direct && !mine->aside && !mine->table);
		mine->own_table.counter = &mine->aside;
		mine->table = &mine->own_table;
	}
	run_threads(MAX_THREADS, count);
	direct = without_rseq[0];
	aside = without_rseq[1];
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		direct += rseq_percpu_ptr(counters, cpu)->direct;
		aside += rseq_percpu_ptr(counters, cpu)->aside;
	}
	check(direct == expected);
	check(aside == -expected);
	rseq_mempool_percpu_free(counters);
}

int main(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("counters", sizeof(struct counters), NULL);
	bool registered = enter_thread();

	keep_to_few_cpus();
	check(pool);
	if (!pool)
		return 1;
	for (int m = 0; m < nr_modes(); m++) {
		mode = (enum rseq_percpu_mode)m;
		try_mode(pool);
	}
	check(!rseq_mempool_destroy(pool));
	leave_thread(registered);
	return finish();
}
