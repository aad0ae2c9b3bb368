#!/bin/bash
# SPDX-License-Identifier: MIT
# Users of this library, and the allocator, in namespaces of the dynamic linker, where they have a
# libc and a copy of the library of their own; an auditor is such a one.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/neighbours/common.sh" || exit 1

plugin=$modules/plugin.so
audit=LD_AUDIT=$modules/auditor.so
timeout 60 env "$libc_on" "$programs/host" namespace:plugin="$plugin" 2>"$work/errors" ||
	skip "no namespaces: $(cat "$work/errors")"

# Every namespace has an area; a thread has that of who comes first.
registers() { # own length, environment
	local mine=librseq/none/$1
	try "namespace (${*:2})" "after.program=$mine*4,$unknown*2 after.plugin=$foreign*4,$unknown*2
		first.plugin=0*2,EBUSY*4 second.program=0*4,EBUSY*2
		end.program=$foreign*2,$mine*4 end.plugin=$foreign*4,$mine*2
		end.plugin.origin=librseq end.plugin.others=0" \
		"${@:2}" "$programs/program" start:3 namespace:plugin="$plugin" use start:2 \
		info:after register:first@plugin register:second@program use info:end \
		close:plugin use
	try "two namespaces (${*:2})" "after.one=$mine*4 after.two=$foreign*4" \
		"${@:2}" "$programs/host" start:3 namespace:one="$plugin" use \
		namespace:two="$plugin" use info:after
	try "auditor (${*:2})" "auditor.before.owner=none auditor.started.owner=librseq
		auditor.started.registered_length=$1 auditor.end.owner=librseq
		auditor.complaints=0 after.program=$foreign*1,$mine*3" \
		"${@:2}" "$audit" "$programs/program" start:3 use info:after
}
registers "$own_length" env "$libc_off"
registers 33 env "$libc_off" "${fake[@]}" env

# The allocator is in the program, and takes main()'s thread; nobody else sees its area.
try "namespace beside the allocator" "before.plugin=$foreign*1,$unknown*3
	touch.neighbour=fast*1,slow*3 after.plugin=$foreign*1,$own*3
	after.plugin.origin=librseq after.plugin.others=0" \
	env "$libc_off" "$programs/host-allocator" start:3 namespace:plugin="$plugin" \
	info:before use touch:touch use info:after
# It is in a namespace.
try "allocator in a namespace" "touch.neighbour=slow*4 later.neighbour=fast*2,slow*4
	after.program=$foreign*2,$own*4" \
	env "$libc_off" "$programs/program" start:3 use \
	namespace:allocator="$modules/neighbour.so" touch:touch start:2 touch:later use info:after

# libc's area is the same everywhere.
if libc_registers; then
	try "namespace, libc" "after.program=$libc*6 after.plugin=$libc*6
		after.plugin.origin=libc" \
		env "$libc_on" "$programs/program" start:3 namespace:plugin="$plugin" use start:2 \
		info:after use close:plugin use
	try "auditor, libc" "auditor.before.owner=libc auditor.end.owner=libc
		auditor.started.registered_length=$libc_length auditor.complaints=0
		after.program=$libc*4" \
		env "$libc_on" "$audit" "$programs/program" start:3 use info:after
fi
try "auditor, disabled" "auditor.started.reason=disabled auditor.end.reason=disabled
	auditor.complaints=0 after.program=$disabled*4" \
	env "$libc_on" LIBRSEQ_DISABLE=1 "$audit" "$programs/program" start:3 use info:after

# As many as there is room for.
for libc_does in "$libc_on" "$libc_off"; do
	try "many namespaces, $libc_does" "filled=some" env "$libc_does" "$programs/program" \
		start:3 use namespaces:"$plugin" use start:2 use
done

finish
