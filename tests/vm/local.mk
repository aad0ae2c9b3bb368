# SPDX-License-Identifier: MIT
# make check-vm [CELLS="PATTERN..."]: the tests on other kernels, in virtual machines.

vm_files = \
	tests/vm/cells \
	tests/vm/compare-info.py \
	tests/vm/expected-info \
	tests/vm/image.sh \
	tests/vm/init \
	tests/vm/packages.sh \
	tests/vm/programs \
	tests/vm/run \
	tests/vm/setup \
	tests/vm/toolchains.sh
EXTRA_DIST += $(vm_files)

check_PROGRAMS += tests/vm/probe
tests_vm_probe_LDADD = src/librseq.la

CELLS = ci
VM_FLAGS =

check-vm: all
	$(srcdir)/tests/vm/run -b '$(host_cpu)=$(abs_top_builddir)' $(VM_FLAGS) -- '$(CELLS)'
.PHONY: check-vm

clean-local: clean-vm
clean-vm:
	rm -rf vm-logs
.PHONY: clean-vm
