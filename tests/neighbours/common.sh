# SPDX-License-Identifier: MIT
# What the scripts share: what they need of tests/negotiate, the programs and modules here, and what
# is told of a thread, as OWNER/REASON/LENGTH. To be sourced.
# shellcheck shell=bash disable=SC2034,SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

programs=$top_builddir/tests/neighbours
source=$top_srcdir/tests/neighbours
modules=$programs/.libs
[ -d "$modules" ] || modules=$programs

# Circumstances in which this library registers: on this kernel, and on one with the longer length.
fake=("$kernel" -f 33 -a 64)
own_length=$(own_length "$(fact kernel_feature_size)" "$(fact kernel_align)")

unknown=none/not-registered/0
disabled=none/disabled/0
foreign=foreign/foreign/0
shared=shared/none/32
own=librseq/none/$own_length
libc_length=$(fact libc_size)
[ "$libc_length" -ge 32 ] || libc_length=32
libc=libc/none/$libc_length

# Whether there is a case for libc to be on.
libc_registers() {
	[ "$(fact libc_size)" != 0 ]
}
