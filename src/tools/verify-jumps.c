/* SPDX-License-Identifier: MIT */
/*
 * verify-jumps.c: jumps from outside into a section, or into the code that arms it.
 */
#include <inttypes.h>
#include <string.h>

#include "verify.h"

/* From where to decode up to a suspected jump, where no symbol says where instructions begin. */
#define LEAD_IN		512
#define MAX_LEAD_IN	65536
/* How far, in bytes, is decoded or searched for what is not worth more. */
#define MAX_SURE	16384
/* How far behind where a branch leads another is taken to follow it. */
#define MAX_ENTRY	64
/* How far behind adrp, in bytes, the rest of the address is added. */
#define MAX_PAIR	32

/*
 * The instruction that the byte at address belongs to, or an empty one. Decoding starts at the
 * function, or far enough before to fall into step; where nothing decodes, one byte is skipped.
 */
static struct insn insn_around(const struct verifier *verifier, uint64_t address)
{
	const struct image_section *section = image_section_at(&verifier->image, address);
	const struct image_symbol *symbol = image_symbol_at(&verifier->image, address);
	uint64_t at = section->address;
	const unsigned char *bytes;
	struct insn insn = { 0 }, none = { 0 };
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
	return insn.address + insn.size > address ? insn : none;
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

bool splits_insn(const struct verifier *verifier, uint64_t address)
{
	const struct image_symbol *symbol = image_symbol_at(&verifier->image, address);
	struct insn insn;

	if (verifier->image.machine == MACHINE_AARCH64)
		return address % 4;
	/* Only from the begin of a function, and not from far away, is that sure enough. */
	if (!symbol || !symbol->function || address - symbol->address > MAX_SURE)
		return false;
	insn = insn_around(verifier, address);
	return insn.size && insn.address != address;
}

static uint64_t relative(const unsigned char *bytes, unsigned int size, uint64_t next)
{
	uint64_t value = read_little_endian(bytes, size), sign = UINT64_C(1) << (8 * size - 1);

	return next + ((value ^ sign) - sign);
}

/* Whether the bytes could begin a direct jump or call of x86-64, and where it would lead. */
static bool guess_branch(const unsigned char *bytes, uint64_t size, uint64_t at, uint64_t *target)
{
	if (size >= 2 && ((bytes[0] & 0xf0) == 0x70 || bytes[0] == 0xeb ||
			  (bytes[0] & 0xfc) == 0xe0))
		*target = relative(bytes + 1, 1, at + 2);
	else if (size >= 5 && (bytes[0] & 0xfe) == 0xe8)
		*target = relative(bytes + 1, 4, at + 5);
	else if (size >= 6 && bytes[0] == 0x0f && (bytes[1] & 0xf0) == 0x80)
		*target = relative(bytes + 2, 4, at + 6);
	else
		return false;
	return true;
}

/* Whether decoding from one address on comes to the branch that the byte at address belongs to. */
static bool leads_to_branch(const struct verifier *verifier, uint64_t from, uint64_t address,
		uint64_t target)
{
	struct insn insn = { 0 };

	for (; from <= address; from += insn.size)
		if (!decode(&verifier->decoder, from, &insn) || !insn.size)
			return false;
	return (insn.flags & INSN_BRANCH) && insn.target == target;
}

/*
 * Data in a function put decoding out of step, up to an instruction that some branch leads to. One
 * nearby is looked for that leads shortly before address.
 */
static bool is_reached_branch(const struct verifier *verifier, uint64_t address, uint64_t target)
{
	const struct image_section *code = image_section_at(&verifier->image, address);
	uint64_t i = address - code->address, end, entry;
	struct insn insn;

	end = code->size - i > MAX_SURE ? i + MAX_SURE : code->size;
	for (i = i > MAX_SURE ? i - MAX_SURE : 0; i < end; i++) {
		if (!guess_branch(code->bytes + i, code->size - i, code->address + i, &entry) ||
		    address - entry > MAX_ENTRY ||
		    !leads_to_branch(verifier, entry, address, target))
			continue;
		insn = insn_around(verifier, code->address + i);
		if ((insn.flags & INSN_BRANCH) && insn.target == entry)
			return true;
	}
	return false;
}

static bool is_real_branch(const struct verifier *verifier, uint64_t address, uint64_t target)
{
	struct insn insn;

	if (verifier->image.machine == MACHINE_AARCH64)
		return true;
	insn = insn_around(verifier, address);
	return ((insn.flags & INSN_BRANCH) && insn.target == target) ||
		is_reached_branch(verifier, address, target);
}

/* The section whose range, or the code that arms it, holds address behind its begin, or NULL. */
static struct critical_section *section_holding(const struct verifier *verifier, uint64_t address)
{
	struct critical_section *section = section_around(verifier, address);

	if (section && address != section->start)
		return section;
	section = section_behind(verifier, address);
	return section && address > section->arming ? section : NULL;
}

static void check_jump(struct verifier *verifier, uint64_t address, uint64_t guess)
{
	struct critical_section *entered;
	struct insn insn;

	/* Most of what looks like a jump leads elsewhere: decode the rest alone. */
	if (!section_around(verifier, guess) && !section_holding(verifier, guess))
		return;
	if (!decode(&verifier->decoder, address, &insn) || !(insn.flags & INSN_BRANCH) ||
	    insn.target != guess)
		return;
	entered = entered_section(verifier, address, guess);
	if (!entered || !is_real_branch(verifier, address, guess))
		return;
	if (guess >= entered->start)
		complain(verifier, entered, CHECK_JUMP_IN, address,
			 "a jump from outside into the section, to 0x%" PRIx64, guess);
	else
		complain(verifier, entered, CHECK_JUMP_IN, address,
			 "a jump past a part of what arms the section, to 0x%" PRIx64, guess);
}

static void check_taken(struct verifier *verifier, uint64_t address, uint64_t taken)
{
	struct critical_section *section = section_holding(verifier, taken);

	if (section)
		complain(verifier, section, CHECK_ADDRESS_TAKEN, address,
			 "the address 0x%" PRIx64 " inside the section is taken: a jump to it"
			 " would not be seen", taken);
}

/* What may be a constant in an instruction of x86-64, or be computed by it. */
static void check_constant(struct verifier *verifier, uint64_t address, uint64_t guess)
{
	struct insn insn;

	if (!section_holding(verifier, guess))
		return;
	insn = insn_around(verifier, address);
	if ((insn.flags & (INSN_SETS_CONSTANT | INSN_STORES_CONSTANT)) && insn.constant == guess)
		check_taken(verifier, insn.address, guess);
}

/* Every byte that could begin a direct jump or call, or compute an address. */
static void scan_x86(struct verifier *verifier, const struct image_section *code)
{
	const unsigned char *bytes = code->bytes;
	uint64_t i, at, target, size = code->size;

	for (i = 0; i + 2 <= size; i++) {
		at = code->address + i;
		if (guess_branch(bytes + i, size - i, at, &target))
			check_jump(verifier, at, target);
		else if (bytes[i] == 0x8d && (bytes[i + 1] & 0xc7) == 0x05 && i + 6 <= size)
			check_constant(verifier, at, relative(bytes + i + 2, 4, at + 6));
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

/* Whether a range, or the code that arms it, has a part in the 4096 bytes from page on. */
static bool touches_page(const struct verifier *verifier, uint64_t page)
{
	const struct critical_section *next = section_behind(verifier, page);

	return section_around(verifier, page) || (next && next->arming < page + 4096);
}

/* adr, or adrp and an addition soon behind it. */
static void check_adr(struct verifier *verifier, uint64_t address, const struct insn *adr,
		bool pages)
{
	uint64_t at, word, bit = REGISTER_BIT(adr->destination);
	struct insn insn = { 0 };

	if (!pages)
		check_taken(verifier, address, adr->constant);
	if (!pages || !touches_page(verifier, adr->constant))
		return;
	for (at = address + 4; at <= address + MAX_PAIR && !(insn.writes & bit); at += 4) {
		if (!decode(&verifier->decoder, at, &insn) ||
		    !image_word(&verifier->image, at, 4, &word))
			return;
		/* add, with an immediate operand */
		if ((word & 0xff800000) == 0x91000000 && insn.source == adr->destination)
			check_taken(verifier, at, adr->constant + insn.constant);
	}
}

static void scan_aarch64(struct verifier *verifier, const struct image_section *code)
{
	uint64_t i, at, offset, target;
	struct insn insn;
	uint32_t word;

	for (i = 0; i + 4 <= code->size; i += 4) {
		at = code->address + i;
		word = (uint32_t)read_little_endian(code->bytes + i, 4);
		if ((word & 0x1f000000) == 0x10000000 && decode(&verifier->decoder, at, &insn))
			check_adr(verifier, at, &insn, word >> 31);
		offset = branch_offset(word);
		target = at + offset;
		if (image_branch_target(&verifier->image, at, &target) || offset)
			check_jump(verifier, at, target);
	}
}

static bool is_tool_table(const struct image_section *section)
{
	return !strncmp(section->name, "__rseq_", 7);
}

/*
 * Words that hold addresses: those that relocation says, or, where a program is linked to fixed
 * addresses, those that look so. In an object, addresses have 32 bits.
 */
static void check_relocated(struct verifier *verifier)
{
	const struct image *image = &verifier->image;
	const struct image_section *section;
	uint64_t taken;
	size_t i;

	for (i = 0; i < image->nr_relocated; i++) {
		section = image_section_at(image, image->relocated[i]);
		if (section && !is_tool_table(section) &&
		    image_word(image, image->relocated[i], image->type == ET_REL ? 4 : 8, &taken))
			check_taken(verifier, image->relocated[i], taken);
	}
}

static void check_words(struct verifier *verifier, const struct image_section *section)
{
	bool x86_code = verifier->image.machine == MACHINE_X86_64 && section->executable;
	uint64_t i, at;

	if (!section->bytes || is_tool_table(section))
		return;
	for (i = 0; !x86_code && i + 8 <= section->size; i += 4)
		check_taken(verifier, section->address + i,
			    read_little_endian(section->bytes + i, 8));
	for (i = 0; x86_code && i + 4 <= section->size; i++) {
		at = section->address + i;
		check_constant(verifier, at, read_little_endian(section->bytes + i, 4));
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
	check_relocated(verifier);
	for (i = 0; verifier->nr_ranges && i < verifier->image.nr_sections; i++) {
		code = &verifier->image.sections[i];
		if (verifier->image.type == ET_EXEC && code->loaded)
			check_words(verifier, code);
		if (!code->executable || !code->bytes)
			continue;
		if (verifier->image.machine == MACHINE_X86_64)
			scan_x86(verifier, code);
		else
			scan_aarch64(verifier, code);
	}
}
