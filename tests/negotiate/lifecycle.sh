#!/bin/bash
# SPDX-License-Identifier: MIT
# What happens to threads and processes: neighbours, fork, vfork, spawn, exec, and ends in any
# order; where libc registers, where this library does, and where nobody can.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

ENOSYS=38

length=$(own_length "$(fact kernel_feature_size)" "$(fact kernel_align)")

for libc_does in "$libc_on" "$libc_off"; do
	for scenario in exit-order fork vfork clone spawn exec; do
		try "$scenario, $libc_does" "" env "$libc_does" "$worker" $scenario
	done
	try "foreign, $libc_does" "foreign.register=EBUSY foreign.owner=foreign
		foreign.reason=foreign foreign.registered_length=0 threads_registered=8
		reason=none" env "$libc_does" "$worker" foreign
done

# A neighbour registers this library's area with length 32, which all threads then have.
try "shared" "unknown.owner=shared unknown.registered_length=32 shared.owner=shared
	shared.register=0 shared.unregister=0 threads_registered=8 thread_length=32" \
	env "$libc_off" "$worker" shared
# It registers libc's area, where that has this length.
[ "$(fact libc_size)" -gt 32 ] ||
	try "shared, libc" "shared.register=0 threads_registered=8" \
		env "$libc_on" "$worker" shared

# A new program starts anew.
try "exec" "before.owner=none before.reason=not-registered owner=librseq
	registered_length=$length" env "$libc_off" "$worker" exec

# Counting does not need rseq.
for circumstance in "$filter $ENOSYS" "env LIBRSEQ_DISABLE=1"; do
	read -ra words <<<"$circumstance"
	for scenario in report exit-order; do
		try "$scenario, $circumstance" "" env "$libc_off" "${words[@]}" "$worker" $scenario
	done
done

finish
