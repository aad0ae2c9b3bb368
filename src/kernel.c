/* SPDX-License-Identifier: MIT */
/*
 * kernel.c: which release runs, and which of its bugs make per-CPU data wrong.
 */
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define VERSION(major, minor, patch)	((major) << 16 | (minor) << 8 | (patch))

/*
 * One row: a bug is in the releases from first up to, not including, fixed. Where stable series
 * were fixed at different points, a bug has a row for each stretch between two fixes.
 */
struct kernel_bug_range {
	unsigned int bug;
	unsigned int first;
	unsigned int fixed;
	bool arm64_only;
};

static const struct kernel_bug_range ranges[] = {
	/* A child of clone(CLONE_VM) keeps its parent's registration: "rseq: Unregister rseq for
	 * clone CLONE_VM". */
	{ RSEQ_KERNEL_BUG_CLONE_VM, VERSION(4, 18, 0), VERSION(5, 4, 18), false },

	/* A new task starts with its creator's cpu_id: "sched: Fix unreliable rseq cpu_id for new
	 * tasks", 5.8, and in the stable releases of July 2020. */
	{ RSEQ_KERNEL_BUG_STALE_CPU_ID, VERSION(4, 18, 0), VERSION(4, 19, 134), false },
	{ RSEQ_KERNEL_BUG_STALE_CPU_ID, VERSION(4, 20, 0), VERSION(5, 4, 53), false },
	{ RSEQ_KERNEL_BUG_STALE_CPU_ID, VERSION(5, 5, 0), VERSION(5, 7, 10), false },

	/* A migration inside KVM_RUN goes unnoticed: "KVM: rseq: Update rseq when processing
	 * NOTIFY_RESUME on xfer to KVM guest". */
	{ RSEQ_KERNEL_BUG_KVM, VERSION(4, 18, 0), VERSION(5, 14, 9), false },

	/* The interrupt of membarrier(PRIVATE_EXPEDITED_RSEQ) races with the event mask, and the
	 * abort is lost. The command came with 5.10; series that ended before the fix keep it. */
	{ RSEQ_KERNEL_BUG_MEMBARRIER, VERSION(5, 10, 0), VERSION(6, 1, 157), false },
	{ RSEQ_KERNEL_BUG_MEMBARRIER, VERSION(6, 2, 0), VERSION(6, 12, 54), false },
	{ RSEQ_KERNEL_BUG_MEMBARRIER, VERSION(6, 13, 0), VERSION(6, 18, 0), false },

	/* A preempted thread that resumes on the same CPU is not aborted. */
	{ RSEQ_KERNEL_BUG_ARM64_ABORT, VERSION(6, 19, 0), VERSION(7, 0, 14), true },

	/* Since the rewrite of the concurrency ids they may exceed the number of possible CPUs. */
	{ RSEQ_KERNEL_BUG_MM_CID, VERSION(6, 19, 0), VERSION(7, 1, 3), false },
};

unsigned int rseq_kernel_bugs(const unsigned int version[3], bool arm64)
{
	unsigned int patch = version[2] < 255 ? version[2] : 255;
	unsigned int release = VERSION(version[0], version[1], patch);
	unsigned int bugs = 0;

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (ranges[i].arm64_only && !arm64)
			continue;
		if (release >= ranges[i].first && release < ranges[i].fixed)
			bugs |= ranges[i].bug;
	}
	return bugs;
}

/*
 * The other bugs touch one user alone: KVM's those threads that run guests, membarrier's the
 * fences, mm_cid's that field.
 */
bool rseq_kernel_bugs_refuse(unsigned int bugs)
{
	return bugs & (RSEQ_KERNEL_BUG_CLONE_VM | RSEQ_KERNEL_BUG_STALE_CPU_ID |
		       RSEQ_KERNEL_BUG_ARM64_ABORT);
}

const char *rseq_kernel_bug_string(unsigned int bug)
{
	switch (bug) {
	case RSEQ_KERNEL_BUG_CLONE_VM:
		return "a child of clone(CLONE_VM) keeps its parent's registration (before 5.4.18)";
	case RSEQ_KERNEL_BUG_STALE_CPU_ID:
		return "a new thread may see the CPU number of another (before 5.7.10)";
	case RSEQ_KERNEL_BUG_KVM:
		return "a thread that migrates inside KVM_RUN is not told (before 5.14.9)";
	case RSEQ_KERNEL_BUG_MEMBARRIER:
		return "a membarrier fence may miss a section (before 6.1.157, 6.12.54, 6.18)";
	case RSEQ_KERNEL_BUG_ARM64_ABORT:
		return "a section preempted on its own CPU is not aborted (arm64, 6.19 to 7.0.13)";
	case RSEQ_KERNEL_BUG_MM_CID:
		return "mm_cid may exceed the number of possible CPUs (6.19 to 7.1.2)";
	default:
		return NULL;
	}
}

/* Reads "6.12.54-rc1" into numbers; what is missing is 0. Returns whether there was a number. */
static bool parse_release(const char *text, unsigned int version[3])
{
	version[0] = version[1] = version[2] = 0;
	for (int part = 0; part < 3; part++) {
		if (*text < '0' || *text > '9')
			return part > 0;
		while (*text >= '0' && *text <= '9') {
			if (version[part] < 100000)
				version[part] = version[part] * 10 + (unsigned int)(*text - '0');
			text++;
		}
		if (*text != '.')
			return true;
		text++;
	}
	return true;
}

/* Takes a vendor's stable number over if it is of the same series as version and not older. */
static void refine(unsigned int version[3], const char *text)
{
	unsigned int stable[3];

	if (parse_release(text, stable) && stable[0] == version[0] && stable[1] == version[1] &&
	    stable[2] > version[2])
		version[2] = stable[2];
}

/* Ubuntu's kernels tell their stable number here alone: "Ubuntu 5.4.0-216.236-generic 5.4.291". */
static void refine_from_signature(unsigned int version[3])
{
	char signature[256];
	const char *last;
	ssize_t length;
	int file = open("/proc/version_signature", O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return;
	length = read(file, signature, sizeof(signature) - 1);
	close(file);
	if (length <= 0)
		return;
	signature[length] = '\0';
	last = strrchr(signature, ' ');
	if (last)
		refine(version, last + 1);
}

void rseq_kernel_version(const struct utsname *name, unsigned int version[3])
{
	const char *debian = strstr(name->version, "Debian ");

	parse_release(name->release, version);
	/* A stable kernel of Debian keeps "6.1.0" as its release: "#1 SMP Debian 6.1.170-1". */
	if (debian)
		refine(version, debian + strlen("Debian "));
	else if (strstr(name->version, "Ubuntu"))
		refine_from_signature(version);
}
