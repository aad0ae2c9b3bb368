/* SPDX-License-Identifier: MIT */
/*
 * bench-fence.c: fences, while a thread of this process is at work in critical sections on each
 * other CPU; and other ways to make sure that all CPUs have passed a barrier, or that no reader is
 * still under way. Time is that of the clock: who calls them waits.
 */
#define _GNU_SOURCE		/* CPU_SET() */

#include "bench.h"

#include <rseq/counter.h>
#include <rseq/fence.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In a round a variant is called so often, but for no longer than that unless one call is. */
#define NR_CALLS	64
#define ENOUGH		2e6		/* ns */

/* include/uapi/linux/membarrier.h, since 4.14 and 4.16 */
enum {
	GLOBAL = 1, GLOBAL_EXPEDITED = 2, REGISTER_GLOBAL_EXPEDITED = 4, PRIVATE_EXPEDITED = 8,
	REGISTER_PRIVATE_EXPEDITED = 16,
};

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

struct worker {
	unsigned long turns;		/* atomic: moves while it runs */
	pthread_t thread;
} __attribute__((aligned(BENCH_LINE)));

/* The threads that are fenced, for all variants of a benchmark together. */
static struct {
	unsigned int users, nr;
	bool stop;			/* atomic */
	cpu_set_t allowed;
	int last, own;			/* CPUs: of the last worker, and the caller's */
	struct rseq_counter *counter;
	struct worker workers[CPU_SETSIZE];
} crew;

static void *work(void *argument)
{
	struct worker *worker = argument;

	rseq_register_current_thread();
	while (!__atomic_load_n(&crew.stop, __ATOMIC_RELAXED)) {
		BENCH_REPEAT(64, rseq_counter_inc(crew.counter);)
		__atomic_store_n(&worker->turns, worker->turns + 1, __ATOMIC_RELAXED);
	}
	rseq_unregister_current_thread();
	return NULL;
}

/* On a machine that has other work they may not run at once, and a fence is nothing then. */
static void see_all_at_work(void)
{
	for (unsigned int i = 0; i < crew.nr; i++) {
		struct worker *worker = &crew.workers[i];
		unsigned long before = __atomic_load_n(&worker->turns, __ATOMIC_RELAXED);

		while (__atomic_load_n(&worker->turns, __ATOMIC_RELAXED) == before)
			rseq_barrier();
	}
}

static int visit(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void start_thread(int cpu)
{
	pthread_attr_t attr;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (!pthread_create(&crew.workers[crew.nr].thread, &attr, work, &crew.workers[crew.nr])) {
		crew.last = cpu;
		crew.nr++;
	}
	pthread_attr_destroy(&attr);
}

static void stop_threads(void)
{
	__atomic_store_n(&crew.stop, true, __ATOMIC_RELAXED);
	while (crew.nr)
		pthread_join(crew.workers[--crew.nr].thread, NULL);
	sched_setaffinity(0, sizeof(crew.allowed), &crew.allowed);
	rseq_counter_destroy(crew.counter);
}

static int start_threads(void)
{
	if (sched_getaffinity(0, sizeof(crew.allowed), &crew.allowed))
		return -1;
	crew.counter = rseq_counter_create();
	if (!crew.counter)
		return -1;
	crew.own = sched_getcpu();
	crew.stop = false;
	if (crew.own >= 0 && !visit(crew.own))
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET((size_t)cpu, &crew.allowed) && cpu != crew.own)
				start_thread(cpu);
	if (crew.nr)
		return 0;
	stop_threads();
	return -1;
}

static int join_crew(struct bench_run *run)
{
	if (!crew.users && start_threads()) {
		run->missing = "no other CPU to fence";
		return -1;
	}
	crew.users++;
	return 0;
}

static void leave_crew(struct bench_run *run)
{
	(void)run;
	if (!--crew.users)
		stop_threads();
}

/* us of the clock for a call, the median of some; negative if one failed. */
static double time_calls(struct bench_run *run, int (*call)(struct bench_run *run))
{
	double begin = bench_now(), end = begin, values[NR_CALLS];
	unsigned int nr;

	for (nr = 0; nr < NR_CALLS && end - begin < ENOUGH; nr++) {
		double start;

		see_all_at_work();
		start = bench_now();
		if (call(run))
			return -1;
		end = bench_now();
		values[nr] = (end - start) / 1000;
	}
	return bench_median(values, nr);
}

#define MEASURE(name)								\
	static double measure_##name(struct bench_run *run)			\
	{									\
		return time_calls(run, name);					\
	}

static int fence_cpu(struct bench_run *run)
{
	(void)run;
	return rseq_fence_cpu(crew.last);
}
MEASURE(fence_cpu)

static int fence_all(struct bench_run *run)
{
	(void)run;
	return rseq_fence_all();
}
MEASURE(fence_all)

static int setup_private(struct bench_run *run)
{
	if (!membarrier(REGISTER_PRIVATE_EXPEDITED))
		return join_crew(run);
	run->missing = "this kernel has no such membarrier()";
	return -1;
}

static int private_expedited(struct bench_run *run)
{
	(void)run;
	return membarrier(PRIVATE_EXPEDITED);
}
MEASURE(private_expedited)

static int setup_global_expedited(struct bench_run *run)
{
	if (!membarrier(REGISTER_GLOBAL_EXPEDITED))
		return join_crew(run);
	run->missing = "this kernel has no such membarrier()";
	return -1;
}

static int global_expedited(struct bench_run *run)
{
	(void)run;
	return membarrier(GLOBAL_EXPEDITED);
}
MEASURE(global_expedited)

static int setup_global(struct bench_run *run)
{
	if (!membarrier(GLOBAL))
		return join_crew(run);
	run->missing = "this kernel has no such membarrier()";
	return -1;
}

static int global(struct bench_run *run)
{
	(void)run;
	return membarrier(GLOBAL);
}
MEASURE(global)

/* There and back: who comes to a CPU preempts who was running there. */
static int visit_cpu(struct bench_run *run)
{
	(void)run;
	return visit(crew.last) || visit(crew.own);
}
MEASURE(visit_cpu)

static int visit_all(struct bench_run *run)
{
	(void)run;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &crew.allowed) && cpu != crew.own && visit(cpu))
			return -1;
	return visit(crew.own);
}
MEASURE(visit_all)

/* In a thread that is registered meanwhile, which is no part of it that counts. */
static int synchronize(struct bench_run *run)
{
	bench_peer_loop(run, 1);
	return 0;
}
MEASURE(synchronize)

#define FENCE(variant, set_up, way)						\
	{									\
		.name = variant, .setup = set_up, .teardown = leave_crew,	\
		.measure = measure_##way,					\
	}

#define MEMBARRIERS								\
	FENCE("membarrier PRIVATE_EXPEDITED", setup_private, private_expedited),	\
	FENCE("membarrier GLOBAL_EXPEDITED", setup_global_expedited, global_expedited)

static const struct bench_variant one[] = {
	FENCE("rseq_fence_cpu", join_crew, fence_cpu),
	MEMBARRIERS,
	FENCE("visit there and back, sched_setaffinity", join_crew, visit_cpu),
	{ 0 },
};

static const struct bench_variant all[] = {
	FENCE("rseq_fence_all", join_crew, fence_all),
	MEMBARRIERS,
	FENCE("membarrier GLOBAL", setup_global, global),
	FENCE("visit to each CPU, sched_setaffinity", join_crew, visit_all),
	{ .name = "liburcu-memb synchronize_rcu, no reader under way", .peer = "urcu_synchronize",
	  .setup = join_crew, .teardown = leave_crew, .measure = measure_synchronize },
	{ 0 },
};

const struct bench bench_fence[] = {
	{ .name = "fence-cpu", .area = "fence of a busy CPU", .unit = "us", .unbound = true,
	  .variants = one },
	{ .name = "fence-all", .area = "fence of all CPUs, the others busy", .unit = "us",
	  .unbound = true, .variants = all },
	{ 0 },
};
