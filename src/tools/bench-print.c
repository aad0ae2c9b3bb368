/* SPDX-License-Identifier: MIT */
/*
 * bench-print.c: a report as a table, as Markdown, and the list of benchmarks.
 */
#include "bench.h"

#include <string.h>

/* What follows this library's and the yardstick's value in each line of figures. */
struct row {
	char area[64], own[32], yardstick[80], ratio[16], target[48];
	const char *verdict;
	uint64_t aborts;
};

int bench_format_target(const struct bench *bench, char *text, size_t size)
{
	const char *of = bench->against_all ? " of all" : "";

	if (bench->max_ratio > 0 && bench->max_value > 0)
		return snprintf(text, size, "<= %.2fx%s and %g %s", bench->max_ratio, of,
				bench->max_value, bench->unit);
	if (bench->max_ratio > 0)
		return snprintf(text, size, "<= %.2fx%s", bench->max_ratio, of);
	if (bench->max_value > 0)
		return snprintf(text, size, "<= %g %s", bench->max_value, bench->unit);
	return snprintf(text, size, "-");
}

/*
 * The ratio that a target is for: the yardstick's, or the largest, that of the fastest variant.
 * Negative if there is none.
 */
static double ratio_that_counts(const struct bench_result *result)
{
	unsigned int nr = result->bench->against_all ? result->nr_variants : 2;
	double largest = -1;

	for (unsigned int i = 1; i < nr; i++) {
		const struct bench_figures *figures = &result->figures[i];

		if (!figures->missing && figures->ratio > largest)
			largest = figures->ratio;
	}
	return largest;
}

/* The value of the fastest round counts, and the median of the ratios, as they are printed. */
const char *bench_verdict(const struct bench_result *result)
{
	const struct bench *bench = result->bench;
	const struct bench_figures *own = &result->figures[0];
	double ratio = ratio_that_counts(result);

	if (own->missing || (bench->max_ratio <= 0 && bench->max_value <= 0))
		return "-";
	if (bench->max_ratio > 0 && ratio < 0)
		return "-";
	if (bench->max_ratio > 0 && ratio >= bench->max_ratio + 0.005)
		return "missed";
	if (bench->max_value > 0 && own->min >= bench->max_value + 0.005)
		return "missed";
	return "met";
}

/* Three digits that count, in a unit that suits. */
static void format_value(char *text, size_t size, const struct bench_figures *figures,
		const char *unit)
{
	static const struct {
		const char *unit, *larger;
		double times;
	} units[] = { { "ns", "us", 1000 }, { "us", "ms", 1000 }, { "KiB", "MiB", 1024 } };
	double value = figures->min;

	if (figures->missing) {
		snprintf(text, size, "-");
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (value >= 10 * units[i].times && !strcmp(unit, units[i].unit)) {
			value /= units[i].times;
			unit = units[i].larger;
		}
	}
	snprintf(text, size, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
}

/* Of what hardly takes anything, at least one digit. */
static void format_ratio(char *text, size_t size, double ratio)
{
	snprintf(text, size, "%.*fx", ratio < 0.005 ? 4 : 2, ratio);
}

static void format_row(const struct bench_result *result, struct row *row)
{
	const struct bench_figures *yardstick = &result->figures[1];
	const struct bench *bench = result->bench;
	char value[32];

	snprintf(row->area, sizeof(row->area), "%s", bench->area);
	if (result->nr_threads != (bench->threads ? bench->threads : 1))
		snprintf(row->area, sizeof(row->area), "%.*s, %u threads",
			 (int)strcspn(bench->area, ","), bench->area, result->nr_threads);
	format_value(row->own, sizeof(row->own), &result->figures[0], bench->unit);
	format_value(value, sizeof(value), yardstick, bench->unit);
	snprintf(row->yardstick, sizeof(row->yardstick), "%s", value);
	snprintf(row->ratio, sizeof(row->ratio), "-");
	if (!yardstick->missing && !result->figures[0].missing)
		format_ratio(row->ratio, sizeof(row->ratio), yardstick->ratio);
	bench_format_target(bench, row->target, sizeof(row->target));
	row->verdict = bench_verdict(result);
	row->aborts = result->aborts;
}

static bool busy(const struct bench_machine *machine)
{
	return machine->load_before > 0.2 * machine->nr_cpus;
}

static uint64_t count_preemptions(const struct bench_report *report)
{
	uint64_t nr = 0;

	for (size_t i = 0; i < report->nr_results; i++)
		nr += (uint64_t)report->results[i].preemptions;
	return nr;
}

static void print_conditions(const struct bench_report *report, const char *prefix,
		FILE *stream)
{
	const struct bench_machine *machine = &report->machine;

	fprintf(stream, "%slibrseq %s, %s\n", prefix, PACKAGE_VERSION, machine->compiler);
	fprintf(stream, "%s%s, %s\n", prefix, machine->kernel, machine->cpu);
	fprintf(stream, "%s%d CPUs in use of %d possible ones; rseq %s\n", prefix,
		machine->nr_cpus, machine->nr_possible_cpus, machine->rseq);
	fprintf(stream, "%s%s: load average %.2f before, %.2f after; preempted %ju times\n", prefix,
		busy(machine) ? "not quiet" : "quiet", machine->load_before, machine->load_after,
		(uintmax_t)count_preemptions(report));
	fprintf(stream, "%s%u rounds of %.2f ms, with threads %u of %.0f ms; single threads %s\n",
		prefix, report->effort.rounds, report->effort.sample / 1e6,
		report->effort.thread_rounds, report->effort.thread_sample / 1e6,
		machine->bound ? "bound to a CPU" : "not bound to a CPU");
}

static bool has_others(const struct bench_result *result)
{
	return result->nr_variants > 2 && !result->figures[0].missing;
}

static void print_missing(const struct bench_report *report, const char *prefix, FILE *stream)
{
	for (size_t i = 0; i < report->nr_results; i++) {
		const struct bench_result *result = &report->results[i];

		for (unsigned int j = 0; j < result->nr_variants; j++) {
			if (result->figures[j].missing)
				fprintf(stream, "%s%s: no %s: %s\n", prefix, result->bench->name,
					result->bench->variants[j].name,
					result->figures[j].missing);
		}
	}
}

/* For differences that the ratio of all that a program takes would hide. */
static bool tells_added(const struct bench_result *result, unsigned int i)
{
	return result->bench->adds && !result->figures[0].missing && !result->figures[i].missing;
}

static void print_added(const struct bench_report *report, bool markdown, FILE *stream)
{
	bool begun = false;

	for (size_t i = 0; i < report->nr_results; i++) {
		const struct bench_result *result = &report->results[i];

		for (unsigned int j = 1; j < result->nr_variants; j++) {
			const struct bench_figures *figures = &result->figures[j];
			char added[32], spread[64];

			if (!tells_added(result, j))
				continue;
			if (!begun && markdown)
				fputs("\n| area | compared with | librseq adds, median "
				      "| half of the rounds |\n|---|---|--:|--:|\n", stream);
			if (!begun && !markdown)
				fprintf(stream, "\n%-42s %-50s %11s %20s\n",
					"difference, median of all rounds", "", "librseq",
					"half of the rounds");
			begun = true;
			snprintf(added, sizeof(added), "%+.1f %s", figures->added.median,
				 result->bench->unit);
			snprintf(spread, sizeof(spread), "%+.1f to %+.1f", figures->added.low,
				 figures->added.high);
			fprintf(stream, markdown ? "| %s | %s | %s | %s |\n" :
				"%-42s %-50s %11s %20s\n", result->bench->area,
				result->bench->variants[j].name, added, spread);
		}
	}
}

void bench_print_text(const struct bench_report *report, FILE *stream)
{
	struct row row;

	print_conditions(report, "", stream);
	fprintf(stream, "\n%-42s %11s %11s %8s  %-15s %-7s %s\n", "fastest round, median ratio",
		"librseq", "yardstick", "ratio", "target", "verdict", "aborts");
	for (size_t i = 0; i < report->nr_results; i++) {
		format_row(&report->results[i], &row);
		fprintf(stream, "%-42s %11s %11s %8s  %-15s %-7s %ju\n", row.area, row.own,
			row.yardstick, row.ratio, row.target, row.verdict, (uintmax_t)row.aborts);
	}
	fprintf(stream, "\n%-42s %-50s %11s %8s\n", "yardsticks and others", "", "", "librseq");
	for (size_t i = 0; i < report->nr_results; i++) {
		const struct bench_result *result = &report->results[i];

		format_row(result, &row);
		for (unsigned int j = 1; j < result->nr_variants; j++) {
			const struct bench_figures *figures = &result->figures[j];
			char value[32], ratio[16];

			if (figures->missing || result->figures[0].missing)
				continue;
			format_value(value, sizeof(value), figures, result->bench->unit);
			format_ratio(ratio, sizeof(ratio), figures->ratio);
			fprintf(stream, "%-42s %-50s %11s %8s\n", row.area,
				result->bench->variants[j].name, value, ratio);
			row.area[0] = '\0';
		}
	}
	print_added(report, false, stream);
	print_missing(report, "", stream);
}

static void print_markdown_others(const struct bench_report *report, FILE *stream)
{
	struct row row;

	fprintf(stream, "\n| area | compared with | that one | librseq |\n|---|---|--:|--:|\n");
	for (size_t i = 0; i < report->nr_results; i++) {
		const struct bench_result *result = &report->results[i];

		if (!has_others(result))
			continue;
		format_row(result, &row);
		for (unsigned int j = 2; j < result->nr_variants; j++) {
			const struct bench_figures *figures = &result->figures[j];
			char value[32], ratio[16];

			if (figures->missing)
				continue;
			format_value(value, sizeof(value), figures, result->bench->unit);
			format_ratio(ratio, sizeof(ratio), figures->ratio);
			fprintf(stream, "| %s | %s | %s | %s |\n", row.area,
				result->bench->variants[j].name, value, ratio);
		}
	}
}

void bench_print_markdown(const struct bench_report *report, FILE *stream)
{
	struct row row;

	print_conditions(report, "- ", stream);
	fprintf(stream, "\n| area | librseq | yardstick | which is | ratio | target | verdict "
			"| aborts |\n|---|--:|--:|---|--:|---|---|--:|\n");
	for (size_t i = 0; i < report->nr_results; i++) {
		const struct bench_result *result = &report->results[i];

		format_row(result, &row);
		fprintf(stream, "| %s | %s | %s | %s | %s | %s | %s | %ju |\n", row.area, row.own,
			row.yardstick, result->bench->variants[1].name, row.ratio, row.target,
			row.verdict, (uintmax_t)row.aborts);
	}
	print_markdown_others(report, stream);
	print_added(report, true, stream);
	fputc('\n', stream);
	print_missing(report, "- ", stream);
}

void bench_print_list(const struct bench *const *chosen, size_t nr, FILE *stream)
{
	char target[48];

	fprintf(stream, "%-22s %-44s %-15s %s\n", "name", "area", "target", "compared with");
	for (size_t i = 0; i < nr; i++) {
		const struct bench_variant *variants = chosen[i]->variants;

		bench_format_target(chosen[i], target, sizeof(target));
		fprintf(stream, "%-22s %-44s %-15s", chosen[i]->name, chosen[i]->area, target);
		for (unsigned int j = 1; variants[j].name; j++)
			fprintf(stream, "%s%s", j == 1 ? " " : "; ", variants[j].name);
		fputc('\n', stream);
	}
}
