#!/bin/bash
# SPDX-License-Identifier: MIT
# A library that registers an area of its own in each thread, and perhaps ends that again; and one
# that ends what libc, or this library, registered.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/neighbours/common.sh" || exit 1

# In each circumstance, what the library registers.
alone() { # function
	"$1" "$own" env "$libc_off"
	"$1" librseq/none/33 env "$libc_off" "${fake[@]}"
}

# Threads have the neighbour's area, until it ends that; who asks then is registered.
comes_first() { # what a thread has in the end, environment
	try "comes first (${*:2})" "touch.neighbour=fast*4 before.program=$foreign*4
		refused.program=EBUSY*4 undo.program=EINVAL*4 middle.program=$foreign*4
		leave.neighbour=0*4 left.program=$unknown*4 register.program=0*4
		late.neighbour=slow*4 after.program=$1*4 after.program.origin=librseq
		after.program.others=0" \
		"${@:2}" "$programs/program" start:3 load:neighbour="$modules/private.so" \
		touch:touch info:before register:refused unregister:undo use info:middle \
		leave:leave info:left register:register touch:late use info:after
}

# It comes when some threads are this library's, and others nobody's.
comes_between() { # what this library's threads have, environment
	try "comes between (${*:2})" "touch.neighbour=fast*2,slow*4
		after.program=$foreign*2,$1*4 leave.neighbour=0*2,EINVAL*4
		left.program=$1*4,$unknown*2" \
		"${@:2}" "$programs/program" start:3 use load:neighbour="$modules/private.so" \
		start:2 touch:touch use info:after leave:leave info:left
}

# It is there before main(), and takes one thread.
comes_before_all() { # what this library's threads have, environment
	try "comes before all (${*:2})" "before.program=$unknown*4
		first.neighbour=fast*1,skipped*3 after.program=$foreign*1,$1*3
		leave.neighbour=0*1,skipped*3 register.program=0*4 end.program=$1*4" \
		"${@:2}" env LD_PRELOAD="$modules/private.so" "$programs/program" start:3 \
		info:before touch-first:first register:r info:after leave-first:leave \
		register:register info:end
}

# Somebody ends registrations that are not his: threads that use the library are registered again,
# if nobody else was faster. Each time counts, so that there is something left to be undone in the
# first four.
is_ended() { # what this library's threads have, environment
	try "ended (${*:2})" "ended.program=$unknown*4 again.program=$1*4
		twice.program=$unknown*4 new.program=$1*4,$unknown*2 register.program=0*6
		after.program=$1*6 undo.program=0*4,EINVAL*2" \
		"${@:2}" "$programs/program" start:3 use forget info:ended use info:again \
		forget info:twice use start:2 info:new register:register info:after forget \
		unregister:undo use
	try "ended, and another came (${*:2})" "touch.neighbour=fast*4 taken.program=$foreign*4
		after.program=$foreign*4 undo.program=EINVAL*4 leave.neighbour=0*4
		register.program=0*4 end.program=$1*4" \
		"${@:2}" "$programs/program" start:3 use load:neighbour="$modules/private.so" \
		forget touch:touch info:taken use info:after unregister:undo leave:leave \
		register:register use info:end
}

for case in comes_first comes_between comes_before_all is_ended; do
	alone "$case"
done

# The program ends libc's registration: libc's area is this library's to register then, though not
# in threads that libc registers. A thread that has no registration gives none to those it creates.
if libc_registers; then
	mine=librseq/none/$libc_length
	try "libc's, ended" "ended.program=$unknown*4 ended.program.origin=libc
		again.program=$mine*4 new.program=$libc*2,$mine*4 taken.program=$unknown*6
		children.program=$unknown*7 register.program=0*7 after.program=$mine*7
		undo.program=0*7 undone.program=$mine*4,$unknown*3" \
		env "$libc_on" "$programs/program" start:3 use forget info:ended use info:again \
		start:2 info:new forget info:taken start:1 info:children register:register use \
		info:after unregister:undo info:undone use
	try "libc's, taken" "touch.neighbour=fast*4 taken.program=$foreign*4
		refused.program=EBUSY*4 leave.neighbour=0*4 register.program=0*4
		after.program=$mine*4 after.program.origin=libc" \
		env "$libc_on" "$programs/program" start:3 load:neighbour="$modules/private.so" \
		forget touch:touch info:taken use register:refused leave:leave register:register \
		use info:after
	try "libc's, not taken" "touch.neighbour=slow*6 after.program=$libc*6" \
		env "$libc_on" "$programs/program" start:3 use \
		load:neighbour="$modules/private.so" touch:first start:2 touch:touch use info:after
fi

# Switched off, it needs nobody's, and looks at nobody's.
try "disabled" "touch.neighbour=fast*4 before.program=$disabled*4 register.program=EOPNOTSUPP*4
	after.program=$disabled*4 after.program.origin=none" \
	env "$libc_off" LIBRSEQ_DISABLE=1 "$programs/program" start:3 \
	load:neighbour="$modules/private.so" touch:touch info:before register:register use info:after

finish
