#!/bin/bash
# SPDX-License-Identifier: MIT
# What must not compile, and what must: an ordering or a mode that an operation does not take is an
# error that says so, with every compiler, at every level of optimisation; all that is right
# compiles without a warning.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

relaxed="rseq_load_cbne_store__ptr rseq_load_cbeq_store_add_load_store__ptr
	rseq_load_add_store__ptr rseq_load_add_load_load_add_store__ptr
	rseq_load_cbne_load_cbne_store__ptr"
release="rseq_load_cbne_store_store__ptr rseq_load_cbne_memcpy_store__ptr"

# Errors in the last output that match; its notes and quoted lines do not count.
count() { # output, pattern
	grep -cE "error: .*$2" "$1"
}

expect() { # job, output, number, pattern
	local found
	found=$(count "$2" "$4")
	[ "$found" = "$3" ] || complain "$1: $found errors instead of $3 say: $4" "$2"
}

# Compiles, which must fail.
refuse() { # job, output, command
	"${@:3}" -o /dev/null >"$2" 2>&1 || return 0
	complain "$1: compiles"
	return 1
}

# Each operation with each wrong constant, in the call itself.
direct() { # number, language, compiler, option
	local job="$3 -x $2 $4" output=$work/direct.$1 operation limit=
	[[ $3 == *clang* ]] && limit=-ferror-limit=0
	# shellcheck disable=SC2086
	refuse "$job" "$output" $3 $limit -w -x "$2" "$4" "${includes[@]}" -DDIRECT -S \
		"$source/reject.c" || return
	for operation in $relaxed; do
		expect "$job" "$output" 6 "$operation takes RSEQ_MO_RELAXED only"
	done
	for operation in $release; do
		expect "$job" "$output" 5 "$operation takes RSEQ_MO_RELAXED or RSEQ_MO_RELEASE only"
	done
	[ "$2" = c ] || return
	for operation in $relaxed $release; do
		expect "$job" "$output" 3 \
			"$operation: mode is RSEQ_PERCPU_CPU_ID or RSEQ_PERCPU_MM_CID"
	done
}

# Through an inline function, the compiler has to find it out by itself.
wrapped() { # number, language, compiler, option
	local job="$3 -x $2 $4, wrapped" output=$work/wrapped.$1 wrong
	for wrong in 'RELAXED=this operation takes RSEQ_MO_RELAXED only' \
		'RELEASE=this operation takes RSEQ_MO_RELAXED or RSEQ_MO_RELEASE only' \
		'MODE=mode is RSEQ_PERCPU_CPU_ID or RSEQ_PERCPU_MM_CID'; do
		# shellcheck disable=SC2086
		refuse "$job" "$output" $3 -w -x "$2" "$4" "${includes[@]}" \
			-DWRAPPED_"${wrong%%=*}" -S "$source/reject.c" || continue
		[ "$(count "$output" "${wrong#*=}")" -gt 0 ] ||
			complain "$job: does not say: ${wrong#*=}" "$output"
	done
}

# Constants, constant variables, variables, templates.
right() { # number, language, compiler, options
	local output=$work/right.$1
	# shellcheck disable=SC2086
	$3 -x "$2" $4 "${warnings[@]}" "${includes[@]}" -c -o "$output.o" "$source/accept.c" \
		>"$output" 2>&1 || complain "$3 -x $2 $4: does not compile" "$output"
	# An error that nothing calls must not be left in the code.
	"${NM%% *}" "$output.o" 2>/dev/null | grep -q rseq_error_ &&
		complain "$3 -x $2 $4: calls an error"
}

intel() { # number, compiler, options
	local output=$work/intel.$1
	# shellcheck disable=SC2086
	refuse "$2 $3" "$output" $2 $3 -masm=intel -w "${includes[@]}" -c "$source/accept.c" || return
	grep -qiE 'error: critical sections are in AT&T syntax, not for -masm=intel' "$output" ||
		complain "$2 $3 -masm=intel: does not say why it fails" "$output"
}

: "${NM:=nm}"
number=0
while read -r cc; do
	cxx=$(cxx_of "$cc")
	for level in -O0 -O2; do
		for language in c c++; do
			compiler=$cc
			[ $language = c ] || compiler=$cxx
			[ -n "$compiler" ] || continue
			spawn direct $((number += 1)) $language "$compiler" $level
			[ $level = -O0 ] ||
				spawn wrapped $((number += 1)) $language "$compiler" $level
		done
	done
	for level in -O0 -O1 -O2 -Os; do
		spawn right $((number += 1)) c "$cc" "-std=c11 $level"
		[ -n "$cxx" ] || continue
		spawn right $((number += 1)) c++ "$cxx" "-std=c++11 $level"
		spawn right $((number += 1)) c++ "$cxx" "-std=c++20 $level"
	done
	case $cc:$machine in
	*$cross*) ;;
	*:x86_64) spawn intel $((number += 1)) "$cc" -O2 ;;
	esac
done < <(native_compilers; cross_compilers)
finish "$number jobs"
