#!/bin/bash
# SPDX-License-Identifier: MIT
# A plugin that is linked with the library is loaded by a program that is not, when its threads run
# already; unloaded, and loaded again.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1
need_shared_library

include=(-I"$top_srcdir/include" -I"$top_srcdir/tests" -I"$source")
plugin=$work/plugin.so

must() { # command
	"$@" 2>"$work/errors" && return
	cat "$work/errors"
	complain "cannot build: $*"
	finish
}

must "${cc[@]}" -std=gnu11 -shared -fPIC "${include[@]}" -o "$plugin" "$source/plugin.c" \
	-L"$RSEQ_LIBDIR" -lrseq
host() { # name, options
	must "${cc[@]}" -std=gnu11 -pthread "${include[@]}" -o "$work/$1" "$source/host.c" \
		"${@:2}" -ldl "${link_flags[@]}"
}
area=(-DHOST_AREA -DAREA_ALIGN=32 -DAREA_SIZE=32 "$source/area.c")
host plain
host private "${area[@]}"
host exported -rdynamic "${area[@]}"
host small -rdynamic -DAREA_ALIGN=32 -DAREA_SIZE=20 "$source/area.c"

all="thread0=0 thread1=0 thread2=0 thread3=0 thread4=0 thread5=0"
length=$(own_length "$(fact kernel_feature_size)" "$(fact kernel_align)")

# Linked lazily or at once, the program's own way to look symbols up makes no difference.
for bind in '' LD_BIND_NOW=1; do
	try "plain $bind" "before.owner=none before.reason=not-registered origin=librseq
		area_size=64 length=$length other_definitions=0 unloaded=yes $all" \
		env "$libc_off" $bind "$work/plain" "$plugin"
done
if [ "$(fact libc_size)" != 0 ]; then
	try "plain, libc registers" "before.owner=libc owner=libc origin=libc unloaded=yes $all" \
		env "$libc_on" "$work/plain" "$plugin"
fi
try "plain, disabled" "before.reason=disabled origin=none thread0=0 thread1=EOPNOTSUPP" \
	env "$libc_on" LIBRSEQ_DISABLE=1 "$work/plain" "$plugin"

# The program has an area that nobody else can see: two areas, and a thread can have one of them.
try "private area" "origin=librseq length=$length $all" \
	env "$libc_off" "$work/private" "$plugin"
try "private area, registered" "origin=librseq thread0=0 thread1=EBUSY thread2=0 thread3=0
	thread4=0 thread5=EBUSY" env "$libc_off" "$work/private" "$plugin" register

# It has one that all can see: that is everybody's.
try "exported area" "origin=interposed area_size=32 length=32 other_definitions=1 $all" \
	env "$libc_off" "$work/exported" "$plugin"
try "exported area, registered" "origin=interposed area_size=32 length=32 $all" \
	env "$libc_off" "$work/exported" "$plugin" register
try "exported area, too small" "origin=librseq area_size=64 length=32 $all" \
	env "$libc_off" "$work/small" "$plugin"

# The plugin has it. It stays then, where the library's references have been bound to it.
must "${cc[@]}" -std=gnu11 -shared -fPIC "${include[@]}" -DAREA_ALIGN=64 -DAREA_SIZE=64 \
	-o "$work/with-area.so" "$source/plugin.c" "$source/area.c" -L"$RSEQ_LIBDIR" -lrseq
try "plugin with an area" "length=32 other_definitions=1 $all" \
	env "$libc_off" "$work/plain" "$work/with-area.so"

# The longer length, too, comes without a restart.
try "longer length" "origin=librseq length=33 $all" \
	env "$libc_off" "$kernel" -f 33 -a 64 "$work/plain" "$plugin"
try "exported area, no longer length" "origin=interposed length=32 $all" \
	env "$libc_off" "$kernel" -f 33 -a 64 "$work/exported" "$plugin" register

finish
