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
 *	RSEQ_ASM_COPY(dst, src, len)	copy len bytes, through registers of rseq_vector_bytes at
 *					most; scratch stores
 *	RSEQ_ASM_COPY_WORDS(dst, src, len)	the same, if len is a multiple of 8 and not 0
 *
 * And verbs for sections that need more than one scratch register, or leave a result in one. They
 * take registers and targets as they are written in assembly: RSEQ_ASM_T1 and RSEQ_ASM_T2, or
 * RSEQ_ASM_REG("operand"); RSEQ_ASM_EXIT_LABEL("label"), RSEQ_ASM_RESULT_LABEL("name") or
 * RSEQ_ASM_ABORT_LABEL. Memory is 64 bits wide.
 *
 *	RSEQ_ASM_INDEX_BY(base, id, target)	as RSEQ_ASM_INDEX, with the field whose number is in
 *					the operand id, and leaves in threads that are not
 *					registered
 *	RSEQ_ASM_GET_ID(operand, id)	operand = the field, 32 bits, whose number is in the
 *					operand id
 *	RSEQ_ASM_ROW(base, offset)	what is offset bytes into that row, as memory
 *	RSEQ_ASM_AT_REG(reg, offset)	what reg points to, offset bytes on, as memory
 *	RSEQ_ASM_CHECK_ID_BY(value, id, target)	leave if the field whose number is in the operand
 *					id is not the operand value
 *	RSEQ_ASM_NEXT_WORD(reg)		reg += 8
 *	RSEQ_ASM_PREVIOUS_WORD(reg)	reg -= 8
 *	RSEQ_ASM_GET(reg, memory)	reg = memory
 *	RSEQ_ASM_PUT(reg, memory)	memory = reg; one store
 *	RSEQ_ASM_PUT_RELEASE(reg, base)	what base points to = reg, after all accesses before it
 *	RSEQ_ASM_BZ(reg, target)	leave if reg == 0
 *	RSEQ_ASM_BNZ_AT(memory, target)	leave if memory != 0; changes T1
 *	RSEQ_ASM_BNA_AT(reg, memory, target)	leave if reg <= memory, unsigned; changes T2
 *	RSEQ_ASM_BAE_AT(reg, memory, target)	leave if reg >= memory, unsigned; changes T2
 *	RSEQ_ASM_BA_AT(reg, memory, target)	leave if reg > memory, unsigned; changes T2
 *	RSEQ_ASM_BB_AT(reg, memory, target)	leave if reg < memory, unsigned; changes T2
 *	RSEQ_ASM_GET_ROW(reg, base)	reg = the address of that row
 *	RSEQ_ASM_GET_SUM(reg, left, right)	reg = left + right, registers all three
 *	RSEQ_ASM_AND_AT(reg, memory)	reg &= memory; changes T2
 *	RSEQ_ASM_ADD_AT(reg, memory)	reg += memory; changes T2
 *	RSEQ_ASM_SET(reg, value)	reg = value, a small number
 *	RSEQ_ASM_JUMP_LOCAL(target)	to a label of the same statement
 *	RSEQ_ASM_ABORT_LABEL		target that does what an abort does
 *	RSEQ_ASM_RESULTS(text)		text out of the way of a section that commits
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
	!defined(RSEQ_ASM_GET_ID) || \
	!defined(RSEQ_ASM_INDEXED) || !defined(RSEQ_ASM_BNE) || !defined(RSEQ_ASM_LOAD) || \
	!defined(RSEQ_ASM_BEQ_LOADED) || !defined(RSEQ_ASM_LOAD_AT_LOADED) || \
	!defined(RSEQ_ASM_LOADED_AT) || !defined(RSEQ_ASM_STORE_LOADED) || \
	!defined(RSEQ_ASM_STORE) || !defined(RSEQ_ASM_STORE_RELEASE) || \
	!defined(RSEQ_ASM_ADD) || !defined(RSEQ_ASM_INDEX_BY) || !defined(RSEQ_ASM_ROW) || \
	!defined(RSEQ_ASM_T1) || !defined(RSEQ_ASM_T2) || !defined(RSEQ_ASM_TEMPORARIES) || \
	!defined(RSEQ_ASM_CHECK_ID_BY) || \
	!defined(RSEQ_ASM_NEXT_WORD) || !defined(RSEQ_ASM_PREVIOUS_WORD) || \
	!defined(RSEQ_ASM_AT_REG) || !defined(RSEQ_ASM_GET) || !defined(RSEQ_ASM_PUT) || \
	!defined(RSEQ_ASM_PUT_RELEASE) || !defined(RSEQ_ASM_BZ) || \
	!defined(RSEQ_ASM_BNZ_AT) || !defined(RSEQ_ASM_BNA_AT) || \
	!defined(RSEQ_ASM_BAE_AT) || !defined(RSEQ_ASM_BA_AT) || !defined(RSEQ_ASM_BB_AT) || \
	!defined(RSEQ_ASM_GET_ROW) || !defined(RSEQ_ASM_GET_SUM) || \
	!defined(RSEQ_ASM_AND_AT) || !defined(RSEQ_ASM_ADD_AT) || !defined(RSEQ_ASM_SET) || \
	!defined(RSEQ_ASM_ABORT_LABEL) || !defined(RSEQ_ASM_RESULTS) || \
	!defined(RSEQ_ASM_JUMP_LOCAL) || !defined(RSEQ_ASM_COPY) || \
	!defined(RSEQ_ASM_COPY_WORDS)
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
	RSEQ_SECTION_RECORD_EXIT(RSEQ_ASM_EXIT_LABEL(label))			\
	RSEQ_ASM_EXIT(label)
#define RSEQ_SECTION_RECORD_EXIT(target)					\
	".pushsection __rseq_exit_point_array, \"aw?\"\n\t"			\
	".quad .Lrseq_start_%=, " target "\n\t"				\
	".popsection\n"

/* Where the kernel leads an aborted try: out of line, and named after the operation. */
#define RSEQ_SECTION_ABORT(operation, label)					\
	".pushsection __rseq_failure, \"ax?\"\n\t"				\
	RSEQ_ASM_SIGNATURE							\
	".Lrseq_abort_%=:\n"							\
	"rseq_abort_" operation "_%=:\n\t"					\
	RSEQ_ASM_JUMP(label)							\
	".popsection\n\t"

#define RSEQ_ASM_REG(operand)	"%[" operand "]"

/*
 * A section that leaves a result in a register is an asm statement without labels: compilers get
 * asm goto with outputs wrong (gcc before 12.4 and 13.3, its bug 113921). It ends in
 * RSEQ_SECTION_RESULTS, where each way out but the commit sets the result to a value of its own:
 * RSEQ_SECTION_RESULT("name", "operand", "value") for those that branch to
 * RSEQ_ASM_RESULT_LABEL("name"), and for an abort and a branch to RSEQ_ASM_ABORT_LABEL what
 * RSEQ_SECTION_RESULTS says.
 */
#define RSEQ_ASM_RESULT_LABEL(name)	".Lrseq_result_" name "_%="
#define RSEQ_SECTION_RESULT(name, operand, value)				\
	RSEQ_ASM_RESULT_LABEL(name) ":\n\t"					\
	RSEQ_ASM_SET(RSEQ_ASM_REG(operand), value)					\
	RSEQ_ASM_JUMP_LOCAL(".Lrseq_left_%=")					\
	RSEQ_SECTION_RECORD_EXIT(RSEQ_ASM_RESULT_LABEL(name))
#define RSEQ_SECTION_RESULTS(operation, operand, aborted, results)		\
	RSEQ_ASM_RESULTS(results)						\
	".pushsection __rseq_failure, \"ax?\"\n\t"				\
	RSEQ_ASM_SIGNATURE							\
	".Lrseq_abort_%=:\n"							\
	"rseq_abort_" operation "_%=:\n\t"					\
	RSEQ_ASM_SET(RSEQ_ASM_REG(operand), aborted)					\
	RSEQ_ASM_JUMP_LOCAL(".Lrseq_left_%=")					\
	".popsection\n"								\
	".Lrseq_left_%=:\n\t"

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

/*
 * Fields of the area that choose among rows, by their numbers as words of 32 bits. The mm_cid of a
 * thread that is not registered may be anything: its number alone has RSEQ_ID_UNSURE_BIT.
 */
#define RSEQ_ID_CPU_ID		((uintptr_t)1)
#define RSEQ_ID_MM_CID		((uintptr_t)6)
#define RSEQ_ID_UNSURE_BIT	2

/* Where a structure's rows are, and which field chooses among them. */
struct rseq_rows {
	char *first;
	uintptr_t id;
};

/*
 * A handle is both in one word: a section has nothing to load before it begins. Sections take as
 * long as their loads and stores do, and a compiler repeats what is loaded before each of them.
 */
#define RSEQ_HANDLE_ID		((uintptr_t)7)

RSEQ_INLINE struct rseq_rows rseq_rows_of(const void *handle)
{
	struct rseq_rows rows;

	rows.first = (char *)((uintptr_t)handle & ~RSEQ_HANDLE_ID);
	rows.id = (uintptr_t)handle & RSEQ_HANDLE_ID;
	return rows;
}

#define RSEQ_SECTION_ROWS(of)							\
	[rseq_area] "r" (RSEQ_ASM_AREA), [rows] "r" ((of)->first), [id] "r" ((of)->id)

#endif /* RSEQ_SECTION_H */
