#!/bin/bash
# SPDX-License-Identifier: MIT
# Under valgrind, which has no rseq: everything falls back and stays exact, and valgrind finds no
# fault.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

command -v valgrind >/dev/null || skip "valgrind is not installed"

# Some releases of valgrind give up on the debugging information of some compilers.
command -v strip >/dev/null || skip "strip is not installed"
strip -g -o "$work/worker" "$worker"
strip -g -o "$work/librseq.so.1" "$RSEQ_LIBDIR/librseq.so"
worker=$work/worker
LD_LIBRARY_PATH=$work:$LD_LIBRARY_PATH

export WORKER_ADDS=500
for libc_does in "$libc_on" "$libc_off"; do
	try "$libc_does" "before.owner=none available=0 $(expect_none no-syscall ENOSYS)" \
		env "$libc_does" valgrind -q --error-exitcode=9 --leak-check=full \
		--errors-for-leak-kinds=definite "$worker" report
	try "exit order, $libc_does" "" env "$libc_does" valgrind -q --error-exitcode=9 \
		"$worker" exit-order
done

finish
