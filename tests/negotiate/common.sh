# SPDX-License-Identifier: MIT
# What the scripts share: running a scenario in some circumstance, comparing what it prints, and
# what to expect of this machine. To be sourced.
# shellcheck shell=bash disable=SC2034
set -u

programs=${top_builddir:?}/tests/negotiate
source=${top_srcdir:?}/tests/negotiate
worker=${other_worker-$programs/negotiate-worker}
filter=$programs/rseq-filter
kernel=$programs/fake-kernel

skip() { # reason
	echo "skipped: $*"
	exit 77
}

[ -z "${RSEQ_EMULATOR-}" ] || skip "the circumstances are real ones, and this is emulated"

need_shared_library() {
	[ -e "${RSEQ_LIBDIR:?}/librseq.so" ] || skip "configured without a shared library"
}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
tries=0 failures=0 skips=0
seconds=120			# for one command

# Kernels with a known bug are what the tests of the bug table are for; here rseq is to be used.
export LIBRSEQ_KERNEL_TRUSTED=1
export LD_LIBRARY_PATH=$RSEQ_LIBDIR${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
unset LIBRSEQ_DISABLE LD_PRELOAD

libc_on=GLIBC_TUNABLES=glibc.pthread.rseq=1
libc_off=GLIBC_TUNABLES=glibc.pthread.rseq=0

complain() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

# Runs a command; its output is left in $work/output. A command that says it cannot run here
# (exit status 77) is skipped, and the script in the end.
run() { # what, command
	local status=0
	tries=$((tries + 1))
	timeout -k 5 "$seconds" "${@:2}" >"$work/output" 2>"$work/errors" </dev/null || status=$?
	case $status in
	0)
		return 0 ;;
	77)
		echo "$1: $(cat "$work/output")"
		skips=$((skips + 1))
		return 1 ;;
	esac
	complain "$1: exit status $status: ${*:2}"
	tail -n 80 "$work/output" "$work/errors"
	return 1
}

# Runs a command and compares what it prints with key=value words; key!=value must not be there.
try() { # what, words, command
	local word output different=
	run "$1" "${@:3}" || return
	output=$'\n'$(<"$work/output")$'\n'
	for word in $2; do
		case $word in
		*!=*)
			[[ $output != *$'\n'"${word/!=/=}"$'\n'* ]] || different="$different $word" ;;
		*)
			[[ $output == *$'\n'"$word"$'\n'* ]] || different="$different $word" ;;
		esac
	done
	[ -n "$different" ] || return 0
	complain "$1: not so:$different: ${*:3}"
	cat "$work/output" "$work/errors"
}

finish() {
	echo "$tries tries, $failures failures, $skips skipped"
	[ "$tries" -gt 0 ] && [ "$failures" = 0 ] || exit 1
	[ "$skips" = 0 ] || exit 77
	exit 0
}

fact() { # name
	sed -n "s/^$1=//p" "$work/facts"
}

# What a thread has that is registered with a length, on a kernel with this feature size. A kernel
# without one keeps the first 20 bytes.
registered() { # length, kernel's feature size
	local length=$1 size=$2 mode=legacy
	[ "$size" -ge 20 ] || size=20
	[ "$size" -le "$length" ] || size=$length
	[ "$length" -le 32 ] || mode=v2
	echo "reason=none mode=$mode registered_length=$length feature_size=$size"
	if [ "$size" -ge 24 ]; then echo node_id=yes; else echo node_id=no; fi
	if [ "$size" -ge 28 ]; then echo mm_cid=yes; else echo mm_cid=no; fi
}

# What this library chooses for its own area, by the kernel's feature size and alignment.
own_length() { # feature size, alignment
	if [ "$1" -gt 32 ] && [ "$1" -le 64 ] && [ "$2" -gt 0 ] && [ "$2" -le 64 ]; then
		echo "$1"
	else
		echo 32
	fi
}

# What the worker reports where this library registers its own area...
expect_own() { # length, kernel's feature size
	echo before.owner=none before.reason=not-registered before.cpu=-1 before.rseq_size=0 \
		available=1 register=0 owner=librseq threads_registered=8 thread_length="$1" \
		unregister=0 unregister_again=EINVAL after.owner=none
	registered "$1" "$2"
}

# ... where libc does, ...
expect_libc() {
	local size length
	size=$(fact libc_size)
	length=$((size < 32 ? 32 : size))
	case $size in
	20 | 32) size=$(fact kernel_feature_size) ;;
	esac
	echo before.owner=libc available=1 register=0 owner=libc origin=libc \
		threads_registered=8 unregister=0 unregister_again=0 after.owner=libc
	registered "$length" "$size"
}

# ... and where rseq is not to be had.
expect_none() { # reason, errno of register
	echo register="$2" reason="$1" mode=none registered_length=0 feature_size=0 node_id=no \
		mm_cid=no threads_registered=0 thread_length=0 unregister=EINVAL \
		unregister_again=EINVAL
}

# What programs are linked with: as CC would have it, or as if they had been started on a system with
# another glibc, whose files are in a directory.
read -ra cc <<<"${CC:-cc} ${CFLAGS-}"
link_flags=()
if [ -n "${other_libc-}" ]; then
	link_flags=("-Wl,--disable-new-dtags" "-Wl,-rpath,$other_libc"
		"-Wl,--dynamic-linker,$(echo "$other_libc"/ld-linux-*.so.*)")
	worker=$work/worker
	"${cc[@]}" -pthread -o "$worker" "$programs/libworker.a" -L"$RSEQ_LIBDIR" -lrseq \
		"${link_flags[@]}" || exit 1
fi

timeout 60 env "$libc_on" "$worker" facts >"$work/facts" || {
	echo "$worker does not run"
	exit 1
}
[ "$(fact kernel)" = 1 ] || skip "this kernel, or what stands in for it, has no rseq"

own=$(expect_own "$(own_length "$(fact kernel_feature_size)" "$(fact kernel_align)")" \
	"$(fact kernel_feature_size)")
own="$own origin=librseq area_size=64 area_align=64 other_definitions=0"
if [ "$(fact libc_size)" != 0 ]; then
	libc=$(expect_libc)
else
	libc=$own
fi
