/* SPDX-License-Identifier: MIT */
/*
 * tracee.h: a traced process that runs one function at a time, as its tracer wants it.
 */
#ifndef TRACEE_H
#define TRACEE_H

#include "arch.h"
#include "data.h"
#include "ptrace-request.h"

#define TRACEE_STACK	65536

/*
 * Priorities, where real-time ones are allowed: the second thread must not keep the first one from
 * its CPU, nor that the tracer.
 */
#define OCCUPANT_PRIORITY	1
#define TRACEE_PRIORITY		2
#define TRACER_PRIORITY		3

/* Of the calling thread. */
void set_priority(int priority);

/* What the tracer and the tracee share. */
struct tracee {
	struct call call;		/* the argument of the function */

	/* what the tracee's signal handler does, and did */
	const struct conflict *conflict;
	enum rseq_percpu_mode mode;
	int handled;			/* how often */
	int handled_id;
	bool handled_well;

	/* a second thread, which is untraced, runs on the first CPU while occupy is set */
	unsigned int occupy;
	bool occupied;

	unsigned char stack[TRACEE_STACK] __attribute__((aligned(64)));
};

extern struct tracee *tracee;

#define TRACEE_SIGNAL	SIGUSR1

enum stop {
	STOP_TRAP,			/* a step, a breakpoint or a trap */
	STOP_SIGNAL,			/* a signal that the tracee did not get */
	STOP_DEAD,			/* it has ended */
	STOP_STUCK			/* it runs and runs */
};

/*
 * Starts a tracee on cpu. Returns 0, or an error number where a process may not be traced. It ends
 * with tracee_end(), or with the tracer.
 */
int tracee_start(int cpu);
void tracee_end(void);

/* Moves it to a CPU, on which it is when it goes on. */
void tracee_move(int cpu);

/*
 * Has a second thread of the same process run on its first CPU, where the kernel gives it the
 * concurrency id that the tracee had there. The caller must be on the same CPU. It ends with
 * tracee_vacate(), or after a moment by itself.
 */
void tracee_occupy(void);
void tracee_vacate(void);

/* Gives it a variable of its own the value that this process has computed. */
void tracee_set(const unsigned int *variable, unsigned int value);

/* Lets it go on from the begin of a function, with tracee->call as argument. */
void tracee_begin(uintptr_t function);

/*
 * Lets it go on, by one instruction (PTRACE_SINGLESTEP) or until it stops by itself (PTRACE_CONT),
 * with a signal if that is not 0. signal tells the one that stopped or ended it.
 */
enum stop tracee_run(PTRACE_REQUEST request, int *signal);

void tracee_regs(struct arch_regs *regs);
void tracee_set_regs(const struct arch_regs *regs);
void tracee_vectors(struct arch_vectors *vectors);
void tracee_set_vectors(const struct arch_vectors *vectors);

/* The armed descriptor: rseq_cs of its area. */
uint64_t tracee_armed(void);
void tracee_arm(uint64_t descriptor);

/* The id that the kernel gave it when it last went on. */
int tracee_id(enum rseq_percpu_mode mode);

/*
 * Breakpoints are those of the machine, or traps planted in the tracee's code: where there are no
 * others, or those of an emulated machine are slow.
 */
void tracee_plant_breakpoints(void);

/* Sets the one breakpoint there is, 0 for none. */
void tracee_break_at(uintptr_t address);
bool tracee_at_breakpoint(const struct arch_regs *regs);

/* Readies it to go on from the breakpoint, which may be gone then until it is set anew. */
void tracee_pass_breakpoint(void);

#endif /* TRACEE_H */
