#!/bin/bash
# SPDX-License-Identifier: MIT
# Damaged files, the same every time, never crash or hang rseqctl verify. FUZZ_COPIES= sets how many
# of each there are.
# Compilers may be of several words, so that they are not quoted.
# shellcheck source=/dev/null disable=SC2086,SC2154
. "${top_srcdir:-$(dirname "$0")/../..}/tests/verify/common.sh"

copies=${FUZZ_COPIES:-100}
fuzz=${FUZZ:-${top_builddir:-../..}/tests/verify/fuzz}

damage() { # name
	checked=$((checked + 1))
	"${emulator[@]}" "$fuzz" "$work/$1" "$copies" "${emulator[@]}" "$rseqctl" verify && return
	cp "$work/$1".[0-9]* . && echo "the copy is kept in $PWD"
	fail "$1"
}

for arch in x86_64 aarch64; do
	mapfile -t compilers < <(compilers_for $arch)
	compiler=${compilers[0]-}
	[ -n "$compiler" ] || { echo "no compiler for $arch: its files are left out"; continue; }
	$compiler -c "$sources/mutant.S" -o "$work/$arch.o" && damage $arch.o
	$compiler -g -O2 -c -I"$includes" "$sources/library.c" -o "$work/$arch-debug.o" &&
		damage $arch-debug.o
	$compiler -shared -nostdlib "$sources/mutant.S" -o "$work/$arch.so" && damage $arch.so
	$compiler -shared -nostdlib -Wl,-z,pack-relative-relocs "$sources/mutant.S" \
		-o "$work/$arch-relr.so" 2>/dev/null && damage $arch-relr.so
done
finish
