/* SPDX-License-Identifier: MIT */
/*
 * function.h: what functions are written with that are subjects. To be included first, as the
 * library's inline functions must be compiled for the same registers as those that call them.
 *
 * A subject keeps its operands in registers over the operation and repeats an aborted try by
 * itself, with what the registers hold then. Where a function preserves every register that its
 * body is known to change, a register that its section changes without telling the compiler shows
 * to the caller.
 */
#ifndef FUNCTION_H
#define FUNCTION_H

#if defined(__x86_64__) && defined(__OPTIMIZE__)
# define KEEPS_REGISTERS	__attribute__((no_caller_saved_registers))
# define ALL_KEPT		true
#else
# define KEEPS_REGISTERS
# define ALL_KEPT		false
#endif

/* Functions of this kind may use general registers alone. */
#if defined(__x86_64__) && !defined(__clang__)
# pragma GCC push_options
# pragma GCC target("general-regs-only")
# define END_OF_SUBJECTS	_Pragma("GCC pop_options")
#else
# define END_OF_SUBJECTS
#endif

#ifdef __clang__
# define SEPARATE		__attribute__((noinline))
#else
# define SEPARATE		__attribute__((noipa))
#endif
#define BODY			static inline __attribute__((always_inline))

/*
 * Behind END_OF_SUBJECTS stand those that call other functions, which need not preserve anything:
 * in front of it gcc 12 takes a function of the same target for one that does.
 */
#define SUBJECT(name)		KEEPS_REGISTERS SEPARATE static int name(struct call *call)
#define OUTER_SUBJECT(name)	SEPARATE static int name(struct call *call)

/* A mutant's verbs come before the operations that are made of them. */
#ifdef MUTANT
# include "mutants.h"
#else
# define MUTANT			0
# define MUTANT_NAME		""
#endif

#include "data.h"

/* clang has the attribute of a function in its type. */
typedef int subject_function(struct call *call);
#define FUNCTION_AND_CODE(name)	(subject_function *)(name), (uintptr_t)(name)

/* The number of tries is in memory, so that no compiler unrolls the loop into several sections. */
BODY bool once_more(struct call *call, enum rseq_percpu_mode mode, int result)
{
	return result < 0 && current_id(mode) == call->id &&
	       RSEQ_ACCESS_ONCE(call->tries_left)-- > 0;
}

/* Compares a register with the memory that it was loaded from. */
#define CHANGED(operand)	(RSEQ_READ_ONCE(call->operand) != (operand))

#endif /* FUNCTION_H */
