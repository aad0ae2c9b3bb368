/* SPDX-License-Identifier: MIT */
/*
 * foreign.S: well-formed critical sections in other ways than this library's. Not run.
 *
 * POINTERS adds __rseq_cs_ptr_array, SLABS the sections of an allocator that finds its CPU through
 * a cached pointer, ABSOLUTE descriptors' addresses as immediate operands.
 */
#if defined(__x86_64__)
# define SIGNATURE	.byte 0x0f, 0xb9, 0x3d; .long 0x53053053
# define SLAB_SIGNATURE	.byte 0x0f, 0x1f, 0x05; .long 0x53053053
# define ARM(d)		leaq d(%rip), %rax; movq %rax, %fs:8(%rcx)
# define JUMP(label)	jmp label
#elif defined(__aarch64__)
# define SIGNATURE	.inst 0xd428bc00
# define SLAB_SIGNATURE	SIGNATURE
# define ARM(d)		adrp x15, d; add x15, x15, :lo12:d; str x15, [x3, 8]
# define JUMP(label)	b label
#endif

#ifdef POINTERS
# define POINTER(d)	.pushsection __rseq_cs_ptr_array, "aw"; .quad d; .popsection
#else
# define POINTER(d)
#endif

#define DESCRIBE(name, signature, stub)							\
	.pushsection __rseq_cs, "aw";							\
	.balign 32;									\
.Ldescriptor_##name:									\
	.long 0, 0;									\
	.quad .Lstart_##name, .Lend_##name - .Lstart_##name, .Labort_##name;		\
	.popsection;									\
	POINTER(.Ldescriptor_##name);							\
	.pushsection __rseq_failure, "ax";						\
	signature;									\
.Labort_##name:										\
	stub;										\
	.popsection

#define FUNCTION(name)	.globl name; .type name, %function; name
#define ENDS(name)	ret; .Lleave_##name: ret; .size name, . - name

	.text
#ifndef SLABS

/* Compare, leave to the abort label on another CPU. */
	DESCRIBE(classic, SIGNATURE, JUMP(.Lleave_classic))
FUNCTION(classic):
	ARM(.Ldescriptor_classic)
.Lstart_classic:
#ifdef __x86_64__
	cmpl	%edx, %fs:4(%rcx)
	jnz	.Labort_classic
	cmpq	%rsi, (%rdi)
	jnz	.Lleave_classic
	movq	%r8, (%rdi)
#else
	ldr	w15, [x3, 4]
	sub	w15, w15, w2
	cbnz	w15, .Lleave_classic
	ldr	x15, [x0]
	sub	x15, x15, x1
	cbnz	x15, .Lleave_classic
	str	x4, [x0]
#endif
.Lend_classic:
	ENDS(classic)

/* The abort label in the function itself, its code going on there. */
	.pushsection __rseq_cs, "aw"
	.balign 32
.Ldescriptor_local:
	.long 0, 0
	.quad .Lstart_local, .Lend_local - .Lstart_local, .Labort_local
	.popsection
	POINTER(.Ldescriptor_local)
	JUMP(local)
	SIGNATURE
.Labort_local:
FUNCTION(local):
	ARM(.Ldescriptor_local)
.Lstart_local:
#ifdef __x86_64__
	cmpl	%fs:4(%rcx), %edx
	jne	.Labort_local
	incq	(%rdi)
#else
	ldr	w15, [x3, 4]
	cmp	w2, w15
	b.ne	.Labort_local
	ldr	x15, [x0]
	add	x15, x15, 1
	stlr	x15, [x0]
#endif
.Lend_local:
	ENDS(local)

/* The area at a known distance from the thread pointer, or reached by a plain pointer. */
	DESCRIBE(direct, SIGNATURE, JUMP(direct))
FUNCTION(direct):
#ifdef __x86_64__
	leaq	.Ldescriptor_direct(%rip), %r9
	movq	%r9, %fs:__rseq_abi@tpoff + 8
.Lstart_direct:
	movl	%fs:__rseq_abi@tpoff + 4, %eax
	cmpl	%eax, %edx
	jne	.Lleave_direct
	movq	(%rdi), %r9
	movq	(%r9), %r9
	movq	%r9, (%rdi)
#else
	adr	x9, .Ldescriptor_direct
	add	x3, x3, 8
	str	x9, [x3]
.Lstart_direct:
	ldur	w10, [x3, -4]
	cmp	w10, w2
	b.eq	1f
	b	.Lleave_direct
1:
	ldr	x9, [x0]
	ldr	x9, [x9]
	str	x9, [x0]
#endif
.Lend_direct:
	ENDS(direct)

/* The id as an index into a table of pointers. */
	DESCRIBE(table, SIGNATURE, JUMP(table))
FUNCTION(table):
	ARM(.Ldescriptor_table)
.Lstart_table:
#ifdef __x86_64__
	movl	%fs:24(%rcx), %eax
	cmpl	$512, %eax
	jae	.Lleave_table
	movq	(%rdi, %rax, 8), %rax
	addq	%rsi, 64(%rax)
#else
	ldr	w9, [x3, 24]
	cmp	w9, 512
	b.hs	.Lleave_table
	ldr	x9, [x0, x9, lsl 3]
	ldr	x10, [x9, 64]
	add	x10, x10, x1
	str	x10, [x9, 64]
#endif
.Lend_table:
	ENDS(table)

/* A copy, byte by byte, before the commit. */
	DESCRIBE(copy, SIGNATURE, JUMP(.Lleave_copy))
FUNCTION(copy):
	ARM(.Ldescriptor_copy)
.Lstart_copy:
#ifdef __x86_64__
	cmpl	%edx, %fs:4(%rcx)
	jnz	.Labort_copy
	movq	(%rdi), %r11
	movq	%r8, %r10
222:
	testq	%r10, %r10
	jz	333f
	movb	(%rsi), %al
	movb	%al, (%r9)
	incq	%rsi
	incq	%r9
	decq	%r10
	jmp	222b
333:
	addq	%r8, %r11
	movq	%r11, (%rdi)
#else
	ldr	w15, [x3, 4]
	sub	w15, w15, w2
	cbnz	w15, .Lleave_copy
	ldr	x11, [x0]
	mov	x10, x4
222:
	cbz	x10, 333f
	ldrb	w15, [x1], 1
	strb	w15, [x5], 1
	sub	x10, x10, 1
	b	222b
333:
	add	x11, x11, x4
	str	x11, [x0]
#endif
.Lend_copy:
	ENDS(copy)

#if defined(ABSOLUTE) && defined(__x86_64__)
	DESCRIBE(absolute, SIGNATURE, JUMP(.Lleave_absolute))
FUNCTION(absolute):
	movq	$.Ldescriptor_absolute, 8(%rcx)
.Lstart_absolute:
	cmpl	%edx, 4(%rcx)
	jnz	.Labort_absolute
	addq	%rsi, (%rdi)
.Lend_absolute:
	ENDS(absolute)
#endif

#else /* SLABS */

/* The kernel's write of the id invalidates the cached pointer that overlaps it. */
	DESCRIBE(slab_push, SLAB_SIGNATURE, JUMP(slab_push))
FUNCTION(slab_push):
	ARM(.Ldescriptor_slab_push)
.Lstart_slab_push:
#ifdef __x86_64__
	movq	%fs:-4(%rcx), %r10
	btrq	$63, %r10
	jnc	.Lleave_slab_push
	movzwl	(%r10, %rdi, 8), %r11d
	cmpw	6(%r10, %rdi, 8), %r11w
	jae	.Lleave_slab_push
	movq	%rsi, (%r10, %r11, 8)
	incl	%r11d
	movw	%r11w, (%r10, %rdi, 8)
#else
	ldur	x10, [x3, -4]
	tbz	x10, 63, .Lleave_slab_push
	and	x10, x10, 0x7fffffffffffffff
	add	x11, x10, x0, lsl 3
	ldrh	w12, [x11]
	ldrh	w13, [x11, 6]
	cmp	w12, w13
	b.ge	.Lleave_slab_push
	str	x1, [x10, x12, lsl 3]
	add	w12, w12, 1
	strh	w12, [x11]
#endif
.Lend_slab_push:
	ENDS(slab_push)

#endif /* SLABS */

	.section .tbss, "awT", %nobits
	.balign 32
	.globl __rseq_abi
	.type __rseq_abi, %object
__rseq_abi:
	.skip 32
	.size __rseq_abi, 32

	.section .note.GNU-stack, "", %progbits
