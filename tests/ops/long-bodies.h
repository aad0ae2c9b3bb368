/* SPDX-License-Identifier: MIT */
/*
 * long-bodies.h: included before any other header of the library, makes every operation spin for a
 * while in the middle of its section, so that most of what disturbs a thread comes there.
 */
#ifndef LONG_BODIES_H
#define LONG_BODIES_H

#include <rseq/section.h>

#undef RSEQ_ASM_CHECK_ID

#if defined(RSEQ_ARCH_AMD64)

#define RSEQ_ASM_CHECK_ID(id, label)							\
	"cmpl	%[" id "], " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"			\
	"jne	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"					\
	"movl	$300, %%eax\n"								\
	".Lrseq_spin_%=:\n\t"								\
	"decl	%%eax\n\t"								\
	"jnz	.Lrseq_spin_%=\n\t"

#elif defined(RSEQ_ARCH_AARCH64)

#define RSEQ_ASM_CHECK_ID(id, label)							\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"			\
	"cmp	w16, %w[" id "]\n\t"							\
	"b.ne	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"					\
	"mov	w16, 300\n"								\
	".Lrseq_spin_%=:\n\t"								\
	"subs	w16, w16, 1\n\t"							\
	"b.ne	.Lrseq_spin_%=\n\t"

#endif

#endif /* LONG_BODIES_H */
