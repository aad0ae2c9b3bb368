/* SPDX-License-Identifier: MIT */
/*
 * cache-debug.c: which objects are out. Objects themselves are not looked at: one that went back to
 * the allocator may be gone.
 */
#include "cache-internal.h"

#include <stdlib.h>

#define FIRST_SIZE	64

static size_t home_of(const struct out_table *table, uintptr_t key)
{
	return (size_t)((key >> 3) * 0x9e3779b97f4a7c15ULL >> 20) & (table->size - 1);
}

/* Where key is, or else where it would be. */
static size_t find(const struct out_table *table, uintptr_t key)
{
	size_t slot = home_of(table, key);

	while (table->slots[slot] && table->slots[slot] != key)
		slot = (slot + 1) & (table->size - 1);
	return slot;
}

/* Called with the lock; at most half of the slots are used. Returns false if there is no room. */
static bool add(struct out_table *table, uintptr_t key)
{
	size_t slot;

	if (table->nr >= table->size / 2)
		return false;
	slot = find(table, key);
	if (!table->slots[slot])
		table->nr++;
	table->slots[slot] = key;
	return true;
}

/* Makes the table twice as large, unless somebody was faster. */
static int grow(struct out_table *table, size_t size)
{
	struct out_table larger = { NULL, size ? 2 * size : FIRST_SIZE, 0 };
	uintptr_t *unused;
	sigset_t signals;

	larger.slots = calloc(larger.size, sizeof(*larger.slots));
	if (!larger.slots)
		return -1;
	unused = larger.slots;
	rseq_fallback_lock(table, &signals);
	if (table->size == size) {
		for (size_t i = 0; i < table->size; i++)
			if (table->slots[i])
				add(&larger, table->slots[i]);
		unused = table->slots;
		*table = larger;
	}
	rseq_fallback_unlock(table, &signals);
	free(unused);
	return 0;
}

int rseq_out_add(struct out_table *table, void *object)
{
	sigset_t signals;
	size_t size;
	bool added;

	for (;;) {
		rseq_fallback_lock(table, &signals);
		added = add(table, (uintptr_t)object);
		size = table->size;
		rseq_fallback_unlock(table, &signals);
		if (added)
			return 0;
		if (grow(table, size))
			return -1;
	}
}

/* Moves those up that a search from their home would not find any more behind an empty slot. */
static void close_gap(struct out_table *table, size_t gap)
{
	const size_t mask = table->size - 1;

	for (size_t slot = (gap + 1) & mask; table->slots[slot]; slot = (slot + 1) & mask) {
		size_t home = home_of(table, table->slots[slot]);

		if (((slot - home) & mask) < ((slot - gap) & mask))
			continue;
		table->slots[gap] = table->slots[slot];
		gap = slot;
	}
	table->slots[gap] = 0;
}

bool rseq_out_remove(struct out_table *table, void *object)
{
	bool found = false;
	sigset_t signals;
	size_t slot;

	rseq_fallback_lock(table, &signals);
	if (table->size) {
		slot = find(table, (uintptr_t)object);
		found = table->slots[slot];
		if (found) {
			close_gap(table, slot);
			table->nr--;
		}
	}
	rseq_fallback_unlock(table, &signals);
	return found;
}
