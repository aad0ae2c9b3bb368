/* SPDX-License-Identifier: MIT */
/*
 * cpus.c: how many CPU numbers there can be.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define POSSIBLE_CPUS	"/sys/devices/system/cpu/possible"
#define SYSFS_TYPE	0x62656572UL	/* SYSFS_MAGIC of include/uapi/linux/magic.h */

/* The most that any kernel's configuration allows (CONFIG_NR_CPUS of x86-64). */
#define MOST_CPUS	8192

/* Bytes of a CPU mask that holds them. */
#define MASK_BYTES	(MOST_CPUS / 8)

/* A list under way. Numbers are negative where there is none. */
struct list {
	int first;			/* of a range */
	int number;
	int greatest;
	int asked;
	bool found;			/* the one that was asked for */
	bool ended;			/* by a newline */
};

static bool end_range(struct list *list)
{
	if (list->number < 0 || list->number < list->first)
		return false;
	if (list->first < 0)
		list->first = list->number;
	if (list->asked >= list->first && list->asked <= list->number)
		list->found = true;
	if (list->number > list->greatest)
		list->greatest = list->number;
	list->first = list->number = -1;
	return true;
}

/* Returns false if it is no list. */
static bool go_on(struct list *list, char c)
{
	if (list->ended)
		return false;
	if (c >= '0' && c <= '9') {
		list->number = (list->number < 0 ? 0 : list->number * 10) + (c - '0');
		return list->number < MOST_CPUS;
	}
	if (c == '-') {
		if (list->number < 0 || list->first >= 0)
			return false;
		list->first = list->number;
		list->number = -1;
		return true;
	}
	list->ended = c == '\n';
	return (c == ',' || list->ended) && end_range(list);
}

/* Piece by piece: a signal handler may have little stack. */
int rseq_read_cpu_list(int file, int cpu, bool *found)
{
	struct list list = { .first = -1, .number = -1, .greatest = -1, .asked = cpu };
	char piece[128];
	ssize_t length;

	for (;;) {
		do
			length = read(file, piece, sizeof(piece));
		while (length < 0 && errno == EINTR);
		if (length <= 0)
			break;
		for (ssize_t i = 0; i < length; i++)
			if (!go_on(&list, piece[i]))
				return 0;
	}
	if (length < 0 || (!list.ended && !end_range(&list)))
		return 0;
	if (found)
		*found = list.found;
	return list.greatest + 1;
}

/* Says, too, whether it is the kernel itself who answers. */
static int read_possible(bool *genuine)
{
	int file = open(POSSIBLE_CPUS, O_RDONLY | O_CLOEXEC), nr_cpus;
	struct statfs status;

	*genuine = false;
	if (file < 0)
		return 0;
	if (!fstatfs(file, &status)) {
		rseq_sanitize_written(&status, sizeof(status));
		*genuine = (unsigned long)status.f_type == SYSFS_TYPE;
	}
	nr_cpus = rseq_read_cpu_list(file, -1, NULL);
	close(file);
	return nr_cpus;
}

/*
 * What the scheduler says: the greatest CPU of this thread's mask, and the size of the mask, which
 * the kernel makes as long as its CPU numbers can be (kernel/sched/syscalls.c).
 */
static void read_mask(int *greatest, int *bound)
{
	unsigned long mask[MASK_BYTES / sizeof(unsigned long)];
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);

	*greatest = 0;
	*bound = MOST_CPUS;
	if (bytes <= 0)
		return;
	rseq_sanitize_written(mask, (size_t)bytes);
	*bound = (int)bytes * 8;
	for (long i = bytes / (long)sizeof(mask[0]) - 1; i >= 0; i--) {
		if (mask[i]) {
			*greatest = (int)(i + 1) * RSEQ_BITS_PER_LONG - __builtin_clzl(mask[i]);
			return;
		}
	}
}

/*
 * Per-CPU memory is indexed by what the kernel says, unchecked, so that the answer must never be
 * too small: a list that is missing, that somebody put in place of the kernel's (a container's own
 * /sys), or that does not even hold the CPUs this thread may run on, counts for less than the
 * scheduler's bound.
 */
int rseq_get_max_nr_cpus(void)
{
	static int known;
	int nr_cpus = __atomic_load_n(&known, __ATOMIC_RELAXED);
	int saved_errno = errno, greatest, bound;
	bool genuine;

	if (nr_cpus)
		return nr_cpus;
	nr_cpus = read_possible(&genuine);
	read_mask(&greatest, &bound);
	if (!nr_cpus || nr_cpus < greatest || (nr_cpus < bound && !genuine))
		nr_cpus = bound;
	__atomic_store_n(&known, nr_cpus, __ATOMIC_RELAXED);
	errno = saved_errno;
	return nr_cpus;
}
