/* SPDX-License-Identifier: MIT */
/*
 * arch-x86-64.c: see arch.h. Breakpoints are the debug registers.
 */
#include "arch.h"

#include <rseq/section.h>

#ifdef __x86_64__
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <ucontext.h>

_Static_assert(sizeof(struct user_regs_struct) == ARCH_REGS * 8, "general registers");
_Static_assert(sizeof(struct user_fpregs_struct) == 512, "vector registers");

#define NR_VECTORS	16
#define VECTOR_BYTES	16
#define UPPER_HALVES	576	/* of ymm registers, where the processor has these */

/* In the order of struct user_regs_struct; NULL for what a section has no hold on. */
static const char *const names[ARCH_REGS] = {
	"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx",
	"rsi", "rdi", NULL, NULL, NULL, NULL, "rsp", NULL, NULL, NULL, NULL, NULL, NULL, NULL,
};
static const char *const vector_names[NR_VECTORS] = {
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
	"xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
};

#define REG(name)	(offsetof(struct user_regs_struct, name) / 8)

__asm__ (
	".pushsection .text\n"
	".globl arch_trap\n"
	"arch_trap:\n\t"
	"int3\n"
	".popsection\n"
);

void arch_stop_here(void)
{
	__asm__ __volatile__ ("int3" : : : "memory");
}

uint64_t arch_pc(const struct arch_regs *regs)
{
	return regs->word[REG(rip)];
}

void arch_set_pc(struct arch_regs *regs, uintptr_t pc)
{
	regs->word[REG(rip)] = pc;
}

uint64_t arch_sp(const struct arch_regs *regs)
{
	return regs->word[REG(rsp)];
}

int arch_result(const struct arch_regs *regs)
{
	return (int)(uint32_t)regs->word[REG(rax)];
}

void arch_call(struct arch_regs *regs, uintptr_t function, void *argument, void *stack_top)
{
	uintptr_t *stack = (uintptr_t *)stack_top - 1;

	*stack = (uintptr_t)arch_trap;
	regs->word[REG(rsp)] = (uintptr_t)stack;
	regs->word[REG(rdi)] = (uintptr_t)argument;
	regs->word[REG(rip)] = function;
	regs->word[REG(orig_rax)] = ~UINT64_C(0);
}

bool arch_returned(const struct arch_regs *regs)
{
	return arch_pc(regs) == (uintptr_t)arch_trap + 1;
}

void arch_add(struct arch_set *set, const char *name)
{
	for (size_t i = 0; i < ARCH_REGS; i++)
		if (names[i] && !strcmp(names[i], name))
			set->general |= UINT64_C(1) << i;
	for (size_t i = 0; i < NR_VECTORS; i++)
		if (!strcmp(vector_names[i], name))
			set->vector |= UINT64_C(1) << i;
}

const char *arch_difference(const struct arch_regs *a, const struct arch_regs *b,
		const struct arch_set *except)
{
	for (size_t i = 0; i < ARCH_REGS; i++)
		if (names[i] && a->word[i] != b->word[i] && !(except->general >> i & 1))
			return names[i];
	return NULL;
}

const char *arch_vector_difference(const struct arch_vectors *a, const struct arch_vectors *b,
		const struct arch_set *except)
{
	const size_t first = offsetof(struct user_fpregs_struct, xmm_space);

	for (size_t i = 0; i < NR_VECTORS; i++) {
		size_t lower = first + i * VECTOR_BYTES, upper = UPPER_HALVES + i * VECTOR_BYTES;

		if (except->vector >> i & 1)
			continue;
		if (memcmp(a->byte + lower, b->byte + lower, VECTOR_BYTES))
			return vector_names[i];
		if (a->bytes >= UPPER_HALVES + NR_VECTORS * VECTOR_BYTES &&
		    memcmp(a->byte + upper, b->byte + upper, VECTOR_BYTES))
			return vector_names[i];
	}
	return NULL;
}

const char *arch_call_difference(const struct arch_regs *before, const struct arch_regs *after,
		bool all)
{
	static const char *const scratch[] = {
		"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"
	};
	size_t nr = all ? 1 : sizeof(scratch) / sizeof(scratch[0]);
	struct arch_set except = { 0 };
	struct arch_regs popped = *before;

	for (size_t i = 0; i < nr; i++)
		arch_add(&except, scratch[i]);
	popped.word[REG(rsp)] += sizeof(uintptr_t);
	return arch_difference(&popped, after, &except);
}

/*
 * The kernel lets a thread go on from the address of an execution breakpoint by itself. One is in
 * use: number 0.
 */
bool arch_break_at(pid_t thread, uintptr_t address)
{
	if (ptrace(PTRACE_POKEUSER, thread, offsetof(struct user, u_debugreg[7]), 0))
		return false;
	if (!address)
		return true;
	return !ptrace(PTRACE_POKEUSER, thread, offsetof(struct user, u_debugreg[0]), address) &&
	       !ptrace(PTRACE_POKEUSER, thread, offsetof(struct user, u_debugreg[7]), 1);
}

bool arch_pass_breakpoint(pid_t thread)
{
	(void)thread;
	return false;
}

struct insn {
	const unsigned char *at;	/* the opcode, behind all prefixes */
	bool half, wide;		/* prefixes 66 and REX.W */
};

static struct insn skip_prefixes(const unsigned char *at)
{
	struct insn insn = { at, false, false };

	for (;; insn.at++) {
		if (*insn.at == 0x66)
			insn.half = true;
		else if (!memchr("\x26\x2e\x36\x3e\x64\x65\x67\xf0\xf2\xf3", *insn.at, 10))
			break;
	}
	if ((*insn.at & 0xf0) == 0x40)
		insn.wide = *insn.at++ & 8;
	return insn;
}

/* Bytes of ModRM, SIB and displacement. */
static size_t modrm_bytes(const unsigned char *at)
{
	unsigned int mod = *at >> 6, rm = *at & 7;
	size_t bytes = 1;

	if (mod == 3)
		return bytes;
	if (rm == 4) {
		bytes++;
		if (mod == 0 && (at[1] & 7) == 5)
			return bytes + 4;
	}
	if (mod == 1)
		return bytes + 1;
	return mod == 2 || rm == 5 ? bytes + 4 : bytes;
}

/* Opcodes of one byte and of 0f xx: whether a ModRM byte follows. */
static bool has_modrm(unsigned char op)
{
	if (op < 0x40)
		return (op & 7) < 4;
	return (op >= 0x80 && op <= 0x8f) || (op >= 0xd0 && op <= 0xd3) ||
	       (op >= 0xd8 && op <= 0xdf) ||
	       (op && strchr("\x63\x69\x6b\xc0\xc1\xc6\xc7\xf6\xf7\xfe\xff", op));
}

static bool has_modrm_0f(unsigned char op)
{
	return !((op >= 0x30 && op <= 0x37) || (op >= 0x80 && op <= 0x8f) ||
		 (op >= 0xc8 && op <= 0xcf) || (op >= 0x05 && op <= 0x0b) ||
		 (op && strchr("\x0e\x77\xa0\xa1\xa2\xa8\xa9\xaa", op)));
}

/* Bytes of the immediate operand, or of the distance of a jump. */
static size_t immediate_bytes(const struct insn *insn)
{
	unsigned char op = insn->at[0];
	size_t word = insn->half ? 2 : 4;

	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? word : 0;
	if (op == 0xf6 || op == 0xf7)
		return insn->at[1] & 0x30 ? 0 : op == 0xf6 ? 1 : word;
	if (op >= 0xb8 && op <= 0xbf)
		return insn->wide ? 8 : word;
	if ((op >= 0x70 && op <= 0x7f) || (op >= 0xb0 && op <= 0xb7) ||
	    (op && strchr("\x6a\x6b\x80\x83\xa8\xc0\xc1\xc6\xeb", op)))
		return 1;
	if (op == 0xe8 || op == 0xe9)
		return 4;
	return op && strchr("\x68\x69\x81\xa9\xc7", op) ? word : op == 0xc2 ? 2 : 0;
}

static size_t immediate_bytes_0f(unsigned char op)
{
	if (op >= 0x80 && op <= 0x8f)
		return 4;
	return (op >= 0x70 && op <= 0x73) ||
	       (op && strchr("\xa4\xac\xba\xc2\xc4\xc5\xc6", op)) ? 1 : 0;
}

size_t arch_insn_length(const unsigned char *at)
{
	struct insn insn = skip_prefixes(at);
	size_t before = (size_t)(insn.at - at);
	const unsigned char *op = insn.at;

	/* VEX prefixes of two and three bytes take the place of 0f; vzeroupper has no operands. */
	if (*op == 0xc5)
		return before + 3 + (op[2] == 0x77 ? 0 : modrm_bytes(op + 3)) +
		       immediate_bytes_0f(op[2]);
	if (*op == 0xc4 && (op[1] & 0x1f) <= 2)
		return before + 4 + modrm_bytes(op + 4) +
		       ((op[1] & 0x1f) == 1 ? immediate_bytes_0f(op[3]) : 0);
	if (*op == 0xc4 || *op == 0x62 || (*op >= 0xe0 && *op <= 0xe7))
		return 0;
	if (*op != 0x0f)
		return before + 1 + (has_modrm(*op) ? modrm_bytes(op + 1) : 0) +
		       immediate_bytes(&insn);
	if (op[1] == 0x38)
		return before + 3 + modrm_bytes(op + 3);
	if (op[1] == 0x3a)
		return before + 4 + modrm_bytes(op + 3);
	return before + 2 + (has_modrm_0f(op[1]) ? modrm_bytes(op + 2) : 0) +
	       immediate_bytes_0f(op[1]);
}

bool arch_insn_jumps(const unsigned char *at)
{
	const unsigned char *op = skip_prefixes(at).at;

	return (*op >= 0x70 && *op <= 0x7f) || (*op && strchr("\xc2\xc3\xe8\xe9\xeb\xff", *op)) ||
	       (*op == 0x0f && op[1] >= 0x80 && op[1] <= 0x8f);
}

bool arch_insn_is_extension(const unsigned char *at)
{
	const unsigned char *op = skip_prefixes(at).at;

	return *op == 0xc4 || *op == 0xc5;
}

/* testb, and a jz that is short. */
bool arch_insn_asks_for_cid(const unsigned char *at, size_t *first, size_t *bytes)
{
	const unsigned char *op = skip_prefixes(at).at, *jump;

	if (*op == 0xa8)
		jump = op + 2;
	else if (*op == 0xf6 && (op[1] & 0xf8) == 0xc0)
		jump = op + 3;
	else
		return false;
	if (jump[-1] != 1 << RSEQ_ID_UNSURE_BIT || *jump != 0x74 || jump[1] > 0x7f)
		return false;
	*first = (size_t)(jump + 2 - at);
	*bytes = jump[1];
	return true;
}

size_t arch_unsteppable_bytes(const unsigned char *insn)
{
	(void)insn;
	return 0;
}

const unsigned char arch_trap_insn[] = { 0xcc };
const size_t arch_trap_bytes = sizeof(arch_trap_insn);
const size_t arch_trap_pc_offset = sizeof(arch_trap_insn);

uintptr_t arch_context_pc(void *context, uintptr_t trap)
{
	uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	return pc == trap + arch_trap_bytes ? trap : pc;
}

void arch_set_context_pc(void *context, uintptr_t pc)
{
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}
#endif /* __x86_64__ */
