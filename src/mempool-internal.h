/* SPDX-License-Identifier: MIT */
/*
 * mempool-internal.h: what the files of the memory pools share.
 */
#ifndef RSEQ_MEMPOOL_INTERNAL_H
#define RSEQ_MEMPOOL_INTERNAL_H

#include "internal.h"

#include <rseq/mempool.h>

#include <pthread.h>

struct rseq_mempool_attr {
	int (*init)(void *priv, void *addr, size_t len, int cpu);
	void *priv;
	size_t stride;
	size_t row_len;			/* usable bytes of a row */
	int max_nr_cpus;		/* 0: all possible */
	unsigned long max_nr_ranges;	/* 0: no limit */
	uintptr_t poison;
	enum rseq_mempool_populate_policy policy;
	bool global;
	bool robust;
	bool poison_set;
	bool without_magazines;
};

/*
 * One mapping: a page whose last word points here, then the rows. An item is known by its index,
 * which is its offset in the row over the item size. Free items are linked by index plus one.
 */
struct mempool_range {
	struct mempool_range *next;	/* all ranges of the pool */
	struct mempool_range *next_available;
	struct rseq_mempool *pool;
	char *rows;
	char *initial;			/* COW_INIT: the page image that untouched rows show */
	char *map;
	size_t map_len;
	uint32_t next_fresh;		/* items from here on were never handed out */
	uint32_t nr_free;		/* items in the list of free ones */
	uint32_t first_free;
	uint32_t next_zero;		/* fresh items from here on show zeros */
	bool available;			/* in the pool's list of ranges with room */
	bool fallback_used;		/* see percpu.h; atomic */
	uint64_t *allocated;		/* robust: a bit per item */
	uint32_t next_free[];
};

/* Item sizes are powers of two. */
#define RSEQ_ORDERS	64

/* Items freed on a CPU, kept for the next allocation there. */
#define MAGAZINE_ITEMS	31

struct mempool_magazine {
	intptr_t count;
	intptr_t items[MAGAZINE_ITEMS];
} __attribute__((aligned(256)));

struct rseq_mempool {
	struct rseq_mempool *next, **link;	/* all pools, for fork() */
	struct rseq_mempool_set *set;
	pthread_mutex_t lock;
	struct rseq_mempool_attr attr;
	char *name;
	size_t item_len;
	int item_order;
	uint32_t nr_items;		/* in a range */
	int nr_rows;
	unsigned int generation;	/* of the process that made it */
	unsigned long nr_ranges;
	struct mempool_range *ranges;
	struct mempool_range *available;	/* ranges with room, newest first */
	struct mempool_magazine *magazines;	/* one for each possible CPU, or NULL */
	intptr_t magazine_items;	/* 0: frees go to the ranges; atomic */
};

/* Rows begin at a multiple of this, so that an item's first row is found by rounding down. */
static inline size_t rseq_row_alignment(size_t stride)
{
	return (size_t)1 << (RSEQ_BITS_PER_LONG - __builtin_clzl(stride - 1));
}

static inline struct mempool_range *rseq_range_of(const void *item, size_t stride)
{
	uintptr_t rows = (uintptr_t)item & ~(rseq_row_alignment(stride) - 1);

	return ((struct mempool_range **)rows)[-1];
}

/* What all copies of an item are to hold: len bytes from init and zeros, or one word repeated. */
struct mempool_content {
	const void *init;
	size_t len;
	bool poison;
	uintptr_t word;
};

/* mempool-range.c */
struct mempool_range *rseq_range_create(struct rseq_mempool *pool) rseq_hidden;
int rseq_range_destroy(struct mempool_range *range) rseq_hidden;
bool rseq_range_reset(struct mempool_range *range) rseq_hidden;
bool rseq_range_show(struct mempool_range *range, uint32_t index, bool fresh,
		const struct mempool_content *content) rseq_hidden;
void rseq_range_fill(struct mempool_range *range, uint32_t index, bool always,
		const struct mempool_content *content) rseq_hidden;
void rseq_range_poison(struct mempool_range *range, uint32_t index) rseq_hidden;
const void *rseq_range_find_unpoisoned(struct mempool_range *range, uint32_t index) rseq_hidden;

#endif /* RSEQ_MEMPOOL_INTERNAL_H */
