#!/bin/bash
# SPDX-License-Identifier: MIT
# How many instructions there are before each critical section (with those that arm it) and in it,
# with each compiler at -O2: never more than expected-counts says. Those before it are up to the
# compiler, and compared for the releases of which the table is. `counts.sh table` prints what there
# are, in that file's form.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

expected=$source/expected-counts

# NAME BEFORE INSIDE of each function count_NAME of an object file. The labels of a section have no
# place in a symbol table, and stand there because the assembler was asked for all.
count() { # object, objdump, nm
	{
		"$3" "$1"
		"$2" -d -j .text --no-show-raw-insn "$1"
	} | awk '
		function address(text) { sub(/^0+/, "", text); return "a" text }
		NF == 3 && $3 ~ /^\.Lrseq_start_/	{ start[address($1)] = 1; next }
		NF == 3 && $3 ~ /^\.Lrseq_end_/		{ end[address($1)] = 1; next }
		NF == 3 && $3 ~ /^count_/		{ name[address($1)] = substr($3, 7); next }
		NF == 3 && $2 ~ /^[Ttd]$/		{ next }
		$1 ~ /^[0-9a-f]+:$/ {
			here = address(substr($1, 1, length($1) - 1))
			if (here in name) {
				function_name = name[here]
				before = inside = 0
				state = "before"
			}
			if (here in start && state == "before")
				state = "inside"
			if (here in end && state == "inside") {
				print function_name, before, inside
				state = "after"
			}
			if (state == "before")
				before++
			if (state == "inside")
				inside++
		}'
}

# Lines as in expected-counts, of one compiler.
measure() { # machine, compiler, output, options
	local compiler nm=nm objdump=objdump family=gcc pic
	read -ra compiler <<<"$2"
	[[ $2 != *clang* ]] || family=clang
	if [[ $2 == *$cross* ]]; then
		nm=$cross-nm objdump=$cross-objdump
	elif [ "$machine" = aarch64 ] || [ -n "${RSEQ_EMULATOR-}" ]; then
		nm=${NM%% *} objdump=$OBJDUMP
	fi
	have "$nm" "$objdump" || return
	for pic in no pic; do
		local flags=(-O2 -fno-pie -fcf-protection=none)
		[ "$pic" = no ] || flags=(-O2 -fPIC -fcf-protection=none)
		[ "$1" = x86_64 ] || flags=("${flags[@]:0:2}")
		"${compiler[@]}" "${flags[@]}" "${includes[@]}" "${warnings[@]}" -Wa,-L "${@:4}" -c \
			-o "$3.o" "$source/counts.c" || return
		count "$3.o" "$objdump" "$nm" | sed "s/^/$1 $family $pic /"
	done >"$3"
}

# Whether the table is of this compiler's release.
is_known() { # compiler
	local compiler version
	read -ra compiler <<<"$1"
	version=$("${compiler[@]}" -dumpversion)
	case $1 in
	*clang*) [ "${version%%.*}" = 14 ] ;;
	*) [ "${version%%.*}" = 12 ] ;;
	esac
}

# Fails if a function takes more instructions than it may, or is missing in either list.
compare() { # measured, whether the compiler is known
	awk -v known="$2" '
		FNR == NR && /^#/	{ next }
		{ key = $1 " " $2 " " $3 " " $4 }
		FNR == NR		{ before[key] = $5; inside[key] = $6; next }
		!(key in before)	{ print key ": not in the table"; bad = 1; next }
		known && $5 > before[key]	{ print key ": " $5 " before the section, not " before[key]; bad = 1 }
		$6 > inside[key]	{ print key ": " $6 " in the section, not " inside[key]; bad = 1 }
		$5 < before[key] || $6 < inside[key] {
			print key ": " $5 " and " $6 ", expected " before[key] " and " inside[key] \
				" (fewer are welcome: change the table)"
		}
		{ seen[$1 " " $2] = 1; delete before[key] }
		END {
			for (key in before) {
				split(key, part, " ")
				if (part[1] " " part[2] in seen) {
					print key ": not found"
					bad = 1
				}
			}
			exit bad
		}' "$expected" "$1"
}

: "${NM:=nm}" "${OBJDUMP:=objdump}"
number=0
all() { # what to do with a measurement
	local cc
	while read -r cc; do
		case $cc in
		*$cross*) "$1" aarch64 "$cc" ;;
		*) "$1" "$machine" "$cc" ;;
		esac
	done < <(native_compilers; cross_compilers)
}

table() { # machine, compiler
	measure "$1" "$2" "$work/measured" && cat "$work/measured"
}

check() { # machine, compiler
	local measured=$work/measured
	local known=0
	is_known "$2" && known=1
	number=$((number + 1))
	if ! measure "$1" "$2" "$measured" >"$work/log" 2>&1 || [ ! -s "$measured" ]; then
		complain "$2: cannot count" "$work/log"
		return
	fi
	compare "$measured" "$known" >"$work/log" || complain "$2" "$work/log"

	# One more instruction in each addition must be found, there and nowhere else.
	measure "$1" "$2" "$measured" -DONE_MORE >"$work/log" 2>&1
	compare "$measured" "$known" >"$work/log" && complain "$2: one instruction more is not found"
	diff <(sed -n 's/ in the section, not .*//p' "$work/log" | sort) \
		<(awk '$4 ~ /^add|^counter|^refcount/ { print $1, $2, $3, $4 ": " $6 }' "$measured" | sort) \
		>"$work/difference" ||
		complain "$2: what was found of one instruction more" "$work/difference"
}

if [ "${1-}" = table ]; then
	all table
	exit
fi
all check
finish "$number compilers"
