# SPDX-License-Identifier: MIT
# What tests of the installed library share: an installation in a directory of the build tree, and
# how programs are built against it through pkg-config alone, and run. To be sourced; stage is the
# directory to use, which is made anew.
# shellcheck shell=bash disable=SC2034
set -u
cd "${top_builddir:?}" || exit 1
source=${top_srcdir:?}
stage=$PWD/${stage:?}
root=$stage/root
programs=$stage/programs
warnings="-Wall -Wextra -Werror"
pkg_config=${PKG_CONFIG:-pkg-config}
read -ra cc <<<"${CC:-cc} ${CFLAGS-}"
read -ra cxx <<<"${CXX-} ${CFLAGS-}"
read -ra emulator <<<"${RSEQ_EMULATOR-}"
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

# How the library can be linked: the name, the option for pkg-config, the option for the compiler.
linkages() {
	[ ! -e "$root/lib/librseq.so" ] || echo shared
	[ ! -e "$root/lib/librseq.a" ] || echo "static --static -static"
}

build() { # program, compiler and its arguments
	local program=$1
	shift
	"$@" -o "$programs/$program" && return
	complain "cannot build $program: $*"
	return 1
}

# What it prints is left in $output.
run() { # program, arguments
	output=$(LD_LIBRARY_PATH=$root/lib timeout 120 "${emulator[@]}" "$@" 2>&1 </dev/null) && return
	echo "$output"
	complain "$*"
	return 1
}
