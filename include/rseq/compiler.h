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
#include <stdint.h>

/* Whether this is compiled for a sanitizer of threads, or of memory that was never written. */
#if defined(__SANITIZE_THREAD__)
# define RSEQ_SANITIZE_THREAD	1
#elif defined(__has_feature)
# if __has_feature(thread_sanitizer)
#  define RSEQ_SANITIZE_THREAD	1
# elif __has_feature(memory_sanitizer)
#  define RSEQ_SANITIZE_MEMORY	1
# endif
#endif
#ifndef RSEQ_SANITIZE_THREAD
# define RSEQ_SANITIZE_THREAD	0
#endif
#ifndef RSEQ_SANITIZE_MEMORY
# define RSEQ_SANITIZE_MEMORY	0
#endif

#if RSEQ_SANITIZE_THREAD
# include <sanitizer/tsan_interface.h>
#endif
#if RSEQ_SANITIZE_MEMORY
# include <sanitizer/msan_interface.h>
#endif
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
#if RSEQ_SANITIZE_THREAD
/* To its eyes a volatile access is one that must not meet another thread's. */
# define RSEQ_READ_ONCE(x)							\
	__extension__ ({							\
		rseq_unqual_scalar_typeof(x) rseq_read;				\
										\
		__atomic_load(&(x), &rseq_read, __ATOMIC_RELAXED);		\
		rseq_read;							\
	})
# define RSEQ_WRITE_ONCE(x, v)							\
	__extension__ ({							\
		rseq_unqual_scalar_typeof(x) rseq_written = (v);		\
										\
		__atomic_store(&(x), &rseq_written, __ATOMIC_RELAXED);		\
		(void)0;							\
	})
#else
# define RSEQ_READ_ONCE(x)	RSEQ_ACCESS_ONCE(x)
# define RSEQ_WRITE_ONCE(x, v)	((void)(RSEQ_ACCESS_ONCE(x) = (v)))
#endif

/*
 * What sanitizers are told of critical sections, whose accesses they do not see; nothing in a
 * program that is not compiled for one.
 *
 *	rseq_sanitize_release(at)	what this thread did so far comes before what any thread
 *					does after
 *	rseq_sanitize_acquire(at)	of the same address, which need not be accessed otherwise
 *	rseq_sanitize_written(at, len)	these bytes have values
 *	rseq_sanitize_ignore_writes(on)	what this thread writes may meet what others read, from here
 *					on or no more
 */
#if RSEQ_SANITIZE_THREAD
RSEQ_BEGIN_DECLS
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
RSEQ_END_DECLS
# define rseq_sanitize_release(at)	__tsan_release((void *)(uintptr_t)(at))
# define rseq_sanitize_acquire(at)	__tsan_acquire((void *)(uintptr_t)(at))
# define rseq_sanitize_ignore_writes(on)						\
	((on) ? AnnotateIgnoreWritesBegin(__FILE__, __LINE__) :			\
		AnnotateIgnoreWritesEnd(__FILE__, __LINE__))
#else
# define rseq_sanitize_release(at)	((void)(at))
# define rseq_sanitize_acquire(at)	((void)(at))
# define rseq_sanitize_ignore_writes(on)	((void)(on))
#endif
#if RSEQ_SANITIZE_MEMORY
# define rseq_sanitize_written(at, len)	__msan_unpoison((at), (len))
#else
# define rseq_sanitize_written(at, len)	((void)(at), (void)(len))
#endif

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

/* gcc warns that its sanitizer does not look at fences. */
#if RSEQ_SANITIZE_THREAD && !defined(__clang__)
# define RSEQ_THREAD_FENCE(order)							\
	__extension__ ({							\
		_Pragma("GCC diagnostic push")					\
		_Pragma("GCC diagnostic ignored \"-Wtsan\"")			\
		__atomic_thread_fence(order);					\
		_Pragma("GCC diagnostic pop")					\
		(void)0;							\
	})
#else
# define RSEQ_THREAD_FENCE(order)	__atomic_thread_fence(order)
#endif

/*
 * Barriers between threads: full, loads, stores, and what turns a branch on a loaded value into an
 * acquire.
 */
#define rseq_smp_mb()				RSEQ_THREAD_FENCE(__ATOMIC_SEQ_CST)
#define rseq_smp_rmb()				RSEQ_THREAD_FENCE(__ATOMIC_ACQUIRE)
#define rseq_smp_wmb()				RSEQ_THREAD_FENCE(__ATOMIC_RELEASE)
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
