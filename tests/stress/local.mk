# SPDX-License-Identifier: MIT
# A stress test is tests/stress/test-NAME.c. STRESS_SECONDS is how long each of its runs takes,
# 3 by default.

stress_tests = \
	tests/stress/test-cache \
	tests/stress/test-counter \
	tests/stress/test-fence \
	tests/stress/test-list \
	tests/stress/test-lock \
	tests/stress/test-mempool \
	tests/stress/test-mempool-copies \
	tests/stress/test-refcount \
	tests/stress/test-ring \
	tests/stress/test-stack
if HAVE_URCU_ALL
stress_tests += tests/stress/test-urcu tests/stress/test-urcu-qsbr
endif
check_PROGRAMS += $(stress_tests)
TESTS += $(stress_tests)

# What sanitizers of threads and memory are to look at.
check-sanitized: all $(unit_tests) $(stress_tests)
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS='$(unit_tests) $(stress_tests)'
.PHONY: check-sanitized

tests_stress_test_cache_SOURCES = tests/stress/test-cache.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_cache_LDADD = src/librseq.la

tests_stress_test_counter_SOURCES = tests/stress/test-counter.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_counter_LDADD = src/librseq.la

tests_stress_test_fence_SOURCES = tests/stress/test-fence.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_fence_LDADD = src/librseq.la

tests_stress_test_list_SOURCES = tests/stress/test-list.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_list_LDADD = src/librseq.la

tests_stress_test_mempool_SOURCES = tests/stress/test-mempool.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_mempool_LDADD = src/librseq.la

tests_stress_test_mempool_copies_LDADD = src/librseq.la
tests_stress_test_stack_SOURCES = tests/stress/test-stack.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_stack_LDADD = src/librseq.la

tests_stress_test_ring_SOURCES = tests/stress/test-ring.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_ring_LDADD = src/librseq.la

tests_stress_test_lock_SOURCES = tests/stress/test-lock.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_lock_LDADD = src/librseq.la

tests_stress_test_refcount_SOURCES = tests/stress/test-refcount.c \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_refcount_LDADD = src/librseq.la

# Readers that say when they begin and end, and readers that say when they do not read.
stress_urcu_sources = tests/stress/test-urcu.c tests/urcu-flavor.h \
	tests/stress/storm.c tests/stress/storm.h
tests_stress_test_urcu_SOURCES = $(stress_urcu_sources)
tests_stress_test_urcu_CPPFLAGS = $(AM_CPPFLAGS) $(URCU_ALL_CFLAGS)
tests_stress_test_urcu_LDADD = src/librseq.la $(URCU_ALL_LIBS)
tests_stress_test_urcu_qsbr_SOURCES = $(stress_urcu_sources)
tests_stress_test_urcu_qsbr_CPPFLAGS = $(AM_CPPFLAGS) $(URCU_ALL_CFLAGS) -DFLAVOR_QSBR
tests_stress_test_urcu_qsbr_LDADD = src/librseq.la $(URCU_ALL_LIBS)
