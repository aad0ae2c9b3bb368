/* SPDX-License-Identifier: MIT */
/*
 * info-ptrace.c: asks the kernel how a thread of another process is registered.
 *
 * A thread is attached to with PTRACE_SEIZE, stopped, asked, and let go. When the tracer ends, for
 * whatever reason, the kernel lets go of all that is attached and resumes it; so only signals that
 * would stop the tracer in between are blocked, and those that end it are not.
 */
#include "info-pid.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

/* include/uapi/linux/ptrace.h, 5.13; libc may be older. */
#define GET_RSEQ_CONFIGURATION	0x420f

#ifndef NT_ARM_TLS
# define NT_ARM_TLS		0x401
#endif

#define WAIT_NANOSECONDS	10000000L
#define WAITS			500	/* for all threads together: 5 s */

static sigset_t old_mask;
static int waits_left;

void tracer_start(void)
{
	sigset_t mask;

	/* The kernel tells of a stop by SIGCHLD, unless it is ignored. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTSTP);
	sigaddset(&mask, SIGTTIN);
	sigaddset(&mask, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &mask, &old_mask);
	waits_left = WAITS;
}

void tracer_stop(void)
{
	pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
}

/*
 * A thread that was about to get a signal has stopped with it, instead of the stop that was asked
 * for: the signal goes on to it.
 */
static void let_go(pid_t tid, int status)
{
	uintptr_t signal = status >> 16 ? 0 : (uintptr_t)WSTOPSIG(status);

	ptrace(PTRACE_DETACH, tid, NULL, (void *)signal);
}

/* Returns 0 and the status of the stop, ESRCH for a thread that ended, or ETIMEDOUT. */
static int wait_for_stop(pid_t tid, int *status)
{
	const struct timespec wait = { 0, WAIT_NANOSECONDS };
	sigset_t child;
	pid_t stopped;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		stopped = waitpid(-1, status, __WALL | WNOHANG);
		if (stopped < 0)
			return ESRCH;
		if (stopped == tid)
			return WIFSTOPPED(*status) ? 0 : ESRCH;
		if (stopped > 0) {
			/* One that was silent before. */
			if (WIFSTOPPED(*status))
				let_go(stopped, *status);
			continue;
		}
		if (sigtimedwait(&child, NULL, &wait) < 0 && errno == EAGAIN && --waits_left < 0)
			return ETIMEDOUT;
	}
}

/* The kernel answers with as many bytes as the thread's architecture has. */
static bool read_registers(pid_t tid, int type, void *registers, size_t size)
{
	struct iovec part = { registers, size };

	return !ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)type, &part) &&
	       part.iov_len == size;
}

#if defined(__x86_64__)
static void read_pointers(pid_t tid, struct registers *pointers)
{
	struct user_regs_struct general;

	pointers->known = read_registers(tid, NT_PRSTATUS, &general, sizeof(general));
	if (!pointers->known)
		return;
	pointers->thread_pointer = (uintptr_t)general.fs_base;
	pointers->stack_pointer = (uintptr_t)general.rsp;
}
#elif defined(__aarch64__)
static void read_pointers(pid_t tid, struct registers *pointers)
{
	struct user_regs_struct general;
	uint64_t thread_pointer;

	pointers->known = read_registers(tid, NT_PRSTATUS, &general, sizeof(general)) &&
			  read_registers(tid, NT_ARM_TLS, &thread_pointer, sizeof(thread_pointer));
	if (!pointers->known)
		return;
	pointers->thread_pointer = (uintptr_t)thread_pointer;
	pointers->stack_pointer = (uintptr_t)general.sp;
}
#endif

static int ask(struct inspected_thread *thread)
{
	struct rseq_configuration *rseq = &thread->rseq;

	if (ptrace(GET_RSEQ_CONFIGURATION, thread->tid, (void *)sizeof(*rseq), rseq) < 0)
		return errno;
	thread->state = rseq->area ? THREAD_REGISTERED : THREAD_UNREGISTERED;
	/* Some kernels give the length of a thread that has no area, too. */
	if (!rseq->area)
		memset(rseq, 0, sizeof(*rseq));
	read_pointers(thread->tid, &thread->registers);
	return 0;
}

int tracer_inspect(struct inspected_thread *thread)
{
	int status, error;

	if (ptrace(PTRACE_SEIZE, thread->tid, NULL, NULL))
		return errno;
	if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL))
		return errno;
	error = wait_for_stop(thread->tid, &status);
	if (error == ETIMEDOUT) {
		thread->state = THREAD_SILENT;
		return 0;
	}
	if (error)
		return error;
	error = ask(thread);
	let_go(thread->tid, status);
	return error;
}
