/* SPDX-License-Identifier: MIT */
/*
 * ring.c: what a ring's writers do out of their sections.
 */
#include "ring-internal.h"

#include <rseq/fence.h>
#include <rseq/ops.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIN_SIZE	4096
#define MAX_SIZE	((size_t)1 << 30)

/* How far ahead the oldest records are fetched, in records like the one at hand. */
#define NR_AHEAD	8

/* Of the words before a record, in bytes, at most: position, time, length. */
#define MAX_HEADER	24

unsigned int rseq_ring_process = 1;

static void after_fork_in_child(void)
{
	rseq_ring_process++;
}

struct rseq_ring *rseq_ring_create(size_t bytes_per_cpu, unsigned int flags)
{
	return rseq_ring_create_mode(bytes_per_cpu, flags, RSEQ_PERCPU_CPU_ID);
}

static int map_data(struct ring *ring)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	ring->stride = (ring->size + ring->max_len + MAX_HEADER + page - 1) & ~(page - 1);
	ring->map_len = 2 * (size_t)rseq_get_max_nr_cpus() * ring->stride;
	ring->data = mmap(NULL, ring->map_len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ring->data == MAP_FAILED) {
		errno = ENOMEM;
		return -1;
	}
	/* A huge page is memory of CPUs that write nothing. */
	madvise(ring->data, ring->map_len, MADV_NOHUGEPAGE);
	return 0;
}

static struct ring *allocate(size_t bytes, unsigned int flags)
{
	const size_t nr_cpus = (size_t)rseq_get_max_nr_cpus();
	struct ring *ring = calloc(1, sizeof(*ring) + nr_cpus * sizeof(ring->reading[0]));

	if (!ring)
		return NULL;
	ring->flags = flags;
	ring->size = MIN_SIZE;
	while (ring->size < bytes)
		ring->size *= 2;
	ring->max_len = ring->size - 32;
	if (ring->max_len > RSEQ_RING_MAX_RECORD)
		ring->max_len = RSEQ_RING_MAX_RECORD;
	ring->shown.mask = ring->size - 1;
	ring->shown.inline_len = flags & RSEQ_RING_TIMESTAMP ? 0 : ring->max_len;
	return ring;
}

struct rseq_ring *rseq_ring_create_mode(size_t bytes_per_cpu, unsigned int flags,
		enum rseq_percpu_mode mode)
{
	static pid_t watch;
	int saved_errno = errno;
	struct ring *ring;

	if (!bytes_per_cpu || bytes_per_cpu > MAX_SIZE ||
	    flags & ~(RSEQ_RING_OVERWRITE | RSEQ_RING_TIMESTAMP)) {
		errno = EINVAL;
		return NULL;
	}
	if (rseq_watch_fork(&watch, NULL, NULL, after_fork_in_child))
		return NULL;
	ring = allocate(bytes_per_cpu, flags);
	if (!ring)
		return NULL;
	if (rseq_percpu_set_id(&ring->shown.rows.id, mode))
		goto error;
	ring->shown.rows.first = rseq_percpu_zalloc(sizeof(struct row));
	if (!ring->shown.rows.first)
		goto error;
	if (map_data(ring))
		goto error_rows;
	errno = saved_errno;
	return &ring->shown;
error_rows:
	rseq_percpu_free(ring->shown.rows.first);
	errno = ENOMEM;
error:
	free(ring);
	return NULL;
}

int rseq_ring_destroy(struct rseq_ring *shown)
{
	struct ring *ring = ring_of(shown);
	int saved_errno = errno;

	if (!ring)
		return 0;
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		if (!rseq_ring_begin_read(ring, cpu))
			continue;
		while (cpu--)
			rseq_ring_end_read(ring, cpu);
		return -1;
	}
	munmap(ring->data, ring->map_len);
	rseq_percpu_free(ring->shown.rows.first);
	free(ring);
	errno = saved_errno;
	return 0;
}

/*
 * Passes as many records as have to go, and more, so that not every write has to do this. Where a
 * record begins depends on the length of the one before, 9 cycles each. A processor that expects it
 * to be as long as the one before that goes on meanwhile: it guesses at branches, not at lengths.
 */
static bool pass_oldest(const struct part *part, struct cursor *tail, uintptr_t head, size_t need)
{
	const size_t size = part->ring->size, wanted = need > size / 8 ? need : size / 8;
	struct cursor at = *tail;
	size_t expected = 0, taken = 0;

	while (at.position != head && at.position + size - head < wanted) {
		size_t len = len_at(part, at.position, head);

		if (!len)
			return false;
		if (len != expected) {
			expected = len;
			taken = size_of(part, len);
			__asm__ __volatile__ ("" : "+r" (expected), "+r" (taken));
		}
		__builtin_prefetch(record_at(part, at.position + NR_AHEAD * taken), 1);
		at.position += taken;
		at.mark.records++;
		at.mark.bytes += expected;
	}
	*tail = at;
	return true;
}

/* Whether a section stored value to a word, which was expected, in the row of id. */
static bool store(const struct ring *ring, uintptr_t *word, uintptr_t expected, uintptr_t value,
		int id)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(&ring->shown.rows);

	return !rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, (intptr_t *)word,
					  (intptr_t)expected, (intptr_t)value, id);
}

/* Moves the tail of a first part, if it still is where it was. */
static bool drop_oldest(const struct part *part, uintptr_t word, uintptr_t head, size_t need,
		int id)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(&part->ring->shown.rows);
	const uintptr_t other = ~word & 1;
	struct cursor tail = { position_of(word), read_mark(part->tail, word) };

	if (!pass_oldest(part, &tail, head, need))
		return false;
	return !rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, mode,
			(intptr_t *)&part->tail->position, (intptr_t)word,
			&part->tail->marks[other], &tail.mark, sizeof(tail.mark),
			(intptr_t)(tail.position | other), id);
}

enum room {
	ROOM_THERE,
	ROOM_NONE,		/* and there will be none */
	ROOM_SOON,		/* one step was made */
	ROOM_ABORTED,
};

/*
 * One step of a registered thread towards room in the row that it is at. The limit is loaded
 * first: it is below what the others say then, and never goes back. The tail is loaded last: there
 * was no room when the head was what it was.
 */
static enum room make_room(struct ring *ring, size_t len)
{
	const int id = rseq_rows_current(&ring->shown.rows);
	const struct part part = part_of(ring, id);
	struct rseq_ring_row *writer = &part.row->writer;
	const size_t need = size_of(&part, len);
	uintptr_t limit = load(&writer->limit), head = load(&writer->head);
	uintptr_t tail = load(&part.tail->position);
	bool done;

	if (!RSEQ_READ_ONCE(writer->payload)) {
		done = store(ring, (uintptr_t *)&writer->payload, 0,
			     (uintptr_t)(part.data + part.header), id);
	} else if (limit != position_of(tail) + ring->size) {
		/* In every thread that does this: a signal may have come between tail and limit. */
		rseq_smp_mb();
		done = store(ring, &writer->limit, limit, position_of(tail) + ring->size, id);
	} else if (head + need <= limit) {
		return ROOM_THERE;
	} else if (!overwrites(ring)) {
		__atomic_fetch_add(&part.row->refused, 1, __ATOMIC_RELAXED);
		return ROOM_NONE;
	} else {
		done = drop_oldest(&part, tail, head, need, id);
	}
	return done ? ROOM_SOON : ROOM_ABORTED;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Called with the lock. */
static bool make_fallback_room(const struct part *part, uintptr_t head, size_t need)
{
	uintptr_t word = load(&part->tail->position);
	struct cursor tail = { position_of(word), read_mark(part->tail, word) };

	if (head + need - tail.position <= part->ring->size)
		return true;
	if (!overwrites(part->ring) || !pass_oldest(part, &tail, head, need)) {
		__atomic_fetch_add(&part->row->refused, 1, __ATOMIC_RELAXED);
		return false;
	}
	move_border(part->tail, &tail);
	rseq_smp_mb();
	return true;
}

static bool write_fallback(struct ring *ring, const void *record, size_t len)
{
	const int cpu = rseq_percpu_fallback_cpu();
	const struct row *first = rseq_percpu_row(ring->shown.rows.first, cpu);
	const struct part part = part_of(ring, rseq_get_max_nr_cpus() + cpu);
	uintptr_t head;
	sigset_t signals;
	bool room;

	rseq_fallback_lock(ring, &signals);
	__atomic_store_n(&ring->fallback_used, true, __ATOMIC_RELAXED);
	head = part.row->writer.head;
	room = make_fallback_room(&part, head, size_of(&part, len));
	if (room) {
		/* A reader may be there, to find out that what it reads was overwritten. */
		rseq_sanitize_ignore_writes(true);
		RSEQ_WRITE_ONCE(*word_at(&part, head, 0), load(&first->writer.head));
		if (ring->flags & RSEQ_RING_TIMESTAMP)
			RSEQ_WRITE_ONCE(*word_at(&part, head, part.header - 16), now());
		RSEQ_WRITE_ONCE(*word_at(&part, head, part.header - 8), len);
		memcpy(record_at(&part, head) + part.header, record, len);
		rseq_sanitize_ignore_writes(false);
		__atomic_store_n(&part.row->writer.head, head + size_of(&part, len),
				 __ATOMIC_RELEASE);
	}
	rseq_fallback_unlock(ring, &signals);
	return room;
}

static uintptr_t try_write(struct ring *ring, const void *record, size_t len)
{
	if (ring->flags & RSEQ_RING_TIMESTAMP)
		return rseq_ring_try_write_stamped(&ring->shown, record, len, now());
	return rseq_ring_try_write(&ring->shown, record, len);
}

/* Steps of make_room() when all of them are needed. */
#define ROOM_STEPS	4

/* Whether the record is written by a section. Says in *room if the ring refuses it. */
static bool write_by_section(struct ring *ring, const void *record, size_t len, uintptr_t tried,
		enum room *room)
{
	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		if (!rseq_thread_registered()) {
			if (!rseq_thread_register_lazily())
				return false;
		} else if (tried == RSEQ_RING_ABORTED) {
			rseq_count_abort();
		}
		tried = try_write(ring, record, len);
		if (tried > RSEQ_RING_FULL)
			return true;
		*room = tried == RSEQ_RING_FULL ? ROOM_SOON : ROOM_ABORTED;
		for (int i = 0; i < ROOM_STEPS && *room == ROOM_SOON; i++)
			*room = make_room(ring, len);
		if (*room == ROOM_NONE)
			return false;
	}
	return false;
}

int rseq_ring_write_slow(struct rseq_ring *shown, const void *record, size_t len, uintptr_t tried)
{
	struct ring *ring = ring_of(shown);
	enum room room = ROOM_THERE;
	int saved_errno = errno;

	if (!len || len > ring->max_len) {
		errno = len ? EMSGSIZE : EINVAL;
		return -1;
	}
	if (write_by_section(ring, record, len, tried, &room) ||
	    (room != ROOM_NONE && write_fallback(ring, record, len))) {
		errno = saved_errno;
		return 0;
	}
	errno = ENOSPC;
	return -1;
}
