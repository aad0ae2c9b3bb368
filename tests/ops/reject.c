/* SPDX-License-Identifier: MIT */
/*
 * Calls that must not compile: each operation with each ordering and mode that it does not take.
 * DIRECT: the constants stand in the calls. WRAPPED_RELAXED, WRAPPED_RELEASE, WRAPPED_MODE: they
 * come through an inline function. C and C++.
 */
#include <rseq/rseq.h>

extern intptr_t v, v2;
extern char buffer[32];

#define STORE(mo, mode)		rseq_load_cbne_store__ptr(mo, mode, &v, 1, 2, 0)
#define TAKE(mo, mode)		\
	rseq_load_cbeq_store_add_load_store__ptr(mo, mode, &v, 1, 0, &v2, 0)
#define ADD(mo, mode)		rseq_load_add_store__ptr(mo, mode, &v, 1, 0)
#define ADD_AT(mo, mode)	rseq_load_add_load_load_add_store__ptr(mo, mode, &v, 0, 1, 0)
#define STORE_IF_BOTH(mo, mode)	\
	rseq_load_cbne_load_cbne_store__ptr(mo, mode, &v, 1, &v2, 2, 3, 0)
#define STORE_STORE(mo, mode)	rseq_load_cbne_store_store__ptr(mo, mode, &v, 1, &v2, 2, 3, 0)
#define COPY_STORE(mo, mode)	\
	rseq_load_cbne_memcpy_store__ptr(mo, mode, &v, 1, buffer, buffer + 16, 16, 2, 0)

#define MODE(number)		((enum rseq_percpu_mode)(number))
#define NO_ORDERING		((enum rseq_mo)6)

#ifdef DIRECT

#define WRONG_ORDERINGS(name, OP)							\
int name##_consume(void) { return OP(RSEQ_MO_CONSUME, RSEQ_PERCPU_CPU_ID); }		\
int name##_acquire(void) { return OP(RSEQ_MO_ACQUIRE, RSEQ_PERCPU_CPU_ID); }		\
int name##_acq_rel(void) { return OP(RSEQ_MO_ACQ_REL, RSEQ_PERCPU_MM_CID); }		\
int name##_seq_cst(void) { return OP(RSEQ_MO_SEQ_CST, RSEQ_PERCPU_CPU_ID); }		\
int name##_none(void) { return OP(NO_ORDERING, RSEQ_PERCPU_CPU_ID); }
#define WRONG_RELEASE(name, OP)								\
int name##_release(void) { return OP(RSEQ_MO_RELEASE, RSEQ_PERCPU_MM_CID); }

WRONG_ORDERINGS(store, STORE)
WRONG_ORDERINGS(take, TAKE)
WRONG_ORDERINGS(add, ADD)
WRONG_ORDERINGS(add_at, ADD_AT)
WRONG_ORDERINGS(store_if_both, STORE_IF_BOTH)
WRONG_ORDERINGS(store_store, STORE_STORE)
WRONG_ORDERINGS(copy_store, COPY_STORE)
WRONG_RELEASE(store, STORE)
WRONG_RELEASE(take, TAKE)
WRONG_RELEASE(add, ADD)
WRONG_RELEASE(add_at, ADD_AT)
WRONG_RELEASE(store_if_both, STORE_IF_BOTH)

/* To C++, a number that an enumeration cannot hold is no constant, which is an error as well. */
#ifndef __cplusplus
#define WRONG_MODES(name, OP)								\
int name##_mode2(void) { return OP(RSEQ_MO_RELAXED, MODE(2)); }				\
int name##_mode3(void) { return OP(RSEQ_MO_RELAXED, RSEQ_MO_RELEASE); }			\
int name##_negative(void) { return OP(RSEQ_MO_RELAXED, MODE(-1)); }

WRONG_MODES(store, STORE)
WRONG_MODES(take, TAKE)
WRONG_MODES(add, ADD)
WRONG_MODES(add_at, ADD_AT)
WRONG_MODES(store_if_both, STORE_IF_BOTH)
WRONG_MODES(store_store, STORE_STORE)
WRONG_MODES(copy_store, COPY_STORE)
#endif

#else

static inline int wrapper(enum rseq_mo relaxed, enum rseq_mo release, int mode)
{
	return STORE(relaxed, MODE(mode)) + TAKE(relaxed, MODE(mode)) + ADD(relaxed, MODE(mode)) +
	       ADD_AT(relaxed, MODE(mode)) + STORE_IF_BOTH(relaxed, MODE(mode)) +
	       STORE_STORE(release, MODE(mode)) + COPY_STORE(release, MODE(mode));
}

int caller(void)
{
#if defined(WRAPPED_RELAXED)
	return wrapper(RSEQ_MO_RELEASE, RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID);
#elif defined(WRAPPED_RELEASE)
	return wrapper(RSEQ_MO_RELAXED, RSEQ_MO_ACQUIRE, RSEQ_PERCPU_CPU_ID);
#elif defined(WRAPPED_MODE)
	return wrapper(RSEQ_MO_RELAXED, RSEQ_MO_RELEASE, 2);
#endif
}

#endif
