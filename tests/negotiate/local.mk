# SPDX-License-Identifier: MIT
# Negotiation: what the library makes of libc, the kernel and other modules. Scripts change the
# circumstances of a worker that reports; some link it anew, or build neighbours for it.

negotiate_tests = \
	tests/negotiate/early.sh \
	tests/negotiate/glibc.sh \
	tests/negotiate/interpose.sh \
	tests/negotiate/kernel.sh \
	tests/negotiate/libc.sh \
	tests/negotiate/lifecycle.sh \
	tests/negotiate/matrix.sh \
	tests/negotiate/musl.sh \
	tests/negotiate/plugin.sh \
	tests/negotiate/seccomp.sh \
	tests/negotiate/valgrind.sh
EXTRA_DIST += $(negotiate_tests) \
	tests/negotiate/area.c \
	tests/negotiate/common.sh \
	tests/negotiate/early.c \
	tests/negotiate/host.c \
	tests/negotiate/plugin.c \
	tests/negotiate/plugin.h
TESTS += $(negotiate_tests)

check_LIBRARIES += tests/negotiate/libworker.a
tests_negotiate_libworker_a_SOURCES = \
	tests/negotiate/filter.h \
	tests/negotiate/worker-process.c \
	tests/negotiate/worker-threads.c \
	tests/negotiate/worker.c \
	tests/negotiate/worker.h

check_PROGRAMS += \
	tests/negotiate/fake-kernel \
	tests/negotiate/negotiate-worker \
	tests/negotiate/rseq-filter
tests_negotiate_fake_kernel_SOURCES = tests/negotiate/fake-kernel.c tests/negotiate/fake-kernel.h
tests_negotiate_fake_kernel_LDADD =
tests_negotiate_negotiate_worker_SOURCES =
tests_negotiate_negotiate_worker_LDADD = tests/negotiate/libworker.a src/librseq.la
tests_negotiate_rseq_filter_SOURCES = tests/negotiate/rseq-filter.c tests/negotiate/filter.h
tests_negotiate_rseq_filter_LDADD =
