/* SPDX-License-Identifier: MIT */
/*
 * The compare of two words: a value changes only while its CPU's gate is open and has not been
 * opened anew since. A thread shuts and opens the gates of all CPUs under a lock that the value's
 * writers do not take.
 */
#include "check.h"

#define NR_TURNS	2000
#define NR_THREADS	32

struct cell {
	intptr_t value;
	intptr_t gate;
} __attribute__((aligned(128)));

static struct cell *cells;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static intptr_t total;

/* The words are in order: which of them differs, or none, or both, decides. */
static void try_outcomes(void)
{
	for (int v = 0; v < 2; v++) {
		for (int v2 = 0; v2 < 2; v2++) {
			intptr_t word = 5, other = 6;
			int result;

			do
				result = rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED,
						RSEQ_PERCPU_CPU_ID, &word, v ? 5 : 4, &other,
						v2 ? 6 : 7, 9, (int)rseq_cpu_start());
			while (result < 0);
			check(result == !(v && v2));
			check(word == (v && v2 ? 9 : 5) && other == 6);
		}
	}
}

static bool add_if_open(bool registered)
{
	if (!registered) {
		bool open;

		pthread_mutex_lock(&lock);
		open = cells[0].gate % 2 == 0;
		if (open)
			cells[0].value++;
		pthread_mutex_unlock(&lock);
		return open;
	}
	for (;;) {
		int cpu = (int)rseq_cpu_start(), result;
		intptr_t gate = RSEQ_READ_ONCE(cells[cpu].gate);
		intptr_t value = RSEQ_READ_ONCE(cells[cpu].value);

		if (gate % 2)
			return false;
		result = rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
				&cells[cpu].value, value, &cells[cpu].gate, gate, value + 1, cpu);
		if (rseq_likely(!result))
			return true;
	}
}

/* The gate is per-CPU data as well, and is turned with an operation. */
static void turn_gate(bool registered)
{
	if (!registered) {
		pthread_mutex_lock(&lock);
		cells[0].gate++;
		pthread_mutex_unlock(&lock);
		return;
	}
	for (;;) {
		int cpu = (int)rseq_cpu_start();

		if (!rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
					      &cells[cpu].gate, 1, cpu))
			return;
	}
}

static void *work(void *number)
{
	bool registered = enter_thread();
	intptr_t added = 0;

	for (int i = 0; i < NR_TURNS; i++) {
		if ((intptr_t)number % 4 == 0 && i % 8 == 0)
			turn_gate(registered);
		else
			added += add_if_open(registered);
		if (i % 64 == 0)
			sched_yield();
	}
	__atomic_fetch_add(&total, added, __ATOMIC_RELAXED);
	leave_thread(registered);
	return NULL;
}

int main(void)
{
	size_t nr_cpus = (size_t)rseq_get_max_nr_cpus();
	bool registered = enter_thread();
	intptr_t sum = 0, turns = 0;

	keep_to_few_cpus();
	if (registered)
		try_outcomes();
	cells = (struct cell *)aligned_alloc(128, sizeof(*cells) * nr_cpus);
	if (!cells)
		return 1;
	memset(cells, 0, sizeof(*cells) * nr_cpus);
	run_threads(NR_THREADS, work);
	for (size_t cpu = 0; cpu < nr_cpus; cpu++) {
		sum += cells[cpu].value;
		turns += cells[cpu].gate;
	}
	check(sum == total);
	check(turns == NR_THREADS / 4 * (NR_TURNS / 8));
	free(cells);
	leave_thread(registered);
	return finish();
}
