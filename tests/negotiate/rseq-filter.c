/* SPDX-License-Identifier: MIT */
/*
 * rseq-filter: runs a program whose rseq() calls a seccomp filter answers with an error.
 *
 *	rseq-filter ERRNO[:[-]LENGTH] PROGRAM [ARGUMENT]...
 *
 * With a length, for that one alone, or for all others; with 0, as if they had been done. Exit
 * status 77 where there is no seccomp.
 */
#define _GNU_SOURCE

#include "filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	int error, length = 0;
	char *end;

	if (argc < 3)
		return 2;
	error = (int)strtol(argv[1], &end, 10);
	if (*end == ':')
		length = (int)strtol(end + 1, &end, 10);
	if (*end || end == argv[1] || error < 0)
		return 2;
	if (filter_rseq(error, length, 0)) {
		printf("skipped: seccomp filters are not permitted: %s\n", strerror(errno));
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
