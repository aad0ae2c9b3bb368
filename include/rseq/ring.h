/* SPDX-License-Identifier: MIT */
/*
 * rseq/ring.h: records of any length, buffered per CPU, for tracing.
 *
 * Who may run with whom: write, read, read_stamped and stat may run at the same time on any
 * threads, with or without rseq, in signal handlers too, but for one thing: of two reads of one
 * CPU, one returns EBUSY. create and destroy of other rings may run with all of these. Nothing may
 * run with, or after, destroy of the same ring, but for a read that began before.
 *
 * A read sees whole records, as they were written. Under one CPU the records of a thread come in
 * the order in which it wrote them, whether it had rseq all the time or not. A record that nobody
 * will read is counted.
 *
 * fork(): the child has a ring of its own, a copy in which it finds what had been written and not
 * read until then. Reading it, or writing to it, changes nothing in the parent.
 *
 * Memory: for each CPU that writes, bytes_per_cpu and behind them as much as its longest record,
 * from the pages that were written to, and 256 bytes in a row; the same once more for a CPU with
 * threads that have no rseq; one row more, 4 bytes for each possible CPU, and address space for its
 * data.
 */
#ifndef RSEQ_RING_H
#define RSEQ_RING_H

#include <rseq/section.h>

#include <stddef.h>
#include <sys/types.h>

RSEQ_BEGIN_DECLS

/* The text of a section is longer than the strings that ISO C promises. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"

/* Bytes of a record at most, where the ring holds that many. */
#define RSEQ_RING_MAX_RECORD	65536

/* Where there is no room for a record, the oldest ones go. */
#define RSEQ_RING_OVERWRITE	(1U << 0)

/* Each record has the time of its writing. */
#define RSEQ_RING_TIMESTAMP	(1U << 1)

/* Of no size: the pointer to it is a handle, see rseq/section.h. */
struct rseq_ring;

/*
 * What a CPU's sections look at. Positions count the bytes that were ever written; one that is
 * masked is an offset into the data. A record begins below the end of the data, and may extend
 * beyond, so that it is in one piece.
 */
struct rseq_ring_row {
	uintptr_t head;			/* position behind the newest record: the commit */
	uintptr_t limit;		/* position that head must not pass */
	char *payload;			/* of a record at offset 0; its length is before it */
	uintptr_t mask;			/* size of the data, less 1 */
	uintptr_t stamped_limit;	/* in a ring with timestamps, whose limit is 0 */
	uint64_t newest;		/* time of the newest record */
};

/* What a try of a write returns, if it did not succeed. */
#define RSEQ_RING_ABORTED	((uintptr_t)0)
#define RSEQ_RING_FULL		((uintptr_t)1)

/*
 * Make an empty ring of at least bytes_per_cpu for each CPU: a power of two from 4 KiB on. Each
 * record takes its length, 8 bytes, or 16 with RSEQ_RING_TIMESTAMP, and what aligns that to 8; a
 * thread without rseq takes 8 more. flags:
 *
 *	0			a ring without room refuses records
 *	RSEQ_RING_OVERWRITE	it loses the oldest ones instead, an eighth of its size at a time
 *	RSEQ_RING_TIMESTAMP	each record has a CLOCK_MONOTONIC time
 *
 * In rseq_ring_create_mode(), mode chooses what numbers its parts: RSEQ_PERCPU_MM_CID makes a
 * process with few threads use few of them, on whichever CPUs it runs. Where the kernel has no
 * mm_cid, that is RSEQ_PERCPU_CPU_ID, the one of rseq_ring_create().
 *
 * Returns: the ring, or NULL with errno ENOMEM, or EINVAL for 0 bytes, more than 1 GiB, other flags
 * or another mode.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools, and maps memory.
 */
RSEQ_API struct rseq_ring *rseq_ring_create(size_t bytes_per_cpu, unsigned int flags);
RSEQ_API struct rseq_ring *rseq_ring_create_mode(size_t bytes_per_cpu, unsigned int flags,
		enum rseq_percpu_mode mode);

/*
 * Free a ring, and the records in it. NULL is allowed and does nothing.
 *
 * Returns: 0, with errno kept; -1 with errno EBUSY while a read is under way, perhaps in the
 * function that this signal handler interrupted: then the ring is as it was.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools; O(CPUs).
 */
RSEQ_API int rseq_ring_destroy(struct rseq_ring *ring);

/*
 * Take the oldest record of a CPU; with mm_cid, cpu is such an id. rseq_ring_read_stamped() also
 * says when it was written, in nanoseconds of CLOCK_MONOTONIC, or 0 in a ring without timestamps.
 * Under one CPU times do not go back among the records of threads with rseq, nor among those of
 * threads without; between the two they may, by what a writer takes.
 *
 * Returns: the record's length in bytes, never 0; 0 if there is none. -1 with errno
 *	EMSGSIZE	it is longer than size; it stays
 *	EBUSY		another read of this CPU is under way, perhaps in the function that this
 *			signal handler interrupted
 *	EINVAL		ring is NULL, or buf is while size is not 0, or cpu is not possible
 *	EIO		somebody wrote over the ring's memory
 * Unless a record's length is returned, buf may have been written to, and *time was not.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire: what the writer did before the write is seen.
 * Progress: lock-free. With RSEQ_RING_OVERWRITE a read starts over when writers came round and took
 * the record it was at.
 */
RSEQ_API ssize_t rseq_ring_read(struct rseq_ring *ring, int cpu, void *buf, size_t size);
RSEQ_API ssize_t rseq_ring_read_stamped(struct rseq_ring *ring, int cpu, void *buf, size_t size,
		uint64_t *time);

/* Numbers of one CPU, since the ring was made. */
struct rseq_ring_stat {
	size_t size;			/* of this struct, as the caller knows it */
	uint64_t records;		/* written */
	uint64_t bytes;			/* in these, as the writers gave them */
	uint64_t read;			/* records that were read */
	uint64_t lost;			/* records that were overwritten before they were read */
	uint64_t refused;		/* writes that returned ENOSPC */
};

/*
 * Fill in *stat as far as stat->size reaches. What is written and neither read nor lost can be
 * read. Exact when no write or read is under way; otherwise each number is one that it had
 * meanwhile.
 *
 * Returns: 0, or -1 with errno EINVAL if a pointer is NULL, cpu is not possible, or size does not
 * reach to the end of records.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire.
 * Progress: lock-free; O(records in the ring). Starts over as rseq_ring_read() does.
 */
RSEQ_API int rseq_ring_stat(const struct rseq_ring *ring, int cpu, struct rseq_ring_stat *stat);

/*
 * What rseq_ring_write() does when its section does not succeed, or the record is none that it
 * takes: register the thread if nobody tried, make room, try again a few times, then write under a
 * lock. tried is what the try returned.
 *
 * Returns, Context, Ordering: as rseq_ring_write().
 * Progress: a thread without rseq takes the ring's lock, with signals blocked.
 */
RSEQ_API int rseq_ring_write_slow(struct rseq_ring *ring, const void *record, size_t len,
		uintptr_t tried);

/*
 * Lengths without the words before them, and what a section does with them. Registers: row, at
 * (the record's payload) and end (its end's position). What the comparisons change is among the
 * registers of the copy.
 */
#define RSEQ_RING_SECTION(operation, before, limit, stamp)				\
	RSEQ_SECTION_BEGIN								\
	RSEQ_ASM_INDEX_BY("rows", "id", RSEQ_ASM_ABORT_LABEL)				\
	RSEQ_ASM_GET_ROW(RSEQ_ASM_REG("row"), "rows")					\
	before										\
	RSEQ_ASM_GET(RSEQ_ASM_REG("at"), RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "0"))	\
	RSEQ_ASM_GET_SUM(RSEQ_ASM_REG("end"), RSEQ_ASM_REG("at"), RSEQ_ASM_REG("need"))	\
	RSEQ_ASM_BA_AT(RSEQ_ASM_REG("end"), RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), limit),	\
		       RSEQ_ASM_RESULT_LABEL("full"))					\
	RSEQ_ASM_AND_AT(RSEQ_ASM_REG("at"), RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "24"))	\
	RSEQ_ASM_ADD_AT(RSEQ_ASM_REG("at"), RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "16"))	\
	stamp										\
	RSEQ_ASM_SCRATCH("length")							\
	RSEQ_ASM_PUT(RSEQ_ASM_REG("len"), RSEQ_ASM_AT_REG(RSEQ_ASM_REG("at"), "-8"))	\
	RSEQ_ASM_COPY("at", "record", "len")						\
	RSEQ_ASM_PUT_RELEASE(RSEQ_ASM_REG("end"), RSEQ_ASM_REG("row"))			\
	RSEQ_SECTION_END								\
	RSEQ_SECTION_RESULTS(operation, "end", "0",					\
			     RSEQ_SECTION_RESULT("full", "end", "1"))

#define RSEQ_RING_RESULTS								\
	[row] "=&r" (row), [at] "=&r" (at), [end] "=&r" (end)

/* What a record takes with the words before it. */
#define RSEQ_RING_NEED(len, words)	(((len) + 8 * (words) + 7) & ~(size_t)7)

/*
 * Try to write a record, once, to a ring without timestamps. len is from 1 to RSEQ_RING_MAX_RECORD.
 *
 * Returns: a number above RSEQ_RING_FULL when it is written. RSEQ_RING_FULL when there may be no
 * room, or the ring has timestamps; RSEQ_RING_ABORTED when the section was aborted or the thread is
 * not registered. Then nothing is written.
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who reads the record.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) uintptr_t rseq_ring_try_write(struct rseq_ring *ring,
		const void *record, size_t len)
{
	struct rseq_rows rows = rseq_rows_of(ring);
	uintptr_t row, at, end;

	rseq_sanitize_release(ring);
	__asm__ __volatile__ (
		RSEQ_RING_SECTION("ring_write", /* nothing */, "8", /* no time */)
		: RSEQ_RING_RESULTS
		: RSEQ_SECTION_ROWS(&rows), [record] "r" (record), [len] "r" (len),
		  [need] "r" (RSEQ_RING_NEED(len, 1))
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_COPY_CLOBBERS);
	return end;
}

/*
 * The same for a ring with timestamps, and any length that rseq_ring_write() takes. A try whose
 * time is before the newest record's counts as aborted.
 */
RSEQ_INLINE __attribute__((nonnull)) uintptr_t rseq_ring_try_write_stamped(struct rseq_ring *ring,
		const void *record, size_t len, uint64_t time)
{
	struct rseq_rows rows = rseq_rows_of(ring);
	uintptr_t row, at, end;

	rseq_sanitize_release(ring);
	__asm__ __volatile__ (
		RSEQ_RING_SECTION("ring_write_stamped",
			RSEQ_ASM_BB_AT(RSEQ_ASM_REG("time"),
				       RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "40"),
				       RSEQ_ASM_ABORT_LABEL),
			"32",
			RSEQ_ASM_SCRATCH("time")
			RSEQ_ASM_PUT(RSEQ_ASM_REG("time"),
				     RSEQ_ASM_AT_REG(RSEQ_ASM_REG("at"), "-16"))
			/* Left by an aborted try, it is the time of no record, and harmless. */
			RSEQ_ASM_SCRATCH("newest")
			RSEQ_ASM_PUT(RSEQ_ASM_REG("time"),
				     RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "40")))
		: RSEQ_RING_RESULTS
		: RSEQ_SECTION_ROWS(&rows), [record] "r" (record), [len] "r" (len),
		  [need] "r" (RSEQ_RING_NEED(len, 2)), [time] "r" (time)
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_COPY_CLOBBERS);
	return end;
}

#undef RSEQ_RING_SECTION
#undef RSEQ_RING_RESULTS

/*
 * Write a record of len bytes. Nothing may be NULL.
 *
 * Returns: 0. -1 with errno
 *	ENOSPC		there is no room, in a ring without RSEQ_RING_OVERWRITE; this is counted
 *	EMSGSIZE	it is longer than RSEQ_RING_MAX_RECORD, or than an empty ring less 32
 *	EINVAL		len is 0
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who reads the record.
 * Progress: wait-free where rseq works; a thread without it takes a lock. To make room with
 * RSEQ_RING_OVERWRITE takes O(records) that go.
 */
RSEQ_INLINE __attribute__((nonnull)) int rseq_ring_write(struct rseq_ring *ring,
		const void *record, size_t len)
{
	uintptr_t tried = RSEQ_RING_FULL;

	if (rseq_likely(len - 1 < RSEQ_RING_MAX_RECORD)) {
		tried = rseq_ring_try_write(ring, record, len);
		if (rseq_likely(tried > RSEQ_RING_FULL))
			return 0;
	}
	return rseq_ring_write_slow(ring, record, len, tried);
}

#pragma GCC diagnostic pop

RSEQ_END_DECLS

#endif /* RSEQ_RING_H */
