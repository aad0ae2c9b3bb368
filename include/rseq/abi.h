/* SPDX-License-Identifier: MIT */
/*
 * rseq/abi.h: what the kernel and the thread share.
 *
 * The uapi header's structure changes size between kernel releases (32 bytes up to 6.18, 64 from
 * 7.0), so its sizeof is no registration length. This one is the library's own: 64 bytes, which
 * hold every field of every released kernel. Never pass sizeof(struct rseq_abi) to the kernel.
 */
#ifndef RSEQ_ABI_H
#define RSEQ_ABI_H

#include <sys/syscall.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __NR_rseq
# if defined(__x86_64__) && !defined(__ILP32__)
#  define __NR_rseq	334
# elif defined(__aarch64__)
#  define __NR_rseq	293
# endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Values of rseq_abi.cpu_id that are no CPU number (include/uapi/linux/rseq.h). */
enum rseq_abi_cpu_id_state {
	RSEQ_ABI_CPU_ID_UNINITIALIZED		= -1,
	RSEQ_ABI_CPU_ID_REGISTRATION_FAILED	= -2,
};

/* Flags of the system call (include/uapi/linux/rseq.h). */
enum rseq_abi_flags {
	RSEQ_ABI_FLAG_UNREGISTER		= 1 << 0,
	RSEQ_ABI_FLAG_SLICE_EXT_DEFAULT_ON	= 1 << 1,	/* from 7.0 */
};

/*
 * Flags of a descriptor and of the area. Kernels since 6.1 want 0: a descriptor with one of them
 * set ends the process (kernel/rseq.c).
 */
enum rseq_abi_cs_flags_bit {
	RSEQ_ABI_CS_FLAG_NO_RESTART_ON_PREEMPT_BIT	= 0,
	RSEQ_ABI_CS_FLAG_NO_RESTART_ON_SIGNAL_BIT	= 1,
	RSEQ_ABI_CS_FLAG_NO_RESTART_ON_MIGRATE_BIT	= 2,
};

enum rseq_abi_cs_flags {
	RSEQ_ABI_CS_FLAG_NO_RESTART_ON_PREEMPT	= 1 << 0,
	RSEQ_ABI_CS_FLAG_NO_RESTART_ON_SIGNAL	= 1 << 1,
	RSEQ_ABI_CS_FLAG_NO_RESTART_ON_MIGRATE	= 1 << 2,
	RSEQ_ABI_CS_FLAG_SLICE_EXT_AVAILABLE	= 1 << 4,	/* area only, kernel-owned, 7.0 */
	RSEQ_ABI_CS_FLAG_SLICE_EXT_ENABLED	= 1 << 5,	/* area only, kernel-owned, 7.0 */
};

/* The descriptor of one critical section, read by the kernel. */
struct rseq_abi_cs {
	uint32_t version;		/* 0 */
	uint32_t flags;			/* enum rseq_abi_cs_flags, 0 */
	uint64_t start_ip;
	uint64_t post_commit_offset;	/* bytes from start_ip past the commit instruction */
	uint64_t abort_ip;		/* outside of the section, behind a signature */
} __attribute__((aligned(4 * sizeof(uint64_t))));

/*
 * The area shared between a thread and the kernel: 64 bytes, aligned to 32, which is all that an
 * area of libc or of another module is known to be. A field exists in a thread if its end lies
 * within the thread's active feature size (rseq_info.feature_size); the kernel alone writes
 * cpu_id_start, cpu_id, node_id and mm_cid.
 */
struct rseq_abi {
	uint32_t cpu_id_start;		/* always a possible CPU number, 4.18 */
	uint32_t cpu_id;		/* current CPU, or enum rseq_abi_cpu_id_state, 4.18 */
	union {
		uint64_t ptr64;
		struct {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ && !defined(__LP64__)
			uint32_t padding;
			uint32_t ptr;
#elif !defined(__LP64__)
			uint32_t ptr;
			uint32_t padding;
#else
			uint64_t ptr;
#endif
		} arch;
	} rseq_cs;			/* the armed descriptor, or 0, 4.18 */
	uint32_t flags;			/* 4.18 */
	uint32_t node_id;		/* NUMA node, 6.3 */
	uint32_t mm_cid;		/* concurrency id within the memory map, 6.3 */
	struct {
		uint8_t request;
		uint8_t granted;
		uint16_t reserved;
	} slice_ctrl;			/* time-slice extension, 7.0 */
	uint8_t reserved;		/* 7.0 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"	/* C++ has no flexible array members */
	char end[];			/* end of the named fields */
#pragma GCC diagnostic pop
} __attribute__((aligned(4 * sizeof(uint64_t))));

/* What the kernel calls the first release of the area: its features and its allocation. */
#define RSEQ_ABI_ORIG_FEATURE_SIZE	20
#define RSEQ_ABI_ORIG_SIZE		32

#ifdef __cplusplus
}
#endif

#endif /* RSEQ_ABI_H */
