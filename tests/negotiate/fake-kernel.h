/* SPDX-License-Identifier: MIT */
/*
 * fake-kernel.h: a stopped thread's registers, by architecture.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

struct call {
	long number;
	unsigned long arguments[4];
};

#if defined(__x86_64__)

static inline unsigned long long *arch_argument(struct user_regs_struct *registers, int index)
{
	unsigned long long *const arguments[] = {
		&registers->rdi, &registers->rsi, &registers->rdx, &registers->r10,
	};

	return arguments[index];
}

# define ARCH_STACK_POINTER(registers)	((registers).rsp)
# define ARCH_RESULT(registers)		((registers).rax)

#elif defined(__aarch64__)

static inline unsigned long long *arch_argument(struct user_regs_struct *registers, int index)
{
	return &registers->regs[index];
}

# define ARCH_STACK_POINTER(registers)	((registers).sp)
# define ARCH_RESULT(registers)		((registers).regs[0])

#endif

static inline void arch_transfer(enum __ptrace_request direction, pid_t tid, long set,
		void *registers, size_t size)
{
	struct iovec vector = { registers, size };

	if (ptrace(direction, tid, set, &vector)) {
		perror("fake-kernel: registers");
		exit(1);
	}
}

static inline struct user_regs_struct arch_get(pid_t tid)
{
	struct user_regs_struct registers;

	arch_transfer(PTRACE_GETREGSET, tid, NT_PRSTATUS, &registers, sizeof(registers));
	return registers;
}

static inline void arch_set(pid_t tid, struct user_regs_struct *registers)
{
	arch_transfer(PTRACE_SETREGSET, tid, NT_PRSTATUS, registers, sizeof(*registers));
}

static inline unsigned long arch_stack_pointer(pid_t tid)
{
	struct user_regs_struct registers = arch_get(tid);

	return (unsigned long)ARCH_STACK_POINTER(registers);
}

static inline long arch_result(pid_t tid)
{
	struct user_regs_struct registers = arch_get(tid);

	return (long)ARCH_RESULT(registers);
}

static inline void arch_get_call(pid_t tid, struct call *call)
{
	struct user_regs_struct registers = arch_get(tid);

#if defined(__x86_64__)
	call->number = (long)registers.orig_rax;
#else
	call->number = (long)registers.regs[8];
#endif
	for (int i = 0; i < 4; i++)
		call->arguments[i] = (unsigned long)*arch_argument(&registers, i);
}

static inline void arch_set_argument(pid_t tid, int index, unsigned long value)
{
	struct user_regs_struct registers = arch_get(tid);

	*arch_argument(&registers, index) = value;
	arch_set(tid, &registers);
}

/* The call does not take place; its result is this. */
static inline void arch_answer_call(pid_t tid, long result)
{
	struct user_regs_struct registers = arch_get(tid);
#if defined(__x86_64__)
	registers.orig_rax = (unsigned long long)-1;
#else
	int number = -1;

	arch_transfer(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &number, sizeof(number));
#endif
	ARCH_RESULT(registers) = (unsigned long long)result;
	arch_set(tid, &registers);
}

#endif /* FAKE_KERNEL_H */
