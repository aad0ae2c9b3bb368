/* SPDX-License-Identifier: MIT */
/*
 * bench.c: `rseqctl bench`, its options, and what it measures in which order.
 */
#define _GNU_SOURCE		/* cpu_set_t */

#include "rseqctl.h"
#include "bench.h"
#include "bench-options.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct bench *const bench_areas[] = {
	bench_counter, bench_list, bench_stack, bench_ring, bench_refcount, bench_lock,
	bench_fence, bench_cache, bench_urcu, bench_mempool, bench_ops, bench_start, NULL,
};

static const struct bench_effort full_effort = { 32, 12, 2e6, 40e6 };
static const struct bench_effort quick_effort = { 16, 4, 0.2e6, 8e6 };

/* Of threads and of CPUs, for the plot. */
static const unsigned int plot_threads[] = { 1, 2, 4, 8, 16, 32, 64 };
static const unsigned int plot_cpus[] = { 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 };

#define NR_OF(array)	(sizeof(array) / sizeof((array)[0]))

/* A bar on a terminal, nothing elsewhere. */
struct progress {
	size_t done, all;
	bool shown;
};

static void show_progress(struct progress *progress, const char *name)
{
	const size_t width = 30;
	size_t filled = progress->all ? progress->done * width / progress->all : 0;

	progress->done++;
	if (!progress->shown)
		return;
	fprintf(stderr, "\r[%.*s%*s] %zu/%zu %-24s", (int)filled,
		"##############################", (int)(width - filled), "", progress->done,
		progress->all, name);
	fflush(stderr);
}

static void end_progress(const struct progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r%72s\r", "");
}

static void measure(const struct bench *bench, unsigned int nr_threads,
		const struct bench_effort *effort, struct progress *progress,
		struct bench_result *result)
{
	show_progress(progress, bench->name);
	if (bench->cpus)
		bench_simulate(bench, effort, result);
	else
		bench_measure(bench, nr_threads, effort, result);
}

/* A benchmark that scales has a line of the table for each number of threads asked for. */
static size_t count_lines(const struct bench_options *options, const struct bench *bench)
{
	return bench->scales && options->nr_threads ? options->nr_threads : 1;
}

static void measure_table(const struct bench_options *options, struct bench_report *report,
		struct progress *progress)
{
	for (size_t i = 0; i < options->nr_chosen; i++) {
		const struct bench *bench = options->chosen[i];
		size_t nr_lines = count_lines(options, bench);

		for (size_t line = 0; line < nr_lines; line++) {
			unsigned int nr_threads = bench->threads;

			if (bench->scales && options->nr_threads)
				nr_threads = options->threads[line];
			measure(bench, nr_threads, &report->effort, progress,
				&report->results[report->nr_results++]);
		}
	}
}

static void measure_curves(const struct bench_options *options, struct bench_report *report,
		struct progress *progress)
{
	static struct bench simulated[NR_OF(plot_cpus)];
	const unsigned int *threads = plot_threads;
	size_t nr_threads = NR_OF(plot_threads);

	if (options->nr_threads) {
		threads = options->threads;
		nr_threads = options->nr_threads;
	}
	for (size_t i = 0; i < options->nr_chosen; i++) {
		const struct bench *bench = options->chosen[i];

		for (size_t j = 0; bench->scales && j < nr_threads; j++)
			measure(bench, threads[j], &report->effort, progress,
				&report->curves[report->nr_curves++]);
		for (size_t j = 0; bench->cpus && j < NR_OF(plot_cpus); j++) {
			simulated[j] = *bench;
			simulated[j].cpus = plot_cpus[j];
			measure(&simulated[j], 1, &report->effort, progress,
				&report->curves[report->nr_curves++]);
		}
	}
}

static size_t count_curves(const struct bench_options *options)
{
	size_t nr = 0;

	for (size_t i = 0; options->plot && i < options->nr_chosen; i++) {
		if (options->chosen[i]->scales)
			nr += options->nr_threads ? options->nr_threads : NR_OF(plot_threads);
		if (options->chosen[i]->cpus)
			nr += NR_OF(plot_cpus);
	}
	return nr;
}

static bool can_bind(void)
{
	cpu_set_t allowed;
	bool bound;

	bound = !sched_getaffinity(0, sizeof(allowed), &allowed) && !bench_bind();
	if (bound)
		sched_setaffinity(0, sizeof(allowed), &allowed);
	return bound;
}

static int make_report(const struct bench_options *options, struct bench_report *report)
{
	struct progress progress = { 0, 0, isatty(STDERR_FILENO) };
	size_t nr_lines = 0, nr_curves = count_curves(options);

	memset(report, 0, sizeof(*report));
	report->effort = options->quick ? quick_effort : full_effort;
	if (options->rounds)
		report->effort.rounds = report->effort.thread_rounds = options->rounds;
	if (options->sample > 0)
		report->effort.sample = options->sample;
	for (size_t i = 0; i < options->nr_chosen; i++)
		nr_lines += count_lines(options, options->chosen[i]);
	report->results = calloc(nr_lines, sizeof(*report->results));
	report->curves = calloc(nr_curves + 1, sizeof(*report->curves));
	if (!report->results || !report->curves)
		return -1;
	progress.all = nr_lines + nr_curves;
	bench_describe(&report->machine);
	report->machine.bound = can_bind();
	measure_table(options, report, &progress);
	if (options->plot)
		measure_curves(options, report, &progress);
	report->machine.load_after = bench_load();
	end_progress(&progress);
	return 0;
}

/* For bench_simulate() in another process: the figures of the first benchmark. */
static void print_raw(const struct bench_report *report, FILE *stream)
{
	const struct bench_result *result = &report->results[0];

	for (unsigned int i = 0; i < result->nr_variants; i++)
		if (!result->figures[i].missing)
			fprintf(stream, "%.17g %.17g %.17g\n", result->figures[i].min,
				result->figures[i].median, result->figures[i].ratio);
	fprintf(stream, "%u\n", result->rounds);
}

static void print_report(const struct bench_options *options, const struct bench_report *report,
		FILE *stream)
{
	if (options->raw)
		print_raw(report, stream);
	else if (options->json)
		bench_print_json(report, stream);
	else if (options->markdown)
		bench_print_markdown(report, stream);
	else
		bench_print_text(report, stream);
}

static void print_list(const struct bench_options *options, FILE *stream)
{
	if (options->json)
		bench_list_json(options->chosen, options->nr_chosen, stream);
	else
		bench_print_list(options->chosen, options->nr_chosen, stream);
}

static int run(const struct bench_options *options, FILE *stream)
{
	struct bench_report report;
	int status = RSEQCTL_OK;

	if (options->plot && bench_plot_possible(options->plot))
		return RSEQCTL_FAILED;
	if (make_report(options, &report)) {
		perror("rseqctl bench");
		status = RSEQCTL_FAILED;
	} else {
		print_report(options, &report, stream);
		if (options->plot && bench_plot(&report, options->plot))
			status = RSEQCTL_FAILED;
	}
	free(report.results);
	free(report.curves);
	return status;
}

/* One piece, so that a reader never has half of a report that looks whole. */
static int write_out(const char *text, size_t length)
{
	while (length) {
		ssize_t written = write(STDOUT_FILENO, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0) {
			perror("rseqctl bench: standard output");
			return RSEQCTL_FAILED;
		}
		text += written;
		length -= (size_t)written;
	}
	return RSEQCTL_OK;
}

static int run_to_memory(const struct bench_options *options)
{
	size_t length = 0;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &length);
	int status = RSEQCTL_OK;

	if (!stream) {
		perror("rseqctl bench");
		return RSEQCTL_FAILED;
	}
	if (options->help)
		fputs(bench_usage, stream);
	else if (options->list)
		print_list(options, stream);
	else
		status = run(options, stream);
	if (fclose(stream)) {
		perror("rseqctl bench");
		status = RSEQCTL_FAILED;
	} else if (write_out(text, length)) {
		status = RSEQCTL_FAILED;
	}
	free(text);
	return status;
}

int rseqctl_bench(int argc, char **argv)
{
	struct bench_options options;
	int status = bench_parse_options(argc, argv, &options);

	if (status == RSEQCTL_OK)
		status = run_to_memory(&options);
	free(options.chosen);
	return status;
}
