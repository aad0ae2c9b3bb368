#!/bin/bash
# SPDX-License-Identifier: MIT
# Somebody writes over cpu_id, which is the kernel's to write. Where 32 bytes are registered, it does
# so when the thread migrates; until then there is no rseq, and whose the registration is stays.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/neighbours/common.sh" || exit 1

spoil() { # what, owner, words, environment and program
	try "$1" "before.program=$2*4 after.program=$2*4 $3" \
		"${@:4}" start:3 register:r info:before spoil info:after unregister:undo \
		info:end use
}

# In the allocator's area, so that no thread has a longer length.
spoil "interposed" librseq/none/32 "undo.program=0*4 end.program=$unknown*4" \
	env "$libc_off" LD_PRELOAD="$modules/neighbour.so" "$programs/program"
[ "$libc_length" -gt 32 ] || ! libc_registers ||
	spoil "libc" "$libc" "undo.program=0*4 end.program=$libc*4" \
		env "$libc_on" "$programs/program"

finish
