# SPDX-License-Identifier: MIT
# The operations: what they do (test-ops*, linked with the shared library), that wrong uses do not
# compile and right ones do (reject.sh), that their sections survive compilers and linkers (link.sh,
# far.sh) and stay short (counts.sh), and that they are right in a storm (tests/stress/test-ops*).
# -override is a test with an rseq_get_abi() of its own.

ops_tests = \
	tests/ops/test-ops \
	tests/ops/test-ops-copy \
	tests/ops/test-ops-fault \
	tests/ops/test-ops-signal \
	tests/ops/test-ops-override \
	tests/ops/test-ops-copy-override \
	tests/ops/test-ops-fault-override

ops_headers = tests/ops/every-op.h tests/ops/ops-support.h
ops_override_CPPFLAGS = $(AM_CPPFLAGS) -DRSEQ_GET_ABI_OVERRIDE

tests_ops_test_ops_SOURCES = tests/ops/test-ops.c $(ops_headers)
tests_ops_test_ops_copy_SOURCES = tests/ops/test-ops-copy.c $(ops_headers)
tests_ops_test_ops_fault_SOURCES = tests/ops/test-ops-fault.c tests/ops/fault.h $(ops_headers)
tests_ops_test_ops_signal_SOURCES = tests/ops/test-ops-signal.c $(ops_headers)
tests_ops_test_ops_override_SOURCES = $(tests_ops_test_ops_SOURCES)
tests_ops_test_ops_override_CPPFLAGS = $(ops_override_CPPFLAGS)
tests_ops_test_ops_copy_override_SOURCES = $(tests_ops_test_ops_copy_SOURCES)
tests_ops_test_ops_copy_override_CPPFLAGS = $(ops_override_CPPFLAGS)
tests_ops_test_ops_fault_override_SOURCES = $(tests_ops_test_ops_fault_SOURCES)
tests_ops_test_ops_fault_override_CPPFLAGS = $(ops_override_CPPFLAGS)

if HAVE_CMOCKA
check_PROGRAMS += $(ops_tests)
cmocka_tests += $(ops_tests)
TESTS += $(ops_tests)
endif

ops_programs = \
	tests/ops/test-ops-fallback \
	tests/stress/test-ops \
	tests/stress/test-ops-long
check_PROGRAMS += $(ops_programs)
TESTS += $(ops_programs)

tests_ops_test_ops_fallback_SOURCES = tests/ops/test-ops-fallback.c tests/ops/every-op.h
tests_ops_test_ops_fallback_LDADD = src/librseq.la
tests_stress_test_ops_SOURCES = tests/stress/test-ops.c tests/ops/every-op.h \
	tests/ops/long-bodies.h tests/stress/storm.c tests/stress/storm.h
tests_stress_test_ops_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/ops
tests_stress_test_ops_LDADD = src/librseq.la
tests_stress_test_ops_long_SOURCES = $(tests_stress_test_ops_SOURCES)
tests_stress_test_ops_long_CPPFLAGS = $(tests_stress_test_ops_CPPFLAGS) -DLONG_BODIES
tests_stress_test_ops_long_LDADD = src/librseq.la

ops_scripts = \
	tests/ops/counts.sh \
	tests/ops/cxx.sh \
	tests/ops/far.sh \
	tests/ops/link.sh \
	tests/ops/qemu-user.sh \
	tests/ops/reject.sh
dist_check_SCRIPTS += $(ops_scripts)
TESTS += $(ops_scripts)

AM_TESTS_ENVIRONMENT += \
	CMOCKA_CFLAGS='$(CMOCKA_CFLAGS)'; export CMOCKA_CFLAGS; \
	CMOCKA_LIBS='$(CMOCKA_LIBS)'; export CMOCKA_LIBS;

EXTRA_DIST += \
	tests/ops/accept.c \
	tests/ops/common.sh \
	tests/ops/counts.c \
	tests/ops/expected-counts \
	tests/ops/far.c \
	tests/ops/link-main.c \
	tests/ops/link-tables.c \
	tests/ops/link-unit.c \
	tests/ops/link-unit.h \
	tests/ops/link-unused.c \
	tests/ops/reject.c
