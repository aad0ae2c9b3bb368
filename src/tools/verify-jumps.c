/* SPDX-License-Identifier: MIT */
/*
 * verify-jumps.c: jumps from outside into a section, past its arming.
 */
#include <inttypes.h>

#include "verify.h"

/* From where to decode up to a suspected jump, where no symbol says where instructions begin. */
#define LEAD_IN		512
#define MAX_LEAD_IN	65536

/*
 * Whether the byte at address belongs to a branch to target, not to another instruction. Decoding
 * starts at the function, or far enough before to fall into step; where nothing decodes, one byte
 * is skipped.
 */
static bool is_real_branch(const struct verifier *verifier, uint64_t address, uint64_t target)
{
	const struct image_section *section = image_section_at(&verifier->image, address);
	const struct image_symbol *symbol = image_symbol_at(&verifier->image, address);
	uint64_t at = section->address;
	const unsigned char *bytes;
	struct insn insn = { 0 };
	uint64_t step;

	if (symbol && symbol->function && address - symbol->address < MAX_LEAD_IN)
		at = symbol->address;
	else if (address - at > LEAD_IN)
		at = address - LEAD_IN;
	for (; at <= address; at += step) {
		/* Some disassemblers take the signature's opcode for an instruction of 2 bytes. */
		bytes = image_bytes(&verifier->image, at, 7);
		if (bytes && bytes[0] == 0x0f && bytes[1] == 0xb9 && bytes[2] == 0x3d)
			step = 7;
		else
			step = decode(&verifier->decoder, at, &insn) && insn.size ? insn.size : 1;
	}
	/* A prefix may stand before what the scan found. */
	return insn.address + insn.size > address && (insn.flags & INSN_BRANCH) &&
		insn.target == target;
}

/* A section may be entered at its start by code that has just armed it; not elsewhere. */
static bool arms_first(const struct verifier *verifier, const struct critical_section *target,
		const struct insn *jump)
{
	struct critical_section here = *target;
	struct verifier silent = *verifier;

	if (jump->target != target->start)
		return false;
	here.start = jump->address;
	here.length = 0;
	here.armed = false;
	silent.profile = NR_PROFILES;		/* which reports nothing */
	verify_arming(&silent, &here);
	return here.armed;
}

static void check_jump(struct verifier *verifier, uint64_t address, uint64_t guess)
{
	struct critical_section *target = section_around(verifier, guess);
	struct insn insn;

	/* Most of what looks like a jump leads elsewhere: decode the rest alone. */
	if (!target || inside(target, address) || !decode(&verifier->decoder, address, &insn) ||
	    !(insn.flags & INSN_BRANCH) || insn.target != guess ||
	    arms_first(verifier, target, &insn))
		return;
	if (verifier->image.machine == MACHINE_X86_64 &&
	    !is_real_branch(verifier, address, guess))
		return;
	complain(verifier, target, CHECK_JUMP_IN, address,
		 "a jump from outside into the section, to 0x%" PRIx64, guess);
}

static uint64_t relative(const unsigned char *bytes, unsigned int size, uint64_t next)
{
	uint64_t value = read_little_endian(bytes, size), sign = UINT64_C(1) << (8 * size - 1);

	return next + ((value ^ sign) - sign);
}

/* Every byte that could begin a direct jump or call. */
static void scan_x86(struct verifier *verifier, const struct image_section *code)
{
	const unsigned char *bytes = code->bytes;
	uint64_t i, at, size = code->size;

	for (i = 0; i + 2 <= size; i++) {
		at = code->address + i;
		if ((bytes[i] & 0xf0) == 0x70 || bytes[i] == 0xeb || (bytes[i] & 0xfc) == 0xe0)
			check_jump(verifier, at, relative(bytes + i + 1, 1, at + 2));
		else if ((bytes[i] & 0xfe) == 0xe8 && i + 5 <= size)
			check_jump(verifier, at, relative(bytes + i + 1, 4, at + 5));
		else if (bytes[i] == 0x0f && (bytes[i + 1] & 0xf0) == 0x80 && i + 6 <= size)
			check_jump(verifier, at, relative(bytes + i + 2, 4, at + 6));
	}
}

static uint64_t branch_offset(uint32_t word)
{
	unsigned int low, bits;
	uint64_t value, sign;

	if ((word & 0x7c000000) == 0x14000000) {			/* b, bl */
		low = 0;
		bits = 26;
	} else if ((word & 0xff000000) == 0x54000000 ||		/* b.cond */
		   (word & 0x7e000000) == 0x34000000) {			/* cbz, cbnz */
		low = 5;
		bits = 19;
	} else if ((word & 0x7e000000) == 0x36000000) {			/* tbz, tbnz */
		low = 5;
		bits = 14;
	} else {
		return 0;
	}
	sign = UINT64_C(1) << (bits - 1);
	value = word >> low & (2 * sign - 1);
	return ((value ^ sign) - sign) * 4;
}

static void scan_aarch64(struct verifier *verifier, const struct image_section *code)
{
	uint64_t i, at, offset, target;

	for (i = 0; i + 4 <= code->size; i += 4) {
		at = code->address + i;
		offset = branch_offset((uint32_t)read_little_endian(code->bytes + i, 4));
		target = at + offset;
		if (image_branch_target(&verifier->image, at, &target) || offset)
			check_jump(verifier, at, target);
	}
}

void verify_jumps(struct verifier *verifier)
{
	const struct image_section *code;
	size_t i;

	for (i = 0; verifier->nr_ranges && i < verifier->image.nr_sections; i++) {
		code = &verifier->image.sections[i];
		if (!code->executable || !code->bytes)
			continue;
		if (verifier->image.machine == MACHINE_X86_64)
			scan_x86(verifier, code);
		else
			scan_aarch64(verifier, code);
	}
}
