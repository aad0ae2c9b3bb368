# SPDX-License-Identifier: MIT
# The compatibility examination. Its programs know the installed headers alone; programs.sh builds
# and runs them.

compat_tests = tests/compat/programs.sh
EXTRA_DIST += $(compat_tests) \
	tests/compat/buffer.c \
	tests/compat/check.h \
	tests/compat/corrupt.c \
	tests/compat/counters.c \
	tests/compat/double.c \
	tests/compat/fork.c \
	tests/compat/helpers.c \
	tests/compat/list.c \
	tests/compat/membarrier.c \
	tests/compat/memcpy.c \
	tests/compat/override.c \
	tests/compat/override-macro.c \
	tests/compat/pools.c \
	tests/compat/register.c \
	tests/compat/results.c \
	tests/compat/sets.c \
	tests/compat/spinlock.c \
	tests/compat/threads.cc
TESTS += $(compat_tests)

# Both install from this build tree, where libtool leaves files of its own: one after the other.
tests/compat/programs.log: tests/install/installed.log
