/* SPDX-License-Identifier: MIT */
/*
 * mutants.h: critical sections with one mistake each, MUTANT says which. The library's own verbs
 * are replaced by wrong ones before an operation is made of them. Mutant 12 is in ops.c: it
 * is a mistake of the caller.
 */
#ifndef MUTANTS_H
#define MUTANTS_H

#include <rseq/section.h>

/* The right verbs, of which the wrong ones are made. */
#if defined(__x86_64__)
# define RIGHT_CHECK									\
	"cmpl	%[cpu], " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"			\
	"jne	" RSEQ_ASM_EXIT_LABEL("aborted") "\n\t"
# define RIGHT_STORE(value, memory)	"movq	%[" value "], " memory "\n\t"
# define RIGHT_ADD(addend, memory)	"addq	%[" addend "], " memory "\n\t"
# define LOCAL_JUMP(label)		"jmp	" label "\n\t"
#elif defined(__aarch64__)
# define RIGHT_CHECK									\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"			\
	"cmp	w16, %w[cpu]\n\t"							\
	"b.ne	" RSEQ_ASM_EXIT_LABEL("aborted") "\n\t"
# define RIGHT_STORE(value, memory)	"str	%[" value "], " memory "\n\t"
# define RIGHT_ADD(addend, memory)							\
	"ldr	x16, " memory "\n\t"							\
	"add	x16, x16, %[" addend "]\n\t"						\
	"str	x16, " memory "\n\t"
# define LOCAL_JUMP(label)		"b	" label "\n\t"
#endif

#define DESCRIPTOR(flags, end)								\
	".pushsection __rseq_cs, \"aw?\"\n\t"						\
	".balign 32\n"									\
	".Lrseq_descriptor_%=:\n\t"							\
	".long 0, " #flags "\n\t"							\
	".quad .Lrseq_start_%=, " end " - .Lrseq_start_%=, .Lrseq_abort_%=\n\t"	\
	".popsection\n\t"								\
	".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"					\
	".quad .Lrseq_descriptor_%=\n\t"						\
	".popsection\n\t"
#define RIGHT_END	".Lrseq_end_%="
#define ARM		RSEQ_ASM_ARM(".Lrseq_descriptor_%=")
#define START		".Lrseq_start_%=:\n\t"

#if MUTANT == 1
# define MUTANT_NAME	"compares the id before it is armed"
# undef RSEQ_SECTION_BEGIN
# define RSEQ_SECTION_BEGIN		DESCRIPTOR(0, RIGHT_END)
# undef RSEQ_ASM_CHECK_ID
# define RSEQ_ASM_CHECK_ID(id, label)	RIGHT_CHECK ARM START

#elif MUTANT == 2
# define MUTANT_NAME	"begins after the comparison of the id"
# undef RSEQ_SECTION_BEGIN
# define RSEQ_SECTION_BEGIN		DESCRIPTOR(0, RIGHT_END) ARM
# undef RSEQ_ASM_CHECK_ID
# define RSEQ_ASM_CHECK_ID(id, label)	RIGHT_CHECK START

#elif MUTANT == 3
# define MUTANT_NAME	"does not compare the id"
# undef RSEQ_ASM_CHECK_ID
# define RSEQ_ASM_CHECK_ID(id, label)	""

#elif MUTANT == 4
# define MUTANT_NAME	"has a wrong signature"
# undef RSEQ_ASM_SIGNATURE
# define RSEQ_ASM_SIGNATURE		".long 0x12345678\n"

#elif MUTANT == 5
# define MUTANT_NAME	"changes a register without telling the compiler"
# undef RSEQ_ASM_STORE
# if defined(__x86_64__)
#  define RSEQ_ASM_STORE(value, memory)							\
	"movq	%[" value "], %%r11\n\t"						\
	"movq	%%r11, " memory "\n\t"
# else
#  define RSEQ_ASM_STORE(value, memory)							\
	"mov	x9, %[" value "]\n\t"							\
	"str	x9, " memory "\n\t"
# endif

#elif MUTANT == 6
# define MUTANT_NAME	"ends before its commit"
# define EARLY_END		".Lrseq_early_%="
# define ENDS_HERE		".ifndef " EARLY_END "\n" EARLY_END ":\n\t.endif\n\t"
# undef RSEQ_SECTION_BEGIN
# define RSEQ_SECTION_BEGIN		DESCRIPTOR(0, EARLY_END) ARM START
# undef RSEQ_SECTION_END
# define RSEQ_SECTION_END		ENDS_HERE
# undef RSEQ_ASM_STORE
# define RSEQ_ASM_STORE(value, memory)	ENDS_HERE RIGHT_STORE(value, memory)
# undef RSEQ_ASM_ADD
# define RSEQ_ASM_ADD(addend, memory)	ENDS_HERE RIGHT_ADD(addend, memory)

#elif MUTANT == 7
# define MUTANT_NAME	"ends after its commit"
# undef RSEQ_SECTION_END
# define RSEQ_SECTION_END		"nop\n\tnop\n" RIGHT_END ":\n\t"

#elif MUTANT == 8
# define MUTANT_NAME	"changes its inputs, and the abort does not restore them"
# undef RSEQ_ASM_COPY
# if defined(__x86_64__)
#  define RSEQ_ASM_COPY(dst, src, len)							\
	".Lrseq_byte_%=:\n\t"								\
	"testq	%[" len "], %[" len "]\n\t"						\
	"jz	.Lrseq_copied_%=\n\t"							\
	"movb	(%[" src "]), %%cl\n\t"							\
	RSEQ_ASM_SCRATCH("byte") "movb	%%cl, (%[" dst "])\n\t"				\
	"incq	%[" src "]\n\t"								\
	"incq	%[" dst "]\n\t"								\
	"decq	%[" len "]\n\t"								\
	"jmp	.Lrseq_byte_%=\n"							\
	".Lrseq_copied_%=:\n\t"
# else
#  define RSEQ_ASM_COPY(dst, src, len)							\
	".Lrseq_byte_%=:\n\t"								\
	"cbz	%[" len "], .Lrseq_copied_%=\n\t"					\
	"ldrb	w14, [%[" src "]], 1\n\t"						\
	RSEQ_ASM_SCRATCH("byte") "strb	w14, [%[" dst "]], 1\n\t"			\
	"sub	%[" len "], %[" len "], 1\n\t"						\
	"b	.Lrseq_byte_%=\n"							\
	".Lrseq_copied_%=:\n\t"
# endif

#elif MUTANT == 9
# define MUTANT_NAME	"has flags in its descriptor"
# undef RSEQ_SECTION_BEGIN
# define RSEQ_SECTION_BEGIN		DESCRIPTOR(1, RIGHT_END) ARM START

#elif MUTANT == 10
# define MUTANT_NAME	"has its abort address inside"
# undef RSEQ_SECTION_BEGIN
# define RSEQ_SECTION_BEGIN								\
	DESCRIPTOR(0, RIGHT_END) ARM START						\
	LOCAL_JUMP(".Lrseq_over_%=")							\
	RSEQ_ASM_SIGNATURE								\
	".Lrseq_abort_%=:\n\t"								\
	RSEQ_ASM_JUMP("aborted")							\
	".Lrseq_over_%=:\n\t"
# undef RSEQ_SECTION_ABORT
# define RSEQ_SECTION_ABORT(operation, label)

#elif MUTANT == 11
# define MUTANT_NAME	"stores twice, and the first store can be seen"
# undef RSEQ_ASM_ADD
# if defined(__x86_64__)
#  define RSEQ_ASM_ADD(addend, memory)							\
	RIGHT_ADD(addend, memory)							\
	"addq	$0, " memory "\n"
# else
#  define RSEQ_ASM_ADD(addend, memory)							\
	RIGHT_ADD(addend, memory)							\
	"str	x16, " memory "\n"
# endif

#elif MUTANT == 12
# define MUTANT_NAME	"reads the head and the next of a list before it begins"

#else
# error "there are mutants 1 to 12"
#endif

#endif /* MUTANTS_H */
