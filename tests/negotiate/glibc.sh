#!/bin/bash
# SPDX-License-Identifier: MIT
# Later versions of glibc than the build's, out of Debian packages: they register what the kernel
# offers, and keep it elsewhere.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1
need_shared_library
# shellcheck source=/dev/null
. "$top_srcdir/tests/vm/packages.sh"

command -v apt-get >/dev/null || skip "no apt-get, so no packages with another glibc"
cpu=${host_cpu:-x86_64}
seconds=600
suites=0
for suite in trixie sid experimental; do
	lock_cache
	find_libc $suite "$cpu"
	unlock_cache
	if [ -n "$no_libc" ]; then
		echo "glibc of $suite: skipped: $no_libc"
		continue
	fi
	suites=$((suites + 1))
	for script in matrix kernel libc lifecycle seccomp interpose plugin; do
		what="glibc ${libc##*/"$cpu"-}, $script.sh"
		run "$what" env other_libc="$libc" "$source/$script.sh" &&
			echo "$what: $(tail -n 1 "$work/output")"
	done
done
[ $suites -gt 0 ] || skip "no other glibc"

finish
