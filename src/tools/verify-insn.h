/* SPDX-License-Identifier: MIT */
/*
 * verify-insn.h: one machine instruction, as far as a critical section cares, in a form that both
 * architectures share.
 */
#ifndef VERIFY_INSN_H
#define VERIFY_INSN_H

#include <stdbool.h>
#include <stdint.h>

/* capstone 4 has an enumerator that is no int, which -Wpedantic minds; capstone 5 has not. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <capstone.h>
#pragma GCC diagnostic pop

#include "verify-image.h"

/* Registers: 0 to 31 general, the stack pointer always 31; 32 to 63 vector. */
#define REGISTER_SP	31
#define REGISTER_VECTOR	32
#define REGISTER_NONE	255

#define REGISTER_BIT(reg)	((reg) < 64 ? UINT64_C(1) << (reg) : 0)

#define INSN_MAX_SIZE	15

enum insn_flag {
	INSN_LOAD		= 1 << 0,	/* reads memory */
	INSN_STORE		= 1 << 1,	/* writes memory */
	INSN_BRANCH		= 1 << 2,	/* to target */
	INSN_CALL		= 1 << 3,
	INSN_RETURN		= 1 << 4,
	INSN_INDIRECT		= 1 << 5,	/* jump or call to a computed address */
	INSN_SYSCALL		= 1 << 6,
	INSN_STACK		= 1 << 7,	/* moves the stack pointer */
	INSN_FORBIDDEN		= 1 << 8,	/* other things that no section may do */
	INSN_INTERRUPTIBLE	= 1 << 9,	/* may be preempted half-way */
	INSN_SETS_FLAGS		= 1 << 10,
	INSN_KEEPS_FLAGS	= 1 << 11,	/* new flags depend on the old ones too */
	INSN_TESTS_FLAGS	= 1 << 12,	/* conditional branch on flags, not a register */
	INSN_DIFFERENCE		= 1 << 13,	/* result or flags are zero iff sources are equal in
						   32 bits or more, and none is the constant 0 */
	INSN_FLAGS_UNDEFINED	= 1 << 18,	/* sets flags, but to anything */
	INSN_CLEARS		= 1 << 14,	/* result depends on no source */
	INSN_SETS_CONSTANT	= 1 << 15,	/* destination = constant */
	INSN_ADDS_CONSTANT	= 1 << 16,	/* destination = source + constant */
	INSN_STORES_CONSTANT	= 1 << 17,	/* memory = constant */
	INSN_TESTS_BITS		= 1 << 19,	/* flags, or its branch, tell whether destination,
						   which it leaves alone, has a bit of constant */
	INSN_IF_CLEAR		= 1 << 20,	/* ... and its branch is taken if not */
};

enum condition {
	CONDITION_ALWAYS,
	CONDITION_EQUAL,	/* or zero */
	CONDITION_NOT_EQUAL,
	CONDITION_OTHER,
};

/* segment + base + index * scale + displacement; two operands are alike iff all members are. */
struct memory_operand {
	uint8_t segment, base, index;
	uint8_t scale;			/* any code; equal codes mean equal scaling */
	uint8_t factor;			/* that the index is multiplied by, or 0: not known */
	uint8_t size;			/* bytes; 0 where it is not fixed */
	int64_t displacement;
};

struct insn {
	uint64_t address, target;
	uint32_t flags;
	uint8_t size;
	enum condition condition;
	uint8_t destination, source;	/* source: also the register that is stored */
	uint64_t constant;
	uint64_t reads, writes;		/* registers */
	struct memory_operand memory;	/* of loads and stores; of stores where it does both */
};

struct decoder {
	const struct image *image;
	csh capstone;
	cs_insn *scratch;
};

/* Returns: 0, or -1 where capstone does not know the architecture or has no memory. */
int decoder_open(struct decoder *decoder, const struct image *image);
void decoder_close(struct decoder *decoder);

/* Returns: whether an instruction stands at address, all in one section. */
bool decode(const struct decoder *decoder, uint64_t address, struct insn *insn);
/* As decode(), in as many bytes; for x86-64, which an instruction's length must be found for. */
bool decode_bytes(const struct decoder *decoder, uint64_t address, uint64_t size,
		struct insn *insn);
/* The instruction in the assembler's notation. */
void decode_text(const struct decoder *decoder, uint64_t address, char *text, size_t size);

/* Whether both operands are computed alike, size and displacement apart. */
bool same_base(const struct memory_operand *a, const struct memory_operand *b);
/* How far a stands behind b, if they have the same base. Addresses may be anything: no overflow. */
static inline int64_t offset_from(const struct memory_operand *a, const struct memory_operand *b)
{
	return (int64_t)((uint64_t)a->displacement - (uint64_t)b->displacement);
}
static inline uint64_t address_registers(const struct memory_operand *memory)
{
	return REGISTER_BIT(memory->base) | REGISTER_BIT(memory->index);
}

/* One for each architecture; insn is cleared but for its address. */
bool x86_decode(const struct decoder *decoder, const unsigned char *bytes, uint64_t size,
		struct insn *insn);
bool aarch64_decode(const struct decoder *decoder, uint32_t word, struct insn *insn);

#endif /* VERIFY_INSN_H */
