#!/bin/bash
# SPDX-License-Identifier: MIT
# Every file names its license and is short; C is indented with tabs and has 100 columns; every
# source is known to the build.
set -u -o pipefail
export LC_ALL=C.UTF-8
cd "${top_srcdir:-$(dirname "$0")/../..}" || exit 1
status=0

complain() {
	printf '%s\n' "$@"
	status=1
}

# Files of tables, which may be long, and the abort test's walk, one machine of many states.
long_files=" tests/abort/walk.c "

mapfile -t files < <(
	ls LICENSE NEWS README.md configure.ac Makefile.am bootstrap dev
	ls .gitignore .ci/run 2>/dev/null	# not in a release
	find m4 -name 'rseq*.m4'
	find include src doc tests -path '*/stage/*' -prune -o \( -name '*.[chSs]' -o -name '*.cc' \
		-o -name '*.sh' -o -name '*.py' -o -name '*.mk' -o -name '*.map' -o -name '*.in' \
		-o -name '*.md' -o -name '*.[1-9]' -o -name 'expected-*' \) -print
)

for file in "${files[@]}"; do
	grep -q 'SPDX-License-Identifier: MIT' "$file" || complain "$file: no SPDX line"
	[[ $long_files == *" $file "* ]] || [ "$(wc -l <"$file")" -lt 600 ] ||
		complain "$file: 600 lines or more"
done

mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep -E '\.(c|h|cc)$')
for file in "${sources[@]}"; do
	found=$(expand "$file" | grep -nE '^.{101}' | sed "s|^|$file:|") &&
		complain "over 100 columns:" "$found"
done
found=$(grep -nE '[[:blank:]]$' "${files[@]}") && complain "blanks at the end:" "$found"
found=$(grep -nP '^\t* {8}|^ +[^ *]' "${sources[@]}") && complain "not indented with tabs:" "$found"

# A file that no makefile lists is neither built nor released, nor a makefile that no other includes.
for file in {src,doc,tests}/local.mk {src,tests}/*/local.mk; do
	grep -qxF "include \$(srcdir)/$file" Makefile.am || complain "$file: not in Makefile.am"
done
for file in "${files[@]}"; do
	case $file in
	*.mk | *.in | *.m4 | *.am | *.ac | *.md | .*) continue ;;
	esac
	case $file in
	include/* | src/* | doc/* | tests/*) ;;
	*) continue ;;
	esac
	listed=${file%.c}
	grep -qE "(^|[[:space:]=])${listed//./\\.}(\.c)?([[:space:]]|$)" Makefile.am \
		src/local.mk src/tools/local.mk doc/local.mk tests/local.mk tests/*/local.mk ||
		complain "$file: not in any local.mk"
done

exit $status
