/* SPDX-License-Identifier: MIT */
/*
 * bench-ring.c: records are written to rings that lose their oldest, as a flight recorder does, so
 * that nobody has to read them meanwhile.
 */
#include "bench.h"

#include <rseq/ring.h>

#include <stdlib.h>
#include <string.h>

#define RING_BYTES	65536
#define MAX_RECORD	256

static int setup_ring(struct bench_run *run)
{
	run->state = rseq_ring_create(RING_BYTES, RSEQ_RING_OVERWRITE);
	return run->state ? 0 : -1;
}

static void teardown_ring(struct bench_run *run)
{
	rseq_ring_destroy(run->state);
}

BENCH_BODY(rseq_write)
{
	struct rseq_ring *ring = run->state;
	size_t bytes = run->bench->bytes;
	char record[MAX_RECORD];

	memset(record, 1, sizeof(record));
	BENCH_HIDE(bytes);
	BENCH_REPEAT(nr, rseq_ring_write(ring, record, bytes);)
}
BENCH_LOOPS(rseq_write)

/* A record is its length and its data in one piece; behind the end there is room for it. */
static __thread struct own_ring {
	char *data;
	size_t head, tail;
} own_ring __attribute__((aligned(BENCH_LINE)));

/* A single thread keeps it, so that its pages are there from the second round on. */
static void make_own_ring(void)
{
	if (!own_ring.data)
		own_ring.data = calloc(1, RING_BYTES + sizeof(size_t) + MAX_RECORD);
	if (!own_ring.data)
		abort();
}

static void free_own_ring(void)
{
	free(own_ring.data);
	own_ring.data = NULL;
	own_ring.head = own_ring.tail = 0;
}

static inline size_t space_of(size_t bytes)
{
	return sizeof(bytes) + ((bytes + 7) & ~(size_t)7);
}

static inline char *place_of(const struct own_ring *own, size_t position)
{
	return own->data + (position & (RING_BYTES - 1));
}

static inline __attribute__((always_inline)) void append(struct own_ring *own, const char *record,
		size_t bytes)
{
	char *at = place_of(own, own->head);

	memcpy(at, &bytes, sizeof(bytes));
	memcpy(at + sizeof(bytes), record, bytes);
	own->head += space_of(bytes);
	rseq_barrier();
}

BENCH_BODY(tls_write)
{
	size_t bytes = run->bench->bytes;
	char record[MAX_RECORD];
	struct own_ring *own;

	memset(record, 1, sizeof(record));
	make_own_ring();
	own = BENCH_OWN(own_ring);
	BENCH_HIDE(bytes);
	BENCH_REPEAT(nr,
		append(own, record, bytes);
	)
	if (run->nr_threads)
		free_own_ring();
}
BENCH_LOOPS(tls_write)

/* The same, but that it could be read: it knows where its oldest record begins. */
BENCH_BODY(tls_readable)
{
	size_t bytes = run->bench->bytes;
	char record[MAX_RECORD];
	struct own_ring *own;

	memset(record, 1, sizeof(record));
	make_own_ring();
	own_ring.tail = own_ring.head;
	own = BENCH_OWN(own_ring);
	BENCH_HIDE(bytes);
	BENCH_REPEAT(nr,
		while (own->head + space_of(bytes) - own->tail > RING_BYTES) {
			size_t oldest;

			memcpy(&oldest, place_of(own, own->tail), sizeof(oldest));
			own->tail += space_of(oldest);
		}
		append(own, record, bytes);
	)
	if (run->nr_threads)
		free_own_ring();
}
BENCH_LOOPS(tls_readable)

static void teardown_tls(struct bench_run *run)
{
	(void)run;
	free_own_ring();
}

static const struct bench_variant writes[] = {
	BENCH_VARIANT("rseq_ring_write", setup_ring, teardown_ring, rseq_write),
	BENCH_VARIANT("copy to a TLS ring", NULL, teardown_tls, tls_write),
	BENCH_VARIANT("the same, oldest record known", NULL, teardown_tls, tls_readable),
	{ 0 },
};

const struct bench bench_ring[] = {
	{ .name = "ring-write-64", .area = "ring write, 64 bytes", .unit = "ns",
	  .max_ratio = 1.2, .bytes = 64, .variants = writes },
	{ .name = "ring-write-128", .area = "ring write, 128 bytes", .unit = "ns",
	  .max_ratio = 1.2, .bytes = 128, .variants = writes },
	{ .name = "ring-write-256", .area = "ring write, 256 bytes", .unit = "ns",
	  .max_ratio = 1.2, .bytes = 256, .variants = writes },
	{ .name = "ring-write-threads", .area = "ring write of 64 bytes, 64 threads", .unit = "ns",
	  .bytes = 64, .threads = 64, .scales = true, .variants = writes },
	{ 0 },
};
