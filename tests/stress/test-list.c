/* SPDX-License-Identifier: MIT */
/*
 * Lists in a long storm: 64 threads on the CPUs at hand, a quarter of which have no rseq, take
 * nodes and put them back, while others drain. No node may be lost, or be had by two. In both modes
 * in turn.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/fence.h>
#include <rseq/list.h>

#include <time.h>

#define NR_THREADS	64
#define NR_ITEMS	256
#define NR_LISTS	2
#define TURNS_PER_ROUND	64

struct item {
	struct rseq_list_node node;
	int list;
	int owner;			/* not atomic, so that sections are most of the time */
};

static struct rseq_list *lists[NR_LISTS];
static struct item items[NR_ITEMS];
static unsigned long nr_drained, nr_fenced;

static void own(struct rseq_list_node *node, int list)
{
	struct item *item = (struct item *)node;

	if (RSEQ_READ_ONCE(item->owner) || item->list != list)
		storm_mistake();
	RSEQ_WRITE_ONCE(item->owner, 1);
}

static void disown(struct rseq_list_node *node)
{
	struct item *item = (struct item *)node;

	if (RSEQ_READ_ONCE(item->owner) != 1)
		storm_mistake();
	RSEQ_WRITE_ONCE(item->owner, 0);
}

static unsigned long take_and_put_back(int list)
{
	struct rseq_list_node *node = rseq_list_pop(lists[list]);

	if (!node)
		return 0;
	own(node, list);
	disown(node);
	rseq_list_push(lists[list], node);
	return 1;
}

static void on_signal(void)
{
	take_and_put_back(0);
}

static unsigned long one_round(unsigned int round)
{
	unsigned long popped = 0;

	for (int i = 0; i < TURNS_PER_ROUND; i++)
		popped += take_and_put_back(i % NR_LISTS);
	if (round % 64 == 0)
		sched_yield();
	return popped;
}

/* A list that leads in circles must not keep the test from its end. */
static int own_all(struct rseq_list_node *node, int list)
{
	int nr = 0;

	for (; node && nr <= NR_ITEMS; node = node->next, nr++)
		own(node, list);
	if (nr > NR_ITEMS)
		storm_mistake();
	return nr;
}

static void drain_and_push(int list, int cpu)
{
	struct rseq_list_node *node, *next;
	int nr;

	node = cpu < 0 ? rseq_list_drain(lists[list]) : rseq_list_drain_cpu(lists[list], cpu);
	nr = own_all(node, list);
	nr_drained += (unsigned int)nr;
	nr_fenced++;
	for (; node && nr--; node = next) {
		next = node->next;
		disown(node);
		rseq_list_push(lists[list], node);
	}
}

static void drain(void)
{
	const struct timespec moment = { 0, 20000 };
	static unsigned int turn;
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	drain_and_push((int)turn % NR_LISTS, -1);
	drain_and_push(0, cpus.cpu[(int)(turn++ % (unsigned int)cpus.nr)]);
	nanosleep(&moment, NULL);
}

static void check(unsigned long turns)
{
	int nr = 0;

	(void)turns;
	for (int list = 0; list < NR_LISTS; list++) {
		nr += own_all(rseq_list_drain(lists[list]), list);
		if (!rseq_list_empty(lists[list]))
			storm_mistake();
	}
	if (nr == NR_ITEMS)
		return;
	printf("%d nodes instead of %d\n", nr, NR_ITEMS);
	storm_mistake();
}

static void report(unsigned long nr_popped)
{
	unsigned long per = (unsigned long)storm_seconds();

	printf("per second: %lu nodes popped, %lu drained in %lu drains\n", nr_popped / per,
	       nr_drained / per, nr_fenced / per);
}

static int set_up(void)
{
	const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };

	for (int list = 0; list < NR_LISTS; list++) {
		lists[list] = rseq_list_create_mode(modes[list]);
		if (!lists[list])
			return -1;
	}
	for (int i = 0; i < NR_ITEMS; i++) {
		items[i].list = i % NR_LISTS;
		rseq_list_push(lists[i % NR_LISTS], &items[i].node);
	}
	return 0;
}

static int run(void)
{
	const struct storm_test test = {
		.nr_threads = NR_THREADS,
		.set_up = set_up,
		.round = one_round,
		.on_signal = on_signal,
		.meanwhile = drain,
		.report = report,
		.check = check,
	};

	return storm_test(&test);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
