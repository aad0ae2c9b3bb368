# SPDX-License-Identifier: MIT
# Every critical section of the library, aborted after every instruction (test-abort), those of a
# program that finds the area itself (test-abort-override); and twelve programs with one mistake in
# a section each, in which that must show (mutants.sh).
#
# The library is linked in, so that its sections are among those of the program, and at once, so
# that no step leads through the dynamic linker.

check_LIBRARIES += tests/abort/libabort.a
tests_abort_libabort_a_SOURCES = \
	tests/abort/abort.h \
	tests/abort/arch-aarch64.c \
	tests/abort/arch-x86-64.c \
	tests/abort/arch.h \
	tests/abort/counter.c \
	tests/abort/data.c \
	tests/abort/data.h \
	tests/abort/disturb.c \
	tests/abort/function.h \
	tests/abort/inject.c \
	tests/abort/list.c \
	tests/abort/lock.c \
	tests/abort/main.c \
	tests/abort/mempool.c \
	tests/abort/ops-data.c \
	tests/abort/ops.h \
	tests/abort/point.c \
	tests/abort/refcount.c \
	tests/abort/report.c \
	tests/abort/report.h \
	tests/abort/stack.c \
	tests/abort/ring.c \
	tests/abort/subjects.h \
	tests/abort/tracee.c \
	tests/abort/tracee.h \
	tests/abort/walk.c \
	tests/abort/walk.h
tests_abort_libabort_a_CPPFLAGS = $(abort_CPPFLAGS)

abort_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/src -D_GNU_SOURCE=
abort_LDFLAGS = $(AM_LDFLAGS) -static -Wl,-z,now
abort_LDADD = tests/abort/libabort.a src/librseq.la
abort_sources = tests/abort/mutants.h tests/abort/ops.c tests/abort/subjects.c

check_PROGRAMS += tests/abort/test-abort
tests_abort_test_abort_SOURCES = $(abort_sources)
tests_abort_test_abort_CPPFLAGS = $(abort_CPPFLAGS)
tests_abort_test_abort_LDFLAGS = $(abort_LDFLAGS)
tests_abort_test_abort_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/test-abort-override
tests_abort_test_abort_override_SOURCES = $(abort_sources)
tests_abort_test_abort_override_CPPFLAGS = $(abort_CPPFLAGS) -DRSEQ_GET_ABI_OVERRIDE
tests_abort_test_abort_override_LDFLAGS = $(abort_LDFLAGS)
tests_abort_test_abort_override_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-1
tests_abort_mutant_1_SOURCES = $(abort_sources)
tests_abort_mutant_1_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=1
tests_abort_mutant_1_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_1_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-2
tests_abort_mutant_2_SOURCES = $(abort_sources)
tests_abort_mutant_2_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=2
tests_abort_mutant_2_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_2_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-3
tests_abort_mutant_3_SOURCES = $(abort_sources)
tests_abort_mutant_3_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=3
tests_abort_mutant_3_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_3_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-4
tests_abort_mutant_4_SOURCES = $(abort_sources)
tests_abort_mutant_4_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=4
tests_abort_mutant_4_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_4_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-5
tests_abort_mutant_5_SOURCES = $(abort_sources)
tests_abort_mutant_5_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=5
tests_abort_mutant_5_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_5_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-6
tests_abort_mutant_6_SOURCES = $(abort_sources)
tests_abort_mutant_6_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=6
tests_abort_mutant_6_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_6_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-7
tests_abort_mutant_7_SOURCES = $(abort_sources)
tests_abort_mutant_7_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=7
tests_abort_mutant_7_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_7_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-8
tests_abort_mutant_8_SOURCES = $(abort_sources)
tests_abort_mutant_8_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=8
tests_abort_mutant_8_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_8_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-9
tests_abort_mutant_9_SOURCES = $(abort_sources)
tests_abort_mutant_9_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=9
tests_abort_mutant_9_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_9_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-10
tests_abort_mutant_10_SOURCES = $(abort_sources)
tests_abort_mutant_10_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=10
tests_abort_mutant_10_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_10_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-11
tests_abort_mutant_11_SOURCES = $(abort_sources)
tests_abort_mutant_11_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=11
tests_abort_mutant_11_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_11_LDADD = $(abort_LDADD)

check_PROGRAMS += tests/abort/mutant-12
tests_abort_mutant_12_SOURCES = $(abort_sources)
tests_abort_mutant_12_CPPFLAGS = $(abort_CPPFLAGS) -DMUTANT=12
tests_abort_mutant_12_LDFLAGS = $(abort_LDFLAGS)
tests_abort_mutant_12_LDADD = $(abort_LDADD)

EXTRA_DIST += tests/abort/mutants.sh
TESTS += tests/abort/test-abort tests/abort/test-abort-override tests/abort/mutants.sh
