#!/bin/bash
# SPDX-License-Identifier: MIT
# Critical sections in functions that several translation units define, with all that compilers and
# linkers do to them: the program links, runs, and has tables that are right; and rseqctl finds
# nothing wrong with it.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

read -ra emulator <<<"${RSEQ_EMULATOR-}"
rseqctl=${top_builddir:-$top}/src/tools/rseqctl
number=0

# The library to link with: the one that was built, or one of the sources where this script is run
# by itself.
static=${RSEQ_LIBDIR-}/librseq.a
shared=${RSEQ_LIBDIR-}/librseq.so
if [ ! -e "$static" ] && [ ! -e "$shared" ]; then
	static=$work/librseq.a
	read -ra cc <<<"${CC:-gcc}"
	build_library "$static" "${cc[@]}" || exit 1
fi
export LD_LIBRARY_PATH=${RSEQ_LIBDIR-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# A tool that was built without the subcommand answers with its usage.
can_verify=no
[ -x "$rseqctl" ] && "${emulator[@]}" "$rseqctl" verify --help >"$work/help" 2>&1 && can_verify=yes

verify() { # job, file
	[ "$can_verify" = yes ] || return
	"${emulator[@]}" "$rseqctl" verify "$2" >"$2.verify" 2>&1 ||
		complain "$1: rseqctl verify" <(grep -vE ': ok$' "$2.verify")
}

compile() { # object, source, compiler and options
	"${@:3}" "${warnings[@]}" "${includes[@]}" -c -o "$1" "$source/$2"
}

# What all programs of a compiler share, compiled once.
prepare() { # C compiler
	local compiler file
	read -ra compiler <<<"$1"
	for file in main tables; do
		"${compiler[@]}" -std=gnu11 -O2 -fPIC "${warnings[@]}" "${includes[@]}" -c \
			-o "$work/$file-${1//[^a-z0-9]/_}.o" "$source/link-$file.c" ||
			complain "$1 $file"
	done
}

# Two units, linked as they are, @shared or @relocatable, then the program. With @collected, there
# is a third unit, and what nothing refers to is thrown away. Options behind a "--" are for linking
# alone.
build() { # program, C compiler, compiler, options
	local program=$1 prepared=${2//[^a-z0-9]/_}.o kind="" library=$shared unit compiler link
	local units=(unit1 unit2)
	read -ra compiler <<<"$3"
	[[ $3 != *clang* ]] || compiler+=(-Wno-unused-command-line-argument)
	[ "$2" = "$3" ] && compiler+=(-x c -std=gnu11) || compiler+=(-x c++ -std=gnu++11)
	[ ! -e "$static" ] || library=$static
	shift 3
	[[ ${1-} != @* ]] || { kind=$1; shift; }
	[ "$kind" != @collected ] || units+=(unused)
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		compiler+=("$1")
		shift
	done
	link=("${compiler[@]}" -x none "${@:2}")
	for unit in "${units[@]}"; do
		"${compiler[@]}" "${warnings[@]}" "${includes[@]}" -DUNIT="${unit#unit}" -c \
			-o "$program.$unit.o" "$source/link-${unit%[12]}.c" || return
	done
	units=("${units[@]/%/.o}")
	units=("${units[@]/#/$program.}")
	if [ "$kind" = @collected ]; then
		link+=("-Wl,--gc-sections")
	else
		units+=("$work/tables-$prepared")
	fi
	case $kind in
	@shared)
		"${link[@]}" -shared -o "$program.so" "${units[@]}" || return
		units=("$program.so") ;;
	@relocatable)
		"${link[@]}" -r -nostdlib -o "$program.r.o" "${units[@]}" || return
		units=("$program.r.o") ;;
	esac
	"${link[@]}" -o "$program" "$work/main-$prepared" "${units[@]}" "$library"
}

# A warning of a linker is an error as well.
try() { # job's number, C compiler, compiler, options
	local job=${*:3} program=$work/program$1 file
	if ! build "$program" "${@:2}" >"$program.log" 2>&1 || grep -i warning "$program.log"; then
		complain "$job: does not build" "$program.log"
		return
	fi
	timeout 60 "${emulator[@]}" "$program" >"$program.log" 2>&1 ||
		complain "$job: exit status $?" "$program.log"
	for file in "$program" "$program.so" "$program".*.o; do
		[ -e "$file" ] || continue
		# Tables that only tools refer to are thrown away, as a whole or in part.
		[[ $job != *@collected* || $file == *.o ]] || continue
		# What is no machine code yet has no sections.
		case $file:$job in *.o:*-flto*) continue ;; esac
		verify "$job: ${file##*/}" "$file"
	done
	rm -f "$program" "$program".*
}

# Whether there is a linker, or a kind of program: makes an empty one, and runs it.
can_link() { # compiler, options
	local compiler empty
	read -ra compiler <<<"$1"
	empty=$(mktemp -p "$work")
	echo 'int main(void) { return 0; }' |
		"${compiler[@]}" "${@:2}" -x c -o "$empty" - >/dev/null 2>&1 &&
		"${emulator[@]}" "$empty" >/dev/null 2>&1
}

in_c() { # C compiler, options
	spawn try $((number += 1)) "$1" "$@"
}

in_cxx() { # C compiler, options
	local cxx
	cxx=$(cxx_of "$1") && spawn try $((number += 1)) "$1" "$cxx" "${@:2}"
}

in_both() { # C compiler, options
	in_c "$@"
	in_cxx "$@"
}

# In C++ where there is a compiler: it emits all that C does, and more.
in_one() { # C compiler, options
	in_cxx "$@" || in_c "$@"
}

levels() { # C compiler
	in_both "$1" -O0
	in_both "$1" -O2
	in_one "$1" -O1
	in_one "$1" -O3
	in_one "$1" -Os
	[[ $1 == *clang* ]] || in_one "$1" -Og
}

kinds_of_programs() { # C compiler
	in_one "$1" -O2 -fPIC
	in_one "$1" -O2 -fPIE -pie
	in_one "$1" -O2 -fno-pie -no-pie
	in_one "$1" @shared -O2 -fPIC
	in_one "$1" @relocatable -O2
	[ -e "$static" ] || return
	can_link "$1" -static && in_one "$1" -O2 -static
	can_link "$1" -fPIE -static-pie && in_one "$1" -O2 -fPIE -static-pie
}

code_generation() { # C compiler
	in_one "$1" -O2 -fno-plt -fPIE -pie
	in_one "$1" -O2 -g --coverage
	in_one "$1" -O2 -ffunction-sections -fdata-sections
	in_one "$1" -O2 -fno-omit-frame-pointer -fstack-protector-all
	in_one "$1" -O2 -fno-asynchronous-unwind-tables -g1
	case $machine:$1 in
	x86_64:*)
		in_one "$1" -O2 -fcf-protection=full
		in_one "$1" -O2 -mcmodel=medium
		in_one "$1" -O2 -mcmodel=medium -fPIE -pie
		in_one "$1" -O2 -mcmodel=large -fno-pie -no-pie
		in_one "$1" -O2 -mcmodel=large -fPIC
		in_one "$1" -O2 -mavx2 ;;
	aarch64:*)
		in_one "$1" -O2 -mbranch-protection=standard
		in_one "$1" -O2 -mcmodel=tiny -fno-pie -no-pie ;;
	esac
	case $1 in
	*clang*) ;;
	*) in_one "$1" -O2 -freorder-blocks-and-partition -fno-ipa-icf ;;
	esac
}

# Of a gcc's intermediate code, lld knows nothing.
link_time() { # C compiler, linker
	case $1:$2 in
	*clang*:*) ;;
	*:lld) return ;;
	esac
	can_link "$1" "-fuse-ld=$2" -flto || return
	in_both "$1" -O2 -flto "-fuse-ld=$2"
	in_one "$1" -O0 -flto "-fuse-ld=$2"
	in_one "$1" @shared -O2 -flto -fPIC "-fuse-ld=$2"
	case $1 in
	*clang*) [ "$2" != lld ] || in_one "$1" -O2 -flto=thin "-fuse-ld=$2" ;;
	*) in_one "$1" -O2 -flto=auto -flto-partition=1to1 "-fuse-ld=$2" ;;
	esac
}

collected() { # C compiler, linker
	local sections=(-O2 -ffunction-sections -fdata-sections "-fuse-ld=$2")
	in_both "$1" @collected "${sections[@]}" -fno-pie -- -no-pie
	in_one "$1" @collected "${sections[@]}" -fPIE -- -pie
}

with_linkers() { # C compiler
	local linker
	for linker in bfd gold lld; do
		if ! can_link "$1" "-fuse-ld=$linker"; then
			echo "not tried: $1 -fuse-ld=$linker"
			continue
		fi
		in_both "$1" -O2 "-fuse-ld=$linker"
		in_one "$1" -O0 "-fuse-ld=$linker"
		in_one "$1" -O2 -fno-pie -no-pie "-fuse-ld=$linker"
		in_one "$1" @shared -O2 -fPIC "-fuse-ld=$linker"
		in_one "$1" -O2 "-fuse-ld=$linker" -- \
			-Wl,-z,now -Wl,-z,relro
		[ -e "$static" ] && can_link "$1" -static "-fuse-ld=$linker" &&
			in_one "$1" -O2 -static "-fuse-ld=$linker"
		[ $linker = bfd ] || in_one "$1" -O2 -ffunction-sections "-fuse-ld=$linker" -- \
			-Wl,--icf=all
		can_link "$1" -fPIE -pie "-fuse-ld=$linker" -Wl,--pack-dyn-relocs=relr &&
			in_one "$1" -O2 -fPIE "-fuse-ld=$linker" -- -pie -Wl,--pack-dyn-relocs=relr
		link_time "$1" $linker
		collected "$1" $linker
	done
}

while read -r cc; do
	prepare "$cc"
	levels "$cc"
	kinds_of_programs "$cc"
	code_generation "$cc"
	with_linkers "$cc"
done < <(native_compilers)
finish "$number programs; rseqctl verify: $can_verify"
