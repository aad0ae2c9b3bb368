/* SPDX-License-Identifier: MIT */
/*
 * allocators.h: allocators that count, and fail when they are told to.
 */
#ifndef ALLOCATORS_H
#define ALLOCATORS_H

#include <stdbool.h>

#define NEVER		(-1)

extern int until_failure;		/* allocations that succeed, or NEVER */
extern bool fails_for_ever;		/* or else once */
extern bool failed;			/* at least once */

extern long nr_blocks;			/* that are out */
extern long nr_mapped;			/* bytes */

#endif /* ALLOCATORS_H */
