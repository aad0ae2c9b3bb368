#!/bin/bash
# SPDX-License-Identifier: MIT
# Two copies of this library in one process: shared in the program, or linked into it, and linked
# into plugins, whose names others may or may not see. And plugins for which there is no room.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/neighbours/common.sh" || exit 1

command -v ar >/dev/null || skip "ar is not installed"
read -ra cc <<<"${CC:-cc} ${CFLAGS-}"
cc+=(-std=gnu11 -pthread -I"$top_srcdir/include" -I"$top_srcdir/tests")

must() { # command
	"$@" >"$work/errors" 2>&1 && return
	cat "$work/errors"
	complain "cannot build: $*"
	finish
}

# The library as one would have it that is configured to be linked into plugins.
must ar rc "$work/pic.a" "$RSEQ_LIBDIR"/librseq_la-*.o
plugin() { # name, options
	must "${cc[@]}" -shared -fPIC -o "$work/$1.so" "$source/user.c" "$work/pic.a" "${@:2}"
}
plugin hidden -Wl,--exclude-libs,ALL
plugin visible
plugin functions -Wl,-Bsymbolic-functions

# Two areas: who comes first in a thread, has it. A copy that sees another's takes length 32.
two_areas() { # length of the program, of the plugin, environment and program
	try "hidden copy (${*:3})" "before.plugin.origin=librseq before.plugin.length=$2
		first.plugin=0*2,EBUSY*4 second.program=0*4,EBUSY*2
		after.program=$foreign*2,librseq/none/$1*4
		after.plugin=$foreign*4,librseq/none/$2*2" \
		"${@:3}" start:3 use load:plugin="$work/hidden.so" info:before use start:2 \
		register:first@plugin register:second@program use info:after fork use
}

two_plugins() { # length of the first, of the second, environment
	try "two plugins (${*:3})" "before.one=librseq/none/$1*4 before.two=$foreign*4
		after.one=$foreign*2,librseq/none/$1*4
		after.two=$foreign*4,librseq/none/$2*2" \
		"${@:3}" "$programs/host" start:3 load:one="$work/hidden.so" use \
		load:two="$work/visible.so" use info:before start:2 register:first@two info:after \
		close:one use
}

# One area, and the length of who decided first.
one_area() { # plugin, its owner, own length, environment and program
	local mine=librseq/none/$3
	try "$1 copy (${*:4})" "before.program=$mine*4 before.plugin=$2/none/$3*4
		register.plugin=0*6 undo.plugin=0*6 after.program=$mine*6" \
		"${@:4}" start:3 use load:plugin="$work/$1.so" info:before use start:2 use \
		register:register@plugin unregister:undo@plugin info:after use
}

two_areas "$own_length" 32 env "$libc_off" "$programs/program"
two_areas 33 32 env "$libc_off" "${fake[@]}" "$programs/program"
if [ -e "$RSEQ_LIBDIR/librseq.a" ]; then
	must "${cc[@]}" -fPIE -o "$work/static" "$source"/{modules,steps,threads,user}.c \
		"$RSEQ_LIBDIR/librseq.a" -ldl
	two_areas "$own_length" "$own_length" env "$libc_off" "$work/static"
	two_areas 33 33 env "$libc_off" "${fake[@]}" "$work/static"
fi
two_plugins "$own_length" "$own_length" env "$libc_off"
two_plugins 33 33 env "$libc_off" "${fake[@]}"
for length in "$own_length" 33; do
	under=()
	[ "$length" = "$own_length" ] || under=("${fake[@]}")
	one_area visible librseq "$length" env "$libc_off" "${under[@]}" "$programs/program"
	one_area functions shared "$length" env "$libc_off" "${under[@]}" "$programs/program"
done

if libc_registers; then
	for kind in hidden visible functions; do
		try "$kind copy, libc" "after.program=$libc*6 after.plugin=$libc*6" \
			env "$libc_on" "$programs/program" start:3 use \
			load:plugin="$work/$kind.so" use start:2 info:after use close:plugin use
	done
fi
for kind in hidden visible functions; do
	try "$kind copy, disabled" "after.program=$disabled*6 after.plugin=$disabled*6" \
		env "$libc_on" LIBRSEQ_DISABLE=1 "$programs/program" start:3 use \
		load:plugin="$work/$kind.so" use start:2 info:after use close:plugin use
done

# A plugin with a copy is closed when threads are registered with the area in it: nobody else gets
# that storage, which the kernel writes to.
closed() { # own length, environment
	try "closed copy (${*:2})" "used.plugin=librseq/none/$1*4 touch.neighbour=intact*4
		later.neighbour=intact*6" \
		"${@:2}" "$programs/host" start:3 load:plugin="$work/hidden.so" use info:used \
		close:plugin load:victim="$modules/victim.so" touch:touch start:2 touch:later
}
closed "$own_length" env "$libc_off"
closed 33 env "$libc_off" "${fake[@]}"

# There is room for the storage of a few copies: those are loaded and work.
for nr in {1..64}; do
	cp "$work/hidden.so" "$work/copy$nr.so"
	cp "$modules/victim.so" "$work/victim$nr.so"
done
for libc_does in "$libc_on" "$libc_off"; do
	try "copies, $libc_does" "filled=some" env "$libc_does" "$programs/program" start:3 use \
		fill:"$work/copy" use start:2 use
	try "no room, $libc_does" "filled=some" env "$libc_does" "$programs/host" start:3 \
		fill:"$work/victim" refuse:"$modules/plugin.so" refuse:"$work/hidden.so"
done

finish
