#!/bin/bash
# SPDX-License-Identifier: MIT
# What is exported is declared RSEQ_API, listed in the version map, defined by the built library,
# described by a manual page and used by a test. No list has a name that another lacks.
set -u
cd "${top_srcdir:-$(dirname "$0")/../..}" || exit 1
status=0
library=${RSEQ_LIBDIR:?}/librseq.so
read -ra nm <<<"${NM:-nm}"

# Names declared RSEQ_API: the word before the parameters, the initial value or the semicolon.
declared() {
	cat include/rseq/*.h src/*.[ch] |
		sed -E 's@/\*.*\*/@@; /^[[:space:]]*(#|\*|\/\*)/d' |
		awk '/(^|[ \t])RSEQ_API([ \t]|$)/ { on = 1 }
		     on { printf "%s ", $0 }
		     on && /[;{]/ { on = 0; print "" }' |
		sed -E 's/__attribute__ *\(\([^()]*(\([^()]*\)[^()]*)*\)\)//g
			s/^[^(;=]*[^A-Za-z0-9_(]([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*[(;=].*$/\1/'
}

mapped() {
	sed -n '/global:/,/local:/ s/^[[:space:]]*\([A-Za-z_0-9]*\);.*/\1/p' src/librseq.map
}

documented() {
	cat doc/man/*.3 2>/dev/null |
		sed -nE 's/^\.(Nm|Fn|Fo|Va|Vt) "?([A-Za-z_0-9 *]*[ *])?([A-Za-z_0-9]+).*/\3/p'
}

defined() {
	"${nm[@]}" -D --defined-only "$library" |
		awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }'
}

compare() { # what has all names, what may lack some
	local missing
	missing=$(comm -23 <(sort -u <<<"$1") <(sort -u <<<"$2"))
	[ -z "$missing" ] && return
	printf '%s:\n%s\n' "$3" "$missing"
	status=1
}

map=$(mapped)
[ -n "$map" ] || { echo "no names found in src/librseq.map"; exit 1; }
api=$(declared)
compare "$map" "$api" "in the map, not declared RSEQ_API"
compare "$api" "$map" "declared RSEQ_API, not in the map"
compare "$map" "$(documented)" "in the map, in no manual page of section 3"
if [ -e "$library" ]; then
	exported=$(defined)
	compare "$map" "$exported" "in the map, not defined by the library"
	compare "$exported" "$map" "defined by the library, not in the map"
fi
used=$(find tests -name lint -prune -o -name '*.[ch]' -exec grep -ohwE '[_a-z][_a-z0-9]*' {} + |
	sort -u)
compare "$map" "$used" "in the map, used by no test"

exit $status
