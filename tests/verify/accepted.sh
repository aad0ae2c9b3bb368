#!/bin/bash
# SPDX-License-Identifier: MIT
# Sound sections are accepted: those of the installed headers however they are compiled and linked,
# with every rule, and those of other projects' kind.
# Compilers may be of several words, so that they are not quoted.
# shellcheck source=/dev/null disable=SC2086,SC2154
. "${top_srcdir:-$(dirname "$0")/../..}/tests/verify/common.sh"

# How many sections there are in a file, by the size of the table.
count_sections() {
	"${READELF:-readelf}" -SW "$1" | sed 's/^ *\[ *[0-9]*\]//' | {
		total=0
		while read -r name _ _ _ size _; do
			[ "$name" != __rseq_cs ] || total=$((total + 16#$size / 32))
		done
		echo $total
	}
}

# What a sound compiler may lack, and why. Nothing else is left out.
reason_to_lack() {
	local option
	for option in "$@"; do
		case $option in
		-fcf-protection)
			[ $arch = x86_64 ] || echo "x86-64 has it alone" ;;
		-static | -static-pie)
			echo "there may be no static libc" ;;
		-flto)
			echo "the linker may lack the plugin" ;;
		-fuse-ld=*)
			echo "this linker may not be installed" ;;
		-Wl,-z,pack-relative-relocs)
			echo "binutils 2.38, lld 15, and glibc 2.36 have it" ;;
		esac
	done
}

# compile OPTION...: library.c to $work/file. It is left out where an option may be lacked, and an
# empty program is refused with the same ones.
compile() {
	local reason
	label="$compiler $*"
	$compiler -std=gnu11 -I"$includes" "$sources/library.c" "$@" -o "$work/file" \
		2>"$work/errors" && return 0
	reason=$(reason_to_lack "$@" | head -n 1)
	if [ -z "$reason" ] || $compiler -std=gnu11 "$work/empty.c" "$@" -o "$work/file" \
			2>/dev/null; then
		fail "$label: $(cat "$work/errors")"
	else
		echo "left out: $label: $reason: $(head -n 1 "$work/errors")"
		left_out=$((left_out + 1))
	fi
	return 1
}

# library.c has 7 operations of 2 modes, 2 of them in 2 orders, and more; no form may hide them.
expect_sound() {
	local number
	number=$(count_sections "$work/file")
	[ "$number" -ge 18 ] || fail "$label: only $number sections"
	expect 0 " $1, $number sections, 0 violations" --profile="$2" "$work/file"
}

object() {
	compile -c "$@" || return
	expect_sound object strict
}

program() {
	local kind=$1
	shift
	compile -O2 -DPROGRAM "$@" || return
	expect_sound "$kind" strict
}

pie='position-independent executable'

objects() {
	local level
	for level in -O0 -O1 -O2 -O3 -Os; do
		object $level
	done
	object -O2 -fPIC
	object -O2 -fno-pie
	object -O2 -g
	object -O2 -ffunction-sections
	object -O2 -fcf-protection
}

programs() {
	local linker
	program "$pie" -fPIE -pie
	program executable -fno-pie -no-pie
	program executable -static
	program "$pie" -fPIE -static-pie
	program 'shared library' -fPIC -shared
	program "$pie" -fPIE -pie -s
	program executable -static -s
	program 'shared library' -fPIC -shared -s
	program object -r -nostdlib
	program "$pie" -fPIE -pie -flto
	program "$pie" -fPIE -pie -Wl,-q
	program "$pie" -fPIE -pie -Wl,-z,pack-relative-relocs
	for linker in gold lld; do
		program "$pie" -fPIE -pie -fuse-ld=$linker
		program executable -fno-pie -no-pie -fuse-ld=$linker
		program 'shared library' -fPIC -shared -fuse-ld=$linker
	done
	program "$pie" -fPIE -pie -fuse-ld=lld -Wl,--pack-dyn-relocs=relr
	program 'shared library' -fPIC -shared -s -fuse-ld=lld -Wl,--pack-dyn-relocs=relr
	program "$pie" -fPIE -pie -fuse-ld=lld -Wl,--icf=all -ffunction-sections

	# A linker that drops what only tools need leaves sections that are sound all the same.
	compile -O2 -DPROGRAM -ffunction-sections -fPIE -pie -Wl,--gc-sections &&
		expect_sound "$pie" default
}

# other PROFILE NUMBER OPTION...
other() {
	local profile=$1 number=$2
	shift 2
	label="$compiler foreign.S $*"
	$compiler "$@" -c "$sources/foreign.S" -o "$work/file.o" || { fail "$label"; return; }
	expect 0 " object, $number, 0 violations" --profile="$profile" "$work/file.o"
	$compiler "$@" -shared -nostdlib "$work/file.o" -o "$work/file" 2>"$work/errors" ||
		$compiler "$@" -r -nostdlib "$work/file.o" -o "$work/file" || fail "$label -shared"
	expect 0 " $number, 0 violations" --profile="$profile" "$work/file"
}

others() {
	other default '5 sections'
	other foreign '5 sections' -DPOINTERS
	other tcmalloc '1 section' -DSLABS
	other tcmalloc '1 section' -DSLABS -DPOINTERS
	[ $arch != x86_64 ] || other default '6 sections' -DABSOLUTE
	label="$compiler foreign.S with tables"
	# What is declared nowhere passes for a second commit, and a slab is no id.
	$compiler -DPOINTERS -c "$sources/foreign.S" -o "$work/file.o" &&
		expect 1 '[undeclared-store]' "$work/file.o"
	$compiler -DSLABS -c "$sources/foreign.S" -o "$work/file.o" &&
		expect 1 '[no-cpu-check]' --profile=foreign "$work/file.o"
}

# More sections than the 16 bits in a symbol can number.
many_sections() {
	label="$compiler: 65536 sections before"
	{
		sed '/^	TABLE$/,$d' "$sources/mutant.S"
		echo '.altmacro
		.macro code number
		.section .text.\number, "ax"
		ret
		.endm
		.set number, 0
		.rept 65536
		code %number
		.set number, number + 1
		.endr
		.noaltmacro'
		sed -n '/^	TABLE$/,$p' "$sources/mutant.S"
	} >"$work/many.S"
	$compiler -c "$work/many.S" -o "$work/file.o" || { fail "$label"; return; }
	expect 0 ' object, 2 sections, 0 violations' --profile=strict "$work/file.o"
}

left_out=0
echo 'int main(void) { return 0; }' >"$work/empty.c"
for arch in x86_64 aarch64; do
	mapfile -t compilers < <(compilers_for $arch)
	[ ${#compilers[@]} -gt 0 ] || echo "no compiler for $arch: its programs are left out"
	for compiler in "${compilers[@]}"; do
		objects
		programs
		others
	done
	compiler=${compilers[0]-}
	[ -z "$compiler" ] || many_sections
done
echo "$left_out left out"
finish
