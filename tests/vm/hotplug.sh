#!/bin/bash
# SPDX-License-Identifier: MIT
# hotplug.sh CPU PROGRAM [ARGUMENT]...: runs a program while a CPU goes offline and comes back.
set -u
file=/sys/devices/system/cpu/cpu$1/online turns=0

switch() { # 0 or 1
	echo "$1" >"$file" && [ "$(cat "$file")" = "$1" ] && return
	echo "CPU cannot be switched to $1"
	kill "$program"
	exit 1
}

"${@:2}" &
program=$!
while kill -0 $program 2>/dev/null; do
	switch 0
	sleep 0.2
	switch 1
	sleep 0.2
	turns=$((turns + 1))
done
wait $program
status=$?
echo "CPU $1 was offline $turns times"
[ $turns -ge 3 ] || exit 1
exit $status
