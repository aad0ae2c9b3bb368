/* SPDX-License-Identifier: MIT */
/*
 * verify-image.h: an ELF file as its program would see it in memory, relocations applied.
 *
 * Nothing in the file is trusted: every access goes through image_bytes(), which answers NULL for
 * whatever the file does not hold.
 */
#ifndef VERIFY_IMAGE_H
#define VERIFY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gelf.h>

enum machine {
	MACHINE_X86_64,
	MACHINE_AARCH64,
};

struct image_section {
	const char *name;
	uint64_t address, size;		/* in an object file: where we put it */
	unsigned char *bytes;		/* NULL where the file has none (.bss) */
	size_t index;			/* in the section header table */
	bool executable;
	bool loaded;			/* is a part of the program */
	uint64_t alignment;		/* that its address will have, in an object file */
};

struct image_symbol {
	const char *name;
	uint64_t address, size;
	bool function;
};

/* A branch of an object file whose target the instruction cannot hold before linking. */
struct image_branch {
	uint64_t address, target;
};

struct image {
	Elf *elf;
	uint64_t file_size;
	enum machine machine;
	int type;			/* ET_REL, ET_EXEC or ET_DYN */
	bool pie;			/* an executable of type ET_DYN */
	bool lto;			/* holds a compiler's intermediate code */
	const char *error;		/* why image_open() failed */
	struct image_section *sections;	/* by address */
	size_t nr_sections;
	struct image_section **by_index;	/* by index in the section header table */
	size_t nr_headers;
	Elf_Scn *section_numbers;	/* of the table of symbols with this index; or NULL */
	size_t numbered_symbols;
	struct image_symbol *symbols;	/* by address */
	size_t nr_symbols;
	struct image_branch *branches;	/* by address */
	size_t nr_branches;
	uint64_t *relocated;		/* words that linkers make addresses, by their own */
	size_t nr_relocated;
};

/*
 * Read the header and the table of sections: enough to see which sections there are. file_size is
 * the number of bytes that the file, or the member of an archive, has.
 * Returns: 0, or -1 with image->error; image_close() is due in both cases.
 */
int image_open(struct image *image, Elf *elf, uint64_t file_size);
void image_close(struct image *image);

/* Read sections and symbols and apply relocations. Returns: as image_open(). */
int image_load(struct image *image);
int image_relocate(struct image *image);	/* a part of it, in verify-reloc.c */

bool image_has_section(const struct image *image, const char *name);
struct image_section *image_section_by_index(const struct image *image, size_t index);
const struct image_section *image_section_at(const struct image *image, uint64_t address);
bool image_executable(const struct image *image, uint64_t address);

/*
 * The symbols of a table. Where there are more sections than a symbol can name, another table has
 * the numbers of theirs.
 */
struct symbol_table {
	Elf_Data *symbols, *section_numbers;
};
struct symbol_table image_symbol_table(const struct image *image, Elf_Scn *elf_section);
/* Returns: whether there is one of that index. section is NULL where it belongs to none. */
bool image_read_symbol(const struct image *image, const struct symbol_table *table, size_t index,
		GElf_Sym *symbol, const struct image_section **section);

/* Returns: size bytes of one section at address, or NULL. */
unsigned char *image_bytes(const struct image *image, uint64_t address, uint64_t size);
/* Returns: whether the little-endian word of 4 or 8 bytes at address could be read into value. */
bool image_word(const struct image *image, uint64_t address, unsigned int size, uint64_t *value);

/* Returns: the symbol that address belongs to, the nearest function at best, or NULL. */
const struct image_symbol *image_symbol_at(const struct image *image, uint64_t address);
/* Returns: whether target was set, to where relocation sends the branch at address. */
bool image_branch_target(const struct image *image, uint64_t address, uint64_t *target);
/* Returns: whether where the file is loaded, or its sections are put, adjusts this word. */
bool image_is_relocated(const struct image *image, uint64_t address);

uint64_t read_little_endian(const unsigned char *bytes, unsigned int size);
void write_little_endian(unsigned char *bytes, unsigned int size, uint64_t value);

/* A cleared array, and room for one more element at the end of one. They exit without memory. */
void *array_new(size_t nr, size_t element_size);
void *array_add(void *array, size_t nr, size_t element_size);
int compare_addresses(const void *a, const void *b);	/* of elements that begin with one */

#endif /* VERIFY_IMAGE_H */
