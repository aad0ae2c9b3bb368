/* SPDX-License-Identifier: MIT */
/*
 * test-refuse: runs a command for which a system call fails, as a sandbox would make it.
 *
 *	test-refuse rseq|ptrace|membarrier ERRNO ARGUMENT COMMAND...
 *
 * Calls fail with the error of that number if their first argument has the value ARGUMENT, or
 * always for "any".
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rseq/abi.h>

static const struct {
	const char *name;
	uint32_t number;
} calls[] = {
	{ "rseq", __NR_rseq },
	{ "ptrace", SYS_ptrace },
	{ "membarrier", SYS_membarrier },
};

static uint32_t call_number(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(name, calls[i].name))
			return calls[i].number;
	fprintf(stderr, "test-refuse: no system call '%s'\n", name);
	exit(125);
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fputs("usage: test-refuse CALL ERRNO ARGUMENT COMMAND...\n", stderr);
		return 125;
	}

	const uint32_t number = call_number(argv[1]);
	const uint32_t error = (uint32_t)atoi(argv[2]);
	const uint32_t argument = (uint32_t)strtoul(argv[3], NULL, 0);
	const uint8_t if_other = strcmp(argv[3], "any") ? 1 : 0;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument, 0, if_other),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = filter,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("test-refuse: seccomp");
		return 126;
	}
	execvp(argv[4], argv + 4);
	perror(argv[4]);
	return 127;
}
