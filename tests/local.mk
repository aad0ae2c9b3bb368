# SPDX-License-Identifier: MIT
# What all tests share. A test is a program or a script: exit status 0 passes, 77 skips and says
# why, anything else fails. Scripts find the tree, the tools and the built library through these
# variables; all paths are absolute.

AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	RSEQ_LIBDIR='$(abs_top_builddir)/src/.libs'; export RSEQ_LIBDIR; \
	RSEQ_EMULATOR='$(RSEQ_EMULATOR)'; export RSEQ_EMULATOR; \
	RSEQ_VERSION='$(PACKAGE_VERSION)'; export RSEQ_VERSION; \
	host_cpu='$(host_cpu)'; export host_cpu; \
	CC='$(CC)'; export CC; \
	CXX='$(CXX)'; export CXX; \
	CFLAGS='$(CFLAGS)'; export CFLAGS; \
	NM='$(NM)'; export NM; \
	OBJDUMP='$(OBJDUMP)'; export OBJDUMP; \
	READELF='$(READELF)'; export READELF; \
	PKG_CONFIG='$(PKG_CONFIG)'; export PKG_CONFIG; \
	MANDOC='$(MANDOC)'; export MANDOC; \
	MAKE='$(MAKE)'; export MAKE;

TEST_EXTENSIONS = .sh
LOG_COMPILER = $(RSEQ_EMULATOR)

EXTRA_DIST += tests/expected-skips tests/need-cmocka.sh tests/ptrace-request.h tests/support.h
EXTRA_DIST += tests/expected-skips tests/names.h tests/need-cmocka.sh tests/support.h
if !HAVE_CMOCKA
TESTS += tests/need-cmocka.sh
endif
