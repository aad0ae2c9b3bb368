/* SPDX-License-Identifier: MIT */
/*
 * counter.c: the memory of counters, their sum, and what an add does without its section.
 *
 * A range holds the slots of many counters:
 *
 *	header | row of CPU 0 | row of CPU 1 | ... | fallback row of CPU 0 | ...
 *
 * A row is RSEQ_PERCPU_STRIDE bytes long and has a word for each counter. Sections write the row of
 * their CPU. Threads without rseq add atomically in fallback rows, so that the two never meet in
 * one word. A counter's address is that of its word in the row of CPU 0; the header is found by
 * rounding it down.
 */
#include "internal.h"

#include <rseq/counter.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define HEADER_BYTES	4096
#define RANGE_ALIGN	((size_t)1 << 17)
#define NR_SLOTS	(RSEQ_PERCPU_STRIDE / sizeof(intptr_t))
#define WORD_BITS	64
#define NR_WORDS	((NR_SLOTS + WORD_BITS - 1) / WORD_BITS)

/* Tries of a section that is aborted before the atomic way is taken. */
#define MAX_TRIES	8

struct counter_range {
	struct counter_range *next;	/* constant once the range is published */
	int nr_cpus;
	bool fallback_used;		/* some fallback row was written to; atomic */
	uint64_t used[NR_WORDS];	/* a bit for each slot; atomic */
};

_Static_assert(sizeof(struct counter_range) <= HEADER_BYTES, "header of a range");
_Static_assert(HEADER_BYTES + RSEQ_PERCPU_STRIDE <= RANGE_ALIGN, "rounding finds the header");

/* All ranges, newest first; atomic. Ranges are never returned, so that walking needs no lock. */
static struct counter_range *ranges;

static struct counter_range *range_of(const struct rseq_counter *counter)
{
	return (struct counter_range *)((uintptr_t)counter & ~(RANGE_ALIGN - 1));
}

static intptr_t *row_of(const struct rseq_counter *counter, int row)
{
	return (intptr_t *)((uintptr_t)counter + (uintptr_t)row * RSEQ_PERCPU_STRIDE);
}

/* Maps length bytes at a multiple of RANGE_ALIGN. */
static void *map_aligned(size_t length)
{
	char *map = mmap(NULL, length + RANGE_ALIGN, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (map == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)map & (RANGE_ALIGN - 1);
	if (before)
		munmap(map, before);
	if (RANGE_ALIGN - before)
		munmap(map + before + length, RANGE_ALIGN - before);
	return map + before;
}

static struct counter_range *create_range(void)
{
	const size_t page_mask = 65536 - 1;
	int nr_cpus = rseq_get_max_nr_cpus();
	size_t length = HEADER_BYTES + 2 * (size_t)nr_cpus * RSEQ_PERCPU_STRIDE;
	struct counter_range *range;

	length = (length + page_mask) & ~page_mask;
	range = map_aligned(length);
	if (!range) {
		errno = ENOMEM;
		return NULL;
	}
	/* A huge page would make the rows of 32 CPUs resident when one of them counts. */
	madvise(range, length, MADV_NOHUGEPAGE);
	range->nr_cpus = nr_cpus;
	/* Bits past the last slot are taken for ever. */
	if (NR_SLOTS % WORD_BITS)
		range->used[NR_WORDS - 1] = ~(uint64_t)0 << (NR_SLOTS % WORD_BITS);
	return range;
}

static struct rseq_counter *take_slot(struct counter_range *range)
{
	for (size_t word = 0; word < NR_WORDS; word++) {
		uint64_t used = __atomic_load_n(&range->used[word], __ATOMIC_RELAXED);

		while (~used) {
			int bit = __builtin_ctzll(~used);
			size_t slot = word * WORD_BITS + (size_t)bit;

			if (__atomic_compare_exchange_n(&range->used[word], &used,
							used | (uint64_t)1 << bit, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return (struct rseq_counter *)((char *)range + HEADER_BYTES +
							       slot * sizeof(intptr_t));
		}
	}
	return NULL;
}

struct rseq_counter *rseq_counter_create(void)
{
	struct counter_range *range = __atomic_load_n(&ranges, __ATOMIC_ACQUIRE);
	struct rseq_counter *counter;
	int saved_errno = errno;

	for (; range; range = range->next) {
		counter = take_slot(range);
		if (counter)
			return counter;
	}
	range = create_range();
	if (!range)
		return NULL;
	counter = take_slot(range);
	range->next = __atomic_load_n(&ranges, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&ranges, &range->next, range, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
	errno = saved_errno;
	return counter;
}

/* Rows that may hold something. */
static int nr_rows(const struct counter_range *range)
{
	bool both = __atomic_load_n(&range->fallback_used, __ATOMIC_RELAXED);

	return both ? 2 * range->nr_cpus : range->nr_cpus;
}

void rseq_counter_destroy(struct rseq_counter *counter)
{
	struct counter_range *range;
	size_t slot;
	int rows;

	if (!counter)
		return;
	range = range_of(counter);
	rows = nr_rows(range);
	/* A row that was never written to must not become resident now. */
	for (int row = 0; row < rows; row++)
		if (RSEQ_READ_ONCE(*row_of(counter, row)))
			RSEQ_WRITE_ONCE(*row_of(counter, row), 0);
	slot = ((uintptr_t)counter - (uintptr_t)range - HEADER_BYTES) / sizeof(intptr_t);
	__atomic_fetch_and(&range->used[slot / WORD_BITS],
			   ~((uint64_t)1 << (slot % WORD_BITS)), __ATOMIC_RELEASE);
}

static uintptr_t read_row(const char *first, int row)
{
	const volatile intptr_t *word =
			(const volatile intptr_t *)(first + row * RSEQ_PERCPU_STRIDE);

	return (uintptr_t)__atomic_load_n(word, __ATOMIC_RELAXED);
}

/* Four rows a turn in two sums: the loads of many rows are under way at once. */
intptr_t rseq_counter_sum(const struct rseq_counter *counter)
{
	const char *word = (const char *)counter;
	uintptr_t even = 0, odd = 0;
	int rows;

	if (!counter) {
		errno = EINVAL;
		return 0;
	}
	for (rows = nr_rows(range_of(counter)); rows >= 4; rows -= 4) {
		even += read_row(word, 0);
		odd += read_row(word, 1);
		even += read_row(word, 2);
		odd += read_row(word, 3);
		word += 4 * RSEQ_PERCPU_STRIDE;
	}
	for (; rows; rows--, word += RSEQ_PERCPU_STRIDE)
		even += read_row(word, 0);
	return (intptr_t)(even + odd);
}

static void add_atomically(struct rseq_counter *counter, intptr_t count)
{
	struct counter_range *range = range_of(counter);
	int saved_errno = errno;
	int cpu = rseq_fallback_current_cpu();

	if (cpu < 0 || cpu >= range->nr_cpus)
		cpu = 0;
	if (!__atomic_load_n(&range->fallback_used, __ATOMIC_RELAXED))
		__atomic_store_n(&range->fallback_used, true, __ATOMIC_RELAXED);
	__atomic_fetch_add(row_of(counter, range->nr_cpus + cpu), count, __ATOMIC_RELAXED);
	errno = saved_errno;
}

/* A registered thread that leaves a section without its commit was aborted. */
static void count_abort(void)
{
	if (rseq_thread_registered())
		__atomic_fetch_add(&rseq_abort_count, 1, __ATOMIC_RELAXED);
}

void rseq_counter_add_slow(struct rseq_counter *counter, intptr_t count)
{
	count_abort();
	if (rseq_thread_register_lazily()) {
		for (int try = 0; try < MAX_TRIES; try++) {
			if (rseq_counter_try_add(counter, count))
				return;
			count_abort();
		}
	}
	add_atomically(counter, count);
}
