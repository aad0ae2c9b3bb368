# SPDX-License-Identifier: MIT

lint_tests = \
	tests/lint/exports.sh \
	tests/lint/files.sh \
	tests/lint/headers.sh \
	tests/lint/includes.sh \
	tests/lint/man.sh
EXTRA_DIST += $(lint_tests)
TESTS += $(lint_tests)
