#!/bin/bash
# SPDX-License-Identifier: MIT
# aarch64: sections and their labels more than 1 MiB apart, which is as far as a conditional branch
# reaches. The program links and runs, in qemu-user where the machine is another one.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

case $machine in
aarch64) compilers=$(native_compilers) run=${RSEQ_EMULATOR-} ;;
*) compilers=$(cross_compilers) run=$qemu ;;
esac
[ -n "$compilers" ] || skip "no compiler for aarch64"
[ -z "$run" ] || have "$run" || skip "no ${run%% *}"
objdump=$cross-objdump
have $objdump || objdump=${OBJDUMP:-objdump}

# How many unconditional branches of a program go more than 1 MiB far.
count_far() { # program
	local from to far=0
	while read -r from to; do
		from=$((16#$from)) to=$((16#$to))
		[ $((to > from ? to - from : from - to)) -gt 1048576 ] && far=$((far + 1))
	done < <("$objdump" -d --no-show-raw-insn "$1" |
		sed -nE 's/^ *([0-9a-f]+):\tb\t([0-9a-f]+) .*/\1 \2/p')
	echo "$far"
}

# A program with at least so many far branches.
try() { # number of job, far branches, compiler, arguments
	local program=$work/far$1 far compiler
	read -ra compiler <<<"$3"
	[[ $3 != *clang* ]] || compiler+=(-Wno-unused-command-line-argument)
	if ! "${compiler[@]}" "${warnings[@]}" "${includes[@]}" -O2 "${@:4}" -o "$program" \
		"$source/far.c" >"$program.log" 2>&1; then
		# Fixed in gcc 12.4 and 13.3 (PR rtl-optimization/110079): any asm goto into cold code.
		if grep -q 'internal compiler error: in fixup_reorder_chain' "$program.log"; then
			echo "not tried: $3 ${*:4}: a bug of this compiler"
			return
		fi
		complain "${*:3}: does not build" "$program.log"
		return
	fi
	far=$(count_far "$program")
	[ "$far" -ge "$2" ] || complain "${*:3}: $far far branches instead of $2"
	# shellcheck disable=SC2086
	timeout 60 $run "$program" >"$program.log" 2>&1 ||
		complain "${*:3}: exit status $?" "$program.log"
	rm -f "$program"
}

# Linkers put cold code before other code; after that of far.c comes this.
cat >"$work/padding.s" <<'END'
	.section .text.unlikely, "ax"
	.skip 0x200000
	.section .note.GNU-stack, "", %progbits
END

number=0
# Seven operations; all have one label, five have two. Each is left to there, and from its abort.
while read -r cc; do
	for linker in bfd gold lld; do
		"${cc%% *}" --version >/dev/null || continue
		kinds=("-fno-pie -no-pie" "-fPIE -pie")
		for kind in "${kinds[@]}"; do
			# shellcheck disable=SC2086
			echo 'int main(void) { return 0; }' | $cc $kind -fuse-ld=$linker -x c \
				-o "$work/empty" - >/dev/null 2>&1 || continue
			# shellcheck disable=SC2086
			spawn try $((number += 1)) 19 "$cc" -DPADDING $kind -fuse-ld=$linker
			[[ $cc != *clang* && $linker != lld ]] || continue
			# shellcheck disable=SC2086
			spawn try $((number += 1)) 38 "$cc" -freorder-blocks-and-partition $kind \
				-fuse-ld=$linker -Wa,--noexecstack "$work/padding.s"
		done
	done
done <<<"$compilers"
finish "$number programs"
