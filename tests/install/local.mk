# SPDX-License-Identifier: MIT

install_tests = tests/install/elf.sh tests/install/installed.sh
EXTRA_DIST += $(install_tests) tests/install/common.sh tests/install/program.cc
TESTS += $(install_tests)

clean-local:
	rm -rf tests/*/stage
