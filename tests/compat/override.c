/* SPDX-License-Identifier: MIT */
/*
 * A program that finds the area itself, with an inline function that it declares in front of the
 * headers, and counts how often it is asked for.
 */
#ifndef _GNU_SOURCE
# define _GNU_SOURCE
#endif
#define RSEQ_GET_ABI_OVERRIDE
#include <rseq/abi.h>

static inline struct rseq_abi *rseq_get_abi(void);

#include "check.h"

#define NR_ADDS		1000
#define NR_THREADS	8

static __thread int nr_asked;
static intptr_t sum;

static inline struct rseq_abi *rseq_get_abi(void)
{
	nr_asked++;
	return (struct rseq_abi *)((char *)rseq_thread_pointer() + rseq_offset);
}

static void *add(void *unused)
{
	bool registered = enter_thread();
	intptr_t mine = 0;

	(void)unused;
	check(nr_asked > 0);
	for (int i = 0; i < NR_ADDS; i++) {
		int before = nr_asked, result;

		if (!registered) {
			mine++;
			continue;
		}
		do
			result = rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
							  &mine, 1, (int)rseq_cpu_start());
		while (result);
		check(nr_asked > before);
	}
	__atomic_fetch_add(&sum, mine, __ATOMIC_RELAXED);
	leave_thread(registered);
	return NULL;
}

int main(void)
{
	run_threads(NR_THREADS, add);
	check(sum == NR_THREADS * NR_ADDS);
	return finish();
}
