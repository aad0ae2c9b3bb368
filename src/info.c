/* SPDX-License-Identifier: MIT */
/*
 * info.c: what the library knows, for people and programs.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>

const char *rseq_reason_string(int reason)
{
	switch (reason) {
	case RSEQ_REASON_NONE:
		return "rseq works in this thread";
	case RSEQ_REASON_NOT_REGISTERED:
		return "nobody has registered this thread";
	case RSEQ_REASON_DISABLED:
		return "LIBRSEQ_DISABLE is set";
	case RSEQ_REASON_KERNEL_BUG:
		return "this kernel release has a known bug (LIBRSEQ_KERNEL_TRUSTED=1 overrides)";
	case RSEQ_REASON_NO_SYSCALL:
		return "the kernel, or what stands in for it, has no rseq system call";
	case RSEQ_REASON_FORBIDDEN:
		return "a security policy forbids the rseq system call";
	case RSEQ_REASON_FOREIGN:
		return "another module registered an area of its own in this thread";
	case RSEQ_REASON_VFORK_CHILD:
		return "the child of vfork() runs on the storage of its parent";
	case RSEQ_REASON_NO_AREA:
		return "thread-local storage is not aligned to 32 bytes here";
	case RSEQ_REASON_REFUSED:
		return "the kernel refused the registration";
	case RSEQ_REASON_OVERWRITTEN:
		return "somebody wrote over cpu_id, which the kernel has not corrected yet";
	default:
		return "unknown reason";
	}
}

int rseq_get_info(struct rseq_info *info)
{
	struct rseq_info known;
	size_t size;
	int saved_errno = errno;

	if (!info || info->size < offsetof(struct rseq_info, reason)) {
		errno = EINVAL;
		return -1;
	}
	rseq_init_once();
	memset(&known, 0, sizeof(known));
	size = info->size < sizeof(known) ? info->size : sizeof(known);
	known.size = size;
	rseq_thread_info(&known);

	known.area_origin = rseq_process.area_origin;
	known.area_size = rseq_process.area_size;
	known.area_align = rseq_process.area_align;
	known.area_offset = rseq_offset;
	known.area_module = rseq_process.area_module;
	known.length = rseq_process_length();
	known.disabled = rseq_process.disabled;
	known.other_definitions = rseq_process.other_definitions;

	known.libc_symbols = rseq_process.libc_symbols;
	known.libc_size = rseq_process.libc_size;
	known.libc_offset = rseq_process.libc_offset;

	known.kernel_feature_size = rseq_process.kernel_feature_size;
	known.kernel_align = rseq_process.kernel_align;
	memcpy(known.kernel_version, rseq_process.kernel_version, sizeof(known.kernel_version));
	known.kernel_bugs = rseq_process.kernel_bugs;
	known.kernel_trusted = rseq_process.trusted;
	known.max_nr_cpus = rseq_get_max_nr_cpus();
	known.aborts = __atomic_load_n(&rseq_abort_count, __ATOMIC_RELAXED);

	if (info->size > size)
		memset((char *)info + size, 0, info->size - size);
	memcpy(info, &known, size);
	errno = saved_errno;
	return 0;
}
