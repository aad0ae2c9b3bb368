/* SPDX-License-Identifier: MIT */
/*
 * bench-list.c: a node is pushed and a node is popped, on one thread and on many.
 *
 * A thread that is migrated in between finds its new CPU's part of the list empty, as the case may
 * be, and goes on with another node; those that it leaves behind are found by others later.
 */
#include "bench.h"

#include <rseq/list.h>

#include <pthread.h>
#include <stdlib.h>

struct node {
	struct rseq_list_node link;
	struct node *next_made;
	char padding[BENCH_LINE - sizeof(struct rseq_list_node) - sizeof(struct node *)];
};

static struct node *made;	/* atomic: all nodes of the variant under way */

static struct rseq_list_node *make_node(void)
{
	struct node *node = aligned_alloc(BENCH_LINE, sizeof(*node));

	if (!node)
		abort();
	node->next_made = __atomic_load_n(&made, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&made, &node->next_made, node, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
	return &node->link;
}

static void free_nodes(void)
{
	while (made) {
		struct node *node = made;

		made = node->next_made;
		free(node);
	}
}

static int setup_list(struct bench_run *run)
{
	run->state = rseq_list_create();
	return run->state ? 0 : -1;
}

static void teardown_list(struct bench_run *run)
{
	rseq_list_drain(run->state);
	rseq_list_destroy(run->state);
	free_nodes();
}

BENCH_BODY(rseq_pair)
{
	struct rseq_list *list = run->state;
	struct rseq_list_node *node = make_node();

	BENCH_REPEAT(nr,
		rseq_list_push(list, node);
		node = rseq_list_pop(list);
		if (rseq_unlikely(!node))
			node = make_node();
	)
}
BENCH_LOOPS(rseq_pair)

static __thread struct rseq_list_node *own_head;

static inline __attribute__((always_inline)) void push(struct rseq_list_node **head,
		struct rseq_list_node *node)
{
	node->next = *head;
	*head = node;
	rseq_barrier();
}

static inline __attribute__((always_inline))
struct rseq_list_node *pop(struct rseq_list_node **head)
{
	struct rseq_list_node *node = *head;

	if (rseq_unlikely(!node))
		abort();
	*head = node->next;
	rseq_barrier();
	return node;
}

BENCH_BODY(tls_pair)
{
	struct node memory;
	struct rseq_list_node *node = &memory.link, **head = BENCH_OWN(own_head);

	(void)run;
	BENCH_REPEAT(nr,
		push(head, node);
		node = pop(head);
	)
}
BENCH_LOOPS(tls_pair)

/* The same list, wherever the compiler has its address: in an instruction, on x86-64. */
BENCH_BODY(tls_plain_pair)
{
	struct node memory;
	struct rseq_list_node *node = &memory.link;

	(void)run;
	BENCH_REPEAT(nr,
		push(&own_head, node);
		node = pop(&own_head);
	)
}
BENCH_LOOPS(tls_plain_pair)

/* The first one, and what two sections store to begin: a word of the thread's area. */
static __thread const void *volatile armed __attribute__((aligned(BENCH_LINE)));

BENCH_BODY(tls_armed_pair)
{
	struct node memory;
	struct rseq_list_node *node = &memory.link, **head = BENCH_OWN(own_head);
	const void *volatile *area = BENCH_OWN(armed);

	(void)run;
	BENCH_REPEAT(nr,
		*area = head;
		push(head, node);
		*area = node;
		node = pop(head);
	)
}
BENCH_LOOPS(tls_armed_pair)

static struct {
	pthread_mutex_t mutex __attribute__((aligned(BENCH_LINE)));
	struct rseq_list_node *head;
} locked = { .mutex = PTHREAD_MUTEX_INITIALIZER };

BENCH_BODY(mutex_pair)
{
	struct rseq_list_node *node = make_node();

	(void)run;
	BENCH_REPEAT(nr,
		pthread_mutex_lock(&locked.mutex);
		node->next = locked.head;
		locked.head = node;
		pthread_mutex_unlock(&locked.mutex);
		pthread_mutex_lock(&locked.mutex);
		node = locked.head;
		locked.head = node->next;
		pthread_mutex_unlock(&locked.mutex);
	)
}
BENCH_LOOPS(mutex_pair)

static void teardown_locked(struct bench_run *run)
{
	(void)run;
	locked.head = NULL;
	free_nodes();
}

static const struct bench_variant pairs[] = {
	BENCH_VARIANT("rseq_list_push, rseq_list_pop", setup_list, teardown_list, rseq_pair),
	BENCH_VARIANT("TLS list", NULL, NULL, tls_pair),
	BENCH_VARIANT("TLS list, a variable of the program", NULL, NULL, tls_plain_pair),
	BENCH_VARIANT("TLS list, and the two stores that begin sections", NULL, NULL,
		      tls_armed_pair),
	BENCH_VARIANT("list and mutex", NULL, teardown_locked, mutex_pair),
	{ .name = "liburcu wfstack", .peer = "urcu_stack" },
	{ .name = "Concurrency Kit stack", .peer = "ck_stack" },
	{ 0 },
};

const struct bench bench_list[] = {
	{ .name = "list-pair", .area = "list push+pop pair", .unit = "ns",
	  .max_ratio = 1.7, .variants = pairs },
	{ .name = "list-pair-threads", .area = "list push+pop pair, 64 threads", .unit = "ns",
	  .max_ratio = 1.3, .threads = 64, .scales = true, .variants = pairs },
	{ 0 },
};
