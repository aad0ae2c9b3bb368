/* SPDX-License-Identifier: MIT */
/*
 * Publication with membarrier: workers add through a pointer that each CPU has; a manager gives all
 * CPUs another table, fences, and from then on nobody may add to the old one.
 */
#include "check.h"

#include <rseq/mempool.h>

#include <linux/membarrier.h>
#include <sys/syscall.h>

#ifndef MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
# define MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ		(1 << 7)
# define MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ	(1 << 8)
#endif

#define NR_SWAPS	200
#define NR_WORKERS	8

struct table {
	intptr_t *counter;
	intptr_t value;
};

static struct table *__rseq_percpu *current;
static struct table __rseq_percpu *tables[2];
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static bool stop, fenced;
static intptr_t expected;

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* Without the fence, as without rseq, this program takes a lock. */
static void add_locked(void)
{
	pthread_rwlock_rdlock(&lock);
	__atomic_fetch_add((*rseq_percpu_ptr(current, 0))->counter, 1, __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&lock);
}

static void add(void)
{
	int cpu;

#ifdef rseq_arch_has_load_add_load_load_add_store
	if (fenced) {
		do
			cpu = (int)rseq_cpu_start();
		while (rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED,
				RSEQ_PERCPU_CPU_ID, (intptr_t *)rseq_percpu_ptr(current, cpu),
				(long)offsetof(struct table, counter), 1, cpu));
		return;
	}
#endif
	(void)cpu;
	add_locked();
}

static void *work(void *unused)
{
	bool registered = enter_thread();
	intptr_t added = 0;

	(void)unused;
	check(registered || !fenced);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		add();
		if (++added % 1024 == 0)
			sched_yield();
	}
	__atomic_fetch_add(&expected, added, __ATOMIC_RELAXED);
	leave_thread(registered);
	return NULL;
}

static void publish(int which)
{
	int nr_cpus = rseq_get_max_nr_cpus();

	if (!fenced)
		pthread_rwlock_wrlock(&lock);
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		rseq_smp_store_release(rseq_percpu_ptr(current, cpu),
				       rseq_percpu_ptr(tables[which], cpu));
	if (fenced)
		check(!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ));
	else
		pthread_rwlock_unlock(&lock);
}

static intptr_t sum_of(int which)
{
	intptr_t sum = 0;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		sum += RSEQ_READ_ONCE(rseq_percpu_ptr(tables[which], cpu)->value);
	return sum;
}

static void *manage(void *unused)
{
	const struct timespec moment = { 0, 200000 };

	(void)unused;
	for (int i = 0; i < NR_SWAPS; i++) {
		int old = i % 2;
		intptr_t before;

		publish(!old);
		before = sum_of(old);
		nanosleep(&moment, NULL);
		check(sum_of(old) == before);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	return NULL;
}

static void *manage_or_work(void *number)
{
	return number ? work(NULL) : manage(NULL);
}

static bool make_tables(struct rseq_mempool *pool)
{
	current = (struct table *__rseq_percpu *)rseq_mempool_percpu_zmalloc(pool);
	for (int i = 0; i < 2; i++)
		tables[i] = (struct table __rseq_percpu *)rseq_mempool_percpu_zmalloc(pool);
	if (!current || !tables[0] || !tables[1])
		return false;
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		for (int i = 0; i < 2; i++) {
			struct table *table = rseq_percpu_ptr(tables[i], cpu);

			table->counter = &table->value;
		}
		*rseq_percpu_ptr(current, cpu) = rseq_percpu_ptr(tables[0], cpu);
	}
	return true;
}

int main(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("tables", sizeof(struct table), NULL);
	bool registered = enter_thread();

	keep_to_few_cpus();
	check(pool && make_tables(pool));
	if (failures)
		return 1;
	fenced = registered && !membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ);
	printf("%s\n", fenced ? "with fences" : "with a lock");
	run_threads(NR_WORKERS + 1, manage_or_work);
	check(sum_of(0) + sum_of(1) == expected);
	check(!rseq_mempool_destroy(pool));
	leave_thread(registered);
	return finish();
}
