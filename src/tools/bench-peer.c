/* SPDX-License-Identifier: MIT */
/*
 * bench-peer.c: runs the loops of rseqctl-bench-peers.so.
 */
#include "bench.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

struct peer {
	void *module;
	void (*loop)(uint64_t nr, size_t bytes);
};

int bench_peer_setup(struct bench_run *run)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	char path[PATH_MAX], symbol[64];

	run->state = peer;
	if (!peer)
		return -1;
	snprintf(symbol, sizeof(symbol), "rseqctl_bench_%s", run->variant->peer);
	if (!bench_module("rseqctl-bench-peers", path, sizeof(path)))
		peer->module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (peer->module)
		*(void **)&peer->loop = dlsym(peer->module, symbol);
	if (peer->loop)
		return 0;
	run->missing = peer->module ? "rseqctl was built without it" :
			"rseqctl-bench-peers.so or what it needs is not there";
	bench_peer_teardown(run);
	return -1;
}

/* The module stays: liburcu has threads and memory barriers of its own under way. */
void bench_peer_teardown(struct bench_run *run)
{
	free(run->state);
}

void bench_peer_loop(struct bench_run *run, uint64_t nr)
{
	const struct peer *peer = run->state;

	peer->loop(nr, run->bench->bytes);
}
