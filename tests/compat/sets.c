/* SPDX-License-Identifier: MIT */
/*
 * Sets of pools, per CPU and global: the smallest pool that fits and has room serves.
 */
#include "check.h"

#include <rseq/mempool.h>

#define SMALLEST	16
#define NR_POOLS	6
#define STRIDE		4096

static bool global;

static struct rseq_mempool *create(size_t item_len, unsigned long max_nr_ranges)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	if (!attr)
		return NULL;
	if (global)
		check(!rseq_mempool_attr_set_global(attr, STRIDE));
	else
		check(!rseq_mempool_attr_set_percpu(attr, STRIDE, 2));
	check(!rseq_mempool_attr_set_max_nr_ranges(attr, max_nr_ranges));
	pool = rseq_mempool_create("of a set", item_len, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

static char *allocate(struct rseq_mempool_set *set, int kind, void *init, size_t len)
{
	if (global)
		return (char *)(kind == 0 ? rseq_mempool_set_malloc(set, len) :
				kind == 1 ? rseq_mempool_set_zmalloc(set, len) :
				rseq_mempool_set_malloc_init(set, init, len));
	return (char *)(kind == 0 ? rseq_mempool_set_percpu_malloc(set, len) :
			kind == 1 ? rseq_mempool_set_percpu_zmalloc(set, len) :
			rseq_mempool_set_percpu_malloc_init(set, init, len));
}

static void check_content(char *item, int kind, const char *init, size_t len)
{
	for (int cpu = 0; cpu < (global ? 1 : 2); cpu++) {
		char *copy = rseq_percpu_ptr(item, cpu, STRIDE);

		if (kind == 2)
			check(!memcmp(copy, init, len));
		for (size_t i = 0; kind == 1 && i < len; i++)
			check(copy[i] == 0);
		memset(copy, 0xa5, len);
	}
}

/* Items of any length, of all kinds; those of one pool lie a power of two apart. */
static void try_lengths(struct rseq_mempool_set *set)
{
	char init[SMALLEST << (NR_POOLS - 1)];

	memset(init, 'i', sizeof(init));
	for (size_t len = 1; len <= sizeof(init); len += 7) {
		for (int kind = 0; kind < 3; kind++) {
			char *item = allocate(set, kind, init, len);

			check(item);
			if (!item)
				continue;
			check_content(item, kind, init, len);
			rseq_mempool_percpu_free(item, STRIDE);
		}
	}
	errno = 0;
	check(!allocate(set, 0, NULL, sizeof(init) + 1) && errno == ENOMEM);
}

/* What the small ones have no room for comes from the larger ones, until all are full. */
static void try_overflow(struct rseq_mempool_set *set)
{
	int expected = 0, nr = 0;

	for (int i = 0; i < NR_POOLS; i++)
		expected += STRIDE / (SMALLEST << i);
	for (;;) {
		char *item = allocate(set, nr % 3, (void *)"0123456789", 10);

		if (!item)
			break;
		for (int cpu = 0; cpu < (global ? 1 : 2); cpu++)
			memset(rseq_percpu_ptr(item, cpu, STRIDE), nr, 10);
		nr++;
	}
	check(errno == ENOMEM);
	check(nr == expected);
}

static void try_set(void)
{
	struct rseq_mempool_set *set = rseq_mempool_set_create();
	struct rseq_mempool *second;

	check(set);
	if (!set)
		return;
	errno = 0;
	check(!allocate(set, 0, NULL, 1) && errno == ENOMEM);
	for (int i = NR_POOLS - 1; i >= 0; i--) {
		struct rseq_mempool *pool = create((size_t)SMALLEST << i, 1);

		check(pool && !rseq_mempool_set_add_pool(set, pool));
	}
	second = create(SMALLEST - 3, 0);
	errno = 0;
	check(second && rseq_mempool_set_add_pool(set, second) == -1 && errno == EBUSY);
	check(!rseq_mempool_destroy(second));
	try_lengths(set);
	try_overflow(set);
	check(!rseq_mempool_set_destroy(set));
}

int main(void)
{
	bool registered = enter_thread();

	for (int i = 0; i < 2; i++) {
		global = i;
		try_set();
	}
	leave_thread(registered);
	return finish();
}
