/* SPDX-License-Identifier: MIT */
/*
 * verify-line.c: source lines of addresses, if built with libdw.
 */
#include <stdlib.h>

#include "verify.h"

#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>

struct line_table {
	Dwfl *session;
	Dwfl_Module *module;
	Elf *elf;		/* libdw's own view, in which an object's sections have addresses */
	GElf_Addr bias;
};

/* The file's own lines are enough. The usual search may ask servers for them. */
static int find_nothing(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
		const char *file, const char *link, GElf_Word checksum, char **found)
{
	(void)module;
	(void)data;
	(void)name;
	(void)base;
	(void)file;
	(void)link;
	(void)checksum;
	(void)found;
	return -1;
}

struct line_table *lines_open(const char *path)
{
	static const Dwfl_Callbacks callbacks = {
		.find_debuginfo = find_nothing,
		.section_address = dwfl_offline_section_address,
	};
	struct line_table *lines = calloc(1, sizeof(*lines));

	if (!lines)
		return NULL;
	lines->session = dwfl_begin(&callbacks);
	if (lines->session)
		lines->module = dwfl_report_offline(lines->session, path, path, -1);
	if (lines->module && dwfl_report_end(lines->session, NULL, NULL) == 0)
		lines->elf = dwfl_module_getelf(lines->module, &lines->bias);
	if (lines->elf)
		return lines;
	lines_close(lines);
	return NULL;
}

void lines_close(struct line_table *lines)
{
	if (!lines)
		return;
	if (lines->session)
		dwfl_end(lines->session);
	free(lines);
}

/* By the index of addresses, which not every compiler writes, or in each compilation unit. */
static Dwarf_Line *find_line(const struct line_table *lines, GElf_Addr address)
{
	Dwfl_Line *found = dwfl_module_getsrc(lines->module, address);
	Dwarf_Die *unit = NULL;
	Dwarf_Line *line;
	Dwarf_Addr bias;

	if (found)
		return dwfl_dwarf_line(found, &bias);
	while ((unit = dwfl_module_nextcu(lines->module, unit, &bias))) {
		line = dwarf_getsrc_die(unit, address - bias);
		if (line)
			return line;
	}
	return NULL;
}

bool lines_find(const struct line_table *lines, const struct image *image, uint64_t address,
		const char **file, int *line)
{
	const struct image_section *section = image_section_at(image, address);
	Elf_Scn *elf_section;
	Dwarf_Line *found;
	GElf_Shdr header;

	if (!lines || !section)
		return false;
	if (image->type == ET_REL) {
		elf_section = elf_getscn(lines->elf, section->index);
		if (!elf_section || !gelf_getshdr(elf_section, &header))
			return false;
		address = address - section->address + header.sh_addr;
	}
	found = find_line(lines, address + lines->bias);
	*file = found ? dwarf_linesrc(found, NULL, NULL) : NULL;
	return *file && dwarf_lineno(found, line) == 0;
}

#else /* !HAVE_LIBDW */

struct line_table *lines_open(const char *path)
{
	(void)path;
	return NULL;
}

void lines_close(struct line_table *lines)
{
	(void)lines;
}

bool lines_find(const struct line_table *lines, const struct image *image, uint64_t address,
		const char **file, int *line)
{
	(void)lines;
	(void)image;
	(void)address;
	(void)file;
	(void)line;
	return false;
}
#endif /* HAVE_LIBDW */
