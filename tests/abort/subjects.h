/* SPDX-License-Identifier: MIT */
/*
 * subjects.h: the functions that are interrupted. Each holds one critical section of the library,
 * and together they hold all of them, in all modes.
 */
#ifndef SUBJECTS_H
#define SUBJECTS_H

#include <rseq/rseq.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum operation {
	LOAD_CBNE_STORE,
	LOAD_CBEQ_STORE_ADD_LOAD_STORE,
	LOAD_ADD_STORE,
	LOAD_ADD_LOAD_LOAD_ADD_STORE,
	LOAD_CBNE_LOAD_CBNE_STORE,
	LOAD_CBNE_STORE_STORE,
	LOAD_CBNE_MEMCPY_STORE,
	COUNTER_ADD,
	NR_OPERATIONS
};

/* The operands of one call, and what it tells beside its result. */
struct call {
	intptr_t *v, *v2, *load;
	intptr_t expect, expect2, newv, newv2, count;
	long offset;
	char *dst, *src;
	size_t len;
	struct rseq_counter *counter;
	int id;				/* CPU number or concurrency id */

	unsigned int tries_left;	/* of those that it makes by itself when aborted */
	bool modified;			/* out: a register that it only reads has changed */
};

struct subject {
	const char *name;
	enum operation operation;
	enum rseq_percpu_mode mode;
	bool constant;			/* operands are constants: those of the input "second" */
	bool takes_id;			/* else it finds its CPU by itself */
	bool keeps_registers;		/* preserves all registers but that of its result */
	int (*function)(struct call *call);	/* 0, 1, -1 as an operation */
	uintptr_t code;			/* the function that the section is part of */
};

/* Operands of the subjects with constants. */
#define SECOND_OLD	7
#define SECOND_NEW	9
#define ADDEND		16

extern const struct subject subjects[];
extern const size_t nr_subjects;

/* What is wrong with the sections of this program: 0 and "" unless it is a mutant. */
extern const int mutant;
extern const char *const mutant_name;

/* The id that a subject of this mode wants, as the kernel keeps it. */
RSEQ_INLINE int current_id(enum rseq_percpu_mode mode)
{
	struct rseq_abi *area = rseq_get_abi();

	if (mode == RSEQ_PERCPU_CPU_ID)
		return (int)RSEQ_READ_ONCE(area->cpu_id);
	return (int)RSEQ_READ_ONCE(area->mm_cid);
}

#endif /* SUBJECTS_H */
