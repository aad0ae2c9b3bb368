/* SPDX-License-Identifier: MIT */
/*
 * bench-urcu.c: objects that are freed after a grace period: into a per-CPU cache, in batches, or
 * each with a callback that calls free(). Grace periods and callbacks are part of what it takes: a
 * loop waits in the end until all of its callbacks were called, and the CPU time of all threads
 * counts, that of liburcu's own too.
 */
#include "bench.h"

static const struct bench_variant frees[] = {
	{ .name = "rseq_cache_alloc, rseq_cache_free_rcu", .peer = "urcu_cache" },
	{ .name = "malloc, call_rcu of liburcu-memb, free", .peer = "urcu_malloc" },
	{ 0 },
};

const struct bench bench_urcu[] = {
	{ .name = "urcu-free", .area = "alloc + RCU free of 64 bytes", .unit = "ns",
	  .bytes = 64, .unbound = true, .whole = true, .variants = frees },
	{ .name = "urcu-free-threads", .area = "alloc + RCU free of 64 bytes, 64 threads",
	  .unit = "ns", .bytes = 64, .threads = 64, .scales = true, .whole = true,
	  .variants = frees },
	{ 0 },
};
