/* SPDX-License-Identifier: MIT */
/*
 * mempool-items.c: which items of which range are free. All is done with the pool's lock.
 *
 * A pool has lists of the ranges with room, by the kind of what is free there. A range that is
 * found without room leaves its list then, and comes back with the next item that is freed.
 */
#include "mempool-internal.h"

#include <errno.h>

static void make_available(struct mempool_range *range, enum mempool_kind kind)
{
	struct mempool_range **first = &range->pool->available[range->with_image][kind];

	if (range->available[kind])
		return;
	range->available[kind] = true;
	range->next_available[kind] = *first;
	*first = range;
}

static bool has_room(const struct mempool_range *range, enum mempool_kind kind)
{
	return range->nr_free[kind] ||
	       (kind == ITEMS_ZERO && range->next_fresh < range->pool->nr_items);
}

static struct mempool_range *find_room(struct rseq_mempool *pool, bool with_image,
		enum mempool_kind kind)
{
	struct mempool_range **first = &pool->available[with_image][kind], *range;

	while ((range = *first) && !has_room(range, kind)) {
		range->available[kind] = false;
		*first = range->next_available[kind];
	}
	return range;
}

struct mempool_range *rseq_range_add(struct rseq_mempool *pool, bool with_image)
{
	struct mempool_range *range;

	if (pool->attr.max_nr_ranges && pool->nr_ranges >= pool->attr.max_nr_ranges) {
		errno = ENOMEM;
		return NULL;
	}
	range = rseq_range_create(pool, with_image);
	if (!range)
		return NULL;
	range->next = pool->ranges;
	pool->ranges = range;
	pool->nr_ranges++;
	make_available(range, ITEMS_ZERO);
	return range;
}

void rseq_item_free(struct mempool_range *range, uint32_t index, enum mempool_kind kind)
{
	range->next_free[index] = range->first_free[kind];
	range->first_free[kind] = index + 1;
	range->nr_free[kind]++;
	range->pool->nr_used += kind == ITEMS_USED;
	make_available(range, kind);
}

static uint32_t unlink_free(struct mempool_range *range, enum mempool_kind kind)
{
	uint32_t index = range->first_free[kind] - 1;

	range->first_free[kind] = range->next_free[index];
	range->nr_free[kind]--;
	range->pool->nr_used -= kind == ITEMS_USED;
	return index;
}

/* Whether the next item of kind ITEMS_ZERO shows zeros indeed. */
static bool next_is_zero(const struct mempool_range *range)
{
	return range->pool->starts_zero &&
	       (range->nr_free[ITEMS_ZERO] || range->next_fresh >= range->next_zero);
}

static bool take(struct mempool_range *range, enum mempool_kind kind, struct mempool_item *item)
{
	item->range = range;
	item->zero = kind == ITEMS_ZERO && next_is_zero(range);
	item->fresh = !range->nr_free[kind];
	item->index = item->fresh ? range->next_fresh++ : unlink_free(range, kind);
	return true;
}

static struct mempool_range *find_any_room(struct rseq_mempool *pool, enum mempool_kind kind)
{
	struct mempool_range *range = find_room(pool, false, kind);

	return range ? range : find_room(pool, true, kind);
}

/* Used items first, so that those that show zeros are left for who needs them. */
bool rseq_item_take_any(struct rseq_mempool *pool, struct mempool_item *item)
{
	enum mempool_kind kind = ITEMS_USED;
	struct mempool_range *range = find_any_room(pool, kind);

	if (!range) {
		kind = ITEMS_ZERO;
		range = find_any_room(pool, kind);
	}
	if (!range)
		range = rseq_range_add(pool, pool->always_image);
	return range && take(range, kind, item);
}

/*
 * To ask the kernel costs as much as to look at this number of copies, and at one per two pages. A
 * copy counts once more for each so many bytes.
 */
#define MIN_COPIES	1024
#define BYTES_OF_COPY	512

/* Bytes that are zeroed in one go, while others wait for the lock, and items that they are of. */
#define MAX_BYTES	(256 << 10)
#define MAX_ITEMS	1024

/* A bit for each row. Returns how many were written to, or a negative number. */
static int find_written(struct mempool_range *range, uint64_t *rows)
{
	struct rseq_mempool *pool = range->pool;
	int nr = 0;

	if (pool->blind || pool->nr_rows > RSEQ_MAX_ROWS)
		return -1;
	if (!rseq_range_find_written(range, rows)) {
		pool->blind = true;
		return -1;
	}
	for (int i = 0; i < (pool->nr_rows + 63) / 64; i++)
		nr += __builtin_popcountll(rows[i]);
	return nr;
}

/*
 * Makes all items of a range fresh, if all are free. Few pages are zeroed where they are, which is
 * less work than to have others in their place; many are given back.
 */
static bool reset(struct mempool_range *range)
{
	struct rseq_mempool *pool = range->pool;
	const size_t len = (size_t)range->next_fresh << pool->item_order;
	uint64_t rows[RSEQ_MAX_ROWS / 64];
	int nr_written;

	if (range->nr_free[ITEMS_USED] + range->nr_free[ITEMS_ZERO] != range->next_fresh ||
	    pool->attr.init || pool->attr.poison_set)
		return false;
	nr_written = range->initial || len > MAX_BYTES ? -1 : find_written(range, rows);
	if (nr_written >= 0 && len * (size_t)nr_written <= MAX_BYTES)
		rseq_range_zero(range, 0, len, rows);
	else if (!rseq_range_drop(range))
		return false;
	range->next_fresh = 0;
	range->next_zero = 0;
	pool->nr_used -= range->nr_free[ITEMS_USED];
	for (int kind = 0; kind < NR_KINDS; kind++) {
		range->nr_free[kind] = 0;
		range->first_free[kind] = 0;
	}
	make_available(range, ITEMS_ZERO);
	return true;
}

/*
 * Has used items show zeros: copies are looked at in those rows alone that were written to. To find
 * these is as much work for one item as for many.
 */
static bool clean(struct mempool_range *range)
{
	struct rseq_mempool *pool = range->pool;
	size_t nr_copies = (size_t)range->nr_free[ITEMS_USED] * (size_t)pool->nr_rows;
	uint32_t nr = range->nr_free[ITEMS_USED], index;
	uint64_t rows[RSEQ_MAX_ROWS / 64];
	int nr_written;
	size_t most;

	if (pool->attr.init || pool->attr.poison_set || pool->blind ||
	    nr_copies + nr_copies * pool->item_len / BYTES_OF_COPY <
	    MIN_COPIES + rseq_range_count_pages(range) / 2)
		return false;
	if (nr > MAX_ITEMS)
		nr = MAX_ITEMS;
	/* What is written to from here on is a copy of zeros. */
	if (!rseq_range_show_zeros(range, range->first_free[ITEMS_USED] - 1, nr))
		return false;
	nr_written = find_written(range, rows);
	if (nr_written < 0)
		return false;
	most = MAX_BYTES / (((size_t)nr_written + 1) << pool->item_order) + 1;
	for (; nr && most; nr--, most--) {
		index = unlink_free(range, ITEMS_USED);
		rseq_range_zero(range, (size_t)index << pool->item_order, pool->item_len, rows);
		rseq_item_free(range, index, ITEMS_ZERO);
	}
	return true;
}

/* Of the first two ranges with used items: one with few would stay the first. */
static struct mempool_range *prefer_fuller(struct mempool_range *range)
{
	struct mempool_range *next = range->next_available[ITEMS_USED];

	if (!next || next->nr_free[ITEMS_USED] <= range->nr_free[ITEMS_USED])
		return range;
	range->next_available[ITEMS_USED] = next->next_available[ITEMS_USED];
	next->next_available[ITEMS_USED] = range;
	range->pool->available[range->with_image][ITEMS_USED] = next;
	return next;
}

/* Fewer rows are looked at in less time than an allocation has. */
#define MANY_ROWS	32

/*
 * Whether the few used items of a range, and of others, may wait until they are cleaned with more:
 * then a pool that is almost full has one range more, and else a few of a hundred items idle,
 * rather than look at each row.
 */
static bool can_spare(const struct mempool_range *range)
{
	const struct rseq_mempool *pool = range->pool;

	return pool->starts_zero && !pool->attr.poison_set && !pool->blind &&
	       pool->nr_rows >= MANY_ROWS && pool->nr_rows <= RSEQ_MAX_ROWS &&
	       range->nr_free[ITEMS_USED] < pool->nr_items / 4 &&
	       pool->nr_used * 32 < (pool->nr_ranges + 16) * pool->nr_items;
}

/*
 * An item that shows zeros, or else one to be looked at. This CPU's magazine gives back what may
 * complete a range to be reset.
 */
bool rseq_item_take_zero(struct rseq_mempool *pool, struct mempool_item *item)
{
	struct mempool_range *range, *added;

	for (int with_image = 0; with_image < 2; with_image++) {
		range = find_room(pool, with_image, ITEMS_ZERO);
		if (range && next_is_zero(range))
			return take(range, ITEMS_ZERO, item);
	}
	if (pool->magazines[ITEMS_USED])
		rseq_magazines_empty(pool, MAGAZINE_ITEMS);
	range = find_any_room(pool, ITEMS_USED);
	if (range) {
		range = prefer_fuller(range);
		if (reset(range))
			return take(range, ITEMS_ZERO, item);
		added = can_spare(range) ? rseq_range_add(pool, pool->always_image) : NULL;
		if (added)
			return take(added, ITEMS_ZERO, item);
		return take(range, clean(range) ? ITEMS_ZERO : ITEMS_USED, item);
	}
	/* Items with initial values prepared for them are left to those who want them. */
	range = find_room(pool, pool->always_image, ITEMS_ZERO);
	if (!range)
		range = rseq_range_add(pool, pool->always_image);
	if (!range)
		range = find_room(pool, true, ITEMS_ZERO);
	return range && take(range, ITEMS_ZERO, item);
}

/* One more from the same range, if that shows zeros, too. */
bool rseq_item_take_another_zero(struct mempool_item *item)
{
	struct mempool_range *range = item->range;

	return has_room(range, ITEMS_ZERO) && next_is_zero(range) && take(range, ITEMS_ZERO, item);
}

/* An item of a range with an image, if that is how initial values are shared. */
bool rseq_item_take_for_value(struct rseq_mempool *pool, struct mempool_item *item)
{
	const bool with_image = pool->attr.policy == RSEQ_MEMPOOL_POPULATE_COW_INIT;
	struct mempool_range *range = find_room(pool, with_image, ITEMS_ZERO);

	if (range)
		return take(range, ITEMS_ZERO, item);
	if (pool->magazines[ITEMS_USED])
		rseq_magazines_empty(pool, MAGAZINE_ITEMS);
	range = find_room(pool, with_image, ITEMS_USED);
	if (range)
		return take(range, reset(range) ? ITEMS_ZERO : ITEMS_USED, item);
	range = rseq_range_add(pool, with_image);
	return range ? take(range, ITEMS_ZERO, item) : rseq_item_take_any(pool, item);
}
