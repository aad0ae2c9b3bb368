/* SPDX-License-Identifier: MIT */
/*
 * rseq/ops.h: the librseq operations, one critical section each.
 *
 * All of them, in a thread that is registered and runs on cpu (in mode RSEQ_PERCPU_MM_CID: has
 * this concurrency id) from begin to end, do their work and commit it with their last store.
 *
 * Returns: 0 committed; 1 a comparison said no, nothing is changed; -1 aborted, or the thread is
 * not on cpu, or not registered: nothing is changed but what the operation says, and the caller
 * reads the CPU number anew and tries again, or does without.
 * Context: any thread, async-signal-safe. In the child of vfork() a section is not protected.
 * Ordering: mo orders the commit. Compiler barrier.
 * Progress: wait-free; a caller that repeats an aborted operation for ever is not.
 *
 * Who may run with whom: operations on one CPU's data, with its number, exclude each other on all
 * threads. Data is per-CPU by the caller's choice of addresses, and by one mode: operations with
 * cpu_id and with mm_cid do not exclude each other.
 *
 * mo and mode are constants; one that an operation does not take is a compile-time error.
 */
#ifndef RSEQ_OPS_H
#define RSEQ_OPS_H

#include <rseq/section.h>
#include <rseq/thread.h>

#include <stddef.h>
#include <stdint.h>

RSEQ_BEGIN_DECLS

/* The text of a section is longer than the strings that ISO C promises. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"

/* Both architectures have rseq_load_add_load_load_add_store__ptr(). */
#define rseq_arch_has_load_add_load_load_add_store	1

/*
 * Constants are checked twice: where the operation is called with one, at any level of
 * optimisation, and where the compiler found one out, in a function that wraps the operation.
 */
extern void rseq_error_mo_is_not_relaxed(void)
	__attribute__((error("this operation takes RSEQ_MO_RELAXED only")));
extern void rseq_error_mo_is_not_relaxed_or_release(void)
	__attribute__((error("this operation takes RSEQ_MO_RELAXED or RSEQ_MO_RELEASE only")));
extern void rseq_error_mode_is_unknown(void)
	__attribute__((error("mode is RSEQ_PERCPU_CPU_ID or RSEQ_PERCPU_MM_CID")));

#ifdef __cplusplus
# define RSEQ_STATIC_ASSERT(condition, message)	static_assert(condition, message)
# define RSEQ_IF_CONSTANT(value, otherwise)						\
	(__builtin_constant_p(value) ? (int)(value) : (int)(otherwise))
# define RSEQ_AS_MO(mo)		(mo)
#else
# define RSEQ_STATIC_ASSERT(condition, message)	_Static_assert(condition, message)
/* A const variable's value may be known, and still is no constant for a static assertion in C. */
# define RSEQ_IS_CONSTANT(value)							\
	_Generic(0 ? (void *)((intptr_t)(value) * 0) : (int *)0, int *: 1, default: 0)
# define RSEQ_IF_CONSTANT(value, otherwise)						\
	((int)__builtin_choose_expr(RSEQ_IS_CONSTANT(value), (value), (otherwise)))
/* An expression of enumerators is an int, which a call converts without a warning, and no other. */
# define RSEQ_AS_MO(mo)		((enum rseq_mo)(mo))
#endif

#define RSEQ_CHECK_CONSTANTS(operation, mo, mode, takes_release)				\
	RSEQ_STATIC_ASSERT((takes_release) ||						\
		RSEQ_IF_CONSTANT(mo, RSEQ_MO_RELAXED) == RSEQ_MO_RELAXED,		\
		operation " takes RSEQ_MO_RELAXED only");				\
	RSEQ_STATIC_ASSERT(RSEQ_IF_CONSTANT(mo, RSEQ_MO_RELAXED) == RSEQ_MO_RELAXED ||	\
		RSEQ_IF_CONSTANT(mo, RSEQ_MO_RELAXED) == RSEQ_MO_RELEASE,		\
		operation " takes RSEQ_MO_RELAXED or RSEQ_MO_RELEASE only");		\
	RSEQ_STATIC_ASSERT((unsigned int)RSEQ_IF_CONSTANT(mode, RSEQ_PERCPU_CPU_ID) <= 1,	\
		operation ": mode is RSEQ_PERCPU_CPU_ID or RSEQ_PERCPU_MM_CID")

/*
 * The value has to be a constant, not the condition: that one is known wherever the compiler has
 * compared a variable with what it may be.
 */
#define RSEQ_REQUIRE(value, condition, error)						\
	do {										\
		if (__builtin_constant_p(value) && !(condition))			\
			error();							\
	} while (0)

#define RSEQ_REQUIRE_RELAXED(mo)							\
	RSEQ_REQUIRE(mo, (mo) == RSEQ_MO_RELAXED, rseq_error_mo_is_not_relaxed)

#define RSEQ_REQUIRE_RELAXED_OR_RELEASE(mo)						\
	RSEQ_REQUIRE(mo, (mo) == RSEQ_MO_RELAXED || (mo) == RSEQ_MO_RELEASE,		\
		     rseq_error_mo_is_not_relaxed_or_release)

/* Several macro arguments as one. */
#define RSEQ_LIST(...)	__VA_ARGS__

/*
 * A negative cpu would match the cpu_id of an unregistered thread. The mm_cid of a thread without
 * that field is 0, which looks like an id: the size is asked here, registration in the section,
 * where a signal handler cannot change it.
 */
RSEQ_INLINE bool rseq_op_can_run(enum rseq_percpu_mode mode, int cpu)
{
	RSEQ_REQUIRE(mode, mode == RSEQ_PERCPU_CPU_ID || mode == RSEQ_PERCPU_MM_CID,
		     rseq_error_mode_is_unknown);
	if (mode == RSEQ_PERCPU_CPU_ID)
		return rseq_likely(cpu >= 0);
	return rseq_likely((int)RSEQ_READ_ONCE(rseq_size) >=
			   (int)offsetof(struct rseq_abi, slice_ctrl));
}

/*
 * Run a section whose begin, check of the id, end, exits and abort are the same in all operations.
 * body may leave to "aborted", and to the one label in exits; operands and labels are RSEQ_LISTs.
 */
#define RSEQ_OP_CODE(operation, check, body, exits)					\
	RSEQ_SECTION_BEGIN								\
	check										\
	RSEQ_ASM_CHECK_ID("cpu", "aborted")						\
	body										\
	RSEQ_SECTION_END								\
	RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("aborted") exits)				\
	RSEQ_SECTION_ABORT(operation, "aborted")

#define RSEQ_OP_RUN(operation, mode, body, exits, operands, clobbers, labels)		\
	do {										\
		if (!rseq_op_can_run(mode, cpu))					\
			goto aborted;							\
		if (mode == RSEQ_PERCPU_CPU_ID)						\
			__asm__ __volatile__ goto (					\
				RSEQ_OP_CODE(operation, "", body, exits)		\
				: /* none */						\
				: RSEQ_SECTION_OPERANDS(offsetof(struct rseq_abi, cpu_id)),	\
				  [cpu] "r" (cpu), operands				\
				: "memory", clobbers					\
				: aborted labels);					\
		else									\
			__asm__ __volatile__ goto (					\
				RSEQ_OP_CODE(operation, RSEQ_ASM_CHECK_REGISTERED("aborted"),	\
					     body, exits)				\
				: /* none */						\
				: RSEQ_SECTION_OPERANDS(offsetof(struct rseq_abi, mm_cid)),	\
				  [cpu] "r" (cpu), operands				\
				: "memory", clobbers					\
				: aborted labels);					\
	} while (0)

/* if (*v != expect) return 1; *v = newv; */
RSEQ_INLINE int rseq_load_cbne_store__ptr(enum rseq_mo mo, enum rseq_percpu_mode mode,
		intptr_t *v, intptr_t expect, intptr_t newv, int cpu)
{
	RSEQ_REQUIRE_RELAXED(mo);
	rseq_sanitize_release(v);
	RSEQ_OP_RUN("load_cbne_store", mode,
		RSEQ_ASM_BNE(RSEQ_ASM_AT("v"), "expect", "differs")
		RSEQ_ASM_STORE("newv", RSEQ_ASM_AT("v")),
		RSEQ_SECTION_EXIT("differs"),
		RSEQ_LIST([v] "r" (v), [expect] RSEQ_ASM_VALUE (expect),
			  [newv] RSEQ_ASM_VALUE (newv)),
		RSEQ_LIST(RSEQ_ASM_CLOBBERS),
		RSEQ_LIST(, differs));
	rseq_sanitize_written(v, sizeof(*v));
	rseq_sanitize_acquire(v);
	return 0;
aborted:
	return -1;
differs:
	return 1;
}

/*
 * if (*v == expectnot) return 1; *load = *v; *v = *(intptr_t *)(*v + voffp);
 * An aborted try may have written to *load.
 */
RSEQ_INLINE int rseq_load_cbeq_store_add_load_store__ptr(enum rseq_mo mo,
		enum rseq_percpu_mode mode, intptr_t *v, intptr_t expectnot, long voffp,
		intptr_t *load, int cpu)
{
	RSEQ_REQUIRE_RELAXED(mo);
	rseq_sanitize_release(v);
	RSEQ_OP_RUN("load_cbeq_store_add_load_store", mode,
		RSEQ_ASM_LOAD(RSEQ_ASM_AT("v"))
		RSEQ_ASM_BEQ_LOADED("expectnot", "equals")
		RSEQ_ASM_SCRATCH("load") RSEQ_ASM_STORE_LOADED(RSEQ_ASM_AT("load"))
		RSEQ_ASM_LOAD_AT_LOADED("voffp")
		RSEQ_ASM_STORE_LOADED(RSEQ_ASM_AT("v")),
		RSEQ_SECTION_EXIT("equals"),
		RSEQ_LIST([v] "r" (v), [expectnot] RSEQ_ASM_VALUE (expectnot),
			  [voffp] RSEQ_ASM_VALUE (voffp), [load] "r" (load)),
		RSEQ_LIST(RSEQ_ASM_CLOBBERS),
		RSEQ_LIST(, equals));
	rseq_sanitize_written(v, sizeof(*v));
	rseq_sanitize_written(load, sizeof(*load));
	rseq_sanitize_acquire(v);
	return 0;
aborted:
	return -1;
equals:
	return 1;
}

/* *v += count; never returns 1. */
RSEQ_INLINE int rseq_load_add_store__ptr(enum rseq_mo mo, enum rseq_percpu_mode mode, intptr_t *v,
		intptr_t count, int cpu)
{
	RSEQ_REQUIRE_RELAXED(mo);
	RSEQ_OP_RUN("load_add_store", mode,
		RSEQ_ASM_ADD("count", RSEQ_ASM_AT("v")),
		/* no other exit */,
		RSEQ_LIST([v] "r" (v), [count] RSEQ_ASM_ADDEND (count)),
		RSEQ_LIST(RSEQ_ASM_CLOBBERS),
		/* no other label */);
	return 0;
aborted:
	return -1;
}

/* p = *(intptr_t **)(*ptr + off); *p += inc; never returns 1. */
RSEQ_INLINE int rseq_load_add_load_load_add_store__ptr(enum rseq_mo mo,
		enum rseq_percpu_mode mode, intptr_t *ptr, long off, intptr_t inc, int cpu)
{
	RSEQ_REQUIRE_RELAXED(mo);
	RSEQ_OP_RUN("load_add_load_load_add_store", mode,
		RSEQ_ASM_LOAD(RSEQ_ASM_AT("ptr"))
		RSEQ_ASM_LOAD_AT_LOADED("off")
		RSEQ_ASM_ADD("inc", RSEQ_ASM_LOADED_AT),
		/* no other exit */,
		RSEQ_LIST([ptr] "r" (ptr), [off] RSEQ_ASM_VALUE (off),
			  [inc] RSEQ_ASM_ADDEND (inc)),
		RSEQ_LIST(RSEQ_ASM_CLOBBERS),
		/* no other label */);
	return 0;
aborted:
	return -1;
}

/* if (*v != expect || *v2 != expect2) return 1; *v = newv; */
RSEQ_INLINE int rseq_load_cbne_load_cbne_store__ptr(enum rseq_mo mo, enum rseq_percpu_mode mode,
		intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t expect2, intptr_t newv,
		int cpu)
{
	RSEQ_REQUIRE_RELAXED(mo);
	rseq_sanitize_release(v);
	RSEQ_OP_RUN("load_cbne_load_cbne_store", mode,
		RSEQ_ASM_BNE(RSEQ_ASM_AT("v"), "expect", "differs")
		RSEQ_ASM_BNE(RSEQ_ASM_AT("v2"), "expect2", "differs")
		RSEQ_ASM_STORE("newv", RSEQ_ASM_AT("v")),
		RSEQ_SECTION_EXIT("differs"),
		RSEQ_LIST([v] "r" (v), [expect] RSEQ_ASM_VALUE (expect), [v2] "r" (v2),
			  [expect2] RSEQ_ASM_VALUE (expect2), [newv] RSEQ_ASM_VALUE (newv)),
		RSEQ_LIST(RSEQ_ASM_CLOBBERS),
		RSEQ_LIST(, differs));
	rseq_sanitize_written(v, sizeof(*v));
	rseq_sanitize_acquire(v);
	return 0;
aborted:
	return -1;
differs:
	return 1;
}

/*
 * if (*v != expect) return 1; *v2 = newv2; *v = newv;
 * An aborted try may have written to *v2. RSEQ_MO_RELEASE: who reads newv from *v with acquire
 * sees newv2, and all that this thread wrote before.
 */
RSEQ_INLINE int rseq_load_cbne_store_store__ptr(enum rseq_mo mo, enum rseq_percpu_mode mode,
		intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t newv2, intptr_t newv, int cpu)
{
#define RSEQ_OP(store)									\
	RSEQ_OP_RUN("load_cbne_store_store", mode,					\
		RSEQ_ASM_BNE(RSEQ_ASM_AT("v"), "expect", "differs")			\
		RSEQ_ASM_SCRATCH("v2") RSEQ_ASM_STORE("newv2", RSEQ_ASM_AT("v2"))	\
		store("newv", RSEQ_ASM_AT("v")),					\
		RSEQ_SECTION_EXIT("differs"),						\
		RSEQ_LIST([v] "r" (v), [expect] RSEQ_ASM_VALUE (expect), [v2] "r" (v2),	\
			  [newv2] RSEQ_ASM_VALUE (newv2), [newv] RSEQ_ASM_VALUE (newv)),	\
		RSEQ_LIST(RSEQ_ASM_CLOBBERS),						\
		RSEQ_LIST(, differs))

	RSEQ_REQUIRE_RELAXED_OR_RELEASE(mo);
	rseq_sanitize_release(v);
	if (mo == RSEQ_MO_RELAXED)
		RSEQ_OP(RSEQ_ASM_STORE);
	else
		RSEQ_OP(RSEQ_ASM_STORE_RELEASE);
	rseq_sanitize_written(v, sizeof(*v));
	rseq_sanitize_written(v2, sizeof(*v2));
	rseq_sanitize_acquire(v);
	return 0;
aborted:
	return -1;
differs:
	return 1;
#undef RSEQ_OP
}

/*
 * if (*v != expect) return 1; copy len bytes from src to dst; *v = newv;
 * The two do not overlap, have any alignment, and len may be 0. An aborted try may have written to
 * dst. RSEQ_MO_RELEASE: who reads newv from *v with acquire sees the copy, and all that this
 * thread wrote before.
 */
RSEQ_INLINE int rseq_load_cbne_memcpy_store__ptr(enum rseq_mo mo, enum rseq_percpu_mode mode,
		intptr_t *v, intptr_t expect, void *dst, void *src, size_t len, intptr_t newv,
		int cpu)
{
#define RSEQ_OP(store)									\
	RSEQ_OP_RUN("load_cbne_memcpy_store", mode,					\
		RSEQ_ASM_BNE(RSEQ_ASM_AT("v"), "expect", "differs")			\
		RSEQ_ASM_COPY("dst", "src", "len")					\
		store("newv", RSEQ_ASM_AT("v")),					\
		RSEQ_SECTION_EXIT("differs"),						\
		RSEQ_LIST([v] "r" (v), [expect] RSEQ_ASM_VALUE (expect), [dst] "r" (dst),	\
			  [src] "r" (src), [len] "r" (len), [newv] RSEQ_ASM_VALUE (newv)),	\
		RSEQ_LIST(RSEQ_ASM_CLOBBERS, RSEQ_ASM_COPY_CLOBBERS),			\
		RSEQ_LIST(, differs))

	RSEQ_REQUIRE_RELAXED_OR_RELEASE(mo);
	rseq_sanitize_release(v);
	if (mo == RSEQ_MO_RELAXED)
		RSEQ_OP(RSEQ_ASM_STORE);
	else
		RSEQ_OP(RSEQ_ASM_STORE_RELEASE);
	rseq_sanitize_written(v, sizeof(*v));
	rseq_sanitize_written(dst, len);
	rseq_sanitize_acquire(v);
	return 0;
aborted:
	return -1;
differs:
	return 1;
#undef RSEQ_OP
}

#pragma GCC diagnostic pop

RSEQ_END_DECLS

/* The name is the first token of the call, so that C++ programs can write ::operation(). */
#define RSEQ_CHECKED(operation, takes_release, mo, mode, ...)				\
	operation(									\
		__extension__ ({							\
			RSEQ_CHECK_CONSTANTS(#operation, mo, mode, takes_release);	\
			RSEQ_AS_MO(mo);							\
		}),									\
		mode, __VA_ARGS__)

#define rseq_load_cbne_store__ptr(mo, mode, ...)						\
	RSEQ_CHECKED(rseq_load_cbne_store__ptr, 0, mo, mode, __VA_ARGS__)
#define rseq_load_cbeq_store_add_load_store__ptr(mo, mode, ...)				\
	RSEQ_CHECKED(rseq_load_cbeq_store_add_load_store__ptr, 0, mo, mode, __VA_ARGS__)
#define rseq_load_add_store__ptr(mo, mode, ...)						\
	RSEQ_CHECKED(rseq_load_add_store__ptr, 0, mo, mode, __VA_ARGS__)
#define rseq_load_add_load_load_add_store__ptr(mo, mode, ...)				\
	RSEQ_CHECKED(rseq_load_add_load_load_add_store__ptr, 0, mo, mode, __VA_ARGS__)
#define rseq_load_cbne_load_cbne_store__ptr(mo, mode, ...)				\
	RSEQ_CHECKED(rseq_load_cbne_load_cbne_store__ptr, 0, mo, mode, __VA_ARGS__)
#define rseq_load_cbne_store_store__ptr(mo, mode, ...)					\
	RSEQ_CHECKED(rseq_load_cbne_store_store__ptr, 1, mo, mode, __VA_ARGS__)
#define rseq_load_cbne_memcpy_store__ptr(mo, mode, ...)					\
	RSEQ_CHECKED(rseq_load_cbne_memcpy_store__ptr, 1, mo, mode, __VA_ARGS__)

#endif /* RSEQ_OPS_H */
