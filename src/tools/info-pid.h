/* SPDX-License-Identifier: MIT */
/*
 * info-pid.h: what the files of `rseqctl info --pid` share.
 */
#ifndef INFO_PID_H
#define INFO_PID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* What PTRACE_GET_RSEQ_CONFIGURATION fills in (include/uapi/linux/ptrace.h). */
struct rseq_configuration {
	uint64_t area;			/* 0 in a thread that is not registered */
	uint32_t length;
	uint32_t signature;
	uint32_t flags;
	uint32_t pad;
};

struct registers {
	bool known;
	uintptr_t thread_pointer;
	uintptr_t stack_pointer;
};

enum thread_state {
	THREAD_UNREGISTERED,
	THREAD_REGISTERED,
	THREAD_SILENT,			/* did not stop to answer */
};

struct inspected_thread {
	pid_t tid;
	char comm[64];
	enum thread_state state;
	struct rseq_configuration rseq;
	struct registers registers;
};

/*
 * info-ptrace.c: stops the thread for some microseconds to ask about its registration. The
 * caller is the tracer; signals are blocked between tracer_start() and tracer_stop().
 *
 * Returns: 0; ESRCH when there is no such thread any more; or an errno, and the thread is as it
 * was. One that cannot be stopped, because it sleeps uninterruptibly in the kernel, is
 * THREAD_SILENT: it would stop when it wakes up, and is let go then by tracer_inspect() of another
 * thread, or now by the end of the tracer.
 */
void tracer_start(void);
int tracer_inspect(struct inspected_thread *thread);
void tracer_stop(void);

/* One mapping of a process. */
struct mapping {
	uintptr_t start, end;
	unsigned long inode;
	unsigned int major, minor;
	char *path;			/* "" for anonymous memory */
};

/* info-maps.c: the memory map of a process; empty where it cannot be read. */
struct address_space {
	pid_t pid;
	struct mapping *mappings;	/* by address */
	size_t nr_mappings;
	bool libc_known;		/* it has the same dynamic linker as this process; then: */
	ptrdiff_t libc_offset;		/* its __rseq_offset */
	unsigned int libc_size;		/* its __rseq_size */
};

void address_space_read(struct address_space *space, pid_t pid);
void address_space_free(struct address_space *space);
const struct mapping *address_space_find(const struct address_space *space, uintptr_t address);

#endif /* INFO_PID_H */
