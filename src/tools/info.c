/* SPDX-License-Identifier: MIT */
/*
 * info.c: `rseqctl info`, its options and its output.
 */
#include "rseqctl.h"
#include "info.h"

#include <rseq/thread.h>

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Values of long options, apart from every character. */
enum { OPTION_JSON = UCHAR_MAX + 1, OPTION_NO_REGISTER, OPTION_PID };

struct options {
	bool json, no_register, help;
	pid_t pid;			/* 0: this process */
};

static const char usage[] =
	"usage: rseqctl info [--json] [--no-register]\n"
	"       rseqctl info [--json] --pid N\n"
	"\n"
	"Tells what machine, kernel, libc and librseq give this process, or how each thread of\n"
	"process N is registered.\n"
	"\n"
	"  --json         one JSON object\n"
	"  --no-register  show the state before this thread is registered\n"
	"  --pid N        look at another process, with the rights of a debugger\n";

__attribute__((format(printf, 1, 2)))
static int misused(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("rseqctl info: ", stderr);
	vfprintf(stderr, format, arguments);
	fputs("; see rseqctl info --help\n", stderr);
	va_end(arguments);
	return RSEQCTL_USAGE;
}

static int parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || *end || number < 1 || number > INT_MAX)
		return misused("a process id is a positive number, not '%s'", text);
	*pid = (pid_t)number;
	return RSEQCTL_OK;
}

static int misused_option(char **argv, int answer)
{
	if (answer == ':')
		return misused("--pid needs a process id");
	if (optopt > UCHAR_MAX)
		return misused("'%s': this option takes no value", argv[optind - 1]);
	if (optopt)
		return misused("no option '-%c'", optopt);
	return misused("no option '%s'", argv[optind - 1]);
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "json", no_argument, NULL, OPTION_JSON },
		{ "no-register", no_argument, NULL, OPTION_NO_REGISTER },
		{ "pid", required_argument, NULL, OPTION_PID },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		switch (option) {
		case OPTION_JSON:
			options->json = true;
			break;
		case OPTION_NO_REGISTER:
			options->no_register = true;
			break;
		case OPTION_PID:
			if (parse_pid(optarg, &options->pid))
				return RSEQCTL_USAGE;
			break;
		case 'h':
			options->help = true;
			break;
		default:
			return misused_option(argv, option);
		}
	}
	if (optind < argc)
		return misused("'%s': one argument too many", argv[optind]);
	if (options->pid && options->no_register)
		return misused("--no-register is for this process, --pid for another");
	return RSEQCTL_OK;
}

static void report_self(const struct options *options, FILE *stream)
{
	struct report report;

	memset(&report, 0, sizeof(report));
	report.register_tried = !options->no_register;
	if (report.register_tried && rseq_register_current_thread())
		report.register_error = errno;
	report.rseq.size = sizeof(report.rseq);
	rseq_get_info(&report.rseq);
	report_probe(&report);
	if (options->json)
		report_print_json(&report, stream);
	else
		report_print(&report, stream);
}

/* One piece, so that a reader never has half of a report that looks whole. */
static int write_out(const char *text, size_t length)
{
	while (length) {
		ssize_t written = write(STDOUT_FILENO, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0) {
			perror("rseqctl info: standard output");
			return RSEQCTL_FAILED;
		}
		text += written;
		length -= (size_t)written;
	}
	return RSEQCTL_OK;
}

/* Text and length are known when the stream is closed. */
static int finish_report(FILE *stream, char **text, size_t *length)
{
	bool failed = ferror(stream);

	if (fclose(stream) || failed) {
		perror("rseqctl info");
		return RSEQCTL_FAILED;
	}
	return write_out(*text, *length);
}

int rseqctl_info(int argc, char **argv)
{
	struct options options = { false, false, false, 0 };
	size_t length = 0;
	char *text = NULL;
	FILE *stream;
	int status;

	status = parse_options(argc, argv, &options);
	if (status)
		return status;
	if (options.help)
		return write_out(usage, strlen(usage));
	stream = open_memstream(&text, &length);
	if (!stream) {
		perror("rseqctl info");
		return RSEQCTL_FAILED;
	}
	if (options.pid)
		status = report_process(options.pid, options.json, stream);
	else
		report_self(&options, stream);
	if (finish_report(stream, &text, &length))
		status = RSEQCTL_FAILED;
	free(text);
	return status;
}
