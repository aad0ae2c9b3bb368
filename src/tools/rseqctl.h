/* SPDX-License-Identifier: MIT */
/*
 * rseqctl.h: what the subcommands of rseqctl share.
 */
#ifndef RSEQCTL_H
#define RSEQCTL_H

/* Exit status of every subcommand. */
enum rseqctl_status {
	RSEQCTL_OK	= 0,
	RSEQCTL_FAILED	= 1,	/* the question was answered, and the answer is bad */
	RSEQCTL_USAGE	= 2,	/* bad usage, or an input that cannot be read */
};

/*
 * Subcommands. argv[0] is the subcommand's name; each parses its own options with getopt_long(),
 * which stands at its start.
 *
 * Returns: an enum rseqctl_status.
 */
int rseqctl_bench(int argc, char **argv);
int rseqctl_info(int argc, char **argv);
int rseqctl_verify(int argc, char **argv);

#endif /* RSEQCTL_H */
