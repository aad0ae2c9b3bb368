/* SPDX-License-Identifier: MIT */
/*
 * mempool-magazine.c: free items that are kept by CPU, which sections reach without the pool's
 * lock.
 *
 * Magazines are used through the operations of ops.h on this CPU's, so that a thread that is
 * preempted or migrates in between takes or puts nothing. The count and the word below it are
 * compared together: a count alone comes back to its value with other items. All callers share
 * the two sections, which can be tried through the simplest of them.
 */
#include "mempool-internal.h"

#include <rseq/ops.h>

#include <errno.h>
#include <sys/mman.h>

/* Tries of a section that is aborted before the lock is taken. */
#define MAX_TRIES	4

__attribute__((noinline))
void *rseq_magazine_take(struct rseq_mempool *pool, enum mempool_kind kind)
{
	for (int try = 0; try < MAX_TRIES && rseq_thread_register_lazily(); try++) {
		int cpu = (int)rseq_cpu_start();
		struct mempool_magazine *magazine = &pool->magazines[kind][cpu];
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

__attribute__((noinline))
bool rseq_magazine_put(struct rseq_mempool *pool, enum mempool_kind kind, void *item)
{
	for (int try = 0; try < MAX_TRIES && rseq_thread_register_lazily(); try++) {
		int cpu = (int)rseq_cpu_start();
		struct mempool_magazine *magazine = &pool->magazines[kind][cpu];
		intptr_t count = RSEQ_READ_ONCE(magazine->count);

		if (count >= pool->magazine_items)
			return false;
		if (!rseq_load_cbne_store_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
						     &magazine->count, count,
						     &magazine->items[count], (intptr_t)item,
						     count + 1, cpu))
			return true;
	}
	return false;
}

static size_t length(void)
{
	return (size_t)rseq_get_max_nr_cpus() * NR_KINDS * sizeof(struct mempool_magazine);
}

/*
 * Magazines keep items away from other CPUs, which a pool with a limit cannot spare, and from the
 * checks of a robust one. Of each kind they hold an eighth of a range at most.
 */
int rseq_magazines_create(struct rseq_mempool *pool)
{
	struct mempool_magazine *magazines;

	if (pool->attr.robust || pool->attr.poison_set || pool->attr.max_nr_ranges ||
	    pool->attr.without_magazines || pool->nr_items < 8)
		return 0;
	magazines = mmap(NULL, length(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (magazines == MAP_FAILED) {
		errno = ENOMEM;
		return -1;
	}
	madvise(magazines, length(), MADV_NOHUGEPAGE);
	for (int kind = 0; kind < NR_KINDS; kind++)
		pool->magazines[kind] = magazines + kind * rseq_get_max_nr_cpus();
	pool->magazine_items = pool->nr_items / 8 < MAGAZINE_ITEMS ? pool->nr_items / 8 :
			MAGAZINE_ITEMS;
	return 0;
}

int rseq_magazines_destroy(struct rseq_mempool *pool)
{
	return pool->magazines[0] ? munmap(pool->magazines[0], length()) : 0;
}

static void free_used(struct rseq_mempool *pool, void *item)
{
	struct mempool_range *range = rseq_range_of(item, pool->attr.stride);

	rseq_item_free(range, rseq_item_index(range, item), ITEMS_USED);
}

/* Called with the lock. Gives up to nr of this CPU's used items back to their ranges. */
void rseq_magazines_empty(struct rseq_mempool *pool, intptr_t nr)
{
	void *item;

	while (nr-- > 0 && (item = rseq_magazine_take(pool, ITEMS_USED)))
		free_used(pool, item);
}

/* Not the link of any free item. */
#define MARK	UINT32_MAX

static void mark(struct rseq_mempool *pool, void *item)
{
	struct mempool_range *range = rseq_range_of(item, pool->attr.stride);

	range->next_free[rseq_item_index(range, item)] = MARK;
}

static void free_marked(struct rseq_mempool *pool, void *item)
{
	struct mempool_range *range = rseq_range_of(item, pool->attr.stride);

	if (range->next_free[rseq_item_index(range, item)] == MARK)
		free_used(pool, item);
}

static void for_all(struct rseq_mempool *pool, void (*do_it)(struct rseq_mempool *, void *))
{
	for (int i = 0; i < NR_KINDS * rseq_get_max_nr_cpus(); i++) {
		const struct mempool_magazine *magazine = &pool->magazines[0][i];

		for (intptr_t item = 0; item < magazine->count; item++)
			do_it(pool, (void *)magazine->items[item]);
	}
}

/*
 * Called in the child of fork(), with the lock. The parent's other threads went on while its pages
 * were copied one after another: an item that one of them moved may be in two magazines by now, and
 * one that shows zeros may have been written to. The lists of free items, which the lock protects,
 * are as they were. The child's thread is alone and needs no section.
 */
void rseq_magazines_gather(struct rseq_mempool *pool)
{
	if (!pool->magazines[0])
		return;
	for_all(pool, mark);
	for_all(pool, free_marked);
	for (int i = 0; i < NR_KINDS * rseq_get_max_nr_cpus(); i++)
		if (pool->magazines[0][i].count)
			pool->magazines[0][i].count = 0;
}
