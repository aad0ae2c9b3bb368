#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the programs whose critical sections have one mistake each. Each must be caught: by being
# aborted after every instruction, from outside or from inside, or by the static verifier.
set -u
programs=${top_builddir:-.}/tests/abort
rseqctl=${top_builddir:-.}/src/tools/rseqctl
number=12 survived=0 skipped=0 messages=()

# The message behind a label, or nothing if the mutant was not caught so.
message() { # label, output
	sed -n "s/^  $1: *//p" <<<"$2" | grep -v '^not caught'
}

mark() { # message
	[ -z "$1" ] && echo - || echo caught
}

# The first violation that the verifier prints, without the path of the program.
verify() { # program
	local output
	[ -x "$rseqctl" ] || return
	output=$("$rseqctl" verify "$1" 2>/dev/null)
	[ $? = 1 ] || return
	sed -n 's|^.*: error: *||p' <<<"$output" | head -n 1 | grep . || echo "exit status 1"
}

printf '%-61s %-8s %-10s %s\n' mutant ptrace in-process verify
for ((i = 1; i <= number; i++)); do
	program=$programs/mutant-$i
	# shellcheck disable=SC2086
	output=$(${RSEQ_EMULATOR:-} "$program" 2>&1)
	status=$?
	if [ $status = 77 ]; then
		skipped=$((skipped + 1))
		messages+=("$i: $(tail -n 1 <<<"$output")")
		continue
	fi
	name=$(sed -n "s/^mutant $i: //p" <<<"$output")
	ptrace=$(message ptrace "$output")
	inside=$(message in-process "$output")
	static=$(verify "$program")
	printf '%2d %-58s %-8s %-10s %s\n' $i "${name:-exit status $status}" \
		"$(mark "$ptrace")" "$(mark "$inside")" "$(mark "$static")"
	if [ -n "$ptrace" ]; then
		messages+=("$i, ptrace: $ptrace")
	elif [ -n "$inside" ]; then
		messages+=("$i, in-process: $inside")
	elif [ -n "$static" ]; then
		messages+=("$i, verify: $static")
	else
		messages+=("$i SURVIVED, exit status $status:" "$output")
		survived=$((survived + 1))
	fi
done
printf '\n'
printf '%s\n' "${messages[@]}"
if [ $skipped = $number ]; then
	echo "skipped: $(tail -n 1 <<<"$output")"
	exit 77
fi
[ $skipped = 0 ] && [ $survived = 0 ]
