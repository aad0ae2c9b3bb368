#!/bin/bash
# SPDX-License-Identifier: MIT
# rseqctl info --pid tells how each thread of another process is registered, says why if it cannot,
# and leaves the process as it was.
# shellcheck disable=SC2154
set -u
# shellcheck source=/dev/null
. "${top_srcdir:?}/tests/tools/rseqctl.sh"

exec 3>&- 4>&-
target= # its process id

# Starts test-target, whose standard input is descriptor 3 of this script.
start() { # what it shows
	mkfifo "$work/$1.in"
	: >"$work/$1.out"
	"${emulator[@]}" "$here/test-target" "$1" <"$work/$1.in" >"$work/$1.out" &
	target=$!
	exec 3>"$work/$1.in"
	for ((i = 0; i < 2000; i++)); do
		grep -q ready "$work/$1.out" && return
		sleep 0.05
	done
	complain "$1: the target does not start"
	exit 1
}

end() { # what it showed
	exec 3>&-
	wait "$target" || complain "$1: the target ends with $?: $(cat "$work/$1.out")"
	rm "$work/$1.in"
}

# No thread may be stopped, or have a tracer.
expect_free() { # what it is about
	local found
	for ((i = 0; i < 100; i++)); do
		found=$(grep -hE '^(State:[[:space:]]*[tT]|TracerPid:[[:space:]]*[1-9])' \
			/proc/"$target"/task/*/status) || return 0
		sleep 0.02
	done
	complain "$1: left behind: $found"
}

check_threads() { # what it is about
	local tid area length signature number
	read_json "$1" info --json --pid "$target"
	expect "$1" "pid=$target"
	while read -r tid area length signature; do
		[ "$tid" = ready ] && break
		number=$(sed -n "s/^threads\.\([0-9]*\)\.tid=$tid\$/\1/p" <<<"$values")
		[ -n "$number" ] || {
			complain "$1: no thread $tid"
			continue
		}
		if [ "$area" = none ]; then
			expect "$1" "threads.$number.state=unregistered" "threads.$number.area=0" \
				"threads.$number.length=0" "threads.$number.signature=0" \
				"threads.$number.mode=none" "threads.$number.owner=none"
			continue
		fi
		expect "$1" "threads.$number.state=registered" "threads.$number.area=$area" \
			"threads.$number.length=$length" "threads.$number.flags=0" \
			"threads.$number.signature=$signature"
		[ "$length" = 32 ] && expect "$1" "threads.$number.mode=legacy"
		[ "$length" -gt 32 ] && expect "$1" "threads.$number.mode=v2"
	done <"$work/threads.out"
	[ "$(grep -c '\.tid=' <<<"$values")" = 6 ] || complain "$1: another number of threads"
	expect "$1" 'threads.5.comm=\"\u000a\\\u001b'$'\xef\xbf\xbd\xc3\xa4'
}

expect_owners() { # what it is about, owner of the threads that were registered for
	helper test-facts | grep -qxF libc.rseq_symbols=true || return
	for number in 0 1 2; do
		grep -qx "threads.$number.state=registered" <<<"$values" || continue
		expect "$1" "threads.$number.owner=$2"
	done
	for number in 3 4; do
		grep -qx "threads.$number.state=registered" <<<"$values" || continue
		expect "$1" "threads.$number.owner=other" "threads.$number.mapping=file"
	done
}

check_text() {
	local text
	text=$(info --pid "$target") || complain "text: exit status $?"
	[ "$(head -n 1 <<<"$text")" = "process $target: 6 threads" ] || complain "text: $text"
	[ "$(wc -l <<<"$text")" = 8 ] || complain "text: not a line for each thread: $text"
	LC_ALL=C grep -q '[^ -~]' <<<"$text" && complain "text: more than ASCII"
	expect_failure "full disk" 1 "standard output" full_disk --pid "$target"
}

full_disk() {
	info "$@" >/dev/full
}

check_refused() {
	local refuse=("$here/test-refuse" ptrace) seize=0x4206 configuration=0x420f
	"${refuse[@]}" 1 any true || {
		echo "seccomp does not work here: no tests with it"
		return
	}
	for error in 5 22; do
		expect_failure "errno $error" 1 "this kernel does not tell" \
			"${refuse[@]}" $error $configuration "$tool" info --pid "$target"
		expect_free "errno $error"
	done
	expect_failure "EPERM" 1 "no permission" "${refuse[@]}" 1 $seize "$tool" info --pid "$target"
	expect_failure "ENOSYS" 1 "Function not implemented" \
		"${refuse[@]}" 38 any "$tool" info --pid "$target"
}

check_absent() {
	local pid
	for ((pid = 4000000; ; pid--)); do
		[ -e /proc/$pid ] || break
	done
	expect_failure "no process" 1 "process $pid: no such process" info --pid $pid
	expect_failure "no process, JSON" 1 "process $pid: no such process" info --json --pid $pid
}

# Each signal that comes while a thread is stopped still arrives.
check_signals() {
	start signals
	for ((i = 0; i < 100; i++)); do
		info --pid "$target" >"$work/stdout" || complain "signals: exit status $?"
	done
	expect_free signals
	end signals
	tail -n 1 "$work/signals.out"
}

# A process that is stopped can be looked at, stays stopped, and goes on when it is told to.
check_stopped() {
	start threads
	kill -STOP "$target"
	check_threads stopped
	for ((i = 0; i < 100; i++)); do
		[ "$(cat /proc/"$target"/task/*/status | grep -c '^State:[[:space:]]*T')" = 6 ] &&
			break
		sleep 0.02
	done
	[ $i -lt 100 ] || complain "stopped: goes on"
	kill -CONT "$target"
	expect_free stopped
	end threads
}

# However the tool ends, the threads go on.
check_killed() {
	start threads
	for signal in INT TERM KILL; do
		for delay in 0.001 0.002 0.003 0.004 0.005; do
			(timeout -s $signal $delay "$tool" info --pid "$target"; true) \
				>/dev/null 2>&1
		done
		expect_free "killed by $signal"
	done
	end threads
}

# A thread that cannot stop is told apart; it is not stopped later, either.
check_silent() {
	start vfork
	"$tool" info --json --pid "$target" >"$work/json" 2>"$work/stderr"
	[ $? = 1 ] || complain "silent: another exit status"
	values=$(helper test-json <"$work/json")
	expect silent threads.0.state=silent threads.0.owner=unknown threads.0.mode=none
	[ "$(wc -l <"$work/stderr")" = 1 ] || complain "silent: $(cat "$work/stderr")"
	timeout -s INT 0.2 "$tool" info --pid "$target"
	[ $? = 124 ] || complain "silent: does not end when interrupted"
	end vfork
}

if [ -n "${emulator[*]}" ]; then
	check_absent
	expect_failure "emulator" 1 "Function not implemented" info --pid $$
	exit "$status"
fi

kernel_is_older() { # than this version
	[ "$(printf '%s\n' "$1" "$(uname -r)" | sort -V | head -n 1)" != "$1" ]
}

start threads
if kernel_is_older 5.13; then
	expect_failure "old kernel" 1 "this kernel does not tell" info --pid "$target"
	expect_free "old kernel"
	end threads
	check_absent
	exit "$status"
fi
if ! "$tool" info --pid "$target" >/dev/null 2>"$work/stderr" && [ "$(id -u)" != 0 ] &&
	grep -q 'no permission' "$work/stderr"; then
	echo "skipped: this user may not trace"
	exit 77
fi
check_threads threads
expect_free threads
expect_owners threads libc
check_text
check_refused
end threads

export GLIBC_TUNABLES=glibc.pthread.rseq=0
start threads
check_threads "libc off"
expect_free "libc off"
expect_owners "libc off" other
end threads
unset GLIBC_TUNABLES

check_absent
check_signals
check_stopped
check_killed
check_silent
exit "$status"
