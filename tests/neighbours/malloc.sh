#!/bin/bash
# SPDX-License-Identifier: MIT
# Other allocators, that know nothing of rseq, are preloaded: alone, and together with the one that
# does.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/neighbours/common.sh" || exit 1

# The file that the dynamic linker finds under a name.
find_library() { # pattern of the name
	PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null |
		awk -v pattern="^$1\$" '$1 ~ pattern { print $NF; exit }'
}

use() { # library, what threads have after their use of it, environment
	try "$1 (${*:3})" "after.program=$2*6 end.program=$2*6" \
		"${@:3}" env LD_PRELOAD="$1" "$programs/program" start:3 use start:2 use \
		info:after register:register use unregister:undo info:end fork use
}

while read -r name pattern; do
	library=$(find_library "$pattern")
	if [ -z "$library" ]; then
		echo "$name is not installed"
		skips=$((skips + 1))
		continue
	fi
	use "$library" "$own" env "$libc_off"
	use "$library" librseq/none/33 env "$libc_off" "${fake[@]}"
	use "$library" "$disabled" env "$libc_off" LIBRSEQ_DISABLE=1
	! libc_registers || use "$library" "$libc" env "$libc_on"
	try "$library and an allocator that registers" "touch.neighbour=fast*4
		after.program=$shared*4" \
		env "$libc_off" LD_PRELOAD="$modules/neighbour.so:$library" "$programs/program" \
		start:3 touch:touch use info:after
	try "$library in threads of all ages" "" env "$libc_off" LD_PRELOAD="$library" \
		"$top_builddir/tests/negotiate/negotiate-worker" exit-order
done <<END
jemalloc	libjemalloc[.]so[.].*
gperftools	libtcmalloc(_minimal)?[.]so[.].*
END

finish
