/* SPDX-License-Identifier: MIT */
/*
 * ring-internal.h: what ring.c, which writes, and ring-read.c know of a ring.
 *
 * A ring has two parts for each CPU: the first is written by that CPU's sections, the second by
 * threads without rseq, under the ring's lock. Each record of a second part says where the head of
 * the first was when it was written; the reader, which loads the first head before the second one,
 * delivers it when it has read the first part up to there. So a thread that goes from one part to
 * the other finds its records in order: those before are below that position, those after are not,
 * and whoever sees these sees the one between.
 *
 * The tail is where the oldest record begins. The reader moves it; with RSEQ_RING_OVERWRITE writers
 * do, and the reader has a position of its own. A writer obeys its limit, which it sets to the tail
 * and the size when it comes there, with a fence in between: who sees a byte of a new record sees
 * that the tail has left the old one. (No limit is further from the head than the longest record
 * takes: so one comparison is all that a section needs.)
 */
#ifndef RSEQ_RING_INTERNAL_H
#define RSEQ_RING_INTERNAL_H

#include "percpu.h"

#include <rseq/ring.h>

/* How many records there are before a position, bytes in them, and how many of them were read. */
struct mark {
	uintptr_t records;
	uintptr_t bytes;
	uintptr_t read;
};

/*
 * A position that moves on together with its mark, in one store: its lowest bit, which is not part
 * of it, says which mark is meant, and the other one is free to be written.
 */
struct border {
	uintptr_t position;		/* atomic */
	struct mark marks[2];
};

struct row {
	struct rseq_ring_row writer;
	uintptr_t unused[2];
	struct border tail;		/* with RSEQ_RING_OVERWRITE */
	uintptr_t refused;		/* atomic */
	struct border reader;
	uintptr_t unused_too;
	struct ring *ring;		/* in the first row, in a line that nobody writes to */
};

/* What no section needs to know. */
struct ring {
	struct rseq_rows rows;
	unsigned int flags;
	bool fallback_used;		/* atomic */
	size_t size;			/* of a part's data */
	size_t stride;			/* from one part's data to the next */
	size_t max_len;
	size_t map_len;
	char *data;
	unsigned int reading[];		/* atomic; for each CPU the process that reads, or 0 */
};

/* One of the parts, found. */
struct part {
	const struct ring *ring;
	struct row *row;
	char *data;
	size_t header;
	struct border *tail;
};

struct cursor {
	uintptr_t position;
	struct mark mark;
};

/* ring.c: counts the generations of processes: a child does not wait for its parent's readers. */
extern unsigned int rseq_ring_process rseq_hidden;

static inline struct ring *ring_of(const struct rseq_ring *handle)
{
	const struct row *first = rseq_percpu_row(rseq_rows_of(handle).first, 0);

	return first->ring;
}

static inline struct rseq_ring *handle_of(const struct ring *ring)
{
	return rseq_rows_handle(&ring->rows);
}

static inline bool overwrites(const struct ring *ring)
{
	return ring->flags & RSEQ_RING_OVERWRITE;
}

static inline struct part part_at(const struct ring *ring, int index, bool second)
{
	struct row *row = rseq_percpu_row(ring->rows.first, index);

	return (struct part) {
		.ring = ring,
		.row = row,
		.data = ring->data + (size_t)index * ring->stride,
		.header = 8U + (ring->flags & RSEQ_RING_TIMESTAMP ? 8U : 0) + (second ? 8U : 0),
		.tail = overwrites(ring) ? &row->tail : &row->reader,
	};
}

static inline struct part part_of(const struct ring *ring, int index)
{
	return part_at(ring, index, index >= rseq_get_max_nr_cpus());
}

static inline uintptr_t load(const uintptr_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uintptr_t position_of(uintptr_t word)
{
	return word & ~(uintptr_t)1;
}

static inline uintptr_t position(const struct border *border)
{
	return position_of(load(&border->position));
}

/* The mark that belongs to a border's word, which may have moved on since. */
static inline struct mark read_mark(const struct border *border, uintptr_t word)
{
	const struct mark *mark = &border->marks[word & 1];

	return (struct mark) {
		.records = RSEQ_READ_ONCE(mark->records),
		.bytes = RSEQ_READ_ONCE(mark->bytes),
		.read = RSEQ_READ_ONCE(mark->read),
	};
}

/* The only one who moves it, but for sections. What moves it again comes after that. */
static inline void move_border(struct border *border, const struct cursor *to)
{
	const uintptr_t other = ~border->position & 1;
	struct mark *mark = &border->marks[other];

	rseq_smp_wmb();
	RSEQ_WRITE_ONCE(mark->records, to->mark.records);
	RSEQ_WRITE_ONCE(mark->bytes, to->mark.bytes);
	RSEQ_WRITE_ONCE(mark->read, to->mark.read);
	__atomic_store_n(&border->position, to->position | other, __ATOMIC_RELEASE);
}

static inline char *record_at(const struct part *part, uintptr_t where)
{
	return part->data + (where & (part->ring->size - 1));
}

static inline uintptr_t *word_at(const struct part *part, uintptr_t where, size_t offset)
{
	return (uintptr_t *)(void *)(record_at(part, where) + offset);
}

static inline size_t size_of(const struct part *part, size_t len)
{
	return RSEQ_RING_NEED(len, part->header / 8);
}

/* The length of a record, or 0 if there is none: it was overwritten meanwhile. */
static inline size_t len_at(const struct part *part, uintptr_t where, uintptr_t head)
{
	size_t len = RSEQ_READ_ONCE(*word_at(part, where, part->header - 8));

	if (!len || len > part->ring->max_len || size_of(part, len) > head - where)
		return 0;
	return len;
}

static inline void step(const struct part *part, struct cursor *cursor, size_t len)
{
	cursor->position += size_of(part, len);
	cursor->mark.records++;
	cursor->mark.bytes += len;
}

/* ring-read.c: 0, or -1 with errno EBUSY while another read of the CPU is under way. */
int rseq_ring_begin_read(struct ring *ring, int cpu) rseq_hidden;
void rseq_ring_end_read(struct ring *ring, int cpu) rseq_hidden;

#endif /* RSEQ_RING_INTERNAL_H */
