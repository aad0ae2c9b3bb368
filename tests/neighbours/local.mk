# SPDX-License-Identifier: MIT
# Neighbours: whoever else in the process knows of rseq. A program goes through steps that scripts
# put together; it, and what it loads, use every structure, and nothing may be missing in the end.

neighbours_tests = \
	tests/neighbours/allocator.sh \
	tests/neighbours/copies.sh \
	tests/neighbours/foreign.sh \
	tests/neighbours/malloc.sh \
	tests/neighbours/namespaces.sh \
	tests/neighbours/spoilt.sh
EXTRA_DIST += $(neighbours_tests) \
	tests/neighbours/common.sh
TESTS += $(neighbours_tests)

neighbours_program = \
	tests/neighbours/modules.c \
	tests/neighbours/neighbour.h \
	tests/neighbours/steps.c \
	tests/neighbours/steps.h \
	tests/neighbours/threads.c \
	tests/neighbours/user.h
neighbours_user = tests/neighbours/user.c tests/neighbours/user.h
neighbours_neighbour = tests/neighbours/neighbour.c tests/neighbours/neighbour.h

# With the library and without, each beside the stand-in for an allocator and alone.
check_PROGRAMS += \
	tests/neighbours/host \
	tests/neighbours/host-allocator \
	tests/neighbours/program \
	tests/neighbours/program-allocator
tests_neighbours_host_SOURCES = $(neighbours_program)
tests_neighbours_host_LDADD = -ldl
tests_neighbours_host_allocator_SOURCES = $(neighbours_program) $(neighbours_neighbour)
tests_neighbours_host_allocator_CPPFLAGS = $(AM_CPPFLAGS) -DNEIGHBOUR_MALLOC
tests_neighbours_host_allocator_LDADD = -ldl
tests_neighbours_program_SOURCES = $(neighbours_program) $(neighbours_user)
tests_neighbours_program_LDADD = src/librseq.la -ldl
tests_neighbours_program_allocator_SOURCES = $(neighbours_program) $(neighbours_user) \
	$(neighbours_neighbour)
tests_neighbours_program_allocator_CPPFLAGS = $(AM_CPPFLAGS) -DNEIGHBOUR_MALLOC
tests_neighbours_program_allocator_LDADD = src/librseq.la -ldl

# To be loaded. libtool makes what can be loaded of what would be installed somewhere.
neighbours_module = -module -avoid-version -rpath /nowhere
check_LTLIBRARIES = \
	tests/neighbours/allocator.la \
	tests/neighbours/auditor.la \
	tests/neighbours/neighbour.la \
	tests/neighbours/plugin.la \
	tests/neighbours/private.la \
	tests/neighbours/victim.la
tests_neighbours_allocator_la_SOURCES = $(neighbours_neighbour)
tests_neighbours_allocator_la_CPPFLAGS = $(AM_CPPFLAGS) -DNEIGHBOUR_MALLOC
tests_neighbours_allocator_la_LDFLAGS = $(neighbours_module)
tests_neighbours_allocator_la_LIBADD =
tests_neighbours_auditor_la_SOURCES = tests/neighbours/auditor.c $(neighbours_user)
tests_neighbours_auditor_la_CPPFLAGS = $(AM_CPPFLAGS)
tests_neighbours_auditor_la_LDFLAGS = $(neighbours_module)
tests_neighbours_auditor_la_LIBADD = src/librseq.la
tests_neighbours_neighbour_la_SOURCES = $(neighbours_neighbour)
tests_neighbours_neighbour_la_LDFLAGS = $(neighbours_module)
tests_neighbours_neighbour_la_LIBADD =
tests_neighbours_plugin_la_SOURCES = $(neighbours_user)
tests_neighbours_plugin_la_CPPFLAGS = $(AM_CPPFLAGS)
tests_neighbours_plugin_la_LDFLAGS = $(neighbours_module)
tests_neighbours_plugin_la_LIBADD = src/librseq.la
tests_neighbours_private_la_SOURCES = $(neighbours_neighbour)
tests_neighbours_private_la_CPPFLAGS = $(AM_CPPFLAGS) -DNEIGHBOUR_PRIVATE
tests_neighbours_private_la_LDFLAGS = $(neighbours_module)
tests_neighbours_private_la_LIBADD =
tests_neighbours_victim_la_SOURCES = tests/neighbours/victim.c tests/neighbours/neighbour.h
tests_neighbours_victim_la_LDFLAGS = $(neighbours_module)
tests_neighbours_victim_la_LIBADD =
