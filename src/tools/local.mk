# SPDX-License-Identifier: MIT

bin_PROGRAMS += src/tools/rseqctl
src_tools_rseqctl_SOURCES = \
	src/tools/info-maps.c \
	src/tools/info-pid.c \
	src/tools/info-pid.h \
	src/tools/info-print.c \
	src/tools/info-probe.c \
	src/tools/info-ptrace.c \
	src/tools/info.c \
	src/tools/info.h \
	src/tools/json.c \
	src/tools/json.h \
	src/tools/rseqctl.c \
	src/tools/rseqctl.h

src_tools_rseqctl_CPPFLAGS = $(RSEQ_CPPFLAGS)
src_tools_rseqctl_LDFLAGS =
src_tools_rseqctl_LDADD = src/librseq.la

# Without libelf and capstone `rseqctl verify` says that it is missing; without libdw it prints no
# source lines.
verify_sources = \
	src/tools/verify-aarch64.c \
	src/tools/verify-arming.c \
	src/tools/verify-body.c \
	src/tools/verify-flow.c \
	src/tools/verify-image.c \
	src/tools/verify-image.h \
	src/tools/verify-insn.c \
	src/tools/verify-insn.h \
	src/tools/verify-json.c \
	src/tools/verify-jumps.c \
	src/tools/verify-line.c \
	src/tools/verify-reloc.c \
	src/tools/verify-report.c \
	src/tools/verify-tables.c \
	src/tools/verify-x86.c \
	src/tools/verify.c \
	src/tools/verify.h
EXTRA_DIST += $(verify_sources)
if HAVE_VERIFY
src_tools_rseqctl_SOURCES += $(verify_sources)
src_tools_rseqctl_CPPFLAGS += $(VERIFY_CFLAGS) $(LIBDW_CFLAGS)
src_tools_rseqctl_LDADD += $(VERIFY_LIBS) $(LIBDW_LIBS)
endif

dist_man_MANS += doc/man/rseqctl.1
