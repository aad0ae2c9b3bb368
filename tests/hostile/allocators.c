/* SPDX-License-Identifier: MIT */
/*
 * allocators.c: see allocators.h. These take the place of libc's.
 */
#define _GNU_SOURCE

#include "allocators.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own, under names that nobody else has. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t nr, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

int until_failure = NEVER;
bool fails_for_ever;
long nr_blocks, nr_mapped;
bool failed;

static bool fails(void)
{
	if (until_failure == NEVER || until_failure-- > 0)
		return false;
	until_failure = fails_for_ever ? 0 : NEVER;
	failed = true;
	errno = ENOMEM;
	return true;
}

static void *counted(void *block)
{
	nr_blocks += !!block;
	return block;
}

void *malloc(size_t size)
{
	return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t nr, size_t size)
{
	return fails() ? NULL : counted(__libc_calloc(nr, size));
}

void *realloc(void *block, size_t size)
{
	if (fails())
		return NULL;
	return block ? __libc_realloc(block, size) : counted(__libc_malloc(size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	if (fails())
		return ENOMEM;
	*block = counted(__libc_memalign(alignment, size));
	return *block ? 0 : ENOMEM;
}

void free(void *block)
{
	nr_blocks -= !!block;
	__libc_free(block);
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	void *mapped;

	if (fails())
		return MAP_FAILED;
	mapped = (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
	if (mapped != MAP_FAILED && !(flags & MAP_FIXED))
		nr_mapped += (long)length;
	return mapped;
}

int munmap(void *address, size_t length)
{
	int result = (int)syscall(SYS_munmap, address, length);

	if (!result)
		nr_mapped -= (long)length;
	return result;
}
