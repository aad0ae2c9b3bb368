#!/bin/bash
# SPDX-License-Identifier: MIT
# The runner of virtual machines fails for all that can go wrong in one, and for nothing else. The
# virtual machines of this test are a script that prints what a console would show.
set -u
runner=${top_srcdir:?}/tests/vm
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
status=0

# A tree with the runner, a build tree, a cache with one kernel, and programs that find nothing.
mkdir -p "$work"/{bin,build/x86_64,logs} "$work/tree/tests/vm" \
	"$work/cache/librseq-vm/kernels/x86_64-6.1.0" "$work/cache/librseq-vm/apt/suite-x86_64"
touch "$work/cache/librseq-vm/apt/suite-x86_64/"{conf,updated}
cp "$runner"/{run,packages.sh,image.sh,compare-info.py,table.py} "$work/tree/tests/vm/"
echo kernel >"$work/cache/librseq-vm/kernels/x86_64-6.1.0/vmlinuz"
for program in apt-get apt-cache cpio make readelf; do
	printf '#!/bin/sh\n[ -t 0 ] || cat >/dev/null\n' >"$work/bin/$program"
done
cat >"$work/bin/qemu-system-x86_64" <<'END'
#!/bin/sh
echo boot >>"$WORK/boots"
cat "$WORK/console"
END
for program in busybox bash; do
	cp "$work/bin/make" "$work/cache/librseq-vm/$program-x86_64"
	cp "$work/bin/make" "$work/cache/librseq-vm/$program-static-x86_64"
done
chmod +x "$work"/bin/* "$work"/cache/librseq-vm/*-x86_64
echo init >"$work/tree/tests/vm/init"
echo "CC = ${CC:-cc}" >"$work/build/x86_64/Makefile"
echo one >"$work/tree/tests/one"
cat >"$work/tree/tests/vm/cells" <<'END'
here	x86_64	suite	6.1.*	build	works	ci
gone	x86_64	suite	9.9.*	build	works	gone
END
cat >"$work/tree/tests/vm/programs" <<'END'
one	10	*	pass	tests/one
two	10	*	skip	A=b tests/one two
three	10	*	fail	tests/one three
info	10	*	pass	tests/one --json
later	10	long	pass	tests/one
END
printf '%s\n' 'TEST CELL a.b c' 'info here yes x,y' >"$work/tree/tests/vm/expected-info"

good='@@UP 6.1.0 #1
@@BEGIN one
68 sections, 7 aborts, 0 violations
@@END one 0 3
@@BEGIN two
no reason
a reason
@@END two 77 1
@@BEGIN three
@@END three 1 1
@@BEGIN info
{ "a": { "b": "yes" }, "c": [ "x", { "id": "y" } ] }
@@END info 0 1
@@DONE'

# Runs it on a console's output, which a command for sed has changed. What is printed must match,
# line by line, some of what is expected.
try() { # what, expected exit status, command for sed, arguments of the runner, -- expected lines
	local result arguments=() expected
	sed -e "$3" <<<"$good" >"$work/console"
	rm -f "$work/boots"
	for ((i = 4; i <= $#; i++)); do
		[ "${!i}" != -- ] || break
		arguments+=("${!i}")
	done
	WORK=$work XDG_CACHE_HOME=$work/cache PATH=$work/bin:$PATH "$work/tree/tests/vm/run" \
		-b "x86_64=$work/build/x86_64" -l "$work/logs" "${arguments[@]}" \
		>"$work/output" 2>&1 </dev/null
	result=$?
	[ "$result" = "$2" ] || complain "$1: exit status $result, not $2"
	for expected in "${@:i + 1}"; do
		grep -qE "^$expected\$" "$work/output" || complain "$1: does not say '$expected'"
	done
}

complain() {
	echo "FAILED: $1"
	sed 's/^/	/' "$work/output"
	status=1
}

try "all is well" 0 '' -- 'PASS: here/one \(3 s\)' 'SKIP: here/two \(a reason\)' \
	'PASS: here/three \(1 s, fails as expected\)' 'PASS: here/info \(1 s\)' \
	'here +6\.1\.0 .* 3 +0 +1 +7 +[0-9]+' '1 of 1 cells ran, .*' '# PASS: 3' '# SKIP: 1' '# FAIL: 0'
[ "$(wc -l <"$work/boots")" = 1 ] || complain "all is well: it was booted twice"
try "it does not boot" 1 's/^@@UP/UP/' -- 'FAIL: here/boot .*' '# FAIL: 1'
[ "$(wc -l <"$work/boots")" = 2 ] || complain "it does not boot: was not tried twice"
try "nothing is printed" 1 d -- 'FAIL: here/boot .*'
try "a test is missing" 1 '/^@@.* one/d' -- 'FAIL: here/one \(missing .*\)' '# PASS: 2' '# FAIL: 1'
try "it ends within a test" 1 '/^@@END one/,$d' -- 'FAIL: here/one \(missing .*\)' \
	'FAIL: here/info \(missing .*\)' 'FAIL: here/end .*'
try "it does not end" 1 '/^@@DONE/d' -- 'FAIL: here/end .*' '# PASS: 3'
try "a test fails" 1 's/^@@END one 0/@@END one 1/' -- 'FAIL: here/one \(exit status 1\)' \
	'	68 sections, 7 aborts, 0 violations'
try "a test dies" 1 's/^@@END one 0/@@END one 139/' -- 'FAIL: here/one \(exit status 139\)'
try "a test takes too long" 1 's/^@@END one 0/@@END one 137/' -- 'FAIL: here/one \(killed .*\)'
try "a test is skipped" 1 's/^@@END one 0/@@END one 77/' -- 'FAIL: here/one \(skipped, .*\)'
try "one may be" 0 's/^@@END two 77/@@END two 0/' -- 'PASS: here/two \(1 s\)' '# SKIP: 0'
try "one should fail" 1 's/^@@END three 1/@@END three 0/' -- 'FAIL: here/three \(passed, .*\)'
try "one cannot be run" 1 's/^@@END three 1/@@END three 127/' -- \
	'FAIL: here/three \(cannot be run\)'
try "another report" 1 's/"yes"/"no"/' -- 'FAIL: here/info \(not as expected\)' \
	'	a\.b is no, not yes'
try "no report" 1 '/"yes"/d' -- 'FAIL: here/info \(not as expected\)' '	no JSON: .*'
try "long ones" 1 '' -a -- 'FAIL: here/later \(missing .*\)'
try "chosen ones" 0 '' -p 't*' -- '# PASS: 1' '# SKIP: 1'
try "no kernel" 0 '' '*' -- 'SKIP: gone \(no version 9\.9\.\* in suite\)' '1 of 2 cells ran, .*'
try "too few cells" 1 '' -m 2 '*' -- 'FAIL: x86_64 \(1 cells ran, 2 are wanted\)'
try "no cell" 2 '' nowhere -- 'run: no such cell: nowhere'

# The table has the last results of each cell.
table() { # pattern of a line
	grep -qE "^$1\$" "$work/table" && return
	echo "FAILED: the table has no line '$1'"
	cat "$work/table"
	status=1
}
try "a table" 1 's/^@@END one 0/@@END one 1/' -o "$work/table"
table '\| here \| x86_64 \| 6\.1\.0 \| .* \| 2 \| 1 \| 1 \| 7 \| [-0-9]+ \|'
try "the same table" 0 '' -o "$work/table"
try "the same table" 0 '' -o "$work/table" gone
table '\| here \| x86_64 \| 6\.1\.0 \| .* \| 3 \| 0 \| 1 \| 7 \| [-0-9]+ \|'
table '\| gone \| x86_64 \| - \| .* \| - \| - \| - \| - \| [-0-9]+ \|'
[ "$(grep -c '^| here' "$work/table")" = 1 ] || complain "a table: a cell has two lines"

[ $status = 0 ] && echo "all well"
exit $status
