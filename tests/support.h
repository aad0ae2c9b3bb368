/* SPDX-License-Identifier: MIT */
/*
 * support.h: what tests of all kinds share: the CPUs at hand, and the kernel's own view of a
 * registration, asked past the library.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <rseq/info.h>
#include <rseq/rseq.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exit status of a test that cannot run here. */
#define SUPPORT_SKIP	77

#define SUPPORT_MAX_CPUS	8192

/*
 * A sanitizer replaces memory functions, and ends the process that gets no memory. valgrind does
 * the same; who runs a test under it says so.
 */
#if defined(__SANITIZE_ADDRESS__) || RSEQ_SANITIZE_THREAD || RSEQ_SANITIZE_MEMORY
# define SUPPORT_SANITIZED	1
#elif defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define SUPPORT_SANITIZED	1
# endif
#endif
#ifndef SUPPORT_SANITIZED
# define SUPPORT_SANITIZED	(getenv("UNDER_VALGRIND") != NULL)
#endif

/* How many times slower than others a machine is: as who runs a test on an emulated one says. */
static inline int support_divisor(void)
{
	const char *divisor = getenv("TEST_DIVISOR");

	return divisor && atoi(divisor) > 0 ? atoi(divisor) : 1;
}

/* How often to do what a test does nr times on other machines. */
static inline int support_rounds(int nr)
{
	return (nr - 1) / support_divisor() + 1;
}

struct support_cpus {
	int nr;
	int cpu[SUPPORT_MAX_CPUS];
};

/* The CPUs that the calling thread may run on; at least one, 0, where the kernel does not say. */
static inline void support_find_cpus(struct support_cpus *cpus)
{
	unsigned long mask[SUPPORT_MAX_CPUS / (8 * sizeof(unsigned long))];
	const unsigned int bits = 8 * sizeof(mask[0]);
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);

	cpus->nr = 0;
	if (bytes > 0)
		rseq_sanitize_written(mask, (size_t)bytes);
	for (unsigned int cpu = 0; bytes > 0 && cpu < (unsigned int)bytes * 8; cpu++)
		if (mask[cpu / bits] >> (cpu % bits) & 1)
			cpus->cpu[cpus->nr++] = (int)cpu;
	if (!cpus->nr)
		cpus->cpu[cpus->nr++] = 0;
}

/* Moves thread tid (0: the caller) to one CPU. */
static inline int support_move(pid_t tid, int cpu)
{
	unsigned long mask[SUPPORT_MAX_CPUS / (8 * sizeof(unsigned long))] = { 0 };
	const unsigned int bits = 8 * sizeof(mask[0]);

	mask[(unsigned int)cpu / bits] = 1UL << ((unsigned int)cpu % bits);
	return (int)syscall(SYS_sched_setaffinity, tid, sizeof(mask), mask);
}

/* Lets the caller run on all of them again. */
static inline int support_release(const struct support_cpus *cpus)
{
	unsigned long mask[SUPPORT_MAX_CPUS / (8 * sizeof(unsigned long))] = { 0 };
	const unsigned int bits = 8 * sizeof(mask[0]);

	for (int i = 0; i < cpus->nr; i++)
		mask[(unsigned int)cpus->cpu[i] / bits] |=
				1UL << ((unsigned int)cpus->cpu[i] % bits);
	return (int)syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask);
}

/* The system call itself: 0, or a negative errno. */
static inline int support_sys_rseq(void *area, unsigned int length, int flags,
		unsigned int signature)
{
	int saved_errno = errno, result = 0;

	if (syscall(__NR_rseq, area, length, flags, signature))
		result = -errno;
	errno = saved_errno;
	return result;
}

/* Whether there is a system call: it answers nonsense with EINVAL. */
static inline bool support_kernel_has_rseq(void)
{
	return support_sys_rseq(NULL, 0, -1, 0) == -EINVAL;
}

/*
 * Whether exactly this area is registered with this length for the calling thread: the kernel
 * looks at both before it refuses a wrong signature with EPERM. The registration stays.
 */
static inline bool support_is_registered(void *area, unsigned int length)
{
	return support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER,
				~(unsigned int)RSEQ_SIG) == -EPERM;
}

/* The length with which the area is registered for the calling thread, or 0. */
static inline unsigned int support_registered_length(void *area)
{
	for (unsigned int length = 32; length <= 256; length++)
		if (support_is_registered(area, length))
			return length;
	return 0;
}

/* Whether the library fences with membarrier(): some kernels lose it (see rseq/info.h). */
static inline bool support_has_membarrier(void)
{
	struct rseq_info info;

	memset(&info, 0, sizeof(info));
	info.size = sizeof(info);
	if (rseq_get_info(&info) ||
	    ((info.kernel_bugs & RSEQ_KERNEL_BUG_MEMBARRIER) && !info.kernel_trusted))
		return false;
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0);
}

/* Ends in a thread that has no rseq, and that the library does not register by itself. */
static inline void support_go_without_rseq(void)
{
	void *area = rseq_get_abi();
	unsigned int length = support_registered_length(area);

	if (length)
		support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	if (!rseq_register_current_thread())
		rseq_unregister_current_thread();
}

/* Bytes that this process has in memory, counted page by page (those of statm are rough), or -1. */
static inline long support_resident(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	long kib = -1;
	char line[256];

	while (file && kib < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "Rss: %ld", &kib);
	if (file)
		fclose(file);
	return kib < 0 ? -1 : kib * 1024;
}

/* Has copies in critical sections do with narrower registers than the processor's. */
static inline void support_set_vector_bytes(unsigned int bytes)
{
	uintptr_t variable = (uintptr_t)&rseq_vector_bytes;

	__asm__ __volatile__ ("" : "+r" (variable));
	*(volatile unsigned int *)variable = bytes;
}

/*
 * Runs a test in two new programs: as libc would have it, and with libc's registration off.
 * Returns the greater exit status.
 */
static inline int support_run_both_ways(char **argv, int (*run)(void))
{
	static const char *const tunables[] = { "glibc.pthread.rseq=1", "glibc.pthread.rseq=0" };
	const char *emulator = getenv("RSEQ_EMULATOR");
	int worst = 0, status;
	pid_t child;

	if (argv[1] || (emulator && *emulator))
		return run();
	for (int way = 0; way < 2; way++) {
		printf("GLIBC_TUNABLES=%s\n", tunables[way]);
		fflush(stdout);
		child = fork();
		if (!child) {
			setenv("GLIBC_TUNABLES", tunables[way], 1);
			execl("/proc/self/exe", argv[0], tunables[way], (char *)NULL);
			_exit(127);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 1;
		status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (status > worst)
			worst = status;
	}
	return worst;
}

#endif /* SUPPORT_H */
