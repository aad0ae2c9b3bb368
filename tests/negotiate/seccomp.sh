#!/bin/bash
# SPDX-License-Identifier: MIT
# Sandboxes: filters that answer the system call with an error, from the start or from a moment on
# when threads are registered.
# shellcheck disable=SC2154 source=/dev/null
. "${top_srcdir:?}/tests/negotiate/common.sh" || exit 1

EPERM=1 EACCES=13 EFAULT=14 EBUSY=16 EINVAL=22 ENOSYS=38

# libc's attempt fails as this library's does.
refused() { # number of the error, words, reason before
	for libc_does in "$libc_on" "$libc_off"; do
		try "filter answers $1, $libc_does" "before.reason=${3:-not-registered} $2" \
			env "$libc_does" "$filter" "$1" "$worker" report
	done
}

refused $ENOSYS "available=0 owner=none $(expect_none no-syscall ENOSYS)"
refused $EPERM "available=0 owner=none $(expect_none forbidden EPERM)"
refused $EACCES "available=0 owner=none $(expect_none forbidden EACCES)"
refused $EFAULT "available=0 owner=none $(expect_none refused EFAULT)"
refused $EBUSY "available=0 owner=none $(expect_none refused EBUSY)"
# The kernel's own answer where another area is registered.
refused $EINVAL "owner=foreign $(expect_none foreign EBUSY)" foreign

# It says that all is well, and nothing was done. libc itself is not tried: it believes that, and its
# areas begin with zeros on some architectures, like those of threads on CPU 0.
try "filter answers 0" "before.reason=not-registered available=0 owner=none \
$(expect_none no-syscall ENOSYS)" env "$libc_off" "$filter" 0 "$worker" report

# A filter for the lengths that nobody registers here changes nothing.
length=$(own_length "$(fact kernel_feature_size)" "$(fact kernel_align)")
try "filter for length 48" "$own" env "$libc_off" "$filter" $EINVAL:48 "$worker" report
try "filter for all but length $length" "$own" \
	env "$libc_off" "$filter" $EINVAL:-"$length" "$worker" report

# It comes when threads are registered: these go on, and new ones do without.
late() { # number of the error, its name, reason
	try "late filter answers $2" \
		"new.register=$2 new.reason=$3 new.registered_length=0 old.unregister=$2" \
		env "$libc_off" "$worker" late-filter "$1"
}

late $ENOSYS ENOSYS no-syscall
late $EPERM EPERM forbidden
late $EACCES EACCES forbidden
late $EFAULT EFAULT refused
try "late filter answers EINVAL" \
	"new.register=EBUSY new.reason=foreign new.owner=foreign old.unregister=EINVAL" \
	env "$libc_off" "$worker" late-filter $EINVAL

# libc ends a process in which it cannot register a new thread, so that there are none.
for error in $ENOSYS $EPERM; do
	try "late filter answers $error, libc registers" "old.unregister!=EINVAL" \
		env "$libc_on" "$worker" late-filter "$error"
done

finish
