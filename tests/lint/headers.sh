#!/bin/bash
# SPDX-License-Identifier: MIT
# Every public header compiles alone and without a warning, in C and C++, with and without
# optimisation, with each compiler and for each architecture that is at hand; and a program that
# only includes the headers needs no library.
set -u
include=$(cd "${top_srcdir:-$(dirname "$0")/../..}/include" && pwd) || exit 1
warnings="-Wall -Wextra -Wpedantic -Wconversion -Werror"
cross=aarch64-linux-gnu
sysroot=/usr/$cross
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# The second inclusion tries the guard; the declaration is for headers of macros alone. arch/ is not
# for programs: section.h includes it. urcu.h needs liburcu.
sources=()
for header in "$include"/rseq/*.h; do
	name=$(basename "$header" .h)
	{
		[ "$name" != urcu ] || echo '#if __has_include(<urcu/call-rcu.h>)'
		printf '#include <rseq/%s.h>\n' "$name" "$name"
		[ "$name" != urcu ] || echo '#endif'
		echo 'extern int declaration;'
	} >"$work/$name.c"
	cp "$work/$name.c" "$work/$name.cc"
	sources+=("../$name")
done

# Jobs: a compiler with its arguments, and the suffix of its sources.
compilers() {
	echo "${CC:-cc}"
	echo "${CXX-c++}"
	printf '%s\n' gcc g++ clang clang++
	[ -d $sysroot/include ] || return
	printf '%s\n' $cross-gcc $cross-g++
	printf "%s --target=$cross -isystem $sysroot/include\n" clang clang++
}
jobs=()
while read -r compiler; do
	command -v "${compiler%% *}" >/dev/null || continue
	case ${compiler%% *} in
	*++) standards="c++11 c++20" suffix=cc ;;
	*) standards=c11 suffix=c ;;
	esac
	for standard in $standards; do
		jobs+=("$suffix $compiler -std=$standard -O0" "$suffix $compiler -std=$standard -O2")
	done
done < <(compilers | sort -u)

run() { # number, suffix, compiler and arguments
	local number=$1 suffix=$2
	shift 2
	mkdir "$work/$number" && cd "$work/$number" || return 1
	# shellcheck disable=SC2086
	"$@" $warnings -I"$include" -c "${sources[@]/%/.$suffix}" && return
	echo "failed: $* $warnings"
	return 1
}

# As many at a time as there are CPUs.
status=0
for ((i = 0; i < ${#jobs[@]}; i++)); do
	[ "$(jobs -r | wc -l)" -lt "$(nproc)" ] || wait -n || status=1
	# shellcheck disable=SC2086
	run "$i" ${jobs[i]} &
done
while [ -n "$(jobs)" ]; do
	wait -n || status=1
done
echo "${#jobs[@]} runs over ${#sources[@]} headers"

# Links without -lrseq.
cat >"$work/link.c" <<'END'
#include <rseq/rseq.h>
int main(void)
{
	int word = 1;

	rseq_smp_mb();
	rseq_smp_store_release(&word, 0);
	return rseq_unlikely(rseq_smp_load_acquire(&word));
}
END
for optimise in -O0 -O2; do
	# shellcheck disable=SC2086
	${CC:-cc} $optimise -I"$include" -o "$work/link" "$work/link.c" || status=1
done
exit $status
