/* SPDX-License-Identifier: MIT */
/*
 * verify-image.c: sections and symbols of an ELF file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rseqctl.h"
#include "verify-image.h"

/* Where an object file's sections are put, so that 32-bit relocations can hold their addresses. */
#define OBJECT_BASE	UINT64_C(0x100000)
#define OBJECT_LIMIT	UINT64_C(0x60000000)
/* Where tables are put that are not loaded, out of every program's reach. */
#define UNLOADED_BASE	(UINT64_C(1) << 63)

static void *or_exit(void *memory)
{
	if (memory)
		return memory;
	fprintf(stderr, "rseqctl: out of memory\n");
	exit(RSEQCTL_USAGE);
}

void *array_new(size_t nr, size_t element_size)
{
	return or_exit(calloc(nr ? nr : 1, element_size));
}

void *array_add(void *array, size_t nr, size_t element_size)
{
	/* Grow when the size reaches a power of two. */
	if (nr && (nr & (nr - 1)))
		return array;
	return or_exit(realloc(array, (nr ? 2 * nr : 1) * element_size));
}

int compare_addresses(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

uint64_t read_little_endian(const unsigned char *bytes, unsigned int size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | bytes[size];
	return value;
}

void write_little_endian(unsigned char *bytes, unsigned int size, uint64_t value)
{
	for (; size--; value >>= 8)
		*bytes++ = (unsigned char)value;
}

static int compare_sections(const void *a, const void *b)
{
	const struct image_section *left = a, *right = b;

	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	/* An empty section must not hide the one that shares its address. */
	return (left->size > right->size) - (left->size < right->size);
}

static int compare_symbols(const void *a, const void *b)
{
	const struct image_symbol *left = a, *right = b;

	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	return (int)left->function - (int)right->function;
}

static const char *check_header(struct image *image)
{
	const char *ident = elf_getident(image->elf, NULL);
	GElf_Ehdr header;

	if (elf_kind(image->elf) != ELF_K_ELF || !ident)
		return "not an ELF file";
	if (!gelf_getehdr(image->elf, &header))
		return "damaged ELF header";
	if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB ||
	    (header.e_machine != EM_X86_64 && header.e_machine != EM_AARCH64))
		return "neither x86-64 nor little-endian aarch64";
	if (header.e_type != ET_REL && header.e_type != ET_EXEC && header.e_type != ET_DYN)
		return "neither an object, an executable nor a shared library";
	image->machine = header.e_machine == EM_X86_64 ? MACHINE_X86_64 : MACHINE_AARCH64;
	image->type = header.e_type;
	return NULL;
}

/* A section of an object file, or one that is not loaded, has no address: choose one. */
static const char *place_section(struct image_section *section, uint64_t alignment,
		uint64_t *next_address)
{
	if (!alignment || alignment > 0x10000 || (alignment & (alignment - 1)))
		alignment = 64;
	section->address = (*next_address + alignment - 1) & ~(alignment - 1);
	if (section->size > OBJECT_LIMIT)
		return "sections too large";
	/* Leave a gap, so that the end of one section is no address of the next. */
	*next_address = section->address + section->size + 64;
	return (*next_address & ~UNLOADED_BASE) > OBJECT_LIMIT ? "sections too large" : NULL;
}

static const char *add_section(struct image *image, Elf_Scn *elf_section, const GElf_Shdr *header,
		const char *name, uint64_t *next_address)
{
	struct image_section *section;

	image->sections = array_add(image->sections, image->nr_sections, sizeof(*image->sections));
	section = &image->sections[image->nr_sections++];
	memset(section, 0, sizeof(*section));
	section->name = name;
	section->address = header->sh_addr;
	section->size = header->sh_size;
	section->index = elf_ndxscn(elf_section);
	section->executable = (header->sh_flags & SHF_EXECINSTR) && header->sh_type != SHT_NOBITS;
	section->loaded = header->sh_flags & SHF_ALLOC;
	section->alignment = header->sh_addralign;
	if (image->type != ET_REL && (header->sh_flags & SHF_ALLOC))
		return NULL;
	return place_section(section, header->sh_addralign, next_address);
}

/* Those that are loaded, and tables for tools, which need not be. */
static bool is_wanted(const GElf_Shdr *header, const char *name)
{
	if (!(header->sh_flags & SHF_ALLOC))
		return !strncmp(name, "__rseq_", 7);
	/* .tbss takes no room in memory; its address is that of the next section. */
	return header->sh_type != SHT_NOBITS || !(header->sh_flags & SHF_TLS);
}

static const char *list_sections(struct image *image)
{
	uint64_t next_address = image->type == ET_REL ? OBJECT_BASE : UNLOADED_BASE;
	const char *error = NULL, *name;
	Elf_Scn *elf_section = NULL;
	size_t name_section;
	GElf_Shdr header;

	if (elf_getshdrnum(image->elf, &image->nr_headers) || !image->nr_headers)
		return "no section headers: critical sections cannot be found";
	if (elf_getshdrstrndx(image->elf, &name_section))
		return "damaged section headers";
	while (!error && (elf_section = elf_nextscn(image->elf, elf_section))) {
		if (!gelf_getshdr(elf_section, &header))
			return "damaged section headers";
		name = elf_strptr(image->elf, name_section, header.sh_name);
		if (!name)
			name = "";
		if (!strncmp(name, ".gnu.lto_", 9))
			image->lto = true;
		if (header.sh_type == SHT_SYMTAB_SHNDX) {
			image->section_numbers = elf_section;
			image->numbered_symbols = header.sh_link;
		}
		if (header.sh_type == SHT_NOBITS && header.sh_size &&
		    !strncmp(name, "__rseq_cs", 9))
			return "debug information without the program: verify what it belongs to";
		if (is_wanted(&header, name))
			error = add_section(image, elf_section, &header, name, &next_address);
	}
	return error;
}

/* The linker marks an executable of type ET_DYN in its dynamic section. */
static bool is_pie(const struct image *image)
{
	Elf_Scn *elf_section = NULL;
	GElf_Shdr header;
	Elf_Data *data;
	GElf_Dyn entry;
	size_t i;

	while (image->type == ET_DYN && (elf_section = elf_nextscn(image->elf, elf_section))) {
		if (!gelf_getshdr(elf_section, &header) || header.sh_type != SHT_DYNAMIC)
			continue;
		data = elf_getdata(elf_section, NULL);
		for (i = 0; data && i < INT32_MAX && gelf_getdyn(data, (int)i, &entry); i++)
			if (entry.d_tag == DT_FLAGS_1)
				return entry.d_un.d_val & DF_1_PIE;
	}
	return false;
}

int image_open(struct image *image, Elf *elf, uint64_t file_size)
{
	memset(image, 0, sizeof(*image));
	image->elf = elf;
	image->file_size = file_size;
	image->error = check_header(image);
	if (!image->error)
		image->error = list_sections(image);
	if (!image->error)
		image->pie = is_pie(image);
	return image->error ? -1 : 0;
}

void image_close(struct image *image)
{
	size_t i;

	for (i = 0; i < image->nr_sections; i++)
		free(image->sections[i].bytes);
	free(image->sections);
	free(image->by_index);
	free(image->symbols);
	free(image->branches);
	free(image->relocated);
	memset(image, 0, sizeof(*image));
}

static const char *load_bytes(struct image *image, struct image_section *section,
		uint64_t *loaded)
{
	Elf_Scn *elf_section = elf_getscn(image->elf, section->index);
	GElf_Shdr header;
	Elf_Data *data;

	if (!elf_section || !gelf_getshdr(elf_section, &header))
		return "damaged section headers";
	if (header.sh_type == SHT_NOBITS || !section->size)
		return NULL;
	/* Many sections that share bytes would add up to more than there is memory. */
	if (section->size > image->file_size - *loaded)
		return "sections overlap, or lie outside the file";
	*loaded += section->size;
	data = elf_rawdata(elf_section, NULL);
	if (!data || !data->d_buf || data->d_size != section->size)
		return "a section lies outside the file";
	section->bytes = array_new(section->size, 1);
	memcpy(section->bytes, data->d_buf, section->size);
	return NULL;
}

struct symbol_table image_symbol_table(const struct image *image, Elf_Scn *elf_section)
{
	struct symbol_table table = { .symbols = elf_getdata(elf_section, NULL) };

	if (image->section_numbers && image->numbered_symbols == elf_ndxscn(elf_section))
		table.section_numbers = elf_getdata(image->section_numbers, NULL);
	return table;
}

bool image_read_symbol(const struct image *image, const struct symbol_table *table, size_t index,
		GElf_Sym *symbol, const struct image_section **section)
{
	Elf32_Word number = 0;

	*section = NULL;
	if (!table->symbols || index > INT32_MAX ||
	    !gelf_getsymshndx(table->symbols, table->section_numbers, (int)index, symbol, &number))
		return false;
	if (symbol->st_shndx != SHN_XINDEX)
		number = symbol->st_shndx < SHN_LORESERVE ? symbol->st_shndx : SHN_UNDEF;
	if (number != SHN_UNDEF)
		*section = image_section_by_index(image, number);
	return true;
}

static void add_symbol(struct image *image, const char *name, const GElf_Sym *elf_symbol,
		const struct image_section *section)
{
	unsigned int type = GELF_ST_TYPE(elf_symbol->st_info);
	struct image_symbol *symbol;

	if (!section || !name || !*name || *name == '$' ||
	    (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
		return;
	image->symbols = array_add(image->symbols, image->nr_symbols, sizeof(*image->symbols));
	symbol = &image->symbols[image->nr_symbols++];
	symbol->name = name;
	symbol->address = elf_symbol->st_value +
		(image->type == ET_REL ? section->address : 0);
	symbol->size = elf_symbol->st_size;
	symbol->function = type != STT_NOTYPE;
}

/* The symbol table that says most; a stripped file has the dynamic one alone. */
static void load_symbols(struct image *image)
{
	Elf_Scn *elf_section = NULL, *best = NULL;
	GElf_Shdr header, best_header = { 0 };
	const struct image_section *section;
	struct symbol_table table;
	GElf_Sym symbol;
	size_t i;

	while ((elf_section = elf_nextscn(image->elf, elf_section))) {
		if (!gelf_getshdr(elf_section, &header))
			continue;
		if (header.sh_type == SHT_SYMTAB || (header.sh_type == SHT_DYNSYM && !best)) {
			best = elf_section;
			best_header = header;
		}
	}
	table = best ? image_symbol_table(image, best) : (struct symbol_table){ NULL, NULL };
	for (i = 0; image_read_symbol(image, &table, i, &symbol, &section); i++)
		add_symbol(image, elf_strptr(image->elf, best_header.sh_link, symbol.st_name),
			   &symbol, section);
	if (image->nr_symbols)
		qsort(image->symbols, image->nr_symbols, sizeof(*image->symbols),
		      compare_symbols);
}

int image_load(struct image *image)
{
	uint64_t loaded = 0;
	size_t i;

	if (image->nr_sections)
		qsort(image->sections, image->nr_sections, sizeof(*image->sections),
		      compare_sections);
	image->by_index = array_new(image->nr_headers, sizeof(*image->by_index));
	for (i = 0; i < image->nr_sections && !image->error; i++) {
		image->by_index[image->sections[i].index] = &image->sections[i];
		image->error = load_bytes(image, &image->sections[i], &loaded);
	}
	if (image->error)
		return -1;
	load_symbols(image);
	return image_relocate(image);
}

struct image_section *image_section_by_index(const struct image *image, size_t index)
{
	return index < image->nr_headers ? image->by_index[index] : NULL;
}

bool image_has_section(const struct image *image, const char *name)
{
	size_t i;

	for (i = 0; i < image->nr_sections; i++)
		if (!strcmp(image->sections[i].name, name))
			return true;
	return false;
}

const struct image_section *image_section_at(const struct image *image, uint64_t address)
{
	size_t low = 0, high = image->nr_sections, middle;
	const struct image_section *section;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (image->sections[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	section = &image->sections[low - 1];
	return address - section->address < section->size ? section : NULL;
}

bool image_executable(const struct image *image, uint64_t address)
{
	const struct image_section *section = image_section_at(image, address);

	return section && section->executable && section->bytes;
}

unsigned char *image_bytes(const struct image *image, uint64_t address, uint64_t size)
{
	const struct image_section *section = image_section_at(image, address);

	if (!section || !section->bytes || size > section->size - (address - section->address))
		return NULL;
	return section->bytes + (address - section->address);
}

bool image_word(const struct image *image, uint64_t address, unsigned int size, uint64_t *value)
{
	const unsigned char *bytes = image_bytes(image, address, size);

	*value = bytes ? read_little_endian(bytes, size) : 0;
	return bytes;
}

const struct image_symbol *image_symbol_at(const struct image *image, uint64_t address)
{
	const struct image_section *section = image_section_at(image, address);
	const struct image_symbol *nearest = NULL, *symbol;
	size_t low = 0, high = image->nr_symbols, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (image->symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	while (section && low-- && image->symbols[low].address >= section->address) {
		symbol = &image->symbols[low];
		if (symbol->function)
			return !symbol->size || address - symbol->address < symbol->size ||
				!nearest ? symbol : nearest;
		if (!nearest)
			nearest = symbol;
	}
	return nearest;
}

bool image_branch_target(const struct image *image, uint64_t address, uint64_t *target)
{
	const struct image_branch *branch = NULL;

	if (image->nr_branches)
		branch = bsearch(&address, image->branches, image->nr_branches,
				 sizeof(*image->branches), compare_addresses);
	if (branch)
		*target = branch->target;
	return branch;
}

bool image_is_relocated(const struct image *image, uint64_t address)
{
	return image->nr_relocated &&
		bsearch(&address, image->relocated, image->nr_relocated,
			sizeof(*image->relocated), compare_addresses);
}
