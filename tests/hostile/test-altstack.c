/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers on an alternate stack: every operation that may be done in a handler is done
 * there, for the first time in its process and again, with membarrier() and without, and takes no
 * more of the stack than the guide says.
 */
#define _GNU_SOURCE

#include "filter.h"
#include "operations.h"
#include "works.h"

#include <rseq/fence.h>
#include <rseq/info.h>

#include <signal.h>
#include <sys/mman.h>

#define STACK_BYTES	(1 << 18)
#define PAINT		0xa5

/* Bytes that a handler's calls of the library take, as the guide says. */
#define MOST_BYTES	4096

static unsigned char *stack;
static size_t nr_used;

/* Of a function that calls the others, and is called when nothing is known yet. */
static void ask_everything(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(rseq_get_max_nr_cpus() > 0);
	check(!rseq_get_info(&info));
}

static void fence_both(void)
{
	check(!rseq_fence_all() || errno == ENOSYS);
	check(!rseq_fence_cpu(0) || errno == ENOSYS);
}

static const struct operation alone[] = {
	{ "all numbers, asked first", ask_everything, 0, 0, true },
	{ "fence, first of all", fence_both, 0, 0, true },
};

static const struct operation *operation;
static bool without_membarrier;

__attribute__((noinline))
static void on_signal(int signal)
{
	unsigned char *here = __builtin_frame_address(0), *at = stack;

	(void)signal;
	check(here > stack && here < stack + STACK_BYTES);
	/* All that the handler itself does not need. */
	memset(stack, PAINT, (size_t)(here - stack) - 256);
	operation->run();
	while (at < here && *at == PAINT)
		at++;
	if ((size_t)(here - at) > nr_used)
		nr_used = (size_t)(here - at);
}

static void refuse_membarrier(void)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { 4, instructions };

	/* Where that is not possible, it is there. */
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void use_in_handler(void)
{
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t alternate = { .ss_size = STACK_BYTES };

	alternate.ss_sp = stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(stack != MAP_FAILED);
	check(!sigaltstack(&alternate, NULL) && !sigaction(SIGUSR1, &action, NULL));
	if (without_membarrier)
		refuse_membarrier();
	if (operation >= operations && operation < operations + nr_operations)
		check(operations_create());
	for (int i = 0; i < 3; i++)
		raise(SIGUSR1);
	printf("%5zu bytes: %s%s\n", nr_used, operation->name,
	       without_membarrier ? ", without membarrier" : "");
	check(nr_used > 0);
	if (!SUPPORT_SANITIZED)
		check(nr_used <= MOST_BYTES);
}

static int run(char **argv)
{
	(void)argv;
	for (int way = 0; way < 2; way++) {
		without_membarrier = way;
		for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++) {
			operation = &alone[i];
			works_in_child(use_in_handler);
		}
		for (size_t i = 0; i < nr_operations; i++) {
			operation = &operations[i];
			if (operation->in_handlers)
				works_in_child(use_in_handler);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	/* The dynamic linker, at the first call of a function, needs stack of its own. */
	setenv("LD_BIND_NOW", "1", 1);
	return works_run_all_ways(argv, run);
}
