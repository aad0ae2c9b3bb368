/* SPDX-License-Identifier: MIT */
/*
 * numa.c: memory nodes of a machine with two or more: threads know which one they are on, and rows
 * of per-CPU memory can be moved to that of their CPU.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "expect.h"

#define MAX_NODES	64
#define MOVE_PAGES	(1 << 1)	/* MPOL_MF_MOVE */
#define ITEM_LEN	64

/* As sysfs says it, past the system calls that the library uses. */
static int node_of_cpu(int cpu)
{
	for (int node = 0; node < MAX_NODES; node++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpu%d", node, cpu);
		if (!access(path, F_OK))
			return node;
	}
	return -1;
}

static int node_of_page(void *address)
{
	int node = -1;

	if (syscall(SYS_move_pages, 0, 1UL, &address, NULL, &node, 0))
		return -1;
	return node;
}

static uint64_t check_threads(const struct support_cpus *cpus)
{
	uint64_t seen = 0;

	EXPECT(rseq_node_id_available());
	for (int turn = 0; turn < 100; turn++) {
		int cpu = cpus->cpu[turn % cpus->nr], node = node_of_cpu(cpu);

		EXPECT(node >= 0);
		EXPECT(!support_move(0, cpu));
		EXPECT((int)rseq_current_cpu() == cpu);
		EXPECT((int)rseq_current_node_id() == node);
		EXPECT((int)rseq_get_abi()->node_id == node);
		EXPECT(rseq_fallback_current_node() == node);
		seen |= UINT64_C(1) << node;
		if (turn < cpus->nr)
			printf("CPU %d: node_id %u\n", cpu, rseq_current_node_id());
	}
	return seen;
}

/* The pages must be there to be moved. */
static int place(void *unused, void *addr, size_t len, int cpu)
{
	(void)unused;
	memset(addr, cpu + 1, len);
	return rseq_mempool_range_init_numa(addr, len, cpu, MOVE_PAGES);
}

static void check_memory(const struct support_cpus *cpus)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;
	char __rseq_percpu *item;

	EXPECT(attr && !rseq_mempool_attr_set_init(attr, place, NULL));
	EXPECT(!rseq_mempool_attr_set_percpu(attr, 65536, 0));
	pool = rseq_mempool_create("numa", ITEM_LEN, attr);
	EXPECT(pool);
	item = pool ? rseq_mempool_percpu_malloc(pool) : NULL;
	EXPECT(item);
	for (int i = 0; item && i < cpus->nr; i++) {
		int cpu = cpus->cpu[i];
		char *mine = rseq_percpu_ptr(item, cpu, 65536);

		EXPECT(*mine == cpu + 1);
		EXPECT(node_of_page((void *)((uintptr_t)mine & ~UINT64_C(4095))) ==
		       node_of_cpu(cpu));
		printf("CPU %d: row on node %d\n", cpu,
		       node_of_page((void *)((uintptr_t)mine & ~UINT64_C(4095))));
	}
	rseq_mempool_percpu_free(item, 65536);
	EXPECT(!rseq_mempool_destroy(pool));
	rseq_mempool_attr_destroy(attr);
}

int main(void)
{
	struct support_cpus cpus;
	uint64_t seen;

	setvbuf(stdout, NULL, _IOLBF, 0);
	support_find_cpus(&cpus);
	EXPECT(!rseq_register_current_thread());
	seen = check_threads(&cpus);
	EXPECT(seen & (seen - 1));	/* more than one */
	check_memory(&cpus);
	return nr_failures > 0;
}
