# SPDX-License-Identifier: MIT
# For the tests of rseqctl, which read this file first: the tool, and what to expect of it.
# shellcheck shell=bash disable=SC2034,SC2154

# The tool itself, not the script that stands in for it until it is installed.
tool=${top_builddir:?}/src/tools/.libs/rseqctl
[ -x "$tool" ] || tool=$top_builddir/src/tools/rseqctl
export LD_LIBRARY_PATH=${RSEQ_LIBDIR:?}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
read -ra emulator <<<"${RSEQ_EMULATOR-}"
here=$top_builddir/tests/tools
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
status=0

unset LIBRSEQ_DISABLE LIBRSEQ_KERNEL_TRUSTED GLIBC_TUNABLES

complain() {
	echo "failed: $*"
	status=1
}

info() { # arguments of `rseqctl info`
	"${emulator[@]}" "$tool" info "$@"
}

helper() { # one of the programs beside this file, arguments
	"${emulator[@]}" "$here/$1" "${@:2}"
}

# Reads the JSON of a command into values: "path=value" lines.
read_json() { # what it is about, command
	local json
	json=$("${@:2}" 2>"$work/stderr") || complain "$1: exit status $?: $(cat "$work/stderr")"
	values=$(helper test-json <<<"$json") || complain "$1: no JSON: $json"
	[ ! -s "$work/stderr" ] || complain "$1: on standard error: $(cat "$work/stderr")"
	command -v python3 >/dev/null || return 0
	python3 -c 'import json, sys; json.load(sys.stdin)' <<<"$json" ||
		complain "$1: python3 does not read $json"
}

expect() { # what it is about, "path=value"...
	local line
	for line in "${@:2}"; do
		grep -qxF -- "$line" <<<"$values" && continue
		complain "$1: expected $line, got $(grep -F -- "${line%%=*}=" <<<"$values")"
	done
}

# A command that fails says so in one line, and nothing else.
expect_failure() { # what it is about, exit status, pattern, command
	local got=0
	"${@:4}" >"$work/stdout" 2>"$work/stderr" || got=$?
	[ "$got" = "$2" ] || complain "$1: exit status $got, not $2"
	[ ! -s "$work/stdout" ] || complain "$1: on standard output: $(cat "$work/stdout")"
	[ "$(wc -l <"$work/stderr")" = 1 ] || complain "$1: more or less than one line"
	grep -q -- "$3" "$work/stderr" || complain "$1: no '$3' in: $(cat "$work/stderr")"
}
