/* SPDX-License-Identifier: MIT */
/*
 * mutant.S: one sound critical section, pop, which -D switches break, and a second one, push,
 * which stays sound but for OTHER_*. The table of switches is in mutants.sh.
 *
 * pop(head, out, cpu, area): if (!*head) leave; *out = *head; *head = **head.
 */

/* What the section is made of, one name for both architectures. */
#if defined(__x86_64__)
# define SIGNATURE_VALUE	0x53053053
# define HEAD		(%rdi)
# define AREA(offset)	%fs:offset(%rcx)
# define TAKE(d)	leaq d(%rip), %rax
# define TAKE_LOW_HALF	leal .Ldescriptor(%rip), %eax
# define STORE_TAKEN	movq %rax, AREA(8)
# define ARM_LOCAL	movq %rax, 8(%rsp)
# define CHECK_FIELD(f)	cmpl %edx, AREA(f); jne .Lleave
# define CHECK_INVERTED	cmpl %edx, AREA(4); je .Lleave
# define CHECK_UNUSED	cmpl %edx, AREA(4)
# define CHECK_ZERO	cmpl $0, AREA(4); jne .Lleave
# define CHECK_REGISTERED	cmpl $0, AREA(4); jl .Lleave
# define CHECK_ITSELF	movl AREA(4), %eax; cmpl %eax, %eax; jne .Lleave
# define CHECK_BYTE	movl AREA(4), %eax; cmpb %dl, %al; jne .Lleave
# define CHECK_SECOND_BYTE	movl AREA(4), %eax; cmpb %dl, %ah; jne .Lleave
# define CHECK_DIFFERENCE	movl AREA(4), %eax; subl %edx, %eax; jne .Lleave
# define CHECK_EXTENDED	movslq AREA(4), %rax; cmpq %rdx, %rax; jne .Lleave
# define CHECK_ELSEWHERE	cmpl %edx, %fs:4(%r8); jne .Lleave
# define CHECK_OUTSIDE	cmpl %edx, %eax; jne .Lleave
# define CHECK_LATE	movl AREA(4), %eax; .Learly: movq %r9, (%rsi); cmpl %edx, %eax; jne .Lleave
# define INDEX_FIELD(f)	movslq AREA(f), %rax; leaq (%r8, %rax, 8), %rdi
# define INDEX_LATE	INDEX; .Learly: movq %r9, (%rsi); LIMIT
# define INDEX_SCALED	imull $64, AREA(4), %eax; leaq (%r8, %rax), %rdi
# define SKIP_UNLESS(bit)	testb $1 << bit, %r9b; jz .Lsure; CHECK_REGISTERED; .Lsure:
# define SKIP_IF(bit)	testb $1 << bit, %r9b; jnz .Lsure; CHECK_REGISTERED; .Lsure:
# define CHOSEN		imull $64, %fs:(%rcx, %r9, 4), %eax; leaq (%r8, %rax), %rdi
# define LIMIT_SIGN	js .Lleave
# define LIMIT		testl %eax, %eax; js .Lleave
# define LOAD_HEAD	movq HEAD, %r10; testq %r10, %r10; jz .Lleave
# define TAKE_OLD_HEAD	movq %r9, %r10
# define STORE_OUT	movq %r10, (%rsi)
# define LOAD_NEXT	movq (%r10), %r10
# define STORE_HEAD	movq %r10, HEAD
# define STORE_BESIDE	movq %r10, 8(%rdi)
# define STORE_STRING	rep movsb
# define STORE_LOCAL	movq %r10, 8(%rsp)
# define STORE_AREA	movq $0, AREA(8)
# define STORE_COPY	leaq 4(%rcx), %r11; .Learly: movq %r10, %fs:(%r11)
# define STORE_MOVED	movq %rcx, %r11; addq $8, %r11; .Learly: movq %r10, %fs:(%r11)
# define STORE_INDEXED	movq %r10, %fs:(%rcx, %r9)
# define STORE_BY_INDEX	movq %r10, %fs:(%r9, %rcx)
# define REUSE_AREA	movq %rsi, %rcx; movq %r10, %fs:8(%rcx)
# define LOAD_THROUGH_COPY	leaq 4(%rcx), %r11; movq %fs:4(%r11), %r11; movq %r10, 64(%r11)
# define PUSH		pushq %r10
# define MODIFY		incq %rsi
# define MODIFY_SCRATCH	xorl %r11d, %r11d; incq %r11
# define JUMP(label)	jmp label
# define JUMP_IF(label)	jz label
# define CALL		call .Lleave
# define CALL_POINTER	call *%r10
# define JUMP_POINTER	jmp *%r10
# define SYSTEM_CALL	syscall
# define TRAP		ud2
# define TAKE_LOCK	xbegin .Lleave
# define NO_INSTRUCTION	.byte 0x06
# define MIDDLE		.Lmiddle + 1
# define JUMP_TO(label)	leaq label(%rip), %r11; jmp *%r11
# define TAKE_ABSOLUTE(label)	movq $label, %r11
# define SHORTER	1
# define OPCODE		.byte 0x0f, 0xb9, 0x3d
# define OTHER_OPCODE	.byte 0x0f, 0x1f, 0x05
#elif defined(__aarch64__)
# define SIGNATURE_VALUE	0xd428bc00
# define HEAD		[x0]
# define AREA(offset)	[x3, offset]
# define TAKE(d)	adrp x16, d; add x16, x16, :lo12:d
# define STORE_TAKEN	str x16, AREA(8)
# define ARM_LOCAL	str x16, [sp, #8]
# define CHECK_FIELD(f)	ldr w17, AREA(f); cmp w17, w2; b.ne .Lleave
# define CHECK_INVERTED	ldr w17, AREA(4); cmp w17, w2; b.eq .Lleave
# define CHECK_UNUSED	ldr w17, AREA(4); cmp w17, w2
# define CHECK_ZERO	ldr w17, AREA(4); cmp w17, #0; b.ne .Lleave
# define CHECK_REGISTERED	ldr w17, AREA(4); tbnz w17, #31, .Lleave
# define CHECK_ITSELF	ldr w17, AREA(4); cmp w17, w17; b.ne .Lleave
# define CHECK_BYTE	ldr w17, AREA(4); cmp w2, w17, uxtb; b.ne .Lleave
# define CHECK_ZERO_REGISTER	ldr w17, AREA(4); cmp w17, wzr; b.ne .Lleave
# define CHECK_UPPER_BITS	ldr w17, AREA(4); cmp w2, w17, lsr #1; b.ne .Lleave
# define CHECK_DIFFERENCE	ldr w17, AREA(4); eor w17, w17, w2; cbnz w17, .Lleave
# define CHECK_EXTENDED	ldrsw x17, AREA(4); cmp x17, w2, sxtw; b.ne .Lleave
# define CHECK_ELSEWHERE	ldr w17, [x4, #4]; sub w17, w17, w2; cbnz w17, .Lleave
# define CHECK_OUTSIDE	cmp w5, w2; b.ne .Lleave
# define CHECK_LATE	ldr w17, AREA(4); .Learly: str x9, [x1]; cmp w17, w2; b.ne .Lleave
# define INDEX_FIELD(f)	ldrsw x16, AREA(f); add x0, x6, x16, lsl #3
# define INDEX_LATE	INDEX; .Learly: str x9, [x1]; LIMIT
# define SKIP_UNLESS(bit)	tbz x7, bit, .Lsure; CHECK_REGISTERED; .Lsure:
# define SKIP_IF(bit)	tbnz x7, bit, .Lsure; CHECK_REGISTERED; .Lsure:
# define CHOSEN		ldr w16, [x3, x7, lsl #2]; add x0, x6, x16, lsl #3
# define LIMIT		tbnz w16, #31, .Lleave
# define LOAD_HEAD	ldr x10, HEAD; cbz x10, .Lleave
# define TAKE_OLD_HEAD	mov x10, x9
# define STORE_OUT	str x10, [x1]
# define LOAD_NEXT	ldr x10, [x10]
# define STORE_HEAD	str x10, HEAD
# define STORE_BESIDE	str x10, [x0, #8]
# define STORE_STRING	stxr w11, x10, HEAD
# define STORE_LOCAL	str x10, [sp, #8]
# define STORE_AREA	str xzr, AREA(8)
# define STORE_COPY	mov x12, x3; .Learly: str x10, [x12, #4]
# define STORE_MOVED	add x12, x9, x3; .Learly: str x10, [x12]
# define STORE_INDEXED	str x10, [x3, x9]
# define STORE_BY_INDEX	str x10, [x9, x3]
# define REUSE_AREA	mov x3, x1; str x10, [x3, #8]
# define LOAD_THROUGH_COPY	add x11, x3, #4; ldr x11, [x11, #4]; str x10, [x11, #64]
# define MODIFY		add x1, x1, #1
# define MODIFY_SCRATCH	mov x11, #0; add x11, x11, #1
# define PUSH		str x10, [sp, #-16]!
# define JUMP(label)	b label
# define JUMP_IF(label)	b.eq label
# define CALL		bl .Lleave
# define CALL_POINTER	blr x10
# define JUMP_POINTER	br x10
# define SYSTEM_CALL	svc #0
# define TRAP		brk #1
# define TAKE_LOCK	ldxr x11, [x1]
# define NO_INSTRUCTION	.inst 0
# define MIDDLE		.Lmiddle
# define JUMP_TO(label)	adr x11, label; br x11
# define JUMP_TO_FAR(label)	adrp x11, label; nop; add x12, x11, :lo12:label; br x12
# define SHORTER	2
# define OPCODE
# define OTHER_OPCODE
#endif

/* What the switches replace; each is sound by default. NOTHING is for those that leave one out. */
#define NOTHING
#define INDEX		INDEX_FIELD(4)
#ifndef VERSION
# define VERSION	0
#endif
#ifndef FLAGS
# define FLAGS		0
#endif
#ifndef START
# define START		.Lstart
#endif
#ifndef LENGTH
# define LENGTH		.Lend - .Lstart
#endif
#ifndef ABORT
# define ABORT		.Labort
#endif
#ifndef SIGNATURE
# define SIGNATURE	SIGNATURE_VALUE
#endif
#ifndef SIGNATURE_OPCODE
# define SIGNATURE_OPCODE	OPCODE
#endif
#ifndef STUB
# define STUB		JUMP(.Lleave)
#endif
#ifndef DESCRIPTOR_ALIGN
# define DESCRIPTOR_ALIGN	32
#endif
#ifndef TABLE_FLAGS
# define TABLE_FLAGS	"aw"
#endif
#ifndef TABLE
# define TABLE		.section __rseq_cs, TABLE_FLAGS
#endif
#ifndef MORE_DESCRIPTORS
# define MORE_DESCRIPTORS
#endif
#ifndef POINTERS
# define POINTERS	.quad .Ldescriptor
#endif
#ifndef EXITS
# define EXITS		.quad .Lstart, .Lleave
#endif
#ifndef SCRATCH
# define SCRATCH	.quad .Lscratch
#endif
#ifndef ARMED
# define ARMED		.Ldescriptor
#endif
#ifndef BEFORE_ARMING
# define BEFORE_ARMING
#endif
#ifndef ARM
# define ARM		STORE_TAKEN
#endif
#ifndef AFTER_ARMING
# define AFTER_ARMING
#endif
#ifndef CHECK
# define CHECK		CHECK_FIELD(4)
#endif
#ifndef LOAD
# define LOAD		LOAD_HEAD
#endif
#ifndef INSERT
# define INSERT
#endif
#ifndef PREPARE
# define PREPARE	STORE_OUT
#endif
#ifndef NEXT
# define NEXT		LOAD_NEXT
#endif
#ifndef COMMIT
# define COMMIT		STORE_HEAD
#endif
#ifndef AFTER_COMMIT
# define AFTER_COMMIT
#endif
#ifndef OUTSIDE
# define OUTSIDE
#endif
#ifndef MORE_DATA
# define MORE_DATA
#endif
#ifndef OTHER_TABLES
# define OTHER_TABLES	1
#endif

	TABLE
	.balign DESCRIPTOR_ALIGN
.Ldescriptor:
	.long VERSION, FLAGS
	.quad START, LENGTH, ABORT
	MORE_DESCRIPTORS
.Lother_descriptor:
	.long 0, 0
	.quad .Lother_start, .Lother_end - .Lother_start, .Lother_abort

#if OTHER_TABLES
	.section __rseq_cs_ptr_array, "aw"
	POINTERS
	.quad .Lother_descriptor
	.section __rseq_exit_point_array, "aw"
	EXITS
	.quad .Lother_start, .Lleave
	.section __rseq_scratch, ""
	SCRATCH
	.quad .Lother_scratch
#endif

	.section __rseq_failure, "ax"
	SIGNATURE_OPCODE
	.long SIGNATURE
.Labort:
	STUB
	OPCODE
	.long SIGNATURE_VALUE
.Lother_abort:
	JUMP(.Lleave)

	.text
	.globl pop, push
	.balign 16
	.type pop, %function
pop:
	BEFORE_ARMING
	TAKE(ARMED)
	ARM
	AFTER_ARMING
.Lstart:
	CHECK
	LOAD
.Lmiddle:
	INSERT
.Lscratch:
	PREPARE
.Lnext:
	NEXT
.Lcommit:
	COMMIT
	AFTER_COMMIT
.Lend:
	ret
.Lleave:
	ret
	.size pop, . - pop

	.type push, %function
push:
	TAKE(.Lother_descriptor)
	STORE_TAKEN
.Lother_start:
	CHECK_FIELD(4)
	LOAD_HEAD
.Lother_scratch:
	STORE_OUT
	STORE_HEAD
.Lother_end:
	ret
	.size push, . - push

	.type outside, %function
outside:
	OUTSIDE
	ret
	.size outside, . - outside

	.data
.Ldata:
	.quad .Ldata
	MORE_DATA

	.section .note.GNU-stack, "", %progbits
