/* SPDX-License-Identifier: MIT */
/*
 * cpus.c: how many CPU numbers there can be.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POSSIBLE_CPUS	"/sys/devices/system/cpu/possible"

/* The most that any kernel's configuration allows (CONFIG_NR_CPUS of x86-64). */
#define MOST_CPUS	8192

/* Bytes of a CPU mask that holds them. */
#define MASK_BYTES	(MOST_CPUS / 8)

/*
 * The greatest number in a list as "0-3,8-11", plus one; 0 for what is no such list. The list may
 * end with a newline.
 */
int rseq_parse_cpu_list(const char *list)
{
	int last = -1;

	for (;;) {
		int number = 0;

		if (*list < '0' || *list > '9')
			return 0;
		while (*list >= '0' && *list <= '9') {
			if (number >= MOST_CPUS)
				return 0;
			number = number * 10 + (*list++ - '0');
		}
		if (number >= MOST_CPUS)
			return 0;
		if (number > last)
			last = number;
		if (*list == '\0' || (*list == '\n' && list[1] == '\0'))
			return last + 1;
		if (*list != '-' && *list != ',')
			return 0;
		list++;
	}
}

static int read_possible(void)
{
	char list[4096];
	ssize_t length;
	int file = open(POSSIBLE_CPUS, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return 0;
	do
		length = read(file, list, sizeof(list) - 1);
	while (length < 0 && errno == EINTR);
	close(file);
	if (length <= 0)
		return 0;
	list[length] = '\0';
	return rseq_parse_cpu_list(list);
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
 * too small: a list that is missing, or that does not even hold the CPUs this thread may run on (a
 * container's own /sys), counts for less than the scheduler's bound.
 */
int rseq_get_max_nr_cpus(void)
{
	static int known;
	int nr_cpus = __atomic_load_n(&known, __ATOMIC_RELAXED);
	int saved_errno = errno, greatest, bound;

	if (nr_cpus)
		return nr_cpus;
	nr_cpus = read_possible();
	read_mask(&greatest, &bound);
	if (!nr_cpus || nr_cpus < greatest)
		nr_cpus = bound;
	__atomic_store_n(&known, nr_cpus, __ATOMIC_RELAXED);
	errno = saved_errno;
	return nr_cpus;
}
