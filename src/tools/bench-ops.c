/* SPDX-License-Identifier: MIT */
/*
 * bench-ops.c: the operations of the public librseq API against the same work on data that belongs
 * to the thread.
 */
#include "bench.h"

#include <rseq/ops.h>

#include <string.h>

#define MAX_BYTES	256

/* Without rseq no try succeeds. */
#define MAX_TRIES	8

/* What the operations work on, on lines of their own. */
struct words {
	intptr_t first __attribute__((aligned(BENCH_LINE)));
	intptr_t second;
	intptr_t *slot;			/* points to second */
	intptr_t **table;		/* points to slot */
	intptr_t node[2];	/* a list of one node that leads to itself */
	char from[MAX_BYTES] __attribute__((aligned(BENCH_LINE)));
	char to[MAX_BYTES] __attribute__((aligned(BENCH_LINE)));
};

/* The thread is bound to its CPU: one set of words will do. */
static struct words percpu;
static __thread struct words own;

static void reset(struct words *words)
{
	memset(words, 0, sizeof(*words));
	words->slot = &words->second;
	words->table = &words->slot;
	words->node[0] = (intptr_t)&words->node[0];
}

static int setup_words(struct bench_run *run)
{
	if (!rseq_thread_registered()) {
		run->missing = "the operations need rseq";
		return -1;
	}
	reset(&percpu);
	reset(&own);
	return 0;
}

/* Not each operation takes all of these, and of none the compiler knows the value. */
#define HIDE_ALL()									\
	do {										\
		BENCH_HIDE(expect);							\
		BENCH_HIDE(newv);							\
		BENCH_USE(expect);							\
		BENCH_USE(newv);							\
		BENCH_USE(bytes);							\
	} while (0)

/*
 * An operation, with the CPU number read anew each time as in real use, and what it does in plain
 * C. An operation that is aborted is done again.
 */
#define BENCH_OPERATION(name, operation, arguments, plain)				\
	BENCH_BODY(rseq_##name)								\
	{										\
		struct words *w = &percpu;						\
		size_t bytes = run->bench->bytes;					\
		intptr_t expect = 0, newv = 0;						\
											\
		HIDE_ALL();								\
		BENCH_REPEAT(nr,							\
			for (int try = 0; try < MAX_TRIES; try++) {			\
				int cpu = (int)rseq_cpu_start();			\
											\
				if (rseq_likely(operation(RSEQ_MO_RELAXED,		\
						RSEQ_PERCPU_CPU_ID, arguments, cpu) >= 0))	\
					break;						\
			}								\
		)									\
	}										\
	BENCH_LOOPS(rseq_##name)							\
	BENCH_BODY(plain_##name)							\
	{										\
		struct words *w = &own;							\
		size_t bytes = run->bench->bytes;					\
		intptr_t expect = 0, newv = 0;						\
											\
		BENCH_HIDE(w);								\
		HIDE_ALL();								\
		BENCH_REPEAT(nr, plain; rseq_barrier();)				\
	}										\
	BENCH_LOOPS(plain_##name)							\
	static const struct bench_variant name[] = {					\
		BENCH_VARIANT(#operation, setup_words, NULL, rseq_##name),	\
		BENCH_VARIANT("plain C on TLS", setup_words, NULL, plain_##name),	\
		{ 0 },									\
	};

#define LIST(...)	__VA_ARGS__

BENCH_OPERATION(store, rseq_load_cbne_store__ptr, LIST(&w->first, expect, newv),
	if (w->first == expect) w->first = newv)

BENCH_OPERATION(pop, rseq_load_cbeq_store_add_load_store__ptr,
	LIST(&w->node[0], expect, 0, &w->second),
	if (w->node[0] != expect) {
		w->second = w->node[0];
		w->node[0] = *(intptr_t *)w->node[0];
	})

BENCH_OPERATION(add, rseq_load_add_store__ptr, LIST(&w->first, 1),
	w->first++)

BENCH_OPERATION(add_by_pointer, rseq_load_add_load_load_add_store__ptr,
	LIST((intptr_t *)&w->table, 0, 1),
	++**w->table)

BENCH_OPERATION(store_if_both, rseq_load_cbne_load_cbne_store__ptr,
	LIST(&w->first, expect, &w->second, expect, newv),
	if (w->first == expect && w->second == expect) w->first = newv)

BENCH_OPERATION(store_two, rseq_load_cbne_store_store__ptr,
	LIST(&w->first, expect, &w->second, expect, newv),
	if (w->first == expect) {
		w->second = expect;
		rseq_barrier();
		w->first = newv;
	})

BENCH_OPERATION(copy, rseq_load_cbne_memcpy_store__ptr,
	LIST(&w->first, expect, w->to, w->from, bytes, newv),
	if (w->first == expect) {
		memcpy(w->to, w->from, bytes);
		w->first = newv;
	})

const struct bench bench_ops[] = {
	{ .name = "op-store", .area = "compare, store", .unit = "ns", .variants = store },
	{ .name = "op-pop", .area = "compare, load next, store", .unit = "ns", .variants = pop },
	{ .name = "op-add", .area = "add", .unit = "ns", .variants = add },
	{ .name = "op-add-by-pointer", .area = "add where a pointer leads", .unit = "ns",
	  .variants = add_by_pointer },
	{ .name = "op-store-if-both", .area = "compare twice, store", .unit = "ns",
	  .variants = store_if_both },
	{ .name = "op-store-two", .area = "compare, store, store", .unit = "ns",
	  .variants = store_two },
	{ .name = "op-copy-64", .area = "compare, copy 64 bytes, store", .unit = "ns",
	  .max_ratio = 1.2, .bytes = 64, .variants = copy },
	{ .name = "op-copy-128", .area = "compare, copy 128 bytes, store", .unit = "ns",
	  .max_ratio = 1.2, .bytes = 128, .variants = copy },
	{ .name = "op-copy-256", .area = "compare, copy 256 bytes, store", .unit = "ns",
	  .max_ratio = 1.2, .bytes = 256, .variants = copy },
	{ 0 },
};
