/* SPDX-License-Identifier: MIT */
/*
 * rseq/info.h: what the library found out, and what it decided.
 *
 * Who may run with whom: every function may run at the same time as any function of the library.
 */
#ifndef RSEQ_INFO_H
#define RSEQ_INFO_H

#include <rseq/abi.h>
#include <rseq/compiler.h>

#include <stddef.h>
#include <stdint.h>

RSEQ_BEGIN_DECLS

/* Who registered the calling thread. Values are stable. */
enum rseq_owner {
	RSEQ_OWNER_NONE = 0,
	RSEQ_OWNER_LIBC = 1,
	RSEQ_OWNER_LIBRSEQ = 2,		/* this library, when asked or at the first use */
	RSEQ_OWNER_SHARED = 3,		/* another module, with the area that this library uses */
	RSEQ_OWNER_FOREIGN = 4,		/* another module, with an area of its own */
};

/* Why the calling thread has no rseq. Values are stable. */
enum rseq_reason {
	RSEQ_REASON_NONE = 0,		/* it has */
	RSEQ_REASON_NOT_REGISTERED = 1,	/* nobody asked for it, or it was unregistered */
	RSEQ_REASON_DISABLED = 2,	/* LIBRSEQ_DISABLE */
	RSEQ_REASON_KERNEL_BUG = 3,	/* see rseq_info.kernel_bugs */
	RSEQ_REASON_NO_SYSCALL = 4,	/* ENOSYS */
	RSEQ_REASON_FORBIDDEN = 5,	/* EPERM, EACCES */
	RSEQ_REASON_FOREIGN = 6,	/* another module registered an area of its own */
	RSEQ_REASON_VFORK_CHILD = 7,	/* the thread runs on its parent's storage */
	RSEQ_REASON_NO_AREA = 8,	/* no area that is aligned as the kernel wants it */
	RSEQ_REASON_REFUSED = 9,	/* any other answer of the kernel */
	/* Registered, but somebody wrote over cpu_id: until the kernel does, at a migration. */
	RSEQ_REASON_OVERWRITTEN = 10,
};

/* Where the area comes from that critical sections use. Values are stable. */
enum rseq_area_origin {
	RSEQ_AREA_NONE = 0,		/* rseq is off */
	RSEQ_AREA_LIBC = 1,
	RSEQ_AREA_LIBRSEQ = 2,		/* this library */
	RSEQ_AREA_INTERPOSED = 3,	/* __rseq_abi of another module, with its size */
	RSEQ_AREA_ASSUMED = 4,		/* the same, size not known: 32 bytes */
};

/* How the kernel treats the area, which follows from the registered length. Values are stable. */
enum rseq_mode {
	RSEQ_MODE_NONE = 0,
	RSEQ_MODE_LEGACY = 1,		/* length 32 */
	RSEQ_MODE_V2 = 2,		/* a greater length */
};

/* Fields that the kernel keeps for the calling thread. */
enum rseq_feature {
	RSEQ_FEATURE_CPU_ID = 1 << 0,
	RSEQ_FEATURE_NODE_ID = 1 << 1,
	RSEQ_FEATURE_MM_CID = 1 << 2,
	RSEQ_FEATURE_SLICE = 1 << 3,	/* the kernel says in the area that it is available */
};

/* Known kernel bugs. */
enum rseq_kernel_bug {
	RSEQ_KERNEL_BUG_CLONE_VM = 1 << 0,	/* before 5.4.18; rseq is refused */
	RSEQ_KERNEL_BUG_STALE_CPU_ID = 1 << 1,	/* before 5.7.10; rseq is refused */
	RSEQ_KERNEL_BUG_KVM = 1 << 2,		/* before 5.14.9; only told, concerns KVM_RUN */
	RSEQ_KERNEL_BUG_MEMBARRIER = 1 << 3,	/* before 6.18; membarrier fences are not used */
	RSEQ_KERNEL_BUG_ARM64_ABORT = 1 << 4,	/* 6.19 to 7.0.13 on arm64; rseq is refused */
	RSEQ_KERNEL_BUG_MM_CID = 1 << 5,	/* 6.19 to 7.1.2; mm_cid is not used */
};

/* Everything rseq_get_info() knows. Fields are added at the end. */
struct rseq_info {
	size_t size;			/* in: sizeof(struct rseq_info); out: bytes filled in */

	/* the calling thread */
	int owner;			/* enum rseq_owner */
	int reason;			/* enum rseq_reason */
	int mode;			/* enum rseq_mode */
	unsigned int registered_length;	/* bytes, 0 when unregistered or not known */
	unsigned int feature_size;	/* active feature size, bytes, 0 when unregistered */
	unsigned int features;		/* bits of enum rseq_feature */

	/* the process */
	int area_origin;		/* enum rseq_area_origin */
	unsigned int area_size;		/* bytes */
	unsigned int area_align;	/* bytes, in every thread */
	ptrdiff_t area_offset;		/* from the thread pointer, bytes */
	/*
	 * What defines the area: the path of a module, "" for the program, "libc"; NULL where rseq
	 * is off, or the area is this library's own because __rseq_abi is no use.
	 */
	const char *area_module;
	unsigned int length;		/* that this library would register, bytes; 0: none */
	int disabled;			/* LIBRSEQ_DISABLE is set */
	unsigned int other_definitions;	/* modules beside this one that define __rseq_abi */

	/* libc */
	int libc_symbols;		/* libc has __rseq_offset, __rseq_size and __rseq_flags */
	unsigned int libc_size;		/* __rseq_size, bytes; 0 when libc does not register */
	ptrdiff_t libc_offset;		/* __rseq_offset, bytes */

	/* the kernel */
	unsigned int kernel_feature_size;	/* AT_RSEQ_FEATURE_SIZE, bytes; 0 before 6.3 */
	unsigned int kernel_align;	/* AT_RSEQ_ALIGN, bytes; 0 before 6.3 */
	unsigned int kernel_version[3];	/* the release that the bug table was asked for */
	unsigned int kernel_bugs;	/* bits of enum rseq_kernel_bug */
	int kernel_trusted;		/* LIBRSEQ_KERNEL_TRUSTED is set: bugs change nothing */
	int max_nr_cpus;		/* rseq_get_max_nr_cpus() */

	/* statistics of the process */
	uint64_t aborts;		/* aborted sections of this library's structures */
};

/*
 * Fill in what is known of the calling thread, the process and the kernel.
 *
 * Returns: 0, or -1 with errno EINVAL (NULL, or a size that holds no field). A structure of an
 * older program is filled as far as it goes, one of a newer program is filled up with zeros.
 * Context: any thread, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free, at most four system calls; the first call reads the possible CPUs, too.
 */
RSEQ_API int rseq_get_info(struct rseq_info *info);

/*
 * A sentence for an enum rseq_reason.
 *
 * Returns: a constant string, never NULL.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
RSEQ_API const char *rseq_reason_string(int reason);

/*
 * A sentence for one bit of enum rseq_kernel_bug.
 *
 * Returns: a constant string, or NULL for what is not one known bit.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
RSEQ_API const char *rseq_kernel_bug_string(unsigned int bug);

RSEQ_END_DECLS

#endif /* RSEQ_INFO_H */
