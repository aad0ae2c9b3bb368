#!/bin/bash
# SPDX-License-Identifier: MIT
# cpuset.sh CPUS PROGRAM [ARGUMENT]...: runs a program that may use some CPUs only. With more than
# one list of CPUs, separated by colons, these take turns while it runs.
set -u
root=/sys/fs/cgroup set=/sys/fs/cgroup/set turns=0
IFS=: read -ra lists <<<"$1"

allow() { # list
	echo "$1" >$set/cpuset.cpus && [ "$(cat $set/cpuset.cpus.effective)" = "$1" ] && return
	echo "the set cannot be $1"
	exit 1
}

[ -e $root/cgroup.procs ] || mount -t cgroup2 cgroup2 $root || exit 1
echo +cpuset >$root/cgroup.subtree_control || exit 1
mkdir -p $set
allow "${lists[0]}"
(
	echo "$BASHPID" >$set/cgroup.procs || exit 1
	exec "${@:2}"
) &
program=$!
while [ ${#lists[@]} -gt 1 ] && kill -0 $program 2>/dev/null; do
	turns=$((turns + 1))
	allow "${lists[turns % ${#lists[@]}]}"
	sleep 0.2
done
wait $program
status=$?
[ ${#lists[@]} = 1 ] || echo "the set changed $turns times"
[ ${#lists[@]} = 1 ] || [ $turns -ge 3 ] || exit 1
exit $status
