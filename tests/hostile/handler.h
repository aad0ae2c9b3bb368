/* SPDX-License-Identifier: MIT */
/*
 * handler.h: what is interrupted between any two instructions, and what a signal handler does then.
 *
 * A subject is a structure with the deeds that can be done to it: by the thread that is
 * interrupted, or by the handler, or both. The tracer (test-handler.c) chooses the moments.
 */
#ifndef HANDLER_H
#define HANDLER_H

#include "works.h"

struct deed {
	const char *name;
	void (*run)(void);
	bool in_handlers;		/* can be done by the handler */
	bool only_in_handlers;
	bool sometimes;			/* interrupted by itself alone, or by the first deed */
};

struct subject {
	const char *name;
	const char *states;		/* a letter for each state that it is tried in */
	void (*create)(void);
	void (*prepare)(char state, const struct deed *deed);
	void (*judge)(void);		/* complains */
	const struct deed *deeds;
	size_t nr_deeds;
	bool varies;			/* malloc() does not do the same each time */
};

/*
 * States: nothing is there, or is not since somebody has just taken it, something is, there is no
 * room for more, something is there that a thread without rseq put there, or the process has never
 * used the library.
 */
#define EMPTY		'e'
#define CLOSED		'c'
#define SOME		's'
#define FULL		'f'
#define MIXED		'm'
#define FIRST		'1'

extern const struct subject *const subjects[];
extern const size_t nr_subjects;

/* Whether the handler is at work; how often it did its deed. */
extern bool in_handler;
extern int nr_acts;

/* handler-ring.c */
extern const struct subject ring_subject, overwritten_ring_subject;

/* handler-locks.c */
extern const struct subject lock_subject, refcount_subject, cache_subject, thread_subject,
	make_subject;

/* Runs a function on this CPU in a thread that has no rseq. */
void without_rseq(void (*function)(void));

#define DEEDS(table)	(table), sizeof(table) / sizeof((table)[0])

#endif /* HANDLER_H */
