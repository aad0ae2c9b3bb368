/* SPDX-License-Identifier: MIT */
/*
 * Stacks in a long storm: 64 threads on the CPUs at hand, a quarter of which have no rseq, take
 * items and put them back, one by one and in batches, while others drain, steal and change
 * capacities. No item may be lost, or be had by two. In both modes in turn, and by rows of both
 * kinds.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/stack.h>

#include <time.h>

#define NR_THREADS	64
#define NR_ITEMS	512
#define NR_STACKS	4
#define CAPACITY	NR_ITEMS
#define LARGE_CAPACITY	10000
#define MAX_BATCH	24
#define TURNS_PER_ROUND	32

struct item {
	int stack;
	int owner;			/* not atomic, so that sections are most of the time */
	bool parked;			/* it did not fit in; the main thread tries again; atomic */
};

static struct rseq_stack *stacks[NR_STACKS];
static struct item items[NR_ITEMS];
static unsigned long nr_taken, nr_remote, nr_full;

static void own(struct item *item, int stack)
{
	if (item < items || item >= items + NR_ITEMS) {
		storm_mistake();
		return;
	}
	if (RSEQ_READ_ONCE(item->owner) || item->stack != stack)
		storm_mistake();
	RSEQ_WRITE_ONCE(item->owner, 1);
}

static void disown(struct item *item)
{
	if (RSEQ_READ_ONCE(item->owner) != 1)
		storm_mistake();
	RSEQ_WRITE_ONCE(item->owner, 0);
}

/* The item keeps its owner until it is in. */
static void park(struct item *item)
{
	RSEQ_WRITE_ONCE(item->owner, 1);
	__atomic_fetch_add(&nr_full, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&item->parked, true, __ATOMIC_RELEASE);
}

static void put_back(int stack, struct item *item)
{
	disown(item);
	if (!rseq_stack_push(stacks[stack], item))
		return;
	if (errno != ENOSPC)
		storm_mistake();
	park(item);
}

static unsigned long take_one(int stack)
{
	struct item *item = rseq_stack_pop(stacks[stack]);

	if (!item)
		return 0;
	own(item, stack);
	put_back(stack, item);
	return 1;
}

static unsigned long take_batch(int stack, size_t nr)
{
	void *taken[MAX_BATCH];
	size_t nr_pushed;

	nr = rseq_stack_pop_batch(stacks[stack], taken, nr);
	for (size_t i = 0; i < nr; i++)
		own(taken[i], stack);
	for (size_t i = 0; i < nr; i++)
		disown(taken[i]);
	nr_pushed = nr ? rseq_stack_push_batch(stacks[stack], taken, nr) : 0;
	for (size_t i = nr_pushed; i < nr; i++)
		park(taken[i]);
	return nr;
}

static void on_signal(void)
{
	take_one(0);
	take_batch(3, 5);
}

static unsigned long one_round(unsigned int round)
{
	unsigned long popped = 0;

	for (unsigned int i = 0; i < TURNS_PER_ROUND; i++) {
		popped += take_one((int)i % NR_STACKS);
		popped += take_batch((int)i % NR_STACKS, (round + i) % MAX_BATCH + 1);
	}
	if (round % 64 == 0)
		sched_yield();
	return popped;
}

static void put_parked(void)
{
	for (int i = 0; i < NR_ITEMS; i++) {
		if (!__atomic_load_n(&items[i].parked, __ATOMIC_ACQUIRE))
			continue;
		__atomic_store_n(&items[i].parked, false, __ATOMIC_RELAXED);
		put_back(items[i].stack, &items[i]);
	}
}

static void own_drained(void *item, void *stack)
{
	own(item, *(int *)stack);
	nr_taken++;
}

static void put_drained(void *item, void *stack)
{
	own_drained(item, stack);
	put_back(*(int *)stack, item);
}

static void steal(int stack, int cpu, size_t nr)
{
	void *taken[MAX_BATCH];

	nr = rseq_stack_steal(stacks[stack], cpu, taken, nr);
	for (size_t i = 0; i < nr; i++)
		own(taken[i], stack);
	for (size_t i = 0; i < nr; i++)
		put_back(stack, taken[i]);
	nr_taken += nr;
}

/* Mostly there is room for all, sometimes for few or none. */
static void change_capacity(int stack, int cpu, unsigned int turn)
{
	size_t capacity = turn % 8 ? CAPACITY : turn % 128;

	if (rseq_stack_set_capacity(stacks[stack], cpu, capacity))
		storm_mistake();
}

static void disturb(void)
{
	const struct timespec moment = { 0, 20000 };
	static unsigned int turn;
	struct support_cpus cpus;
	int stack = (int)turn % NR_STACKS, cpu;

	support_find_cpus(&cpus);
	cpu = cpus.cpu[(int)(turn / NR_STACKS % (unsigned int)cpus.nr)];
	if (turn / NR_STACKS % 8 == 0)
		rseq_stack_drain(stacks[stack], put_drained, &stack);
	else
		steal(stack, cpu, turn % MAX_BATCH + 1);
	change_capacity(stack, cpu, turn / NR_STACKS);
	put_parked();
	nr_remote++;
	turn++;
	nanosleep(&moment, NULL);
}

static void check(unsigned long turns)
{
	size_t nr = 0;

	(void)turns;
	for (int i = 0; i < NR_ITEMS; i++)
		nr += items[i].parked;
	for (int stack = 0; stack < NR_STACKS; stack++) {
		nr += rseq_stack_drain(stacks[stack], own_drained, &stack);
		for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
			if (rseq_stack_count(stacks[stack], cpu))
				storm_mistake();
		rseq_stack_destroy(stacks[stack]);
	}
	for (int i = 0; i < NR_ITEMS; i++)
		if (items[i].owner != 1)
			storm_mistake();
	if (nr == NR_ITEMS)
		return;
	printf("%zu items instead of %d\n", nr, NR_ITEMS);
	storm_mistake();
}

static void report(unsigned long nr_popped)
{
	unsigned long per = (unsigned long)storm_seconds();

	printf("per second: %lu items popped, %lu taken in %lu drains and steals, "
	       "%lu pushes without room\n", nr_popped / per, nr_taken / per, nr_remote / per,
	       nr_full / per);
}

static int set_up(void)
{
	const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };

	for (int stack = 0; stack < NR_STACKS; stack++) {
		stacks[stack] = rseq_stack_create_mode(stack < 2 ? CAPACITY : LARGE_CAPACITY,
						       modes[stack % 2]);
		if (!stacks[stack])
			return -1;
	}
	for (int i = 0; i < NR_ITEMS; i++) {
		items[i].stack = i % NR_STACKS;
		if (rseq_stack_push(stacks[i % NR_STACKS], &items[i]))
			return -1;
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
		.meanwhile = disturb,
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
