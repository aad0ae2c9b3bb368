/* SPDX-License-Identifier: MIT */
/*
 * report.h: what was tried and found, by subject and by section.
 */
#ifndef REPORT_H
#define REPORT_H

#include "arch.h"
#include "subjects.h"

/* The ways to interrupt a subject. */
enum way {
	WALK,				/* from outside, with ptrace */
	INJECT,				/* from inside, with traps in the code */
	NR_WAYS
};

#define SECTION_BYTES	1024		/* the most that one may have */

/* A critical section, and the bytes of it in which a thread was stopped, by way. */
struct section {
	uintptr_t descriptor;
	uintptr_t start, end, abort;
	bool own;			/* of this program, not of a shared library */
	const struct subject *subject;	/* which has no code, or NULL */
	struct arch_set outputs;	/* registers that it was seen to return something in */
	unsigned int nr_outputs;
	bool tried[NR_WAYS][SECTION_BYTES];
};

/*
 * Finds all sections of this program, and runs the subjects whose code is not known; before any
 * fork. Returns 0, or -1 with errno.
 */
int report_init(void);

/* The section with this descriptor, which may be a shared library's. */
struct section *section_find(uintptr_t descriptor);

/* The first section of the subject's code that begins at an address or behind it, or NULL. */
struct section *section_from(const struct subject *subject, uintptr_t address);

/*
 * What is wrong with the section's descriptor, or NULL. Kernels from 6.19 on say nothing about some
 * of it, unless they debug.
 */
const char *section_fault(const struct section *section);

/* A thread was stopped before the instruction at pc, and what came then was judged. */
void section_tried(struct section *section, enum way way, uintptr_t pc, size_t bytes);

void report_point(const struct subject *subject, enum way way, bool aborted);
void report_violation(const struct subject *subject, enum way way, const char *format, ...)
		__attribute__((format(printf, 3, 4)));
unsigned long report_violations(const struct subject *subject, enum way way);

/* The first violation that was found this way, or NULL. */
const char *report_first(enum way way);

/* Prints a line for the subject, and the head of such a table. */
void report_head(enum way way);
void report_subject(const struct subject *subject, enum way way);

/*
 * Prints the totals of one way. Returns whether there was no violation and nothing of any section
 * was left out; partial: something may be left out.
 */
bool report_totals(enum way way, bool partial);

#endif /* REPORT_H */
