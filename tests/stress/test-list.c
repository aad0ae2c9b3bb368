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
static struct storm *storm;
static bool stop;
static unsigned long nr_mistakes, nr_popped, nr_drained, nr_fenced;

static void mistake(void)
{
	__atomic_fetch_add(&nr_mistakes, 1, __ATOMIC_RELAXED);
}

static void own(struct rseq_list_node *node, int list)
{
	struct item *item = (struct item *)node;

	if (RSEQ_READ_ONCE(item->owner) || item->list != list)
		mistake();
	RSEQ_WRITE_ONCE(item->owner, 1);
}

static void disown(struct rseq_list_node *node)
{
	struct item *item = (struct item *)node;

	if (RSEQ_READ_ONCE(item->owner) != 1)
		mistake();
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

static void *work(void *argument)
{
	const struct timespec moment = { 0, 2000000 };
	unsigned int index = *(unsigned int *)argument;
	unsigned long popped = 0;

	if (index % 4 == 3)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	storm_enter(storm, index);
	for (unsigned int round = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); round++) {
		for (int i = 0; i < TURNS_PER_ROUND; i++)
			popped += take_and_put_back(i % NR_LISTS);
		if (round % 64 == 0)
			sched_yield();
		if (!rseq_thread_registered())
			nanosleep(&moment, NULL);
	}
	storm_leave(storm, index);
	__atomic_fetch_add(&nr_popped, popped, __ATOMIC_RELAXED);
	return NULL;
}

/* A list that leads in circles must not keep the test from its end. */
static int own_all(struct rseq_list_node *node, int list)
{
	int nr = 0;

	for (; node && nr <= NR_ITEMS; node = node->next, nr++)
		own(node, list);
	if (nr > NR_ITEMS)
		mistake();
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

static int check(void)
{
	int nr = 0;

	for (int list = 0; list < NR_LISTS; list++) {
		nr += own_all(rseq_list_drain(lists[list]), list);
		if (!rseq_list_empty(lists[list]))
			mistake();
	}
	if (nr != NR_ITEMS)
		printf("%d nodes instead of %d\n", nr, NR_ITEMS);
	if (nr_mistakes)
		printf("%lu mistakes\n", nr_mistakes);
	return nr != NR_ITEMS || nr_mistakes;
}

static void report(void)
{
	unsigned long per = (unsigned long)storm_seconds();

	printf("per second: %lu nodes popped, %lu drained in %lu drains\n", nr_popped / per,
	       nr_drained / per, nr_fenced / per);
	storm_report(storm);
}

static int set_up(void)
{
	const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };

	storm_keep_to_few_cpus();
	for (int list = 0; list < NR_LISTS; list++) {
		lists[list] = rseq_list_create_mode(modes[list]);
		if (!lists[list])
			return -1;
	}
	for (int i = 0; i < NR_ITEMS; i++) {
		items[i].list = i % NR_LISTS;
		rseq_list_push(lists[i % NR_LISTS], &items[i].node);
	}
	storm = storm_start(STORM_ALL, NR_THREADS, on_signal);
	return storm ? 0 : -1;
}

static int run(void)
{
	if (set_up())
		return 1;
	storm_run(NR_THREADS, work, drain, &stop);
	report();
	storm_stop(storm);
	return check();
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
