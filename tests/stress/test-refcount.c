/* SPDX-License-Identifier: MIT */
/*
 * Reference counts in a long storm: 64 threads on the CPUs at hand, a quarter of which have no
 * rseq, take and give back references to objects that others kill all the time. Each object is
 * released once, and not while anyone has a reference.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/refcount.h>

#include <time.h>

#define NR_THREADS	64
#define MAX_OBJECTS	20000
#define TURNS_PER_ROUND	64

/* They stay until all threads are over, as no RCU tells when nobody tries any more. */
struct object {
	struct rseq_refcount *ref;
	unsigned int released;		/* atomic */
};

static struct object objects[MAX_OBJECTS];
static unsigned int current;		/* the one that is alive; atomic */
static unsigned long nr_late;		/* atomic */

static void release(void *arg)
{
	struct object *object = arg;

	if (__atomic_fetch_add(&object->released, 1, __ATOMIC_RELAXED))
		storm_mistake();
}

static void expect_alive(const struct object *object)
{
	if (__atomic_load_n(&object->released, __ATOMIC_RELAXED))
		storm_mistake();
}

static unsigned long have_a_turn(bool yield)
{
	struct object *object = &objects[__atomic_load_n(&current, __ATOMIC_ACQUIRE)];

	if (!rseq_refcount_tryget(object->ref))
		return 0;
	rseq_refcount_get(object->ref);
	expect_alive(object);
	rseq_refcount_put(object->ref);
	if (yield)
		sched_yield();
	expect_alive(object);
	rseq_refcount_put(object->ref);
	return 1;
}

static void on_signal(void)
{
	have_a_turn(false);
}

static unsigned long one_round(unsigned int round)
{
	unsigned long turns = 0;

	for (int i = 0; i < TURNS_PER_ROUND; i++)
		turns += have_a_turn(round % 16 == 0 && i == 7);
	if (turns < TURNS_PER_ROUND)
		__atomic_fetch_add(&nr_late, TURNS_PER_ROUND - turns, __ATOMIC_RELAXED);
	return turns;
}

static bool make(unsigned int index)
{
	enum rseq_percpu_mode mode = index / 2 % 2 ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;

	objects[index].ref = rseq_refcount_create_mode(release, &objects[index], mode);
	return objects[index].ref;
}

/* Every other object is killed before the next one is there, so that tries come too late. */
static void kill_next(void)
{
	const struct timespec moment = { 0, 200000 };
	unsigned int next = current + 1;

	if (next < MAX_OBJECTS && make(next)) {
		if (next % 2 && rseq_refcount_kill(objects[next - 1].ref))
			storm_mistake();
		__atomic_store_n(&current, next, __ATOMIC_RELEASE);
		if (next % 2 == 0 && rseq_refcount_kill(objects[next - 1].ref))
			storm_mistake();
	}
	nanosleep(&moment, NULL);
}

static void check(unsigned long turns)
{
	(void)turns;
	if (rseq_refcount_kill(objects[current].ref))
		storm_mistake();
	for (unsigned int i = 0; i <= current; i++) {
		if (objects[i].released != 1) {
			printf("object %u: released %u times\n", i, objects[i].released);
			storm_mistake();
		}
		rseq_refcount_destroy(objects[i].ref);
	}
}

static void report(unsigned long nr_turns)
{
	unsigned long per = (unsigned long)storm_seconds();

	printf("per second: %lu turns, %lu too late, %lu kills\n", nr_turns / per, nr_late / per,
	       current / per);
}

static int set_up(void)
{
	return make(0) ? 0 : -1;
}

static int run(void)
{
	const struct storm_test test = {
		.nr_threads = NR_THREADS,
		.set_up = set_up,
		.round = one_round,
		.on_signal = on_signal,
		.meanwhile = kill_next,
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
