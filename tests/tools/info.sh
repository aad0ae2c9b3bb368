#!/bin/bash
# SPDX-License-Identifier: MIT
# rseqctl info tells what is so: compared with what test-facts finds out by itself, under changed
# circumstances.
# shellcheck disable=SC2154
set -u
# shellcheck source=/dev/null
. "${top_srcdir:?}/tests/tools/rseqctl.sh"

libc_off=(env GLIBC_TUNABLES=glibc.pthread.rseq=0)

compare_with_facts() { # what it is about
	local facts fact
	facts=$(helper test-facts) || complain "$1: test-facts fails"
	while read -r fact; do
		expect "$1" "$fact"
	done <<<"$facts"
}

# Whether rseq works for this test at all, when libc does not register.
kernel_has_rseq() {
	[ -z "${emulator[*]}" ] && "${libc_off[@]}" "$tool" info --json |
		helper test-json | grep -qxF thread.reason=none
}

check_default() {
	read_json default info --json
	expect default "version=${RSEQ_VERSION:?}" "kernel.release=$(uname -r)" \
		thread.register_tried=true environment.librseq_disable=false \
		environment.librseq_kernel_trusted=false
	compare_with_facts default
	expect default "cpus.online_list=$(cat /sys/devices/system/cpu/online)" \
		"cpus.possible_list=$(cat /sys/devices/system/cpu/possible)"
	grep -q '^cpus.max_nr_cpus=[1-9]' <<<"$values" || complain "no CPUs: $values"
}

check_text() {
	local text
	text=$(info) || complain "text: exit status $?"
	[ "$(wc -l <<<"$text")" -le 50 ] || complain "text: more than a screen"
	grep -nE '.{101}|	|[[:blank:]]$' <<<"$text" && complain "text: badly laid out"
	grep -q "^  release  *$(uname -r) " <<<"$text" || complain "text: $text"
	for group in "this thread" area libc kernel machine environment; do
		grep -qx "$group" <<<"$text" || complain "text: no group '$group'"
	done
}

check_libc_off() {
	read_json "libc off" "${libc_off[@]}" "$tool" info --json
	expect "libc off" thread.owner=librseq thread.reason=none thread.register_errno=0 \
		area.origin=librseq area.size=64 libc.rseq_size=0
	grep -qxE 'thread.registered_length=(32|[3-6][0-9])' <<<"$values" ||
		complain "libc off: another length: $values"

	read_json "not registered" "${libc_off[@]}" "$tool" info --json --no-register
	expect "not registered" thread.owner=none thread.reason=not_registered thread.mode=none \
		thread.register_tried=false thread.register_errno=0 thread.registered_length=0 \
		thread.feature_size=0 thread.fields=[]
}

check_disabled() {
	LIBRSEQ_DISABLE=1 read_json disabled info --json
	expect disabled thread.owner=none thread.reason=disabled thread.register_errno=95 \
		"thread.register_error=Operation not supported" thread.fields=[] \
		area.origin=none area.module=null area.length=0 environment.librseq_disable=true
}

check_refused() {
	local refuse=("$here/test-refuse" rseq)
	"${refuse[@]}" 38 any true || {
		echo "seccomp does not work here: no tests with it"
		return
	}
	read_json ENOSYS "${refuse[@]}" 38 any "$tool" info --json
	expect ENOSYS thread.owner=none thread.reason=no_syscall thread.register_errno=38 \
		thread.registered_length=0 area.origin=librseq libc.rseq_size=0
	read_json EPERM "${refuse[@]}" 1 any "$tool" info --json
	expect EPERM thread.owner=none thread.reason=forbidden thread.register_errno=1
	read_json "no membarrier" "$here/test-refuse" membarrier 38 any "$tool" info --json
	expect "no membarrier" membarrier.query=[] membarrier.query_errno=38 membarrier.rseq=false \
		membarrier.rseq_errno=38 membarrier.rseq_one_cpu=false
}

# Rules of the bug table, under a kernel release that is not the real one.
check_kernel_bugs() {
	local preload=(env LD_PRELOAD="$work/release.so")
	cat >"$work/release.c" <<-END
		#include <string.h>
		#include <sys/utsname.h>
		int uname(struct utsname *name)
		{
			memset(name, 0, sizeof(*name));
			strcpy(name->release, "5.5.6");
			return 0;
		}
	END
	if [ "$tool" = "${tool%/.libs/*}" ]; then
		echo "the tool is linked statically: no tests with another kernel release"
		return
	fi
	read -ra cc <<<"${CC:-cc}"
	if ! command -v "${cc[0]}" >/dev/null; then
		echo "no compiler here: no tests with another kernel release"
		return
	fi
	if ! "${cc[@]}" -shared -fPIC -o "$work/release.so" "$work/release.c"; then
		complain "kernel bugs: ${cc[*]} makes no shared object"
		return
	fi
	read_json "kernel bugs" "${preload[@]}" "$tool" info --json
	expect "kernel bugs" kernel.release=5.5.6 kernel.bug_version=5.5.6 thread.reason=kernel_bug \
		thread.register_errno=95 kernel.bugs.0.id=stale_cpu_id \
		kernel.bugs.0.effect=refused kernel.bugs.1.id=kvm kernel.bugs.1.effect=told
	LIBRSEQ_KERNEL_TRUSTED=1 read_json trusted "${preload[@]}" "$tool" info --json
	expect trusted kernel.bugs.0.id=stale_cpu_id kernel.bugs.0.effect=none \
		environment.librseq_kernel_trusted=true
	grep -qx thread.reason=kernel_bug <<<"$values" && complain "trusted: refused nevertheless"
	"${preload[@]}" "$tool" info | grep -qx '  known bug  *stale_cpu_id' ||
		complain "kernel bugs: not in the text"
}

check_usage() {
	expect_failure "unknown option" 2 "'--bogus'" info --bogus
	expect_failure "unknown letter" 2 "'-x'" info -x
	expect_failure "value" 2 "'--json=1'" info --json=1
	expect_failure "extra argument" 2 "'extra'" info --json extra
	expect_failure "no process" 2 "process id" info --pid
	for pid in 0 -1 x 1x '' ' 1' 99999999999999999999; do
		expect_failure "process '$pid'" 2 "'$pid'" info --pid "$pid"
	done
	expect_failure "both" 2 "--no-register" info --no-register --pid 1
	info --help | grep -q '^usage: rseqctl info' || complain "no help"
}

full_disk() {
	info "$@" >/dev/full
}

no_stdout() {
	info "$@" >&-
}

check_default
check_text
! kernel_has_rseq || check_libc_off
check_disabled
if [ -z "${emulator[*]}" ]; then
	check_refused
	check_kernel_bugs
fi
check_usage
expect_failure "full disk" 1 "standard output" full_disk
expect_failure "full disk, JSON" 1 "standard output" full_disk --json
expect_failure "no output" 1 "standard output" no_stdout
command -v python3 >/dev/null || echo "without python3: JSON is read by test-json alone"
exit "$status"
