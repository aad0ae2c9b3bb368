/* SPDX-License-Identifier: MIT */
/*
 * storm.h: disturbs threads, so that their critical sections are aborted: by migration, by signals,
 * by other threads that take the CPU for a moment, and by membarrier fences.
 */
#ifndef STORM_H
#define STORM_H

#include <stdbool.h>

enum storm_kind {
	STORM_MIGRATE	= 1 << 0,
	STORM_SIGNAL	= 1 << 1,
	STORM_WAKE	= 1 << 2,
	STORM_FENCE	= 1 << 3,
	STORM_ALL	= STORM_MIGRATE | STORM_SIGNAL | STORM_WAKE | STORM_FENCE,
};

struct storm;

/*
 * Starts the kinds that this machine allows, for up to nr_threads threads. Each signal calls
 * on_signal, if that is not NULL, in the thread it hits. Returns NULL where memory or threads lack.
 */
struct storm *storm_start(unsigned int kinds, unsigned int nr_threads, void (*on_signal)(void));

/* The calling thread goes into the storm, and out of it; index is its own, below nr_threads. */
void storm_enter(struct storm *storm, unsigned int index);
void storm_leave(struct storm *storm, unsigned int index);

/* How many disturbances there were, by kind; may be asked at any time. */
unsigned long storm_count(const struct storm *storm, enum storm_kind kind);

/* Ends it; all threads must have left. */
void storm_stop(struct storm *storm);

/* STRESS_SECONDS, 3 by default. */
long storm_seconds(void);

/* More CPUs than two make collisions rare. */
#define STORM_MAX_CPUS	2
#define STORM_MAX_THREADS	128
void storm_keep_to_few_cpus(void);

/*
 * Runs threads for storm_seconds(), each of which works until *stop, with a pointer to its number.
 * The calling thread calls meanwhile() over and over, or sleeps if that is NULL. A broken structure
 * may lead its threads in circles: they are ended by a signal in the end.
 */
void storm_run(unsigned int nr_threads, void *(*work)(void *index), void (*meanwhile)(void),
		bool *stop);

/* Says how many disturbances and aborts there were a second, so that a run without them shows. */
void storm_report(const struct storm *storm);

/* A structure in a storm: what each of its tests is made of. */
struct storm_test {
	unsigned int nr_threads;	/* every fourth has no rseq, the others are registered */
	int (*set_up)(void);		/* on the few CPUs already. 0, or -1 */
	unsigned long (*round)(unsigned int number);	/* the threads' differ; returns its turns */
	void (*on_signal)(void);
	void (*meanwhile)(void);	/* as in storm_run() */
	void (*report)(unsigned long turns);	/* all rounds' */
	void (*check)(unsigned long turns);	/* afterwards; what is wrong is a mistake */
};

/* Runs it. Returns the exit status: 0 if there was no mistake. */
int storm_test(const struct storm_test *test);

/* What must not be was seen; any thread, and signal handlers. */
void storm_mistake(void);

#endif /* STORM_H */
