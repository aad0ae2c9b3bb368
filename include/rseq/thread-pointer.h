/* SPDX-License-Identifier: MIT */
/*
 * rseq/thread-pointer.h: the register from which thread-local storage is addressed.
 */
#ifndef RSEQ_THREAD_POINTER_H
#define RSEQ_THREAD_POINTER_H

#include <rseq/compiler.h>

/*
 * The calling thread's thread pointer.
 *
 * Returns: the address that ELF thread-local storage offsets are relative to.
 * Context: any, async-signal-safe.
 * Ordering: none.
 * Progress: wait-free.
 *
 * A compiler may keep the value across a call: a coroutine that resumes on another thread reads
 * it again through rseq_get_abi_slow().
 */
RSEQ_INLINE void *rseq_thread_pointer(void)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 11
	void *thread_pointer;

	__asm__("movq %%fs:0, %0" : "=r" (thread_pointer));
	return thread_pointer;
#else
	return __builtin_thread_pointer();
#endif
}

#endif /* RSEQ_THREAD_POINTER_H */
