/* SPDX-License-Identifier: MIT */
/*
 * verify-reloc.c: applies the relocations of an ELF file that concern critical sections.
 */
#include <stdlib.h>
#include <string.h>

#include "verify-image.h"

/* Section types that older elf.h do not know. */
#define TYPE_RELR		19
#define TYPE_CREL		0x40000014
#define TYPE_ANDROID_REL	0x60000001
#define TYPE_ANDROID_RELA	0x60000002
#define TYPE_ANDROID_RELR	0x6fffff00

/* Where symbols of other files are taken to be: out of all sections, each at an own address. */
#define UNDEFINED_BASE		UINT64_C(0x70000000)
#define UNDEFINED_SPACING	16
#define UNDEFINED_MAX		0xffffff
/* Offset of a thread-local symbol from the thread pointer: any, if two symbols differ. */
#define TLS_SPACING		4096
#define TLS_MAX			0x3ffff

#define A64_PAGE(address)	((address) & ~UINT64_C(0xfff))

/* One relocation of an object file, its symbol looked up. */
struct fixup {
	unsigned int type;
	unsigned char *bytes;	/* what to change, with room bytes to the end of the section */
	uint64_t room;
	uint64_t place, value;
	uint64_t tls_offset;
};

static void patch(const struct fixup *fixup, unsigned int size, uint64_t value)
{
	if (size <= fixup->room)
		write_little_endian(fixup->bytes, size, value);
}

/* Set the bits of an instruction that mask covers to those of value, shifted. */
static void patch_bits(const struct fixup *fixup, uint32_t mask, unsigned int shift, uint64_t value)
{
	uint32_t word;

	if (fixup->room < 4)
		return;
	word = (uint32_t)read_little_endian(fixup->bytes, 4);
	word = (word & ~mask) | ((uint32_t)(value << shift) & mask);
	write_little_endian(fixup->bytes, 4, word);
}

static void add_relocated(struct image *image, uint64_t address)
{
	image->relocated = array_add(image->relocated, image->nr_relocated,
				     sizeof(*image->relocated));
	image->relocated[image->nr_relocated++] = address;
}

static void fix_x86(struct image *image, const struct fixup *fixup)
{
	switch (fixup->type) {
	case R_X86_64_64:
		patch(fixup, 8, fixup->value);
		add_relocated(image, fixup->place);
		break;
	case R_X86_64_32:
	case R_X86_64_32S:
		patch(fixup, 4, fixup->value);
		add_relocated(image, fixup->place);
		break;
	case R_X86_64_PC64:
		patch(fixup, 8, fixup->value - fixup->place);
		break;
	case R_X86_64_PC8:
		patch(fixup, 1, fixup->value - fixup->place);
		break;
	case R_X86_64_TPOFF32:
		patch(fixup, 4, fixup->tls_offset);
		break;
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
		patch(fixup, 4, fixup->value - fixup->place);
		break;
	case R_X86_64_GOTPCREL:
	case R_X86_64_GOTPCRELX:
	case R_X86_64_REX_GOTPCRELX:
	case R_X86_64_GOTTPOFF:
	case R_X86_64_TLSGD:
	case R_X86_64_TLSLD:
		/* The address of a table entry that is not there yet. */
		patch(fixup, 4, UNDEFINED_BASE - fixup->place);
		break;
	}
}

static void add_branch(struct image *image, uint64_t address, uint64_t target)
{
	image->branches = array_add(image->branches, image->nr_branches, sizeof(*image->branches));
	image->branches[image->nr_branches].address = address;
	image->branches[image->nr_branches++].target = target;
}

static void fix_aarch64(struct image *image, const struct fixup *fixup)
{
	uint64_t distance = fixup->value - fixup->place;
	uint64_t pages = (A64_PAGE(fixup->value) - A64_PAGE(fixup->place)) >> 12;
	uint64_t table = (UNDEFINED_BASE - A64_PAGE(fixup->place)) >> 12;

	switch (fixup->type) {
	case R_AARCH64_ABS64:
		patch(fixup, 8, fixup->value);
		add_relocated(image, fixup->place);
		break;
	case R_AARCH64_ABS32:
		patch(fixup, 4, fixup->value);
		break;
	case R_AARCH64_PREL64:
		patch(fixup, 8, distance);
		break;
	case R_AARCH64_PREL32:
		patch(fixup, 4, distance);
		break;
	case R_AARCH64_CALL26:
	case R_AARCH64_JUMP26:
	case R_AARCH64_CONDBR19:
	case R_AARCH64_TSTBR14:
		add_branch(image, fixup->place, fixup->value);
		break;
	case R_AARCH64_LD_PREL_LO19:
		patch_bits(fixup, 0x00ffffe0, 5, distance >> 2);
		break;
	case R_AARCH64_ADR_PREL_LO21:
		patch_bits(fixup, 0x60000000, 29, distance);
		patch_bits(fixup, 0x00ffffe0, 5, distance >> 2);
		break;
	case R_AARCH64_ADR_PREL_PG_HI21:
	case R_AARCH64_ADR_PREL_PG_HI21_NC:
		patch_bits(fixup, 0x60000000, 29, pages);
		patch_bits(fixup, 0x00ffffe0, 5, pages >> 2);
		break;
	case R_AARCH64_ADR_GOT_PAGE:
	case R_AARCH64_TLSGD_ADR_PAGE21:
	case R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21:
	case R_AARCH64_TLSDESC_ADR_PAGE21:
		/* The address of a table entry that is not there yet. */
		patch_bits(fixup, 0x60000000, 29, table);
		patch_bits(fixup, 0x00ffffe0, 5, table >> 2);
		break;
	case R_AARCH64_ADD_ABS_LO12_NC:
	case R_AARCH64_LDST8_ABS_LO12_NC:
		patch_bits(fixup, 0x003ffc00, 10, fixup->value & 0xfff);
		break;
	case R_AARCH64_LDST16_ABS_LO12_NC:
		patch_bits(fixup, 0x003ffc00, 10, (fixup->value & 0xfff) >> 1);
		break;
	case R_AARCH64_LDST32_ABS_LO12_NC:
		patch_bits(fixup, 0x003ffc00, 10, (fixup->value & 0xfff) >> 2);
		break;
	case R_AARCH64_LDST64_ABS_LO12_NC:
		patch_bits(fixup, 0x003ffc00, 10, (fixup->value & 0xfff) >> 3);
		break;
	case R_AARCH64_TLSLE_ADD_TPREL_HI12:
		patch_bits(fixup, 0x003ffc00, 10, fixup->tls_offset >> 12);
		break;
	case R_AARCH64_TLSLE_ADD_TPREL_LO12:
	case R_AARCH64_TLSLE_ADD_TPREL_LO12_NC:
		patch_bits(fixup, 0x003ffc00, 10, fixup->tls_offset & 0xfff);
		break;
	}
}

static uint64_t symbol_value(const struct image_section *section, const GElf_Sym *symbol,
		uint64_t index)
{
	if (symbol->st_shndx == SHN_ABS)
		return symbol->st_value;
	if (section)
		return section->address + symbol->st_value;
	return UNDEFINED_BASE + (index & UNDEFINED_MAX) * UNDEFINED_SPACING;
}

static void relocate_object(struct image *image, Elf_Data *data,
		const struct symbol_table *symbols, const struct image_section *target)
{
	const struct image_section *section;
	struct fixup fixup;
	GElf_Rela rela;
	GElf_Sym symbol;
	uint64_t index;
	size_t i;

	for (i = 0; i < INT32_MAX && gelf_getrela(data, (int)i, &rela); i++) {
		index = GELF_R_SYM(rela.r_info);
		if (rela.r_offset >= target->size || index > INT32_MAX)
			continue;
		if (!image_read_symbol(image, symbols, index, &symbol, &section))
			memset(&symbol, 0, sizeof(symbol));
		fixup.type = (unsigned int)GELF_R_TYPE(rela.r_info);
		fixup.bytes = target->bytes + rela.r_offset;
		fixup.room = target->size - rela.r_offset;
		fixup.place = target->address + rela.r_offset;
		fixup.value = symbol_value(section, &symbol, index) + (uint64_t)rela.r_addend;
		fixup.tls_offset = (index & TLS_MAX) * TLS_SPACING + (uint64_t)rela.r_addend;
		if (image->machine == MACHINE_X86_64)
			fix_x86(image, &fixup);
		else
			fix_aarch64(image, &fixup);
	}
}

static void relocate_dynamic(struct image *image, Elf_Data *data, Elf_Data *symbols)
{
	bool x86 = image->machine == MACHINE_X86_64;
	unsigned char *bytes;
	unsigned int type;
	uint64_t index, value;
	GElf_Rela rela;
	GElf_Sym symbol;
	size_t i;

	for (i = 0; i < INT32_MAX && gelf_getrela(data, (int)i, &rela); i++) {
		type = (unsigned int)GELF_R_TYPE(rela.r_info);
		index = GELF_R_SYM(rela.r_info);
		value = (uint64_t)rela.r_addend;
		if (type == (x86 ? R_X86_64_64 : R_AARCH64_ABS64)) {
			if (index <= INT32_MAX && symbols &&
			    gelf_getsym(symbols, (int)index, &symbol))
				value += symbol.st_value;
		} else if (type != (x86 ? R_X86_64_RELATIVE : R_AARCH64_RELATIVE)) {
			continue;
		}
		bytes = image_bytes(image, rela.r_offset, 8);
		if (bytes)
			write_little_endian(bytes, 8, value);
		add_relocated(image, rela.r_offset);
	}
}

/*
 * Packed relative relocations: the words hold their link-time value, so there is nothing to
 * apply, but the dynamic linker will adjust them. An even entry is the address of one; an odd
 * entry is a bitmap of the 63 words that follow.
 */
static void relocate_packed(struct image *image, const struct image_section *table)
{
	uint64_t entry, offset, next = 0;
	unsigned int bit;

	for (offset = 0; offset + 8 <= table->size; offset += 8) {
		entry = read_little_endian(table->bytes + offset, 8);
		if (!(entry & 1)) {
			add_relocated(image, entry);
			next = entry + 8;
			continue;
		}
		for (bit = 1; bit < 64; bit++)
			if (entry >> bit & 1)
				add_relocated(image, next + (bit - 1) * 8);
		next += 63 * 8;
	}
}

static void relocate_section(struct image *image, Elf_Scn *elf_section, const GElf_Shdr *header)
{
	Elf_Scn *linked = elf_getscn(image->elf, header->sh_link);
	struct symbol_table symbols = { NULL, NULL };
	Elf_Data *data = elf_getdata(elf_section, NULL);
	const struct image_section *target;
	GElf_Shdr linked_header;

	if (!data)
		return;
	if (linked && gelf_getshdr(linked, &linked_header) &&
	    (linked_header.sh_type == SHT_SYMTAB || linked_header.sh_type == SHT_DYNSYM))
		symbols = image_symbol_table(image, linked);
	if (image->type == ET_REL) {
		target = image_section_by_index(image, header->sh_info);
		if (target && target->bytes)
			relocate_object(image, data, &symbols, target);
	} else if (header->sh_flags & SHF_ALLOC) {
		/* Others, as --emit-relocs leaves them, are applied already. */
		relocate_dynamic(image, data, symbols.symbols);
	}
}

static const char *relocate_any(struct image *image, Elf_Scn *elf_section, const GElf_Shdr *header)
{
	const struct image_section *section;

	switch (header->sh_type) {
	case SHT_RELA:
		relocate_section(image, elf_section, header);
		return NULL;
	case TYPE_RELR:
	case TYPE_ANDROID_RELR:
		section = image_section_by_index(image, elf_ndxscn(elf_section));
		if (section && section->bytes)
			relocate_packed(image, section);
		return NULL;
	case SHT_REL:
		/* Neither architecture uses them, but for a section without a purpose in memory. */
		if (image->type == ET_REL && !image_section_by_index(image, header->sh_info))
			return NULL;
		return "unsupported form of relocations";
	case TYPE_CREL:
	case TYPE_ANDROID_REL:
	case TYPE_ANDROID_RELA:
		return "unsupported form of relocations";
	default:
		return NULL;
	}
}

int image_relocate(struct image *image)
{
	Elf_Scn *elf_section = NULL;
	GElf_Shdr header;

	while (!image->error && (elf_section = elf_nextscn(image->elf, elf_section)))
		if (gelf_getshdr(elf_section, &header))
			image->error = relocate_any(image, elf_section, &header);
	if (image->nr_branches)
		qsort(image->branches, image->nr_branches, sizeof(*image->branches),
		      compare_addresses);
	if (image->nr_relocated)
		qsort(image->relocated, image->nr_relocated, sizeof(*image->relocated),
		      compare_addresses);
	return image->error ? -1 : 0;
}
