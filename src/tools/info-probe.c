/* SPDX-License-Identifier: MIT */
/*
 * info-probe.c: what kernel, libc and machine say when they are asked.
 *
 * What a question would change is asked in a child, so that neither this process's memory map nor
 * this thread is registered for anything that it was not.
 */
#include "info.h"

#include <rseq/section.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __GLIBC__
# include <gnu/libc-version.h>
#endif

/* include/uapi/linux/membarrier.h */
#define CMD_QUERY			0
#define CMD_PRIVATE_EXPEDITED_RSEQ	(1 << 7)
#define CMD_REGISTER_RSEQ		(1 << 8)
#define CMD_FLAG_CPU			(1 << 0)

/* Bytes up to and with the field that came along with the slice extension. */
#define SLICE_FEATURE_SIZE	33U

#define AREA_ROOM		4096U

/* Memory that a child answers in, at the start of a page. */
struct shared {
	char area[AREA_ROOM];
	struct membarrier_answers membarrier;
	int slice_error;
	unsigned int slice_flags;
};

static int membarrier(int command, unsigned int flags, int cpu)
{
	return (int)syscall(SYS_membarrier, command, flags, cpu);
}

static void wait_for(pid_t child)
{
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static void ask_membarrier(struct membarrier_answers *answers)
{
	answers->commands = membarrier(CMD_QUERY, 0, 0);
	answers->query_error = answers->commands < 0 ? errno : 0;
	answers->register_error = membarrier(CMD_REGISTER_RSEQ, 0, 0) ? errno : 0;
	answers->command_error =
		membarrier(CMD_PRIVATE_EXPEDITED_RSEQ, CMD_FLAG_CPU, 0) ? errno : 0;
}

/* QUERY left the rseq command out until 5.16.5: only a registration tells, and that would last. */
static void probe_membarrier(struct shared *shared)
{
	struct membarrier_answers *answers = &shared->membarrier;
	pid_t child;

	/* What stands if the child does not live to answer. */
	answers->query_error = answers->register_error = answers->command_error = ECANCELED;
	child = fork();
	if (child < 0)
		answers->query_error = errno;
	if (!child) {
		ask_membarrier(answers);
		_exit(0);
	}
	if (child > 0)
		wait_for(child);
	if (answers->query_error)
		answers->commands = 0;
}

/*
 * The child of vfork() starts without a registration, whoever made its parent's, so that it can
 * register an area of its own with the length that the extension wants. The registration ends
 * with the child.
 */
static void probe_slice(struct shared *shared, unsigned int length)
{
	struct rseq_abi *area = (void *)shared->area;
	pid_t child;

	area->cpu_id = (uint32_t)RSEQ_ABI_CPU_ID_UNINITIALIZED;
	shared->slice_error = ECANCELED;
	child = vfork();
	if (!child) {
		if (syscall(__NR_rseq, area, length, 0, RSEQ_SIG)) {
			shared->slice_error = errno;
		} else {
			shared->slice_flags = RSEQ_READ_ONCE(area->flags);
			shared->slice_error = 0;
		}
		_exit(0);
	}
	if (child < 0)
		shared->slice_error = errno;
	else
		wait_for(child);
}

static void read_slice(struct report *report, struct shared *shared)
{
	unsigned int length = report->rseq.kernel_feature_size;

	if (length < SLICE_FEATURE_SIZE) {
		report->slice = SLICE_NOT_IN_KERNEL;
		return;
	}
	report->slice = SLICE_UNKNOWN;
	report->slice_error = EOVERFLOW;
	if (length > AREA_ROOM)
		return;
	probe_slice(shared, length);
	report->slice_error = shared->slice_error;
	if (shared->slice_error)
		return;
	report->slice = shared->slice_flags & RSEQ_ABI_CS_FLAG_SLICE_EXT_AVAILABLE ?
			SLICE_AVAILABLE : SLICE_OFF;
}

/* The number of CPUs in a list as "0-3,8"; 0 for what is no such list. */
static int count_cpus(const char *list)
{
	int count = 0;

	for (;;) {
		char *end;
		long first = strtol(list, &end, 10), last = first;

		if (end == list)
			return 0;
		if (*end == '-') {
			list = end + 1;
			last = strtol(list, &end, 10);
		}
		if (end == list || last < first || last - first > 1 << 20)
			return 0;
		count += (int)(last - first) + 1;
		if (!*end)
			return count;
		if (*end != ',')
			return 0;
		list = end + 1;
	}
}

static void read_cpu_list(const char *path, struct cpu_list *list)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = -1;

	if (file >= 0) {
		length = read(file, list->text, sizeof(list->text) - 1);
		close(file);
	}
	list->text[length > 0 ? length : 0] = '\0';
	list->text[strcspn(list->text, "\n")] = '\0';
	list->count = count_cpus(list->text);
	if (!list->count)
		list->text[0] = '\0';
}

void report_probe(struct report *report)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED) {
		report->slice = SLICE_UNKNOWN;
		report->slice_error = errno;
		report->membarrier.query_error = errno;
		report->membarrier.register_error = errno;
		report->membarrier.command_error = errno;
	} else {
		probe_membarrier(shared);
		report->membarrier = shared->membarrier;
		read_slice(report, shared);
		munmap(shared, sizeof(*shared));
	}
#ifdef __GLIBC__
	report->libc_name = "glibc";
	report->libc_version = gnu_get_libc_version();
#else
	report->libc_name = "musl";
#endif
	if (uname(&report->kernel))
		memset(&report->kernel, 0, sizeof(report->kernel));
	read_cpu_list("/sys/devices/system/cpu/possible", &report->possible);
	read_cpu_list("/sys/devices/system/cpu/online", &report->online);
}
