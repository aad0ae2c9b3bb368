/* SPDX-License-Identifier: MIT */
/*
 * ops.c: one function for each section of rseq/ops.h, in each mode. With MUTANT set to a number,
 * its sections are wrong in one way.
 */
#include "function.h"

#include "ops.h"

#include <rseq/ops.h>

#ifdef RSEQ_GET_ABI_OVERRIDE
/* A program's own, as a call: sections have its area in a register. */
struct rseq_abi *rseq_get_abi(void)
{
	return rseq_get_abi_slow();
}
#endif

const int mutant = MUTANT;
const char *const mutant_name = MUTANT_NAME;

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

/* Name, operation, mode, order. */
#define GENERAL_SUBJECTS(DO)							\
	DO(load_cbne_store, LOAD_CBNE_STORE, CPU_ID, RELAXED)			\
	DO(load_cbne_store, LOAD_CBNE_STORE, MM_CID, RELAXED)			\
	DO(load_cbeq_store_add_load_store, LOAD_CBEQ_STORE_ADD_LOAD_STORE, CPU_ID, RELAXED) \
	DO(load_cbeq_store_add_load_store, LOAD_CBEQ_STORE_ADD_LOAD_STORE, MM_CID, RELAXED) \
	DO(load_add_store, LOAD_ADD_STORE, CPU_ID, RELAXED)			\
	DO(load_add_store, LOAD_ADD_STORE, MM_CID, RELAXED)			\
	DO(load_add_load_load_add_store, LOAD_ADD_LOAD_LOAD_ADD_STORE, CPU_ID, RELAXED)	\
	DO(load_add_load_load_add_store, LOAD_ADD_LOAD_LOAD_ADD_STORE, MM_CID, RELAXED)	\
	DO(load_cbne_load_cbne_store, LOAD_CBNE_LOAD_CBNE_STORE, CPU_ID, RELAXED)	\
	DO(load_cbne_load_cbne_store, LOAD_CBNE_LOAD_CBNE_STORE, MM_CID, RELAXED)	\
	DO(load_cbne_store_store, LOAD_CBNE_STORE_STORE, CPU_ID, RELAXED)		\
	DO(load_cbne_store_store, LOAD_CBNE_STORE_STORE, CPU_ID, RELEASE)		\
	DO(load_cbne_store_store, LOAD_CBNE_STORE_STORE, MM_CID, RELAXED)		\
	DO(load_cbne_store_store, LOAD_CBNE_STORE_STORE, MM_CID, RELEASE)

#define CONSTANT_SUBJECTS(DO)							\
	DO(load_cbne_store_constant, LOAD_CBNE_STORE_CONSTANT, CPU_ID, RELAXED)	\
	DO(load_add_store_constant, LOAD_ADD_STORE_CONSTANT, MM_CID, RELAXED)

#define COPY_SUBJECTS(DO)								\
	DO(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, CPU_ID, RELAXED)	\
	DO(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, CPU_ID, RELEASE)	\
	DO(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, MM_CID, RELAXED)	\
	DO(load_cbne_memcpy_store, LOAD_CBNE_MEMCPY_STORE, MM_CID, RELEASE)

#define FUNCTION(body, mode, mo)	body##_##mode##_##mo
#define DEFINE_OUTER(body, operation, mode, mo)						\
	OUTER_SUBJECT(FUNCTION(body, mode, mo))						\
	{										\
		return body(RSEQ_MO_##mo, RSEQ_PERCPU_##mode, call);			\
	}
#define DEFINE(body, operation, mode, mo)						\
	SUBJECT(FUNCTION(body, mode, mo))						\
	{										\
		return body(RSEQ_MO_##mo, RSEQ_PERCPU_##mode, call);			\
	}

GENERAL_SUBJECTS(DEFINE)
CONSTANT_SUBJECTS(DEFINE)

END_OF_SUBJECTS

/*
 * The copy changes vector registers, too, which gcc does not preserve in such functions. There,
 * values that live over the operation stand in, of which it puts some into the registers that it
 * is not told of.
 */
#if defined(__clang__)
# define DEFINE_COPY	DEFINE
# define COPIES_KEEP	ALL_KEPT
#else
# define DEFINE_COPY	DEFINE_OUTER
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

#define ENTRY(body, operation, mode, mo, keeps)						\
	{ #body " " #mode " " #mo, &ops[operation], RSEQ_PERCPU_##mode, keeps,		\
	  FUNCTION_AND_CODE(FUNCTION(body, mode, mo)), NULL },
#define ENTRY_GENERAL(body, operation, mode, mo)					\
	ENTRY(body, operation, mode, mo, ALL_KEPT)
#define ENTRY_COPY(body, operation, mode, mo)						\
	ENTRY(body, operation, mode, mo, COPIES_KEEP)

const struct subject ops_subjects[] = {
	GENERAL_SUBJECTS(ENTRY_GENERAL)
	CONSTANT_SUBJECTS(ENTRY_GENERAL)
	COPY_SUBJECTS(ENTRY_COPY)
	{ 0 },
};
