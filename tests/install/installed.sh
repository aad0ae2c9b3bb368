#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs into a directory of the build tree, then builds the examples and a C++ program against
# it through pkg-config alone, linked dynamically and fully static, and runs them.
stage=tests/install/stage
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh" || exit 1

[ "$("$pkg_config" --variable=prefix librseq)" = "$root" ] || complain "librseq.pc: another prefix"
[ "$("$pkg_config" --modversion librseq)" = "$RSEQ_VERSION" ] || complain "librseq.pc: another version"
[ "$("$pkg_config" --variable=prefix librseq-urcu)" = "$root" ] ||
	complain "librseq-urcu.pc: another prefix"

# Every header of the source tree is installed, under its own name.
diff -r "$source/include/rseq" "$root/include/rseq" || complain "installed headers differ"

# gdb finds its commands by the library's name.
for library in "$root"/lib/librseq.so.*.*; do
	[ ! -e "$library" ] || [ -s "$root/share/gdb/auto-load$library-gdb.py" ] ||
		complain "no commands for gdb beside $library"
done

path_of() { # file: its search path for libraries
	"${READELF:-readelf}" -dW "$1" | grep -E 'R(UN)?PATH'
}
path_of "$root/bin/rseqctl" | grep -F "$PWD/src" && complain "rseqctl refers to the build tree"

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

# Whether this compiler finds liburcu; pkg-config may well answer for the build machine's.
have_urcu() { # flags
	printf '#include <urcu.h>\n#include <urcu/rculfhash.h>\nint main(void) { return 0; }\n' \
		>"$stage/urcu.c"
	"${cc[@]}" -o "$stage/urcu" "$stage/urcu.c" "$@" 2>/dev/null
}

try() { # name of the linkage, option for pkg-config, option for the compiler
	local linkage=$1 plain flags urcu example program
	read -ra plain <<<"$("$pkg_config" --cflags --libs ${2:+"$2"} librseq) -pthread $3"
	read -ra urcu <<<"$("$pkg_config" --cflags --libs ${2:+"$2"} librseq-urcu liburcu-cds \
		2>/dev/null) -pthread $3"
	for example in "$source"/doc/examples/*.c; do
		program=$(basename "$example" .c)-$linkage
		flags=("${plain[@]}")
		if [ "$(basename "$example")" = urcu-table.c ]; then
			have_urcu "${urcu[@]}" || continue
			flags=("${urcu[@]}")
		fi
		# shellcheck disable=SC2086
		build "$program" "${cc[@]}" -std=gnu11 $warnings "$example" "${flags[@]}" || continue
		case $program in
		histogram-*) run_histogram "$programs/$program" "$linkage" ;;
		urcu-table-*)
			run "$programs/$program" -n 20000 -u 50
			LIBRSEQ_DISABLE=1 run "$programs/$program" -n 20000 -u 50 ;;
		*) run "$programs/$program" ;;
		esac
	done
	[ -n "${CXX-}" ] || return
	# shellcheck disable=SC2086
	build "program-$linkage" "${cxx[@]}" -std=c++11 $warnings "$source/tests/install/program.cc" \
		"${flags[@]}" && run "$programs/program-$linkage"
}

while read -r linkage static options; do
	try "$linkage" "$static" "$options"
done < <(linkages)
ls "$programs"

"${MAKE:-make}" -s uninstall prefix="$root" >"$stage/log" 2>&1 || complain "$(cat "$stage/log")"
left=$(find "$root" ! -type d)
[ -z "$left" ] || complain "left behind by make uninstall: $left"

exit $status
