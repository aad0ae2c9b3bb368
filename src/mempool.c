/* SPDX-License-Identifier: MIT */
/*
 * mempool.c: pools of items that exist once per CPU.
 *
 * Free items are in three places: fresh ones behind next_fresh of a range, others in a range's
 * lists, and others in the magazines of a CPU, which sections reach without the pool's lock. Who
 * frees puts used ones there, and who wants zeros a few that show them.
 */
#include "mempool-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What robust pools fill free items with, where they were written to. */
#define ROBUST_POISON	((uintptr_t)0x5a5a5a5a5a5a5a5aULL)

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rseq_mempool *pools;

/*
 * Strides of all pools ever made, each a bit, while there is no robust pool: then an item of a
 * stride of these is taken at its word. Else 0. Written with the lock; atomic.
 */
static size_t trusted_strides;
static size_t strides;
static long nr_robust;

/* Counts fork() up the line of ancestors; pools of COW_INIT belong to one process. */
static unsigned int generation;

/* How often handlers of this thread's fork() were called; see rseq_watch_fork(). */
static rseq_static_tls __thread unsigned int nr_forks;

static void before_fork(void)
{
	if (nr_forks++)
		return;
	pthread_mutex_lock(&pools_lock);
	for (struct rseq_mempool *pool = pools; pool; pool = pool->next)
		pthread_mutex_lock(&pool->lock);
	rseq_ranges_lock();
}

static void end_fork(void)
{
	rseq_ranges_unlock();
	for (struct rseq_mempool *pool = pools; pool; pool = pool->next)
		pthread_mutex_unlock(&pool->lock);
	pthread_mutex_unlock(&pools_lock);
}

static void after_fork(void)
{
	if (!--nr_forks)
		end_fork();
}

__attribute__((noreturn))
static void die(const struct rseq_mempool *pool, const char *what, const void *where)
{
	fprintf(stderr, "librseq: mempool \"%s\": %s (%p)\n", pool->name, what, where);
	abort();
}

__attribute__((noreturn))
static void die_without_item(const void *where)
{
	const struct mempool_range *range = rseq_range_with(where);

	if (range)
		die(range->pool, "a pointer that is freed is no item, or of another stride", where);
	fprintf(stderr, "librseq: mempool: a pointer that is freed is in no pool (%p)\n", where);
	abort();
}

static bool foreign(const struct rseq_mempool *pool)
{
	return pool->generation != generation &&
	       pool->attr.policy == RSEQ_MEMPOOL_POPULATE_COW_INIT;
}

static void after_fork_in_child(void)
{
	if (--nr_forks)
		return;
	generation++;
	for (struct rseq_mempool *pool = pools; pool; pool = pool->next)
		if (!foreign(pool))
			rseq_magazines_gather(pool);
	end_fork();
}

static bool is_allocated(const struct mempool_range *range, uint32_t index)
{
	return range->allocated[index / 64] & (uint64_t)1 << index % 64;
}

/* Called with the lock. */
static void check_taken(const struct mempool_item *item)
{
	struct mempool_range *range = item->range;
	const void *bad = item->fresh && range->pool->attr.init ? NULL :
			rseq_range_find_unpoisoned(range, item->index);

	if (bad)
		die(range->pool, "a free item was written to", bad);
	range->allocated[item->index / 64] |= (uint64_t)1 << item->index % 64;
}

static bool can_allocate(const struct rseq_mempool *pool)
{
	if (!pool)
		errno = EINVAL;
	else if (foreign(pool))
		errno = EPERM;
	else
		return true;
	return false;
}

/* What this CPU has of a kind, or NULL. */
static void *take_from_magazine(struct rseq_mempool *pool, enum mempool_kind kind)
{
	return pool->magazines[kind] ? rseq_magazine_take(pool, kind) : NULL;
}

void __rseq_percpu *rseq_mempool_percpu_malloc(struct rseq_mempool *pool)
{
	struct mempool_item item;
	void *memory;
	bool success;

	if (!can_allocate(pool))
		return NULL;
	memory = take_from_magazine(pool, ITEMS_USED);
	if (memory)
		return (void __rseq_percpu *)memory;
	pthread_mutex_lock(&pool->lock);
	success = rseq_item_take_any(pool, &item);
	if (success && pool->attr.robust)
		check_taken(&item);
	pthread_mutex_unlock(&pool->lock);
	/* Without memory for another range, there may be items for zmalloc left. */
	return (void __rseq_percpu *)(success ? rseq_item_at(item.range, item.index) :
				      take_from_magazine(pool, ITEMS_ZERO));
}

/* Called with the lock. Leaves a few items for this CPU, if they show zeros, too. */
static void leave_for_later(struct rseq_mempool *pool, const struct mempool_item *taken)
{
	struct mempool_item item = *taken;

	if (!rseq_thread_register_lazily())
		return;
	for (intptr_t i = 0; i <= pool->magazine_items / 2; i++) {
		if (!rseq_item_take_another_zero(&item))
			return;
		if (!rseq_magazine_put(pool, ITEMS_ZERO, rseq_item_at(item.range, item.index))) {
			rseq_item_free(item.range, item.index, ITEMS_ZERO);
			return;
		}
	}
}

/*
 * Takes an item, with its value to be shown to rows that no CPU wrote to. An item that shows zeros
 * needs no look at its copies to have these. Of any other, those that show another value are
 * written to.
 */
static void *allocate_filled(struct rseq_mempool *pool, const void *init, size_t len)
{
	const struct mempool_content content = { .init = init, .len = len };
	const int saved_errno = errno;
	struct mempool_item item;
	bool success, always;

	pthread_mutex_lock(&pool->lock);
	success = len ? rseq_item_take_for_value(pool, &item) : rseq_item_take_zero(pool, &item);
	if (!success)
		goto unlock;
	/* One more range may have been tried in vain. */
	errno = saved_errno;
	if (pool->attr.robust)
		check_taken(&item);
	if (item.zero && !len) {
		if (pool->magazines[ITEMS_ZERO])
			leave_for_later(pool, &item);
		goto unlock;
	}
	always = rseq_range_show(item.range, item.index, item.fresh, &content);
	pthread_mutex_unlock(&pool->lock);
	rseq_range_fill(item.range, item.index, always, &content);
	return rseq_item_at(item.range, item.index);
unlock:
	pthread_mutex_unlock(&pool->lock);
	return success ? rseq_item_at(item.range, item.index) : NULL;
}

void __rseq_percpu *rseq_mempool_percpu_zmalloc(struct rseq_mempool *pool)
{
	void *memory;

	if (!can_allocate(pool))
		return NULL;
	memory = take_from_magazine(pool, ITEMS_ZERO);
	return (void __rseq_percpu *)(memory ? memory : allocate_filled(pool, NULL, 0));
}

void __rseq_percpu *rseq_mempool_percpu_malloc_init(struct rseq_mempool *pool,
		const void *init, size_t len)
{
	if (!can_allocate(pool))
		return NULL;
	if (len > pool->item_len || (len && !init)) {
		errno = EINVAL;
		return NULL;
	}
	return (void __rseq_percpu *)allocate_filled(pool, init, len);
}

/* Called with the lock. */
static void check_free(struct mempool_range *range, const void *item)
{
	struct rseq_mempool *pool = range->pool;
	size_t offset = (size_t)((const char *)item - range->rows);

	if (offset & (pool->item_len - 1) || offset >> pool->item_order >= pool->nr_items)
		die(pool, "a pointer that is freed is no item", item);
	if (!is_allocated(range, rseq_item_index(range, item)))
		die(pool, "double free", item);
	range->allocated[rseq_item_index(range, item) / 64] &=
		~((uint64_t)1 << rseq_item_index(range, item) % 64);
}

/* Out of line, as what it needs is not to be saved by those who need no lock. */
__attribute__((noinline))
static void free_with_lock(struct mempool_range *range, void *item)
{
	struct rseq_mempool *pool = range->pool;
	int saved_errno = errno;

	pthread_mutex_lock(&pool->lock);
	if (pool->attr.robust)
		check_free(range, item);
	if (pool->attr.poison_set)
		rseq_range_poison(range, rseq_item_index(range, item));
	rseq_item_free(range, rseq_item_index(range, item), ITEMS_USED);
	/* Room for the next ones. */
	if (pool->magazines[ITEMS_USED])
		rseq_magazines_empty(pool, pool->magazine_items / 2);
	pthread_mutex_unlock(&pool->lock);
	errno = saved_errno;
}

void rseq_mempool_free_item(struct mempool_range *range, void *item)
{
	struct rseq_mempool *pool = range->pool;

	if (foreign(pool))
		return;
	if (!pool->magazines[ITEMS_USED] || !rseq_magazine_put(pool, ITEMS_USED, item))
		free_with_lock(range, item);
}

static bool is_power_of_two(size_t number)
{
	return !(number & (number - 1));
}

/*
 * Nothing is read that the pointer leads to before it is known to be in a range, whose pool checks
 * the rest if it is robust. Without a robust pool, that no pool has the stride is told by errno.
 */
__attribute__((noinline, cold))
static void free_with_check(void *item, size_t stride)
{
	struct mempool_range *range = NULL;

	if (!stride) {
		rseq_mempool_percpu_free((void __rseq_percpu *)item);
		return;
	}
	if (is_power_of_two(stride) && stride > 1)
		range = rseq_range_with_first_row(item, stride);
	if (range)
		rseq_mempool_free_item(range, item);
	else if (__atomic_load_n(&nr_robust, __ATOMIC_RELAXED))
		die_without_item(item);
	else
		errno = EINVAL;
}

void librseq_mempool_percpu_free(void __rseq_percpu *ptr, size_t stride)
{
	void *item = (void *)ptr;

	if (!item)
		return;
	if (rseq_likely(is_power_of_two(stride) &&
			stride & __atomic_load_n(&trusted_strides, __ATOMIC_RELAXED)))
		rseq_mempool_free_item(rseq_range_of(item, stride), item);
	else
		free_with_check(item, stride);
}

static int order_of(size_t len)
{
	return len <= sizeof(void *) ? __builtin_ctzl(sizeof(void *)) :
		RSEQ_BITS_PER_LONG - __builtin_clzl(len - 1);
}

/* Called with the lock. */
static void count_robust(long change)
{
	long nr = nr_robust + change;

	__atomic_store_n(&nr_robust, nr, __ATOMIC_RELAXED);
	__atomic_store_n(&trusted_strides, nr ? 0 : strides, __ATOMIC_RELAXED);
}

static void link_pool(struct rseq_mempool *pool)
{
	pthread_mutex_lock(&pools_lock);
	pool->generation = generation;
	pool->next = pools;
	pool->link = &pools;
	if (pools)
		pools->link = &pool->next;
	pools = pool;
	if (is_power_of_two(pool->attr.stride))
		strides |= pool->attr.stride;
	count_robust(pool->attr.robust);
	pthread_mutex_unlock(&pools_lock);
}

static void unlink_pool(struct rseq_mempool *pool)
{
	pthread_mutex_lock(&pools_lock);
	*pool->link = pool->next;
	if (pool->next)
		pool->next->link = pool->link;
	count_robust(-pool->attr.robust);
	pthread_mutex_unlock(&pools_lock);
}

static int free_pool(struct rseq_mempool *pool)
{
	struct mempool_range *range, *next;
	int error = 0;

	for (range = pool->ranges; range; range = next) {
		next = range->next;
		if (rseq_range_destroy(range))
			error = errno;
	}
	if (rseq_magazines_destroy(pool))
		error = errno;
	pthread_mutex_destroy(&pool->lock);
	free(pool->name);
	free(pool);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

static void set_up(struct rseq_mempool *pool, size_t item_len)
{
	bool poisoned;

	pool->item_order = order_of(item_len);
	pool->item_len = (size_t)1 << pool->item_order;
	pool->nr_items = (uint32_t)(pool->attr.row_len >> pool->item_order);
	pool->nr_rows = pool->attr.max_nr_cpus ? pool->attr.max_nr_cpus : rseq_get_max_nr_cpus();
	if (pool->attr.robust && !pool->attr.poison_set) {
		pool->attr.poison_set = true;
		pool->attr.poison = ROBUST_POISON;
		pool->lenient = true;
	}
	poisoned = pool->attr.poison_set && pool->attr.poison && !pool->lenient;
	pool->starts_zero = !pool->attr.init && !poisoned;
	/* A limit leaves no choice between ranges of both kinds. */
	pool->always_image = pool->attr.policy == RSEQ_MEMPOOL_POPULATE_COW_INIT &&
			     (pool->attr.init || poisoned || pool->attr.max_nr_ranges);
	pthread_mutex_init(&pool->lock, NULL);
}

/* Whether a range could be mapped at all, and its items be numbered. */
static bool fits(const struct rseq_mempool *pool)
{
	return pool->attr.stride <= SIZE_MAX / 4 / (size_t)pool->nr_rows &&
	       pool->attr.row_len >> pool->item_order < UINT32_MAX;
}

struct rseq_mempool *rseq_mempool_create(const char *name, size_t item_len,
		const struct rseq_mempool_attr *attr)
{
	const struct rseq_mempool_attr defaults = {
		.stride = RSEQ_MEMPOOL_STRIDE, .row_len = RSEQ_MEMPOOL_STRIDE,
	};
	static pid_t watch;
	struct rseq_mempool *pool;

	/* All per-CPU data begins here, be that before all constructors. */
	rseq_init_once();
	if (!attr)
		attr = &defaults;
	if (!item_len || item_len > attr->row_len) {
		errno = EINVAL;
		return NULL;
	}
	if (rseq_watch_fork(&watch, before_fork, after_fork, after_fork_in_child))
		return NULL;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->attr = *attr;
	set_up(pool, item_len);
	pool->name = strdup(name ? name : "");
	if (!pool->name || !fits(pool) || rseq_magazines_create(pool) ||
	    (attr->init && !rseq_range_add(pool, pool->always_image))) {
		int error = attr->init && pool->name && fits(pool) ? errno : ENOMEM;

		free_pool(pool);
		errno = error;
		return NULL;
	}
	link_pool(pool);
	return pool;
}

/* An item that is still allocated, or NULL. */
static const void *find_leak(const struct rseq_mempool *pool)
{
	for (const struct mempool_range *range = pool->ranges; range; range = range->next)
		for (uint32_t index = 0; index < range->next_fresh; index++)
			if (is_allocated(range, index))
				return rseq_item_at(range, index);
	return NULL;
}

/*
 * Items to be looked at for what was written to them while they were free: those that were in use,
 * and the next one, which the last of them may have run over into. What an init callback wrote to
 * that one is not known.
 */
static uint32_t nr_checked(const struct mempool_range *range)
{
	return range->next_fresh + (range->next_fresh < range->pool->nr_items &&
				    !range->pool->attr.init);
}

static void check_destroy(struct rseq_mempool *pool)
{
	const void *leak = find_leak(pool), *bad;

	if (leak)
		die(pool, "an item is still allocated when the pool is destroyed", leak);
	for (struct mempool_range *range = pool->ranges; range; range = range->next)
		for (uint32_t index = 0; index < nr_checked(range); index++)
			if ((bad = rseq_range_find_unpoisoned(range, index)))
				die(pool, "a free item was written to", bad);
}

int rseq_mempool_destroy(struct rseq_mempool *pool)
{
	if (!pool)
		return 0;
	if (pool->attr.robust && !foreign(pool))
		check_destroy(pool);
	unlink_pool(pool);
	return free_pool(pool);
}

int rseq_mempool_get_max_nr_cpus(struct rseq_mempool *pool)
{
	if (!pool) {
		errno = EINVAL;
		return -1;
	}
	return pool->nr_rows;
}
