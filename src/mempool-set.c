/* SPDX-License-Identifier: MIT */
/*
 * mempool-set.c: pools by item size.
 */
#include "mempool-internal.h"

#include <errno.h>
#include <stdlib.h>

/* Pools are added for good: a slot that is set once stays; atomic. */
struct rseq_mempool_set {
	struct rseq_mempool *pools[RSEQ_ORDERS];
};

struct rseq_mempool_set *rseq_mempool_set_create(void)
{
	return calloc(1, sizeof(struct rseq_mempool_set));
}

int rseq_mempool_set_destroy(struct rseq_mempool_set *set)
{
	int error = 0;

	if (!set)
		return 0;
	for (int order = 0; order < RSEQ_ORDERS; order++)
		if (set->pools[order] && rseq_mempool_destroy(set->pools[order]))
			error = errno;
	free(set);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

int rseq_mempool_set_add_pool(struct rseq_mempool_set *set, struct rseq_mempool *pool)
{
	struct rseq_mempool_set *no_set = NULL;
	struct rseq_mempool *no_pool = NULL;

	if (!set || !pool) {
		errno = EINVAL;
		return -1;
	}
	if (!__atomic_compare_exchange_n(&pool->set, &no_set, set, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		errno = EBUSY;
		return -1;
	}
	if (!__atomic_compare_exchange_n(&set->pools[pool->item_order], &no_pool, pool, false,
					 __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
		__atomic_store_n(&pool->set, NULL, __ATOMIC_RELAXED);
		errno = EBUSY;
		return -1;
	}
	return 0;
}

enum content { ANY, ZERO, COPY };

static void *allocate(struct rseq_mempool_set *set, size_t len, enum content content,
		const void *init)
{
	int error = ENOMEM;

	if (!set || (content == COPY && len && !init)) {
		errno = EINVAL;
		return NULL;
	}
	for (int order = 0; order < RSEQ_ORDERS; order++) {
		struct rseq_mempool *pool = __atomic_load_n(&set->pools[order], __ATOMIC_ACQUIRE);
		void *item;

		if (!pool || pool->item_len < len)
			continue;
		item = (void *)(content == ANY ? rseq_mempool_percpu_malloc(pool) :
				content == ZERO ? rseq_mempool_percpu_zmalloc(pool) :
				rseq_mempool_percpu_malloc_init(pool, init, len));
		if (item)
			return item;
		error = errno;
		if (error != ENOMEM)
			break;
	}
	errno = error;
	return NULL;
}

void __rseq_percpu *rseq_mempool_set_percpu_malloc(struct rseq_mempool_set *set, size_t len)
{
	return (void __rseq_percpu *)allocate(set, len, ANY, NULL);
}

void __rseq_percpu *rseq_mempool_set_percpu_zmalloc(struct rseq_mempool_set *set, size_t len)
{
	return (void __rseq_percpu *)allocate(set, len, ZERO, NULL);
}

void __rseq_percpu *rseq_mempool_set_percpu_malloc_init(struct rseq_mempool_set *set,
		const void *init, size_t len)
{
	return (void __rseq_percpu *)allocate(set, len, COPY, init);
}
