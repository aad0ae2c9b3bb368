#!/bin/bash
# SPDX-License-Identifier: MIT
# Every way to break a critical section that shows in its code is found, by its name.
#
# Some ways do not show in the code; the abort tests find them:
#   - a clobbered register, flag or memory that the C statement does not name: the code is the same
#     as that of a statement that does;
#   - inputs that an aborted try has changed: whether a retry takes them from elsewhere is decided
#     in C, outside the section. That a section changes what it takes from before, --profile=strict
#     says (modified-input);
#   - a value read before the section and trusted inside (ABA), in general. Where the word that the
#     commit replaces is not read inside at all, --profile=strict says so (commit-not-read).
# A post_commit_ip that comes too late is found if anything follows the commit, be it a nop.
# Compilers may be of several words, so that they are not quoted.
# shellcheck source=/dev/null disable=SC2086,SC2154
. "${top_srcdir:-$(dirname "$0")/../..}/tests/verify/common.sh"

# mutant CHECK [-p PROFILE] [-a ARCHITECTURE] SWITCH=VALUE...
mutant() {
	local check=$1 profile=default only=$arch switches=()
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		-p) profile=$2; shift ;;
		-a) only=$2; shift ;;
		*) switches+=("-D$1") ;;
		esac
		shift
	done
	[ "$only" = "$arch" ] || return 0
	label="$compiler ${switches[*]}"
	$compiler -c "${switches[@]}" "$sources/mutant.S" -o "$work/mutant.o" ||
		{ fail "$label: does not assemble"; return; }
	if [ "$check" = none ]; then
		expect 0 '2 sections, 0 violations' --profile=$profile "$work/mutant.o"
	else
		expect 1 "[$check]" --profile=$profile "$work/mutant.o"
	fi
}

all_mutants() {
	local inner_stub='OPCODE; .long SIGNATURE; .Linner: JUMP(.Lleave)'

	mutant none -p strict

	# The descriptor.
	mutant bad-version VERSION=1
	mutant bad-flags FLAGS=1
	# Whatever stands before them.
	mutant misaligned-descriptor DESCRIPTOR_ALIGN=16
	mutant misaligned-descriptor DESCRIPTOR_ALIGN=16 'MORE_DATA=.space 16'
	mutant bad-table 'TABLE_FLAGS="w"'
	mutant bad-range LENGTH=0
	mutant bad-range START=.Ldata
	mutant bad-range LENGTH=0x10000000
	mutant bad-range LENGTH=-1
	mutant overlap 'MORE_DESCRIPTORS=.long 0, 0; .quad .Lmiddle, .Lend - .Lmiddle, .Labort'
	mutant overlap 'MORE_DESCRIPTORS=.long 0, 0; .quad .Lstart, .Lend - .Lstart, .Labort'
	mutant abort-inside ABORT=.Linner "INSERT=JUMP(.Lover); $inner_stub; .Lover:"
	mutant abort-inside ABORT=.Lother_start
	mutant bad-abort ABORT=.Ldata
	mutant bad-abort STUB=NO_INSTRUCTION
	mutant bad-signature SIGNATURE=0x12345678
	mutant bad-signature ABORT=.Lleave
	mutant signature-encoding -a x86_64 SIGNATURE_OPCODE=OTHER_OPCODE

	# The tables.
	mutant bad-table 'POINTERS=.quad .Ldescriptor; .long 0'
	mutant bad-table 'MORE_DESCRIPTORS=.quad 0'
	mutant ptr-missing POINTERS=
	mutant ptr-duplicate 'POINTERS=.quad .Ldescriptor, .Ldescriptor'
	mutant ptr-stray 'POINTERS=.quad .Ldescriptor, .Ldata'
	mutant ptr-stray 'POINTERS=.quad .Ldescriptor, .Ldescriptor + 8'
	mutant ptr-stray 'POINTERS=.quad .Ldescriptor, .Ldata' 'MORE_DATA=.space 64'
	# Descriptors are followed to where the pointers lead.
	mutant none -p strict 'TABLE=.section .data.rel.ro, "aw"'
	mutant bad-flags 'TABLE=.section .data.rel.ro, "aw"' FLAGS=1
	mutant jump-in 'TABLE=.section .data.rel.ro, "aw"' 'OUTSIDE=JUMP(.Lmiddle)'
	mutant unrecorded-exit EXITS=
	mutant unrecorded-exit 'EXITS=.quad .Lother_start, .Lleave'
	mutant unrecorded-exit 'EXITS=.quad .Lstart, pop'
	mutant unrecorded-exit 'INSERT=JUMP_IF(.Ldata)'
	mutant stray-exit-point 'EXITS=.quad .Lstart, .Lleave, .Lstart, pop'
	mutant stray-exit-point 'EXITS=.quad .Lstart, .Lleave, .Lmiddle, .Lleave'
	mutant stray-exit-point 'EXITS=.quad .Lstart, .Lleave, .Lstart, .Lmiddle'
	mutant stray-scratch 'SCRATCH=.quad .Lscratch, .Lstart'
	mutant stray-scratch 'SCRATCH=.quad .Lscratch, .Lleave'
	mutant none OTHER_TABLES=0
	mutant no-ptr-array -p strict OTHER_TABLES=0
	mutant no-exit-array -p strict OTHER_TABLES=0
	mutant no-scratch-table -p strict OTHER_TABLES=0

	# Arming.
	mutant no-arming ARM=nop
	mutant no-arming ARMED=.Ldata
	mutant no-arming -a x86_64 'ARM=TAKE_LOW_HALF; STORE_TAKEN'
	mutant no-arming 'ARM=JUMP(.Lfar); STORE_TAKEN'
	mutant no-arming 'ARM=JUMP_POINTER; STORE_TAKEN'
	mutant no-arming ARM='JUMP(.Lx); nop; .Lx: STORE_TAKEN'
	mutant wrong-descriptor ARMED=.Lother_descriptor
	mutant arming-not-adjacent AFTER_ARMING=nop
	mutant arming-not-adjacent 'AFTER_ARMING=CHECK_FIELD(4)' CHECK=NOTHING
	mutant arming-not-adjacent START=.Lmiddle 'LENGTH=.Lend - .Lmiddle' \
		'EXITS=.quad .Lmiddle, .Lleave'
	mutant arming-not-adjacent START=pop 'LENGTH=.Lend - pop' 'EXITS=.quad pop, .Lleave'

	# The id.
	mutant no-cpu-check CHECK=NOTHING
	mutant no-cpu-check CHECK=CHECK_OUTSIDE
	mutant no-cpu-check BEFORE_ARMING='CHECK_FIELD(4)' CHECK=NOTHING
	mutant no-cpu-check 'CHECK=CHECK_FIELD(0)'
	mutant no-cpu-check 'CHECK=CHECK_FIELD(16)'
	mutant no-cpu-check 'CHECK=CHECK_FIELD(20)'
	mutant unguarded-commit 'CHECK=CHECK_REGISTERED; CHECK_FIELD(20)'
	mutant unguarded-commit 'CHECK=CHECK_REGISTERED; INDEX_FIELD(20); LIMIT'
	mutant none -p strict 'CHECK=CHECK_FIELD(20); CHECK_FIELD(4)'
	mutant none 'CHECK=CHECK_FIELD(24)'
	mutant unregistered-cid -p strict 'CHECK=CHECK_FIELD(24)'
	mutant none -p strict 'CHECK=CHECK_REGISTERED; CHECK_FIELD(24)'
	mutant unregistered-cid -p strict \
		'CHECK=JUMP_IF(.Lx); CHECK_REGISTERED; .Lx: CHECK_FIELD(24)'
	mutant none -p strict 'CHECK=SKIP_UNLESS(2); CHOSEN; LIMIT'
	mutant none -p strict 'CHECK=SKIP_UNLESS(1); CHOSEN; LIMIT'
	mutant unregistered-cid -p strict 'CHECK=CHOSEN; LIMIT'
	mutant unregistered-cid -p strict 'CHECK=SKIP_UNLESS(0); CHOSEN; LIMIT'
	mutant unregistered-cid -p strict 'CHECK=SKIP_IF(2); CHOSEN; LIMIT'
	mutant unchecked-index -p strict 'CHECK=SKIP_UNLESS(2); CHOSEN'
	mutant store-before-check CHECK=NOTHING 'NEXT=LOAD_NEXT; CHECK_FIELD(4)'
	mutant store-before-check 'CHECK=JUMP_IF(.Lmiddle); CHECK_FIELD(4)'
	mutant store-before-check CHECK=CHECK_LATE 'SCRATCH=.quad .Lscratch, .Learly'
	mutant none -p strict CHECK=INDEX_LATE 'SCRATCH=.quad .Lscratch, .Learly'
	mutant unguarded-commit CHECK=CHECK_INVERTED
	mutant unguarded-commit 'CHECK=CHECK_INVERTED; CHECK_OUTSIDE'
	mutant unguarded-commit CHECK=CHECK_UNUSED
	mutant unguarded-commit CHECK=CHECK_ZERO
	mutant unguarded-commit CHECK=CHECK_ITSELF
	mutant unguarded-commit CHECK=CHECK_BYTE
	mutant unguarded-commit -a x86_64 CHECK=CHECK_SECOND_BYTE
	mutant unguarded-commit -a aarch64 CHECK=CHECK_ZERO_REGISTER
	mutant unguarded-commit -a aarch64 CHECK=CHECK_UPPER_BITS
	mutant none -p strict CHECK=CHECK_DIFFERENCE
	mutant none -p strict CHECK=CHECK_EXTENDED
	mutant unguarded-commit CHECK=CHECK_REGISTERED
	mutant none -p strict 'CHECK=INDEX; LIMIT'
	mutant none CHECK=INDEX
	mutant none -p strict -a x86_64 'CHECK=INDEX_SCALED; LIMIT'
	mutant unchecked-index -p strict -a x86_64 'CHECK=INDEX_SCALED; LIMIT_SIGN'
	mutant unchecked-index -p strict CHECK=INDEX
	mutant unchecked-index -p strict CHECK=INDEX NEXT='LOAD_NEXT; LIMIT' \
		PREPARE='STORE_OUT; .Learly: STORE_BESIDE' 'SCRATCH=.quad .Lscratch, .Learly'
	mutant none -p strict 'CHECK=INDEX; LIMIT' \
		PREPARE='STORE_OUT; .Learly: STORE_BESIDE' 'SCRATCH=.quad .Lscratch, .Learly'
	mutant other-base CHECK=CHECK_ELSEWHERE
	mutant other-base -p strict CHECK=CHECK_ELSEWHERE
	mutant none -p foreign CHECK=CHECK_ELSEWHERE
	mutant other-base -a x86_64 CHECK='cmpl %edx, .Ldata(%rip); jne .Lleave'
	mutant other-base -a aarch64 CHECK='ldr w17, .Lx; cmp w17, w2; b.ne .Lleave; .Lx:'
	mutant other-base ARM=ARM_LOCAL
	mutant other-base -p strict ARM=ARM_LOCAL

	# Instructions.
	mutant bad-boundary 'LENGTH=.Lend - .Lstart - SHORTER'
	mutant bad-boundary -a x86_64 'INSERT=JUMP_IF(.Lscratch + 1)'
	mutant bad-boundary -a x86_64 'INSERT=JUMP_IF(push + 1)' \
		'EXITS=.quad .Lstart, .Lleave, .Lstart, push + 1'
	mutant none -p strict 'INSERT=JUMP_IF(push)' 'EXITS=.quad .Lstart, .Lleave, .Lstart, push'
	mutant undecodable INSERT=NO_INSTRUCTION
	mutant call-inside INSERT=CALL
	mutant call-inside INSERT=CALL_POINTER
	mutant syscall-inside INSERT=SYSTEM_CALL
	mutant return-inside INSERT=ret
	mutant indirect-jump INSERT=JUMP_POINTER
	mutant forbidden-instruction INSERT=TRAP
	mutant forbidden-instruction INSERT=TAKE_LOCK
	mutant stack-write INSERT=PUSH
	mutant stack-write INSERT=STORE_LOCAL
	mutant stack-write COMMIT=STORE_LOCAL
	mutant none -p strict PREPARE=STORE_LOCAL
	mutant none INSERT=MODIFY
	mutant modified-input -p strict INSERT=MODIFY
	mutant modified-input -p strict INSERT='JUMP_IF(.Lx); MODIFY; .Lx:'
	mutant none -p strict INSERT=MODIFY_SCRATCH
	mutant area-write INSERT=STORE_AREA
	mutant area-write PREPARE=STORE_AREA
	mutant area-write PREPARE=STORE_COPY SCRATCH='.quad .Learly'
	mutant area-write PREPARE=STORE_MOVED SCRATCH='.quad .Learly'
	mutant area-write PREPARE=STORE_INDEXED
	mutant area-write PREPARE='JUMP_IF(.Lscratch); STORE_COPY' SCRATCH='.quad .Learly'
	mutant area-write COMMIT=STORE_COPY
	mutant area-write COMMIT=STORE_INDEXED
	mutant area-write COMMIT=STORE_BY_INDEX
	mutant none COMMIT=REUSE_AREA
	mutant none COMMIT=LOAD_THROUGH_COPY
	mutant jump-in 'OUTSIDE=JUMP(.Lcommit)'
	mutant jump-in 'OUTSIDE=JUMP_IF(.Lmiddle)'
	mutant jump-in 'OUTSIDE=JUMP(.Lstart)'
	mutant jump-in BEFORE_ARMING='JUMP_IF(.Lmiddle)'
	mutant jump-in 'STUB=JUMP(.Lstart)'
	mutant none -p strict 'STUB=TAKE(.Ldescriptor); STORE_TAKEN; JUMP(.Lstart)'
	mutant none -p strict STUB='JUMP(pop)'
	# Past the computation of what arms the section.
	mutant jump-in BEFORE_ARMING='JUMP_IF(.Lx)' ARM='.Lx: STORE_TAKEN'
	mutant jump-in 'OUTSIDE=JUMP(.Lx)' ARM='.Lx: STORE_TAKEN'
	mutant jump-in 'OUTSIDE=TAKE(.Lother_descriptor); JUMP(.Lx)' ARM='.Lx: STORE_TAKEN'
	mutant jump-in 'STUB=JUMP(.Lx)' ARM='.Lx: STORE_TAKEN'
	mutant jump-in ABORT=.Lx 'ARM=JUMP_IF(.Ly); OPCODE; .long SIGNATURE; .Lx: .Ly: STORE_TAKEN'
	mutant jump-in -a aarch64 BEFORE_ARMING='JUMP_IF(.Lx)' \
		'ARM=adrp x16, .Ldescriptor; .Lx: add x16, x16, :lo12:.Ldescriptor; STORE_TAKEN'
	mutant none -p strict BEFORE_ARMING='JUMP_IF(.Lx); .Lx:'
	mutant none -p strict 'ARM=JUMP_IF(.Lx); .Lx: STORE_TAKEN'
	mutant none -p strict 'ARM=.Lx: STORE_TAKEN' 'OUTSIDE=TAKE(.Ldescriptor); JUMP(.Lx)'
	mutant jump-in -a x86_64 \
		'OUTSIDE=jmp .Lx; .byte 0x48, 0xb8; .Lx: jmp .Lmiddle; nop; nop; nop; nop; nop; nop'
	mutant none -p strict -a x86_64 \
		'OUTSIDE=jmp .Lx; .byte 0x48, 0xb8; .Lx: jmp .Lleave; nop; nop; nop; nop; nop; nop'
	# Addresses that an indirect jump may go to.
	mutant address-taken 'OUTSIDE=JUMP_TO(.Lmiddle)'
	mutant address-taken 'OUTSIDE=JUMP_TO(.Lx)' ARM='.Lx: STORE_TAKEN'
	mutant address-taken -a x86_64 'OUTSIDE=TAKE_ABSOLUTE(.Lmiddle)'
	mutant address-taken -a aarch64 'OUTSIDE=JUMP_TO_FAR(.Lmiddle)'
	mutant address-taken 'MORE_DATA=.quad .Lmiddle'
	mutant none -p foreign 'MORE_DATA=.quad .Lmiddle'
	mutant none -p strict 'MORE_DATA=.quad .Lstart, .Lend, .Labort, pop'
	mutant none -p strict 'OUTSIDE=JUMP_TO(.Lend)'
	mutant none -p strict 'OUTSIDE=JUMP_TO(pop)'

	# The commit.
	mutant no-commit COMMIT=nop PREPARE=nop SCRATCH=
	mutant no-commit PREPARE=NOTHING SCRATCH= 'LENGTH=.Lcommit - .Lstart'
	mutant commit-not-last 'LENGTH=.Lcommit - .Lstart'
	mutant commit-not-last AFTER_COMMIT=nop
	mutant commit-not-last 'AFTER_COMMIT=JUMP(.Lleave)'
	mutant commit-not-last 'SCRATCH=.quad .Lscratch, .Lcommit'
	mutant commit-interruptible -a x86_64 COMMIT=STORE_STRING
	mutant commit-interruptible -a x86_64 COMMIT='vpscatterdd %zmm0, (%rsi, %zmm1, 4){%k1}'
	mutant commit-interruptible -a x86_64 COMMIT='fnsave (%rdi)'
	mutant commit-interruptible -a x86_64 COMMIT='xsave (%rdi)'
	mutant commit-interruptible -a aarch64 COMMIT='stp x10, x11, HEAD'
	mutant commit-interruptible -a aarch64 COMMIT='stp q0, q1, HEAD'
	mutant commit-interruptible -a aarch64 COMMIT='str q0, HEAD'
	mutant commit-interruptible -a aarch64 COMMIT='st1 {v0.4s}, HEAD'
	mutant commit-interruptible -a aarch64 COMMIT='st2 {v0.d, v1.d}[0], HEAD'
	mutant none -p strict -a x86_64 COMMIT='movups %xmm0, (%rdi)'
	mutant none -p strict -a x86_64 COMMIT='addl %r10d, (%rdi)'
	mutant none -p strict -a x86_64 COMMIT='xchgq %r10, (%rdi)'
	mutant none -p strict -a aarch64 COMMIT='str d0, HEAD'
	mutant none -a aarch64 COMMIT='st1 {v0.d}[1], HEAD'
	mutant none -p strict -a aarch64 COMMIT='stlr x10, HEAD'
	mutant none -p strict -a aarch64 COMMIT='strb w10, HEAD'
	mutant none -p strict -a aarch64 PREPARE='stp q0, q1, [x1]'
	mutant forbidden-instruction -a aarch64 COMMIT=STORE_STRING
	mutant commit-unreachable 'NEXT=JUMP(.Lleave)'
	mutant undeclared-store SCRATCH=
	mutant undeclared-store AFTER_COMMIT=STORE_BESIDE
	mutant undeclared-store PREPARE='STORE_BESIDE; STORE_OUT'
	mutant two-commits AFTER_COMMIT=STORE_HEAD
	mutant two-commits PREPARE=STORE_HEAD
	mutant none LOAD=TAKE_OLD_HEAD NEXT=NOTHING
	mutant commit-not-read -p strict LOAD=TAKE_OLD_HEAD NEXT=NOTHING
}

# What only a linker can do wrong, or hides.
linked_mutants() {
	local taken
	for taken in 'OUTSIDE=JUMP_TO(.Lmiddle)' 'MORE_DATA=.quad .Lmiddle' \
			'OUTSIDE=TAKE_ABSOLUTE(.Lmiddle)' 'OUTSIDE=JUMP_TO_FAR(.Lmiddle)'; do
		label="$compiler: a program with $taken"
		case $arch:$taken in
		x86_64:*_FAR* | aarch64:*_ABSOLUTE*) continue ;;
		esac
		$compiler -D"$taken" -nostdlib -static -Wl,-e,pop "$sources/mutant.S" \
			-o "$work/mutant" && expect 1 '[address-taken]' "$work/mutant"
	done
	label="$compiler: a library with an address inside"
	$compiler -D'MORE_DATA=.quad .Lmiddle' -shared -nostdlib "$sources/mutant.S" \
		-o "$work/mutant" && expect 1 '[address-taken]' "$work/mutant"
	label="$compiler: descriptors at an odd place"
	if $compiler -DDESCRIPTOR_ALIGN=8 -nostdlib -static -Wl,--section-start=__rseq_cs=0x500008 \
			-Wl,-e,pop "$sources/mutant.S" -o "$work/mutant" 2>"$work/errors"; then
		expect 1 '[misaligned-descriptor]' "$work/mutant"
	else
		echo "left out: $label: $(head -n 1 "$work/errors")"
	fi
	label="$compiler: descriptors that nothing relocates"
	if $compiler -shared -nostdlib "$sources/mutant.S" -o "$work/whole" 2>"$work/errors" &&
			"$($compiler -print-prog-name=objcopy)" --remove-section=.rela.dyn \
			"$work/whole" "$work/mutant" 2>"$work/errors"; then
		expect 0 '2 sections, 0 violations' "$work/whole"
		expect 1 '[unrelocated]' "$work/mutant"
	else
		echo "left out: $label: $(head -n 1 "$work/errors")"
	fi
}

# The library's own operations, broken by the switch of the abort test, which finds the rest.
library_mutants() {
	local subjects=$sources/../abort/ops.c number switch
	local found=(- no-cpu-check arming-not-adjacent no-cpu-check bad-signature - commit-not-last
		commit-not-last modified-input bad-flags abort-inside two-commits -)
	[ -e "$subjects" ] || { echo "left out: no $subjects"; return; }
	for number in "${!found[@]}"; do
		switch=-DMUTANT=$number
		[ "$number" != 0 ] || switch=-UMUTANT
		label="$compiler: the library's mutant $number"
		$compiler -std=gnu11 -O2 -I"$includes" -I"$sources/.." -I"$sources/../abort" \
			$switch -c "$subjects" -o "$work/mutant.o" || { fail "$label"; continue; }
		case $number:${found[number]} in
		0:-) expect 0 ' sections, 0 violations' --profile=strict "$work/mutant.o" ;;
		*:-) ;;
		*) expect 1 "[${found[number]}]" --profile=strict "$work/mutant.o" ;;
		esac
	done
}

for arch in x86_64 aarch64; do
	mapfile -t compilers < <(compilers_for $arch)
	[ ${#compilers[@]} -gt 0 ] || echo "no compiler for $arch: its mutants are left out"
	# One compiler is enough: what it gets is assembly.
	for compiler in "${compilers[@]:0:1}"; do
		all_mutants
		linked_mutants
		library_mutants
	done
done
finish
