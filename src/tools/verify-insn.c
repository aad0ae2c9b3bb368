/* SPDX-License-Identifier: MIT */
/*
 * verify-insn.c: decodes instructions, whichever the architecture.
 */
#include <stdio.h>
#include <string.h>

#include "verify-insn.h"

int decoder_open(struct decoder *decoder, const struct image *image)
{
	bool x86 = image->machine == MACHINE_X86_64;

	memset(decoder, 0, sizeof(*decoder));
	decoder->image = image;
	if (cs_open(x86 ? CS_ARCH_X86 : CS_ARCH_ARM64, x86 ? CS_MODE_64 : CS_MODE_ARM,
		    &decoder->capstone) != CS_ERR_OK)
		return -1;
	/* On aarch64 the details are not asked for. */
	if (!x86 || cs_option(decoder->capstone, CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK)
		decoder->scratch = cs_malloc(decoder->capstone);
	if (decoder->scratch)
		return 0;
	cs_close(&decoder->capstone);
	return -1;
}

void decoder_close(struct decoder *decoder)
{
	cs_free(decoder->scratch, 1);
	cs_close(&decoder->capstone);
}

static void clear(struct insn *insn, uint64_t address)
{
	memset(insn, 0, sizeof(*insn));
	insn->address = address;
	insn->destination = REGISTER_NONE;
	insn->source = REGISTER_NONE;
	insn->memory.segment = REGISTER_NONE;
	insn->memory.base = REGISTER_NONE;
	insn->memory.index = REGISTER_NONE;
}

bool decode_bytes(const struct decoder *decoder, uint64_t address, uint64_t size,
		struct insn *insn)
{
	const unsigned char *bytes = image_bytes(decoder->image, address, size);
	bool known;

	clear(insn, address);
	if (!bytes || !size || !image_executable(decoder->image, address))
		return false;
	if (decoder->image->machine == MACHINE_X86_64) {
		known = x86_decode(decoder, bytes, size, insn);
	} else {
		known = size >= 4 && !(address & 3) &&
			aarch64_decode(decoder, (uint32_t)read_little_endian(bytes, 4), insn);
		insn->size = 4;
	}
	if (known && (insn->flags & INSN_BRANCH))
		image_branch_target(decoder->image, address, &insn->target);
	return known;
}

bool decode(const struct decoder *decoder, uint64_t address, struct insn *insn)
{
	const struct image_section *section = image_section_at(decoder->image, address);
	uint64_t room = section ? section->address + section->size - address : 0;

	return decode_bytes(decoder, address, room < INSN_MAX_SIZE ? room : INSN_MAX_SIZE, insn);
}

void decode_text(const struct decoder *decoder, uint64_t address, char *text, size_t size)
{
	const struct image_section *section = image_section_at(decoder->image, address);
	uint64_t room = section ? section->address + section->size - address : 0;
	size_t length = room < INSN_MAX_SIZE ? (size_t)room : INSN_MAX_SIZE;
	const uint8_t *bytes = image_bytes(decoder->image, address, length);

	snprintf(text, size, "(none)");
	if (!bytes)
		return;
	if (decoder->image->machine == MACHINE_AARCH64 && length >= 4)
		snprintf(text, size, ".inst 0x%08x", (unsigned int)read_little_endian(bytes, 4));
	/* The order of operands in capstone's details follows the syntax: set it for text alone. */
	if (decoder->image->machine == MACHINE_X86_64)
		cs_option(decoder->capstone, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
	if (cs_disasm_iter(decoder->capstone, &bytes, &length, &address, decoder->scratch))
		snprintf(text, size, "%s%s%s", decoder->scratch->mnemonic,
			 *decoder->scratch->op_str ? " " : "", decoder->scratch->op_str);
	if (decoder->image->machine == MACHINE_X86_64)
		cs_option(decoder->capstone, CS_OPT_SYNTAX, CS_OPT_SYNTAX_DEFAULT);
}

bool same_base(const struct memory_operand *a, const struct memory_operand *b)
{
	return a->segment == b->segment && a->base == b->base && a->index == b->index &&
		a->scale == b->scale;
}
