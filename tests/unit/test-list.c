/* SPDX-License-Identifier: MIT */
/*
 * Lists: order, chains, drains while others push and pop, threads with and without rseq, signal
 * handlers, fork, memory. In both modes.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/info.h>
#include <rseq/list.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define NR_NODES	1000
#define NR_THREADS	8
#define NR_TURNS	20000

static const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };

struct item {
	struct rseq_list_node node;
	unsigned long owned;		/* by whoever popped it; atomic */
};

static struct rseq_list *create(enum rseq_percpu_mode mode)
{
	struct rseq_list *list = rseq_list_create_mode(mode);

	assert_non_null(list);
	assert_true(rseq_list_empty(list));
	return list;
}

/* Registered or not, this thread does not come to another CPU's part meanwhile. */
static void stay(struct support_cpus *cpus)
{
	support_find_cpus(cpus);
	assert_int_equal(support_move(0, cpus->cpu[cpus->nr - 1]), 0);
}

static void test_arguments(void **state)
{
	struct rseq_list *list = rseq_list_create();

	(void)state;
	assert_non_null(list);
	errno = KEPT_ERRNO;
	rseq_list_destroy(NULL);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_true(rseq_list_empty(NULL));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_list_drain(NULL));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_list_drain_cpu(NULL, 0));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_list_drain_cpu(list, -1));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_list_drain_cpu(list, rseq_get_max_nr_cpus()));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_list_create_mode((enum rseq_percpu_mode)2));
	assert_int_equal(errno, EINVAL);
	errno = KEPT_ERRNO;
	assert_null(rseq_list_pop(list));
	assert_null(rseq_list_drain(list));
	assert_null(rseq_list_drain_cpu(list, 0));
	rseq_list_destroy(list);
	assert_int_equal(errno, KEPT_ERRNO);
}

/* Last in, first out, on one CPU. */
static void check_order(struct rseq_list *list)
{
	static struct rseq_list_node nodes[NR_NODES];
	struct support_cpus cpus;

	stay(&cpus);
	for (int i = 0; i < NR_NODES; i++) {
		rseq_list_push(list, &nodes[i]);
		assert_false(rseq_list_empty(list));
	}
	for (int i = NR_NODES - 1; i >= 0; i--)
		assert_ptr_equal(rseq_list_pop(list), &nodes[i]);
	assert_null(rseq_list_pop(list));
	assert_true(rseq_list_empty(list));
	assert_int_equal(support_release(&cpus), 0);
}

/* A chain goes in as it is, before what was there. */
static void check_chain(struct rseq_list *list)
{
	struct rseq_list_node nodes[4] = { { &nodes[1] }, { &nodes[2] }, { NULL }, { NULL } };
	struct rseq_list_node *drained;
	struct support_cpus cpus;

	stay(&cpus);
	rseq_list_push(list, &nodes[3]);
	rseq_list_push_chain(list, &nodes[0], &nodes[2]);
	drained = rseq_list_drain(list);
	for (int i = 0; i < 4; i++, drained = drained->next)
		assert_ptr_equal(drained, &nodes[i]);
	assert_null(drained);
	assert_true(rseq_list_empty(list));

	/* The row is open again for this CPU. */
	rseq_list_push(list, &nodes[0]);
	rseq_list_push(list, &nodes[1]);
	assert_ptr_equal(rseq_list_pop(list), &nodes[1]);
	assert_ptr_equal(rseq_list_pop(list), &nodes[0]);
	assert_null(rseq_list_pop(list));
	assert_int_equal(support_release(&cpus), 0);
}

/* Nodes of every CPU; each comes back once, each CPU's newest first. */
static void check_drain(struct rseq_list *list, bool by_cpu)
{
	static struct item items[NR_NODES];
	int nr = 0, per_cpu;
	struct support_cpus cpus;
	struct rseq_list_node *node;

	support_find_cpus(&cpus);
	per_cpu = NR_NODES / cpus.nr < 10 ? NR_NODES / cpus.nr : 10;
	for (int c = 0; c < cpus.nr && nr + per_cpu <= NR_NODES; c++) {
		support_move(0, cpus.cpu[c]);
		for (int i = 0; i < per_cpu; i++)
			rseq_list_push(list, &items[nr++].node);
	}
	if (by_cpu) {
		node = rseq_list_drain_cpu(list, cpus.cpu[0]);
		for (int i = per_cpu - 1; i >= 0; i--, node = node->next)
			assert_ptr_equal(node, &items[i].node);
		assert_null(node);
		assert_null(rseq_list_drain_cpu(list, cpus.cpu[0]));
		for (int i = 0; i < per_cpu; i++)
			items[i].owned++;
	}
	for (node = rseq_list_drain(list); node; node = node->next)
		((struct item *)node)->owned++;
	for (int i = 0; i < nr; i++) {
		assert_int_equal(items[i].owned, 1);
		items[i].owned = 0;
	}
	assert_true(rseq_list_empty(list));
	assert_int_equal(support_release(&cpus), 0);
}

static void check_alone(enum rseq_percpu_mode mode)
{
	struct rseq_list *list = create(mode);

	errno = KEPT_ERRNO;
	for (int round = 0; round < 3; round++) {
		check_order(list);
		check_chain(list);
		check_drain(list, mode == RSEQ_PERCPU_CPU_ID);
	}
	assert_int_equal(errno, KEPT_ERRNO);
	rseq_list_destroy(list);
}

static void test_alone(void **state)
{
	(void)state;
	for (int m = 0; m < 2; m++) {
		rseq_register_current_thread();
		check_alone(modes[m]);
		rseq_unregister_current_thread();
	}
}

static void *check_alone_without(void *argument)
{
	support_go_without_rseq();
	check_alone(*(enum rseq_percpu_mode *)argument);
	return NULL;
}

static void in_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_without_rseq(void **state)
{
	enum rseq_percpu_mode copies[] = { modes[0], modes[1] };

	(void)state;
	for (int m = 0; m < 2; m++)
		in_thread(check_alone_without, &copies[m]);
}

/* What a thread with rseq has pushed, one without finds, and the other way round. */
static struct rseq_list *shared;
static struct item shared_items[4];

static void *take_without(void *argument)
{
	(void)argument;
	support_go_without_rseq();
	assert_ptr_equal(rseq_list_pop(shared), &shared_items[1].node);
	assert_ptr_equal(rseq_list_pop(shared), &shared_items[0].node);
	assert_null(rseq_list_pop(shared));
	rseq_list_push(shared, &shared_items[2].node);
	rseq_list_push(shared, &shared_items[3].node);
	return NULL;
}

static void test_each_others(void **state)
{
	struct support_cpus cpus;

	(void)state;
	stay(&cpus);
	rseq_register_current_thread();
	for (int m = 0; m < 2; m++) {
		shared = create(modes[m]);
		rseq_list_push(shared, &shared_items[0].node);
		rseq_list_push(shared, &shared_items[1].node);
		in_thread(take_without, NULL);
		assert_ptr_equal(rseq_list_pop(shared), &shared_items[3].node);
		assert_ptr_equal(rseq_list_pop(shared), &shared_items[2].node);
		assert_null(rseq_list_pop(shared));
		rseq_list_destroy(shared);
	}
	rseq_unregister_current_thread();
	assert_int_equal(support_release(&cpus), 0);
}

/*
 * Threads hold nodes, push them, pop others. Whoever gets a node owns it alone. The main thread
 * drains meanwhile and pushes what it got as a chain.
 */
static struct item pool[NR_THREADS * 4];
static unsigned long mistakes, running;

static void own(struct rseq_list_node *node)
{
	struct item *item = (struct item *)node;

	if (__atomic_fetch_add(&item->owned, 1, __ATOMIC_ACQ_REL))
		__atomic_fetch_add(&mistakes, 1, __ATOMIC_RELAXED);
}

static void disown(struct rseq_list_node *node)
{
	struct item *item = (struct item *)node;

	if (__atomic_fetch_sub(&item->owned, 1, __ATOMIC_ACQ_REL) != 1)
		__atomic_fetch_add(&mistakes, 1, __ATOMIC_RELAXED);
}

static void *push_and_pop(void *argument)
{
	const int nr_turns = support_rounds(NR_TURNS);
	int index = *(int *)argument;
	struct rseq_list_node *node;

	if (index % 4 == 3)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	for (int i = 0; i < nr_turns; i++) {
		node = rseq_list_pop(shared);
		if (!node)
			continue;
		own(node);
		if (i % 64 == 0)
			sched_yield();
		disown(node);
		rseq_list_push(shared, node);
	}
	__atomic_fetch_sub(&running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void drain_and_push(void)
{
	struct rseq_list_node *first = rseq_list_drain(shared), *last = NULL;

	for (struct rseq_list_node *node = first; node; node = node->next) {
		own(node);
		last = node;
	}
	for (struct rseq_list_node *node = first; node; node = node->next)
		disown(node);
	if (first)
		rseq_list_push_chain(shared, first, last);
	sched_yield();
}

static void run_threads(enum rseq_percpu_mode mode)
{
	const int nr = sizeof(pool) / sizeof(pool[0]);
	pthread_t threads[NR_THREADS];
	int indices[NR_THREADS], found = 0;

	shared = create(mode);
	mistakes = 0;
	running = NR_THREADS;
	for (int i = 0; i < nr; i++)
		rseq_list_push(shared, &pool[i].node);
	for (int i = 0; i < NR_THREADS; i++) {
		indices[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, push_and_pop, &indices[i]), 0);
	}
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE))
		drain_and_push();
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (struct rseq_list_node *node = rseq_list_drain(shared); node; node = node->next) {
		own(node);
		found++;
	}
	assert_int_equal(mistakes, 0);
	assert_int_equal(found, nr);
	for (int i = 0; i < nr; i++)
		disown(&pool[i].node);
	rseq_list_destroy(shared);
}

static void test_threads(void **state)
{
	(void)state;
	for (int m = 0; m < 2; m++)
		run_threads(modes[m]);
}

static struct item handler_item;
static volatile int nr_handled;

static void push_and_pop_in_handler(int signal)
{
	struct rseq_list_node *node;

	(void)signal;
	rseq_list_push(shared, &handler_item.node);
	node = rseq_list_pop(shared);
	if (node == &handler_item.node)
		nr_handled++;
}

static void *handle_signals(void *argument)
{
	struct sigaction action = { .sa_handler = push_and_pop_in_handler }, before;
	struct support_cpus cpus;
	struct item item = { .owned = 0 };

	stay(&cpus);
	if (argument)
		support_go_without_rseq();
	shared = create(RSEQ_PERCPU_CPU_ID);
	nr_handled = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	for (int i = 0; i < 100; i++) {
		rseq_list_push(shared, &item.node);
		assert_int_equal(raise(SIGUSR1), 0);
		assert_ptr_equal(rseq_list_pop(shared), &item.node);
	}
	assert_int_equal(nr_handled, 100);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	rseq_list_destroy(shared);
	return NULL;
}

static void test_signal_handler(void **state)
{
	(void)state;
	in_thread(handle_signals, NULL);
	in_thread(handle_signals, shared_items);
}

static int use_in_child(void)
{
	struct rseq_list_node *node = rseq_list_drain(shared);
	int nr = 0;

	for (; node; node = node->next)
		nr++;
	if (nr != 4 || !rseq_list_empty(shared))
		return 1;
	rseq_list_push(shared, &shared_items[0].node);
	if (rseq_list_pop(shared) != &shared_items[0].node)
		return 2;
	rseq_list_destroy(shared);
	return 0;
}

/* A child has a list of its own, with the same nodes. */
static void test_fork(void **state)
{
	struct support_cpus cpus;
	int status = 0;
	pid_t child;

	(void)state;
	stay(&cpus);
	shared = create(RSEQ_PERCPU_CPU_ID);
	for (int i = 0; i < 4; i++)
		rseq_list_push(shared, &shared_items[i].node);
	child = fork();
	if (!child)
		_exit(use_in_child());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (int i = 3; i >= 0; i--)
		assert_ptr_equal(rseq_list_pop(shared), &shared_items[i].node);
	rseq_list_destroy(shared);
	assert_int_equal(support_release(&cpus), 0);
}

/* Sections do most of the work, where there is rseq: slow ways would hide that they do not. */
static void test_try(void **state)
{
	struct rseq_list *list = create(RSEQ_PERCPU_CPU_ID);
	struct rseq_list_node nodes[2], *popped;
	struct support_cpus cpus;
	int nr = 0;

	(void)state;
	stay(&cpus);
	rseq_register_current_thread();
	for (int i = 0; i < 1000; i++) {
		bool pushed = rseq_list_try_push(list, &nodes[0], &nodes[0]);

		popped = rseq_list_try_pop(list);
		if (popped == &nodes[0])
			nr++;
		if (!pushed || popped)
			continue;
		/* The pop was aborted. No try opens the row again that this closes. */
		assert_ptr_equal(rseq_list_drain(list), &nodes[0]);
		rseq_list_push(list, &nodes[0]);
		assert_ptr_equal(rseq_list_pop(list), &nodes[0]);
	}
	if (rseq_thread_registered())
		assert_true(nr > 500);
	else
		assert_int_equal(nr, 0);
	rseq_unregister_current_thread();
	rseq_list_destroy(list);
	assert_int_equal(support_release(&cpus), 0);
}

static int run_group(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_without_rseq),
		cmocka_unit_test(test_each_others),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_signal_handler),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_try),
	};

	return cmocka_run_group_tests(list, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
