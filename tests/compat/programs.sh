#!/bin/bash
# SPDX-License-Identifier: MIT
# The compatibility examination: programs as users of librseq write them, built against the
# installed library through pkg-config alone, in C and C++, linked dynamically and fully static, and
# run with rseq and without. All come to the same exact results.
stage=tests/compat/stage
# shellcheck source-path=SCRIPTDIR source=../install/common.sh
. "$(dirname "$0")/../install/common.sh" || exit 1

filter=$PWD/tests/negotiate/rseq-filter
ENOSYS=38
c_standards="c11 gnu11"
cxx_standards="c++11 c++17"
[ -n "${CXX-}" ] || cxx_standards=

# The last line of a program says whether it had rseq.
last_line() {
	echo "${output##*$'\n'}"
}

expect_without() { # what
	[[ $(last_line) == "without "* ]] || complain "$1: not without rseq: $(last_line)"
}

# The result must not depend on who registers, nor on whether anybody does.
run_everywhere() { # program, arguments
	run "$@" && last_line
	GLIBC_TUNABLES=glibc.pthread.rseq=0 run "$@" && last_line
	LIBRSEQ_DISABLE=1 run "$@" && last_line && expect_without "$1, disabled"
	[ -n "${RSEQ_EMULATOR-}" ] || run_filtered "$@"
}

# A sandbox whose filter answers as a kernel that has no rseq. The wrapper ends with 77 where
# there are no filters.
run_filtered() { # program, arguments
	local result=0
	output=$(LD_LIBRARY_PATH=$root/lib timeout 120 "$filter" $ENOSYS "$@" 2>&1 </dev/null) ||
		result=$?
	[ $result = 0 ] || [ $result = 77 ] || echo "$output"
	last_line
	case $result in
	0) expect_without "$1, filtered" ;;
	77) ;;
	*) complain "filtered: $*" ;;
	esac
}

# Which part of its variants a program tries. All are tried once in C and once in C++, which takes
# seconds; the step has no divisor in common with the numbers of choices.
arguments_of() { # name, linkage, standard
	case $1-$2-$3 in
	pools-shared-c11 | pools-static-c++17) echo 1 ;;
	pools-*) echo 17 ;;
	esac
}

try() { # source, standard
	local file=$1 standard=$2 name compile link linkage static options program
	name=$(basename "${file%.*}")-$standard
	case $file:$standard in
	*.c:c++*) compile=("${cxx[@]}" -x c++) link=("${cxx[@]}") ;;
	*.cc:*) compile=("${cxx[@]}") link=("${cxx[@]}") ;;
	*) compile=("${cc[@]}") link=("${cc[@]}") ;;
	esac
	# shellcheck disable=SC2046,SC2086
	build "$name.o" "${compile[@]}" -std="$standard" $warnings -pthread \
		$("$pkg_config" --cflags librseq) -c "$file" || return
	while read -r linkage static options; do
		program=$name-$linkage
		# shellcheck disable=SC2046
		build "$program" "${link[@]}" "$programs/$name.o" -pthread \
			$("$pkg_config" --libs ${static:+"$static"} librseq) $options || continue
		# shellcheck disable=SC2046
		run_everywhere "$programs/$program" $(arguments_of "${name%-*}" "$linkage" "$standard")
	done < <(linkages)
	# Helpers that are inline need no library.
	[ "${name%-*}" = helpers ] || return
	build "$name-alone" "${link[@]}" "$programs/$name.o" -pthread &&
		run "$programs/$name-alone" && last_line
}

number=0
spawn() { # source, standard
	while [ "$(jobs -r | wc -l)" -ge "$(nproc)" ]; do
		wait -n || status=1
	done
	number=$((number + 1))
	(try "$@"; exit $status) >"$stage/output.$number" 2>&1 &
}

for file in "$source"/tests/compat/*.c; do
	for standard in $c_standards $cxx_standards; do
		spawn "$file" "$standard"
	done
done
for file in "$source"/tests/compat/*.cc; do
	for standard in $cxx_standards; do
		spawn "$file" "$standard"
	done
done
while [ -n "$(jobs)" ]; do
	wait -n || status=1
done

cat "$stage"/output.* | sort | uniq -c | sort -rn
exit $status
