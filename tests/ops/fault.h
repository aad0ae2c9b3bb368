/* SPDX-License-Identifier: MIT */
/*
 * fault.h: a handler of SIGSEGV that takes a section's access to memory that is not there for what
 * aborts it. The kernel does so by itself, in an area that it knows; in another one the handler
 * does what the kernel would have done. Wants _GNU_SOURCE.
 */
#ifndef FAULT_H
#define FAULT_H

#include <rseq/rseq.h>

#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int faults;

/* Whether the kernel does not know the area. */
static bool fault_is_ours;

static inline uintptr_t read_pc(const ucontext_t *context)
{
#ifdef __x86_64__
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
	return context->uc_mcontext.pc;
#endif
}

static inline void write_pc(ucontext_t *context, uintptr_t pc)
{
#ifdef __x86_64__
	context->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
#else
	context->uc_mcontext.pc = pc;
#endif
}

static inline void abort_as_kernel(ucontext_t *context)
{
	struct rseq_abi *area = rseq_get_abi();
	const struct rseq_abi_cs *section = (struct rseq_abi_cs *)(uintptr_t)area->rseq_cs.ptr64;

	if (section && read_pc(context) - section->start_ip < section->post_commit_offset) {
		area->rseq_cs.ptr64 = 0;
		write_pc(context, (uintptr_t)section->abort_ip);
	}
}

static inline void on_fault(int signal, siginfo_t *info, void *argument)
{
	ucontext_t *context = (ucontext_t *)argument;
	uint32_t signature;

	(void)signal;
	(void)info;
	faults = faults + 1;
	if (fault_is_ours)
		abort_as_kernel(context);
	memcpy(&signature, (const char *)read_pc(context) - sizeof(signature), sizeof(signature));
	if (signature == (uint32_t)RSEQ_SIG)
		return;
	/* Back to where it faults, it would do so for ever. */
	_exit(2);
}

static inline int catch_faults(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_fault;
	action.sa_flags = SA_SIGINFO;
	return sigaction(SIGSEGV, &action, NULL);
}

#endif /* FAULT_H */
