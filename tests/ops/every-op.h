/* SPDX-License-Identifier: MIT */
/*
 * every-op.h: every operation in every mode and with every ordering, as functions whose names end
 * in the mode and, where it is not relaxed, the ordering. Both stand in the calls as constants, as
 * programs write them; and once as variables, which the compiler knows nothing about.
 */
#ifndef EVERY_OP_H
#define EVERY_OP_H

#include <rseq/rseq.h>

#define OPS_FUNCTION	static inline __attribute__((unused))

static volatile enum rseq_mo run_time_mo __attribute__((unused)) = RSEQ_MO_RELAXED;
static volatile enum rseq_percpu_mode run_time_mode __attribute__((unused)) = RSEQ_PERCPU_CPU_ID;

#define OPS_ORDERED(suffix, mo, mode)							\
OPS_FUNCTION int store_store_##suffix(intptr_t *v, intptr_t expect, intptr_t *v2,		\
		intptr_t newv2, intptr_t newv, int cpu)					\
{											\
	return rseq_load_cbne_store_store__ptr(mo, mode, v, expect, v2, newv2, newv, cpu);	\
}											\
OPS_FUNCTION int copy_store_##suffix(intptr_t *v, intptr_t expect, void *dst, void *src,	\
		size_t len, intptr_t newv, int cpu)					\
{											\
	return rseq_load_cbne_memcpy_store__ptr(mo, mode, v, expect, dst, src, len, newv,	\
						cpu);					\
}

#define OPS_RELAXED(suffix, mo, mode)							\
OPS_FUNCTION int store_##suffix(intptr_t *v, intptr_t expect, intptr_t newv, int cpu)	\
{											\
	return rseq_load_cbne_store__ptr(mo, mode, v, expect, newv, cpu);		\
}											\
OPS_FUNCTION int take_##suffix(intptr_t *v, intptr_t expectnot, long voffp,		\
		intptr_t *load, int cpu)						\
{											\
	return rseq_load_cbeq_store_add_load_store__ptr(mo, mode, v, expectnot, voffp,	\
							load, cpu);			\
}											\
OPS_FUNCTION int add_##suffix(intptr_t *v, intptr_t count, int cpu)			\
{											\
	return rseq_load_add_store__ptr(mo, mode, v, count, cpu);			\
}											\
OPS_FUNCTION int add_at_##suffix(intptr_t *ptr, long off, intptr_t inc, int cpu)		\
{											\
	return rseq_load_add_load_load_add_store__ptr(mo, mode, ptr, off, inc, cpu);	\
}											\
OPS_FUNCTION int store_if_both_##suffix(intptr_t *v, intptr_t expect, intptr_t *v2,	\
		intptr_t expect2, intptr_t newv, int cpu)				\
{											\
	return rseq_load_cbne_load_cbne_store__ptr(mo, mode, v, expect, v2, expect2, newv,	\
						   cpu);				\
}											\
OPS_ORDERED(suffix, mo, mode)

OPS_RELAXED(cpu_id, RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID)
OPS_ORDERED(cpu_id_release, RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID)
OPS_RELAXED(mm_cid, RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID)
OPS_ORDERED(mm_cid_release, RSEQ_MO_RELEASE, RSEQ_PERCPU_MM_CID)
OPS_RELAXED(run_time, run_time_mo, run_time_mode)

#undef OPS_RELAXED
#undef OPS_ORDERED
#undef OPS_FUNCTION

/* The same as a table: each row has all operations in one mode and ordering. */
struct ops {
	const char *name;
	enum rseq_percpu_mode mode;
	int (*store)(intptr_t *v, intptr_t expect, intptr_t newv, int cpu);
	int (*take)(intptr_t *v, intptr_t expectnot, long voffp, intptr_t *load, int cpu);
	int (*add)(intptr_t *v, intptr_t count, int cpu);
	int (*add_at)(intptr_t *ptr, long off, intptr_t inc, int cpu);
	int (*store_if_both)(intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t expect2,
			intptr_t newv, int cpu);
	int (*store_store)(intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t newv2,
			intptr_t newv, int cpu);
	int (*copy_store)(intptr_t *v, intptr_t expect, void *dst, void *src, size_t len,
			intptr_t newv, int cpu);
};

#define OPS_ROW(name, mode, relaxed, ordered)						\
	{ name, mode, store_##relaxed, take_##relaxed, add_##relaxed, add_at_##relaxed,	\
	  store_if_both_##relaxed, store_store_##ordered, copy_store_##ordered }

static const struct ops every_op[] __attribute__((unused)) = {
	OPS_ROW("cpu_id, relaxed", RSEQ_PERCPU_CPU_ID, cpu_id, cpu_id),
	OPS_ROW("cpu_id, release", RSEQ_PERCPU_CPU_ID, cpu_id, cpu_id_release),
	OPS_ROW("cpu_id, variables", RSEQ_PERCPU_CPU_ID, run_time, run_time),
	OPS_ROW("mm_cid, relaxed", RSEQ_PERCPU_MM_CID, mm_cid, mm_cid),
	OPS_ROW("mm_cid, release", RSEQ_PERCPU_MM_CID, mm_cid, mm_cid_release),
	OPS_ROW("mm_cid, variables", RSEQ_PERCPU_MM_CID, run_time, run_time),
};

#undef OPS_ROW

#define OPS_NR	((int)(sizeof(every_op) / sizeof(every_op[0])))

#endif /* EVERY_OP_H */
