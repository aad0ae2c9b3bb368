# SPDX-License-Identifier: MIT

# For gdb, which loads it by itself together with a library that it is named after.
dist_pkgdata_DATA = src/tools/rseq-gdb.py

bin_PROGRAMS += src/tools/rseqctl
src_tools_rseqctl_SOURCES = \
	src/tools/bench-cache.c \
	src/tools/bench-child.c \
	src/tools/bench-counter.c \
	src/tools/bench-fence.c \
	src/tools/bench-json.c \
	src/tools/bench-list.c \
	src/tools/bench-lock.c \
	src/tools/bench-machine.c \
	src/tools/bench-mempool.c \
	src/tools/bench-ops.c \
	src/tools/bench-options.c \
	src/tools/bench-options.h \
	src/tools/bench-peer.c \
	src/tools/bench-plot.c \
	src/tools/bench-print.c \
	src/tools/bench-refcount.c \
	src/tools/bench-ring.c \
	src/tools/bench-run.c \
	src/tools/bench-stack.c \
	src/tools/bench-start.c \
	src/tools/bench-threads.c \
	src/tools/bench-urcu.c \
	src/tools/bench.c \
	src/tools/bench.h \
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

src_tools_rseqctl_CPPFLAGS = $(RSEQ_CPPFLAGS) -DBENCH_MODULES='"$(pkglibdir)"'
src_tools_rseqctl_LDFLAGS =
src_tools_rseqctl_LDADD = src/librseq.la

# What `rseqctl bench` loads, or has loaded into the processes that it starts. It is not linked with
# the library, which rseqctl has loaded, so that it can be installed anywhere without a new link.
bench_sources = \
	src/tools/bench-call.c \
	src/tools/bench-peers-ring.c \
	src/tools/bench-peers-urcu.c \
	src/tools/bench-peers.c \
	src/tools/bench-peers.h \
	src/tools/bench-plain.c
EXTRA_DIST += $(bench_sources)
if ENABLE_SHARED
pkglib_LTLIBRARIES = \
	src/tools/rseqctl-bench-call.la \
	src/tools/rseqctl-bench-peers.la \
	src/tools/rseqctl-bench-plain.la
endif
bench_module_cflags = $(AM_CFLAGS) -fvisibility=hidden
bench_module_ldflags = -module -avoid-version -shared -Wl,-z,now
src_tools_rseqctl_bench_call_la_SOURCES = src/tools/bench-call.c
src_tools_rseqctl_bench_call_la_CPPFLAGS = $(RSEQ_CPPFLAGS)
src_tools_rseqctl_bench_call_la_CFLAGS = $(bench_module_cflags)
src_tools_rseqctl_bench_call_la_LDFLAGS = $(bench_module_ldflags)
src_tools_rseqctl_bench_call_la_LIBADD =
src_tools_rseqctl_bench_peers_la_SOURCES = \
	src/tools/bench-peers-ring.c \
	src/tools/bench-peers-urcu.c \
	src/tools/bench-peers.c
src_tools_rseqctl_bench_peers_la_CPPFLAGS = $(RSEQ_CPPFLAGS)
# A program would be linked with liburcu, and reach its thread-local data without a call.
src_tools_rseqctl_bench_peers_la_CFLAGS = $(bench_module_cflags) -ftls-model=initial-exec
src_tools_rseqctl_bench_peers_la_LDFLAGS = $(bench_module_ldflags)
src_tools_rseqctl_bench_peers_la_LIBADD =
if HAVE_URCU
src_tools_rseqctl_bench_peers_la_CPPFLAGS += $(URCU_CFLAGS)
src_tools_rseqctl_bench_peers_la_LIBADD += $(URCU_LIBS)
endif
if HAVE_CK
src_tools_rseqctl_bench_peers_la_CPPFLAGS += $(CK_CFLAGS)
endif
src_tools_rseqctl_bench_plain_la_SOURCES = src/tools/bench-plain.c
src_tools_rseqctl_bench_plain_la_CPPFLAGS =
src_tools_rseqctl_bench_plain_la_CFLAGS = $(bench_module_cflags)
src_tools_rseqctl_bench_plain_la_LDFLAGS = $(bench_module_ldflags)
src_tools_rseqctl_bench_plain_la_LIBADD =

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
