# SPDX-License-Identifier: MIT
# Hostile surroundings: filters, limits, signals, processes and threads that make trouble. A test is
# tests/hostile/test-NAME.c, and runs with rseq of libc, of the library, and of nobody.

hostile_tests = \
	tests/hostile/test-altstack \
	tests/hostile/test-filter \
	tests/hostile/test-limit \
	tests/hostile/test-no-memory \
	tests/hostile/test-threads
check_PROGRAMS += $(hostile_tests)
TESTS += $(hostile_tests)

hostile_common = tests/hostile/works.c tests/hostile/works.h
hostile_operations = tests/hostile/operations.c tests/hostile/operations.h

tests_hostile_test_altstack_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/negotiate
tests_hostile_test_altstack_SOURCES = tests/hostile/test-altstack.c $(hostile_common) \
	$(hostile_operations)
tests_hostile_test_altstack_LDADD = src/librseq.la
tests_hostile_test_filter_SOURCES = tests/hostile/test-filter.c $(hostile_common) \
	$(hostile_operations)
tests_hostile_test_filter_LDADD = src/librseq.la
tests_hostile_test_limit_SOURCES = tests/hostile/test-limit.c $(hostile_common)
tests_hostile_test_limit_LDADD = src/librseq.la
tests_hostile_test_no_memory_SOURCES = tests/hostile/test-no-memory.c $(hostile_common)
tests_hostile_test_no_memory_LDADD = src/librseq.la
tests_hostile_test_threads_SOURCES = tests/hostile/test-threads.c $(hostile_common)
tests_hostile_test_threads_LDADD = src/librseq.la
