/* SPDX-License-Identifier: MIT */
/*
 * bench-ring.c: records are written to rings that lose their oldest, as a flight recorder does, so
 * that nobody has to read them meanwhile.
 *
 * The yardstick is a ring of the thread's own that knows where its oldest record begins: what that
 * costs, any ring pays that overwrites and can be read. It does not count what it loses. One that
 * only copies is of no use, since nobody could tell where in it a record begins; it is shown for
 * comparison, and so is a ring of this library that a reader empties before it is full.
 */
#include "bench.h"

#include <rseq/ring.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of each CPU, as tracers have them; the yardstick's is as long. */
#define RING_BYTES	(512 * 1024)
#define MAX_RECORD	256
#define NR_BATCHES	128

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

static int setup_drained(struct bench_run *run)
{
	run->state = rseq_ring_create(RING_BYTES, 0);
	return run->state ? 0 : -1;
}

static void drain(struct rseq_ring *ring)
{
	char record[MAX_RECORD];

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		while (rseq_ring_read(ring, cpu, record, sizeof(record)) > 0)
			;
}

static inline size_t space_of(size_t bytes)
{
	return sizeof(bytes) + ((bytes + 7) & ~(size_t)7);
}

/* As many as there is room for, which takes microseconds; the reader's time is not counted. */
static double measure_drained(struct bench_run *run)
{
	static bench_loop *const loops[BENCH_ALIGNMENTS] = {
		rseq_write_0, rseq_write_1, rseq_write_2, rseq_write_3,
	};
	const uint64_t nr = RING_BYTES / space_of(run->bench->bytes) / 8 * 8;
	double values[NR_BATCHES];

	for (unsigned int i = 0; i < NR_BATCHES; i++) {
		double start = bench_now();

		loops[i % BENCH_ALIGNMENTS](run, nr);
		values[i] = (bench_now() - start) / (double)nr;
		drain(run->state);
	}
	return bench_median(values, NR_BATCHES);
}

/* A record is its length and its data in one piece; behind the end there is room for it. */
struct own_ring {
	char *data;
	size_t head, tail;
};

static __thread struct own_ring own_ring __attribute__((aligned(BENCH_LINE)));

static char *make_data(void)
{
	return calloc(1, RING_BYTES + sizeof(size_t) + MAX_RECORD);
}

/* A single thread keeps it, so that its pages are there from the second round on. */
static void make_own_ring(void)
{
	if (!own_ring.data)
		own_ring.data = make_data();
	if (!own_ring.data)
		abort();
}

static void free_own_ring(void)
{
	free(own_ring.data);
	own_ring.data = NULL;
	own_ring.head = own_ring.tail = 0;
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

static inline __attribute__((always_inline)) void make_room(struct own_ring *own, size_t bytes)
{
	while (own->head + space_of(bytes) - own->tail > RING_BYTES) {
		size_t oldest;

		memcpy(&oldest, place_of(own, own->tail), sizeof(oldest));
		own->tail += space_of(oldest);
	}
}

/* The same, but that it knows where its oldest record begins. */
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
		make_room(own, bytes);
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

/* One ring for all threads, which can be read as well. */
static struct {
	pthread_mutex_t mutex __attribute__((aligned(BENCH_LINE)));
	struct own_ring ring;
} locked = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static int setup_locked(struct bench_run *run)
{
	(void)run;
	locked.ring = (struct own_ring){ .data = make_data() };
	return locked.ring.data ? 0 : -1;
}

static void teardown_locked(struct bench_run *run)
{
	(void)run;
	free(locked.ring.data);
}

BENCH_BODY(mutex_write)
{
	size_t bytes = run->bench->bytes;
	char record[MAX_RECORD];

	memset(record, 1, sizeof(record));
	BENCH_HIDE(bytes);
	BENCH_REPEAT(nr,
		pthread_mutex_lock(&locked.mutex);
		make_room(&locked.ring, bytes);
		append(&locked.ring, record, bytes);
		pthread_mutex_unlock(&locked.mutex);
	)
}
BENCH_LOOPS(mutex_write)

#define OVERWRITING								\
	BENCH_VARIANT("rseq_ring_write", setup_ring, teardown_ring, rseq_write),	\
	BENCH_VARIANT("TLS ring", NULL, teardown_tls, tls_readable),		\
	BENCH_VARIANT("TLS ring that nobody can read", NULL, teardown_tls, tls_write),	\
	BENCH_VARIANT("one ring and mutex", setup_locked, teardown_locked, mutex_write),	\
	{ .name = "liburcu wfcqueue, oldest node reused", .peer = "urcu_ring" }

static const struct bench_variant writes[] = {
	OVERWRITING,
	{ .name = "Concurrency Kit ring, fixed size, oldest dequeued", .peer = "ck_ring" },
	{ .name = "rseq_ring_write, read in between", .setup = setup_drained,
	  .teardown = teardown_ring, .measure = measure_drained },
	{ 0 },
};

/*
 * Many threads: nobody would know when there is no more room. Writers of Concurrency Kit's ring
 * wait for one that was preempted until it runs again: with more threads than CPUs that takes
 * minutes.
 */
static const struct bench_variant threads_write[] = {
	OVERWRITING,
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
	  .bytes = 64, .threads = 64, .scales = true, .variants = threads_write },
	{ 0 },
};
