/* SPDX-License-Identifier: MIT */
/*
 * bench-json.c: a report for machines.
 */
#include "bench.h"
#include "json.h"

#include <string.h>

static void print_machine(struct json *json, const struct bench_machine *machine)
{
	json_open_object(json, "machine");
	json_string(json, "cpu", machine->cpu);
	json_string(json, "kernel", machine->kernel);
	json_string(json, "compiler", machine->compiler);
	json_string(json, "rseq", machine->rseq);
	json_number(json, "cpus", machine->nr_cpus);
	json_number(json, "possible_cpus", machine->nr_possible_cpus);
	json_real(json, "load_before", machine->load_before);
	json_real(json, "load_after", machine->load_after);
	json_bool(json, "bound", machine->bound);
	json_close_object(json);
}

static void print_target(struct json *json, const char *key, double target)
{
	if (target > 0)
		json_real(json, key, target);
	else
		json_null(json, key);
}

static void print_variant(struct json *json, const struct bench_result *result, unsigned int i)
{
	const struct bench_figures *figures = &result->figures[i];

	json_open_object(json, NULL);
	json_string(json, "name", result->bench->variants[i].name);
	json_string(json, "missing", figures->missing);
	if (!figures->missing) {
		json_real(json, "min", figures->min);
		json_real(json, "median", figures->median);
		json_real(json, "ratio", figures->ratio);
	}
	if (i && result->bench->adds && !figures->missing && !result->figures[0].missing) {
		json_real(json, "added", figures->added.median);
		json_real(json, "added_low", figures->added.low);
		json_real(json, "added_high", figures->added.high);
	}
	json_close_object(json);
}

static void print_result(struct json *json, const struct bench_result *result)
{
	const struct bench *bench = result->bench;
	const char *verdict = bench_verdict(result);

	json_open_object(json, NULL);
	json_string(json, "name", bench->name);
	json_string(json, "area", bench->area);
	json_string(json, "unit", bench->unit);
	json_number(json, "threads", result->nr_threads);
	if (bench->cpus)
		json_number(json, "cpus", bench->cpus);
	json_number(json, "rounds", result->rounds);
	json_number(json, "aborts", (int64_t)result->aborts);
	json_number(json, "preemptions", result->preemptions);
	print_target(json, "max_ratio", bench->max_ratio);
	json_bool(json, "against_all", bench->against_all);
	print_target(json, "max_value", bench->max_value);
	json_string(json, "verdict", strcmp(verdict, "-") ? verdict : NULL);
	/* The first is this library's, the second the yardstick. */
	json_open_array(json, "variants");
	for (unsigned int i = 0; i < result->nr_variants; i++)
		print_variant(json, result, i);
	json_close_array(json);
	json_close_object(json);
}

void bench_print_json(const struct bench_report *report, FILE *stream)
{
	struct json json;

	json_begin(&json, stream);
	json_open_object(&json, NULL);
	json_string(&json, "version", PACKAGE_VERSION);
	print_machine(&json, &report->machine);
	json_open_array(&json, "results");
	for (size_t i = 0; i < report->nr_results; i++)
		print_result(&json, &report->results[i]);
	json_close_array(&json);
	json_open_array(&json, "curves");
	for (size_t i = 0; i < report->nr_curves; i++)
		print_result(&json, &report->curves[i]);
	json_close_array(&json);
	json_close_object(&json);
	json_finish(&json);
}

void bench_list_json(const struct bench *const *chosen, size_t nr, FILE *stream)
{
	struct json json;

	json_begin(&json, stream);
	json_open_array(&json, NULL);
	for (size_t i = 0; i < nr; i++) {
		json_open_object(&json, NULL);
		json_string(&json, "name", chosen[i]->name);
		json_string(&json, "area", chosen[i]->area);
		json_string(&json, "unit", chosen[i]->unit);
		print_target(&json, "max_ratio", chosen[i]->max_ratio);
		json_bool(&json, "against_all", chosen[i]->against_all);
		print_target(&json, "max_value", chosen[i]->max_value);
		json_bool(&json, "scales", chosen[i]->scales);
		json_open_array(&json, "variants");
		for (unsigned int j = 0; chosen[i]->variants[j].name; j++)
			json_string(&json, NULL, chosen[i]->variants[j].name);
		json_close_array(&json);
		json_close_object(&json);
	}
	json_close_array(&json);
	json_finish(&json);
}
