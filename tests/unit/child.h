/* SPDX-License-Identifier: MIT */
/*
 * child.h: functions that run in a child process, where filters may refuse system calls. To be
 * included behind cmocka.h.
 */
#ifndef CHILD_H
#define CHILD_H

#include "support.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

/* What a child answers that may not install filters. */
#define NO_FILTER	99

/* Returns what the function does, from 0 to 255. */
static inline int in_child(int (*function)(void))
{
	pid_t child = fork();
	int status = 0;

	if (!child)
		_exit(function());
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The next calls of this number fail in this thread and those it makes. 0, or -1 with errno. */
static inline int refuse(unsigned int number, unsigned int error)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {
		.len = sizeof(instructions) / sizeof(instructions[0]),
		.filter = instructions,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) ? -1 : 0;
}

static inline void expect_success(int (*function)(void))
{
	int result = in_child(function);

	if (result == NO_FILTER) {
		print_message("seccomp filters are not permitted\n");
		skip();
	}
	assert_int_equal(result, 0);
}

#endif /* CHILD_H */
