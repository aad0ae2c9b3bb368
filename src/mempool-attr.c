/* SPDX-License-Identifier: MIT */
/*
 * mempool-attr.c: attributes of pools, and the two helpers for their users.
 */
#include "mempool-internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct rseq_mempool_attr *rseq_mempool_attr_create(void)
{
	struct rseq_mempool_attr *attr = calloc(1, sizeof(*attr));

	if (attr)
		attr->stride = attr->row_len = RSEQ_MEMPOOL_STRIDE;
	return attr;
}

void rseq_mempool_attr_destroy(struct rseq_mempool_attr *attr)
{
	free(attr);
}

static int invalid(void)
{
	errno = EINVAL;
	return -1;
}

int rseq_mempool_attr_set_init(struct rseq_mempool_attr *attr,
		int (*init)(void *priv, void *addr, size_t len, int cpu), void *priv)
{
	if (!attr)
		return invalid();
	attr->init = init;
	attr->priv = priv;
	return 0;
}

int rseq_mempool_attr_set_robust(struct rseq_mempool_attr *attr)
{
	if (!attr)
		return invalid();
	attr->robust = true;
	return 0;
}

static int set_rows(struct rseq_mempool_attr *attr, size_t stride, int max_nr_cpus, bool global)
{
	if (!attr || max_nr_cpus < 0)
		return invalid();
	if (!stride)
		stride = RSEQ_MEMPOOL_STRIDE;
	if (stride & (stride - 1) || stride < (size_t)sysconf(_SC_PAGESIZE))
		return invalid();
	attr->stride = attr->row_len = stride;
	attr->max_nr_cpus = max_nr_cpus;
	attr->global = global;
	return 0;
}

int rseq_mempool_attr_set_percpu(struct rseq_mempool_attr *attr, size_t stride, int max_nr_cpus)
{
	return set_rows(attr, stride, max_nr_cpus, false);
}

int rseq_mempool_attr_set_global(struct rseq_mempool_attr *attr, size_t stride)
{
	return set_rows(attr, stride, 1, true);
}

int rseq_mempool_attr_set_max_nr_ranges(struct rseq_mempool_attr *attr,
		unsigned long max_nr_ranges)
{
	if (!attr)
		return invalid();
	attr->max_nr_ranges = max_nr_ranges;
	return 0;
}

int rseq_mempool_attr_set_poison(struct rseq_mempool_attr *attr, uintptr_t poison)
{
	if (!attr)
		return invalid();
	attr->poison = poison;
	attr->poison_set = true;
	return 0;
}

int rseq_mempool_attr_set_populate_policy(struct rseq_mempool_attr *attr,
		enum rseq_mempool_populate_policy policy)
{
	if (!attr || (policy != RSEQ_MEMPOOL_POPULATE_COW_INIT &&
		      policy != RSEQ_MEMPOOL_POPULATE_COW_ZERO))
		return invalid();
	attr->policy = policy;
	return 0;
}

/* The memory node of a CPU, 0 where the kernel does not say. */
static int node_of_cpu(int cpu)
{
	char path[64];
	struct dirent *entry;
	DIR *directory;
	int node = 0;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d", cpu);
	directory = opendir(path);
	if (!directory)
		return 0;
	while ((entry = readdir(directory)))
		if (sscanf(entry->d_name, "node%d", &node) == 1)
			break;
	closedir(directory);
	return node;
}

/* Calls of move_pages(2) take this number of pages each. */
#define MOVE_BATCH	256

int rseq_mempool_range_init_numa(void *addr, size_t len, int cpu, int numa_flags)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), nr_pages = len / page + !!(len % page);
	void *pages[MOVE_BATCH];
	int nodes[MOVE_BATCH], status[MOVE_BATCH], node;

	if (!addr || (uintptr_t)addr & (page - 1) || cpu < 0 || len > SIZE_MAX - (uintptr_t)addr)
		return invalid();
	node = node_of_cpu(cpu);
	for (size_t done = 0; done < nr_pages; ) {
		size_t batch = nr_pages - done < MOVE_BATCH ? nr_pages - done : MOVE_BATCH;

		for (size_t i = 0; i < batch; i++) {
			pages[i] = (char *)addr + (done + i) * page;
			nodes[i] = node;
		}
		if (syscall(SYS_move_pages, 0, batch, pages, nodes, status, numa_flags) < 0)
			return -1;
		done += batch;
	}
	return 0;
}
