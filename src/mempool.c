/* SPDX-License-Identifier: MIT */
/*
 * mempool.c: pools of items that exist once per CPU.
 *
 * Free items are in three places: fresh ones behind next_fresh of a range, used ones in a range's
 * list, and used ones in the magazine of the CPU that freed them, which sections reach without the
 * pool's lock.
 */
#include "mempool-internal.h"

#include <rseq/ops.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What robust pools fill free items with, where pages can share it. */
#define ROBUST_POISON	((uintptr_t)0x5a5a5a5a5a5a5a5aULL)

/* Tries of a section that is aborted before the lock is taken. */
#define MAX_TRIES	4

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rseq_mempool *pools;

/* Counts fork() up the line of ancestors; pools of COW_INIT belong to one process. */
static unsigned int generation;

static void before_fork(void)
{
	pthread_mutex_lock(&pools_lock);
	for (struct rseq_mempool *pool = pools; pool; pool = pool->next)
		pthread_mutex_lock(&pool->lock);
}

static void after_fork(void)
{
	for (struct rseq_mempool *pool = pools; pool; pool = pool->next)
		pthread_mutex_unlock(&pool->lock);
	pthread_mutex_unlock(&pools_lock);
}

static void after_fork_in_child(void)
{
	generation++;
	after_fork();
}

static void watch_fork(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

__attribute__((noreturn))
static void die(const struct rseq_mempool *pool, const char *what, const void *where)
{
	fprintf(stderr, "librseq: mempool \"%s\": %s (%p)\n", pool->name, what, where);
	abort();
}

static bool foreign(const struct rseq_mempool *pool)
{
	return pool->generation != generation &&
	       pool->attr.policy == RSEQ_MEMPOOL_POPULATE_COW_INIT;
}

static bool is_allocated(const struct mempool_range *range, uint32_t index)
{
	return range->allocated[index / 64] & (uint64_t)1 << index % 64;
}

static void make_available(struct mempool_range *range)
{
	struct rseq_mempool *pool = range->pool;

	if (range->available)
		return;
	range->available = true;
	range->next_available = pool->available;
	pool->available = range;
}

/* Called with the lock. Makes a range if none has room. */
static struct mempool_range *range_with_room(struct rseq_mempool *pool)
{
	struct mempool_range *range;

	while ((range = pool->available)) {
		if (range->nr_free || range->next_fresh < pool->nr_items)
			return range;
		range->available = false;
		pool->available = range->next_available;
	}
	if (pool->attr.max_nr_ranges && pool->nr_ranges >= pool->attr.max_nr_ranges) {
		errno = ENOMEM;
		return NULL;
	}
	range = rseq_range_create(pool);
	if (!range)
		return NULL;
	range->next = pool->ranges;
	pool->ranges = range;
	pool->nr_ranges++;
	make_available(range);
	return range;
}

static uint32_t index_of(const struct mempool_range *range, const void *item)
{
	return (uint32_t)((size_t)((const char *)item - range->rows) >> range->pool->item_order);
}

static void *item_at(const struct mempool_range *range, uint32_t index)
{
	return range->rows + ((size_t)index << range->pool->item_order);
}

/* Called with the lock. */
static void link_free(struct mempool_range *range, uint32_t index)
{
	range->next_free[index] = range->first_free;
	range->first_free = index + 1;
	range->nr_free++;
	make_available(range);
}

/*
 * Called with the lock. Takes an item, a fresh one if there is and prefer_fresh, and says whether
 * it is one.
 */
static void *take(struct rseq_mempool *pool, bool prefer_fresh, bool *fresh)
{
	struct mempool_range *range = range_with_room(pool);
	uint32_t index;

	if (!range)
		return NULL;
	if (prefer_fresh && range->next_fresh == pool->nr_items)
		rseq_range_reset(range);
	*fresh = range->next_fresh < pool->nr_items && (prefer_fresh || !range->nr_free);
	if (*fresh) {
		index = range->next_fresh++;
	} else {
		index = range->first_free - 1;
		range->first_free = range->next_free[index];
		range->nr_free--;
	}
	if (pool->attr.robust) {
		const void *bad = *fresh && pool->attr.init ? NULL :
				rseq_range_find_unpoisoned(range, index);

		if (bad)
			die(pool, "a free item was written to", bad);
		range->allocated[index / 64] |= (uint64_t)1 << index % 64;
	}
	return item_at(range, index);
}

/*
 * Magazines are used through the operations of ops.h on this CPU's, so that a thread that is
 * preempted or migrates in between takes or puts nothing. The count and the word below it are
 * compared together: a count alone comes back to its value with other items. All callers share one
 * section, which can be tried through the simplest of them.
 */
static __attribute__((noinline)) void *take_from_magazine(struct rseq_mempool *pool)
{
	for (int try = 0; try < MAX_TRIES && rseq_thread_register_lazily(); try++) {
		int cpu = (int)rseq_cpu_start();
		struct mempool_magazine *magazine = &pool->magazines[cpu];
		intptr_t count = RSEQ_READ_ONCE(magazine->count), item;

		if (count <= 0)
			return NULL;
		item = RSEQ_READ_ONCE(magazine->items[count - 1]);
		if (!rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
							 &magazine->count, count,
							 &magazine->items[count - 1], item,
							 count - 1, cpu))
			return (void *)item;
	}
	return NULL;
}

static bool put_into_magazine(struct rseq_mempool *pool, void *item)
{
	intptr_t capacity = __atomic_load_n(&pool->magazine_items, __ATOMIC_RELAXED);

	for (int try = 0; try < MAX_TRIES && rseq_thread_register_lazily(); try++) {
		int cpu = (int)rseq_cpu_start();
		struct mempool_magazine *magazine = &pool->magazines[cpu];
		intptr_t count = RSEQ_READ_ONCE(magazine->count);

		if (count >= capacity)
			return false;
		if (!rseq_load_cbne_store_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
						     &magazine->count, count,
						     &magazine->items[count], (intptr_t)item,
						     count + 1, cpu))
			return true;
	}
	return false;
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

void __rseq_percpu *rseq_mempool_percpu_malloc(struct rseq_mempool *pool)
{
	void *item;
	bool fresh;

	if (!can_allocate(pool))
		return NULL;
	if (pool->magazines) {
		item = take_from_magazine(pool);
		if (item)
			return (void __rseq_percpu *)item;
	}
	pthread_mutex_lock(&pool->lock);
	item = take(pool, false, &fresh);
	pthread_mutex_unlock(&pool->lock);
	return (void __rseq_percpu *)item;
}

/*
 * Called with the lock, when no fresh item is left: what this CPU's magazine holds goes to the
 * ranges, where it may complete one to be reset. From then on frees of this pool go there at once.
 */
static void give_up_magazines(struct rseq_mempool *pool)
{
	void *item;

	if (!pool->magazines)
		return;
	__atomic_store_n(&pool->magazine_items, 0, __ATOMIC_RELAXED);
	while ((item = take_from_magazine(pool))) {
		struct mempool_range *range = rseq_range_of(item, pool->attr.stride);

		link_free(range, index_of(range, item));
	}
}

/*
 * A fresh item shows zeros already, unless an init callback or the poison wrote to it. A used one,
 * and any that gets another content, is looked at on each CPU.
 */
static void *allocate_filled(struct rseq_mempool *pool, const void *init, size_t len)
{
	const struct mempool_content content = { .init = init, .len = len };
	struct mempool_range *range;
	bool fresh, always;
	uint32_t index;
	void *item;

	pthread_mutex_lock(&pool->lock);
	give_up_magazines(pool);
	item = take(pool, true, &fresh);
	if (!item)
		goto unlock;
	range = rseq_range_of(item, pool->attr.stride);
	index = index_of(range, item);
	if (!len && fresh && index >= range->next_zero && !pool->attr.init &&
	    !(pool->attr.poison_set && pool->attr.poison))
		goto unlock;
	always = rseq_range_show(range, index, fresh, &content);
	pthread_mutex_unlock(&pool->lock);
	rseq_range_fill(range, index, always, &content);
	return item;
unlock:
	pthread_mutex_unlock(&pool->lock);
	return item;
}

void __rseq_percpu *rseq_mempool_percpu_zmalloc(struct rseq_mempool *pool)
{
	if (!can_allocate(pool))
		return NULL;
	return (void __rseq_percpu *)allocate_filled(pool, NULL, 0);
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
	if (!is_allocated(range, index_of(range, item)))
		die(pool, "double free", item);
	range->allocated[index_of(range, item) / 64] &=
		~((uint64_t)1 << index_of(range, item) % 64);
}

void librseq_mempool_percpu_free(void __rseq_percpu *ptr, size_t stride)
{
	void *item = (void *)ptr;
	struct mempool_range *range;
	struct rseq_mempool *pool;
	int saved_errno = errno;

	if (!item)
		return;
	range = rseq_range_of(item, stride);
	pool = range->pool;
	if (foreign(pool))
		return;
	if (pool->magazines && put_into_magazine(pool, item))
		return;
	pthread_mutex_lock(&pool->lock);
	if (pool->attr.robust)
		check_free(range, item);
	if (pool->attr.poison_set)
		rseq_range_poison(range, index_of(range, item));
	link_free(range, index_of(range, item));
	pthread_mutex_unlock(&pool->lock);
	errno = saved_errno;
}

/*
 * Magazines keep items away from other CPUs, which a pool with a limit cannot spare, and from the
 * checks of a robust one. They hold an eighth of a range at most.
 */
static int make_magazines(struct rseq_mempool *pool)
{
	size_t len = (size_t)rseq_get_max_nr_cpus() * sizeof(struct mempool_magazine);
	void *magazines;

	if (pool->attr.robust || pool->attr.poison_set || pool->attr.max_nr_ranges ||
	    pool->attr.without_magazines || pool->nr_items < 8)
		return 0;
	magazines = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (magazines == MAP_FAILED)
		return -1;
	madvise(magazines, len, MADV_NOHUGEPAGE);
	pool->magazines = magazines;
	pool->magazine_items = pool->nr_items / 8 < MAGAZINE_ITEMS ? pool->nr_items / 8 :
			MAGAZINE_ITEMS;
	return 0;
}

static int order_of(size_t len)
{
	return len <= sizeof(void *) ? __builtin_ctzl(sizeof(void *)) :
		RSEQ_BITS_PER_LONG - __builtin_clzl(len - 1);
}

static void link_pool(struct rseq_mempool *pool)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch_fork);
	pthread_mutex_lock(&pools_lock);
	pool->generation = generation;
	pool->next = pools;
	pool->link = &pools;
	if (pools)
		pools->link = &pool->next;
	pools = pool;
	pthread_mutex_unlock(&pools_lock);
}

static void unlink_pool(struct rseq_mempool *pool)
{
	pthread_mutex_lock(&pools_lock);
	*pool->link = pool->next;
	if (pool->next)
		pool->next->link = pool->link;
	pthread_mutex_unlock(&pools_lock);
}

static int free_pool(struct rseq_mempool *pool)
{
	size_t magazines = (size_t)rseq_get_max_nr_cpus() * sizeof(struct mempool_magazine);
	struct mempool_range *range, *next;
	int error = 0;

	for (range = pool->ranges; range; range = next) {
		next = range->next;
		if (rseq_range_destroy(range))
			error = errno;
	}
	if (pool->magazines && munmap(pool->magazines, magazines))
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
	pool->item_order = order_of(item_len);
	pool->item_len = (size_t)1 << pool->item_order;
	pool->nr_items = (uint32_t)(pool->attr.row_len >> pool->item_order);
	pool->nr_rows = pool->attr.max_nr_cpus ? pool->attr.max_nr_cpus : rseq_get_max_nr_cpus();
	if (pool->attr.robust && !pool->attr.poison_set) {
		/* Pages that start as zeros would all be written to for another poison. */
		pool->attr.poison_set = true;
		pool->attr.poison = pool->attr.policy == RSEQ_MEMPOOL_POPULATE_COW_INIT ?
				ROBUST_POISON : 0;
	}
	pthread_mutex_init(&pool->lock, NULL);
}

struct rseq_mempool *rseq_mempool_create(const char *name, size_t item_len,
		const struct rseq_mempool_attr *attr)
{
	const struct rseq_mempool_attr defaults = {
		.stride = RSEQ_MEMPOOL_STRIDE, .row_len = RSEQ_MEMPOOL_STRIDE,
	};
	struct rseq_mempool *pool;

	if (!attr)
		attr = &defaults;
	if (!item_len || item_len > attr->row_len) {
		errno = EINVAL;
		return NULL;
	}
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->attr = *attr;
	set_up(pool, item_len);
	pool->name = strdup(name ? name : "");
	if (!pool->name || make_magazines(pool) || (attr->init && !range_with_room(pool))) {
		int error = attr->init && pool->name ? errno : ENOMEM;

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
				return item_at(range, index);
	return NULL;
}

/* Free items are looked at once more, for what was written to them since. */
static void check_destroy(struct rseq_mempool *pool)
{
	const void *leak = find_leak(pool), *bad;

	if (leak)
		die(pool, "an item is still allocated when the pool is destroyed", leak);
	for (struct mempool_range *range = pool->ranges; range; range = range->next)
		for (uint32_t index = 0; index < range->next_fresh; index++)
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
