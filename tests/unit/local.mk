# SPDX-License-Identifier: MIT
# A unit test is tests/unit/test-NAME.c, linked with the shared library. test-NAME-static is the
# same test with librseq.a, for what depends on how the library is linked.

plain_tests = \
	tests/unit/test-api \
	tests/unit/test-api-override \
	tests/unit/test-handover \
	tests/unit/test-headers-nolink \
	tests/unit/test-memory
cmocka_tests = \
	tests/unit/test-cache \
	tests/unit/test-cache-threads \
	tests/unit/test-counter \
	tests/unit/test-counter-threads \
	tests/unit/test-cpus \
	tests/unit/test-fence \
	tests/unit/test-fork \
	tests/unit/test-info \
	tests/unit/test-list \
	tests/unit/test-list-steps \
	tests/unit/test-kernel \
	tests/unit/test-lock \
	tests/unit/test-mempool \
	tests/unit/test-mempool-fork \
	tests/unit/test-mempool-image \
	tests/unit/test-mempool-robust \
	tests/unit/test-mempool-steps \
	tests/unit/test-mempool-unmap \
	tests/unit/test-mempool-zero \
	tests/unit/test-no-membarrier \
	tests/unit/test-ring \
	tests/unit/test-ring-damage \
	tests/unit/test-ring-room \
	tests/unit/test-ring-signal \
	tests/unit/test-row-open \
	tests/unit/test-single-step \
	tests/unit/test-stack \
	tests/unit/test-refcount \
	tests/unit/test-repaired \
	tests/unit/test-shared \
	tests/unit/test-stack-fence \
	tests/unit/test-thread

tests_unit_test_api_override_LDADD = src/librseq.la
tests_unit_test_handover_LDADD = src/librseq.la
tests_unit_test_headers_nolink_LDADD =
tests_unit_test_memory_LDADD = src/librseq.la
tests_unit_test_memory_CPPFLAGS = $(AM_CPPFLAGS) $(memory_urcu_CPPFLAGS)
if HAVE_URCU_ALL
memory_urcu_CPPFLAGS = $(URCU_ALL_CFLAGS) -DWITH_URCU=1
endif

if HAVE_CXX
plain_tests += tests/unit/test-api-cxx
endif
tests_unit_test_api_cxx_SOURCES = tests/unit/test-api-cxx.cc

tests_unit_test_counter_threads_SOURCES = tests/unit/test-counter-threads.c \
	tests/stress/storm.c tests/stress/storm.h
tests_unit_test_counter_threads_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/stress

ring_headers = tests/unit/ring-support.h
tests_unit_test_ring_room_SOURCES = tests/unit/test-ring-room.c $(ring_headers)
tests_unit_test_ring_signal_SOURCES = tests/unit/test-ring-signal.c $(ring_headers)
tests_unit_test_ring_SOURCES = tests/unit/test-ring.c $(ring_headers)

child_headers = tests/unit/child.h
tests_unit_test_counter_SOURCES = tests/unit/test-counter.c $(child_headers)
tests_unit_test_fence_SOURCES = tests/unit/test-fence.c $(child_headers)
tests_unit_test_ring_damage_SOURCES = tests/unit/test-ring-damage.c $(child_headers)
tests_unit_test_no_membarrier_SOURCES = tests/unit/test-no-membarrier.c $(child_headers)
tests_unit_test_stack_fence_SOURCES = tests/unit/test-stack-fence.c $(child_headers)

# These call library internals, which the shared library hides.
tests_unit_test_cpus_SOURCES = tests/unit/test-cpus.c src/cpus.c src/internal.h
tests_unit_test_cpus_CPPFLAGS = $(internal_CPPFLAGS)
tests_unit_test_ring_damage_CPPFLAGS = $(internal_CPPFLAGS)
tests_unit_test_kernel_SOURCES = tests/unit/test-kernel.c src/kernel.c src/internal.h
tests_unit_test_kernel_CPPFLAGS = $(internal_CPPFLAGS)
internal_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/src -D_GNU_SOURCE=

if ENABLE_STATIC
cmocka_tests += \
	tests/unit/test-counter-static \
	tests/unit/test-info-static \
	tests/unit/test-thread-static
endif
tests_unit_test_counter_static_SOURCES = tests/unit/test-counter.c
tests_unit_test_counter_static_LDFLAGS = $(AM_LDFLAGS) -static
tests_unit_test_info_static_SOURCES = tests/unit/test-info.c
tests_unit_test_info_static_LDFLAGS = $(AM_LDFLAGS) -static
tests_unit_test_thread_static_SOURCES = tests/unit/test-thread.c
tests_unit_test_thread_static_LDFLAGS = $(AM_LDFLAGS) -static

# The same test for each flavour of liburcu.
urcu_tests = \
	tests/unit/test-urcu \
	tests/unit/test-urcu-barrier \
	tests/unit/test-urcu-barrier-bp \
	tests/unit/test-urcu-barrier-mb \
	tests/unit/test-urcu-barrier-qsbr \
	tests/unit/test-urcu-bp \
	tests/unit/test-urcu-mb \
	tests/unit/test-urcu-qsbr
urcu_sources = tests/unit/test-urcu.c tests/urcu-flavor.h
urcu_CPPFLAGS = $(AM_CPPFLAGS) $(URCU_ALL_CFLAGS)
urcu_LDADD = src/librseq.la $(URCU_ALL_LIBS) $(CMOCKA_LIBS)
tests_unit_test_urcu_SOURCES = $(urcu_sources)
tests_unit_test_urcu_CPPFLAGS = $(urcu_CPPFLAGS)
tests_unit_test_urcu_LDADD = $(urcu_LDADD)
tests_unit_test_urcu_bp_SOURCES = $(urcu_sources)
tests_unit_test_urcu_bp_CPPFLAGS = $(urcu_CPPFLAGS) -DFLAVOR_BP
tests_unit_test_urcu_bp_LDADD = $(urcu_LDADD)
tests_unit_test_urcu_mb_SOURCES = $(urcu_sources)
tests_unit_test_urcu_mb_CPPFLAGS = $(urcu_CPPFLAGS) -DFLAVOR_MB
tests_unit_test_urcu_mb_LDADD = $(urcu_LDADD)
tests_unit_test_urcu_qsbr_SOURCES = $(urcu_sources)
tests_unit_test_urcu_qsbr_CPPFLAGS = $(urcu_CPPFLAGS) -DFLAVOR_QSBR
tests_unit_test_urcu_qsbr_LDADD = $(urcu_LDADD)
urcu_barrier_sources = tests/unit/test-urcu-barrier.c tests/urcu-flavor.h
tests_unit_test_urcu_barrier_SOURCES = $(urcu_barrier_sources)
tests_unit_test_urcu_barrier_CPPFLAGS = $(urcu_CPPFLAGS)
tests_unit_test_urcu_barrier_LDADD = $(urcu_LDADD)
tests_unit_test_urcu_barrier_bp_SOURCES = $(urcu_barrier_sources)
tests_unit_test_urcu_barrier_bp_CPPFLAGS = $(urcu_CPPFLAGS) -DFLAVOR_BP
tests_unit_test_urcu_barrier_bp_LDADD = $(urcu_LDADD)
tests_unit_test_urcu_barrier_mb_SOURCES = $(urcu_barrier_sources)
tests_unit_test_urcu_barrier_mb_CPPFLAGS = $(urcu_CPPFLAGS) -DFLAVOR_MB
tests_unit_test_urcu_barrier_mb_LDADD = $(urcu_LDADD)
tests_unit_test_urcu_barrier_qsbr_SOURCES = $(urcu_barrier_sources)
tests_unit_test_urcu_barrier_qsbr_CPPFLAGS = $(urcu_CPPFLAGS) -DFLAVOR_QSBR
tests_unit_test_urcu_barrier_qsbr_LDADD = $(urcu_LDADD)
if HAVE_URCU_ALL
cmocka_tests += $(urcu_tests)
endif

TESTS += tests/unit/leaks.sh
EXTRA_DIST += tests/unit/leaks.sh tests/unit/leaks.c

unit_tests = $(plain_tests)
if HAVE_CMOCKA
unit_tests += $(cmocka_tests)
endif
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)

check-unit: all $(unit_tests)
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS='$(unit_tests)'
.PHONY: check-unit
