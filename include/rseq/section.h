/* SPDX-License-Identifier: MIT */
/*
 * rseq/section.h: how a critical section is written.
 *
 * A section is one asm goto statement: RSEQ_SECTION_BEGIN, the verbs of its body, the last
 * instruction of which is its one commit store, RSEQ_SECTION_END, RSEQ_SECTION_EXITS and
 * RSEQ_SECTION_ABORT. The kernel leads a thread that is preempted, migrated or signalled between
 * begin and end to the abort label instead of back. Thus every try starts anew: inputs are left as
 * they are, results appear with the commit, and a store before it (RSEQ_ASM_SCRATCH) goes to
 * memory that nobody reads unless it commits.
 *
 * Verbs that each architecture has. They name C operands and labels without %[] and %l[]:
 *
 *	RSEQ_ASM_ARM(descriptor)	tell the kernel which section comes; the last instruction
 *					is the store
 *	RSEQ_ASM_JUMP(label)		to any distance within a module
 *	RSEQ_ASM_CHECK_REGISTERED(label)	leave if the thread's cpu_id is negative
 *	RSEQ_ASM_CHECK_ID(id, label)	leave if the thread's id is not this one
 *	RSEQ_ASM_INDEX(base, label)	leave if the thread's id is negative, else find the row of
 *					base that belongs to it
 *	RSEQ_ASM_INDEXED(base)		that row, as memory
 *	RSEQ_ASM_AT(pointer)		what an operand points to, as memory
 *	RSEQ_ASM_BNE(memory, value, label)	leave if memory != value
 *	RSEQ_ASM_LOAD(memory)		loaded = memory
 *	RSEQ_ASM_BEQ_LOADED(value, label)	leave if loaded == value
 *	RSEQ_ASM_LOAD_AT_LOADED(offset)	loaded = what loaded + offset points to
 *	RSEQ_ASM_LOADED_AT		what loaded points to, as memory
 *	RSEQ_ASM_STORE_LOADED(memory)	memory = loaded; one store
 *	RSEQ_ASM_STORE(value, memory)	memory = value; one store
 *	RSEQ_ASM_STORE_RELEASE(value, memory)	the same, after all accesses before it
 *	RSEQ_ASM_ADD(addend, memory)	memory += addend, in one store
 *	RSEQ_ASM_COPY(dst, src, len)	copy len bytes; scratch stores
 *
 * The row and the loaded value live until the next verb that is not named after them. Scratch
 * registers are the architecture's RSEQ_ASM_CLOBBERS, and RSEQ_ASM_COPY_CLOBBERS for a copy.
 */
#ifndef RSEQ_SECTION_H
#define RSEQ_SECTION_H

#include <rseq/abi.h>
#include <rseq/compiler.h>
#include <rseq/thread.h>

/*
 * Distance between the rows of two CPUs in the library's own per-CPU memory, in bytes. 64 more
 * than a power of two: with that alone, one item's rows would share a cache set and a sum over
 * many CPUs would miss in every row.
 */
#define RSEQ_PERCPU_STRIDE_SHIFT	16
#define RSEQ_PERCPU_SKEW_SHIFT		6
#define RSEQ_PERCPU_STRIDE		65600

#if RSEQ_PERCPU_STRIDE != (1 << RSEQ_PERCPU_STRIDE_SHIFT) + (1 << RSEQ_PERCPU_SKEW_SHIFT)
# error "the stride and its shifts differ"
#endif

/* CPU numbers that RSEQ_ASM_INDEX can multiply in 31 bits. */
#define RSEQ_PERCPU_MAX_NR_CPUS		32736

#if defined(__x86_64__) && !defined(__ILP32__)
# include <rseq/arch/x86-64.h>
#elif defined(__aarch64__) && !defined(__ILP32__)
# include <rseq/arch/aarch64.h>
#else
# error "librseq has no critical sections for this architecture yet"
#endif

#if !defined(RSEQ_SIG) || !defined(RSEQ_ASM_SIGNATURE) || !defined(RSEQ_ASM_AREA) || \
	!defined(RSEQ_ASM_AREA_FIELD) || !defined(RSEQ_ASM_CLOBBERS) || \
	!defined(RSEQ_ASM_COPY_CLOBBERS) || !defined(RSEQ_ASM_VALUE) || \
	!defined(RSEQ_ASM_ADDEND) || !defined(RSEQ_ASM_AT) || \
	!defined(RSEQ_ASM_ARM) || !defined(RSEQ_ASM_JUMP) || \
	!defined(RSEQ_ASM_EXIT_LABEL) || !defined(RSEQ_ASM_EXIT) || \
	!defined(RSEQ_ASM_EXITS) || !defined(RSEQ_ASM_CHECK_REGISTERED) || \
	!defined(RSEQ_ASM_CHECK_ID) || !defined(RSEQ_ASM_INDEX) || \
	!defined(RSEQ_ASM_INDEXED) || !defined(RSEQ_ASM_BNE) || !defined(RSEQ_ASM_LOAD) || \
	!defined(RSEQ_ASM_BEQ_LOADED) || !defined(RSEQ_ASM_LOAD_AT_LOADED) || \
	!defined(RSEQ_ASM_LOADED_AT) || !defined(RSEQ_ASM_STORE_LOADED) || \
	!defined(RSEQ_ASM_STORE) || !defined(RSEQ_ASM_STORE_RELEASE) || \
	!defined(RSEQ_ASM_ADD) || !defined(RSEQ_ASM_COPY)
# error "this architecture's header lacks a verb"
#endif

/*
 * The descriptor, a pointer to it for tools (debuggers, recorders, verifiers), and its arming.
 * The flag ? puts them into the group of an inline function, so that a linker keeps or drops all
 * of it.
 */
#define RSEQ_SECTION_BEGIN							\
	".pushsection __rseq_cs, \"aw?\"\n\t"					\
	".balign 32\n"								\
	".Lrseq_descriptor_%=:\n\t"						\
	".long 0, 0\n\t"							\
	".quad .Lrseq_start_%=, .Lrseq_end_%= - .Lrseq_start_%=, .Lrseq_abort_%=\n\t"	\
	".popsection\n\t"							\
	".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"				\
	".quad .Lrseq_descriptor_%=\n\t"					\
	".popsection\n\t"							\
	RSEQ_ASM_ARM(".Lrseq_descriptor_%=")					\
	".Lrseq_start_%=:\n\t"

#define RSEQ_SECTION_END							\
	".Lrseq_end_%=:\n\t"

/* The labels that the body leaves to, each told to tools: RSEQ_SECTION_EXIT("a") ... */
#define RSEQ_SECTION_EXITS(exits)						\
	RSEQ_ASM_EXITS(exits)
#define RSEQ_SECTION_EXIT(label)						\
	".pushsection __rseq_exit_point_array, \"aw?\"\n\t"			\
	".quad .Lrseq_start_%=, " RSEQ_ASM_EXIT_LABEL(label) "\n\t"		\
	".popsection\n"								\
	RSEQ_ASM_EXIT(label)

/* Where the kernel leads an aborted try: out of line, and named after the operation. */
#define RSEQ_SECTION_ABORT(operation, label)					\
	".pushsection __rseq_failure, \"ax?\"\n\t"				\
	RSEQ_ASM_SIGNATURE							\
	".Lrseq_abort_%=:\n"							\
	"rseq_abort_" operation "_%=:\n\t"					\
	RSEQ_ASM_JUMP(label)							\
	".popsection\n\t"

/*
 * Stands before an instruction whose store is no commit, and tells tools so. Names are unique
 * within a critical section.
 */
#define RSEQ_ASM_SCRATCH(name)							\
	".pushsection __rseq_scratch, \"aw?\"\n\t"				\
	".quad .Lrseq_scratch_" name "_%=\n\t"					\
	".popsection\n"								\
	".Lrseq_scratch_" name "_%=:\n\t"

/* What every section takes: the area, and which field of it is the id, by its offset in bytes. */
#define RSEQ_SECTION_OPERANDS(id)						\
	[rseq_area] "r" (RSEQ_ASM_AREA), [rseq_id] "i" (id)

#endif /* RSEQ_SECTION_H */
