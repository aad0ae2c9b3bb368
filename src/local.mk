# SPDX-License-Identifier: MIT

rseqincludedir = $(includedir)/rseq
rseqinclude_HEADERS = \
	include/rseq/abi.h \
	include/rseq/cache.h \
	include/rseq/compiler.h \
	include/rseq/counter.h \
	include/rseq/fence.h \
	include/rseq/info.h \
	include/rseq/list.h \
	include/rseq/lock.h \
	include/rseq/mempool.h \
	include/rseq/ops.h \
	include/rseq/refcount.h \
	include/rseq/ring.h \
	include/rseq/rseq.h \
	include/rseq/section.h \
	include/rseq/stack.h \
	include/rseq/thread-pointer.h \
	include/rseq/thread.h \
	include/rseq/urcu.h \
	include/rseq/utils.h

rseqarchincludedir = $(rseqincludedir)/arch
rseqarchinclude_HEADERS = \
	include/rseq/arch/aarch64.h \
	include/rseq/arch/x86-64.h

lib_LTLIBRARIES += src/librseq.la
src_librseq_la_SOURCES = \
	src/cache-debug.c \
	src/cache-depot.c \
	src/cache-internal.h \
	src/cache.c \
	src/counter.c \
	src/cpus.c \
	src/fence.c \
	src/fork.c \
	src/info.c \
	src/init.c \
	src/internal.h \
	src/kernel.c \
	src/list.c \
	src/lock.c \
	src/mempool-attr.c \
	src/mempool-find.c \
	src/mempool-internal.h \
	src/mempool-items.c \
	src/mempool-magazine.c \
	src/mempool-range.c \
	src/mempool-set.c \
	src/mempool-written.c \
	src/mempool.c \
	src/percpu.c \
	src/percpu.h \
	src/refcount.c \
	src/ring-internal.h \
	src/ring-read.c \
	src/ring.c \
	src/stack-internal.h \
	src/stack-memory.c \
	src/stack.c \
	src/symbol.c \
	src/thread.c \
	src/vector.c

src_librseq_la_CPPFLAGS = $(RSEQ_CPPFLAGS) -D_GNU_SOURCE=
src_librseq_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden -ftls-model=initial-exec
# Code apart from constants would be two mappings more, 12 us in the start of each program.
src_librseq_la_LDFLAGS = -version-info 1:0:0 -no-undefined \
	-Wl,--version-script=$(srcdir)/src/librseq.map \
	-Wl,-z,nodelete -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,-z,noseparate-code
EXTRA_src_librseq_la_DEPENDENCIES = src/librseq.map
EXTRA_DIST += src/librseq.map

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = src/librseq.pc src/librseq-urcu.pc

# Where gdb looks for what belongs to the shared library.
gdbdir = $(datadir)/gdb/auto-load$(libdir)

# `make install prefix=DIR` may name another prefix than configure knew.
install-data-hook:
	sed -i 's|^prefix=.*|prefix=$(prefix)|' '$(DESTDIR)$(pkgconfigdir)/librseq.pc' \
		'$(DESTDIR)$(pkgconfigdir)/librseq-urcu.pc'
	name=`sed -n "s/^library_names='\([^ ']*\).*/\1/p" src/librseq.la`; \
	test -z "$$name" || { $(MKDIR_P) '$(DESTDIR)$(gdbdir)' && \
		ln -sf '$(pkgdatadir)/rseq-gdb.py' "$(DESTDIR)$(gdbdir)/$$name-gdb.py"; }

uninstall-hook:
	rm -f '$(DESTDIR)$(gdbdir)'/librseq.so.*-gdb.py
