# SPDX-License-Identifier: MIT
# Hostile surroundings: filters, limits, signals, processes and threads that make trouble. A test is
# tests/hostile/test-NAME.c, and runs with rseq of libc, of the library, and of nobody.

hostile_tests = \
	tests/hostile/test-altstack \
	tests/hostile/test-coroutine \
	tests/hostile/test-filter \
	tests/hostile/test-fork \
	tests/hostile/test-handler \
	tests/hostile/test-limit \
	tests/hostile/test-no-memory \
	tests/hostile/test-spawn \
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
tests_hostile_test_no_memory_SOURCES = tests/hostile/test-no-memory.c $(hostile_common) \
	tests/hostile/allocators.c tests/hostile/allocators.h
tests_hostile_test_no_memory_LDADD = src/librseq.la
tests_hostile_test_threads_SOURCES = tests/hostile/test-threads.c $(hostile_common)
tests_hostile_test_threads_LDADD = src/librseq.la
tests_hostile_test_coroutine_SOURCES = tests/hostile/test-coroutine.c $(hostile_common)
tests_hostile_test_coroutine_LDADD = src/librseq.la
tests_hostile_test_fork_SOURCES = tests/hostile/test-fork.c $(hostile_common)
tests_hostile_test_fork_LDADD = src/librseq.la
tests_hostile_test_spawn_SOURCES = tests/hostile/test-spawn.c $(hostile_common)
tests_hostile_test_spawn_LDADD = src/librseq.la

# Linked statically and at once, so that no step leads through the dynamic linker.
tests_hostile_test_handler_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/abort -D_GNU_SOURCE=
tests_hostile_test_handler_LDFLAGS = $(AM_LDFLAGS) -static -Wl,-z,now
tests_hostile_test_handler_SOURCES = tests/hostile/test-handler.c $(hostile_common) \
	tests/hostile/handler-data.c tests/hostile/handler-locks.c \
	tests/hostile/handler-ring.c tests/hostile/handler.h \
	tests/abort/arch-aarch64.c tests/abort/arch-x86-64.c tests/abort/arch.h
tests_hostile_test_handler_LDADD = src/librseq.la
