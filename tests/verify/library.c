/* SPDX-License-Identifier: MIT */
/*
 * library.c: every section of the installed headers, for the verifier to look at. Not run.
 */
#include <rseq/counter.h>
#include <rseq/ops.h>

#define OPERATIONS(mode, suffix)								\
	int cbne_store_##suffix(intptr_t *v, intptr_t expect, intptr_t newv, int cpu)		\
	{											\
		return rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, v, expect, newv, cpu);	\
	}											\
	int cbeq_##suffix(intptr_t *v, intptr_t no, long off, intptr_t *load, int cpu)		\
	{											\
		return rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED, mode, v, no,	\
								off, load, cpu);		\
	}											\
	int add_##suffix(intptr_t *v, intptr_t count, int cpu)					\
	{											\
		return rseq_load_add_store__ptr(RSEQ_MO_RELAXED, mode, v, count, cpu);		\
	}											\
	int add_through_##suffix(intptr_t *ptr, long off, intptr_t inc, int cpu)		\
	{											\
		return rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, mode, ptr, off,	\
							      inc, cpu);			\
	}											\
	int cbne_cbne_##suffix(intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t expect2,	\
			intptr_t newv, int cpu)							\
	{											\
		return rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, v, expect,	\
							   v2, expect2, newv, cpu);		\
	}

#define ORDERED(mo, mode, suffix)								\
	int store_store_##suffix(intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t newv2,	\
			intptr_t newv, int cpu)							\
	{											\
		return rseq_load_cbne_store_store__ptr(mo, mode, v, expect, v2, newv2, newv,	\
						       cpu);					\
	}											\
	int copy_store_##suffix(intptr_t *v, intptr_t expect, void *dst, void *src, size_t len,	\
			intptr_t newv, int cpu)							\
	{											\
		return rseq_load_cbne_memcpy_store__ptr(mo, mode, v, expect, dst, src, len,	\
							newv, cpu);				\
	}

OPERATIONS(RSEQ_PERCPU_CPU_ID, cpu_id)
OPERATIONS(RSEQ_PERCPU_MM_CID, mm_cid)
ORDERED(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, relaxed_cpu_id)
ORDERED(RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID, relaxed_mm_cid)
ORDERED(RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID, release_cpu_id)
ORDERED(RSEQ_MO_RELEASE, RSEQ_PERCPU_MM_CID, release_mm_cid)

/* Constants, and addresses on the stack, where a compiler may choose other operands. */
int constants(intptr_t *v, int cpu)
{
	intptr_t local = 0;
	int result;

	result = rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, v, 0,
							  16, &local, cpu);
	if (!result)
		result = rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, v, -1, 0);
	if (!result)
		result = rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, v, local,
						   -1, 3);
	return result;
}

void count(struct rseq_counter *counter, intptr_t count)
{
	rseq_counter_add(counter, count);
	rseq_counter_inc(counter);
	rseq_counter_dec(counter);
}

#ifdef PROGRAM
/* What the library would define, so that the program links without it. */
ptrdiff_t rseq_offset;
unsigned int rseq_size;
/* Weak, so that no compiler takes them for the constants that they are here. */
__attribute__((weak)) const ptrdiff_t rseq_area_offset = 0;
__attribute__((weak, used)) const unsigned int rseq_vector_bytes = 16;

void rseq_counter_add_slow(struct rseq_counter *counter, intptr_t count)
{
	(void)counter;
	(void)count;
}

#define KEPT(suffix)									\
	(const void *)cbne_store_##suffix, (const void *)cbeq_##suffix,			\
	(const void *)add_##suffix, (const void *)add_through_##suffix,			\
	(const void *)cbne_cbne_##suffix
#define KEPT_ORDERED(suffix)								\
	(const void *)store_store_##suffix, (const void *)copy_store_##suffix

/* Kept by a linker that optimises, for all that nothing calls them. */
int main(int argc, char **argv)
{
	static const void *const kept[] = {
		KEPT(cpu_id), KEPT(mm_cid), KEPT_ORDERED(relaxed_cpu_id),
		KEPT_ORDERED(relaxed_mm_cid), KEPT_ORDERED(release_cpu_id),
		KEPT_ORDERED(release_mm_cid), (const void *)constants, (const void *)count,
	};

	return kept[argc] == argv;
}
#endif
