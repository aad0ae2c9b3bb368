/* SPDX-License-Identifier: MIT */
/*
 * walk.h: a subject that is stopped after each of its instructions.
 *
 * A thread that is stopped in an armed section is aborted when it goes on. So the tracer takes the
 * descriptor out of the thread's area after each step, and the kernel lets the section go on. At
 * the point of interest it puts the descriptor back. Registers, stack and data of the point are
 * restored afterwards for the next disturbance, and then for the next step.
 */
#ifndef WALK_H
#define WALK_H

#include "abort.h"
#include "tracee.h"

#define MAX_STACK	16384		/* bytes of stack that a subject uses */
#define MAX_REPETITIONS	100		/* of a run that the kernel spoils by another mm_cid */

enum disturbance {
	PREEMPTED,			/* stopped and resumed on the same CPU */
	CONFLICTED,			/* meanwhile another thread works on the data */
	MIGRATED,			/* and the thread is moved to another CPU */
	DISPLACED,			/* and another thread takes the thread's concurrency id */
	SIGNALLED,			/* a signal handler works on the data */
	NR_DISTURBANCES
};

/* A thread between two instructions. */
struct point {
	struct arch_regs regs;
	struct arch_vectors vectors;
	struct state data;
	struct call call;		/* which may be written to, too */
	uint64_t armed;			/* the descriptor that was taken out of its area, or 0 */
	const struct rseq_abi_cs *descriptor;	/* the same */
	bool inside;			/* of its section */
	bool was_inside;		/* at the point before */
	bool committed;			/* the data say so */
	bool decided;			/* it has left a section */
	size_t stack_bytes;
	unsigned char stack[MAX_STACK];
};

/* Registers at the last few points, to find those at the begin of a section's code. */
struct snapshot {
	struct arch_regs regs;
	struct arch_vectors vectors;
};

struct walk {
	const struct subject *subject;
	const struct input *input;
	int home;			/* id, not CPU, of the first try */
	struct arch_regs entry;
	struct point point;
	size_t nr;			/* of the point */
	struct snapshot history[ARCH_ARMING + 1];	/* the newest last */
	struct snapshot begin;		/* of the section, in the run that the point is of */
	bool entered;			/* it was inside of a section at some point */
	bool lost;			/* the tracee is gone */
	bool stuck;			/* because it did not end */

	/* the disturbance under way */
	enum disturbance disturbance;
	const struct conflict *conflict;	/* NULL for none */

	unsigned long displaced, changed;	/* runs, and those in which the id changed */
};

extern struct walk walk;

/* With the point and the disturbance. */
void walk_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether enough violations were found, or the tracee was lost. */
bool walk_given_up(void);

/* Moves it, if it is not there, to a CPU. */
void walk_move(int cpu);

/* Lets it go on; a violation is reported if it does not stop at a trap. */
bool walk_run(PTRACE_REQUEST request, int signal);

/*
 * Goes to a point from the start of the subject, or to the next one, in which nothing has been
 * disturbed since. Return false with the tracee lost or a violation reported.
 */
bool walk_to(size_t nr);
bool walk_on(void);

/* Restores the point, disarmed. */
void walk_return(void);

/* Disturbs it at the point in all ways, and judges what comes of it. */
void walk_disturb(void);

#endif /* WALK_H */
