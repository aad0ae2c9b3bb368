#!/bin/bash
# SPDX-License-Identifier: MIT
# valgrind's memcheck finds no fault in the structures, which do without rseq there, and they stay
# exact: in unit tests and in examples.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

skip() { # reason
	echo "skipped: $*"
	exit 77
}

[ -z "${RSEQ_EMULATOR-}" ] || skip "valgrind runs no emulated program"
[ -e "${RSEQ_LIBDIR:?}/librseq.so" ] || skip "configured without a shared library"
command -v valgrind >/dev/null || skip "valgrind is not installed"
command -v strip >/dev/null || skip "strip is not installed"

# Some releases of valgrind give up on the debugging information of some compilers.
strip -g -o "$work/librseq.so.1" "$RSEQ_LIBDIR/librseq.so" || exit 1
export LD_LIBRARY_PATH=$work:$RSEQ_LIBDIR UNDER_VALGRIND=1
unset LIBRSEQ_DISABLE

# Those of many turns take long; the structures' tests stand for them.
failures=0
for program in "${top_builddir:?}"/tests/unit/test-{cache,counter,handover,list,lock,ring,stack} \
	"$top_builddir"/doc/examples/{05-ring,06-lock,08-refcount}; do
	name=$(basename "$program")
	# Without cmocka there are few.
	[ -e "$program" ] || continue
	strip -g -o "$work/$name" "$program" || exit 1
	status=0
	# The argument keeps a test from running itself in another way, past valgrind.
	timeout -k 5 300 valgrind -q --error-exitcode=9 --leak-check=full \
		--errors-for-leak-kinds=definite "$work/$name" once >"$work/output" 2>&1 </dev/null ||
		status=$?
	echo "$name: $status"
	if [ $status != 0 ] || grep -q '^==' "$work/output"; then
		tail -n 60 "$work/output"
		failures=$((failures + 1))
	fi
done
[ -e "$work/test-handover" ] && [ $failures = 0 ]
