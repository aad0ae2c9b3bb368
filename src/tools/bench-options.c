/* SPDX-License-Identifier: MIT */
/*
 * bench-options.c: reads the command line of `rseqctl bench`.
 */
#include "bench-options.h"
#include "rseqctl.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Values of long options, apart from every character. */
enum {
	OPTION_JSON = UCHAR_MAX + 1, OPTION_LIST, OPTION_MARKDOWN, OPTION_PLOT, OPTION_QUICK,
	OPTION_RAW, OPTION_ROUNDS, OPTION_SAMPLE, OPTION_THREADS,
};

const char bench_usage[] =
	"usage: rseqctl bench [--quick] [--rounds N] [--threads N,...] [--json | --markdown]\n"
	"                     [--plot FILE.svg] [NAME...]\n"
	"       rseqctl bench --list [--json] [NAME...]\n"
	"\n"
	"Measures this library's structures on this machine, against thread-local data, atomics,\n"
	"locks and other libraries. NAME is a benchmark, or the first words of some.\n"
	"\n"
	"  --quick        in a few seconds, with more noise\n"
	"  --rounds N     measure everything N times\n"
	"  --threads N,.. numbers of threads for what can have any\n"
	"  --json         one JSON object\n"
	"  --markdown     tables in Markdown\n"
	"  --plot FILE    also draw curves, over threads and CPUs, with gnuplot\n"
	"  --list         show the benchmarks, and measure nothing\n";

__attribute__((format(printf, 1, 2)))
static int misused(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("rseqctl bench: ", stderr);
	vfprintf(stderr, format, arguments);
	fputs("; see rseqctl bench --help\n", stderr);
	va_end(arguments);
	return RSEQCTL_USAGE;
}

static int misused_option(char **argv, int answer)
{
	if (answer == ':')
		return misused("%s needs a value", argv[optind - 1]);
	if (optopt > UCHAR_MAX)
		return misused("'%s': this option takes no value", argv[optind - 1]);
	if (optopt)
		return misused("no option '-%c'", optopt);
	return misused("no option '%s'", argv[optind - 1]);
}

/* A number from 1 to most, up to the end of the text or to a comma. NULL if it is none. */
static const char *parse_number(const char *text, unsigned long most, unsigned int *number)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || (*end && *end != ',') || !value ||
	    value > most)
		return NULL;
	*number = (unsigned int)value;
	return end;
}

static int parse_rounds(const char *text, unsigned int *rounds)
{
	const char *end = parse_number(text, BENCH_MAX_ROUNDS, rounds);

	if (!end || *end)
		return misused("rounds are a number from 1 to %d, not '%s'", BENCH_MAX_ROUNDS,
			       text);
	return RSEQCTL_OK;
}

static int parse_sample(const char *text, double *sample)
{
	unsigned int ns;
	const char *end = parse_number(text, UINT_MAX, &ns);

	if (!end || *end)
		return misused("a sample takes a number of nanoseconds, not '%s'", text);
	*sample = ns;
	return RSEQCTL_OK;
}

static int parse_threads(const char *text, struct bench_options *options)
{
	const char *at = text;

	options->nr_threads = 0;
	do {
		if (options->nr_threads == BENCH_MAX_COUNTS)
			return misused("more than %d numbers of threads", BENCH_MAX_COUNTS);
		at = parse_number(at, BENCH_MAX_THREADS, &options->threads[options->nr_threads++]);
	} while (at && *at++ == ',');
	if (!at)
		return misused("threads are numbers from 1 to %d, not '%s'", BENCH_MAX_THREADS,
			       text);
	return RSEQCTL_OK;
}

static int take_option(int option, char **argv, struct bench_options *options)
{
	switch (option) {
	case OPTION_JSON:
		options->json = true;
		break;
	case OPTION_LIST:
		options->list = true;
		break;
	case OPTION_MARKDOWN:
		options->markdown = true;
		break;
	case OPTION_PLOT:
		options->plot = optarg;
		break;
	case OPTION_QUICK:
		options->quick = true;
		break;
	case OPTION_RAW:
		options->raw = true;
		break;
	case OPTION_ROUNDS:
		return parse_rounds(optarg, &options->rounds);
	case OPTION_SAMPLE:
		return parse_sample(optarg, &options->sample);
	case OPTION_THREADS:
		return parse_threads(optarg, options);
	case 'h':
		options->help = true;
		break;
	default:
		return misused_option(argv, option);
	}
	return RSEQCTL_OK;
}

static bool is_wanted(const struct bench *bench, const char *name)
{
	size_t length = strlen(name);

	return !strncmp(bench->name, name, length) &&
			(bench->name[length] == '\0' || bench->name[length] == '-');
}

static size_t count_benchmarks(void)
{
	size_t nr = 0;

	for (size_t area = 0; bench_areas[area]; area++)
		for (size_t i = 0; bench_areas[area][i].name; i++)
			nr++;
	return nr;
}

/*
 * Those that a name stands for, in the order of the table; all without one. A name that is a
 * benchmark's own stands for that one alone.
 */
static size_t choose(const char *name, struct bench_options *options)
{
	size_t before = options->nr_chosen;
	bool exact = false;

	for (size_t area = 0; bench_areas[area] && !exact; area++)
		for (size_t i = 0; name && bench_areas[area][i].name && !exact; i++)
			exact = !strcmp(bench_areas[area][i].name, name);
	for (size_t area = 0; bench_areas[area]; area++) {
		for (size_t i = 0; bench_areas[area][i].name; i++) {
			const struct bench *bench = &bench_areas[area][i];

			if (!name || (exact ? !strcmp(bench->name, name) : is_wanted(bench, name)))
				options->chosen[options->nr_chosen++] = bench;
		}
	}
	return options->nr_chosen - before;
}

static int choose_all(char **names, int nr, struct bench_options *options)
{
	options->chosen = calloc(count_benchmarks() * (size_t)(nr + 1), sizeof(*options->chosen));
	if (!options->chosen) {
		perror("rseqctl bench");
		return RSEQCTL_FAILED;
	}
	for (int i = 0; i < nr; i++)
		if (!choose(names[i], options))
			return misused("no benchmark '%s'", names[i]);
	if (!nr)
		choose(NULL, options);
	return RSEQCTL_OK;
}

static int check_together(const struct bench_options *options)
{
	if (options->json && options->markdown)
		return misused("--json or --markdown, not both");
	if (options->list && (options->plot || options->markdown))
		return misused("--list measures nothing, and knows --json alone");
	return RSEQCTL_OK;
}

int bench_parse_options(int argc, char **argv, struct bench_options *options)
{
	static const struct option known[] = {
		{ "json", no_argument, NULL, OPTION_JSON },
		{ "list", no_argument, NULL, OPTION_LIST },
		{ "markdown", no_argument, NULL, OPTION_MARKDOWN },
		{ "plot", required_argument, NULL, OPTION_PLOT },
		{ "quick", no_argument, NULL, OPTION_QUICK },
		{ "raw", no_argument, NULL, OPTION_RAW },
		{ "rounds", required_argument, NULL, OPTION_ROUNDS },
		{ "sample", required_argument, NULL, OPTION_SAMPLE },
		{ "threads", required_argument, NULL, OPTION_THREADS },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, status;

	memset(options, 0, sizeof(*options));
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		status = take_option(option, argv, options);
		if (status)
			return status;
	}
	status = check_together(options);
	if (status)
		return status;
	return choose_all(argv + optind, argc - optind, options);
}
