/* SPDX-License-Identifier: MIT */
/*
 * info.h: what the files of `rseqctl info` share.
 */
#ifndef INFO_H
#define INFO_H

#include <rseq/info.h>

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/utsname.h>

/* The time-slice extension of the kernel. */
enum slice_state {
	SLICE_AVAILABLE,
	SLICE_OFF,			/* not compiled in, or turned off at boot */
	SLICE_NOT_IN_KERNEL,		/* a release before 7.0 */
	SLICE_UNKNOWN,			/* see slice_error */
};

/* Answers of membarrier(2) in a process of its own; errors are errno values, 0 for success. */
struct membarrier_answers {
	int commands;			/* bits of QUERY */
	int query_error;
	int register_error;		/* of the registration for the rseq command */
	int command_error;		/* of the rseq command for one CPU */
};

struct cpu_list {
	char text[4096];		/* as "0-3,8"; empty when not known */
	int count;
};

struct report {
	bool register_tried;
	int register_error;
	struct rseq_info rseq;

	const char *libc_name;
	const char *libc_version;	/* NULL when libc does not tell */
	struct utsname kernel;
	enum slice_state slice;
	int slice_error;
	struct membarrier_answers membarrier;
	struct cpu_list possible, online;
};

/* info-probe.c: everything in the report but what the library says */
void report_probe(struct report *report);

/* info-print.c */
void report_print(const struct report *report, FILE *stream);
void report_print_json(const struct report *report, FILE *stream);

/* info-pid.c: returns an enum rseqctl_status */
int report_process(pid_t pid, bool json, FILE *stream);

#endif /* INFO_H */
