# SPDX-License-Identifier: MIT
# What these need beside a build, ./dev setup installs.
#
# make check-vm [CELLS="PATTERN..."]: the tests on other kernels, in virtual machines.
# make tested [CELLS="PATTERN..."]: all of them, for doc/tested.md.
# VM_FLAGS=-a has either run the long programs, too; hours of them.

vm_files = \
	tests/vm/cells \
	tests/vm/compare-info.py \
	tests/vm/cpuset.sh \
	tests/vm/expected-info \
	tests/vm/hotplug.sh \
	tests/vm/image.sh \
	tests/vm/init \
	tests/vm/packages.sh \
	tests/vm/programs \
	tests/vm/run \
	tests/vm/table.py \
	tests/vm/toolchains.sh
EXTRA_DIST += $(vm_files) tests/vm/runner.sh
TESTS += tests/vm/runner.sh

vm_programs = tests/vm/cpus tests/vm/misuse tests/vm/numa tests/vm/probe
check_PROGRAMS += $(vm_programs)
tests_vm_cpus_SOURCES = tests/vm/cpus.c tests/vm/expect.h
tests_vm_cpus_LDADD = src/librseq.la
tests_vm_misuse_LDADD = src/librseq.la
tests_vm_numa_SOURCES = tests/vm/numa.c tests/vm/expect.h
tests_vm_numa_LDADD = src/librseq.la
tests_vm_probe_LDADD = src/librseq.la

check-vm: all
	$(run_vm) $(VM_FLAGS) -- '$(CELLS)'
tested: all
	cells='$(CELLS)'; $(run_vm) -o $(srcdir)/doc/tested.md $(VM_FLAGS) -- "$${cells:-*}"
.PHONY: check-vm tested
run_vm = $(srcdir)/tests/vm/run -b '$(host_cpu)=$(abs_top_builddir)'

clean-local: clean-vm
clean-vm:
	rm -rf vm-logs
.PHONY: clean-vm
