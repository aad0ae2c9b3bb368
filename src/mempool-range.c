/* SPDX-License-Identifier: MIT */
/*
 * mempool-range.c: the memory of a pool, and what is written to all copies of an item.
 *
 * Rows of a range are copied to only where they differ, and read only where an item was used
 * before: a row that no CPU wrote to costs no memory.
 */
#include "mempool-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_CLOEXEC
# define MFD_CLOEXEC	1U
#endif

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static char *row_of(const struct mempool_range *range, int row)
{
	return range->rows + (size_t)row * range->pool->attr.stride;
}

static char *copy_of(const struct mempool_range *range, uint32_t index, int row)
{
	return row_of(range, row) + ((size_t)index << range->pool->item_order);
}

/* What untouched rows show of an item. */
static char *image_of(const struct mempool_range *range, uint32_t index)
{
	return range->initial + ((size_t)index << range->pool->item_order);
}

/*
 * Each row of a range with an image is a mapping, of which a process may have 65530 unless the
 * kernel is told otherwise (vm.max_map_count). The other half is left to threads, whose stacks are
 * mappings too, and to other allocators.
 */
#define MAX_IMAGE_ROWS	32768

static size_t nr_image_rows;		/* atomic */

/* Who makes a file longer than a process's limit is sent SIGXFSZ, even if it is in memory. */
static bool may_have_image(const struct rseq_mempool *pool)
{
	size_t nr_rows = (size_t)pool->nr_rows;
	struct rlimit limit;

	if (__atomic_load_n(&nr_image_rows, __ATOMIC_RELAXED) + nr_rows > MAX_IMAGE_ROWS)
		return false;
	return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur >= pool->attr.stride;
}

/*
 * Makes each row a private copy of one file, which stays mapped as the initial image. Where there
 * is to be none, rows are left as they are: then values are written to each of them.
 */
static int map_initial(struct mempool_range *range)
{
	struct rseq_mempool *pool = range->pool;
	size_t len = pool->attr.stride;
	void *initial;
	int file;

	if (!may_have_image(pool))
		return 0;
	file = (int)syscall(SYS_memfd_create, "librseq-mempool", MFD_CLOEXEC);
	if (file < 0)
		return 0;
	if (ftruncate(file, (off_t)len))
		goto error;
	initial = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (initial == MAP_FAILED)
		goto error;
	range->initial = initial;
	__atomic_fetch_add(&nr_image_rows, (size_t)pool->nr_rows, __ATOMIC_RELAXED);
	for (int row = 0; row < pool->nr_rows; row++)
		if (mmap(row_of(range, row), len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) == MAP_FAILED)
			goto error;
	/* No thread is to be cancelled in close(), with the pool's lock. */
	syscall(SYS_close, file);
	return 0;
error:
	syscall(SYS_close, file);
	errno = ENOMEM;
	return -1;
}

static int map_rows(struct mempool_range *range)
{
	struct rseq_mempool *pool = range->pool;
	size_t page = page_size(), align = rseq_row_alignment(pool->attr.stride);
	size_t len = ((size_t)pool->nr_rows * pool->attr.stride + page - 1) & ~(page - 1);
	size_t slack = align > page ? align : page;
	char *map, *rows, *end;

	map = mmap(NULL, page + slack + len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		errno = ENOMEM;
		return -1;
	}
	rows = (char *)(((uintptr_t)map + page + align - 1) & ~(uintptr_t)(align - 1));
	end = map + page + slack + len;
	/* What cannot be given back now goes with the rest. */
	if (rows - page > map && !munmap(map, (size_t)(rows - page - map)))
		map = rows - page;
	if (end > rows + len && !munmap(rows + len, (size_t)(end - (rows + len))))
		end = rows + len;
	range->rows = rows;
	range->map = map;
	range->map_len = (size_t)(end - map);
	/* A huge page would make many rows resident when one CPU writes to its own. */
	madvise(rows, len, MADV_NOHUGEPAGE);
	((struct mempool_range **)rows)[-1] = range;
	rseq_range_enter(range);
	rseq_show_pointers(range->map, range->map_len);
	return 0;
}

static int call_init(struct mempool_range *range)
{
	const struct rseq_mempool_attr *attr = &range->pool->attr;
	int saved_errno = errno;

	if (!attr->init)
		return 0;
	for (int row = 0; row < range->pool->nr_rows; row++) {
		errno = 0;
		if (!attr->init(attr->priv, row_of(range, row), attr->row_len, row))
			continue;
		if (!errno)
			errno = ENOMEM;
		return -1;
	}
	errno = saved_errno;
	return 0;
}

static bool is_zero(const char *memory, size_t len)
{
	return !len || (!memory[0] && !memcmp(memory, memory + 1, len - 1));
}

/* Writes where that changes something, or everywhere; returns whether it wrote. */
static bool write_bytes(char *copy, const void *bytes, size_t len, bool always)
{
	if (!len || (!always && !memcmp(copy, bytes, len)))
		return false;
	memcpy(copy, bytes, len);
	return true;
}

static bool write_zeros(char *copy, size_t len, bool always)
{
	if (!len || (!always && is_zero(copy, len)))
		return false;
	memset(copy, 0, len);
	return true;
}

static bool write_copy(char *copy, size_t item_len, const struct mempool_content *content,
		bool always)
{
	bool wrote = false;

	if (!content->poison) {
		wrote = write_bytes(copy, content->init, content->len, always);
		return write_zeros(copy + content->len, item_len - content->len, always) || wrote;
	}
	for (size_t i = 0; i < item_len; i += sizeof(content->word))
		wrote |= write_bytes(copy + i, &content->word, sizeof(content->word), always);
	return wrote;
}

/* Free items hold the poison from the start; for COW_INIT that costs the initial image alone. */
static void poison_all(struct mempool_range *range)
{
	const struct rseq_mempool *pool = range->pool;
	const struct mempool_content content = { .poison = true, .word = pool->attr.poison };

	if (!pool->attr.poison_set || !pool->attr.poison || pool->lenient)
		return;
	for (uint32_t index = 0; index < pool->nr_items; index++) {
		if (range->initial)
			write_copy(image_of(range, index), pool->item_len, &content, true);
		for (int row = 0; !range->initial && row < pool->nr_rows; row++)
			write_copy(copy_of(range, index, row), pool->item_len, &content, true);
	}
}

static uint64_t *make_bits(size_t nr)
{
	return calloc(nr / 64 + 1, sizeof(uint64_t));
}

/* What robust pools know of their items. */
static bool make_records(struct mempool_range *range)
{
	const struct rseq_mempool *pool = range->pool;

	if (!pool->attr.robust)
		return true;
	range->allocated = make_bits(pool->nr_items);
	if (!range->allocated || !pool->lenient)
		return range->allocated;
	range->poisoned = make_bits((size_t)pool->nr_rows * pool->nr_items);
	return range->poisoned;
}

static void free_range(struct mempool_range *range)
{
	free(range->poisoned);
	free(range->allocated);
	free(range);
}

struct mempool_range *rseq_range_create(struct rseq_mempool *pool, bool with_image)
{
	size_t links = (size_t)pool->nr_items * sizeof(uint32_t);
	struct mempool_range *range = calloc(1, sizeof(*range) + links);
	int error;

	if (!range)
		return NULL;
	range->pool = pool;
	range->with_image = with_image;
	if (!make_records(range) || map_rows(range))
		goto no_memory;
	if (with_image && map_initial(range))
		goto unmap;
	poison_all(range);
	if (call_init(range))
		goto unmap;
	return range;
unmap:
	error = errno;
	rseq_range_destroy(range);
	errno = error;
	return NULL;
no_memory:
	free_range(range);
	errno = ENOMEM;
	return NULL;
}

int rseq_range_destroy(struct mempool_range *range)
{
	size_t nr_rows = range->initial ? (size_t)range->pool->nr_rows : 0;
	int error = 0;

	if (range->initial && munmap(range->initial, range->pool->attr.stride))
		error = errno;
	rseq_range_leave(range);
	rseq_hide_pointers(range->map, range->map_len);
	if (munmap(range->map, range->map_len))
		error = errno;
	else
		__atomic_fetch_sub(&nr_image_rows, nr_rows, __ATOMIC_RELAXED);
	free_range(range);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

/* No item is in use: has all rows show zeros, as new ones do, and gives their memory back. */
bool rseq_range_drop(struct mempool_range *range)
{
	uint32_t nr_used = range->next_fresh > range->next_zero ? range->next_fresh :
			range->next_zero;
	size_t len = range->map_len - (size_t)(range->rows - range->map);

	if (madvise(range->rows, len, MADV_DONTNEED))
		return false;
	if (range->initial)
		memset(range->initial, 0, (size_t)nr_used << range->pool->item_order);
	return true;
}

/*
 * Waits until no row shows less than the initial image now holds. A row's first write to a page
 * copies the page of the image, which holds other items as well, and shows the copy later: what
 * is written to the image meanwhile, and is seen in the row then, is gone when the copy comes into
 * its place. The kernel changes the advice for a mapping while no page fault is under way in it.
 * One of the two calls changes it, whatever other threads do. Returns false if they are refused.
 */
static bool await_copies(const struct mempool_range *range)
{
	size_t len = range->map_len - (size_t)(range->rows - range->map);

	return !madvise(range->rows, len, MADV_RANDOM) && !madvise(range->rows, len, MADV_NORMAL);
}

/*
 * Called with the lock, which holds off those that rely on the same image. Makes rows that no CPU
 * wrote to show the content, before they are looked at. Fresh items behind a fresh one in its page
 * get the same: a pool is likely to hand out all of them with one content, and waits once then.
 * Returns whether all rows are to be written to, whatever they show.
 */
bool rseq_range_show(struct mempool_range *range, uint32_t index, bool fresh,
		const struct mempool_content *content)
{
	const struct rseq_mempool *pool = range->pool;
	size_t page = page_size();

	if (!range->initial || !write_copy(image_of(range, index), pool->item_len, content, false))
		return false;
	if (pool->item_len >= page)
		return false;
	if (fresh && !pool->attr.poison_set && !pool->attr.init) {
		while (++index < pool->nr_items && (uintptr_t)image_of(range, index) & (page - 1))
			write_copy(image_of(range, index), pool->item_len, content, true);
		if (range->next_zero < index)
			range->next_zero = index;
	}
	return !await_copies(range);
}

/* Writes the content to all copies that show another. */
void rseq_range_fill(struct mempool_range *range, uint32_t index, bool always,
		const struct mempool_content *content)
{
	for (int row = 0; row < range->pool->nr_rows; row++)
		write_copy(copy_of(range, index, row), range->pool->item_len, content, always);
}

/*
 * Called with the lock. Makes rows that no CPU wrote to show zeros, for nr free items in a list
 * from the first one. Returns false if these cannot be relied on to do so.
 */
bool rseq_range_show_zeros(struct mempool_range *range, uint32_t first, uint32_t nr)
{
	bool wrote = false;

	if (!range->initial)
		return true;
	while (nr--) {
		wrote |= write_zeros(image_of(range, first), range->pool->item_len, false);
		first = range->next_free[first] - 1;
	}
	return !wrote || range->pool->item_len >= page_size() || await_copies(range);
}

/* Zeroes a part of these rows, a bit for each, but no page of it that shows zeros. */
void rseq_range_zero(struct mempool_range *range, size_t offset, size_t len, const uint64_t *rows)
{
	const size_t page = page_size();

	for (int first = 0; first < range->pool->nr_rows; first += 64)
		for (uint64_t left = rows[first / 64]; left; left &= left - 1) {
			char *part = row_of(range, first + __builtin_ctzll(left)) + offset;

			for (size_t done = 0; done < len; done += page)
				write_zeros(part + done, len - done < page ? len - done : page,
					    false);
		}
}

static size_t poison_bit(const struct mempool_range *range, uint32_t index, int row)
{
	return (size_t)row * range->pool->nr_items + index;
}

static bool is_poisoned(const struct mempool_range *range, uint32_t index, int row)
{
	size_t bit = poison_bit(range, index, row);

	return range->poisoned[bit / 64] & (uint64_t)1 << bit % 64;
}

/* Free copies that show zeros may stay so: a write to them shows as well as over a poison. */
static void poison_leniently(struct mempool_range *range, uint32_t index,
		const struct mempool_content *content)
{
	const struct mempool_content zeros = { .len = 0 };
	const size_t len = range->pool->item_len;
	bool always = rseq_range_show(range, index, false, &zeros);

	for (int row = 0; row < range->pool->nr_rows; row++) {
		size_t bit = poison_bit(range, index, row);
		bool poison = always || !is_zero(copy_of(range, index, row), len);

		if (poison)
			write_copy(copy_of(range, index, row), len, content, always);
		if (poison != is_poisoned(range, index, row))
			range->poisoned[bit / 64] ^= (uint64_t)1 << bit % 64;
	}
}

/* Called with the lock. */
void rseq_range_poison(struct mempool_range *range, uint32_t index)
{
	const struct mempool_content content = {
		.poison = true, .word = range->pool->attr.poison,
	};

	if (range->pool->lenient)
		poison_leniently(range, index, &content);
	else
		rseq_range_fill(range, index, rseq_range_show(range, index, false, &content),
				&content);
}

/* A word of a free item that is not what was written when it was freed, or NULL. */
const void *rseq_range_find_unpoisoned(struct mempool_range *range, uint32_t index)
{
	const struct rseq_mempool *pool = range->pool;

	for (int row = 0; row < pool->nr_rows; row++) {
		const bool zero = pool->lenient && !is_poisoned(range, index, row);
		const uintptr_t word = zero ? 0 : pool->attr.poison;
		const char *copy = copy_of(range, index, row);

		if (zero && is_zero(copy, pool->item_len))
			continue;
		for (size_t i = 0; i < pool->item_len; i += sizeof(word))
			if (memcmp(copy + i, &word, sizeof(word)))
				return copy + i;
	}
	return NULL;
}
