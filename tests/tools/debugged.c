/* SPDX-License-Identifier: MIT */
/* debugged: what gdb.sh debugs. The lines that end in a comment are those that it stops at. */
#include <rseq/counter.h>
#include <rseq/list.h>

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

int main(void)
{
	counter = rseq_counter_create();
	list = rseq_list_create();
	if (!counter || !list)
		return 2;
	rseq_register_current_thread();
	for (int round = 0; round < NR_ROUNDS; round++)
		work(round);
	return nr_mistakes || !rseq_list_empty(list) || rseq_counter_sum(counter) != NR_ROUNDS;
}
