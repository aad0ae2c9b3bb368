#!/bin/bash
# SPDX-License-Identifier: MIT
# The sections in all that this tree builds are sound: the library, the tools, the examples and the
# tests, but for those that break them on purpose, whose names say "mutant".
# shellcheck source=/dev/null disable=SC2034,SC2154
. "${top_srcdir:-$(dirname "$0")/../..}/tests/verify/common.sh"

cd "${top_builddir:-../..}" || exit 1

# ELF files and archives with descriptors. What libtool leaves beside a program is a script.
is_candidate() {
	case $(head -c 4 "$1" | od -An -tx1 | tr -d ' ') in
	7f454c46 | 213c6172) grep -qa __rseq_cs "$1" ;;
	*) return 1 ;;
	esac
}

# The one check that a file is known to fail, with a reason.
known_failure() {
	case $1 in
	# Its threads are bound to a CPU, so that its section does without the CPU's number.
	tests/vm/probe) echo unguarded-commit ;;
	esac
}

mapfile -t built < <(find src doc tests -type f ! -path '*mutant*' \
	\( -name '*.a' -o -name '*.so*' -o -perm -u+x ! -name '*.*' \) | sort)
for file in "${built[@]}"; do
	is_candidate "$file" || continue
	label=$file
	known=$(known_failure "$file")
	if [ -n "$known" ]; then
		expect 1 ' sections, 1 violation' --profile=strict "$file" &&
			expect 1 "[$known]" --profile=strict "$file"
		continue
	fi
	expect 0 ', 0 violations' --profile=strict "$file" &&
		grep -E '[0-9] sections?, 0 violations' "$work/output"
done
[ "$checked" -gt 0 ] || fail "nothing to verify in $PWD"
finish
