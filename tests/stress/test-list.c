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
#include <rseq/info.h>
#include <rseq/list.h>

#include <time.h>

#define NR_THREADS	64
#define MAX_CPUS	2
#define NR_ITEMS	256
#define NR_LISTS	2
#define MAX_SECONDS	86400
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

static void go_without_rseq(void)
{
	void *area = rseq_get_abi();
	unsigned int length = support_registered_length(area);

	if (length)
		support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	if (!rseq_register_current_thread())
		rseq_unregister_current_thread();
}

static void *work(void *argument)
{
	const struct timespec moment = { 0, 2000000 };
	unsigned int index = *(unsigned int *)argument;
	unsigned long popped = 0;

	if (index % 4 == 3)
		go_without_rseq();
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

static void drain_until(const struct timespec *end)
{
	const struct timespec moment = { 0, 20000 };
	struct support_cpus cpus;
	struct timespec now;
	unsigned int turn = 0;

	support_find_cpus(&cpus);
	do {
		drain_and_push((int)turn % NR_LISTS, -1);
		drain_and_push(0, cpus.cpu[(int)(turn++ % (unsigned int)cpus.nr)]);
		nanosleep(&moment, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end->tv_sec ||
		 (now.tv_sec == end->tv_sec && now.tv_nsec < end->tv_nsec));
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

static void report(long seconds)
{
	struct rseq_info info = { .size = sizeof(info) };
	unsigned long per = (unsigned long)seconds;

	rseq_get_info(&info);
	printf("%ld s; per second: %lu nodes popped, %lu drained in %lu drains, %lu migrations, "
	       "%lu signals, %lu wake-ups, %lu fences\n", seconds, nr_popped / per,
	       nr_drained / per, nr_fenced / per, storm_count(storm, STORM_MIGRATE) / per,
	       storm_count(storm, STORM_SIGNAL) / per, storm_count(storm, STORM_WAKE) / per,
	       storm_count(storm, STORM_FENCE) / per);
	printf("aborts: %ju a second\n", (uintmax_t)info.aborts / (uintmax_t)seconds);
	if (!info.aborts)
		printf("no section was aborted: %s\n", rseq_reason_string(info.reason));
}

static long duration(void)
{
	const char *text = getenv("STRESS_SECONDS");
	long seconds = text ? atol(text) : 3;

	return seconds < 1 ? 1 : seconds > MAX_SECONDS ? MAX_SECONDS : seconds;
}

static int set_up(void)
{
	const enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	if (cpus.nr > MAX_CPUS)
		cpus.nr = MAX_CPUS;
	support_release(&cpus);
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

/* A broken list may lead in circles, in which the library itself goes round for ever. */
static int run(void)
{
	static unsigned int indices[NR_THREADS];
	pthread_t threads[NR_THREADS];
	struct timespec end;
	int nr_threads = 0;

	if (set_up())
		return 1;
	alarm((unsigned int)duration() + 600);
	for (unsigned int i = 0; i < NR_THREADS; i++) {
		indices[i] = i;
		if (!pthread_create(&threads[nr_threads], NULL, work, &indices[i]))
			nr_threads++;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += duration();
	drain_until(&end);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	while (nr_threads)
		pthread_join(threads[--nr_threads], NULL);
	report(duration());
	storm_stop(storm);
	return check();
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
