#!/bin/bash
# SPDX-License-Identifier: MIT
# The library with musl: built with musl-gcc, without the kernel's headers, shared and static. musl
# registers no thread. The other scripts run with programs of it, and the examples.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

command -v musl-gcc >/dev/null || skip "no musl-gcc, which Debian has in musl-tools"

tree=$work/tree
libdir=$tree/src/.libs
built=$tree/tests/negotiate
mkdir -p "$libdir" "$built" "$work/include" "$work/objects"

build() { # command
	"$@" >"$work/errors" 2>&1 && return
	cat "$work/errors"
	complain "$*"
	finish
}

# The tests want kernel headers, which musl does not have.
multiarch=/usr/include/$(gcc -print-multiarch 2>/dev/null)
for directory in linux asm asm-generic; do
	for headers in "$multiarch" /usr/include; do
		[ ! -d "$headers/$directory" ] || ln -sfn "$headers/$directory" "$work/include/"
	done
done
musl=(musl-gcc -std=gnu11 -O2 -g -pthread -Wall -Wextra -Wpedantic -Wconversion -Werror
	-I"$top_srcdir/include")
tests=("${musl[@]}" -I"$top_srcdir/tests" -idirafter "$work/include")

for file in "$top_srcdir"/src/*.c; do
	object=$work/objects/$(basename "$file" .c).o
	build "${musl[@]}" -D_GNU_SOURCE= -fPIC -fvisibility=hidden -ftls-model=initial-exec \
		-c -o "$object" "$file"
done
build "${musl[@]}" -shared -o "$libdir/librseq.so.1" -Wl,-soname,librseq.so.1 \
	-Wl,--version-script="$top_srcdir/src/librseq.map" -Wl,-z,defs -Wl,-z,nodelete \
	-Wl,-z,relro -Wl,-z,now "$work"/objects/*.o
ln -s librseq.so.1 "$libdir/librseq.so"
build ar cr "$libdir/librseq.a" "$work"/objects/*.o

for file in "$source"/worker*.c; do
	build "${tests[@]}" -c -o "$work/$(basename "$file" .c).o" "$file"
done
build ar cr "$built/libworker.a" "$work"/worker*.o
build "${tests[@]}" -o "$built/negotiate-worker" "$built/libworker.a" -L"$libdir" -lrseq
build "${tests[@]}" -o "$built/fake-kernel" "$source/fake-kernel.c"
build "${tests[@]}" -o "$built/rseq-filter" "$source/rseq-filter.c"
build "${tests[@]}" -static -no-pie -o "$built/static-worker" "$built/libworker.a" \
	"$libdir/librseq.a"

! readelf -l "$built/static-worker" | grep -q INTERP || complain "the static worker is not static"

# With rseq in every thread, and exact sums, whatever the linkage.
length=$(own_length "$(fact kernel_feature_size)" "$(fact kernel_align)")
export LD_LIBRARY_PATH=$libdir
for program in negotiate-worker static-worker; do
	try "$program" "libc_size=0 kernel=1" "$built/$program" facts
	try "$program" "origin=librseq area_size=64 area_align=64 other_definitions=0
		$(expect_own "$length" "$(fact kernel_feature_size)")" "$built/$program" report
done

# dlopen() of musl gives no storage at a fixed offset to a library that was not there at the start:
# it says so, and the program goes on without.
build "${tests[@]}" -shared -fPIC -o "$work/plugin.so" "$source/plugin.c" -L"$libdir" -lrseq
cat >"$work/open.c" <<-END
	#include <dlfcn.h>
	#include <stdio.h>
	int main(int argc, char **argv)
	{
		void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
		if (!plugin)
			printf("error=%s\n", dlerror());
		printf("opened=%s\n", plugin ? "yes" : "no");
		return 0;
	}
END
build "${tests[@]}" -o "$work/open" "$work/open.c"
try "dlopen" "opened=no" "$work/open" "$work/plugin.so"
try "dlopen with the library there" "opened=yes" \
	env LD_PRELOAD="$libdir/librseq.so.1" "$work/open" "$work/plugin.so"

for linkage in shared static; do
	flags=(-L"$libdir" -lrseq)
	[ $linkage = shared ] || flags=(-static -no-pie "$libdir/librseq.a")
	for file in "$top_srcdir"/doc/examples/0*.c; do
		what=$(basename "$file" .c)
		build "${musl[@]}" -o "$work/$what" "$file" "${flags[@]}"
		run "$what, $linkage" "$work/$what"
	done
	build "${musl[@]}" -o "$work/histogram" "$top_srcdir/doc/examples/histogram.c" "${flags[@]}"
	run "histogram, $linkage" "$work/histogram" -q -m rseq -j 8 "$top_srcdir/include" \
		"$top_srcdir/src"
done

seconds=600
other() { # script, program instead of the worker
	run "$*" env top_builddir="$tree" RSEQ_LIBDIR="$libdir" ${2:+other_worker="$built/$2"} \
		CC="musl-gcc -idirafter $work/include" CFLAGS= LD_LIBRARY_PATH= \
		"$source/$1.sh" && echo "musl, $*: $(tail -n 1 "$work/output")"
}
for script in matrix kernel libc lifecycle seccomp interpose; do
	other $script
done
other matrix static-worker
other lifecycle static-worker

finish
