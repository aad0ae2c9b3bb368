/* SPDX-License-Identifier: MIT */
/*
 * verify-aarch64.c: aarch64 instructions, from their encoding.
 *
 * Capstone is asked whether an instruction exists and for its text. What it reads and writes is
 * decoded here: capstone 4 does not know the atomics of ARMv8.1 and takes a comparison's first
 * source for its result.
 */
#include "verify-insn.h"

#define BIT(word, bit)			((word) >> (bit) & 1)
#define FIELD(word, high, low)		((word) >> (low) & ((UINT32_C(2) << ((high) - (low))) - 1))
#define MATCHES(word, mask, value)	(((word) & UINT32_C(mask)) == UINT32_C(value))

#define RD(word)	((uint8_t)FIELD(word, 4, 0))
#define RN(word)	((uint8_t)FIELD(word, 9, 5))
#define RA(word)	((uint8_t)FIELD(word, 14, 10))
#define RM(word)	((uint8_t)FIELD(word, 20, 16))

static int64_t sign_extend(uint64_t value, unsigned int bits)
{
	uint64_t sign = UINT64_C(1) << (bits - 1);

	return (int64_t)((value ^ sign) - sign);
}

/* Number 31 is the stack pointer where stack is true, else the register that is always zero. */
static uint64_t register_bit(uint8_t number, bool stack)
{
	return number == 31 && !stack ? 0 : REGISTER_BIT(number);
}

static void sets(struct insn *insn, uint8_t number, bool stack)
{
	insn->writes |= register_bit(number, stack);
	if (number == 31 && stack)
		insn->flags |= INSN_STACK;
}

static uint64_t pc_relative(const struct insn *insn, uint32_t word, unsigned int high,
		unsigned int low)
{
	return insn->address + (uint64_t)sign_extend(FIELD(word, high, low), high - low + 1) * 4;
}

static bool decode_immediate(uint32_t word, struct insn *insn)
{
	unsigned int operation = FIELD(word, 25, 23);
	bool arithmetic = operation == 2, logical = operation == 4;
	bool flags = (arithmetic && BIT(word, 29)) || (logical && FIELD(word, 30, 29) == 3);

	if (flags)
		insn->flags |= INSN_SETS_FLAGS;
	insn->destination = RD(word);
	insn->source = RN(word);
	sets(insn, RD(word), (arithmetic || logical) && !flags);
	if (operation > 1 && operation != 5)
		insn->reads = register_bit(RN(word), arithmetic);
	if (operation < 2) {
		insn->constant = (uint64_t)sign_extend(FIELD(word, 23, 5) << 2 |
						       FIELD(word, 30, 29), 21);
		insn->constant = BIT(word, 31) ?
			(insn->address & ~UINT64_C(0xfff)) + (insn->constant << 12) :
			insn->address + insn->constant;
		insn->flags |= INSN_SETS_CONSTANT;
	} else if (arithmetic) {
		if (BIT(word, 30) && FIELD(word, 21, 10))
			insn->flags |= INSN_DIFFERENCE;
		else if (BIT(word, 31))
			insn->flags |= INSN_ADDS_CONSTANT;
		insn->constant = FIELD(word, 21, 10) << (BIT(word, 22) ? 12 : 0);
	} else if (operation == 5) {
		if (FIELD(word, 30, 29) == 3)			/* movk */
			insn->reads = register_bit(RD(word), false);
	} else if (operation == 6 && FIELD(word, 30, 29) == 1) {
		insn->reads |= register_bit(RD(word), false);	/* bfm */
	} else if (operation == 7) {
		insn->reads |= register_bit(RM(word), false);
	}
	return operation != 3;
}

static bool decode_system(uint32_t word, struct insn *insn)
{
	unsigned int hint = FIELD(word, 11, 5);

	if (MATCHES(word, 0xfffff01f, 0xd503201f)) {
		if (hint == 2 || hint == 3)		/* wfe, wfi */
			insn->flags |= INSN_FORBIDDEN;
		else if (hint == 7 || (hint >= 24 && hint < 32))
			sets(insn, 30, false);		/* signs or strips the link register */
		else if (hint >= 8 && hint < 15)
			sets(insn, 17, false);
	} else if (MATCHES(word, 0xfff00000, 0xd5300000)) {
		sets(insn, RD(word), false);		/* mrs */
	} else if (!MATCHES(word, 0xfffff000, 0xd5033000)) {
		insn->flags |= INSN_FORBIDDEN;		/* msr, dc, ...; not barriers */
	}
	return true;
}

static bool decode_branch(uint32_t word, struct insn *insn)
{
	if (MATCHES(word, 0x7c000000, 0x14000000)) {
		insn->flags |= INSN_BRANCH | (BIT(word, 31) ? INSN_CALL : 0);
		insn->target = pc_relative(insn, word, 25, 0);
	} else if (MATCHES(word, 0xff000000, 0x54000000)) {
		insn->flags |= INSN_BRANCH | INSN_TESTS_FLAGS;
		insn->target = pc_relative(insn, word, 23, 5);
		insn->condition = FIELD(word, 3, 1) == 7 ? CONDITION_ALWAYS :
			FIELD(word, 3, 0) == 0 ? CONDITION_EQUAL :
			FIELD(word, 3, 0) == 1 ? CONDITION_NOT_EQUAL : CONDITION_OTHER;
	} else if (MATCHES(word, 0x7e000000, 0x34000000)) {
		insn->flags |= INSN_BRANCH;
		insn->target = pc_relative(insn, word, 23, 5);
		insn->condition = BIT(word, 24) ? CONDITION_NOT_EQUAL : CONDITION_EQUAL;
		insn->reads = register_bit(RD(word), false);
	} else if (MATCHES(word, 0x7e000000, 0x36000000)) {
		insn->flags |= INSN_BRANCH;
		insn->target = pc_relative(insn, word, 18, 5);
		insn->condition = CONDITION_OTHER;
		insn->reads = register_bit(RD(word), false);
		insn->destination = RD(word);
		insn->constant = UINT64_C(1) << (BIT(word, 31) << 5 | FIELD(word, 23, 19));
		insn->flags |= INSN_TESTS_BITS | (BIT(word, 24) ? 0 : INSN_IF_CLEAR);
	} else if (MATCHES(word, 0xfe000000, 0xd6000000)) {
		insn->flags |= FIELD(word, 22, 21) == 2 ? INSN_RETURN : INSN_INDIRECT;
		if (FIELD(word, 22, 21) == 1)
			insn->flags |= INSN_CALL;
	} else if (MATCHES(word, 0xff000000, 0xd4000000)) {
		/* svc, hvc and smc enter another level; brk and hlt trap. */
		insn->flags |= FIELD(word, 23, 21) == 0 ? INSN_SYSCALL : INSN_FORBIDDEN;
	} else if (MATCHES(word, 0xffc00000, 0xd5000000)) {
		return decode_system(word, insn);
	} else {
		return false;
	}
	return true;
}

/* Whether neither source is the constant 0 nor less than 32 bits of a register. */
static bool takes_all_bits(uint32_t word, bool extended)
{
	if (RM(word) == 31 || (RN(word) == 31 && !extended))
		return false;
	return extended ? FIELD(word, 14, 13) > 1 : !FIELD(word, 15, 10);
}

static bool decode_registers(uint32_t word, struct insn *insn)
{
	bool arithmetic = !BIT(word, 28) && BIT(word, 24);
	bool logical = !BIT(word, 28) && !BIT(word, 24);
	bool extended = arithmetic && BIT(word, 21);
	unsigned int group = FIELD(word, 24, 21);

	insn->destination = RD(word);
	insn->reads = register_bit(RN(word), extended) | register_bit(RM(word), false);
	if (arithmetic || logical) {
		bool flags = arithmetic ? BIT(word, 29) : FIELD(word, 30, 29) == 3;
		bool exclusive_or = logical && FIELD(word, 30, 29) == 2 && !BIT(word, 21);

		sets(insn, RD(word), extended && !flags);
		if (flags)
			insn->flags |= INSN_SETS_FLAGS;
		if ((arithmetic && BIT(word, 30)) || exclusive_or) {
			if (takes_all_bits(word, extended))
				insn->flags |= INSN_DIFFERENCE;
			if (RN(word) == RM(word))
				insn->flags |= INSN_CLEARS;
		} else if (logical && FIELD(word, 30, 29) == 1 && RN(word) == 31 &&
			   BIT(word, 31) && !FIELD(word, 15, 10) && !BIT(word, 21)) {
			insn->source = RM(word);
			insn->flags |= INSN_ADDS_CONSTANT;	/* mov is orr with zero */
		}
		return true;
	}
	if (group == 2) {					/* ccmp, ccmn */
		insn->flags |= INSN_SETS_FLAGS | INSN_KEEPS_FLAGS;
		if (BIT(word, 11))
			insn->reads = register_bit(RN(word), false);
		insn->destination = REGISTER_NONE;
		return true;
	}
	sets(insn, RD(word), false);
	if (group == 0)						/* adcs, sbcs, rmif */
		insn->flags |= BIT(word, 29) ? INSN_SETS_FLAGS | INSN_KEEPS_FLAGS : 0;
	else if (group >= 8)					/* madd and the like */
		insn->reads |= register_bit(RA(word), false);
	else if (group == 6 && BIT(word, 30))			/* clz, rev, ... */
		insn->reads = register_bit(RN(word), false);
	return true;
}

static bool decode_vector(uint32_t word, struct insn *insn)
{
	bool converts = MATCHES(word, 0x5f20fc00, 0x1e200000);
	bool moves = MATCHES(word, 0xbfe0ec00, 0x0e002c00) || MATCHES(word, 0x9fe0ec00, 0x0e002c00);

	insn->reads = REGISTER_BIT(REGISTER_VECTOR + RN(word)) |
		REGISTER_BIT(REGISTER_VECTOR + RM(word)) |
		REGISTER_BIT(REGISTER_VECTOR + RD(word));
	insn->writes = REGISTER_BIT(REGISTER_VECTOR + RD(word));
	/* To and from general registers: fmov, fcvt, scvtf; umov, smov; dup, ins. */
	if (converts || moves)
		insn->writes |= register_bit(RD(word), false);
	if (converts || MATCHES(word, 0x9fe0f400, 0x0e000400) ||
	    MATCHES(word, 0xbfe0fc00, 0x0e001c00))
		insn->reads |= register_bit(RN(word), false);
	if (MATCHES(word, 0x5f203c00, 0x1e202000) || MATCHES(word, 0x5f200c00, 0x1e200400)) {
		insn->flags |= INSN_SETS_FLAGS;			/* fcmp, fccmp */
		insn->writes = 0;
	}
	return true;
}

/*
 * An interrupt may come between the accesses that one store makes: to each register of a pair, to
 * each element of a structure, and to each half of 128 bits, but on processors of late.
 */
static bool stores_in_steps(uint32_t word, uint8_t size)
{
	bool pair = MATCHES(word, 0x3a000000, 0x28000000);
	bool structure = MATCHES(word, 0xbe000000, 0x0c000000);
	bool single_element = MATCHES(word, 0xbf202000, 0x0d000000);

	return pair || (structure && !single_element) || size > 8;
}

static void set_memory(struct insn *insn, uint32_t word, bool load, bool vector, uint8_t size)
{
	uint8_t data = (uint8_t)(RD(word) + (vector ? REGISTER_VECTOR : 0));
	uint64_t data_bit = register_bit(RD(word), false) ? REGISTER_BIT(data) : 0;

	if (vector)
		data_bit = REGISTER_BIT(data);
	insn->memory.base = RN(word);
	insn->memory.size = size;
	insn->reads |= REGISTER_BIT(RN(word));
	if (load) {
		insn->flags |= INSN_LOAD;
		insn->writes |= data_bit;
		insn->destination = data;
	} else {
		insn->flags |= INSN_STORE;
		insn->reads |= data_bit;
		insn->source = data;
		if (stores_in_steps(word, size))
			insn->flags |= INSN_INTERRUPTIBLE;
	}
}

static void write_back(struct insn *insn, uint32_t word)
{
	sets(insn, RN(word), true);
}

static bool decode_exclusive(uint32_t word, struct insn *insn)
{
	uint8_t size = (uint8_t)(1 << FIELD(word, 31, 30));
	bool ordered = BIT(word, 23), pair = BIT(word, 21), load = BIT(word, 22);

	set_memory(insn, word, load, false, size);
	if (ordered && !pair)				/* ldar, stlr */
		return true;
	if (ordered || (pair && !BIT(word, 31))) {	/* cas, casp */
		insn->flags |= INSN_LOAD | INSN_STORE;
		insn->reads |= register_bit(RM(word), false) | register_bit(RD(word), false);
		insn->writes |= register_bit(RM(word), false);
		return true;
	}
	insn->flags |= INSN_FORBIDDEN;			/* ldxr, stxr */
	return true;
}

static bool decode_literal(uint32_t word, struct insn *insn)
{
	unsigned int kind = FIELD(word, 31, 30);
	bool vector = BIT(word, 26);
	uint8_t size = (uint8_t)(vector ? 4 << kind : kind == 1 ? 8 : 4);

	if (kind == 3)					/* prfm */
		return true;
	set_memory(insn, word, true, vector, size);
	insn->reads = 0;
	insn->memory.base = REGISTER_NONE;
	insn->memory.displacement = (int64_t)pc_relative(insn, word, 23, 5);
	return true;
}

static bool decode_pair(uint32_t word, struct insn *insn)
{
	unsigned int width = FIELD(word, 31, 30), mode = FIELD(word, 24, 23);
	bool load = BIT(word, 22), vector = BIT(word, 26);
	int size = vector ? 4 << width : width == 2 ? 8 : 4;
	uint8_t second = RA(word);

	if (width == 3)
		return false;
	set_memory(insn, word, load, vector, (uint8_t)(2 * size));
	if (load)
		insn->writes |= vector ? REGISTER_BIT(REGISTER_VECTOR + second) :
			register_bit(second, false);
	else
		insn->reads |= vector ? REGISTER_BIT(REGISTER_VECTOR + second) :
			register_bit(second, false);
	insn->source = REGISTER_NONE;
	if (mode != 1)
		insn->memory.displacement = sign_extend(FIELD(word, 21, 15), 7) * size;
	if (mode & 1)
		write_back(insn, word);
	return true;
}

/* Atomics of ARMv8.1, load-acquire of ARMv8.3, 64-byte loads and stores of ARMv8.7. */
static bool decode_atomic(uint32_t word, struct insn *insn)
{
	uint8_t size = (uint8_t)(1 << FIELD(word, 31, 30));
	unsigned int operation = FIELD(word, 15, 12);

	set_memory(insn, word, true, false, size);
	if (operation == 12)
		return true;
	insn->flags |= INSN_STORE;
	insn->reads |= register_bit(RM(word), false);
	insn->source = REGISTER_NONE;
	return true;
}

static bool decode_single(uint32_t word, struct insn *insn)
{
	unsigned int width = FIELD(word, 31, 30), operation = FIELD(word, 23, 22);
	bool vector = BIT(word, 26), load = vector ? operation & 1 : operation != 0;
	uint8_t shift = (uint8_t)(vector && operation > 1 ? 4 : width);
	unsigned int form = FIELD(word, 11, 10);

	if (!BIT(word, 24) && BIT(word, 21) && form == 0)
		return decode_atomic(word, insn);
	if (!vector && width == 3 && operation == 2 && (BIT(word, 24) || form == 0 || form == 2))
		return true;				/* prfm */
	set_memory(insn, word, load, vector, (uint8_t)(1 << shift));
	if (BIT(word, 24)) {
		insn->memory.displacement = (int64_t)FIELD(word, 21, 10) << shift;
	} else if (!BIT(word, 21)) {
		if (form != 1)
			insn->memory.displacement = sign_extend(FIELD(word, 20, 12), 9);
		if (form == 1 || form == 3)
			write_back(insn, word);
	} else if (form == 2) {
		insn->memory.index = RM(word) == 31 ? REGISTER_NONE : RM(word);
		insn->memory.scale = (uint8_t)(FIELD(word, 15, 12) << 3 | shift);
		if (FIELD(word, 15, 13) == 3)		/* not a part of the index */
			insn->memory.factor = (uint8_t)(1 << (BIT(word, 12) ? shift : 0));
		insn->reads |= register_bit(RM(word), false);
	} else {
		write_back(insn, word);			/* ldraa, ldrab: any form of them */
	}
	return true;
}

static bool decode_memory(uint32_t word, struct insn *insn)
{
	if (MATCHES(word, 0x3f000000, 0x08000000))
		return decode_exclusive(word, insn);
	if (MATCHES(word, 0x3b000000, 0x18000000))
		return decode_literal(word, insn);
	if (MATCHES(word, 0x3f200c00, 0x19000000)) {	/* stlur, ldapur */
		set_memory(insn, word, FIELD(word, 23, 22) != 0, false,
			   (uint8_t)(1 << FIELD(word, 31, 30)));
		insn->memory.displacement = sign_extend(FIELD(word, 20, 12), 9);
		return true;
	}
	if (MATCHES(word, 0x3a000000, 0x28000000))
		return decode_pair(word, insn);
	if (MATCHES(word, 0x3a000000, 0x38000000))
		return decode_single(word, insn);
	if (MATCHES(word, 0xbe000000, 0x0c000000)) {	/* ld1 to st4 */
		set_memory(insn, word, BIT(word, 22), true, 0);
		if (BIT(word, 23))
			write_back(insn, word);
		return true;
	}
	return false;
}

/* What capstone 4 does not know yet, though it is harmless or understood here. */
static bool newer_than_capstone(uint32_t word)
{
	return MATCHES(word, 0x3b200c00, 0x38200000) ||		/* atomics, ldapr */
		MATCHES(word, 0x3f200c00, 0x19000000) ||	/* stlur, ldapur */
		MATCHES(word, 0x3fa07c00, 0x08a07c00) ||	/* cas */
		MATCHES(word, 0xbfa07c00, 0x08207c00);		/* casp */
}

bool aarch64_decode(const struct decoder *decoder, uint32_t word, struct insn *insn)
{
	unsigned char bytes[4];
	const uint8_t *code = bytes;
	uint64_t address = insn->address;
	size_t size = sizeof(bytes);

	write_little_endian(bytes, 4, word);
	if (!cs_disasm_iter(decoder->capstone, &code, &size, &address, decoder->scratch) &&
	    !newer_than_capstone(word))
		return false;
	if (MATCHES(word, 0x1c000000, 0x10000000))
		return decode_immediate(word, insn);
	if (MATCHES(word, 0x1c000000, 0x14000000))
		return decode_branch(word, insn);
	if (MATCHES(word, 0x0a000000, 0x08000000))
		return decode_memory(word, insn);
	if (MATCHES(word, 0x0e000000, 0x0a000000))
		return decode_registers(word, insn);
	if (MATCHES(word, 0x0e000000, 0x0e000000))
		return decode_vector(word, insn);
	return false;
}
