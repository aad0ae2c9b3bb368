#!/bin/bash
# SPDX-License-Identifier: MIT
# The shared library's ELF properties: its name, its version node, what it needs, that it stays
# mapped, and that neither its stack nor its relocations are a weakness.
set -u
library=${RSEQ_LIBDIR:?}/librseq.so
read -ra nm <<<"${NM:-nm}"
map=${top_srcdir:?}/src/librseq.map
status=0

if [ ! -e "$library" ]; then
	echo "skipped: configured without a shared library"
	exit 77
fi

expect() { # what, pattern, text
	grep -qE "$2" <<<"$3" && return
	printf '%s: no match for %s in\n%s\n' "$1" "$2" "$3"
	status=1
}

reject() { # what, pattern, text
	grep -E "$2" <<<"$3" || return 0
	echo "$1: the above"
	status=1
}

dynamic=$("${READELF:-readelf}" -dW "$library")
expect "name" 'SONAME.*\[librseq\.so\.1\]' "$dynamic"
expect "stays mapped after dlclose()" 'FLAGS_1.*NODELETE' "$dynamic"
expect "binds at start" 'FLAGS_1.*NOW' "$dynamic"
reject "text relocations" 'TEXTREL' "$dynamic"
reject "search path" 'R(UN)?PATH' "$dynamic"
reject "needs more than libc" NEEDED \
	"$(grep -vE 'Shared library: \[(libc\.so\.6|lib(pthread|dl)\.so\.[0-9]|ld-linux-.*)\]' <<<"$dynamic")"

relocations=$("${READELF:-readelf}" -rW "$library")
expect "thread-local storage by initial-exec" 'TPOFF|TPREL' "$relocations"
reject "thread-local storage by another model" 'DTPMOD|TLSDESC' "$relocations"

segments=$("${READELF:-readelf}" -lW "$library")
expect "stack not executable" 'GNU_STACK .* RW +0x' "$segments"
expect "read-only after relocation" 'GNU_RELRO' "$segments"
reject "writable code" 'LOAD .* RWE ' "$segments"

symbols=$("${nm[@]}" -D --defined-only "$library")
expect "version node" ' RSEQ_1\.0$' "$symbols"
while read -r _ type name; do
	[ "$type" = A ] && continue
	[[ $name == *@@RSEQ_1.0 ]] && grep -qw "${name%%@*};" "$map" && continue
	echo "exported, but not in the map under RSEQ_1.0: $name"
	status=1
done <<<"$symbols"

exit $status
