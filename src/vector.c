/* SPDX-License-Identifier: MIT */
/*
 * vector.c: how wide the registers are that copies in critical sections may use. Sections read the
 * number in their assembly, which an optimiser of whole programs does not see.
 */
#define rseq_vector_bytes	rseq_vector_bytes_of_others
#include "internal.h"

#undef rseq_vector_bytes
RSEQ_API __attribute__((used)) unsigned int rseq_vector_bytes = 16;

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

#define BIT_OSXSAVE	(1U << 27)
#define BIT_AVX		(1U << 28)
#define BIT_AVX2	(1U << 5)	/* leaf 7, ebx */
#define XCR0_YMM	6U		/* xmm registers and the upper halves */

/*
 * What libc's dynamic linker knows already (2.33). A virtual machine leaves for the hypervisor on
 * each cpuid: microseconds, at the start of every program.
 */
struct cpuid_feature {
	unsigned int cpuid[4];
	unsigned int active[4];
};

extern const struct cpuid_feature *__x86_get_cpuid_feature_leaf(unsigned int leaf)
	__attribute__((weak));

#define LEAF_7		1		/* its number of leaf 7 */

__attribute__((target("xsave")))
static bool has_avx2(void)
{
	unsigned int a, b, c, d;

	if (__x86_get_cpuid_feature_leaf)
		return __x86_get_cpuid_feature_leaf(LEAF_7)->active[1] & BIT_AVX2;
	if (__get_cpuid_max(0, NULL) < 7)
		return false;
	__cpuid(1, a, b, c, d);
	if (!(c & BIT_OSXSAVE) || !(c & BIT_AVX) || (_xgetbv(0) & XCR0_YMM) != XCR0_YMM)
		return false;
	__cpuid_count(7, 0, a, b, c, d);
	return b & BIT_AVX2;
}
#endif

/* Those that have 32 bytes, but not AVX2, do them in two halves. */
void rseq_vector_init(void)
{
#ifdef __x86_64__
	if (has_avx2())
		rseq_vector_bytes = 32;
#endif
}
