#!/bin/bash
# SPDX-License-Identifier: MIT
# rseqctl bench measures what it lists and says what it measured, in each form of its output. How
# long anything took is nothing that a test may ask.
# shellcheck disable=SC2154
set -u
# shellcheck source=/dev/null
. "${top_srcdir:?}/tests/tools/rseqctl.sh"

bench() { # arguments of `rseqctl bench`
	"${emulator[@]}" "$tool" bench "$@"
}

# One round of each, as short as it gets.
brief() {
	bench --quick --rounds 1 "$@"
}

value_of() { # path
	sed -n "s/^$1=//p" <<<"$values"
}

values_of() { # last part of the path, within results
	sed -nE "s/^results\.[0-9]+\.$1=//p" <<<"$values"
}

# All benchmarks; under an emulator, few: processes that others start are not emulated everywhere.
names=()
few=(counter-add list-pair op-add)
[ -z "${emulator[*]}" ] || names=("${few[@]}")

check_list() {
	local listed
	read_json list bench --list --json "${names[@]}"
	listed=$(sed -nE 's/^[0-9]+\.name=//p' <<<"$values")
	[ -n "$listed" ] || complain "list: empty"
	[ -z "$(sort <<<"$listed" | uniq -d)" ] || complain "list: a name twice: $listed"
	[ "$(bench --list "${names[@]}" | awk 'NR > 1 { print $1 }')" = "$listed" ] ||
		complain "list: the text differs from the JSON"
	bench --list "${names[@]}" | grep -nE '	|[[:blank:]]$' && complain "list: badly laid out"
}

# A verdict follows from the figures beside it: the ratio to the yardstick, or to all that are there.
check_verdicts() {
	awk -F '[.=]' '
		/^results\.[0-9]+\./ { last = $0; sub(/^[^=]*=/, "", last) }
		/^results\.[0-9]+\.(max_ratio|max_value|against_all|verdict|name)=/ {
			result[$2, $3] = last
		}
		/^results\.[0-9]+\.variants\.[0-9]+\.(ratio|min)=/ { result[$2, $4, $5] = last + 0 }
		/^results\.[0-9]+\.variants\.0\.min=/ { there[$2] = 1 }
		END {
			for (i in there) {
				nr = result[i, "against_all"] == "true" ? 8 : 2
				judged = met = 0
				if (result[i, "max_ratio"] != "null") {
					met = 1
					for (j = 1; j < nr; j++) {
						if (!((i, j, "ratio") in result))
							continue
						judged = 1
						if (result[i, j, "ratio"] >= result[i, "max_ratio"] + 0.005)
							met = 0
					}
				} else if (result[i, "max_value"] != "null") {
					judged = 1
					met = result[i, 0, "min"] < result[i, "max_value"] + 0.005
				}
				verdict = !judged ? "null" : met ? "met" : "missed"
				if (verdict != result[i, "verdict"])
					print result[i, "name"] ": " result[i, "verdict"] ", not " verdict
			}
		}' <<<"$values" | grep . && complain "JSON: verdicts"
}

# A benchmark that could not run says why, and so does a variant.
check_json() {
	local listed nr
	listed=$(bench --list "${names[@]}" | awk 'NR > 1 { print $1 }')
	read_json all brief --json "${names[@]}"
	[ "$(values_of name)" = "$listed" ] || complain "JSON: not what is listed: $values"
	nr=$(wc -l <<<"$listed")
	for key in area unit threads rounds aborts preemptions max_ratio against_all max_value \
		verdict; do
		[ "$(values_of $key | wc -l)" = "$nr" ] || complain "JSON: not $nr times $key"
	done
	values_of rounds | grep -vx 1 && complain "JSON: other numbers of rounds"
	values_of verdict | grep -vxE 'met|missed|null' && complain "JSON: another verdict"
	values_of 'variants\.[0-9]+\.(min|median|ratio)' |
		grep -vxE '[0-9.]+(e[-+]?[0-9]+)?' && complain "JSON: other values"
	[ "$(values_of 'variants\.[01]\.missing' | wc -l)" = $((2 * nr)) ] ||
		complain "JSON: not two variants each"
	[ "$(values_of against_all | grep -c true)" -ge "$((${#names[@]} ? 0 : 3))" ] ||
		complain "JSON: no targets against all"
	check_verdicts
	values_of 'variants\.[0-9]+\.missing' | grep -x 'the library has other functions' &&
		complain "JSON: not why an allocator cannot be loaded"
	expect JSON "version=${RSEQ_VERSION:?}" "curves=[]"
	grep -q "^machine\.kernel=$(uname -sr) " <<<"$values" || complain "JSON: another kernel"
	grep -q '^machine\.rseq=registered' <<<"$values" || return
	values_of 'variants\.0\.missing' | grep -vxE \
		'null|.* (is not there|without it)|no shared object.*|no other CPU to fence' &&
		complain "JSON: this library is missing: $values"
}

# A whole program's start hides in its ratio what the library adds: that is told in each form.
check_added() {
	[ -z "${emulator[*]}" ] || return
	read_json start brief --json start counter-add
	grep '^results\.0\.variants\.[0-9]*\.missing=' <<<"$values" | grep -qv '=null$' && return
	for key in added added_low added_high; do
		grep -qE "^results\.0\.variants\.1\.$key=-?[0-9.]+(e[-+]?[0-9]+)?$" <<<"$values" ||
			complain "added: no $key in $values"
	done
	[ "$(grep -c '\.added=' <<<"$values")" = 2 ] || complain "added: $values"
	brief start | grep -qE \
		'^start-up of a program  *with a plain \.so  *[-+][0-9.]+ us  *[-+][0-9.]+ to [-+]' ||
		complain "text: nothing added"
	brief --markdown start | grep -qE '^\| start-up of a program \| .* us \| .* to .* \|$' ||
		complain "Markdown: nothing added"
}

check_text() {
	local text area
	text=$(brief "${few[@]}" 2>&1) || complain "text: exit status $?"
	for word in "^librseq ${RSEQ_VERSION:?}," "^Linux .*$(uname -r)" 'load average' \
		'^fastest round.* target  *verdict  *aborts$' '^yardsticks and others'; do
		grep -q "$word" <<<"$text" || complain "text: no '$word' in $text"
	done
	read_json areas bench --list --json "${few[@]}"
	while read -r area; do
		grep -F "$area  " <<<"$text" | grep -qE ' (met|missed|-)  *[0-9]+$' ||
			complain "text: no line of '$area' in $text"
	done < <(sed -nE 's/^[0-9]+\.area=//p' <<<"$values")
	grep -nE '	|[[:blank:]]$' <<<"$text" && complain "text: badly laid out"
}

# All lines of a table have as many columns as its head.
check_markdown() {
	local markdown
	markdown=$(brief --markdown "${few[@]}" 2>&1) || complain "Markdown: exit status $?"
	awk -F '|' '/^\|/ { if (!columns) columns = NF; if (NF != columns) exit 1; lines++; next }
		    { columns = 0 }
		    END { if (lines < 4) exit 1 }' <<<"$markdown" ||
		complain "Markdown: no tables in $markdown"
}

check_choice() {
	read_json exact brief --json counter-add
	[ "$(values_of name)" = counter-add ] || complain "an exact name: $(values_of name)"
	[ "$(bench --list op | awk 'NR > 1' | grep -vc '^op-')" = 0 ] ||
		complain "the beginning of names"
	read_json threads brief --json --threads 1,3 counter-add-threads
	[ "$(values_of threads | tr '\n' ' ')" = "1 3 " ] ||
		complain "--threads: $(values_of threads)"
	LIBRSEQ_DISABLE=1 GLIBC_TUNABLES=glibc.pthread.rseq=0 \
		read_json "without rseq" brief --json counter-add list-pair-threads op-add
	grep -q '^machine\.rseq=off: ' <<<"$values" || complain "without rseq: $(value_of machine.rseq)"
	[ "$(values_of 'variants\.0\.missing' | tr '\n' ,)" = \
		"null,null,the operations need rseq," ] ||
		complain "without rseq: $values"
}

check_plot() {
	if command -v gnuplot >/dev/null; then
		read_json plot brief --json --plot "$work/plot.svg" --threads 1,2 counter-add-threads
		[ "$(grep -c '^curves\.[0-9]*\.name=counter-add-threads$' <<<"$values")" = 2 ] ||
			complain "plot: not two curves"
		grep -q '</svg>' "$work/plot.svg" || complain "plot: no SVG"
		expect_failure "no such directory" 1 "cannot write" \
			brief --plot "$work/none/plot.svg" counter-add-threads
	else
		echo "without gnuplot: nothing is drawn"
	fi
	[ -n "${emulator[*]}" ] || PATH=$work expect_no_gnuplot
}

expect_no_gnuplot() {
	local said
	said=$(brief --plot "$work/none.svg" counter-add-threads 2>&1)
	[ $? = 1 ] || complain "without gnuplot: exit status"
	[ "$said" = "rseqctl bench: --plot needs gnuplot, which is not installed" ] ||
		complain "without gnuplot: $said"
	[ ! -e "$work/none.svg" ] || complain "without gnuplot: a file"
}

check_usage() {
	local value
	expect_failure "unknown option" 2 "'--bogus'" bench --bogus
	expect_failure "unknown letter" 2 "'-x'" bench -x
	expect_failure "value" 2 "'--json=1'" bench --json=1
	expect_failure "unknown name" 2 "'bogus'" bench counter-add bogus
	expect_failure "no name" 2 "''" bench ''
	expect_failure "half a name" 2 "'counter-a'" bench counter-a
	for value in 0 -1 x 1x '' 257 1,2; do
		expect_failure "rounds '$value'" 2 "'$value'" bench --rounds "$value"
	done
	for value in 0 -1 x 1,x '' , 1, 1025; do
		expect_failure "threads '$value'" 2 "'$value'" bench --threads "$value"
	done
	expect_failure "many threads" 2 "more than" bench --threads "$(seq -s, 40)"
	expect_failure "no file" 2 "--plot" bench --plot
	expect_failure "both forms" 2 "not both" bench --json --markdown
	expect_failure "list and plot" 2 "--list" bench --list --plot "$work/plot.svg"
	bench --help | grep -q '^usage: rseqctl bench' || complain "no help"
}

full_disk() {
	brief counter-add >/dev/full
}

check_list
check_json
check_added
check_text
check_markdown
check_choice
check_plot
check_usage
expect_failure "full disk" 1 "standard output" full_disk
exit "$status"
