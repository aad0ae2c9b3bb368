/* SPDX-License-Identifier: MIT */
/*
 * Fences in a long storm: the sections of 64 threads on the CPUs at hand add to words that others
 * take from them. Each CPU, and each mm_cid, has two words, and a pointer that tells its sections
 * which one to add to. Who takes turns the pointer to the other word, waits with a fence, and then
 * reads and clears the first without any atomic operation: no section may touch it any more. A sum
 * that is not exact, or a word that changes under its owner, shows a fence that did not wait.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/fence.h>

#include <stddef.h>
#include <time.h>

#define NR_THREADS	64
#define NR_TAKERS	3
#define NR_LOOKS	50
#define TURNS_PER_ROUND	256

struct side {
	intptr_t *word_at;
	intptr_t word;
	char pad[48];			/* a line of its own */
};

/* One CPU's, or one mm_cid's. */
struct cell {
	intptr_t side;			/* address of the one to add to; atomic */
	int taken;			/* by whom turns it; atomic */
	unsigned int turn;
	char pad[48];
	struct side sides[2];
};

static struct cell *by_cpu, *by_mm_cid;
static bool has_membarrier, stop;	/* the latter is atomic */
static pthread_t takers[NR_TAKERS];
/* Atomic. */
static unsigned long sum, nr_taken, nr_failed, nr_in_signals, nr_without_effect;

static void count(unsigned long *counter, unsigned long by)
{
	__atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

/* Returns 1, or 0 if the section did not succeed. */
static unsigned long add_one(bool use_mm_cid)
{
	const long offset = offsetof(struct side, word_at);
	int id;

	if (use_mm_cid) {
		id = (int)rseq_current_mm_cid();
		return !rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED,
				RSEQ_PERCPU_MM_CID, &by_mm_cid[id].side, offset, 1, id);
	}
	id = (int)rseq_cpu_start();
	return !rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
			&by_cpu[id].side, offset, 1, id);
}

static void on_signal(void)
{
	if (rseq_thread_registered())
		count(&nr_in_signals, add_one(false));
}

static void take(struct cell *cell, int cpu)
{
	struct side *side;
	intptr_t value;

	if (__atomic_exchange_n(&cell->taken, 1, __ATOMIC_ACQUIRE))
		return;
	side = &cell->sides[cell->turn++ % 2];
	__atomic_store_n(&cell->side, (intptr_t)&cell->sides[cell->turn % 2], __ATOMIC_SEQ_CST);
	if (cpu < 0 ? rseq_fence_all() : rseq_fence_cpu(cpu)) {
		/* Nobody knows who still adds to this side: its turn is over when a fence works. */
		count(&nr_failed, 1);
		cell->turn--;
		__atomic_store_n(&cell->side, (intptr_t)side, __ATOMIC_SEQ_CST);
	} else {
		value = RSEQ_READ_ONCE(side->word);
		for (int i = 0; i < NR_LOOKS; i++)
			if (RSEQ_READ_ONCE(side->word) != value)
				storm_mistake();
		RSEQ_WRITE_ONCE(side->word, 0);
		count(&sum, (unsigned long)value);
		count(&nr_taken, 1);
	}
	__atomic_store_n(&cell->taken, 0, __ATOMIC_RELEASE);
}

/* With either fence, and by mm_cid, which knows no CPU. */
static void take_something(unsigned int turn)
{
	struct support_cpus cpus;
	int cpu;

	support_find_cpus(&cpus);
	cpu = cpus.cpu[turn / 3 % (unsigned int)cpus.nr];
	if (turn % 3 == 0)
		take(&by_mm_cid[rseq_get_max_nr_cpus() > 1 ? turn / 3 % 2 : 0], -1);
	else
		take(&by_cpu[cpu], turn % 3 == 1 ? cpu : -1);
}

/* Threads without rseq take; but without membarrier() not where the storm moves them about. */
static unsigned long one_round(unsigned int round)
{
	unsigned long turns = 0;

	if (!rseq_thread_registered()) {
		if (has_membarrier)
			take_something(round);
		return 0;
	}
	for (int i = 0; i < TURNS_PER_ROUND; i++)
		turns += add_one(i % 2 && rseq_mm_cid_available());
	count(&nr_without_effect, TURNS_PER_ROUND - turns);
	if (round % 64 == 0)
		sched_yield();
	return turns;
}

static void *take_over_and_over(void *argument)
{
	const struct timespec moment = { 0, 20000 };
	unsigned int turn = (unsigned int)(uintptr_t)argument;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		take_something(turn++);
		nanosleep(&moment, NULL);
	}
	return NULL;
}

static intptr_t sum_of(const struct cell *cells)
{
	intptr_t total = 0;

	for (int id = 0; id < rseq_get_max_nr_cpus(); id++)
		total += cells[id].sides[0].word + cells[id].sides[1].word;
	return total;
}

static void check(unsigned long turns)
{
	unsigned long total = sum + (unsigned long)(sum_of(by_cpu) + sum_of(by_mm_cid));

	turns += nr_in_signals;
	if (total == turns)
		return;
	printf("%lu instead of %lu\n", total, turns);
	storm_mistake();
}

static void report(unsigned long turns)
{
	const unsigned long per = (unsigned long)storm_seconds();

	/* All other threads are over. */
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_TAKERS; i++)
		pthread_join(takers[i], NULL);
	printf("per second: %lu added, %lu sections that did not commit, %lu words taken\n",
	       turns / per, nr_without_effect / per, nr_taken / per);
	if (nr_failed)
		printf("%lu fences failed\n", nr_failed);
}

static struct cell *make(void)
{
	const size_t bytes = (size_t)rseq_get_max_nr_cpus() * sizeof(struct cell);
	struct cell *cells = aligned_alloc(_Alignof(max_align_t), bytes);

	if (!cells)
		return NULL;
	memset(cells, 0, bytes);
	for (int id = 0; id < rseq_get_max_nr_cpus(); id++) {
		struct cell *cell = &cells[id];

		for (int i = 0; i < 2; i++)
			cell->sides[i].word_at = &cell->sides[i].word;
		cell->side = (intptr_t)&cell->sides[0];
	}
	return cells;
}

static int set_up(void)
{
	by_cpu = make();
	by_mm_cid = make();
	if (!by_cpu || !by_mm_cid)
		return -1;
	has_membarrier = support_has_membarrier();
	for (uintptr_t i = 0; i < NR_TAKERS; i++)
		if (pthread_create(&takers[i], NULL, take_over_and_over, (void *)i))
			return -1;
	return 0;
}

static int run(void)
{
	const struct storm_test test = {
		.nr_threads = NR_THREADS,
		.set_up = set_up,
		.round = one_round,
		.on_signal = on_signal,
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
