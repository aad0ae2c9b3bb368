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

/* What the longest record leaves of an empty ring, all kinds of words before it included. */
#define SPARE		32

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
	ring->max_len = ring->size - SPARE;
	if (ring->max_len > RSEQ_RING_MAX_RECORD)
		ring->max_len = RSEQ_RING_MAX_RECORD;
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
	if (rseq_percpu_set_id(&ring->rows.id, mode))
		goto error;
	ring->rows.first = rseq_percpu_zalloc(sizeof(struct row));
	if (!ring->rows.first)
		goto error;
	if (map_data(ring))
		goto error_rows;
	((struct row *)rseq_percpu_row(ring->rows.first, 0))->ring = ring;
	errno = saved_errno;
	return handle_of(ring);
error_rows:
	rseq_percpu_free(ring->rows.first);
	errno = ENOMEM;
error:
	free(ring);
	return NULL;
}

int rseq_ring_destroy(struct rseq_ring *handle)
{
	int saved_errno = errno;
	struct ring *ring;

	if (!handle)
		return 0;
	ring = ring_of(handle);
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		if (!rseq_ring_begin_read(ring, cpu))
			continue;
		while (cpu--)
			rseq_ring_end_read(ring, cpu);
		return -1;
	}
	munmap(ring->data, ring->map_len);
	rseq_percpu_free(ring->rows.first);
	free(ring);
	errno = saved_errno;
	return 0;
}

/*
 * Passes records up to the goal or the end of the data. Where one begins depends on the length of
 * the one before, 9 cycles each. A processor that expects it to be as long as the one before that
 * goes on meanwhile: it guesses at branches, not at lengths.
 */
RSEQ_INLINE bool pass_some(const struct part *part, struct cursor *at, uintptr_t goal)
{
	const uintptr_t lap = (at->position | (part->ring->size - 1)) + 1;
	const uintptr_t *first = word_at(part, at->position, part->header - 8), *next = first;
	const uintptr_t *end = first + ((goal < lap ? goal : lap) - at->position) / sizeof(*end);
	/* Not 0, which is what may be there when others have written over it. */
	size_t expected = 1, taken = size_of(part, 1) / sizeof(*next), nr = 0;

	for (; next < end; next += taken) {
		size_t len = RSEQ_READ_ONCE(*next);

		if (len != expected) {
			if (len - 1 >= part->ring->max_len)
				return false;
			at->mark.records += nr;
			at->mark.bytes += nr * expected;
			nr = 0;
			expected = len;
			taken = size_of(part, len) / sizeof(*next);
			__asm__ __volatile__ ("" : "+r" (expected), "+r" (taken));
			__builtin_prefetch(next + NR_AHEAD * taken, 1);
		}
		nr++;
	}
	at->mark.records += nr;
	at->mark.bytes += nr * expected;
	at->position += (uintptr_t)(next - first) * sizeof(*next);
	return true;
}

/* Passes as many records as have to go, and more, so that not every write has to do this. */
RSEQ_INLINE bool pass_oldest(const struct part *part, struct cursor *tail, uintptr_t head,
		size_t need)
{
	const size_t size = part->ring->size;
	const uintptr_t goal = head - size + (need > size / 8 ? need : size / 8);

	while (tail->position < goal)
		if (!pass_some(part, tail, goal))
			return false;
	/* Others may have written over them, and moved the tail. */
	return tail->position <= head;
}

/* Whether a section stored value to a word, which was expected, in the row of id. */
static bool store(const struct ring *ring, uintptr_t *word, uintptr_t expected, uintptr_t value,
		int id)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(&ring->rows);

	return !rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, (intptr_t *)word,
					  (intptr_t)expected, (intptr_t)value, id);
}

/* Stored at once, so that a copy need not wait for one store after the other. */
typedef uintptr_t words __attribute__((vector_size(2 * sizeof(uintptr_t))));

/* Moves the tail of a first part, if it still is where *word says, and says where it is then. */
static bool drop_oldest(const struct part *part, uintptr_t *word, uintptr_t head, size_t need,
		int id)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(&part->ring->rows);
	const uintptr_t other = ~*word & 1;
	struct cursor tail = { position_of(*word), read_mark(part->tail, *word) };
	words mark;

	if (!pass_oldest(part, &tail, head, need))
		return false;
	/* A tail has nothing in its mark's last word. */
	mark = (words) { tail.mark.records, tail.mark.bytes };
	if (rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, mode,
			(intptr_t *)&part->tail->position, (intptr_t)*word,
			&part->tail->marks[other], &mark, sizeof(mark),
			(intptr_t)(tail.position | other), id))
		return false;
	*word = tail.position | other;
	return true;
}

/* The limit that this ring's sections look at. */
static uintptr_t *limit_word(const struct part *part)
{
	struct rseq_ring_row *writer = &part->row->writer;

	return part->ring->flags & RSEQ_RING_TIMESTAMP ? &writer->stamped_limit : &writer->limit;
}

/* Whether a row has what never changes. Before it has a limit, no section looks at it. */
static bool prepare(const struct part *part, int id)
{
	struct rseq_ring_row *writer = &part->row->writer;

	return store(part->ring, &writer->mask, RSEQ_READ_ONCE(writer->mask), part->ring->size - 1,
		     id) &&
	       store(part->ring, (uintptr_t *)&writer->payload,
		     (uintptr_t)RSEQ_READ_ONCE(writer->payload),
		     (uintptr_t)(part->data + part->header), id);
}

/*
 * What limit belongs to a head and a tail. It keeps from the sections what is longer than the ring
 * takes, even if it is empty.
 */
static uintptr_t limit_of(const struct part *part, uintptr_t head, uintptr_t tail)
{
	const uintptr_t room = position_of(tail) + part->ring->size;
	const uintptr_t longest = head + size_of(part, part->ring->size - SPARE);

	return room < longest ? room : longest;
}

enum room {
	ROOM_THERE,
	ROOM_NONE,		/* and there will be none */
	ROOM_SOON,		/* one step of some was made */
	ROOM_ABORTED,
};

/*
 * What a registered thread does for room in the row that it is at: sets the limit anew if that is
 * enough, else moves the tail before. The limit is loaded first: it is below what the others say
 * then, and never goes back. The tail is loaded last: there was no room when the head was what it
 * was.
 */
static enum room make_room(struct ring *ring, size_t len)
{
	const int id = rseq_rows_current(&ring->rows);
	const struct part part = part_at(ring, id, false);
	const size_t need = size_of(&part, len);
	uintptr_t *word = limit_word(&part), limit = load(word);
	uintptr_t head = load(&part.row->writer.head), tail = load(&part.tail->position);
	uintptr_t next = limit_of(&part, head, tail);

	if (!limit && !prepare(&part, id))
		return ROOM_ABORTED;
	if (limit == next) {
		if (head + need <= limit)
			return ROOM_THERE;
		if (!overwrites(ring)) {
			__atomic_fetch_add(&part.row->refused, 1, __ATOMIC_RELAXED);
			return ROOM_NONE;
		}
		if (!drop_oldest(&part, &tail, head, need, id))
			return ROOM_ABORTED;
		next = limit_of(&part, head, tail);
	}
	/*
	 * Who sees a byte that the limit allows sees the tail: by the fence if this thread moved
	 * it, perhaps in a function that this signal handler interrupted, and else because the tail
	 * was loaded with acquire.
	 */
	rseq_smp_wmb();
	if (!store(ring, word, limit, next, id))
		return ROOM_ABORTED;
	return head + need <= next ? ROOM_THERE : ROOM_SOON;
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
	const struct row *first = rseq_percpu_row(ring->rows.first, cpu);
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
		return rseq_ring_try_write_stamped(handle_of(ring), record, len, now());
	return rseq_ring_try_write(handle_of(ring), record, len);
}

/* Steps of make_room() when all of them are needed: to the first limit, to the next, to room. */
#define ROOM_STEPS	3

/* Whether the record is written by a section; keeps errno. Says in *room if the ring refuses it. */
static bool write_by_section(struct ring *ring, const void *record, size_t len, uintptr_t tried,
		enum room *room)
{
	/* The caller tries no record that is to have a time. */
	bool full = tried == RSEQ_RING_FULL && !(ring->flags & RSEQ_RING_TIMESTAMP);

	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		if (!rseq_thread_registered()) {
			if (!rseq_thread_register_lazily())
				return false;
		} else if (tried == RSEQ_RING_ABORTED) {
			rseq_count_abort();
		}
		if (full) {
			*room = ROOM_SOON;
			for (int i = 0; i < ROOM_STEPS && *room == ROOM_SOON; i++)
				*room = make_room(ring, len);
			if (*room == ROOM_NONE)
				return false;
		}
		tried = try_write(ring, record, len);
		if (tried > RSEQ_RING_FULL)
			return true;
		full = tried == RSEQ_RING_FULL;
	}
	return false;
}

int rseq_ring_write_slow(struct rseq_ring *handle, const void *record, size_t len, uintptr_t tried)
{
	struct ring *ring = ring_of(handle);
	enum room room = ROOM_THERE;
	int saved_errno;

	if (!len || len > ring->max_len) {
		errno = len ? EMSGSIZE : EINVAL;
		return -1;
	}
	if (write_by_section(ring, record, len, tried, &room))
		return 0;
	saved_errno = errno;
	if (room != ROOM_NONE && write_fallback(ring, record, len)) {
		errno = saved_errno;
		return 0;
	}
	errno = ENOSPC;
	return -1;
}
