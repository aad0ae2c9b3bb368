#!/bin/bash
# SPDX-License-Identifier: MIT
# A program that is compiled for LeakSanitizer, and linked with the library, which is not: what its
# structures hold is not lost, and what is lost is still found.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
read -ra cc <<<"${CC:-cc}"
export LD_LIBRARY_PATH=${RSEQ_LIBDIR:?}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

[ -z "${RSEQ_EMULATOR-}" ] || { echo "skipped: it stops its threads by ptrace()"; exit 77; }
[ -e "$RSEQ_LIBDIR/librseq.so" ] || { echo "skipped: there is no shared library"; exit 77; }
if ! "${cc[@]}" -std=gnu11 -g -fsanitize=address -I"${top_srcdir:?}/include" -o "$work/leaks" \
	"$top_srcdir/tests/unit/leaks.c" -L"$RSEQ_LIBDIR" -lrseq 2>"$work/errors"; then
	grep -q 'asan' "$work/errors" && { echo "skipped: no sanitizer"; exit 77; }
	cat "$work/errors"
	exit 1
fi
export ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=exitcode=23
"$work/leaks" lost >"$work/lost" 2>&1
status=$?
if grep -q 'LeakSanitizer has encountered a fatal error' "$work/lost"; then
	echo "skipped: LeakSanitizer does not work here"
	exit 77
fi
if [ $status != 23 ] || ! grep -q ' 100 byte(s) leaked in 1 allocation' "$work/lost"; then
	echo "a block was lost, and not found: status $status"
	cat "$work/lost"
	exit 1
fi
"$work/leaks"
