# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by the tests of rseqctl verify: where the tool is, which compilers there are, and a place
# for files. A failed expectation is printed and counted; finish ends the test.
set -u

# The tool itself, not the script that stands in for it until it is installed. RSEQCTL= names
# another one, such as that of this machine where the tree was built for a different one.
rseqctl=${RSEQCTL:-${top_builddir:-../..}/src/tools/.libs/rseqctl}
[ -x "$rseqctl" ] || rseqctl=${top_builddir:-../..}/src/tools/rseqctl
export LD_LIBRARY_PATH=${RSEQ_LIBDIR-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
emulator=()
[ -n "${RSEQCTL-}" ] || read -ra emulator <<<"${RSEQ_EMULATOR-}"
sources=${top_srcdir:-../..}/tests/verify
includes=${top_srcdir:-../..}/include
failures=0
checked=0

if [ ! -x "$rseqctl" ]; then
	echo "$rseqctl is not built"
	exit 1
fi
if "${emulator[@]}" "$rseqctl" verify --help 2>&1 | grep -q 'built without verify'; then
	echo "skipped: rseqctl was built without verify (Debian: libelf-dev libcapstone-dev)"
	exit 77
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/verify.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

# Compilers that make programs for the architecture $1, one a line, and may be of several words.
# Cross compilers count where no other makes them.
compilers_for() {
	local compiler found=()
	for compiler in "${CC:-cc}" gcc clang -- "$1-linux-gnu-gcc" \
			"clang --target=$1-linux-gnu"; do
		[ "$compiler" = -- ] && [ ${#found[@]} -gt 0 ] && break
		command -v "${compiler%% *}" >/dev/null || continue
		# shellcheck disable=SC2086
		echo 'int x;' | $compiler -c -x c -o "$work/probe.o" - 2>/dev/null || continue
		[ "$(machine_of "$work/probe.o")" = "$1" ] || continue
		found+=("$compiler")
	done
	[ ${#found[@]} -eq 0 ] || printf '%s\n' "${found[@]}" | awk '!seen[$0]++'
}

# e_machine of an ELF file, by the name of the architecture.
machine_of() {
	case $(od -An -tu2 -j18 -N2 "$1" | tr -d ' ') in
	62) echo x86_64 ;;
	183) echo aarch64 ;;
	esac
}

fail() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

# expect STATUS TEXT ARGUMENT...: rseqctl verify ARGUMENT... exits so and prints TEXT; $label says
# what is tried.
expect() {
	local status=$1 text=$2 result
	shift 2
	checked=$((checked + 1))
	timeout 60 "${emulator[@]}" "$rseqctl" verify "$@" >"$work/output" 2>&1
	result=$?
	if [ $result -ne "$status" ] || ! grep -qF -e "$text" "$work/output"; then
		fail "$label: status $result, not $status, or no '$text' in:"
		grep -v ', ok$' "$work/output" | head -n 20 | sed 's/^/    /'
		return 1
	fi
}

# The last line counts as any test runner's would.
finish() {
	echo "$((checked - failures)) passed, $failures failed"
	[ $failures -eq 0 ] && [ $checked -gt 0 ]
	exit
}
