#!/bin/bash
# SPDX-License-Identifier: MIT
# rseqctl verify from outside: exit status, files of other kinds, archives, JSON.
# Compilers may be of several words, so that they are not quoted.
# shellcheck source=/dev/null disable=SC2086,SC2154
. "${top_srcdir:-$(dirname "$0")/../..}/tests/verify/common.sh"

mapfile -t compilers < <(compilers_for x86_64; compilers_for aarch64)
compiler=${compilers[0]-}
if [ -z "$compiler" ]; then
	echo "skipped: no compiler"
	exit 77
fi

assemble() { # output, -D...
	$compiler -c "${@:2}" "$sources/mutant.S" -o "$1" || fail "$compiler ${*:2}"
}

cd "$work" || exit 1
assemble good.o
assemble bad.o -DFLAGS=1
echo 'int unrelated;' >plain.c
$compiler -c plain.c -o plain.o || fail "$compiler plain.c"
printf 'no object' >text.o
: >empty.o
head -c 100 good.o >short.o

label='no file'
expect 2 'usage: rseqctl verify'
label='an unknown option'
expect 2 'usage: rseqctl verify' --no-such-option good.o
label='an unknown profile'
expect 2 "no profile 'lax'" --profile=lax good.o
label='a sound file'
expect 0 'good.o: pop+0x' good.o
expect 0 'instructions, commit +0x' good.o
label='a broken file'
expect 1 '2 sections, 1 violation' bad.o
expect 1 'good.o: ' bad.o good.o
label='no sections'
expect 0 '0 sections, 0 violations: it has no __rseq_cs' plain.o
label='a file that is not there'
expect 2 'cannot verify: No such file or directory' missing.o
label='other files'
expect 2 'text.o: cannot verify: not an ELF file' text.o
expect 2 'empty.o: cannot verify: ' empty.o
expect 2 'short.o: cannot verify: ' short.o
expect 2 'cannot verify: ' .
label='an unreadable file among others'
expect 2 'good.o: pop+0x' text.o bad.o good.o

label='another architecture'
cp good.o other.o
printf '\x08\x00' | dd of=other.o bs=1 seek=18 conv=notrunc 2>/dev/null
expect 2 'neither x86-64 nor little-endian aarch64' other.o

label='no section headers'
cp good.o bare.o
printf '\0\0\0\0\0\0\0\0' | dd of=bare.o bs=1 seek=40 conv=notrunc 2>/dev/null
printf '\0\0\0\0' | dd of=bare.o bs=1 seek=60 conv=notrunc 2>/dev/null
expect 2 'no section headers: critical sections cannot be found' bare.o

label='debug information alone'
objcopy=$($compiler -print-prog-name=objcopy)
if "$objcopy" --only-keep-debug good.o split.o 2>errors; then
	expect 2 'split.o: cannot verify: debug information without the program' split.o
else
	echo "left out: $label: $(head -n 1 errors)"
fi

label='an archive'
"${AR:-ar}" rc all.a good.o bad.o plain.o || fail 'ar'
expect 1 'all.a(bad.o): ' all.a
expect 1 'all.a(good.o): pop+0x' all.a
# A header of which the magic number is gone hides the members from there on.
"${AR:-ar}" rcS two.a good.o bad.o || fail 'ar'
expect 1 'two.a(bad.o): ' two.a
second=$(grep -abo '^bad\.o/' two.a | tail -n 1 | cut -d : -f 1)
cp two.a damaged.a
printf 'XX' | dd of=damaged.a bs=1 seek=$((second + 58)) conv=notrunc 2>/dev/null
expect 2 'damaged.a: cannot verify: damaged archive' damaged.a
head -c $((second + 30)) two.a >cut.a
expect 2 'cut.a: cannot verify: damaged archive' cut.a

label='a pipe that nobody writes to'
mkfifo pipe
expect 2 'pipe: cannot verify: not an ELF file' pipe

label='code for link-time optimisation'
if $compiler -flto -c plain.c -o lto.o 2>/dev/null && grep -qa gnu.lto lto.o; then
	expect 0 '0 sections, 0 violations: it holds code for link-time optimisation' lto.o
fi

label='output that nobody takes'
if [ -e /dev/full ]; then
	checked=$((checked + 1))
	"${emulator[@]}" "$rseqctl" verify good.o >/dev/full 2>errors
	status=$?
	if [ $status -ne 2 ] || ! grep -q 'standard output' errors; then
		fail "$label: status $status: $(cat errors)"
	fi
fi

label='source lines'
printf '#include <rseq/counter.h>\nvoid f(struct rseq_counter *c);\n%s\n' \
	'void f(struct rseq_counter *c) { rseq_counter_inc(c); }' >lines.c
if $compiler -g -O1 -I"$includes" -c lines.c -o lines.o; then
	expect 0 'f+0x' --profile=strict lines.o
	grep -q 'counter.h:[0-9]*: ' output || echo "no source lines: built without libdw?"
fi

# check_json STATUS EXPRESSION FILE...: EXPRESSION holds for the decoded output d.
check_json() {
	local status=$1 expression=$2 result
	shift 2
	checked=$((checked + 1))
	"${emulator[@]}" "$rseqctl" verify --json "$@" >output 2>errors
	result=$?
	if [ $result -ne "$status" ] || [ -s errors ] ||
			! python3 -c "import json, sys
d = json.load(sys.stdin)
sys.exit(not ($expression))" <output; then
		fail "$label: status $result, or not $expression: $(head -c 2000 output)"
	fi
}

label='JSON'
if command -v python3 >/dev/null; then
	check_json 0 'd["sections"] == 2 and d["violations"] == 0 and d["unreadable"] == 0' good.o
	check_json 0 '[s["verdict"] for s in d["files"][0]["sections"]] == ["ok", "ok"]' good.o
	check_json 1 'd["files"][0]["sections"][0]["findings"][0]["check"] == "bad-flags"' bad.o
	check_json 2 '"error" in d["files"][1] and len(d["files"]) == 3' good.o text.o bad.o
	check_json 0 'd["files"][0]["sections"] == [] and "note" in d["files"][0]' plain.o
	cp good.o "$(printf 'a"\\\n\303\251\377.o')"
	check_json 0 'len(d["files"]) == 1' "$(printf 'a"\\\n\303\251\377.o')"
else
	echo "the JSON is not read: no python3"
fi
cd / || exit 1
finish
