/* SPDX-License-Identifier: MIT */
/*
 * mempool-find.c: which range an address is in, for the checks of robust pools. Ranges are found by
 * where their rows begin, which an item and its stride tell. They are linked through themselves: an
 * allocator that is built on pools must not be called with the lock.
 */
#include "mempool-internal.h"

#define NR_CHAINS	1024
#define CHAIN_BITS	10

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mempool_range *chains[NR_CHAINS];

_Static_assert(NR_CHAINS == 1 << CHAIN_BITS, "the upper bits of a product choose a chain");

void rseq_ranges_lock(void)
{
	pthread_mutex_lock(&lock);
}

void rseq_ranges_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

static struct mempool_range **chain_of(uintptr_t rows)
{
	return &chains[(rows >> 12) * 0x9e3779b97f4a7c15ULL >> (64 - CHAIN_BITS)];
}

void rseq_range_enter(struct mempool_range *range)
{
	struct mempool_range **chain = chain_of((uintptr_t)range->rows);

	rseq_ranges_lock();
	range->next_in_chain = *chain;
	range->link_in_chain = chain;
	if (*chain)
		(*chain)->link_in_chain = &range->next_in_chain;
	*chain = range;
	rseq_ranges_unlock();
}

void rseq_range_leave(struct mempool_range *range)
{
	rseq_ranges_lock();
	*range->link_in_chain = range->next_in_chain;
	if (range->next_in_chain)
		range->next_in_chain->link_in_chain = range->link_in_chain;
	rseq_ranges_unlock();
}

struct mempool_range *rseq_range_with_first_row(const void *address, size_t stride)
{
	uintptr_t rows = (uintptr_t)address & ~(rseq_row_alignment(stride) - 1);
	struct mempool_range *range;

	rseq_ranges_lock();
	for (range = *chain_of(rows); range; range = range->next_in_chain)
		if ((uintptr_t)range->rows == rows && range->pool->attr.stride == stride)
			break;
	rseq_ranges_unlock();
	return range;
}

struct mempool_range *rseq_range_with(const void *address)
{
	struct mempool_range *range = NULL;

	rseq_ranges_lock();
	for (int i = 0; !range && i < NR_CHAINS; i++)
		for (range = chains[i]; range; range = range->next_in_chain)
			if ((uintptr_t)address - (uintptr_t)range->rows <
			    (size_t)range->pool->nr_rows * range->pool->attr.stride)
				break;
	rseq_ranges_unlock();
	return range;
}
