#!/bin/bash
# SPDX-License-Identifier: MIT
# What builds programs for other libcs than this machine's: headers, libraries and cmocka out of
# Debian packages, unpacked into a tree, for the installed compilers. For sourcing by `dev`.
# shellcheck source=packages.sh
. tests/vm/packages.sh

# Unpacks packages into a tree, once.
unpack_tree() { # tree, suite, architecture, packages
	local work=$1.new package link target
	[ ! -d "$1" ] || return 0
	rm -rf "$work"
	mkdir -p "$work"
	lock_cache
	update_list "$2" "$3" || return 1
	for package in "${@:4}"; do
		unpack "$2" "$3" "$package" "$work" '*' || {
			echo "cannot unpack $package of $2" >&2
			return 1
		}
	done
	unlock_cache
	# What these links mean is in the tree, too.
	find "$work" -type l | while read -r link; do
		target=$(readlink "$link")
		[[ $target != /* ]] || ln -sfn -r "$work$target" "$link"
	done
	mv "$work" "$1"
}

# There is no package of cmocka for musl. It is one file.
build_cmocka() { # tree, compiler
	local work=$1/cmocka features=(-DHAVE_GCC_THREAD_LOCAL_STORAGE -D_UINTPTR_T) feature
	[ ! -e "$1/libcmocka.a" ] || return 0
	for feature in CLOCK_GETTIME GETPID INTTYPES_H MALLOC_H SIGNAL_H STDINT_H STDIO_H \
		STRINGS_H STRSIGNAL STRUCT_TIMESPEC; do
		features+=("-DHAVE_$feature")
	done
	lock_cache
	rm -rf "$work"
	unpack_source bookworm cmocka "$work" || {
		echo "cannot unpack the source of cmocka" >&2
		return 1
	}
	unlock_cache
	cp "$work/include/cmocka.h" "$1/kernel/"
	$2 -O1 -g "${features[@]}" -I"$work/include" -c -o "$1/cmocka.o" "$work/src/cmocka.c" &&
		ar cr "$1/libcmocka.a" "$1/cmocka.o"
}

# Each sets configuration, an array of arguments for configure.

# glibc 2.31.
prepare_bullseye() { # tree, architecture, compiler
	local libraries=$1/usr/lib/$2-linux-gnu
	unpack_tree "$1" bullseye "$2" libc6 libc6-dev libgcc-s1 linux-libc-dev libcrypt-dev libcmocka0 \
		libcmocka-dev || return 1
	# Where the compiler looks: its own is for later versions of glibc only.
	ln -sfn -r "$1/lib/$2-linux-gnu/libgcc_s.so.1" "$libraries/libgcc_s.so.1"
	configuration=("CC=$3 --sysroot=$1 -B$libraries -L$libraries -L$1/lib/$2-linux-gnu"
		LIBS=-lrt CMOCKA_CFLAGS= "CMOCKA_LIBS=-Wl,-rpath,$libraries -lcmocka")
}

prepare_musl() { # tree, architecture, compiler
	local directory headers inline='' specs=$1/musl.specs
	unpack_tree "$1" bookworm "$2" musl musl-dev linux-libc-dev || return 1
	# Debian's compiler finds it beside the headers' libraries, since /lib is /usr/lib.
	ln -sfn -r "$1/lib/$2-linux-musl/libc.so" "$1/usr/lib/$2-linux-musl/libc.so"
	mkdir -p "$1/kernel"
	for directory in linux asm asm-generic; do
		for headers in "$1/usr/include" "$1/usr/include/$2-linux-gnu"; do
			[ ! -d "$headers/$directory" ] || ln -sfn "$headers/$directory" "$1/kernel/"
		done
	done
	sed "s|/usr/|$1/usr/|g" "$1/usr/lib/$2-linux-musl/musl-gcc.specs" >"$specs"
	# libgcc's functions for atomics want what glibc alone has.
	[ "$2" = x86_64 ] || inline=-mno-outline-atomics
	# A program of its own: the compiler takes the option once only, and libtool gives it twice.
	printf '#!/bin/sh\nexec %s "$@" -specs=%s\n' "$3${inline:+ $inline}" "$specs" >"$1/cc"
	chmod +x "$1/cc"
	configuration=("CC=$1/cc" "CPPFLAGS=-idirafter $1/kernel"
		CMOCKA_CFLAGS=-D_UINTPTR_T "CMOCKA_LIBS=$1/libcmocka.a")
	build_cmocka "$1" "$1/cc"
}

# libtool takes -static for itself where it sees it.
prepare_musl-static() { # tree, architecture, compiler
	prepare_musl "$1" "$2" "$3 -static -no-pie" || return 1
	configuration+=(--disable-shared)
}
