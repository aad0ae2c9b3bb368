# SPDX-License-Identifier: MIT

dist_doc_DATA += doc/benchmark.md doc/benchmark.svg doc/guide.md doc/tested.md
dist_man_MANS += \
	doc/man/librseq.7 \
	doc/man/rseq_available.3 \
	doc/man/rseq_cache.3 \
	doc/man/rseq_counter.3 \
	doc/man/rseq_current_cpu.3 \
	doc/man/rseq_fence.3 \
	doc/man/rseq_get_abi.3 \
	doc/man/rseq_get_info.3 \
	doc/man/rseq_list.3 \
	doc/man/rseq_lock.3 \
	doc/man/rseq_mempool.3 \
	doc/man/rseq_mempool_attr_create.3 \
	doc/man/rseq_mempool_set_create.3 \
	doc/man/rseq_ops.3 \
	doc/man/rseq_refcount.3 \
	doc/man/rseq_register_current_thread.3 \
	doc/man/rseq_ring.3 \
	doc/man/rseq_stack.3 \
	doc/man/rseq_urcu.3

examples = \
	doc/examples/01-register \
	doc/examples/02-counter \
	doc/examples/03-list \
	doc/examples/04-stack \
	doc/examples/05-ring \
	doc/examples/06-lock \
	doc/examples/07-cache \
	doc/examples/08-refcount \
	doc/examples/09-fence \
	doc/examples/histogram
if HAVE_URCU_ALL
examples += doc/examples/urcu-table
endif
check_PROGRAMS += $(examples)
doc_examples_01_register_LDADD = src/librseq.la
doc_examples_02_counter_LDADD = src/librseq.la
doc_examples_03_list_LDADD = src/librseq.la
doc_examples_04_stack_LDADD = src/librseq.la
doc_examples_05_ring_LDADD = src/librseq.la
doc_examples_06_lock_LDADD = src/librseq.la
doc_examples_08_refcount_LDADD = src/librseq.la
doc_examples_09_fence_LDADD = src/librseq.la
doc_examples_07_cache_LDADD = src/librseq.la
doc_examples_histogram_LDADD = src/librseq.la
doc_examples_urcu_table_CPPFLAGS = $(AM_CPPFLAGS) $(URCU_ALL_CFLAGS)
doc_examples_urcu_table_LDADD = src/librseq.la $(URCU_ALL_LIBS)

examplesdir = $(docdir)/examples
dist_examples_DATA = \
	doc/examples/01-register.c \
	doc/examples/02-counter.c \
	doc/examples/03-list.c \
	doc/examples/04-stack.c \
	doc/examples/05-ring.c \
	doc/examples/06-lock.c \
	doc/examples/07-cache.c \
	doc/examples/08-refcount.c \
	doc/examples/09-fence.c \
	doc/examples/README.md \
	doc/examples/histogram.c \
	doc/examples/urcu-table.c

examples: $(examples)
.PHONY: examples
