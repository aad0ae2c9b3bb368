/* SPDX-License-Identifier: MIT */
/*
 * verify-jumps.c: jumps from outside into a section, or into the code that arms it.
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

/*
 * The section that a jump to target enters after its arming has begun, or NULL. Code that has just
 * armed a section itself may enter it at its start; all may go where the arming begins.
 */
static struct critical_section *entered_section(const struct verifier *verifier, uint64_t jump,
		uint64_t target)
{
	struct critical_section *section = section_around(verifier, target);

	if (section && !inside(section, jump) &&
	    (target != section->start || !arms_on_way(verifier, section, jump, target)))
		return section;
	section = section_behind(verifier, target);
	if (section && target > section->arming && !arms_on_way(verifier, section, jump, target))
		return section;
	return NULL;
}

static void check_jump(struct verifier *verifier, uint64_t address, uint64_t guess)
{
	struct critical_section *entered, *next = section_behind(verifier, guess);
	struct insn insn;

	/* Most of what looks like a jump leads elsewhere: decode the rest alone. */
	if (!section_around(verifier, guess) && !(next && guess > next->arming))
		return;
	if (!decode(&verifier->decoder, address, &insn) || !(insn.flags & INSN_BRANCH) ||
	    insn.target != guess)
		return;
	entered = entered_section(verifier, address, guess);
	if (!entered || (verifier->image.machine == MACHINE_X86_64 &&
			 !is_real_branch(verifier, address, guess)))
		return;
	if (guess >= entered->start)
		complain(verifier, entered, CHECK_JUMP_IN, address,
			 "a jump from outside into the section, to 0x%" PRIx64, guess);
	else
		complain(verifier, entered, CHECK_JUMP_IN, address,
			 "a jump past a part of what arms the section, to 0x%" PRIx64, guess);
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

/* The kernel jumps, too. That it must not jump into a range, verify_tables() checks. */
static void check_abort(struct verifier *verifier, struct critical_section *section)
{
	struct critical_section *next = section_behind(verifier, section->abort);

	if (next && section->abort > next->arming)
		complain(verifier, section, CHECK_JUMP_IN, section->abort,
			 "abort_ip lies behind the begin of what arms a section");
}

void verify_jumps(struct verifier *verifier)
{
	const struct image_section *code;
	size_t i;

	for (i = 0; i < verifier->nr_ranges; i++)
		check_abort(verifier, verifier->ranges[i]);
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
