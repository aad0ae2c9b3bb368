#!/bin/bash
# SPDX-License-Identifier: MIT
# aarch64 in qemu-user, which has no rseq: the library and its tests, built by each cross compiler.
# Tests that need cmocka are among them where there is one for aarch64. An aarch64 build of the whole
# tree runs all tests that way; this is for builds of another kind.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

[ "$machine" != aarch64 ] || skip "the library is built for aarch64"
have "$qemu" || skip "no qemu-aarch64"
compilers=$(cross_compilers)
[ -n "$compilers" ] || skip "no cross compiler for aarch64"
export RSEQ_EMULATOR=$qemu

try() { # compiler, library, test
	local compiler name=$3 program libraries=() define
	read -ra compiler <<<"$1"
	[ "$name" = test-ops-fallback ] || libraries=(-lcmocka)
	for define in ORDINARY RSEQ_GET_ABI_OVERRIDE; do
		[ "$define" = ORDINARY ] || [ "$name" != test-ops-fallback ] || continue
		program=$work/${2##*/}-$name-$define
		if ! "${compiler[@]}" -std=gnu11 -O2 -pthread "${includes[@]}" -D"$define" \
			-o "$program" "$source/$name.c" "$2" "${libraries[@]}" \
			>"$program.log" 2>&1; then
			complain "$1 $name: does not build" "$program.log"
			continue
		fi
		# shellcheck disable=SC2086
		timeout 300 $qemu "$program" >"$program.log" 2>&1 ||
			complain "$1 $name $define: exit status $?" "$program.log"
	done
}

number=0
while read -r cc; do
	library=$work/librseq-$number.a
	read -ra compiler <<<"$cc"
	if ! build_library "$library" "${compiler[@]}" >"$work/log" 2>&1; then
		complain "$cc: the library does not build" "$work/log"
		continue
	fi
	tests=(test-ops-fallback)
	printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' '#include <stdint.h>' \
		'#include <setjmp.h>' '#include <cmocka.h>' 'int main(void) { return 0; }' |
		"${compiler[@]}" -x c -o "$work/empty" - -lcmocka >/dev/null 2>&1 &&
		tests+=(test-ops test-ops-copy test-ops-fault test-ops-signal)
	for test in "${tests[@]}"; do
		number=$((number + 1))
		spawn try "$cc" "$library" "$test"
	done
done <<<"$compilers"
finish "$number tests"
