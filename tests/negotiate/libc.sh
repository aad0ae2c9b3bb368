#!/bin/bash
# SPDX-License-Identifier: MIT
# Who registers, by what libc does and what the environment says; the same in programs that are
# linked with the shared library, static, and static and position-independent.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

disabled="before.owner=none before.reason=disabled before.origin=none available=0 owner=none
	origin=none length=0 area_size=0 rseq_size=0 $(expect_none disabled EOPNOTSUPP)"

circumstances() { # kind of program, program
	try "$1" "$libc" env "$libc_on" "$2" report
	try "$1, libc off" "$own" env "$libc_off" "$2" report
	for value in 1 yes 01; do
		try "$1, disabled by $value" "$disabled" \
			env "$libc_on" LIBRSEQ_DISABLE=$value "$2" report
		try "$1, libc off, disabled by $value" "$disabled" \
			env "$libc_off" LIBRSEQ_DISABLE=$value "$2" report
	done
	for value in '' 0; do
		try "$1, disabled by '$value'" "$libc" \
			env "$libc_on" LIBRSEQ_DISABLE=$value "$2" report
		try "$1, libc off, disabled by '$value'" "$own" \
			env "$libc_off" LIBRSEQ_DISABLE=$value "$2" report
	done
}

# A program with rights beyond its caller's does not listen to the environment.
set_user_id() { # static program
	local program=$work/set-user-id
	if [ "$(id -u)" != 0 ]; then
		echo "not root: no test with a set-user-id program"
		return
	fi
	chmod 755 "$work"
	cp "$1" "$program" && chown 65534 "$program" && chmod 4755 "$program" || return
	"$program" facts >"$work/set-user-id-facts"
	if ! grep -qx secure=1 "$work/set-user-id-facts"; then
		echo "set-user-id does nothing in $work: no test with such a program"
		return
	fi
	try "set-user-id" "$libc" env LIBRSEQ_DISABLE=1 "$program" report
}

circumstances "shared" "$worker"

archive=$RSEQ_LIBDIR/librseq.a
for linkage in -static -static-pie; do
	[ ${#link_flags[@]} = 0 ] || break
	if [ ! -e "$archive" ]; then
		echo "configured without a static library: no test with $linkage"
		continue
	fi
	echo 'int main(void) { return 0; }' >"$work/empty.c"
	if ! "${cc[@]}" $linkage -o "$work/empty" "$work/empty.c" 2>"$work/errors"; then
		echo "no program can be linked with $linkage here: no test with it"
		continue
	fi
	program=$work/worker$linkage
	"${cc[@]}" -pthread $linkage -o "$program" "$programs/libworker.a" "$archive" \
		2>"$work/errors" || {
		cat "$work/errors"
		complain "the worker cannot be linked with $linkage"
		continue
	}
	circumstances "$linkage" "$program"
	[ $linkage != -static ] || set_user_id "$program"
done

finish
