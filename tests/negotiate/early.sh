#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that use the library before main(), in whatever way they are linked: nothing runs before
# the library is ready, or else that makes it so.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

owner=$(fact libc_size | sed 's/^0$/librseq/; t; s/.*/libc/')
before=$([ "$owner" = libc ] && echo yes || echo no)
archive=$RSEQ_LIBDIR/librseq.a

use_early() { # how it is linked, options for the compiler
	local program=$work/program when registered
	for when in "" -DEARLY_PREINIT; do
		"${cc[@]}" -std=gnu11 -pthread -I"$top_srcdir/include" -I"$top_srcdir/tests" $when \
			-o "$program" "$source/early.c" "${@:2}" "${link_flags[@]}" \
			2>"$work/errors" || {
			cat "$work/errors"
			echo "no program can be linked here, $1: no test with it"
			return
		}
		registered=
		[ -n "$when" ] || registered=before.registered=$before
		try "$1 $when" "owner=$owner reason=none sum=2000 $registered" \
			env "$libc_on" "$program"
		[ -n "$when" ] || registered=before.registered=no
		try "$1 $when, libc off" "owner=librseq reason=none sum=2000 $registered" \
			env "$libc_off" "$program"
		# Before the constructors of its libraries, libc does not know the environment.
		[ -z "$when" ] || [[ $1 == static* ]] || continue
		try "$1 $when, disabled" "owner=none reason=disabled sum=2000 $registered" \
			env "$libc_on" LIBRSEQ_DISABLE=1 "$program"
	done
}

[ ! -e "$RSEQ_LIBDIR/librseq.so" ] || use_early shared -L"$RSEQ_LIBDIR" -lrseq
if [ -e "$archive" ] && [ ${#link_flags[@]} = 0 ]; then
	use_early archive "$archive"
	use_early static -static "$archive"
	use_early static-pie -static-pie "$archive"
fi

finish
