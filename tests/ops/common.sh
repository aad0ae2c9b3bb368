# SPDX-License-Identifier: MIT
# What the scripts of this directory share: where things are, which compilers are at hand, and how
# to run many jobs. To be sourced.
# shellcheck shell=bash disable=SC2034
set -u

top=$(cd "${top_srcdir:-$(dirname "$0")/../..}" && pwd) || exit 1
source=$top/tests/ops
includes=(-I"$top/include" -I"$top/tests" -I"$source")
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Werror)
cross=aarch64-linux-gnu
sysroot=/usr/$cross
qemu="qemu-aarch64 -L $sysroot"

# The machine that the library is built for.
machine=${host_cpu:-$(uname -m)}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

skip() { # reason
	echo "skipped: $*"
	exit 77
}

have() { # commands
	local name
	for name in "$@"; do
		command -v "${name%% *}" >/dev/null || return 1
	done
}

# Jobs run at the same time, and complain in one piece.
complain() { # what, file to show the beginning of
	{
		echo "FAILED: $1"
		[ -z "${2-}" ] || head -n 20 "$2" | cut -c 1-300
	} | tee -a "$work/failures"
}

spawn() { # command
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n
	done
	"$@" &
}

finish() { # what there were
	wait
	echo "$*"
	[ ! -s "$work/failures" ]
	exit
}

# C compilers for this machine, each once, with arguments; then those for aarch64.
native_compilers() {
	printf '%s\n' "${CC:-gcc}"
	[ -z "${RSEQ_EMULATOR-}" ] || return
	have gcc && [ "${CC:-gcc}" != gcc ] && echo gcc
	have clang && [ "${CC:-gcc}" != clang ] && echo clang
}

cross_compilers() {
	[ "$machine" != aarch64 ] && [ -d $sysroot/include ] || return
	have $cross-gcc && echo $cross-gcc
	have clang && echo "clang --target=$cross"
}

# The C++ compiler that goes with a C compiler; nothing where it is missing.
cxx_of() { # C compiler
	local name=${1%% *} arguments=
	[[ $1 == *' '* ]] && arguments=" ${1#* }"
	case $name in
	*clang*) name=${name/clang/clang++} ;;
	*gcc*) name=${name/gcc/g++} ;;
	*cc) name=${name%cc}c++ ;;
	esac
	[ "$1" != "${CC-}" ] || [ -z "${CXX-}" ] || name=${CXX%% *}
	have "$name" && echo "$name$arguments"
}

# Builds the library with some compiler, for those that the build tree does not have one of.
build_library() { # archive, compiler and arguments
	local archive=$1 directory
	shift
	directory=$(mktemp -d -p "$work") || return 1
	(
		cd "$directory" &&
			"$@" -std=gnu11 -O2 -fPIC -D_GNU_SOURCE -I"$top/include" -fvisibility=hidden \
				-ftls-model=initial-exec -c "$top"/src/*.c
	) && "${AR:-ar}" rcs "$archive" "$directory"/*.o
}
