/* SPDX-License-Identifier: MIT */
/*
 * operations.h: every operation on one of each structure, and which system calls it may make.
 */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Groups of system calls, as the guide lists them. */
enum calls {
	NONE		= 0,
	WHERE		= 1 << 0,	/* which CPU this is, without rseq */
	MASK		= 1 << 1,	/* signals, while a lock is held or a thread registered */
	REGISTER	= 1 << 2,
	WHO		= 1 << 3,	/* which thread this is */
	FENCE		= 1 << 4,
	MEMORY_AT_FIRST	= 1 << 5,	/* if it was never done before */
	FUTEX		= 1 << 6,
	THREADS		= 1 << 7,	/* what libc needs for them */
};

/*
 * calls: in a registered thread that has done it before. fallback: in one without rseq. A thread's
 * first use of the library may take those of a registration as well.
 */
struct operation {
	const char *name;
	void (*run)(void);
	unsigned int calls, fallback;
	bool in_handlers;		/* may be done in signal handlers */
};

extern const struct operation operations[];
extern const size_t nr_operations;

/* Makes the structures; false with errno ENOMEM. */
bool operations_create(void);

#endif /* OPERATIONS_H */
