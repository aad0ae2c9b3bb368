/* SPDX-License-Identifier: MIT */
/*
 * misuse.c: what the kernel does to a thread that writes to a field of its area that is not its
 * own. With rseq_debug=1 it kills it, whatever the registration; that this shows here tells that
 * all other programs in that virtual machine were watched in the same way.
 *
 * usage: misuse killed | tolerated
 */
#define _GNU_SOURCE

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define NONSENSE	12345
#define NR_MOVES	100

/* The kernel looks at the area when a thread is moved. */
static void misuse(const struct support_cpus *cpus)
{
	RSEQ_WRITE_ONCE(rseq_get_abi()->cpu_id_start, NONSENSE);
	for (int i = 0; i < NR_MOVES; i++)
		support_move(0, cpus->cpu[i % cpus->nr]);
	_exit(rseq_get_abi()->cpu_id_start == NONSENSE);
}

/* Returns the signal that ended the child, 0 if its area was put right, or -1. */
static int fate_of_misuse(const struct support_cpus *cpus)
{
	const struct rlimit no_core = { 0, 0 };
	int status;
	pid_t child = fork();

	if (!child) {
		setrlimit(RLIMIT_CORE, &no_core);
		misuse(cpus);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	return WEXITSTATUS(status) ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct support_cpus cpus;
	int expected, fate;

	if (argc != 2)
		return 2;
	expected = strcmp(argv[1], "killed") ? 0 : SIGSEGV;
	support_find_cpus(&cpus);
	/* More than 32 bytes are watched without rseq_debug, too. */
	if (cpus.nr < 2 || rseq_register_current_thread() ||
	    !support_is_registered(rseq_get_abi(), 32)) {
		printf("needs two CPUs, and a registration of 32 bytes\n");
		return 1;
	}
	fate = fate_of_misuse(&cpus);
	if (fate > 0)
		printf("killed by signal %d\n", fate);
	else
		printf("%s\n", fate ? "neither killed nor put right" : "put right");
	return fate != expected;
}
