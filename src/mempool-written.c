/* SPDX-License-Identifier: MIT */
/*
 * mempool-written.c: which rows of a range were written to, as the kernel's page tables have it.
 */
#include "mempool-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What /proc/PID/pagemap says of a page (Documentation/admin-guide/mm/pagemap.rst). */
#define PRESENT		((uint64_t)1 << 63)
#define SWAPPED		((uint64_t)1 << 62)
#define OF_FILE		((uint64_t)1 << 61)

#define CHUNK		512

/* The same for ranges of pages, which Linux 6.7 and later tell with less work (linux/fs.h). */
struct region {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN		_IOWR('f', 16, struct scan)
#define SCAN_FILE	((uint64_t)1 << 2)
#define SCAN_PRESENT	((uint64_t)1 << 3)
#define SCAN_SWAPPED	((uint64_t)1 << 4)
#define SCAN_ZERO	((uint64_t)1 << 5)

#define MAX_REGIONS	64

/* Pages of the rows, and the one before them. */
static size_t count_pages(const struct mempool_range *range, size_t page)
{
	size_t len = (size_t)range->pool->nr_rows * range->pool->attr.stride;

	return (len + page - 1) / page + 1;
}

size_t rseq_range_count_pages(const struct mempool_range *range)
{
	return count_pages(range, (size_t)sysconf(_SC_PAGESIZE));
}

/* A page of the process's own, in memory or not; one of zeros that was only read may count, too. */
static bool is_written(uint64_t entry)
{
	return entry & (PRESENT | SWAPPED) && !(entry & OF_FILE);
}

/*
 * Rows need not begin at pages: one of these may belong to several. The last one may hold bytes
 * behind the rows.
 */
static void mark_rows(const struct rseq_mempool *pool, size_t offset, size_t len, uint64_t *rows)
{
	size_t last = (offset + len - 1) / pool->attr.stride;

	for (size_t row = offset / pool->attr.stride; row <= last; row++)
		if (row < (size_t)pool->nr_rows)
			rows[row / 64] |= (uint64_t)1 << row % 64;
}

/* Marks what is behind the first page, and says whether that is among the region's pages. */
static bool mark_region(const struct mempool_range *range, const struct region *region, size_t page,
		uint64_t *rows)
{
	const uintptr_t first = (uintptr_t)range->rows;
	const bool whole = region->start < first;
	const uintptr_t start = whole ? first : (uintptr_t)region->start;

	if (region->end > start)
		mark_rows(range->pool, start - first, (size_t)region->end - start, rows);
	return whole && region->start == first - page;
}

static bool scan(int file, const struct mempool_range *range, uint64_t *rows)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const uintptr_t start = (uintptr_t)range->rows - page;
	const uint64_t end = start + count_pages(range, page) * page;
	struct region regions[MAX_REGIONS] = { { 0 } };	/* valgrind does not know this call */
	struct scan arg = {
		.size = sizeof(arg), .start = start, .end = end,
		.vec = (uintptr_t)regions, .vec_len = MAX_REGIONS,
		.category_inverted = SCAN_FILE | SCAN_ZERO,
		.category_mask = SCAN_FILE | SCAN_ZERO,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT,
	};
	bool found_first = false;

	for (; arg.start < end; arg.start = arg.walk_end) {
		long nr = syscall(SYS_ioctl, file, SCAN, &arg);

		if (nr < 0 || nr > MAX_REGIONS || arg.walk_end <= arg.start)
			return false;
		for (long i = 0; i < nr; i++)
			found_first |= mark_region(range, &regions[i], page, rows);
	}
	return found_first;
}

static bool read_entries(int file, const struct mempool_range *range, uint64_t *rows)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), nr = count_pages(range, page);
	const uintptr_t first = (uintptr_t)range->rows / page - 1;
	uint64_t entries[CHUNK];

	for (size_t done = 0; done < nr; done += CHUNK) {
		size_t chunk = nr - done < CHUNK ? nr - done : CHUNK;
		long length = (long)(chunk * sizeof(entries[0]));

		if (syscall(SYS_pread64, file, entries, length,
			    (long)((first + done) * sizeof(entries[0]))) != length)
			return false;
		rseq_sanitize_written(entries, (size_t)length);
		/*
		 * The first page was written to when the range was made: what denies that (an
		 * emulator, whose addresses are not the kernel's) knows nothing of the others.
		 */
		if (!done && !is_written(entries[0]))
			return false;
		for (size_t i = !done; i < chunk; i++)
			if (is_written(entries[i]))
				mark_rows(range->pool, (done + i - 1) * page, page, rows);
	}
	return true;
}

/*
 * Sets the bits of the rows that a CPU wrote to so far, and maybe others'. Returns false where that
 * cannot be found out. By system calls, as no thread is to be cancelled here.
 */
bool rseq_range_find_written(const struct mempool_range *range, uint64_t *rows)
{
	int saved_errno = errno, file;
	bool success;

	memset(rows, 0, ((size_t)range->pool->nr_rows + 63) / 64 * sizeof(rows[0]));
	file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/pagemap",
			    O_RDONLY | O_CLOEXEC);
	if (file < 0) {
		errno = saved_errno;
		return false;
	}
	success = scan(file, range, rows) || read_entries(file, range, rows);
	syscall(SYS_close, file);
	errno = saved_errno;
	return success;
}
