/* SPDX-License-Identifier: MIT */
/*
 * rseq/compiler.h: attributes, access macros and token helpers.
 */
#ifndef RSEQ_COMPILER_H
#define RSEQ_COMPILER_H

#if !defined(__GNUC__)
# error "librseq needs a compiler with GNU extensions (gcc 12 or later, clang 14 or later)"
#endif

#include <limits.h>

#ifdef __cplusplus
# include <type_traits>
#endif

#ifdef __cplusplus
# define RSEQ_BEGIN_DECLS	extern "C" {
# define RSEQ_END_DECLS		}
#else
# define RSEQ_BEGIN_DECLS
# define RSEQ_END_DECLS
#endif

/* An exported symbol: stands in the version map and has a manual page. */
#define RSEQ_API		__attribute__((visibility("default")))

/* A function whose critical section must become part of its caller. */
#define RSEQ_INLINE		static inline __attribute__((always_inline, unused))

#define rseq_likely(x)		__builtin_expect(!!(x), 1)
#define rseq_unlikely(x)	__builtin_expect(!!(x), 0)

/* Compiler barrier: no memory access moves across it. */
#define rseq_barrier()		__asm__ __volatile__("" : : : "memory")

/* One access, neither split, merged nor repeated, for scalars up to the machine word. */
#define RSEQ_ACCESS_ONCE(x)	(*(__volatile__ __typeof__(x) *)&(x))
#define RSEQ_READ_ONCE(x)	RSEQ_ACCESS_ONCE(x)
#define RSEQ_WRITE_ONCE(x, v)	((void)(RSEQ_ACCESS_ONCE(x) = (v)))

#define RSEQ_COMBINE_TOKENS_EXPANDED(left, right)	left##right
#define RSEQ_COMBINE_TOKENS(left, right)	RSEQ_COMBINE_TOKENS_EXPANDED(left, right)

#define RSEQ_STRINGIFY_EXPANDED(...)	#__VA_ARGS__
#define RSEQ_STRINGIFY(...)		RSEQ_STRINGIFY_EXPANDED(__VA_ARGS__)

#define RSEQ_BITS_PER_LONG	((int)(sizeof(long) * CHAR_BIT))

/* The type of the scalar x without const and volatile. */
#ifdef __cplusplus
# define rseq_unqual_scalar_typeof(x)						\
	std::remove_cv<std::remove_reference<decltype(x)>::type>::type
#else
# define rseq_unqual_scalar_typeof(x)	__typeof__(((void)0, (x)))
#endif

/*
 * Barriers between threads: full, loads, stores, and what turns a branch on a loaded value into an
 * acquire.
 */
#define rseq_smp_mb()				__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define rseq_smp_rmb()				__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define rseq_smp_wmb()				__atomic_thread_fence(__ATOMIC_RELEASE)
#define rseq_smp_acquire__after_ctrl_dep()	rseq_smp_rmb()

/* Load with acquire, store with release: scalars of 1 to 8 bytes, const and volatile ones too. */
#define rseq_smp_load_acquire(p)						\
	__extension__ ({							\
		rseq_unqual_scalar_typeof(*(p)) rseq_loaded;			\
										\
		__atomic_load((p), &rseq_loaded, __ATOMIC_ACQUIRE);		\
		rseq_loaded;							\
	})
#define rseq_smp_store_release(p, v)						\
	__extension__ ({							\
		rseq_unqual_scalar_typeof(*(p)) rseq_stored = (v);		\
										\
		__atomic_store((p), &rseq_stored, __ATOMIC_RELEASE);		\
	})

#endif /* RSEQ_COMPILER_H */
