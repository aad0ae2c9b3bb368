# SPDX-License-Identifier: MIT
# rseqctl from outside, by scripts. The programs are what they look at, and what they look with.

tools_tests = \
	tests/tools/bench.sh \
	tests/tools/gdb.sh \
	tests/tools/info.sh \
	tests/tools/info-pid.sh \
	tests/tools/valgrind.sh
EXTRA_DIST += $(tools_tests) \
	tests/tools/debug.py \
	tests/tools/debugged.c \
	tests/tools/rseqctl.sh
TESTS += $(tools_tests)

check_PROGRAMS += \
	tests/tools/test-facts \
	tests/tools/test-json \
	tests/tools/test-refuse \
	tests/tools/test-target

# They are no unit tests, and only one uses the library.
tests_tools_test_facts_LDADD =
tests_tools_test_json_LDADD =
tests_tools_test_refuse_LDADD =
tests_tools_test_target_LDADD = src/librseq.la
