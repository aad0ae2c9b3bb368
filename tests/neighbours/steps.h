/* SPDX-License-Identifier: MIT */
/*
 * steps.h: what the program does, one word of its command line after the other.
 */
#ifndef STEPS_H
#define STEPS_H

#include "user.h"

#include <stdbool.h>
#include <stdio.h>

/* What must hold: a message on the standard error stream, and exit status 1 in the end. */
#define check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,	\
				#condition);					\
			__atomic_store_n(&steps_failed, true, __ATOMIC_RELAXED);	\
		}								\
	} while (0)

extern bool steps_failed;

/* Threads, of which the calling one is the first. */
extern int nr_threads;
void threads_start(int nr);
void threads_run(void (*function)(int index));	/* in all of them at once; waits for the last */
void threads_end(void);

/* Modules that were loaded. */
struct loaded {
	void *handle;
	char name[32];
	const struct user *user;	/* or NULL */
};

#define MAX_LOADED	64

extern struct loaded loaded[MAX_LOADED];
extern int nr_loaded;

void modules_begin(void);
void module_load(const char *name_and_path, bool in_namespace);
void module_close(const char *name);
void module_refuse(const char *path);
void modules_fill(const char *pattern);
void modules_fill_namespaces(const char *path);

/* Of the neighbour that was found last; do nothing where there is none. */
int call_neighbour_touch(void);
int call_neighbour_leave(void);
bool has_neighbour(void);

#endif /* STEPS_H */
