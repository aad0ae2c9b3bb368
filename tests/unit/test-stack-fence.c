/* SPDX-License-Identifier: MIT */
/*
 * Stacks where a filter refuses membarrier(): items are taken from other CPUs by visiting these;
 * and where it refuses that, too, they stay where they are, and no operation of their own CPU
 * fails.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/stack.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "child.h"

#define KEPT_ERRNO	4321
#define NR_ITEMS	10

static struct rseq_stack *stack;
static char things[NR_ITEMS];
static int part;

/* Items of this CPU, whose part has the number part. */
static int push_items(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	part = cpus.cpu[0];
	stack = rseq_stack_create(NR_ITEMS);
	if (!stack || support_move(0, part))
		return -1;
	rseq_register_current_thread();
	for (int i = 0; i < NR_ITEMS; i++)
		if (rseq_stack_push(stack, &things[i]))
			return -1;
	return 0;
}

static int pop_items(int nr)
{
	while (nr--)
		if (rseq_stack_pop(stack) != &things[nr])
			return -1;
	return rseq_stack_pop(stack) ? -1 : 0;
}

static void count_item(void *item, void *arg)
{
	(void)item;
	++*(int *)arg;
}

static int visited(void)
{
	void *taken[4];
	int nr = 0;

	if (refuse(__NR_membarrier, EPERM))
		return NO_FILTER;
	if (push_items() || rseq_stack_steal(stack, part, taken, 4) != 4 ||
	    taken[0] != &things[NR_ITEMS - 4])
		return 1;
	if (rseq_stack_push_batch(stack, taken, 4) != 4 || pop_items(NR_ITEMS))
		return 2;
	if (push_items() || rseq_stack_drain(stack, count_item, &nr) != NR_ITEMS || nr != NR_ITEMS)
		return 3;
	return pop_items(0) ? 4 : 0;
}

/* One without rseq finds none, and says so as if there were none. */
static void *pop_without(void *argument)
{
	support_go_without_rseq();
	errno = KEPT_ERRNO;
	if (rseq_stack_pop(stack) || errno != KEPT_ERRNO)
		return argument;
	return NULL;
}

static int fail_to_take(void)
{
	pthread_t thread;
	void *taken[4], *failed;
	int nr = 0;

	errno = 0;
	if (rseq_stack_steal(stack, part, taken, 4) || errno != ENOSYS)
		return -1;
	errno = 0;
	if (rseq_stack_drain(stack, count_item, &nr) || errno != ENOSYS || nr)
		return -1;
	if (pthread_create(&thread, NULL, pop_without, &nr) || pthread_join(thread, &failed))
		return -1;
	return failed || rseq_stack_count(stack, part) != NR_ITEMS ? -1 : 0;
}

/* Without rseq there is nothing to wait for. */
static int unreachable(void)
{
	if (push_items())
		return 1;
	if (!rseq_thread_registered())
		return pop_items(NR_ITEMS) ? 2 : 0;
	if (refuse(__NR_membarrier, EPERM) || refuse(__NR_sched_setaffinity, EPERM))
		return NO_FILTER;
	if (fail_to_take())
		return 3;
	/* The part is this CPU's again, full as it was. */
	errno = 0;
	if (rseq_stack_push(stack, &things[0]) != -1 || errno != ENOSPC || pop_items(NR_ITEMS))
		return 4;
	return rseq_stack_push(stack, &things[0]) || pop_items(1) ? 5 : 0;
}

static void test_visit(void **state)
{
	(void)state;
	expect_success(visited);
}

static void test_no_way(void **state)
{
	(void)state;
	expect_success(unreachable);
}

static int run_group(void)
{
	const struct CMUnitTest fence[] = {
		cmocka_unit_test(test_visit),
		cmocka_unit_test(test_no_way),
	};

	return cmocka_run_group_tests(fence, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
