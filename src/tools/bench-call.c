/* SPDX-License-Identifier: MIT */
/*
 * bench-call.c: a shared object whose function counts, as a library that counts its calls would.
 */
#include <rseq/counter.h>

void rseqctl_bench_count(struct rseq_counter *counter);

__attribute__((visibility("default")))
void rseqctl_bench_count(struct rseq_counter *counter)
{
	rseq_counter_inc(counter);
}
