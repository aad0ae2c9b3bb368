/* SPDX-License-Identifier: MIT */
/*
 * fake-kernel.h: a stopped thread's registers, by architecture.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include "ptrace-request.h"

#include <elf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

struct call {
	long number;
	unsigned long arguments[4];
};

#define AT(name)	offsetof(struct user_regs_struct, name)

#if defined(__x86_64__)
# define ARCH_ARGUMENTS			AT(rdi), AT(rsi), AT(rdx), AT(r10)
# define ARCH_STACK_POINTER(registers)	((registers).rsp)
# define ARCH_RESULT(registers)		((registers).rax)
#elif defined(__aarch64__)
# define ARCH_ARGUMENTS			AT(regs[0]), AT(regs[1]), AT(regs[2]), AT(regs[3])
# define ARCH_STACK_POINTER(registers)	((registers).sp)
# define ARCH_RESULT(registers)		((registers).regs[0])
#endif

/* Where an argument of a call is. libcs do not agree on the type of a register. */
static inline void *arch_argument(struct user_regs_struct *registers, int index)
{
	static const size_t offsets[] = { ARCH_ARGUMENTS };

	return (char *)registers + offsets[index];
}

#undef AT

static inline void arch_transfer(PTRACE_REQUEST direction, pid_t tid, long set,
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

static inline unsigned long arch_thread_pointer(pid_t tid)
{
#if defined(__x86_64__)
	return (unsigned long)arch_get(tid).fs_base;
#else
	unsigned long pointer;

	arch_transfer(PTRACE_GETREGSET, tid, NT_ARM_TLS, &pointer, sizeof(pointer));
	return pointer;
#endif
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
		memcpy(&call->arguments[i], arch_argument(&registers, i), sizeof(unsigned long));
}

static inline void arch_set_argument(pid_t tid, int index, unsigned long value)
{
	struct user_regs_struct registers = arch_get(tid);

	memcpy(arch_argument(&registers, index), &value, sizeof(value));
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
