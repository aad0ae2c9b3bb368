#!/bin/bash
# SPDX-License-Identifier: MIT
# The tests of the operations as C++, of 2011 and of 2020, by each compiler.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

read -ra emulator <<<"${RSEQ_EMULATOR-}"
read -ra cmocka_cflags <<<"${CMOCKA_CFLAGS-}"
read -ra cmocka_libs <<<"${CMOCKA_LIBS--lcmocka}"
library=${RSEQ_LIBDIR-}/librseq.a
[ -e "$library" ] || library=${RSEQ_LIBDIR-}/librseq.so
export LD_LIBRARY_PATH=${RSEQ_LIBDIR-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [ ! -e "$library" ]; then
	library=$work/librseq.a
	read -ra cc <<<"${CC:-gcc}"
	build_library "$library" "${cc[@]}" || exit 1
fi

compile() { # program, source, compiler and options
	"${@:3}" "${warnings[@]}" "${includes[@]}" "${cmocka_cflags[@]}" -pthread -o "$1" \
		-x c++ "$2" -x none "$library" "${cmocka_libs[@]}"
}

try() { # program, test, compiler and options
	local program=$work/$1
	if ! compile "$program" "$source/$2.c" "${@:3}" >"$program.log" 2>&1; then
		complain "${*:3} $2: does not build" "$program.log"
		return
	fi
	timeout 300 "${emulator[@]}" "$program" >"$program.log" 2>&1 ||
		complain "${*:3} $2: exit status $?" "$program.log"
	rm -f "$program"
}

# Whether there is cmocka for this machine.
printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' '#include <stdint.h>' \
	'#include <setjmp.h>' '#include <cmocka.h>' 'int main(void) { return 0; }' >"$work/empty.c"
read -ra cc <<<"${CC:-gcc}"
"${cc[@]}" "${cmocka_cflags[@]}" -o "$work/empty" "$work/empty.c" "${cmocka_libs[@]}" \
	>/dev/null 2>&1 || skip "no cmocka"

number=0
while read -r cc; do
	cxx=$(cxx_of "$cc") || continue
	read -ra cxx <<<"$cxx"
	for test in test-ops test-ops-copy test-ops-fault test-ops-signal; do
		spawn try $((number += 1)) $test "${cxx[@]}" -std=gnu++11 -O0
		spawn try $((number += 1)) $test "${cxx[@]}" -std=gnu++20 -O2
		spawn try $((number += 1)) $test "${cxx[@]}" -std=c++11 -O2 -DRSEQ_GET_ABI_OVERRIDE
	done
done < <(native_compilers)
[ $number -gt 0 ] || skip "no C++ compiler"
finish "$number programs"
