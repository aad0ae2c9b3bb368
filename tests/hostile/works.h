/* SPDX-License-Identifier: MIT */
/*
 * works.h: one of each structure, which any threads may put to work, and which is looked at in the
 * end: nothing may be lost, doubled or torn. And three ways to run a test.
 */
#ifndef WORKS_H
#define WORKS_H

#include "support.h"

#include <rseq/section.h>

struct works;

/* NULL with errno, and nothing left, if one of them cannot be made. */
struct works *works_create(enum rseq_percpu_mode mode);

/* Does what can be done with each of them, once or often. For any thread. */
void works_round(struct works *works);
void works_use(struct works *works, int rounds);

/* The same without malloc() and what may wait: for a signal handler, or a child of fork(). */
void works_round_in_handler(struct works *works);

/* Called where a round may be suspended, in the middle of it. */
extern void (*works_pause)(void);

/* A system call filter forbids fences: the lock may say ENOSYS. */
extern bool works_without_fence;

/*
 * For who is alone with them: takes out what is in there, and complains unless it is what came in.
 * vanished: threads that were at work when this process left them behind by fork().
 */
void works_settle(struct works *works, int vanished);

/* After that; complains if one cannot be destroyed. */
void works_destroy(struct works *works, int vanished);

/* What must hold: a message on the standard error stream, and exit status 1 in the end. */
#define check(condition)							\
	do {									\
		if (!(condition))						\
			works_complain(__FILE__, __LINE__, #condition);		\
	} while (0)

void works_complain(const char *file, int line, const char *what);

/* Complaints so far: of this process, and of the children that it waited for. */
int works_complaints(void);

/* Complains unless the child ended by itself, without a complaint of its own. */
void works_wait(pid_t child);

/* Runs a function in a child, to its end. */
void works_in_child(void (*function)(void));

/* Runs a function in a thread, to its end. */
void works_in_thread(void *(*function)(void *), void *argument);

/*
 * Runs a test in new programs: with libc's registration, without, and with the library switched
 * off; under an emulator, which has no rseq, in this one. Returns 0, 1 if one of them failed, or
 * else SUPPORT_SKIP if one was skipped.
 */
int works_run_all_ways(char **argv, int (*run)(char **argv));

/* After which a process is taken to hang. Nothing takes as long, whatever else the machine does. */
#define WORKS_SECONDS	900

#endif /* WORKS_H */
