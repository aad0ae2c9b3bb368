/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU spinlocks: 64 threads on few CPUs take the lock of the CPU they are on, which they may
 * leave while they hold it, and count under it without atomics.
 */
#include "check.h"

#define NR_TURNS	400

struct lock_of_cpu {
	intptr_t held;
	intptr_t count;
} __attribute__((aligned(128)));

static struct lock_of_cpu *locks;
static enum rseq_percpu_mode mode;

static int lock_this_cpu(void)
{
	int cpu, result;

	for (;;) {
		cpu = start_cpu(mode);
		if (mode == RSEQ_PERCPU_MM_CID)
			result = rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID,
							   &locks[cpu].held, 0, 1, cpu);
		else
			result = rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
							   &locks[cpu].held, 0, 1, cpu);
		if (rseq_likely(!result))
			break;
		/* Somebody holds it who does not run. */
		if (result > 0)
			sched_yield();
	}
	rseq_smp_acquire__after_ctrl_dep();
	return cpu;
}

/* No thread of this process has rseq then, and all take one lock. */
static int lock_without_rseq(void)
{
	while (__atomic_exchange_n(&locks[0].held, 1, __ATOMIC_ACQUIRE))
		sched_yield();
	return 0;
}

static void unlock(int cpu)
{
	check(locks[cpu].held == 1);
	rseq_smp_store_release(&locks[cpu].held, 0);
}

static void *count(void *number)
{
	bool registered = enter_thread();

	for (int i = 0; i < NR_TURNS; i++) {
		int cpu = registered ? lock_this_cpu() : lock_without_rseq();
		intptr_t before = locks[cpu].count;

		/* A lock that does not lock loses counts here. */
		if ((i + (intptr_t)number) % 64 == 0)
			sched_yield();
		locks[cpu].count = before + 1;
		unlock(cpu);
	}
	leave_thread(registered);
	return NULL;
}

int main(void)
{
	int nr_cpus = rseq_get_max_nr_cpus();
	bool registered = enter_thread();

	keep_to_few_cpus();
	for (int m = 0; m < nr_modes(); m++) {
		intptr_t sum = 0;

		mode = (enum rseq_percpu_mode)m;
		locks = (struct lock_of_cpu *)aligned_alloc(128, sizeof(*locks) * (size_t)nr_cpus);
		if (!locks)
			return 1;
		memset(locks, 0, sizeof(*locks) * (size_t)nr_cpus);
		run_threads(MAX_THREADS, count);
		for (int cpu = 0; cpu < nr_cpus; cpu++) {
			check(locks[cpu].held == 0);
			sum += locks[cpu].count;
		}
		check(sum == MAX_THREADS * NR_TURNS);
		free(locks);
	}
	leave_thread(registered);
	return finish();
}
