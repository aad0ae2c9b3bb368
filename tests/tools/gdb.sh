#!/bin/bash
# SPDX-License-Identifier: MIT
# gdb steps through operations, which end with the right result, and over their sections with
# rseq-next: in code that is optimised and in code that is not.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
source=${top_srcdir:?}

skip() { # reason
	echo "skipped: $*"
	exit 77
}

[ -z "${RSEQ_EMULATOR-}" ] || skip "gdb debugs no emulated program"
[ -e "${RSEQ_LIBDIR:?}/librseq.so" ] || skip "configured without a shared library"
command -v gdb >/dev/null || skip "gdb is not installed"

debug() { # arguments of gdb
	timeout -k 5 100 gdb -nx -batch -iex "set debuginfod enabled off" \
		-iex "set auto-load safe-path /" "$@" </dev/null 2>&1
}

debug -ex 'python print("able")' | grep -qx able || skip "this gdb has no Python"
debug -ex run /bin/true | grep -q 'exited normally' || skip "gdb may not trace programs here"

export LD_LIBRARY_PATH=$RSEQ_LIBDIR${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
unset LIBRSEQ_DISABLE
read -ra compiler <<<"${CC:-cc}"
failures=0
for level in -O0 -O2; do
	"${compiler[@]}" -std=gnu11 "$level" -g -I"$source/include" -o "$work/debugged" \
		"$source/tests/tools/debugged.c" -L"$RSEQ_LIBDIR" -lrseq || exit 1
	status=0
	debug -x "$source/src/tools/rseq-gdb.py" -x "$source/tests/tools/debug.py" \
		"$work/debugged" >"$work/output" || status=$?
	tail -n 1 "$work/output"
	[ $status != 77 ] || skip "this kernel, or what stands in for it, has no rseq"
	if [ $status != 0 ]; then
		echo "FAILED: $level: gdb ended with $status"
		cat "$work/output"
		failures=$((failures + 1))
	fi
done
[ $failures = 0 ]
