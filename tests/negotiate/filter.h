/* SPDX-License-Identifier: MIT */
/*
 * filter.h: makes the kernel refuse the system call, as sandboxes do.
 */
#ifndef FILTER_H
#define FILTER_H

#include <rseq/abi.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * From now on rseq() answers error: for this length alone if it is positive, for all but -length
 * if it is negative, for each if it is 0. Concerns the calling thread and its children, or all
 * threads with SECCOMP_FILTER_FLAG_TSYNC. Returns 0, or -1 with errno.
 */
static inline int filter_rseq(int error, int length, unsigned int flags)
{
	const unsigned int value = (unsigned int)(length < 0 ? -length : length);
	const unsigned int refuse = SECCOMP_RET_ERRNO | (unsigned int)error;
	const unsigned int equal = length < 0 ? SECCOMP_RET_ALLOW : refuse;
	const unsigned int different = length > 0 ? SECCOMP_RET_ALLOW : refuse;
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rseq, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, equal),
		BPF_STMT(BPF_RET | BPF_K, different),
	};
	const struct sock_fprog program = {
		.len = sizeof(instructions) / sizeof(instructions[0]),
		.filter = instructions,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) ? -1 : 0;
}

#endif /* FILTER_H */
