/* SPDX-License-Identifier: MIT */
/*
 * rseq/thread.h: a thread's registration, and what the kernel tells a registered thread.
 *
 * Who may run with whom: every function of this header acts on the calling thread alone and may
 * run at the same time as any function on any other thread.
 */
#ifndef RSEQ_THREAD_H
#define RSEQ_THREAD_H

#include <rseq/abi.h>
#include <rseq/compiler.h>
#include <rseq/thread-pointer.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

RSEQ_BEGIN_DECLS

/*
 * Distance from the thread pointer to the area that critical sections use, in bytes. The same in
 * every thread, set before the constructors of programs run, and never changed. What runs even
 * before these (.preinit_array) may use structures, whose making sets it, and must not use inline
 * functions of this header, or rseq/ops.h, unless rseq_available() was called; libc may not have
 * read the environment by then, so that LIBRSEQ_DISABLE is not seen.
 */
extern RSEQ_API ptrdiff_t rseq_offset;

/* The same number, declared as the constant that it is: compilers keep it in a register. */
extern RSEQ_API const ptrdiff_t rseq_area_offset;

/*
 * Width of the vector registers that copies within critical sections use, in bytes: 16, or 32
 * where an x86-64 processor and its kernel have AVX2. Set before the constructors of programs run,
 * and never changed.
 */
extern RSEQ_API const unsigned int rseq_vector_bytes;

/*
 * Active feature size, in bytes: a field of struct rseq_abi exists if its end lies within it.
 * (unsigned int)-1 before this library is initialised; 0 while this library owns registration and
 * no thread has registered, and where rseq is off.
 */
extern RSEQ_API unsigned int rseq_size;

/* Flags of the registrations: 0. */
extern RSEQ_API unsigned int rseq_flags;

enum rseq_mo {
	RSEQ_MO_RELAXED = 0,
	RSEQ_MO_CONSUME = 1,
	RSEQ_MO_ACQUIRE = 2,
	RSEQ_MO_RELEASE = 3,
	RSEQ_MO_ACQ_REL = 4,
	RSEQ_MO_SEQ_CST = 5,
};

/* What indexes per-CPU data. */
enum rseq_percpu_mode {
	RSEQ_PERCPU_CPU_ID = 0,
	RSEQ_PERCPU_MM_CID = 1,
};

enum rseq_available_query {
	RSEQ_AVAILABLE_QUERY_KERNEL = 0,
	RSEQ_AVAILABLE_QUERY_LIBC = 1,
};

/*
 * Register the calling thread, where libc or another module has not. Calls nest: each successful
 * one wants one rseq_unregister_current_thread().
 *
 * Returns: 0, without a system call where libc registered this thread. -1 with errno
 *	EOPNOTSUPP	rseq is off: LIBRSEQ_DISABLE is set, or this kernel has a known bug
 *	ENOSYS		the kernel, or what stands in for it, has no rseq
 *	EPERM		a security policy forbids it
 *	EBUSY		another module registered an area of its own in this thread
 *	ECHILD		this is the child of vfork(), which runs on its parent's storage (0 where
 *			libc registered the parent: then there is nothing to do)
 *	EOVERFLOW	over UINT_MAX nested calls
 *	EAGAIN		the thread is ending, and libc frees its storage before it is gone: musl
 *	any other	what the kernel answered
 * The reason is in rseq_info.reason, too.
 * Context: any thread, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free, a few system calls; signals are blocked meanwhile.
 */
RSEQ_API int rseq_register_current_thread(void);

/*
 * Undo one rseq_register_current_thread(). The last one ends the registration, if this library
 * made it. A thread need not unregister before it ends.
 *
 * Returns: 0, without a system call where libc registered this thread. -1 with errno EINVAL
 * (nothing to undo, or somebody else ended the registration), ECHILD (child of vfork()), or what
 * the kernel answered.
 * Context: any thread, outside of every critical section, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free, a few system calls; signals are blocked meanwhile.
 */
RSEQ_API int rseq_unregister_current_thread(void);

/*
 * Whether rseq can be used: KERNEL asks whether the kernel offers it, LIBC whether libc registers
 * threads.
 *
 * Returns: true or false; false with errno EINVAL for an unknown query. false where rseq is off.
 * Context: any thread, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free, at most one system call.
 */
RSEQ_API bool rseq_available(unsigned int query);

/*
 * The CPU, or the NUMA node, that the calling thread runs on, asked from the kernel.
 *
 * Returns: its number, or -1 with errno where the kernel does not say.
 * Context: any thread, async-signal-safe.
 * Ordering: none; the answer may be stale when it arrives.
 * Progress: wait-free.
 */
RSEQ_API int32_t rseq_fallback_current_cpu(void);
RSEQ_API int32_t rseq_fallback_current_node(void);

/*
 * Upper bound of the CPU numbers this kernel can ever give out, plus one. Read once, at the first
 * call (about 10 us).
 *
 * Returns: a positive number, always.
 * Context: any thread, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
RSEQ_API int rseq_get_max_nr_cpus(void);

/*
 * As rseq_get_abi(), but never inlined, so that the thread pointer is read anew: for code that
 * may have moved to another thread, such as a coroutine.
 *
 * Returns: the calling thread's area, never NULL.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
RSEQ_API struct rseq_abi *rseq_get_abi_slow(void);

/*
 * The calling thread's area. A program that defines RSEQ_GET_ABI_OVERRIDE before it includes any
 * header of the library supplies this itself: a function, before or behind the headers, which may
 * be static or inline in front of them, or a macro in front of them.
 *
 * Returns: the area, never NULL; its cpu_id is negative in a thread that is not registered.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
#ifndef RSEQ_GET_ABI_OVERRIDE
RSEQ_INLINE struct rseq_abi *rseq_get_abi(void)
{
	return (struct rseq_abi *)((uintptr_t)rseq_thread_pointer() +
				   (uintptr_t)rseq_area_offset);
}
#elif !defined(rseq_get_abi)
/* With whatever linkage it was given before. */
RSEQ_END_DECLS
struct rseq_abi *rseq_get_abi(void);
RSEQ_BEGIN_DECLS
#endif

/*
 * The calling thread's CPU as the kernel keeps it.
 *
 * Returns: the CPU number, or enum rseq_abi_cpu_id_state (negative) in an unregistered thread.
 * Context: any, async-signal-safe. In the child of vfork() the value is its parent's.
 * Ordering: none; the answer may be stale as soon as it is read.
 * Progress: wait-free.
 */
RSEQ_INLINE int32_t rseq_current_cpu_raw(void)
{
	return (int32_t)RSEQ_READ_ONCE(rseq_get_abi()->cpu_id);
}

/*
 * Whether the calling thread is registered, by whomever, so that critical sections can run.
 *
 * Returns: true or false.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
RSEQ_INLINE bool rseq_thread_registered(void)
{
	return rseq_current_cpu_raw() >= 0;
}

/*
 * The CPU number to start a critical section with.
 *
 * Returns: a possible CPU number, always; 0 in an unregistered thread.
 * Context: any, async-signal-safe.
 * Ordering: none; the answer may be stale as soon as it is read.
 * Progress: wait-free.
 *
 * This reads cpu_id: google/tcmalloc keeps a pointer of its own where cpu_id_start is.
 */
RSEQ_INLINE uint32_t rseq_cpu_start(void)
{
	int32_t cpu = rseq_current_cpu_raw();

	return rseq_likely(cpu >= 0) ? (uint32_t)cpu : 0;
}

/*
 * The CPU that the calling thread runs on.
 *
 * Returns: its number, from rseq_fallback_current_cpu() in an unregistered thread.
 * Context: any, async-signal-safe.
 * Ordering: none; the answer may be stale as soon as it is read.
 * Progress: wait-free.
 */
RSEQ_INLINE uint32_t rseq_current_cpu(void)
{
	int32_t cpu = rseq_current_cpu_raw();

	if (rseq_unlikely(cpu < 0))
		cpu = rseq_fallback_current_cpu();
	return (uint32_t)cpu;
}

/* Whether the field that ends at byte end_offset of the area exists in the calling thread. */
RSEQ_INLINE bool rseq_thread_has_field(int end_offset)
{
	int size = (int)RSEQ_READ_ONCE(rseq_size);	/* -1 before initialisation */

	return size >= end_offset && rseq_thread_registered();
}

/*
 * Whether the kernel keeps node_id (6.3 and later), or mm_cid (6.3 and later), for this thread.
 *
 * Returns: true or false; false in an unregistered thread.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 */
RSEQ_INLINE bool rseq_node_id_available(void)
{
	return rseq_thread_has_field(offsetof(struct rseq_abi, mm_cid));
}

RSEQ_INLINE bool rseq_mm_cid_available(void)
{
	return rseq_thread_has_field(offsetof(struct rseq_abi, slice_ctrl));
}

/*
 * The NUMA node that the calling thread runs on.
 *
 * Returns: its number, from rseq_fallback_current_node() where the field is not available.
 * Context: any, async-signal-safe.
 * Ordering: none; the answer may be stale as soon as it is read.
 * Progress: wait-free.
 */
RSEQ_INLINE uint32_t rseq_current_node_id(void)
{
	if (rseq_unlikely(!rseq_node_id_available()))
		return (uint32_t)rseq_fallback_current_node();
	return RSEQ_READ_ONCE(rseq_get_abi()->node_id);
}

/*
 * The calling thread's concurrency id: below the number of possible CPUs, and at any moment held
 * by one thread of the process only. Never an index into memory shared with another process.
 *
 * Returns: the id, or (uint32_t)-1 where the field is not available; no critical section commits
 * with that one.
 * Context: any, async-signal-safe.
 * Ordering: none; the answer may be stale as soon as it is read.
 * Progress: wait-free.
 */
RSEQ_INLINE uint32_t rseq_current_mm_cid(void)
{
	if (rseq_unlikely(!rseq_mm_cid_available()))
		return (uint32_t)-1;
	return RSEQ_READ_ONCE(rseq_get_abi()->mm_cid);
}

/*
 * Disarm the last critical section that the calling thread ran.
 *
 * Returns: nothing.
 * Context: any, outside of every critical section, async-signal-safe.
 * Ordering: compiler barrier on both sides.
 * Progress: wait-free.
 *
 * The kernel reads a descriptor that is still armed at the thread's next interruption. Memory
 * that holds descriptors (a shared object, generated code) may be released only when every thread
 * that ran a section of it has disarmed it.
 */
RSEQ_INLINE void rseq_clear_rseq_cs(void)
{
	rseq_barrier();
	RSEQ_WRITE_ONCE(rseq_get_abi()->rseq_cs.arch.ptr, 0);
	rseq_barrier();
}

/* The same, under the name of its use: each thread calls it before dlclose() of a user. */
RSEQ_INLINE void rseq_prepare_unload(void)
{
	rseq_clear_rseq_cs();
}

RSEQ_END_DECLS

#endif /* RSEQ_THREAD_H */
