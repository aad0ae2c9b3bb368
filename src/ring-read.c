/* SPDX-License-Identifier: MIT */
/*
 * ring-read.c: reading a ring, and its numbers.
 */
#include "ring-internal.h"

#include <errno.h>
#include <string.h>

/* While others move it. */
static struct cursor read_border(const struct border *border)
{
	struct cursor cursor;
	uintptr_t word, now = load(&border->position);

	do {
		word = now;
		cursor.position = position_of(word);
		cursor.mark = read_mark(border, word);
		rseq_smp_rmb();
		now = load(&border->position);
	} while (now != word);
	return cursor;
}

/* One part as a read finds it. */
struct source {
	struct part part;
	struct cursor cursor;
	uintptr_t first_head;		/* of the first part, when this was written */
	uint64_t time;
	size_t len;			/* 0: there is no record */
};

static bool is_overwritten(const struct part *part, uintptr_t where)
{
	rseq_smp_rmb();
	return overwrites(part->ring) && position(part->tail) > where;
}

/* The reader has lost what the tail has passed. */
static void catch_up(struct source *source)
{
	const uintptr_t nr_read = source->cursor.mark.read;

	if (!overwrites(source->part.ring) ||
	    position(source->part.tail) <= source->cursor.position)
		return;
	source->cursor = read_border(source->part.tail);
	source->cursor.mark.read = nr_read;
}

/* Finds the oldest record that was not read. -1 if the memory is not as writers leave it. */
static int look(struct source *source)
{
	const struct part *part = &source->part;
	const uintptr_t *where = &source->cursor.position;
	uintptr_t head;

	source->cursor = read_border(&part->row->reader);
	source->len = 0;
	do {
		catch_up(source);
		head = load(&part->row->writer.head);
		if (*where >= head)
			return 0;
		source->first_head = RSEQ_READ_ONCE(*word_at(part, *where, 0));
		if (part->ring->flags & RSEQ_RING_TIMESTAMP)
			source->time = RSEQ_READ_ONCE(*word_at(part, *where, part->header - 16));
		source->len = len_at(part, *where, head);
	} while (is_overwritten(part, *where));
	return source->len ? 0 : -1;
}

/*
 * Looks at both parts of a CPU, the first one first, and says which has the next record: the second
 * one, if the first was read up to where it was then. If the first one seems to be read up to its
 * end, and was not when the second was written, it has to be looked at again.
 */
static int choose(const struct ring *ring, int cpu, struct source sources[2],
		struct source **chosen)
{
	sources[0].part = part_of(ring, cpu);
	sources[1].part = part_of(ring, rseq_get_max_nr_cpus() + cpu);
	do {
		*chosen = &sources[0];
		if (look(&sources[0]))
			return -1;
		if (!__atomic_load_n(&ring->fallback_used, __ATOMIC_RELAXED))
			return 0;
		if (look(&sources[1]))
			return -1;
		if (!sources[1].len)
			return 0;
		/* The first part had come there, or this is not what its writer left. */
		if (sources[1].first_head > load(&sources[0].part.row->writer.head))
			return -1;
		if (sources[1].first_head <= sources[0].cursor.position)
			*chosen = &sources[1];
	} while (!(*chosen)->len);
	return 0;
}

/* Called by the one who reads this CPU. */
static ssize_t read_record(const struct ring *ring, int cpu, void *buf, size_t size, uint64_t *time)
{
	struct source sources[2] = { { .len = 0 } }, *from;
	uintptr_t where;

	do {
		if (choose(ring, cpu, sources, &from)) {
			errno = EIO;
			return -1;
		}
		if (!from->len)
			return 0;
		if (from->len > size) {
			errno = EMSGSIZE;
			return -1;
		}
		where = from->cursor.position;
		rseq_sanitize_acquire(handle_of(ring));
		memcpy(buf, record_at(&from->part, where) + from->part.header, from->len);
	} while (is_overwritten(&from->part, where));
	step(&from->part, &from->cursor, from->len);
	from->cursor.mark.read++;
	move_border(&from->part.row->reader, &from->cursor);
	if (time)
		*time = ring->flags & RSEQ_RING_TIMESTAMP ? from->time : 0;
	return (ssize_t)from->len;
}

/* A reader that another process had when it called fork() is none of this one's. */
int rseq_ring_begin_read(struct ring *ring, int cpu)
{
	unsigned int reading = __atomic_load_n(&ring->reading[cpu], __ATOMIC_RELAXED);

	if (reading != rseq_ring_process &&
	    __atomic_compare_exchange_n(&ring->reading[cpu], &reading, rseq_ring_process, false,
					__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return 0;
	errno = EBUSY;
	return -1;
}

void rseq_ring_end_read(struct ring *ring, int cpu)
{
	__atomic_store_n(&ring->reading[cpu], 0, __ATOMIC_RELEASE);
}

ssize_t rseq_ring_read_stamped(struct rseq_ring *handle, int cpu, void *buf, size_t size,
		uint64_t *time)
{
	struct ring *ring;
	ssize_t result;

	if (!handle || cpu < 0 || cpu >= rseq_get_max_nr_cpus() || (!buf && size)) {
		errno = EINVAL;
		return -1;
	}
	ring = ring_of(handle);
	if (rseq_ring_begin_read(ring, cpu))
		return -1;
	result = read_record(ring, cpu, buf, size, time);
	rseq_ring_end_read(ring, cpu);
	return result;
}

ssize_t rseq_ring_read(struct rseq_ring *ring, int cpu, void *buf, size_t size)
{
	return rseq_ring_read_stamped(ring, cpu, buf, size, NULL);
}

/* All that was written, found by walking from the tail, whose mark is left in *tail. */
static struct cursor walk_to_head(const struct part *part, struct cursor *tail)
{
	struct cursor cursor;
	uintptr_t head;

	do {
		cursor = *tail = read_border(part->tail);
		head = load(&part->row->writer.head);
		while (cursor.position < head) {
			size_t len = len_at(part, cursor.position, head);

			rseq_smp_rmb();
			if (!len || position(part->tail) > cursor.position)
				break;
			step(part, &cursor, len);
		}
	} while (cursor.position < head && position(part->tail) > cursor.position);
	return cursor;
}

static void add_part(const struct ring *ring, int index, struct rseq_ring_stat *stat)
{
	const struct part part = part_of(ring, index);
	struct cursor tail, all = walk_to_head(&part, &tail), reader;

	/* After the tail, so that nothing is lost that was read meanwhile. */
	reader = read_border(&part.row->reader);
	if (reader.mark.records < tail.mark.records)
		reader.mark.records = tail.mark.records;
	stat->records += all.mark.records;
	stat->bytes += all.mark.bytes;
	stat->read += reader.mark.read;
	stat->lost += reader.mark.records - reader.mark.read;
	stat->refused += __atomic_load_n(&part.row->refused, __ATOMIC_RELAXED);
}

int rseq_ring_stat(const struct rseq_ring *handle, int cpu, struct rseq_ring_stat *stat)
{
	const struct ring *ring;
	struct rseq_ring_stat known;
	size_t size;

	if (!handle || !stat || cpu < 0 || cpu >= rseq_get_max_nr_cpus() ||
	    stat->size < offsetof(struct rseq_ring_stat, bytes)) {
		errno = EINVAL;
		return -1;
	}
	ring = ring_of(handle);
	memset(&known, 0, sizeof(known));
	size = stat->size < sizeof(known) ? stat->size : sizeof(known);
	known.size = size;
	add_part(ring, cpu, &known);
	if (__atomic_load_n(&ring->fallback_used, __ATOMIC_RELAXED))
		add_part(ring, rseq_get_max_nr_cpus() + cpu, &known);
	if (stat->size > size)
		memset((char *)stat + size, 0, stat->size - size);
	memcpy(stat, &known, size);
	return 0;
}
