/* SPDX-License-Identifier: MIT */
/*
 * arch.h: registers, traps, breakpoints and lengths of instructions. Each architecture has a file
 * of its own, which is empty for the others.
 */
#ifndef ARCH_H
#define ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__x86_64__)
# define ARCH_NAME		"x86-64"
# define ARCH_REGS		27	/* words of the register set NT_PRSTATUS */
# define ARCH_VECTOR_SET	NT_X86_XSTATE	/* NT_PRFPREG where the processor has no more */
# define ARCH_VECTOR_BYTES	16384	/* at most */
# define ARCH_ARMING		2	/* instructions that RSEQ_ASM_ARM has */
# define ARCH_RED_ZONE		128	/* bytes below the stack pointer that a function may use */
#elif defined(__aarch64__)
# define ARCH_NAME		"aarch64"
# define ARCH_REGS		34
# define ARCH_VECTOR_SET	NT_PRFPREG
# define ARCH_VECTOR_BYTES	528
# define ARCH_ARMING		3
# define ARCH_RED_ZONE		0
#endif

struct arch_regs {
	uint64_t word[ARCH_REGS];
};

struct arch_vectors {
	size_t bytes;			/* that there are */
	unsigned char byte[ARCH_VECTOR_BYTES];
};

/* A set of registers: general ones by their index, and vector registers by their number. */
struct arch_set {
	uint64_t general;
	uint64_t vector;
};

uint64_t arch_pc(const struct arch_regs *regs);
void arch_set_pc(struct arch_regs *regs, uintptr_t pc);
uint64_t arch_sp(const struct arch_regs *regs);
int arch_result(const struct arch_regs *regs);

/*
 * Sets regs so that function runs with one argument on this stack and returns to arch_trap. The
 * stack may be written to.
 */
void arch_call(struct arch_regs *regs, uintptr_t function, void *argument, void *stack_top);
bool arch_returned(const struct arch_regs *regs);

/* Executes a trap; the place of one, which never returns. */
void arch_stop_here(void);
extern const char arch_trap[];

/* Adds the register of this name, as the compiler knows it; other names are passed over. */
void arch_add(struct arch_set *set, const char *name);

/*
 * The name of a register in which the two differ, or NULL. Registers in except may differ; the
 * program counter and the flags always may.
 */
const char *arch_difference(const struct arch_regs *a, const struct arch_regs *b,
		const struct arch_set *except);
const char *arch_vector_difference(const struct arch_vectors *a, const struct arch_vectors *b,
		const struct arch_set *except);

/*
 * The same for a function that was called with the registers before and has returned. all: it
 * preserves all but that of its result, else those that the calling convention names.
 */
const char *arch_call_difference(const struct arch_regs *before, const struct arch_regs *after,
		bool all);

/*
 * A breakpoint of the traced thread; address 0 for none. Returns false where the machine or the
 * kernel has no more of them. arch_pass_breakpoint() must be called before a thread goes on that
 * was stopped by it; if the result is true, the breakpoint is gone then.
 */
bool arch_break_at(pid_t thread, uintptr_t address);
bool arch_pass_breakpoint(pid_t thread);

/* Bytes of an instruction, 0 for one that is not known; whether it may change the course. */
size_t arch_insn_length(const unsigned char *insn);
bool arch_insn_jumps(const unsigned char *insn);

/* Whether some processors do not have the instruction; copies do without on those. */
bool arch_insn_is_extension(const unsigned char *insn);

/*
 * Where an instruction begins to ask whether rows go by mm_cid: bytes that are passed over where
 * they do not, and how far behind it they are. Returns false for any other instruction.
 */
bool arch_insn_asks_for_cid(const unsigned char *insn, size_t *first, size_t *bytes);

/*
 * Bytes of a sequence of instructions that is never completed by single steps, 0 where there is
 * none: each step takes away the reservation that it begins with.
 */
size_t arch_unsteppable_bytes(const unsigned char *insn);

/*
 * For traps that are planted in code: what to write, how many bytes, how far behind the trap a
 * thread stops, and where a signal handler's context says that it was: at the trap, not behind it.
 */
extern const unsigned char arch_trap_insn[];
extern const size_t arch_trap_bytes;
extern const size_t arch_trap_pc_offset;
uintptr_t arch_context_pc(void *context, uintptr_t trap);
void arch_set_context_pc(void *context, uintptr_t pc);

#endif /* ARCH_H */
