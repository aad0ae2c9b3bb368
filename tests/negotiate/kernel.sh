#!/bin/bash
# SPDX-License-Identifier: MIT
# Kernels that are not this one: what they offer, what they refuse, and their releases.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1
need_shared_library

EPERM=1 EFAULT=14 EINVAL=22 ENOSYS=38
calls=$work/calls

under() { # what, words, options of fake-kernel in one string, command
	local options
	read -ra options <<<"$3"
	try "$1 ($3)" "$2" env "$libc_off" "$kernel" -o "$calls" "${options[@]}" "${@:4}"
}

# The first registrations of the run, as "what length error" each. Who asks for information makes
# other calls, too.
expect_calls() { # what, lines
	local first
	[ "$skips" = 0 ] || return
	first=$(grep ^register "$calls" | head -n "$(wc -l <<<"$2")")
	[ "$first" = "$2" ] || complain "$1: the first ones are not" "$2" "but" "$first"
}

expect_once() { # what, line
	[ "$skips" = 0 ] || return
	[ "$(grep -cFx "$2" "$calls")" = 1 ] || complain "$1: not one '$2': $(sort "$calls" | uniq -c)"
}

# No call has a length other than this.
expect_length() { # what, length
	[ "$skips" = 0 ] || return
	awk -v length_="$2" '$2 != length_ { bad = 1 } END { exit bad }' "$calls" ||
		complain "$1: not all calls have length $2: $(sort "$calls" | uniq -c)"
}

# One that works at all.
under "this kernel" "$own" "" "$worker" report

# The length by feature size and alignment.
while read -r size align length; do
	what="feature size $size, alignment $align"
	[ "$size" != none ] && number=$size || number=0
	under "$what" "before.length=$length length=$length origin=librseq
		$(expect_own "$length" "$number")" "-f $size -a $align" "$worker" report
	expect_length "$what" "$length"
done <<END
none	none	32
20	32	32
24	32	32
28	32	32
32	32	32
33	32	33
33	64	33
40	64	40
64	64	64
64	32	64
65	64	32
256	64	32
256	256	32
33	128	32
33	256	32
END

# Whoever else defines the symbol knows 32 bytes alone.
for size in 32 64; do
	"${cc[@]}" -shared -fPIC -DAREA_SIZE=$size -DAREA_ALIGN=64 -o "$work/area.so" \
		"$source/area.c" || complain "cannot make a library with an area"
	under "interposed $size bytes" "length=32 origin=interposed $(expect_own 32 33)" \
		"-f 33 -a 64" env LD_PRELOAD="$work/area.so" "$worker" report
	expect_length "interposed $size bytes" 32
done
"${cc[@]}" -shared -fPIC -DAREA_SIZE=20 -DAREA_ALIGN=64 -o "$work/area.so" "$source/area.c" ||
	complain "cannot make a library with an area"
under "interposed 20 bytes" "length=32 origin=librseq area_size=64 $(expect_own 32 33)" \
	"-f 33 -a 64" env LD_PRELOAD="$work/area.so" "$worker" report
expect_length "interposed 20 bytes" 32

# A kernel that does not take the length after all: one step down, once for all threads.
for limit in 32 33 63; do
	under "lengths up to $limit" "before.length=64 length=32 $(expect_own 32 64)" \
		"-f 64 -a 64 -l $limit" "$worker" report
	expect_calls "lengths up to $limit" "register 64 $EINVAL
register 32 0"
	expect_once "lengths up to $limit" "register 64 $EINVAL"
done
under "filter for all but 32" "before.length=33 length=32 $(expect_own 32 33)" "-f 33 -a 64" \
	"$filter" $EINVAL:-32 "$worker" report

# No ladder for other answers.
while read -r error name reason; do
	under "later error $name" "register=$name reason=$reason length=33 threads_registered=0" \
		"-f 33 -a 64 -e all:$error" "$worker" report
	expect_length "later error $name" 33
done <<END
$ENOSYS	ENOSYS	no-syscall
$EPERM	EPERM	forbidden
$EFAULT	EFAULT	refused
END
under "nothing but EINVAL" "register=EBUSY owner=foreign length=33 threads_registered=0" \
	"-f 33 -a 64 -e all:$EINVAL" "$worker" report
expect_calls "nothing but EINVAL" "register 33 $EINVAL
register 32 $EINVAL"

# What may happen to threads, when they have the longer length.
for scenario in foreign exit-order fork vfork clone spawn exec; do
	under "$scenario" "" "-f 33 -a 64" "$worker" $scenario
done
under "late filter" "new.register=EPERM new.reason=forbidden old.unregister=EPERM" \
	"-f 33 -a 64" "$worker" late-filter $EPERM
# A neighbour came first with 32: the threads after it have the same.
under "shared" "shared.registered_length=32 shared.owner=shared shared.length=32
	thread_length=32 threads_registered=8" "-f 33 -a 64" "$worker" shared

# libc is refused, and nobody else: this library registers where libc could not.
if [ "$(fact libc_size)" != 0 ]; then
	try "libc refused" "$own" env "$libc_on" "$kernel" -e first:$EPERM "$worker" report
	try "libc refused, lengths" "length=33 $(expect_own 33 33)" \
		env "$libc_on" "$kernel" -e first:$ENOSYS -f 33 -a 64 "$worker" report
fi

# Releases with a known bug. The table is tested elsewhere; here it is what follows.
off="owner=none origin=none available=0 $(expect_none kernel-bug EOPNOTSUPP)"
release() { # release, version, words, variables
	for libc_does in "$libc_on" "$libc_off"; do
		try "release $1, $libc_does, ${*:4}" "$3" env -u LIBRSEQ_KERNEL_TRUSTED "${@:4}" \
			"$libc_does" "$kernel" -r "$1" -v "$2" -f 28 -a 32 "$worker" report
	done
}

release 5.4.0 "#1 SMP" "$off kernel_bugs=7"
release 5.4.0 "#1 SMP" "$off" LIBRSEQ_KERNEL_TRUSTED=
release 5.4.0 "#1 SMP" "$off" LIBRSEQ_KERNEL_TRUSTED=0
release 5.4.0 "#1 SMP" "register=0 threads_registered=8 kernel_bugs=7" LIBRSEQ_KERNEL_TRUSTED=1
release 5.4.100 "#1 SMP" "register=0 threads_registered=8 kernel_bugs=4 feature_size=28"
release 6.1.0-50-amd64 "#1 SMP Debian 6.1.150-1" "register=0 kernel_bugs=8 mm_cid=yes"
release 6.1.0-50-amd64 "#1 SMP Debian 6.1.170-1" "register=0 kernel_bugs=0 mm_cid=yes"
case ${host_cpu-x86_64} in
aarch64)
	release 7.0.13 "#1 SMP" "$off kernel_bugs=48" ;;
*)
	release 7.0.13 "#1 SMP" "register=0 kernel_bugs=32 mm_cid=no node_id=yes feature_size=24" ;;
esac
release 7.0.14 "#1 SMP" "register=0 kernel_bugs=32 mm_cid=no node_id=yes feature_size=24"
release 7.0.14 "#1 SMP" "register=0 kernel_bugs=32 mm_cid=yes feature_size=28" \
	LIBRSEQ_KERNEL_TRUSTED=1
release 7.1.3 "#1 SMP" "register=0 kernel_bugs=0 mm_cid=yes feature_size=28"

finish
