# SPDX-License-Identifier: MIT
# rseqctl verify from outside. The sources are compiled by the tests themselves, in many ways and
# for both architectures.

verify_tests = \
	tests/verify/accepted.sh \
	tests/verify/damaged.sh \
	tests/verify/mutants.sh \
	tests/verify/own.sh \
	tests/verify/usage.sh
EXTRA_DIST += $(verify_tests) \
	tests/verify/common.sh \
	tests/verify/foreign.S \
	tests/verify/library.c \
	tests/verify/mutant.S
TESTS += $(verify_tests)

check_PROGRAMS += tests/verify/fuzz
tests_verify_fuzz_LDADD =
