/* SPDX-License-Identifier: MIT */
/*
 * bench-options.h: the command line of `rseqctl bench`.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench.h"

struct bench_options {
	bool json, markdown, quick, list, help;
	bool raw;			/* for bench_simulate() */
	const char *plot;		/* the file, or NULL */
	unsigned int rounds;		/* 0: as many as usual */
	double sample;			/* ns, 0: as usual; for bench_simulate() */
	unsigned int threads[BENCH_MAX_COUNTS];
	size_t nr_threads;		/* 0: each benchmark's own */
	const struct bench **chosen;	/* to be freed, whatever the outcome */
	size_t nr_chosen;
};

extern const char bench_usage[];

/* Returns an enum rseqctl_status; one that is bad has been explained in a line. */
int bench_parse_options(int argc, char **argv, struct bench_options *options);

#endif /* BENCH_OPTIONS_H */
