/* SPDX-License-Identifier: MIT */
/*
 * cache-depot.c: what CPUs have too much of and others lack, in magazines. Lock-free: no thread
 * waits for one that was stopped, in a signal handler or by fork().
 */
#include "cache-internal.h"

#include <errno.h>
#include <stdlib.h>

#define TAKEN_ONCE	(1ULL << 32)

static struct magazine *magazine_at(const struct depot *depot, uint32_t number)
{
	return (struct magazine *)(void *)(depot->magazines + number * depot->magazine_len);
}

static uint32_t number_of(const struct depot *depot, const struct magazine *magazine)
{
	return (uint32_t)((size_t)((const char *)magazine - depot->magazines) /
			  depot->magazine_len);
}

static struct magazine *take(const struct depot *depot, uint64_t *list)
{
	uint64_t first = __atomic_load_n(list, __ATOMIC_ACQUIRE), rest;
	struct magazine *magazine;

	do {
		if (!(uint32_t)first)
			return NULL;
		magazine = magazine_at(depot, (uint32_t)first - 1);
		rest = (first & ~(TAKEN_ONCE - 1)) + TAKEN_ONCE;
		rest |= __atomic_load_n(&magazine->next, __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(list, &first, rest, true, __ATOMIC_ACQUIRE,
					      __ATOMIC_ACQUIRE));
	return magazine;
}

static void put(const struct depot *depot, uint64_t *list, struct magazine *magazine)
{
	uint64_t before = __atomic_load_n(list, __ATOMIC_RELAXED), after;

	do {
		__atomic_store_n(&magazine->next, (uint32_t)before, __ATOMIC_RELAXED);
		after = (before & ~(TAKEN_ONCE - 1)) | (number_of(depot, magazine) + 1);
	} while (!__atomic_compare_exchange_n(list, &before, after, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

struct magazine *rseq_depot_take_full(struct depot *depot)
{
	struct magazine *magazine = take(depot, &depot->full);

	if (magazine)
		__atomic_fetch_sub(&depot->nr_objects, magazine->nr, __ATOMIC_RELAXED);
	return magazine;
}

struct magazine *rseq_depot_take_empty(struct depot *depot)
{
	return take(depot, &depot->empty);
}

void rseq_depot_put(struct depot *depot, struct magazine *magazine)
{
	if (magazine->nr)
		__atomic_fetch_add(&depot->nr_objects, magazine->nr, __ATOMIC_RELAXED);
	put(depot, magazine->nr ? &depot->full : &depot->empty, magazine);
}

int rseq_depot_init(struct depot *depot, size_t nr_objects, size_t batch)
{
	size_t nr = nr_objects / batch + !!(nr_objects % batch);

	depot->batch = batch;
	if (nr >= UINT32_MAX ||
	    __builtin_mul_overflow(batch, sizeof(void *), &depot->magazine_len) ||
	    __builtin_add_overflow(depot->magazine_len, sizeof(struct magazine),
				   &depot->magazine_len)) {
		errno = ENOMEM;
		return -1;
	}
	depot->nr_magazines = (uint32_t)nr;
	depot->magazines = calloc(nr, depot->magazine_len);
	if (!depot->magazines)
		return -1;
	for (size_t i = nr; i-- > 0; )
		put(depot, &depot->empty, magazine_at(depot, (uint32_t)i));
	return 0;
}

void rseq_depot_fini(struct depot *depot)
{
	free(depot->magazines);
}
