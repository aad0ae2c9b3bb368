/* SPDX-License-Identifier: MIT */
/*
 * rseq/arch/aarch64.h: constants and assembly verbs. Included by section.h alone, which says what
 * each verb does; the other architectures have the same verbs in the same order.
 */
#define RSEQ_ARCH_AARCH64	1

/* brk #0x45e0: traps when executed. Instructions are little-endian whatever the data are. */
#define RSEQ_SIG_CODE		0xd428bc00
#ifdef __AARCH64EB__
# define RSEQ_SIG_DATA		0x00bc28d4
#else
# define RSEQ_SIG_DATA		RSEQ_SIG_CODE
#endif
/* libc's <sys/rseq.h> has the same, and programs include both: they agree token by token. */
#define RSEQ_SIG		RSEQ_SIG_DATA
#define RSEQ_ASM_SIGNATURE	".inst " RSEQ_STRINGIFY(RSEQ_SIG_CODE) "\n"

/* The area is addressed through its pointer. */
#define RSEQ_ASM_AREA			((uintptr_t)rseq_get_abi())
#define RSEQ_ASM_AREA_FIELD(offset)	"[%[rseq_area], " offset "]"
#define RSEQ_ASM_AREA_FIELD_BY(id)	"[%[rseq_area], %[" id "], lsl 2]"

/* A linker's veneer of a far branch may use x16 and x17. */
#define RSEQ_ASM_CLOBBERS	"cc", "x16", "x17"
#define RSEQ_ASM_COPY_CLOBBERS	"x14", "x15", "v0", "v1", "v2", "v3"
#define RSEQ_ASM_VALUE		"r"
#define RSEQ_ASM_ADDEND		"rI"
#define RSEQ_ASM_AT(pointer)	"[%[" pointer "]]"

#define RSEQ_ASM_ARM(descriptor)						\
	"adrp	x16, " descriptor "\n\t"					\
	"add	x16, x16, :lo12:" descriptor "\n\t"				\
	"str	x16, " RSEQ_ASM_AREA_FIELD("8") "\n"

#define RSEQ_ASM_JUMP(label)							\
	"b	%l[" label "]\n\t"

/*
 * A conditional branch reaches 1 MiB, and a compiler may put the label into another section, so
 * that a section is left through a branch behind its end.
 */
#define RSEQ_ASM_EXIT_LABEL(label)	".Lrseq_exit_" label "_%="
#define RSEQ_ASM_EXIT(label)							\
	RSEQ_ASM_EXIT_LABEL(label) ":\n\t"					\
	"b	%l[" label "]\n\t"
#define RSEQ_ASM_EXITS(exits)							\
	"b	.Lrseq_done_%=\n"						\
	exits									\
	".Lrseq_done_%=:\n\t"

#define RSEQ_ASM_CHECK_REGISTERED(label)					\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD("4") "\n\t"				\
	"tbnz	w16, 31, " RSEQ_ASM_EXIT_LABEL(label) "\n\t"

#define RSEQ_ASM_CHECK_ID(id, label)						\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"		\
	"cmp	w16, %w[" id "]\n\t"						\
	"b.ne	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"

#define RSEQ_ASM_INDEX(base, label)						\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD("%c[rseq_id]") "\n\t"		\
	"tbnz	w16, 31, " RSEQ_ASM_EXIT_LABEL(label) "\n\t"			\
	"add	x17, %[" base "], x16, lsl "					\
		RSEQ_STRINGIFY(RSEQ_PERCPU_STRIDE_SHIFT) "\n\t"		\
	"add	x17, x17, x16, lsl "						\
		RSEQ_STRINGIFY(RSEQ_PERCPU_SKEW_SHIFT) "\n\t"
#define RSEQ_ASM_INDEXED(base)	"[x17]"

#define RSEQ_ASM_BNE(memory, value, label)					\
	"ldr	x16, " memory "\n\t"						\
	"cmp	x16, %[" value "]\n\t"						\
	"b.ne	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"

#define RSEQ_ASM_LOAD(memory)							\
	"ldr	x17, " memory "\n\t"
#define RSEQ_ASM_BEQ_LOADED(value, label)					\
	"cmp	x17, %[" value "]\n\t"						\
	"b.eq	" RSEQ_ASM_EXIT_LABEL(label) "\n\t"
#define RSEQ_ASM_LOAD_AT_LOADED(offset)						\
	"ldr	x17, [x17, %[" offset "]]\n\t"
#define RSEQ_ASM_LOADED_AT	"[x17]"
#define RSEQ_ASM_STORE_LOADED(memory)						\
	"str	x17, " memory "\n"

#define RSEQ_ASM_STORE(value, memory)						\
	"str	%[" value "], " memory "\n"
#define RSEQ_ASM_STORE_RELEASE(value, memory)					\
	"stlr	%[" value "], " memory "\n"
#define RSEQ_ASM_ADD(addend, memory)						\
	"ldr	x16, " memory "\n\t"						\
	"add	x16, x16, %[" addend "]\n\t"					\
	"str	x16, " memory "\n"

#define RSEQ_ASM_T1		"x16"
#define RSEQ_ASM_T2		"x15"
#define RSEQ_ASM_TEMPORARIES	"x15"

/* cpu_id itself tells whether the thread is registered: that spares a load. */
#define RSEQ_ASM_CHECK_UNSURE(id, target)					\
	"tbz	%[" id "], " RSEQ_STRINGIFY(RSEQ_ID_UNSURE_BIT) ", .Lrseq_sure_%=\n\t"	\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD("4") "\n\t"				\
	"tbnz	w16, 31, " target "\n"						\
	".Lrseq_sure_%=:\n\t"
#define RSEQ_ASM_INDEX_BY(base, id, target)					\
	RSEQ_ASM_CHECK_UNSURE(id, target)					\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD_BY(id) "\n\t"			\
	"tbnz	w16, 31, " target "\n\t"					\
	"add	x17, %[" base "], x16, lsl "					\
		RSEQ_STRINGIFY(RSEQ_PERCPU_STRIDE_SHIFT) "\n\t"		\
	"add	x17, x17, x16, lsl "						\
		RSEQ_STRINGIFY(RSEQ_PERCPU_SKEW_SHIFT) "\n\t"
#define RSEQ_ASM_GET_ID(operand, id)						\
	"ldr	%w[" operand "], " RSEQ_ASM_AREA_FIELD_BY(id) "\n\t"
#define RSEQ_ASM_ROW(base, offset)	"[x17, " offset "]"
#define RSEQ_ASM_AT_REG(reg, offset)	"[" reg ", " offset "]"

#define RSEQ_ASM_CHECK_ID_BY(value, id, target)					\
	"ldr	w16, " RSEQ_ASM_AREA_FIELD_BY(id) "\n\t"			\
	"cmp	w16, %w[" value "]\n\t"						\
	"b.ne	" target "\n\t"

#define RSEQ_ASM_SET(reg, value)						\
	"mov	" reg ", " value "\n\t"
#define RSEQ_ASM_NEXT_WORD(reg)							\
	"add	" reg ", " reg ", 8\n\t"
#define RSEQ_ASM_PREVIOUS_WORD(reg)						\
	"sub	" reg ", " reg ", 8\n\t"
#define RSEQ_ASM_GET(reg, memory)						\
	"ldr	" reg ", " memory "\n\t"
#define RSEQ_ASM_PUT(reg, memory)						\
	"str	" reg ", " memory "\n"
#define RSEQ_ASM_PUT_RELEASE(reg, base)						\
	"stlr	" reg ", [" base "]\n"
#define RSEQ_ASM_BZ(reg, target)						\
	"cbz	" reg ", " target "\n\t"
#define RSEQ_ASM_BNZ_AT(memory, target)						\
	"ldr	x16, " memory "\n\t"						\
	"cbnz	x16, " target "\n\t"
#define RSEQ_ASM_BNA_AT(reg, memory, target)					\
	"ldr	x15, " memory "\n\t"						\
	"cmp	" reg ", x15\n\t"						\
	"b.ls	" target "\n\t"
#define RSEQ_ASM_BAE_AT(reg, memory, target)					\
	"ldr	x15, " memory "\n\t"						\
	"cmp	" reg ", x15\n\t"						\
	"b.hs	" target "\n\t"
#define RSEQ_ASM_BA_AT(reg, memory, target)					\
	"ldr	x15, " memory "\n\t"						\
	"cmp	" reg ", x15\n\t"						\
	"b.hi	" target "\n\t"
#define RSEQ_ASM_BB_AT(reg, memory, target)					\
	"ldr	x15, " memory "\n\t"						\
	"cmp	" reg ", x15\n\t"						\
	"b.lo	" target "\n\t"

#define RSEQ_ASM_GET_ROW(reg, base)						\
	"mov	" reg ", x17\n\t"
#define RSEQ_ASM_GET_SUM(reg, left, right)					\
	"add	" reg ", " left ", " right "\n\t"
#define RSEQ_ASM_AND_AT(reg, memory)						\
	"ldr	x15, " memory "\n\t"						\
	"and	" reg ", " reg ", x15\n\t"
#define RSEQ_ASM_ADD_AT(reg, memory)						\
	"ldr	x15, " memory "\n\t"						\
	"add	" reg ", " reg ", x15\n\t"

#define RSEQ_ASM_JUMP_LOCAL(target)						\
	"b	" target "\n\t"
/* A conditional branch does not reach the abort stub, see above. */
#define RSEQ_ASM_ABORT_LABEL	".Lrseq_failed_%="
#define RSEQ_ASM_RESULTS(text)							\
	"b	.Lrseq_left_%=\n"						\
	RSEQ_SECTION_RECORD_EXIT(RSEQ_ASM_ABORT_LABEL)				\
	RSEQ_ASM_ABORT_LABEL ":\n\t"						\
	"b	.Lrseq_abort_%=\n"						\
	text

/*
 * From 64 bytes on in blocks, the last of which ends where the data does and may overlap the one
 * before; below, both ends in pieces that overlap in the middle.
 */
#define RSEQ_ASM_COPY_ENDS(bytes, dst, src, load, store, first, last)		\
	load "	" first ", [%[" src "]]\n\t"					\
	load "	" last ", [x16, -" #bytes "]\n\t"				\
	RSEQ_ASM_SCRATCH("first" #bytes)					\
	store "	" first ", [%[" dst "]]\n\t"					\
	RSEQ_ASM_SCRATCH("last" #bytes)						\
	store "	" last ", [x17, -" #bytes "]\n\t"				\
	"b	.Lrseq_copied_%=\n"

#define RSEQ_ASM_COPY_LONG(dst, src, len)					\
	"add	x16, %[" src "], %[" len "]\n\t"				\
	"add	x17, %[" dst "], %[" len "]\n\t"				\
	"cmp	%[" len "], 16\n\t"						\
	"b.lo	.Lrseq_below16_%=\n\t"						\
	"cmp	%[" len "], 64\n\t"						\
	"b.lo	.Lrseq_below64_%=\n\t"						\
	"sub	x15, %[" len "], 64\n\t"					\
	"mov	x14, 0\n"							\
	".Lrseq_block_%=:\n\t"							\
	"add	x16, %[" src "], x14\n\t"					\
	"add	x17, %[" dst "], x14\n\t"					\
	"ldp	q0, q1, [x16]\n\t"						\
	"ldp	q2, q3, [x16, 32]\n\t"						\
	RSEQ_ASM_SCRATCH("block0") "stp	q0, q1, [x17]\n\t"			\
	RSEQ_ASM_SCRATCH("block1") "stp	q2, q3, [x17, 32]\n\t"			\
	"add	x14, x14, 64\n\t"						\
	"cmp	x14, x15\n\t"							\
	"b.ls	.Lrseq_block_%=\n\t"						\
	"cmp	x14, %[" len "]\n\t"						\
	"b.eq	.Lrseq_copied_%=\n\t"						\
	"mov	x14, x15\n\t"							\
	"b	.Lrseq_block_%=\n"						\
	".Lrseq_below64_%=:\n\t"						\
	"tbz	%[" len "], 5, .Lrseq_below32_%=\n\t"				\
	"ldr	q2, [%[" src "], 16]\n\t"					\
	"ldr	q3, [x16, -32]\n\t"						\
	RSEQ_ASM_SCRATCH("second") "str	q2, [%[" dst "], 16]\n\t"		\
	RSEQ_ASM_SCRATCH("third") "str	q3, [x17, -32]\n"			\
	".Lrseq_below32_%=:\n\t"						\
	RSEQ_ASM_COPY_ENDS(16, dst, src, "ldr", "str", "q0", "q1")

#define RSEQ_ASM_COPY(dst, src, len)						\
	RSEQ_ASM_COPY_LONG(dst, src, len)					\
	".Lrseq_below16_%=:\n\t"						\
	"tbz	%[" len "], 3, .Lrseq_below8_%=\n\t"				\
	RSEQ_ASM_COPY_ENDS(8, dst, src, "ldr", "str", "x14", "x15")		\
	".Lrseq_below8_%=:\n\t"						\
	"tbz	%[" len "], 2, .Lrseq_below4_%=\n\t"				\
	RSEQ_ASM_COPY_ENDS(4, dst, src, "ldr", "str", "w14", "w15")		\
	".Lrseq_below4_%=:\n\t"						\
	"cbz	%[" len "], .Lrseq_copied_%=\n\t"				\
	"ldrb	w14, [%[" src "]]\n\t"						\
	RSEQ_ASM_SCRATCH("byte") "strb	w14, [%[" dst "]]\n\t"		\
	"tbz	%[" len "], 1, .Lrseq_copied_%=\n\t"				\
	"ldrh	w14, [x16, -2]\n\t"						\
	RSEQ_ASM_SCRATCH("half") "strh	w14, [x17, -2]\n"			\
	".Lrseq_copied_%=:\n\t"

/* Then a single word is what is below 16 bytes. */
#define RSEQ_ASM_COPY_WORDS(dst, src, len)					\
	RSEQ_ASM_COPY_LONG(dst, src, len)					\
	".Lrseq_below16_%=:\n\t"						\
	"ldr	x14, [%[" src "]]\n\t"						\
	RSEQ_ASM_SCRATCH("only8") "str	x14, [%[" dst "]]\n"			\
	".Lrseq_copied_%=:\n\t"
