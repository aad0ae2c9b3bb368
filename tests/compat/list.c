/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU lists in memory of a pool: threads pop a node from the list of their CPU and push it to
 * the list of the CPU they are on then. No node may be lost, nor be in two hands at once.
 */
#include "check.h"

#include <rseq/mempool.h>

#define NR_NODES	100
#define NR_TURNS	500
#define NR_THREADS	32

struct node {
	intptr_t data;
	struct node *next;
	int owned;
};

struct head {
	struct node *first;
};

static struct head __rseq_percpu *list;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct head *list_of(int cpu)
{
	return rseq_percpu_ptr(list, cpu);
}

static void push(bool registered, struct node *node)
{
	if (!registered) {
		pthread_mutex_lock(&lock);
		node->next = list_of(0)->first;
		list_of(0)->first = node;
		pthread_mutex_unlock(&lock);
		return;
	}
	for (;;) {
		int cpu = (int)rseq_cpu_start();
		intptr_t *first = (intptr_t *)&list_of(cpu)->first;
		intptr_t expect = RSEQ_READ_ONCE(*first);

		node->next = (struct node *)expect;
		if (rseq_likely(!rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
							   first, expect, (intptr_t)node, cpu)))
			return;
	}
}

static struct node *pop(bool registered)
{
	struct node *node;

	if (!registered) {
		pthread_mutex_lock(&lock);
		node = list_of(0)->first;
		if (node)
			list_of(0)->first = node->next;
		pthread_mutex_unlock(&lock);
		return node;
	}
	for (;;) {
		int cpu = (int)rseq_cpu_start();
		intptr_t load = 0;
		int result = rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED,
				RSEQ_PERCPU_CPU_ID, (intptr_t *)&list_of(cpu)->first, 0,
				(long)offsetof(struct node, next), &load, cpu);

		if (rseq_likely(!result))
			return (struct node *)load;
		if (result > 0)
			return NULL;
	}
}

static void *shuffle(void *unused)
{
	bool registered = enter_thread();

	(void)unused;
	for (int i = 0; i < NR_TURNS; i++) {
		struct node *node = pop(registered);

		if (!node) {
			sched_yield();
			continue;
		}
		check(!__atomic_exchange_n(&node->owned, 1, __ATOMIC_RELAXED));
		if (i % 32 == 0)
			sched_yield();
		check(__atomic_exchange_n(&node->owned, 0, __ATOMIC_RELAXED));
		push(registered, node);
	}
	leave_thread(registered);
	return NULL;
}

int main(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("list heads", sizeof(struct head), NULL);
	bool registered = enter_thread();
	intptr_t sum = 0, nr = 0;

	keep_to_few_cpus();
	check(pool);
	if (!pool)
		return 1;
	list = (struct head __rseq_percpu *)rseq_mempool_percpu_zmalloc(pool);
	check(list);
	for (intptr_t i = 1; i <= NR_NODES; i++) {
		struct node *node = (struct node *)calloc(1, sizeof(*node));

		if (!node)
			return 1;
		node->data = i;
		push(registered, node);
	}
	run_threads(NR_THREADS, shuffle);
	for (int cpu = 0; cpu < rseq_mempool_get_max_nr_cpus(pool); cpu++) {
		struct node *node = list_of(cpu)->first, *next;

		for (; node; node = next) {
			next = node->next;
			sum += node->data;
			nr++;
			free(node);
		}
	}
	check(nr == NR_NODES && sum == NR_NODES * (NR_NODES + 1) / 2);
	rseq_mempool_percpu_free(list);
	check(!rseq_mempool_destroy(pool));
	leave_thread(registered);
	return finish();
}
