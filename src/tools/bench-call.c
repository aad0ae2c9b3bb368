/* SPDX-License-Identifier: MIT */
/*
 * bench-call.c: a shared object whose function counts, as a library that counts its calls would;
 * and others to compare it to: the call itself may take longer than what it does.
 */
#include <rseq/counter.h>

void rseqctl_bench_count(struct rseq_counter *counter);
void rseqctl_bench_count_own(struct rseq_counter *unused);
void rseqctl_bench_nothing(struct rseq_counter *unused);

__attribute__((visibility("default")))
void rseqctl_bench_count(struct rseq_counter *counter)
{
	rseq_counter_inc(counter);
}

static __thread intptr_t own __attribute__((tls_model("initial-exec")));

__attribute__((visibility("default")))
void rseqctl_bench_count_own(struct rseq_counter *unused)
{
	(void)unused;
	own++;
	rseq_barrier();
}

__attribute__((visibility("default")))
void rseqctl_bench_nothing(struct rseq_counter *unused)
{
	(void)unused;
}
