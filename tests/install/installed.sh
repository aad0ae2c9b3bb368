#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs into a directory of the build tree, then builds the examples and a C++ program against
# it through pkg-config alone, linked dynamically and fully static, and runs them.
set -u
cd "${top_builddir:?}" || exit 1
source=${top_srcdir:?}
stage=$PWD/tests/install/stage
root=$stage/root
programs=$stage/programs
warnings="-Wall -Wextra -Werror"
read -ra cc <<<"${CC:-cc} ${CFLAGS-}"
read -ra cxx <<<"${CXX-} ${CFLAGS-}"
status=0

# Not a part of the make that runs the tests, whose job server is out of reach here.
unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR

complain() {
	echo "failed: $*"
	status=1
}

rm -rf "$stage"
mkdir -p "$programs"
"${MAKE:-make}" -s install prefix="$root" >"$stage/log" 2>&1 || {
	cat "$stage/log"
	exit 1
}

export PKG_CONFIG_PATH=$root/lib/pkgconfig
pkg_config=${PKG_CONFIG:-pkg-config}
[ "$("$pkg_config" --variable=prefix librseq)" = "$root" ] || complain "librseq.pc: another prefix"
[ "$("$pkg_config" --modversion librseq)" = "$RSEQ_VERSION" ] || complain "librseq.pc: another version"

# Every header of the source tree is installed, under its own name.
diff -r "$source/include/rseq" "$root/include/rseq" || complain "installed headers differ"

path_of() { # file: its search path for libraries
	"${READELF:-readelf}" -dW "$1" | grep -E 'R(UN)?PATH'
}
path_of "$root/bin/rseqctl" | grep -F "$PWD/src" && complain "rseqctl refers to the build tree"

run() { # program, arguments
	# shellcheck disable=SC2086
	LD_LIBRARY_PATH=$root/lib timeout 120 ${RSEQ_EMULATOR-} "$@" >"$stage/output" 2>&1 </dev/null &&
		return
	cat "$stage/output"
	complain "$*"
}

# It compares its counts with those of one thread: with rseq, without, and with somebody else's
# __rseq_abi of the wrong size or alignment in the way.
run_histogram() { # program, linkage
	local size align
	run "$1" -q -m all "$root/include"
	LIBRSEQ_DISABLE=1 run "$1" -q -m rseq "$root/include"
	[ "$2" = shared ] && [ -z "${RSEQ_EMULATOR-}" ] || return
	for size in 20 32 64 256; do
		for align in 8 64; do
			build area.so "${cc[@]}" -shared -fPIC -DAREA_SIZE=$size \
				-DAREA_ALIGN=$align "$source/tests/negotiate/area.c" || return
			LD_PRELOAD=$programs/area.so GLIBC_TUNABLES=glibc.pthread.rseq=0 \
				run "$1" -q -m rseq "$root/include"
		done
	done
}

build() { # program, compiler and its arguments
	local program=$1
	shift
	"$@" -o "$programs/$program" && return
	complain "cannot build $program: $*"
	return 1
}

try() { # name of the linkage, option for pkg-config, option for the compiler
	local linkage=$1 flags example program
	read -ra flags <<<"$("$pkg_config" --cflags --libs ${2:+"$2"} librseq) -pthread $3"
	for example in "$source"/doc/examples/*.c; do
		program=$(basename "$example" .c)-$linkage
		# shellcheck disable=SC2086
		build "$program" "${cc[@]}" -std=gnu11 $warnings "$example" "${flags[@]}" || continue
		case $program in
		histogram-*) run_histogram "$programs/$program" "$linkage" ;;
		*) run "$programs/$program" ;;
		esac
	done
	[ -n "${CXX-}" ] || return
	# shellcheck disable=SC2086
	build "program-$linkage" "${cxx[@]}" -std=c++11 $warnings "$source/tests/install/program.cc" \
		"${flags[@]}" && run "$programs/program-$linkage"
}

[ ! -e "$root/lib/librseq.so" ] || try shared "" ""
[ ! -e "$root/lib/librseq.a" ] || try static --static -static
ls "$programs"

"${MAKE:-make}" -s uninstall prefix="$root" >"$stage/log" 2>&1 || complain "$(cat "$stage/log")"
left=$(find "$root" ! -type d)
[ -z "$left" ] || complain "left behind by make uninstall: $left"

exit $status
