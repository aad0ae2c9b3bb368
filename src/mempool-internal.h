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
 * Free items are of two kinds: used ones, which hold anything, and those that show zeros in every
 * row (where poison or an init callback fills them, what these leave).
 */
enum mempool_kind {
	ITEMS_USED,
	ITEMS_ZERO,
	NR_KINDS,
};

/*
 * One mapping: a page whose last word points here, then the rows. An item is known by its index,
 * which is its offset in the row over the item size. Free items are linked by index plus one; fresh
 * ones, which were never handed out, count as zero ones and are in no list.
 */
struct mempool_range {
	struct mempool_range *next;	/* all ranges of the pool */
	struct mempool_range *next_in_chain, **link_in_chain;	/* see mempool-find.c */
	struct mempool_range *next_available[NR_KINDS];
	bool available[NR_KINDS];	/* in the pool's list of ranges with room */
	bool with_image;		/* made for initial values that rows share */
	bool fallback_used;		/* see percpu.h; atomic */
	struct rseq_mempool *pool;
	char *rows;
	char *initial;			/* the page image that untouched rows show, or NULL */
	char *map;
	size_t map_len;
	uint32_t next_fresh;		/* items from here on were never handed out */
	uint32_t next_zero;		/* fresh items from here on show zeros */
	uint32_t nr_free[NR_KINDS];	/* items in the lists of free ones */
	uint32_t first_free[NR_KINDS];
	uint64_t *allocated;		/* robust: a bit per item */
	uint64_t *poisoned;		/* lenient: a bit per copy of a free item, row by row */
	uint32_t next_free[];
};

/* Item sizes are powers of two. */
#define RSEQ_ORDERS	64

/* Free items of one kind that a CPU keeps for the next allocation there. */
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
	bool starts_zero;		/* what no one wrote to shows zeros */
	bool always_image;		/* in each range, not only in those of initial values */
	bool lenient;			/* robust: a free copy holds poison, or zeros as before */
	bool blind;			/* which pages were written to cannot be found out */
	unsigned long nr_ranges;
	size_t nr_used;			/* items of kind ITEMS_USED in the lists of ranges */
	struct mempool_range *ranges;
	/* Ranges with room, newest first, without and with an image. */
	struct mempool_range *available[2][NR_KINDS];
	/* Of each kind: one for each possible CPU; or NULL. */
	struct mempool_magazine *magazines[NR_KINDS];
	intptr_t magazine_items;	/* how many of the MAGAZINE_ITEMS are used */
};

/*
 * Rows begin at a multiple of this, so that an item's first row is found by rounding down. Strides
 * are of 2 bytes or more.
 */
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

/* mempool.c: whose item it is, is known. */
void rseq_mempool_free_item(struct mempool_range *range, void *item) rseq_hidden;

/* mempool-find.c: all ranges; their lock is taken behind those of pools. */
void rseq_ranges_lock(void) rseq_hidden;
void rseq_ranges_unlock(void) rseq_hidden;
void rseq_range_enter(struct mempool_range *range) rseq_hidden;
void rseq_range_leave(struct mempool_range *range) rseq_hidden;

/* The range of a pool of this stride with the address in its first row; with it in any row. */
struct mempool_range *rseq_range_with_first_row(const void *address, size_t stride) rseq_hidden;
struct mempool_range *rseq_range_with(const void *address) rseq_hidden;

/* mempool-magazine.c */
int rseq_magazines_create(struct rseq_mempool *pool) rseq_hidden;
int rseq_magazines_destroy(struct rseq_mempool *pool) rseq_hidden;
void *rseq_magazine_take(struct rseq_mempool *pool, enum mempool_kind kind) rseq_hidden;
bool rseq_magazine_put(struct rseq_mempool *pool, enum mempool_kind kind, void *item) rseq_hidden;
void rseq_magazines_empty(struct rseq_mempool *pool, intptr_t nr) rseq_hidden;
void rseq_magazines_gather(struct rseq_mempool *pool) rseq_hidden;

/* The index and the address of an item. */
static inline uint32_t rseq_item_index(const struct mempool_range *range, const void *item)
{
	return (uint32_t)((size_t)((const char *)item - range->rows) >> range->pool->item_order);
}

static inline void *rseq_item_at(const struct mempool_range *range, uint32_t index)
{
	return range->rows + ((size_t)index << range->pool->item_order);
}

/* What is taken from a range. */
struct mempool_item {
	struct mempool_range *range;
	uint32_t index;
	bool fresh;			/* was never handed out, or not since all were free */
	bool zero;			/* shows zeros in every row */
};

/* mempool-items.c: all called with the pool's lock. */
struct mempool_range *rseq_range_add(struct rseq_mempool *pool, bool with_image) rseq_hidden;
void rseq_item_free(struct mempool_range *range, uint32_t index, enum mempool_kind kind)
	rseq_hidden;
bool rseq_item_take_any(struct rseq_mempool *pool, struct mempool_item *item) rseq_hidden;
bool rseq_item_take_zero(struct rseq_mempool *pool, struct mempool_item *item) rseq_hidden;
bool rseq_item_take_another_zero(struct mempool_item *item) rseq_hidden;
bool rseq_item_take_for_value(struct rseq_mempool *pool, struct mempool_item *item) rseq_hidden;

/* The most rows that are told apart by whether they were written to. */
#define RSEQ_MAX_ROWS	16384

/* mempool-written.c */
size_t rseq_range_count_pages(const struct mempool_range *range) rseq_hidden;
bool rseq_range_find_written(const struct mempool_range *range, uint64_t *rows) rseq_hidden;

/* mempool-range.c */
struct mempool_range *rseq_range_create(struct rseq_mempool *pool, bool with_image) rseq_hidden;
int rseq_range_destroy(struct mempool_range *range) rseq_hidden;
bool rseq_range_drop(struct mempool_range *range) rseq_hidden;
bool rseq_range_show(struct mempool_range *range, uint32_t index, bool fresh,
		const struct mempool_content *content) rseq_hidden;
bool rseq_range_show_zeros(struct mempool_range *range, uint32_t first, uint32_t nr) rseq_hidden;
void rseq_range_fill(struct mempool_range *range, uint32_t index, bool always,
		const struct mempool_content *content) rseq_hidden;
void rseq_range_zero(struct mempool_range *range, size_t offset, size_t len, const uint64_t *rows)
	rseq_hidden;
void rseq_range_poison(struct mempool_range *range, uint32_t index) rseq_hidden;
const void *rseq_range_find_unpoisoned(struct mempool_range *range, uint32_t index) rseq_hidden;

#endif /* RSEQ_MEMPOOL_INTERNAL_H */
