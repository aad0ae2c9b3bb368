/* SPDX-License-Identifier: MIT */
/* debugged: what gdb.sh debugs. The lines that end in a comment are those that it stops at. */
#define _GNU_SOURCE

#include <rseq/counter.h>
#include <rseq/list.h>

#include <sched.h>
#include <stdbool.h>

#define NR_ROUNDS	40

static struct rseq_counter *counter;
static struct rseq_list *list;
static struct rseq_list_node nodes[NR_ROUNDS];
static int nr_mistakes;

static void work(int round)
{
	struct rseq_list_node *node;

	rseq_counter_add(counter, 1);	/* add */
	rseq_list_push(list, &nodes[round]);	/* push */
	node = rseq_list_pop(list);	/* pop */
	nr_mistakes += node != &nodes[round];	/* compare */
}

/* A pop finds what this CPU has. */
static int stay_here(void)
{
	const int cpu = sched_getcpu();
	cpu_set_t cpus;

	if (cpu < 0)
		return -1;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus);
}

int main(void)
{
	if (stay_here())
		return 2;
	counter = rseq_counter_create();
	list = rseq_list_create();
	if (!counter || !list)
		return 2;
	rseq_register_current_thread();
	for (int round = 0; round < NR_ROUNDS; round++)
		work(round);
	return nr_mistakes || !rseq_list_empty(list) || rseq_counter_sum(counter) != NR_ROUNDS;
}
