/* SPDX-License-Identifier: MIT */
/*
 * counter.c: the sum of a counter, and what an add does without its section.
 *
 * A counter's address is that of its word in the row of CPU 0. Sections write to the word of their
 * CPU; threads without rseq add atomically to words in the second rows, so that the two never meet
 * in one word.
 */
#include "percpu.h"

#include <rseq/counter.h>

#include <errno.h>

struct rseq_counter *rseq_counter_create(void)
{
	return rseq_percpu_zalloc(sizeof(intptr_t));
}

void rseq_counter_destroy(struct rseq_counter *counter)
{
	int saved_errno = errno;

	rseq_percpu_free(counter);
	errno = saved_errno;
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
	int rows = rseq_get_max_nr_cpus();

	if (!counter) {
		errno = EINVAL;
		return 0;
	}
	if (rseq_percpu_fallback_used(counter))
		rows *= 2;
	for (; rows >= 4; rows -= 4) {
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
	int row = rseq_get_max_nr_cpus() + rseq_percpu_fallback_cpu();
	intptr_t *word = rseq_percpu_row(counter, row);

	rseq_percpu_use_fallback(counter);
	__atomic_fetch_add(word, count, __ATOMIC_RELAXED);
}

void rseq_counter_add_slow(struct rseq_counter *counter, intptr_t count)
{
	if (rseq_thread_registered())
		rseq_count_abort();
	if (rseq_thread_register_lazily()) {
		for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
			if (rseq_counter_try_add(counter, count))
				return;
			rseq_count_abort();
		}
	}
	add_atomically(counter, count);
}
