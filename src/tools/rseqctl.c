/* SPDX-License-Identifier: MIT */
/*
 * rseqctl: what restartable sequences do here, how fast, and whether a program's critical sections
 * are sound.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "rseqctl.h"

static const struct subcommand {
	const char *name, *arguments, *purpose;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{ "info", "[--json] [--no-register | --pid N]",
	  "tell what kernel, libc and librseq offer this process, or another", rseqctl_info },
	{ "bench", "[--quick] [--json | --markdown] [--plot FILE.svg] [NAME...]",
	  "measure this library's structures on this machine, against others", rseqctl_bench },
	{ "verify", "[--json] [--profile=NAME] FILE...",
	  "check the critical sections in executables, libraries and objects", rseqctl_verify },
};

#define NR_SUBCOMMANDS	(sizeof(subcommands) / sizeof(subcommands[0]))

#ifndef HAVE_VERIFY
int rseqctl_verify(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fprintf(stderr, "rseqctl: built without verify: libelf and capstone were not there\n");
	return RSEQCTL_USAGE;
}
#endif

static void print_usage(FILE *stream)
{
	size_t i;

	fprintf(stream, "usage: rseqctl SUBCOMMAND [ARGUMENT...]\n"
			"       rseqctl --help | --version\n\n");
	for (i = 0; i < NR_SUBCOMMANDS; i++)
		fprintf(stream, "  %s %s\n      %s\n", subcommands[i].name,
			subcommands[i].arguments, subcommands[i].purpose);
	fprintf(stream, "\nExit status: 0 well, 1 a check failed, 2 bad usage or input.\n");
}

/* Output that did not reach its reader is no answer: say so instead of exiting with success. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("rseqctl: standard output");
	return RSEQCTL_USAGE;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		print_usage(stderr);
		return RSEQCTL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_usage(stdout);
		return finish(RSEQCTL_OK);
	}
	if (!strcmp(argv[1], "--version")) {
		printf("rseqctl (librseq) %s\n", PACKAGE_VERSION);
		return finish(RSEQCTL_OK);
	}
	for (i = 0; i < NR_SUBCOMMANDS; i++)
		if (!strcmp(argv[1], subcommands[i].name))
			return finish(subcommands[i].run(argc - 1, argv + 1));
	fprintf(stderr, "rseqctl: no subcommand '%s'; see rseqctl --help\n", argv[1]);
	return RSEQCTL_USAGE;
}
