/* SPDX-License-Identifier: MIT */
/*
 * fence.c: membarrier() for rseq, or a visit to each CPU: who was running there is preempted by
 * the visitor, which aborts its section.
 */
#include "internal.h"

#include <rseq/fence.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* include/uapi/linux/membarrier.h, since 5.10 */
#define PRIVATE_EXPEDITED_RSEQ		(1 << 7)
#define REGISTER_PRIVATE_EXPEDITED_RSEQ	(1 << 8)
#define FLAG_CPU			(1 << 0)

/* CONFIG_NR_CPUS is at most 8192 on x86-64 and 4096 on arm64. */
#define MAX_CPUS	8192
#define MASK_WORDS	(MAX_CPUS / 64)

enum { UNKNOWN, MEMBARRIER, VISIT };
static int way;		/* atomic */

static int membarrier(int command, unsigned int flags, int cpu)
{
	return (int)syscall(__NR_membarrier, command, flags, cpu);
}

/* The query leaves these commands out before 5.16.5: to register is what tells. */
static int find_way(void)
{
	bool lossy = rseq_process.kernel_bugs & RSEQ_KERNEL_BUG_MEMBARRIER &&
			!rseq_process.trusted;
	int found = VISIT;

	if (!lossy && !membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0))
		found = MEMBARRIER;
	__atomic_store_n(&way, found, __ATOMIC_RELAXED);
	return found;
}

/* Fails where this process is not registered: never was, or is another since vfork(). */
static int try_membarrier(int cpu)
{
	unsigned int flags = cpu < 0 ? 0 : FLAG_CPU;

	for (int try = 0; try < 2; try++) {
		if (!membarrier(PRIVATE_EXPEDITED_RSEQ, flags, cpu < 0 ? 0 : cpu))
			return 0;
		if (errno != EPERM || membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0))
			return -1;
	}
	return -1;
}

struct cpu_mask {
	uint64_t words[MASK_WORDS];
};

static int set_affinity(const struct cpu_mask *mask, size_t len)
{
	return (int)syscall(SYS_sched_setaffinity, 0, len, mask->words);
}

/* For all that one can tell. */
static bool is_online(int cpu)
{
	int file = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
	bool found = true;

	if (file < 0)
		return true;
	rseq_read_cpu_list(file, cpu, &found);
	close(file);
	return found;
}

/* cpu is negative for all. Those that refuse the visit may be offline. */
static int visit_cpus(int cpu)
{
	struct cpu_mask before, one = { { 0 } };
	long len = syscall(SYS_sched_getaffinity, 0, sizeof(before), before.words);
	int first = cpu < 0 ? 0 : cpu, last = cpu < 0 ? rseq_get_max_nr_cpus() - 1 : cpu;
	int result = 0;

	if (len < 0)
		return -1;
	rseq_sanitize_written(before.words, (size_t)len);
	for (cpu = first; cpu <= last && !result; cpu++) {
		one.words[cpu / 64] = (uint64_t)1 << cpu % 64;
		if (set_affinity(&one, (size_t)len) && is_online(cpu))
			result = -1;
		one.words[cpu / 64] = 0;
	}
	if (set_affinity(&before, (size_t)len))
		return -1;
	return result;
}

/* Not inlined: the masks are stack that a signal handler may not have, and fences rarely need. */
__attribute__((noinline))
static int visit_with_signals_blocked(int cpu)
{
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	result = visit_cpus(cpu);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

static int fence(int cpu)
{
	int saved_errno = errno, now = __atomic_load_n(&way, __ATOMIC_RELAXED);
	int result = 0;

	rseq_init_once();
	rseq_smp_mb();
	if (!rseq_process.off) {
		if (now == UNKNOWN)
			now = find_way();
		result = now == MEMBARRIER ? try_membarrier(cpu) : -1;
		if (result)
			result = visit_with_signals_blocked(cpu);
	}
	rseq_smp_mb();
	errno = result ? ENOSYS : saved_errno;
	return result;
}

int rseq_fence_cpu(int cpu)
{
	if (cpu < 0 || cpu >= rseq_get_max_nr_cpus()) {
		errno = EINVAL;
		return -1;
	}
	return fence(cpu);
}

int rseq_fence_all(void)
{
	return fence(-1);
}

bool rseq_fence_has_membarrier(void)
{
	int now = __atomic_load_n(&way, __ATOMIC_RELAXED);

	rseq_init_once();
	if (rseq_process.off)
		return true;
	return (now == UNKNOWN ? find_way() : now) == MEMBARRIER;
}
