#!/bin/bash
# SPDX-License-Identifier: MIT
# Every feature size, alignment and answer that a kernel, or a filter before it, may have for libc,
# for this library, or for both: each program ends in the state that is documented for it.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

declare -A number=([ENOSYS]=38 [EPERM]=1 [EBUSY]=16)
export WORKER_ADDS=200

# The length that libc registers, by the kernel's feature size; 0 if it registers nobody.
libc_length() { # feature size
	case $libc_kind in
	none) echo 0 ;;
	fixed) echo 32 ;;
	kernel) echo $(($1 > 32 ? $1 : 32)) ;;
	esac
}

# What libc's attempt, or this library's, comes to: a length, or a word for an error.
outcome() { # length, answer
	case $2 in
	none) echo "$1" ;;
	up-to-*) [ "$1" -le "${2#up-to-}" ] && echo "$1" || echo EINVAL ;;
	*) echo "$2" ;;
	esac
}

# What the worker must report.
expected() { # feature size, alignment, answer to libc, answer to this library
	local length size=$1
	length=$(outcome "$(libc_length "$size")" "$3")
	if [[ $length == [1-9]* ]]; then
		echo before.owner=libc available=1 register=0 owner=libc origin=libc unregister=0 \
			threads_registered=8 thread_length="$length" after.owner=libc
		registered "$length" "$size"
		return
	fi
	length=$(outcome "$(own_length "$size" "$2")" "$4")
	[ "$length" != EINVAL ] || length=32
	case $length in
	ENOSYS) echo available=0 owner=none "$(expect_none no-syscall ENOSYS)" ;;
	EPERM) echo available=0 owner=none "$(expect_none forbidden EPERM)" ;;
	EBUSY) echo available=0 owner=none "$(expect_none refused EBUSY)" ;;
	*) echo "origin=librseq length=$length $(expect_own "$length" "$size")" ;;
	esac
}

combination() { # what libc does, feature size, alignment, for whom, answer
	local size=$2 align=$3 to_libc=none to_own=none option=() fake
	case $4 in
	first | all) to_libc=$5 ;;
	esac
	case $4 in
	later | all) to_own=$5 ;;
	esac
	case $5 in
	none) ;;
	up-to-*) option=(-l "$4:${5#up-to-}") ;;
	*) option=(-e "$4:${number[$5]}") ;;
	esac
	fake=("$kernel" -f "$size" -a "$align" "${option[@]}")
	[ "$size" != none ] || size=0
	[ "$align" != none ] || align=0
	try "$1, ${fake[*]:1}" "$(expected "$size" "$align" "$to_libc" "$to_own")" \
		env "$1" "${fake[@]}" "$worker" report
}

matrix() { # what libc does, whom answers are for
	local who answer size align
	for size in none 20 28 33 40 64 256; do
		for align in none 32 64 256; do
			[ $align != none ] || [ $size = none ] || continue
			combination "$1" $size $align all none
			for who in "${@:2}"; do
				for answer in ENOSYS EPERM EBUSY up-to-32 up-to-40; do
					combination "$1" $size $align "$who" $answer
				done
			done
		done
	done
}

size=$(env "$libc_on" "$kernel" -f 33 -a 64 "$worker" facts | sed -n 's/^libc_size=//p')
case $size in
'') skip "no program runs under the fake kernel" ;;
0) libc_kind=none ;;
20 | 32) libc_kind=fixed ;;
*) libc_kind=kernel ;;
esac
echo "libc's registration: $libc_kind"
[ "$libc_kind" = none ] || matrix "$libc_on" first later all
libc_kind=none
matrix "$libc_off" all

finish
