#!/bin/bash
# SPDX-License-Identifier: MIT
# An allocator that has its own __rseq_abi, registers it, writes where cpu_id_start is and never
# unregisters: in the program, preloaded, or loaded when threads run already.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/neighbours/common.sh" || exit 1

steps() { # what, words, environment and program, before the steps that all take
	try "$1" "$2" "${@:3}" start:3 info:before touch:first use info:middle start:2 touch:later \
		info:threads use register:register unregister:undo info:after
}

# The program's own, which this library finds: it was there before, and its area is everybody's. No
# thread gets another length, nor does anybody's unregistering end what the allocator made.
everywhere="before.program=$unknown*3,$shared*1 before.program.origin=interposed
	before.program.length=32 before.program.others=1 first.neighbour=fast*4
	middle.program=$shared*4 later.neighbour=fast*6 threads.program=$shared*6
	register.program=0*6 undo.program=0*6 after.program=$shared*6"
# The same, but that threads are this library's which use it first.
steps "in the program" "$everywhere" env "$libc_off" "$programs/program-allocator"
steps "in the program, longer length" "$everywhere" \
	env "$libc_off" "${fake[@]}" "$programs/program-allocator"
steps "preloaded" "$everywhere" \
	env "$libc_off" LD_PRELOAD="$modules/allocator.so" "$programs/program"
steps "preloaded, longer length" "$everywhere" \
	env "$libc_off" "${fake[@]}" env LD_PRELOAD="$modules/allocator.so" "$programs/program"

# Threads that use the library before the allocator are registered by it, with the same area.
# It ends its own registrations alone, and then the allocator registers anew.
try "preloaded, later" "middle.program=librseq/none/32*3,$shared*1 touch.neighbour=fast*4
	again.program=librseq/none/32*3,$shared*1 undo.program=0*4
	ended.program=$unknown*3,$shared*1 more.neighbour=fast*4 after.program=$shared*4" \
	env "$libc_off" LD_PRELOAD="$modules/neighbour.so" "$programs/program" \
	start:3 touch-first:first register:r info:middle touch:touch info:again unregister:undo \
	info:ended touch:more info:after use

# Where libc registers, the allocator does without.
if libc_registers; then
	everywhere="before.program=$libc*4 first.neighbour=slow*4 middle.program=$libc*4
		later.neighbour=slow*6 threads.program=$libc*6 register.program=0*6
		undo.program=0*6 after.program=$libc*6 after.program.origin=libc"
	steps "in the program, libc" "$everywhere" env "$libc_on" "$programs/program-allocator"
	steps "preloaded, libc" "$everywhere" \
		env "$libc_on" LD_PRELOAD="$modules/allocator.so" "$programs/program"
fi

# Where this library does without, the allocator has rseq.
steps "in the program, disabled" "before.program=$disabled*4 first.neighbour=fast*4
	middle.program=$disabled*4 later.neighbour=fast*6 register.program=EOPNOTSUPP*6
	undo.program=EINVAL*6 after.program=$disabled*6" \
	env "$libc_off" LIBRSEQ_DISABLE=1 "$programs/program-allocator"

# Nobody can see the program's. Who comes first in a thread, has it; main() is the allocator's.
try "hidden in the program" "before.plugin=$foreign*1,$unknown*3
	middle.plugin=$foreign*1,$own*3 touch.neighbour=fast*1,slow*3
	threads.plugin=$foreign*1,$own*3,$unknown*2 later.neighbour=fast*3,slow*3
	after.plugin=$foreign*3,$own*3 after.plugin.origin=librseq" \
	env "$libc_off" "$programs/host-allocator" \
	start:3 load:plugin="$modules/plugin.so" info:before register:r info:middle touch:touch \
	use start:2 info:threads touch:later use info:after

# Loaded later, it takes this library's __rseq_abi for its own: 32 bytes, to be written to. Threads
# with a longer length are kept from that, as a kernel that offers it kills a process for such
# writes; there too, who comes first in a thread has it.
for length in 32 33; do
	words="touch.neighbour=fast*4 later.neighbour=fast*6
		after.program=librseq/none/32*4,shared/none/32*2"
	under=()
	[ $length = 32 ] || {
		words="touch.neighbour=slow*4 later.neighbour=fast*2,slow*4
			after.program=$foreign*2,librseq/none/33*4"
		under=("${fake[@]}")
	}
	[ "$own_length" -le "$length" ] || continue
	try "loaded later, length $length" "$words after.program.length=$length
		after.program.origin=librseq" \
		env "$libc_off" "${under[@]}" "$programs/program" \
		start:3 use load:allocator="$modules/neighbour.so" touch:touch use start:2 \
		touch:later use info:after
done

# The same on this kernel, which may be one that kills.
try "loaded later" "" env "$libc_off" "$programs/program" start:3 use \
	load:allocator="$modules/neighbour.so" use start:2 use fork use

finish
