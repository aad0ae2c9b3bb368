/* SPDX-License-Identifier: MIT */
/*
 * arch-aarch64.c: see arch.h. Breakpoints are those of the debug unit, which stop a thread anew at
 * each attempt to go on, so that they are taken away first.
 */
#include "arch.h"

#include <rseq/section.h>

#ifdef __aarch64__
#include <asm/ptrace.h>
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <ucontext.h>

_Static_assert(sizeof(struct user_pt_regs) == ARCH_REGS * 8, "general registers");
_Static_assert(sizeof(struct user_fpsimd_state) == ARCH_VECTOR_BYTES, "vector registers");

#define NR_VECTORS	32
#define VECTOR_BYTES	16

#define REG(name)	(offsetof(struct user_pt_regs, name) / 8)

/* In the order of struct user_pt_regs; then come the program counter and the flags. */
static const char *const names[] = {
	"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
	"x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
	"x27", "x28", "x29", "x30", "sp",
};
#define NR_NAMES	(sizeof(names) / sizeof(names[0]))
#define FIRST_SAVED	19		/* x19 to x29 and sp survive a call */

static const char *const vector_names[NR_VECTORS] = {
	"v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",
	"v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
	"v27", "v28", "v29", "v30", "v31",
};

__asm__ (
	".pushsection .text\n"
	".globl arch_trap\n"
	"arch_trap:\n\t"
	"brk	#0\n"
	".popsection\n"
);

void arch_stop_here(void)
{
	__asm__ __volatile__ ("brk #0" : : : "memory");
}

uint64_t arch_pc(const struct arch_regs *regs)
{
	return regs->word[REG(pc)];
}

void arch_set_pc(struct arch_regs *regs, uintptr_t pc)
{
	regs->word[REG(pc)] = pc;
}

uint64_t arch_sp(const struct arch_regs *regs)
{
	return regs->word[REG(sp)];
}

int arch_result(const struct arch_regs *regs)
{
	return (int)(uint32_t)regs->word[0];
}

void arch_call(struct arch_regs *regs, uintptr_t function, void *argument, void *stack_top)
{
	regs->word[REG(sp)] = (uintptr_t)stack_top;
	regs->word[0] = (uintptr_t)argument;
	regs->word[30] = (uintptr_t)arch_trap;
	regs->word[REG(pc)] = function;
}

bool arch_returned(const struct arch_regs *regs)
{
	return arch_pc(regs) == (uintptr_t)arch_trap;
}

void arch_add(struct arch_set *set, const char *name)
{
	for (size_t i = 0; i < NR_NAMES; i++)
		if (!strcmp(names[i], name))
			set->general |= UINT64_C(1) << i;
	for (size_t i = 0; i < NR_VECTORS; i++)
		if (!strcmp(vector_names[i], name))
			set->vector |= UINT64_C(1) << i;
}

const char *arch_difference(const struct arch_regs *a, const struct arch_regs *b,
		const struct arch_set *except)
{
	for (size_t i = 0; i < NR_NAMES; i++)
		if (a->word[i] != b->word[i] && !(except->general >> i & 1))
			return names[i];
	return NULL;
}

const char *arch_vector_difference(const struct arch_vectors *a, const struct arch_vectors *b,
		const struct arch_set *except)
{
	for (size_t i = 0; i < NR_VECTORS; i++)
		if (memcmp(a->byte + i * VECTOR_BYTES, b->byte + i * VECTOR_BYTES, VECTOR_BYTES) &&
		    !(except->vector >> i & 1))
			return vector_names[i];
	return NULL;
}

/* No function of the compiler's preserves all registers here. */
const char *arch_call_difference(const struct arch_regs *before, const struct arch_regs *after,
		bool all)
{
	struct arch_set except = { 0 };

	(void)all;
	for (size_t i = 0; i < FIRST_SAVED; i++)
		except.general |= UINT64_C(1) << i;
	arch_add(&except, "x30");
	return arch_difference(before, after, &except);
}

/* The control word: enabled, for user mode, four bytes. */
#define BREAK_CONTROL	(1U | 2U << 1 | 0xfU << 5)

bool arch_break_at(pid_t thread, uintptr_t address)
{
	struct user_hwdebug_state state = { 0 };
	struct iovec vector = { &state, offsetof(struct user_hwdebug_state, dbg_regs[1]) };

	state.dbg_regs[0].addr = address;
	state.dbg_regs[0].ctrl = address ? BREAK_CONTROL : 0;
	return !ptrace(PTRACE_SETREGSET, thread, NT_ARM_HW_BREAK, &vector);
}

bool arch_pass_breakpoint(pid_t thread)
{
	arch_break_at(thread, 0);
	return true;
}

size_t arch_insn_length(const unsigned char *insn)
{
	(void)insn;
	return 4;
}

/* Branches, exceptions and system instructions are one group of encodings. */
bool arch_insn_jumps(const unsigned char *insn)
{
	return (insn[3] & 0x1c) == 0x14;
}

/* From ldxr to stxr, and the branch behind that. */
bool arch_insn_is_extension(const unsigned char *at)
{
	(void)at;
	return false;
}

/* tbz, forwards. */
bool arch_insn_asks_for_cid(const unsigned char *at, size_t *first, size_t *bytes)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	if ((word & 0xff000000) != 0x36000000 || (word >> 19 & 0x1f) != RSEQ_ID_UNSURE_BIT ||
	    (word >> 18 & 1))
		return false;
	*first = sizeof(word);
	*bytes = (word >> 5 & 0x1fff) * sizeof(word) - sizeof(word);
	return true;
}

size_t arch_unsteppable_bytes(const unsigned char *insn)
{
	const size_t most = 16;
	uint32_t code[16];

	memcpy(code, insn, 4);
	if ((code[0] & 0x3fc00000) != 0x08400000)
		return 0;
	memcpy(code, insn, sizeof(code));
	for (size_t i = 1; i + 1 < most; i++)
		if ((code[i] & 0x3fc00000) == 0x08000000)
			return 4 * (i + (arch_insn_jumps(insn + 4 * (i + 1)) ? 2 : 1));
	return 0;
}

const unsigned char arch_trap_insn[] = { 0x00, 0x00, 0x20, 0xd4 };
const size_t arch_trap_bytes = sizeof(arch_trap_insn);
const size_t arch_trap_pc_offset = 0;

uintptr_t arch_context_pc(void *context, uintptr_t trap)
{
	(void)trap;
	return (uintptr_t)((ucontext_t *)context)->uc_mcontext.pc;
}

void arch_set_context_pc(void *context, uintptr_t pc)
{
	((ucontext_t *)context)->uc_mcontext.pc = pc;
}
#endif /* __aarch64__ */
