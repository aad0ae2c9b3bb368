/* SPDX-License-Identifier: MIT */
/*
 * subjects.c: one function for each section of the library. With MUTANT set to a number, its
 * sections are wrong in one way.
 *
 * Each function keeps its operands in registers over the operation and repeats an aborted try by
 * itself, with what the registers hold then.
 */
/*
 * Where a function preserves every register that its body is known to change, a register that its
 * section changes without telling the compiler shows to the caller.
 */
#if defined(__x86_64__) && defined(__OPTIMIZE__)
# define KEEPS_REGISTERS	__attribute__((no_caller_saved_registers))
# define ALL_KEPT		true
#else
# define KEEPS_REGISTERS
# define ALL_KEPT		false
#endif
#if defined(__x86_64__) && !defined(__clang__)
# pragma GCC push_options
# pragma GCC target("general-regs-only")
#endif

#ifdef MUTANT
# include "mutants.h"
#else
# define MUTANT			0
# define MUTANT_NAME		""
#endif

#include "subjects.h"

#include <rseq/counter.h>
#include <rseq/ops.h>

const int mutant = MUTANT;
const char *const mutant_name = MUTANT_NAME;

#ifdef __clang__
# define SEPARATE	__attribute__((noinline))
#else
# define SEPARATE	__attribute__((noipa))
#endif
#define BODY		static inline __attribute__((always_inline))

/* The number of tries is in memory, so that no compiler unrolls the loop into several sections. */
BODY bool once_more(struct call *call, enum rseq_percpu_mode mode, int result)
{
	return result < 0 && current_id(mode) == call->id &&
	       RSEQ_ACCESS_ONCE(call->tries_left)-- > 0;
}

/* Compares a register with the memory that it was loaded from. */
#define CHANGED(operand)	(RSEQ_READ_ONCE(call->operand) != operand)

BODY int load_cbne_store(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v, expect = call->expect, newv = call->newv;
	int id = call->id, result;

	do
		result = rseq_load_cbne_store__ptr(mo, mode, v, expect, newv, id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(expect) || CHANGED(newv) || CHANGED(id);
	return result;
}

BODY int load_cbne_store_constant(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v;
	int id = call->id, result;

	do
		result = rseq_load_cbne_store__ptr(mo, mode, v, SECOND_OLD, SECOND_NEW, id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(id);
	return result;
}

BODY int load_cbeq_store_add_load_store(enum rseq_mo mo, enum rseq_percpu_mode mode,
		struct call *call)
{
	intptr_t *v = call->v, expect = call->expect, *load = call->load;
	long offset = call->offset;
	int id = call->id, result;

#if MUTANT == 12
	intptr_t head = RSEQ_READ_ONCE(*v), next;

	if (head == expect)
		return 1;
	*load = head;
	next = RSEQ_READ_ONCE(*(intptr_t *)(head + offset));
	result = rseq_load_cbne_store__ptr(mo, mode, v, head, next, id);
	if (result > 0)
		result = -1;
#else
	do
		result = rseq_load_cbeq_store_add_load_store__ptr(mo, mode, v, expect, offset, load,
								  id);
	while (once_more(call, mode, result));
#endif
	call->modified = CHANGED(v) || CHANGED(expect) || CHANGED(offset) || CHANGED(load) ||
			 CHANGED(id);
	return result;
}

BODY int load_add_store(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v, count = call->count;
	int id = call->id, result;

	do
		result = rseq_load_add_store__ptr(mo, mode, v, count, id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(count) || CHANGED(id);
	return result;
}

BODY int load_add_store_constant(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v;
	int id = call->id, result;

	do
		result = rseq_load_add_store__ptr(mo, mode, v, ADDEND, id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(id);
	return result;
}

BODY int load_add_load_load_add_store(enum rseq_mo mo, enum rseq_percpu_mode mode,
		struct call *call)
{
	intptr_t *v = call->v, count = call->count;
	long offset = call->offset;
	int id = call->id, result;

	do
		result = rseq_load_add_load_load_add_store__ptr(mo, mode, v, offset, count, id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(offset) || CHANGED(count) || CHANGED(id);
	return result;
}

BODY int load_cbne_load_cbne_store(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v, expect = call->expect, *v2 = call->v2, expect2 = call->expect2;
	intptr_t newv = call->newv;
	int id = call->id, result;

	do
		result = rseq_load_cbne_load_cbne_store__ptr(mo, mode, v, expect, v2, expect2, newv,
							     id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(expect) || CHANGED(v2) || CHANGED(expect2) ||
			 CHANGED(newv) || CHANGED(id);
	return result;
}

BODY int load_cbne_store_store(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v, expect = call->expect, *v2 = call->v2, newv2 = call->newv2;
	intptr_t newv = call->newv;
	int id = call->id, result;

	do
		result = rseq_load_cbne_store_store__ptr(mo, mode, v, expect, v2, newv2, newv, id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(expect) || CHANGED(v2) || CHANGED(newv2) ||
			 CHANGED(newv) || CHANGED(id);
	return result;
}

BODY int counter_try_add(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	struct rseq_counter *counter = call->counter;
	intptr_t count = call->count;
	int result;

	(void)mo;
	do
		result = rseq_counter_try_add(counter, count) ? 0 : -1;
	while (once_more(call, mode, result));
	call->modified = CHANGED(counter) || CHANGED(count);
	return result;
}

BODY int counter_try_add_constant(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	struct rseq_counter *counter = call->counter;
	int result;

	(void)mo;
	do
		result = rseq_counter_try_add(counter, ADDEND) ? 0 : -1;
	while (once_more(call, mode, result));
	call->modified = CHANGED(counter);
	return result;
}

BODY int counter_add(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	struct rseq_counter *counter = call->counter;
	intptr_t count = call->count;

	(void)mo;
	(void)mode;
	rseq_counter_add(counter, count);
	call->modified = CHANGED(counter) || CHANGED(count);
	return 0;
}

/* Name, operation, mode, order. */
#define GENERAL_SUBJECTS(SUBJECT)							\
	SUBJECT(load_cbne_store, LOAD_CBNE_STORE, CPU_ID, RELAXED)			\
	SUBJECT(load_cbne_store, LOAD_CBNE_STORE, MM_CID, RELAXED)			\
	SUBJECT(load_cbeq_store_add_load_store, LOAD_CBEQ_STORE_ADD_LOAD_STORE, CPU_ID, RELAXED) \
	SUBJECT(load_cbeq_store_add_load_store, LOAD_CBEQ_STORE_ADD_LOAD_STORE, MM_CID, RELAXED) \
	SUBJECT(load_add_store, LOAD_ADD_STORE, CPU_ID, RELAXED)			\
	SUBJECT(load_add_store, LOAD_ADD_STORE, MM_CID, RELAXED)			\
	SUBJECT(load_add_load_load_add_store, LOAD_ADD_LOAD_LOAD_ADD_STORE, CPU_ID, RELAXED)	\
	SUBJECT(load_add_load_load_add_store, LOAD_ADD_LOAD_LOAD_ADD_STORE, MM_CID, RELAXED)	\
	SUBJECT(load_cbne_load_cbne_store, LOAD_CBNE_LOAD_CBNE_STORE, CPU_ID, RELAXED)	\
	SUBJECT(load_cbne_load_cbne_store, LOAD_CBNE_LOAD_CBNE_STORE, MM_CID, RELAXED)	\
	SUBJECT(load_cbne_store_store, LOAD_CBNE_STORE_STORE, CPU_ID, RELAXED)		\
	SUBJECT(load_cbne_store_store, LOAD_CBNE_STORE_STORE, CPU_ID, RELEASE)		\
	SUBJECT(load_cbne_store_store, LOAD_CBNE_STORE_STORE, MM_CID, RELAXED)		\
	SUBJECT(load_cbne_store_store, LOAD_CBNE_STORE_STORE, MM_CID, RELEASE)

#define CONSTANT_SUBJECTS(SUBJECT)							\
	SUBJECT(load_cbne_store_constant, LOAD_CBNE_STORE, CPU_ID, RELAXED)		\
	SUBJECT(load_add_store_constant, LOAD_ADD_STORE, MM_CID, RELAXED)

#define COUNTER_SUBJECTS(SUBJECT)							\
	SUBJECT(counter_try_add, COUNTER_ADD, CPU_ID, RELAXED)

/* This one calls a function, which need not preserve anything. */
#define CALLING_SUBJECTS(SUBJECT)							\
	SUBJECT(counter_add, COUNTER_ADD, CPU_ID, RELAXED)

#define CONSTANT_COUNTER_SUBJECTS(SUBJECT)						\
	SUBJECT(counter_try_add_constant, COUNTER_ADD, CPU_ID, RELAXED)

#define COPY_SUBJECTS(SUBJECT)								\
	SUBJECT(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, CPU_ID, RELAXED)	\
	SUBJECT(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, CPU_ID, RELEASE)	\
	SUBJECT(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, MM_CID, RELAXED)	\
	SUBJECT(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, MM_CID, RELEASE)

#define FUNCTION(body, mode, mo)	body##_##mode##_##mo
#define DEFINE(body, operation, mode, mo)						\
	SEPARATE static int FUNCTION(body, mode, mo)(struct call *call)			\
	{										\
		return body(RSEQ_MO_##mo, RSEQ_PERCPU_##mode, call);			\
	}
#define DEFINE_KEEPING(body, operation, mode, mo)					\
	KEEPS_REGISTERS DEFINE(body, operation, mode, mo)

GENERAL_SUBJECTS(DEFINE_KEEPING)
CONSTANT_SUBJECTS(DEFINE_KEEPING)
COUNTER_SUBJECTS(DEFINE_KEEPING)
CONSTANT_COUNTER_SUBJECTS(DEFINE_KEEPING)

#if defined(__x86_64__) && !defined(__clang__)
# pragma GCC pop_options
#endif

/* Behind those that preserve registers gcc 12 takes a function of the same target for one, too. */
CALLING_SUBJECTS(DEFINE)

/*
 * The copy changes vector registers, too, which gcc does not preserve in such functions. There,
 * values that live over the operation stand in, of which it puts some into the registers that it
 * is not told of.
 */
#if defined(__clang__)
# define DEFINE_COPY	DEFINE_KEEPING
# define COPIES_KEEP	ALL_KEPT
#else
# define DEFINE_COPY	DEFINE
# define COPIES_KEEP	false
#endif

BODY int load_cbne_memcpy_store(enum rseq_mo mo, enum rseq_percpu_mode mode, struct call *call)
{
	intptr_t *v = call->v, expect = call->expect, newv = call->newv;
	intptr_t *v2 = call->v2, *load = call->load, newv2 = call->newv2, count = call->count;
	char *dst = call->dst, *src = call->src;
	size_t len = call->len;
	int id = call->id, result;

	do
		result = rseq_load_cbne_memcpy_store__ptr(mo, mode, v, expect, dst, src, len, newv,
							  id);
	while (once_more(call, mode, result));
	call->modified = CHANGED(v) || CHANGED(expect) || CHANGED(dst) || CHANGED(src) ||
			 CHANGED(len) || CHANGED(newv) || CHANGED(id);
	if (!COPIES_KEEP)
		call->modified |= CHANGED(v2) || CHANGED(load) || CHANGED(newv2) || CHANGED(count);
	return result;
}

COPY_SUBJECTS(DEFINE_COPY)

/* Its section stands in the library. */
SEPARATE static int counter_add_slow(struct call *call)
{
	rseq_counter_add_slow(call->counter, call->count);
	return 0;
}

/* clang has the attribute of a function in its type. */
typedef int function(struct call *call);

#define ENTRY(body, operation, mode, mo, constant, keeps)				\
	{ #body " " #mode " " #mo, operation, RSEQ_PERCPU_##mode, constant,		\
	  operation != COUNTER_ADD, keeps, (function *)FUNCTION(body, mode, mo),	\
	  (uintptr_t)FUNCTION(body, mode, mo) },
#define ENTRY_GENERAL(body, operation, mode, mo)					\
	ENTRY(body, operation, mode, mo, false, ALL_KEPT)
#define ENTRY_CONSTANT(body, operation, mode, mo)					\
	ENTRY(body, operation, mode, mo, true, ALL_KEPT)
#define ENTRY_CALLING(body, operation, mode, mo)					\
	ENTRY(body, operation, mode, mo, false, false)
#define ENTRY_COPY(body, operation, mode, mo)						\
	ENTRY(body, operation, mode, mo, false, COPIES_KEEP)

const struct subject subjects[] = {
	GENERAL_SUBJECTS(ENTRY_GENERAL)
	CONSTANT_SUBJECTS(ENTRY_CONSTANT)
	COPY_SUBJECTS(ENTRY_COPY)
	COUNTER_SUBJECTS(ENTRY_GENERAL)
	CONSTANT_COUNTER_SUBJECTS(ENTRY_CONSTANT)
	CALLING_SUBJECTS(ENTRY_CALLING)
	{ "counter_add_slow", COUNTER_ADD, RSEQ_PERCPU_CPU_ID, false, false, false,
	  counter_add_slow, (uintptr_t)rseq_counter_add_slow },
};
const size_t nr_subjects = sizeof(subjects) / sizeof(subjects[0]);
