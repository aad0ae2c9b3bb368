#!/bin/bash
# SPDX-License-Identifier: MIT
# Includes point downward only, and assembly stands only where critical sections are made.
set -u
cd "${top_srcdir:-$(dirname "$0")/../..}" || exit 1
status=0

complain() {
	printf '%s\n' "$@"
	status=1
}

# Each public header, and all that it may include of <rseq/...>.
declare -A allowed=(
	[abi]=""
	[compiler]=""
	[utils]="compiler"
	[thread-pointer]="compiler"
	[thread]="abi compiler utils thread-pointer"
	[info]="abi compiler utils thread-pointer thread"
	[fence]="abi compiler utils thread-pointer thread"
	[slice]="abi compiler utils thread-pointer thread"
	[arch/x86-64]="abi compiler"
	[arch/aarch64]="abi compiler"
	[section]="abi compiler utils thread-pointer thread arch/x86-64 arch/aarch64"
	[ops]="abi compiler utils thread-pointer thread section"
	[mempool]="abi compiler utils thread-pointer thread"
	[rseq]="abi compiler utils thread-pointer thread section ops"
)
for structure in counter list stack ring lock refcount cache mutex; do
	allowed[$structure]="abi compiler utils thread-pointer thread section ops mempool"
done

allowed[cache]="${allowed[cache]} stack"
allowed[urcu]="abi compiler utils thread-pointer thread section stack list cache"

# Headers of the standard library's kind, that public headers may include as well.
system='assert|errno|limits|poll|pthread|sched|signal|stdbool|stddef|stdint|stdio|stdlib'
system="$system|string|sys/syscall|sys/types|type_traits|unistd"
# A sanitizer's own, where a program is compiled for one.
system="$system|sanitizer/[mt]san_interface"
urcu='urcu/call-rcu|urcu/flavor'

# file:include pairs; the file's name without include/rseq/ and .h, the include as it is written.
includes_of() {
	grep -HoE '^[[:space:]]*#[[:space:]]*include[[:space:]]+[<"][^>"]+[>"]' "$@" |
		sed -E 's/:[^<"]*include[[:space:]]+/ /'
}

while read -r file what; do
	name=${file#include/rseq/}
	name=${name%.h}
	if [ -z "${allowed[$name]+set}" ]; then
		complain "$file: not in the table of $0"
		continue
	fi
	case $what in
	'<rseq/'*)
		inner=${what#<rseq/}
		inner=${inner%.h>}
		case " ${allowed[$name]} " in
		*" $inner "*) ;;
		*) complain "$file: may not include $what" ;;
		esac ;;
	*)
		[ "$name" = urcu ] && [[ $what =~ ^\<($urcu)\.h\>$ ]] && continue
		[[ $what =~ ^\<($system)(\.h)?\>$ ]] || complain "$file: may not include $what" ;;
	esac
done < <(includes_of include/rseq/*.h include/rseq/arch/*.h)

# The library's sources know its internals; everything else sees what is installed.
while read -r file what; do
	case $what in
	'"internal.h"' | '"percpu.h"' | '"cache-internal.h"' | '"mempool-internal.h"' | \
		'"ring-internal.h"' | '"stack-internal.h"' | '<'*) ;;
	*) complain "$file: may not include $what" ;;
	esac
done < <(includes_of src/*.[ch])

mapfile -t users < <(find src/tools doc/examples tests -name '*.[ch]' -o -name '*.cc')
while read -r file what; do
	case $file:$what in
	*:'<'*) ;;
	src/tools/*:'"'*/*) complain "$file: may not include $what" ;;
	src/tools/*) ;;
	tests/unit/*:'"internal.h"') ;;
	tests/*:'"'*/*) complain "$file: may not include $what" ;;
	tests/*) ;;
	*) complain "$file: may include installed headers only, not $what" ;;
	esac
done < <(includes_of "${users[@]}")

# Instructions and ELF sections come from arch/ and section.h; thread-pointer.h reads a register.
# Elsewhere a statement is empty, to order accesses or to hide a value from the compiler. Only ops.h
# and the structures have sections, composed of verbs, whose own strings name labels and operands.
composed='^include/rseq/(ops|counter|list|stack|ring|lock|refcount|cache|mutex)\.h:'
mapfile -t others < <(find include src doc/examples -name '*.[ch]' |
	grep -vE '^include/rseq/(arch/.*|section|thread-pointer)\.h$')
asm='\<(__)?asm(__)?[[:space:]]*((__)?(volatile|goto|inline)(__)?[[:space:]]*)*\('
found=$(grep -nE "$asm" "${others[@]}" | grep -vE "${asm}[[:space:]]*\"\"[[:space:]]*[:)]" |
	grep -vE "$composed.*volatile__ (goto )?\\([[:space:]]*\\\\?$") &&
	complain "assembly outside of arch/ and section.h:" "$found"
found=$(grep -nE '"[^"]*(\\[nt]|%%|%\[|[^"]%l|\.[a-z]+section)' "${others[@]}" |
	grep -E "$composed") &&
	complain "an instruction or an ELF section in a structure's header:" "$found"

exit $status
