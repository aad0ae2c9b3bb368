/* SPDX-License-Identifier: MIT */
/*
 * worker.h: what the scenarios of the worker share.
 *
 * The worker is a program that some circumstance is put around: an environment, a launcher, a
 * linkage, a neighbour. It goes through one scenario, checks what must hold in every circumstance
 * by itself, and prints the rest as key=value lines for a script to compare.
 */
#ifndef WORKER_H
#define WORKER_H

#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>

/* What must hold: a message on the standard error stream, and exit status 1 in the end. */
#define check(condition)							\
	do {									\
		if (!(condition))						\
			worker_complain(__FILE__, __LINE__, #condition);	\
	} while (0)

void worker_complain(const char *file, int line, const char *what);

/* Complaints so far; for a child process to hand on as its exit status. */
int worker_complaints(void);

/* One line of the output. */
void worker_print(const char *key, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The errno of a call that may have failed, or 0. */
static inline int worker_error(int result)
{
	return result ? errno : 0;
}

/* Of the calling thread; checks that the kernel says the same of the registration. */
struct rseq_info worker_info(void);

/* Prints it, each key behind the prefix. */
void worker_print_info(const char *prefix);

/* Adds of one thread in one round. */
extern int worker_adds;

/*
 * Counts in nr threads, of which every other registers before it does, and in the caller; checks
 * that the sum is exact. Returns how many of the threads had rseq in the end.
 */
int worker_count(int nr);

/* Runs a function in a thread, to its end. */
void worker_in_thread(void *(*function)(void *), void *argument);

/* Raises the child's complaints to the caller's; checks that it ended by itself. */
void worker_wait(pid_t child);

/* Scenarios: the argument may be NULL. */
void worker_report(const char *argument);
void worker_late_filter(const char *argument);
void worker_foreign(const char *argument);
void worker_shared(const char *argument);
void worker_exit_order(const char *argument);
void worker_fork(const char *argument);
void worker_vfork(const char *argument);
void worker_clone(const char *argument);
void worker_spawn(const char *argument);
void worker_exec(const char *argument);

#endif /* WORKER_H */
