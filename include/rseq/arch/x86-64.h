/* SPDX-License-Identifier: MIT */
/*
 * rseq/arch/x86-64.h: constants and assembly verbs. Included by section.h alone, which says what
 * each verb does; the other architectures have the same verbs in the same order.
 */
#define RSEQ_ARCH_AMD64		1

/* Operand of an undefined instruction, so that the signature can never be executed by accident. */
#define RSEQ_SIG		0x53053053
#define RSEQ_ASM_SIGNATURE	".byte 0x0f, 0xb9, 0x3d\n\t.long " RSEQ_STRINGIFY(RSEQ_SIG) "\n"

/* The area is addressed through the segment register: its operand is the offset alone. */
#ifdef RSEQ_GET_ABI_OVERRIDE
# define RSEQ_ASM_AREA			((uintptr_t)rseq_get_abi())
# define RSEQ_ASM_AREA_FIELD(offset)	offset "(%[rseq_area])"
# define RSEQ_ASM_AREA_FIELD_BY(id)	"(%[rseq_area], %[" id "], 4)"
#else
# define RSEQ_ASM_AREA			(rseq_area_offset)
# define RSEQ_ASM_AREA_FIELD(offset)	"%%fs:" offset "(%[rseq_area])"
# define RSEQ_ASM_AREA_FIELD_BY(id)	"%%fs:(%[rseq_area], %[" id "], 4)"
#endif

#define RSEQ_ASM_CLOBBERS	"cc", "rax"
/* Upper halves are cleared behind a copy through ymm registers: all of them are clobbered then. */
#define RSEQ_ASM_COPY_CLOBBERS							\
	"rcx", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",	\
	"xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define RSEQ_ASM_VALUE		"er"
#define RSEQ_ASM_ADDEND		"er"
#define RSEQ_ASM_AT(pointer)	"(%[" pointer "])"

/* Of two dialects in braces, the compiler writes out the one it was told. */
#define RSEQ_ASM_ARM(descriptor)						\
	"{|.error \"critical sections are in AT&T syntax, not for -masm=intel\"\n\t"	\
	".end\n\t}"								\
	"leaq	" descriptor "(%%rip), %%rax\n\t"				\
	"movq	%%rax, " RSEQ_ASM_AREA_FIELD("8") "\n"

#define RSEQ_ASM_JUMP(label)							\
	"jmp	%l[" label "]\n\t"

/* Every branch reaches every label. */
#define RSEQ_ASM_EXIT_LABEL(label)	"%l[" label "]"
#define RSEQ_ASM_EXIT(label)		""
#define RSEQ_ASM_EXITS(exits)		exits

#define RSEQ_ASM_CHECK_REGISTERED(label)					\
	"cmpl	$0, " RSEQ_ASM_AREA_FIELD("4") "\n\t"				\
	"jl	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"

#define RSEQ_ASM_CHECK_ID(id, label)						\
	"cmpl	%[" id "], " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"		\
	"jne	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"

/* A negative id times the stride is negative, a CPU number below 32736 times it is not. */
#define RSEQ_ASM_INDEX(base, label)						\
	"imull	$" RSEQ_STRINGIFY(RSEQ_PERCPU_STRIDE) ", "			\
		RSEQ_ASM_AREA_FIELD("%c[rseq_id]") ", %%eax\n\t"		\
	"testl	%%eax, %%eax\n\t"						\
	"js	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"
#define RSEQ_ASM_INDEXED(base)	"(%[" base "], %%rax)"

#define RSEQ_ASM_BNE(memory, value, label)					\
	"cmpq	%[" value "], " memory "\n\t"					\
	"jne	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"

#define RSEQ_ASM_LOAD(memory)							\
	"movq	" memory ", %%rax\n\t"
#define RSEQ_ASM_BEQ_LOADED(value, label)					\
	"cmpq	%[" value "], %%rax\n\t"					\
	"je	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"
#define RSEQ_ASM_LOAD_AT_LOADED(offset)						\
	"addq	%[" offset "], %%rax\n\t"					\
	"movq	(%%rax), %%rax\n\t"
#define RSEQ_ASM_LOADED_AT	"(%%rax)"
#define RSEQ_ASM_STORE_LOADED(memory)						\
	"movq	%%rax, " memory "\n"

#define RSEQ_ASM_STORE(value, memory)						\
	"movq	%[" value "], " memory "\n"
#define RSEQ_ASM_STORE_RELEASE(value, memory)					\
	RSEQ_ASM_STORE(value, memory)
#define RSEQ_ASM_ADD(addend, memory)						\
	"addq	%[" addend "], " memory "\n"

#define RSEQ_ASM_T1		"%%rcx"
#define RSEQ_ASM_T2		"%%rdx"
#define RSEQ_ASM_TEMPORARIES	"rcx", "rdx"

/* cpu_id itself tells whether the thread is registered: that spares a load. */
#define RSEQ_ASM_CHECK_UNSURE(id, target)					\
	"testb	$1 << " RSEQ_STRINGIFY(RSEQ_ID_UNSURE_BIT) ", %b[" id "]\n\t"	\
	"jz	.Lrseq_sure_%=\n\t"						\
	"cmpl	$0, " RSEQ_ASM_AREA_FIELD("4") "\n\t"				\
	"jl	" target "\n"							\
	".Lrseq_sure_%=:\n\t"
#define RSEQ_ASM_INDEX_BY(base, id, target)					\
	RSEQ_ASM_CHECK_UNSURE(id, target)					\
	"imull	$" RSEQ_STRINGIFY(RSEQ_PERCPU_STRIDE) ", "			\
		RSEQ_ASM_AREA_FIELD_BY(id) ", %%eax\n\t"			\
	"testl	%%eax, %%eax\n\t"						\
	"js	" target "\n\t"
#define RSEQ_ASM_GET_ID(operand, id)						\
	"movl	" RSEQ_ASM_AREA_FIELD_BY(id) ", %k[" operand "]\n\t"
#define RSEQ_ASM_ROW(base, offset)	offset "(%[" base "], %%rax)"
#define RSEQ_ASM_AT_REG(reg, offset)	offset "(" reg ")"

#define RSEQ_ASM_CHECK_ID_BY(value, id, target)					\
	"cmpl	%k[" value "], " RSEQ_ASM_AREA_FIELD_BY(id) "\n\t"		\
	"jne	" target "\n\t"

#define RSEQ_ASM_SET(reg, value)						\
	"movq	$" value ", " reg "\n\t"
#define RSEQ_ASM_NEXT_WORD(reg)							\
	"addq	$8, " reg "\n\t"
#define RSEQ_ASM_PREVIOUS_WORD(reg)						\
	"subq	$8, " reg "\n\t"
#define RSEQ_ASM_GET(reg, memory)						\
	"movq	" memory ", " reg "\n\t"
#define RSEQ_ASM_PUT(reg, memory)						\
	"movq	" reg ", " memory "\n"
#define RSEQ_ASM_PUT_RELEASE(reg, base)						\
	RSEQ_ASM_PUT(reg, "(" base ")")
#define RSEQ_ASM_BZ(reg, target)						\
	"testq	" reg ", " reg "\n\t"						\
	"jz	" target "\n\t"
#define RSEQ_ASM_BNZ_AT(memory, target)						\
	"cmpq	$0, " memory "\n\t"						\
	"jne	" target "\n\t"
#define RSEQ_ASM_BNA_AT(reg, memory, target)					\
	"cmpq	" memory ", " reg "\n\t"					\
	"jbe	" target "\n\t"
#define RSEQ_ASM_BAE_AT(reg, memory, target)					\
	"cmpq	" memory ", " reg "\n\t"					\
	"jae	" target "\n\t"
#define RSEQ_ASM_BA_AT(reg, memory, target)					\
	"cmpq	" memory ", " reg "\n\t"					\
	"ja	" target "\n\t"
#define RSEQ_ASM_BB_AT(reg, memory, target)					\
	"cmpq	" memory ", " reg "\n\t"					\
	"jb	" target "\n\t"

#define RSEQ_ASM_GET_ROW(reg, base)						\
	"leaq	(%[" base "], %%rax), " reg "\n\t"
#define RSEQ_ASM_GET_SUM(reg, left, right)					\
	"leaq	(" left ", " right "), " reg "\n\t"
#define RSEQ_ASM_AND_AT(reg, memory)						\
	"andq	" memory ", " reg "\n\t"
#define RSEQ_ASM_ADD_AT(reg, memory)						\
	"addq	" memory ", " reg "\n\t"

#define RSEQ_ASM_JUMP_LOCAL(target)						\
	"jmp	" target "\n\t"
#define RSEQ_ASM_ABORT_LABEL	".Lrseq_abort_%="
#define RSEQ_ASM_RESULTS(text)							\
	".pushsection __rseq_failure, \"ax?\"\n"				\
	text									\
	".popsection\n\t"

/*
 * From 64 bytes on in blocks, the last of which, of one register where that is enough, ends where
 * the data does and may overlap the one before; below, both ends in pieces that overlap in the
 * middle. From 128 bytes on through ymm registers if the processor has them: a store a cycle is
 * what bounds a copy, and programs are compiled for processors that have xmm registers alone.
 */
#define RSEQ_ASM_COPY_ENDS(bytes, dst, src, len, move, first, last)		\
	move "	(%[" src "]), " first "\n\t"					\
	move "	-" #bytes "(%[" src "], %[" len "]), " last "\n\t"		\
	RSEQ_ASM_SCRATCH("first" #bytes)					\
	move "	" first ", (%[" dst "])\n\t"					\
	RSEQ_ASM_SCRATCH("last" #bytes)						\
	move "	" last ", -" #bytes "(%[" dst "], %[" len "])\n\t"		\
	"jmp	.Lrseq_copied_%=\n"

#define RSEQ_ASM_COPY_LONG(dst, src, len)					\
	"cmpq	$64, %[" len "]\n\t"						\
	"jb	.Lrseq_below64_%=\n\t"						\
	"xorl	%%eax, %%eax\n\t"						\
	"cmpq	$128, %[" len "]\n\t"						\
	"jb	.Lrseq_narrow_%=\n\t"						\
	"movq	rseq_vector_bytes@GOTPCREL(%%rip), %%rcx\n\t"			\
	"cmpl	$32, (%%rcx)\n\t"						\
	"jb	.Lrseq_narrow_%=\n\t"						\
	"leaq	-128(%[" len "]), %%rcx\n"					\
	".Lrseq_wide_%=:\n\t"							\
	"vmovups	(%[" src "], %%rax), %%ymm0\n\t"				\
	"vmovups	32(%[" src "], %%rax), %%ymm1\n\t"				\
	"vmovups	64(%[" src "], %%rax), %%ymm2\n\t"				\
	"vmovups	96(%[" src "], %%rax), %%ymm3\n\t"				\
	RSEQ_ASM_SCRATCH("wide0") "vmovups	%%ymm0, (%[" dst "], %%rax)\n\t"	\
	RSEQ_ASM_SCRATCH("wide1") "vmovups	%%ymm1, 32(%[" dst "], %%rax)\n\t"	\
	RSEQ_ASM_SCRATCH("wide2") "vmovups	%%ymm2, 64(%[" dst "], %%rax)\n\t"	\
	RSEQ_ASM_SCRATCH("wide3") "vmovups	%%ymm3, 96(%[" dst "], %%rax)\n\t"	\
	"subq	$-128, %%rax\n\t"						\
	"cmpq	%%rcx, %%rax\n\t"						\
	"jbe	.Lrseq_wide_%=\n\t"						\
	"cmpq	%[" len "], %%rax\n\t"						\
	"je	.Lrseq_widened_%=\n\t"						\
	"testb	$96, %b[" len "]\n\t"						\
	"jz	.Lrseq_wide_end_%=\n\t"						\
	"movq	%%rcx, %%rax\n\t"						\
	"jmp	.Lrseq_wide_%=\n"						\
	".Lrseq_wide_end_%=:\n\t"						\
	"vmovups	-32(%[" src "], %[" len "]), %%ymm0\n\t"			\
	RSEQ_ASM_SCRATCH("wide_end")						\
	"vmovups	%%ymm0, -32(%[" dst "], %[" len "])\n"			\
	".Lrseq_widened_%=:\n\t"						\
	"vzeroupper\n\t"							\
	"jmp	.Lrseq_copied_%=\n"						\
	".Lrseq_narrow_%=:\n\t"							\
	"leaq	-64(%[" len "]), %%rcx\n"					\
	".Lrseq_block_%=:\n\t"							\
	"movups	(%[" src "], %%rax), %%xmm0\n\t"				\
	"movups	16(%[" src "], %%rax), %%xmm1\n\t"				\
	"movups	32(%[" src "], %%rax), %%xmm2\n\t"				\
	"movups	48(%[" src "], %%rax), %%xmm3\n\t"				\
	RSEQ_ASM_SCRATCH("block0") "movups	%%xmm0, (%[" dst "], %%rax)\n\t"	\
	RSEQ_ASM_SCRATCH("block1") "movups	%%xmm1, 16(%[" dst "], %%rax)\n\t"	\
	RSEQ_ASM_SCRATCH("block2") "movups	%%xmm2, 32(%[" dst "], %%rax)\n\t"	\
	RSEQ_ASM_SCRATCH("block3") "movups	%%xmm3, 48(%[" dst "], %%rax)\n\t"	\
	"addq	$64, %%rax\n\t"						\
	"cmpq	%%rcx, %%rax\n\t"						\
	"jbe	.Lrseq_block_%=\n\t"						\
	"cmpq	%[" len "], %%rax\n\t"						\
	"je	.Lrseq_copied_%=\n\t"						\
	"testb	$48, %b[" len "]\n\t"						\
	"jz	.Lrseq_below32_%=\n\t"						\
	"movq	%%rcx, %%rax\n\t"						\
	"jmp	.Lrseq_block_%=\n"						\
	".Lrseq_below64_%=:\n\t"						\
	"cmpq	$16, %[" len "]\n\t"						\
	"jb	.Lrseq_below16_%=\n\t"						\
	"cmpq	$32, %[" len "]\n\t"						\
	"jb	.Lrseq_below32_%=\n\t"						\
	"movups	16(%[" src "]), %%xmm2\n\t"					\
	"movups	-32(%[" src "], %[" len "]), %%xmm3\n\t"			\
	RSEQ_ASM_SCRATCH("second") "movups	%%xmm2, 16(%[" dst "])\n\t"	\
	RSEQ_ASM_SCRATCH("third") "movups	%%xmm3, -32(%[" dst "], %[" len "])\n"	\
	".Lrseq_below32_%=:\n\t"						\
	RSEQ_ASM_COPY_ENDS(16, dst, src, len, "movups", "%%xmm0", "%%xmm1")

#define RSEQ_ASM_COPY(dst, src, len)						\
	RSEQ_ASM_COPY_LONG(dst, src, len)					\
	".Lrseq_below16_%=:\n\t"						\
	"testb	$8, %b[" len "]\n\t"						\
	"jz	.Lrseq_below8_%=\n\t"						\
	RSEQ_ASM_COPY_ENDS(8, dst, src, len, "movq", "%%rax", "%%rcx")		\
	".Lrseq_below8_%=:\n\t"						\
	"testb	$4, %b[" len "]\n\t"						\
	"jz	.Lrseq_below4_%=\n\t"						\
	RSEQ_ASM_COPY_ENDS(4, dst, src, len, "movl", "%%eax", "%%ecx")		\
	".Lrseq_below4_%=:\n\t"						\
	"testb	%b[" len "], %b[" len "]\n\t"					\
	"jz	.Lrseq_copied_%=\n\t"						\
	"movb	(%[" src "]), %%al\n\t"					\
	RSEQ_ASM_SCRATCH("byte") "movb	%%al, (%[" dst "])\n\t"		\
	"testb	$2, %b[" len "]\n\t"						\
	"jz	.Lrseq_copied_%=\n\t"						\
	"movw	-2(%[" src "], %[" len "]), %%ax\n\t"				\
	RSEQ_ASM_SCRATCH("word") "movw	%%ax, -2(%[" dst "], %[" len "])\n"	\
	".Lrseq_copied_%=:\n\t"

/* Then a single word is what is below 16 bytes. */
#define RSEQ_ASM_COPY_WORDS(dst, src, len)					\
	RSEQ_ASM_COPY_LONG(dst, src, len)					\
	".Lrseq_below16_%=:\n\t"						\
	"movq	(%[" src "]), %%rax\n\t"					\
	RSEQ_ASM_SCRATCH("only8") "movq	%%rax, (%[" dst "])\n"			\
	".Lrseq_copied_%=:\n\t"
