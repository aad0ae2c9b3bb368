/* SPDX-License-Identifier: MIT */
/*
 * bench-peers.h: what the files of rseqctl-bench-peers.so share.
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "bench.h"

/* A loop of nr operations, with the number of bytes that its benchmark names. */
#define BENCH_PEER(name)							\
	void rseqctl_bench_##name(uint64_t nr, size_t bytes);			\
	__attribute__((visibility("default")))					\
	void rseqctl_bench_##name(uint64_t nr, size_t bytes)

#endif /* BENCH_PEERS_H */
