/* SPDX-License-Identifier: MIT */
/*
 * subjects.h: the functions that are interrupted. Each holds one critical section of the library,
 * and together they hold all of them, in all modes: a section that is in no subject counts as not
 * tried, and that fails the test.
 *
 * To add the sections of a data structure NAME, write NAME.c with what follows, as counter.c does;
 * name its struct structure in subjects.c, and both files in local.mk.
 *
 * 1. #include "function.h" before all else. For each inlined section a function
 *		SUBJECT(f) { ...load operands of call into locals of the same names...
 *			do result = ...; while (once_more(call, mode, result));
 *			call->modified = CHANGED(operand) || ...; return result; }
 *    that calls the structure's operation, and END_OF_SUBJECTS behind the last one. The result is
 *    0 if it has committed, 1 if it left by a comparison, -1 if it was aborted; what it returned
 *    beside that goes to call->output, as a number that the model knows, too. One that completes
 *    by itself when it is aborted (through a slow path) needs no loop. A section within the
 *    library, such as a slow path's, is reached by an OUTER_SUBJECT(f), behind END_OF_SUBJECTS,
 *    that calls it; its entry names the library's function as the code, or 0 if that is static and
 *    the section the last one that the function begins. Entries name functions through
 *    FUNCTION_AND_CODE() or a cast to (subject_function *), which clang wants.
 * 2. The data, which the structure's init() makes once: data_shared() gives memory that the tracer
 *    and the processes of the test share, data_share() makes what the library has mapped shared.
 *    Regions say where each id's part of them is; all of it is compared. What an operation puts
 *    into the row that it finds by itself is the same for all ids. reset() gives an id the state
 *    that each trial with an input begins with: full, empty, or neither. tidy() makes equal what
 *    nobody can tell apart, such as what is left behind a count, before data are compared.
 * 3. For each operation a struct operation: what a call is prepared with for an input and an id,
 *    and model(), which does in plain C what the documentation says, to the data of call->id, and
 *    sets call->output. Where a try may write before it commits, call->scratch says. An operation
 *    may return things in registers (asm with outputs): outputs says how many.
 * 4. Conflicts: what another thread may do meanwhile to the same id's data. Each runs operations
 *    through run(), which is once the model, in the tracer, and once the real thing, in a signal
 *    handler; or writes the data in plain C, as an operation that is made from another CPU does.
 *    There must be some whose order with the operation can be told from the data, and one that
 *    brings back what the operation has compared (ABA). An operation's own conflicts are tried
 *    at every point, all others within the section.
 * 5. See each mistake found that its sections can have: after touch NAME.c,
 *    make tests/abort/libabort.a CPPFLAGS=-DMUTANT=4 puts one of those of mutants.h into them.
 */
#ifndef SUBJECTS_H
#define SUBJECTS_H

#include <rseq/rseq.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conflict;
struct operation;

/* The operands of one call, and what it tells beside its result. Structures may add operands. */
struct call {
	intptr_t *v, *v2, *load;
	intptr_t expect, expect2, newv, newv2, count;
	long offset;
	char *dst, *src;
	size_t len;
	void *object;			/* the data structure */
	void *item;

	int id;				/* CPU number or concurrency id */
	void *scratch;			/* bytes of data that it may write before it commits */
	size_t scratch_bytes;

	unsigned int tries_left;	/* of those that it makes by itself when aborted */
	bool modified;			/* out: a register that it only reads has changed */
	intptr_t output;		/* out: what it returned */
};

/* Operands that an operation is tried with. */
struct input {
	const char *name;
	int expect;			/* for prepare(), these three */
	intptr_t expect2;
	size_t len;
	int state;			/* for reset() */
	bool thorough;			/* try all conflicts */
	bool redundant;			/* others reach the same instructions */
	bool narrow;			/* copies do without the widest registers */
};

/* Runs one operation. Returns what the operation returns. */
typedef int runner(const struct operation *operation, enum rseq_percpu_mode mode,
		struct call *call);

/* What another thread, or a signal handler, does in the middle of an operation. */
struct conflict {
	const char *name;
	bool by_cpu;			/* goes by the CPU number, which excludes no mm_cid */
	bool restores;			/* the memory that is compared; tried at every point */

	/*
	 * Does it to the data of id. Returns false if an operation found another id, which that of
	 * model_run never does.
	 */
	bool (*run)(enum rseq_percpu_mode mode, int id, runner *run);
};

struct operation {
	bool takes_id;			/* else it finds its row by itself */
	bool copies;			/* its section may change RSEQ_ASM_COPY_CLOBBERS, too */
	bool temporaries;		/* and RSEQ_ASM_TEMPORARIES */
	unsigned int outputs;		/* registers that its section returns something in */
	unsigned int own;		/* bits of the conflicts that are tried at every point */
	const struct input *inputs;
	size_t nr_inputs;
	void (*prepare)(struct call *call, const struct input *input, int id);
	int (*model)(struct call *call);
};

/* A part of the data that each id has: that of id is at base + id * stride. */
struct region {
	const char *name;		/* of one element */
	char *base;			/* set by init() */
	size_t stride;			/* the same; 0 for what all ids have in common */
	size_t nr, element;		/* elements, and bytes of each */
};

struct subject {
	const char *name;
	const struct operation *operation;
	enum rseq_percpu_mode mode;
	bool keeps_registers;		/* preserves all registers but that of its result */
	int (*function)(struct call *call);	/* 0, 1, -1 as an operation */
	uintptr_t code;			/* the function that the section is part of, or 0 */
	const struct structure *structure;	/* set by subjects_init() */
};

struct structure {
	const char *name;
	int (*init)(void);		/* before any fork. 0, or -1 with errno */
	void (*reset)(int id, const struct input *input);
	void (*tidy)(int id);		/* or NULL */
	const struct region *regions;
	size_t nr_regions;
	const struct conflict *conflicts;
	size_t nr_conflicts;
	const struct subject *subjects;		/* the last one has no name */
};

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define ARRAY(array)		(array), ARRAY_SIZE(array)

extern const struct structure
	ops_structure,
	counter_structure,
	list_structure,
	lock_structure,
	mempool_structure,
	refcount_structure,
	ring_structure,
	stack_structure;

#define MAX_SUBJECTS	256

/* All subjects, those of one structure side by side. subjects_init() is to be called first. */
extern struct subject subjects[MAX_SUBJECTS];
extern size_t nr_subjects;
int subjects_init(void);

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
