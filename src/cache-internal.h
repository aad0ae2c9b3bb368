/* SPDX-License-Identifier: MIT */
/*
 * cache-internal.h: what the parts of a cache share.
 */
#ifndef RSEQ_CACHE_INTERNAL_H
#define RSEQ_CACHE_INTERNAL_H

#include "percpu.h"

#include <rseq/cache.h>
#include <rseq/counter.h>

/* Objects on their way between a CPU and the depot, or of the latter. */
struct magazine {
	uint32_t next;		/* in its list: the number of a magazine plus 1, or 0; atomic */
	uint32_t nr;
	void *objects[];
};

/*
 * The depot: as many magazines as its bound says, each in one of two lists, or with the thread that
 * took it out. A list's lower half is the number of its first magazine plus 1, or 0; its upper half
 * counts how often one was taken, so that a thread notices if its first magazine was away and came
 * back. Magazines last as long as the depot: reading one that is somebody else's by now is
 * harmless.
 */
struct depot {
	char *magazines;
	size_t magazine_len;
	size_t batch;
	uint32_t nr_magazines;
	size_t nr_objects __attribute__((aligned(64)));	/* atomic, as are the lists */
	uint64_t full;
	uint64_t empty;
};

int rseq_depot_init(struct depot *depot, size_t nr_objects, size_t batch) rseq_hidden;
void rseq_depot_fini(struct depot *depot) rseq_hidden;

/* A magazine with objects, or one without; NULL if there is none. It is the caller's then. */
struct magazine *rseq_depot_take_full(struct depot *depot) rseq_hidden;
struct magazine *rseq_depot_take_empty(struct depot *depot) rseq_hidden;

/* Gives a magazine back, with its objects if it has any. */
void rseq_depot_put(struct depot *depot, struct magazine *magazine) rseq_hidden;

/* The objects that are out, by address; open addressing, the size a power of two or 0. */
struct out_table {
	uintptr_t *slots;
	size_t size;
	size_t nr;
};

/* 0, or -1 with errno ENOMEM. */
int rseq_out_add(struct out_table *table, void *object) rseq_hidden;

/* Whether it was there. */
bool rseq_out_remove(struct out_table *table, void *object) rseq_hidden;

#endif /* RSEQ_CACHE_INTERNAL_H */
