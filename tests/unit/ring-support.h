/* SPDX-License-Identifier: MIT */
/*
 * ring-support.h: what the tests of rings share: records that tell whether they are whole, and
 * reading whichever CPU has one.
 */
#ifndef RING_SUPPORT_H
#define RING_SUPPORT_H

#include "support.h"

#include <rseq/ring.h>

#include <sys/mman.h>
#include <time.h>

/* Lengths that ring_len() gives, at most. */
#define RING_LONGEST	400

static unsigned char ring_record[RSEQ_RING_MAX_RECORD + 1];
static unsigned char ring_buffer[RSEQ_RING_MAX_RECORD];

static inline unsigned char ring_byte(unsigned long number, size_t i)
{
	return (unsigned char)(number * 31 + i * 7 + (i >> 8));
}

static inline void ring_fill(unsigned long number, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ring_record[i] = ring_byte(number, i);
}

/* Whether the buffer has record number of this length. */
static inline bool ring_is(unsigned long number, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (ring_buffer[i] != ring_byte(number, i))
			return false;
	return true;
}

/* Lengths that differ from one number to the next. */
static inline size_t ring_len(unsigned long number)
{
	return 1 + number * 2654435761U % RING_LONGEST;
}

/* The next record of the first CPU that has one; 0 if none has. */
static inline ssize_t ring_read_any(struct rseq_ring *ring, uint64_t *time)
{
	ssize_t result = 0;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus() && !result; cpu++)
		result = rseq_ring_read_stamped(ring, cpu, ring_buffer, sizeof(ring_buffer), time);
	return result;
}

static inline void ring_stat_all(struct rseq_ring *ring, struct rseq_ring_stat *sum)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };

	memset(sum, 0, sizeof(*sum));
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		if (rseq_ring_stat(ring, cpu, &stat))
			abort();
		sum->records += stat.records;
		sum->bytes += stat.bytes;
		sum->read += stat.read;
		sum->lost += stat.lost;
		sum->refused += stat.refused;
	}
}

static inline uint64_t ring_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Keeps this thread on one CPU, and says on which. */
static inline int ring_stay(struct support_cpus *cpus)
{
	support_find_cpus(cpus);
	support_move(0, cpus->cpu[cpus->nr - 1]);
	return cpus->cpu[cpus->nr - 1];
}

/* Ends in a thread that the library does not register by itself. */
static inline void ring_go_without_rseq(void)
{
	void *area = rseq_get_abi();
	unsigned int length = support_registered_length(area);

	if (length)
		support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	if (!rseq_register_current_thread())
		rseq_unregister_current_thread();
}

/* KiB of the mapping around address that are this process's own, from /proc/self/smaps; or -1. */
static inline long ring_resident_kib(uintptr_t address)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false;
	long kib = -1, value;
	char line[512];

	if (!file)
		return -1;
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = address >= start && address < end;
		else if (inside && sscanf(line, "Rss: %ld", &value) == 1)
			kib = value;
	}
	fclose(file);
	return kib;
}

#endif /* RING_SUPPORT_H */
