/* SPDX-License-Identifier: MIT */
/*
 * info-maps.c: what lies where in another process, and where its libc keeps its areas.
 */
#define _GNU_SOURCE		/* RTLD_DEFAULT */

#include "info-pid.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads one line of /proc/PID/maps. */
static bool parse_mapping(const char *line, struct mapping *mapping)
{
	int path = 0;

	if (sscanf(line, "%lx-%lx %*s %*x %x:%x %lu %n", &mapping->start, &mapping->end,
		   &mapping->major, &mapping->minor, &mapping->inode, &path) < 5 || !path)
		return false;
	mapping->path = strndup(line + path, strcspn(line + path, "\n"));
	return mapping->path != NULL;
}

static void read_mappings(struct address_space *space, FILE *stream)
{
	size_t room = 0, line_room = 0;
	char *line = NULL;

	while (getline(&line, &line_room, stream) > 0) {
		if (space->nr_mappings == room) {
			size_t new_room = room ? 2 * room : 64;
			void *bigger = realloc(space->mappings,
					       new_room * sizeof(*space->mappings));

			if (!bigger)
				break;
			space->mappings = bigger;
			room = new_room;
		}
		if (parse_mapping(line, &space->mappings[space->nr_mappings]))
			space->nr_mappings++;
	}
	free(line);
}

static void read_maps(struct address_space *space, pid_t pid)
{
	char path[64];
	FILE *stream;

	memset(space, 0, sizeof(*space));
	space->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	stream = fopen(path, "re");
	if (!stream)
		return;
	read_mappings(space, stream);
	fclose(stream);
}

const struct mapping *address_space_find(const struct address_space *space, uintptr_t address)
{
	size_t low = 0, high = space->nr_mappings;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct mapping *mapping = &space->mappings[middle];

		if (address < mapping->start)
			high = middle;
		else if (address >= mapping->end)
			low = middle + 1;
		else
			return mapping;
	}
	return NULL;
}

/* The lowest mapping of the file that another process has mapped, or NULL. */
static const struct mapping *first_of_file(const struct address_space *space,
		const struct mapping *file)
{
	for (size_t i = 0; i < space->nr_mappings; i++) {
		const struct mapping *mapping = &space->mappings[i];

		if (mapping->inode == file->inode && mapping->major == file->major &&
		    mapping->minor == file->minor)
			return mapping;
	}
	return NULL;
}

/*
 * Reads a variable of a library that both processes have from the same file: it lies at the same
 * distance from the library's start.
 */
static bool read_variable(const struct address_space *other, const struct address_space *own,
		const void *address, void *value, size_t size)
{
	const struct mapping *mapping, *own_start, *start;
	ssize_t length = -1;
	uintptr_t place;
	char path[64];
	int memory;

	mapping = address ? address_space_find(own, (uintptr_t)address) : NULL;
	if (!mapping || !mapping->inode)
		return false;
	own_start = first_of_file(own, mapping);
	start = first_of_file(other, mapping);
	if (!own_start || !start)
		return false;
	place = (uintptr_t)address - own_start->start + start->start;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)other->pid);
	memory = open(path, O_RDONLY | O_CLOEXEC);
	if (memory >= 0) {
		length = pread(memory, value, size, (off_t)place);
		close(memory);
	}
	return length == (ssize_t)size;
}

/* dlsym() alone: a reference would move the variables into this program. */
static void find_libc(struct address_space *space)
{
	struct address_space own;

	read_maps(&own, getpid());
	space->libc_known =
		read_variable(space, &own, dlsym(RTLD_DEFAULT, "__rseq_offset"),
			      &space->libc_offset, sizeof(space->libc_offset)) &&
		read_variable(space, &own, dlsym(RTLD_DEFAULT, "__rseq_size"),
			      &space->libc_size, sizeof(space->libc_size));
	address_space_free(&own);
}

void address_space_read(struct address_space *space, pid_t pid)
{
	read_maps(space, pid);
	find_libc(space);
}

void address_space_free(struct address_space *space)
{
	for (size_t i = 0; i < space->nr_mappings; i++)
		free(space->mappings[i].path);
	free(space->mappings);
}
