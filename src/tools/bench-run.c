/* SPDX-License-Identifier: MIT */
/*
 * bench-run.c: one benchmark, all of its variants in turn, round after round.
 */
#define _GNU_SOURCE		/* sched_getcpu(), CPU_SET() */

#include "bench.h"

#include <rseq/info.h>
#include <rseq/thread.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/*
 * What counts the whole process ends with a wait for its other threads, which takes some 0.1 ms
 * itself: a single thread's samples are as many times longer.
 */
#define WHOLE_SAMPLES	10

static double read_clock(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

double bench_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double bench_cpu_time(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

double bench_process_time(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int compare_values(const void *left, const void *right)
{
	double difference = *(const double *)left - *(const double *)right;

	return (difference > 0) - (difference < 0);
}

double bench_median(double *values, size_t nr)
{
	qsort(values, nr, sizeof(*values), compare_values);
	return nr % 2 ? values[nr / 2] : (values[nr / 2 - 1] + values[nr / 2]) / 2;
}

int bench_bind(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return -1;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/*
 * ns per operation: what CPUs spent on it, so that a busy neighbour takes no part in it, nor does
 * sleep. That is fair to locks: who waits for one costs nothing unless it spins.
 */
static double run_loop(struct bench_run *run, unsigned int alignment, uint64_t nr, double *elapsed)
{
	bench_loop *loop = run->variant->peer ? bench_peer_loop : run->variant->loops[alignment];
	double (*used)(void) = run->bench->whole ? bench_process_time : bench_cpu_time;
	double start;

	if (run->nr_threads)
		return bench_run_threads(run, loop, nr, elapsed);
	start = used();
	loop(run, nr);
	*elapsed = used() - start;
	return *elapsed / (double)nr;
}

/* The number of operations that take as long as a sample. Warms up caches, too. */
static uint64_t calibrate(struct bench_run *run, double sample)
{
	const uint64_t most = (uint64_t)1 << 40;
	double elapsed = 0;
	uint64_t nr = 64;

	for (;;) {
		if (run_loop(run, 0, nr, &elapsed) < 0)
			return 0;
		if (elapsed >= sample / 4 || nr >= most)
			break;
		nr *= elapsed < sample / 64 ? 8 : 2;
	}
	nr = (uint64_t)((double)nr * sample / elapsed) / 64 * 64;
	return nr ? nr : 64;
}

static uint64_t count_aborts(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	return rseq_get_info(&info) ? 0 : info.aborts;
}

static int64_t count_preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

/* A benchmark under way. */
struct measurement {
	struct bench_run runs[BENCH_MAX_VARIANTS];
	uint64_t nr[BENCH_MAX_VARIANTS];	/* operations */
	bool ready[BENCH_MAX_VARIANTS];
	double values[BENCH_MAX_VARIANTS][BENCH_MAX_ROUNDS];
};

static int set_up(struct bench_run *run)
{
	if (run->variant->setup && run->variant->setup(run))
		return -1;
	if (!run->variant->peer || !bench_peer_setup(run))
		return 0;
	if (run->variant->teardown)
		run->variant->teardown(run);
	return -1;
}

static void prepare(struct measurement *measurement, const struct bench *bench,
		unsigned int nr_threads, double sample, unsigned int nr_variants)
{
	for (unsigned int i = 0; i < nr_variants; i++) {
		struct bench_run *run = &measurement->runs[i];

		run->bench = bench;
		run->variant = &bench->variants[i];
		run->nr_threads = nr_threads;
		if (set_up(run)) {
			if (!run->missing)
				run->missing = "cannot be set up";
			continue;
		}
		measurement->ready[i] = true;
		if (!run->variant->measure)
			measurement->nr[i] = calibrate(run, sample);
	}
}

/*
 * Rounds try all pairs of alignments of this library's and the other variants, and each variant
 * comes first as often as any other.
 */
static void run_round(struct measurement *measurement, unsigned int round,
		unsigned int nr_variants, struct bench_result *result)
{
	for (unsigned int turn = 0; turn < nr_variants; turn++) {
		unsigned int i = (round + turn) % nr_variants;
		unsigned int alignment = (i ? round : round / BENCH_ALIGNMENTS) % BENCH_ALIGNMENTS;
		struct bench_run *run = &measurement->runs[i];
		uint64_t aborts = count_aborts();
		double elapsed;

		if (!measurement->ready[i] || run->missing)
			continue;
		if (run->variant->measure)
			measurement->values[i][round] = run->variant->measure(run);
		else
			measurement->values[i][round] =
				run_loop(run, alignment, measurement->nr[i], &elapsed);
		if (measurement->values[i][round] < 0 && !run->missing)
			run->missing = "cannot be measured";
		if (!i)
			result->aborts += count_aborts() - aborts;
	}
}

/* Both in the order of the rounds. */
static void compare(const double *own, const double *values, unsigned int rounds,
		struct bench_figures *figures)
{
	double ratios[BENCH_MAX_ROUNDS], added[BENCH_MAX_ROUNDS];

	for (unsigned int round = 0; round < rounds; round++) {
		ratios[round] = values[round] > 0 ? own[round] / values[round] : 0;
		added[round] = own[round] - values[round];
	}
	figures->ratio = bench_median(ratios, rounds);
	figures->added.median = bench_median(added, rounds);
	figures->added.low = added[(rounds - 1) / 4];
	figures->added.high = added[(rounds - 1) - (rounds - 1) / 4];
}

static void evaluate(struct measurement *measurement, struct bench_result *result)
{
	double own[BENCH_MAX_ROUNDS];

	memcpy(own, measurement->values[0], sizeof(own));
	for (unsigned int i = 0; i < result->nr_variants; i++) {
		struct bench_figures *figures = &result->figures[i];
		double *values = measurement->values[i];

		figures->missing = measurement->runs[i].missing;
		if (figures->missing)
			continue;
		if (!measurement->runs[0].missing)
			compare(own, values, result->rounds, figures);
		figures->median = bench_median(values, result->rounds);
		figures->min = values[0];
	}
}

static unsigned int count_variants(const struct bench *bench)
{
	unsigned int nr = 0;

	while (bench->variants[nr].name)
		nr++;
	return nr;
}

void bench_measure(const struct bench *bench, unsigned int nr_threads,
		const struct bench_effort *effort, struct bench_result *result)
{
	struct measurement *measurement = calloc(1, sizeof(*measurement));
	/* Memory depends on the CPUs in use. */
	bool bound = nr_threads <= 1 && !bench->once && !bench->unbound;
	double sample = nr_threads > 1 ? effort->thread_sample : effort->sample;
	int64_t preemptions;
	cpu_set_t allowed;

	memset(result, 0, sizeof(*result));
	result->bench = bench;
	result->nr_variants = count_variants(bench);
	result->nr_threads = nr_threads > 1 ? nr_threads : 1;
	result->rounds = bench->once ? 1 : nr_threads > 1 ? effort->thread_rounds : effort->rounds;
	if (!measurement) {
		for (unsigned int i = 0; i < result->nr_variants; i++)
			result->figures[i].missing = "no memory";
		return;
	}
	if (bound)
		bound = !sched_getaffinity(0, sizeof(allowed), &allowed) && !bench_bind();
	if (bench->whole && nr_threads <= 1)
		sample *= WHOLE_SAMPLES;
	prepare(measurement, bench, nr_threads > 1 ? nr_threads : 0, sample, result->nr_variants);
	preemptions = count_preemptions();
	for (unsigned int round = 0; round < result->rounds; round++)
		run_round(measurement, round, result->nr_variants, result);
	if (nr_threads <= 1)
		result->preemptions = count_preemptions() - preemptions;
	for (unsigned int i = 0; i < result->nr_variants; i++) {
		struct bench_run *run = &measurement->runs[i];

		if (measurement->ready[i] && run->variant->teardown)
			run->variant->teardown(run);
		if (measurement->ready[i] && run->variant->peer)
			bench_peer_teardown(run);
	}
	if (bound)
		sched_setaffinity(0, sizeof(allowed), &allowed);
	evaluate(measurement, result);
	free(measurement);
}
