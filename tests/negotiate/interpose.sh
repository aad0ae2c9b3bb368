#!/bin/bash
# SPDX-License-Identifier: MIT
# Other definitions of __rseq_abi, in the program and in libraries that are loaded before: of every
# size, aligned or not, bound weakly or strongly, registered by their owner or not. Nobody needs
# to know of anybody.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1
need_shared_library

feature_size=$(fact kernel_feature_size)
libc_size=$(fact libc_size)

# A neighbour's area is shared with length 32, if it has room and is aligned for that.
interposed="$(expect_own 32 "$feature_size") origin=interposed length=32"
# If not, the library's own serves; with length 32, so that all of the process has one.
ignored="$(expect_own 32 "$feature_size") origin=librseq area_size=64 length=32"

# With libc's registration: its area, or what there is without one.
try_with_libc() { # what, words for a libc that registers nobody, command
	local words=$libc
	[ "$libc_size" != 0 ] || words=$2
	try "$1" "$words" env "$libc_on" "${@:3}"
}

link_program() { # file, size, alignment, attributes, options for the compiler
	"${cc[@]}" -pthread -fPIE -DAREA_SIZE="$2" -DAREA_ALIGN="$3" -DAREA_ATTRIBUTES="$4" \
		-o "$1" "$source/area.c" "$programs/libworker.a" "${@:5}" \
		"${link_flags[@]}" 2>"$work/errors" && return
	cat "$work/errors"
	complain "cannot link a program with an area of $2 bytes"
	return 1
}

link_library() { # file, size, alignment, attributes, options for the compiler
	"${cc[@]}" -shared -fPIC -DAREA_SIZE="$2" -DAREA_ALIGN="$3" -DAREA_ATTRIBUTES="$4" \
		"${@:5}" -o "$1" "$source/area.c" 2>"$work/errors" && return
	cat "$work/errors"
	complain "cannot make a library with an area of $2 bytes"
	return 1
}

expected_for() { # size, alignment
	if [ "$1" -ge 32 ] && [ "$2" -ge 32 ]; then
		echo "$interposed area_size=$1 area_align=$2"
	else
		echo "$ignored"
	fi
}

program=$work/program
library=$work/library.so
for size in 20 32 64 256; do
	for align in 8 32 64; do
		for attributes in '' weak; do
			expected=$(expected_for $size $align)
			what="$size bytes, aligned to $align, ${attributes:-strong}"
			if link_program "$program" $size $align "$attributes" \
				-L"$RSEQ_LIBDIR" -lrseq; then
				try "program with $what" "$expected other_definitions=1" \
					env "$libc_off" "$program" report
				try_with_libc "program with $what" "$expected" "$program" report
			fi
			if link_library "$library" $size $align "$attributes"; then
				try "library with $what" "$expected other_definitions=1" \
					env "$libc_off" LD_PRELOAD="$library" "$worker" report
				try_with_libc "library with $what" "$expected" \
					env LD_PRELOAD="$library" "$worker" report
			fi
		done
	done
done

# An area in which every thread looks registered, on some CPU, before it is.
for start in 0 1; do
	for size in 32 64 256; do
		link_library "$library" $size 64 '' -DAREA_STARTS_AT=$start &&
			try "library with $size bytes that start with CPU $start" \
				"$ignored other_definitions=1" \
				env "$libc_off" LD_PRELOAD="$library" "$worker" report
		link_program "$program" $size 64 '' -L"$RSEQ_LIBDIR" -lrseq -DAREA_STARTS_AT=$start &&
			try "program with $size bytes that start with CPU $start" \
				"$ignored other_definitions=1" env "$libc_off" "$program" report
	done
done

# In a static program nobody can ask for the symbol's size: 32 bytes are what all areas have.
if [ -e "$RSEQ_LIBDIR/librseq.a" ] && [ ${#link_flags[@]} = 0 ]; then
	assumed="$(expect_own 32 "$feature_size") origin=assumed area_size=32 length=32"
	for size in 32 64 256; do
		for attributes in '' weak; do
			link_program "$program" $size 32 "$attributes" "$RSEQ_LIBDIR/librseq.a" \
				-static || continue
			try "static program with $size bytes ${attributes:-strong}" "$assumed" \
				env "$libc_off" "$program" report
			try_with_libc "static program with $size bytes ${attributes:-strong}" \
				"$assumed" "$program" report
		done
	done
fi

# The neighbour registers the program's initial thread before main(). Its area is this library's
# too, and stays as it is.
shared="before.owner=shared before.reason=none register=0 owner=shared origin=interposed
	threads_registered=8 thread_length=32 unregister=0 after.owner=shared
	$(registered 32 "$feature_size")"
for size in 32 64; do
	link_library "$library" $size 32 '' -DAREA_REGISTERS=32 &&
		try "registered library with $size bytes" "$shared area_size=$size" \
			env "$libc_off" LD_PRELOAD="$library" "$worker" report
done

# It registers one that is not fit for this library: that thread does without, others do not.
foreign="before.owner=foreign register=EBUSY owner=foreign reason=foreign origin=librseq
	threads_registered=8 thread_length=32 unregister=EINVAL after.owner=foreign"
link_library "$library" 20 32 '' -DAREA_REGISTERS=32 &&
	try "registered library with 20 bytes" "$foreign" \
		env "$libc_off" LD_PRELOAD="$library" "$worker" report

# It writes what it likes where the kernel puts cpu_id_start.
link_library "$library" 32 32 '' -DAREA_REGISTERS=32 -DAREA_SCRIBBLES &&
	try "scribbling library" "$shared" \
		env "$libc_off" LD_PRELOAD="$library" "$worker" report

# The first of several wins, even if it is of no use.
link_library "$work/first.so" 20 32 '' && link_library "$work/second.so" 64 64 '' && {
	try "unfit library before a fit one" "$ignored other_definitions=2" \
		env "$libc_off" LD_PRELOAD="$work/first.so:$work/second.so" "$worker" report
	try "fit library before an unfit one" "$interposed area_size=64 other_definitions=2" \
		env "$libc_off" LD_PRELOAD="$work/second.so:$work/first.so" "$worker" report
}

# A program of the examples, which checks its result, with whatever neighbour.
histogram=$top_builddir/doc/examples/histogram
for size in 20 32 64 256; do
	[ -x "$histogram" ] || break
	link_library "$library" $size 32 '' || continue
	for variable in "$libc_on" "$libc_off" LIBRSEQ_DISABLE=1; do
		try "histogram, $size bytes, $variable" "" env "$variable" LD_PRELOAD="$library" \
			"$histogram" -q -m rseq -j 8 "$top_srcdir/include" "$top_srcdir/src"
	done
done

finish
