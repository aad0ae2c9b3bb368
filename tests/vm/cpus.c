/* SPDX-License-Identifier: MIT */
/*
 * cpus.c: CPUs that come and go, as root of a virtual machine.
 *
 * usage: cpus hotplug CPU	it goes offline and comes back while its part of each structure is
 *				used
 *	  cpus possible CPU	it has not been online yet, and is possible; then it comes
 *	  cpus restricted CPU	this process may run on no other
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/counter.h>
#include <rseq/fence.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "expect.h"

#define NR_ITEMS	10
#define NR_TURNS	5

#define CPUS_DIRECTORY	"/sys/devices/system/cpu/"

static int possible;			/* CPUs are below this number */

static struct everything {
	struct rseq_counter *counter;
	struct rseq_list *list;
	struct rseq_stack *stack;
	struct rseq_ring *ring;
	struct rseq_lock *lock;
	struct rseq_refcount *refcount;
} all;

static struct rseq_list_node nodes[NR_ITEMS];
static int released;

static void on_release(void *unused)
{
	(void)unused;
	released++;
}

static bool make(void)
{
	all.counter = rseq_counter_create();
	all.list = rseq_list_create();
	all.stack = rseq_stack_create(NR_ITEMS);
	all.ring = rseq_ring_create(4096, 0);
	all.lock = rseq_lock_create();
	all.refcount = rseq_refcount_create(on_release, NULL);
	return all.counter && all.list && all.stack && all.ring && all.lock && all.refcount;
}

static void destroy(void)
{
	EXPECT(!rseq_refcount_kill(all.refcount) && released == 1);
	rseq_refcount_destroy(all.refcount);
	rseq_lock_destroy(all.lock);
	EXPECT(!rseq_ring_destroy(all.ring));
	rseq_stack_destroy(all.stack);
	rseq_list_destroy(all.list);
	rseq_counter_destroy(all.counter);
}

/* The greatest number in a file as "0-3" of that directory, or -1. */
static int last_cpu(const char *name)
{
	char path[64], text[64];
	FILE *file;
	int last = -1;

	snprintf(path, sizeof(path), CPUS_DIRECTORY "%s", name);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (fgets(text, sizeof(text), file)) {
		char *at = text + strcspn(text, "\n");

		while (at > text && at[-1] >= '0' && at[-1] <= '9')
			at--;
		last = atoi(at);
	}
	fclose(file);
	return last;
}

static bool switch_cpu(int cpu, bool on)
{
	char path[64];
	FILE *file;
	bool good;

	snprintf(path, sizeof(path), CPUS_DIRECTORY "cpu%d/online", cpu);
	file = fopen(path, "r+");
	if (!file)
		return false;
	good = fprintf(file, "%d", on) > 0;
	return !fclose(file) && good;
}

/* What the kernel says, past the library. */
static int cpu_now(void)
{
	unsigned int cpu = 0;

	return syscall(SYS_getcpu, &cpu, NULL, NULL) ? -1 : (int)cpu;
}

/* Leaves NR_ITEMS in each structure, and as many references, in the part of one CPU. */
static void fill(int cpu)
{
	EXPECT(!support_move(0, cpu));
	EXPECT(cpu_now() == cpu && (int)rseq_current_cpu() == cpu);
	for (int i = 0; i < NR_ITEMS; i++) {
		int number = 100 * cpu + i;

		rseq_counter_inc(all.counter);
		rseq_refcount_get(all.refcount);
		rseq_list_push(all.list, &nodes[i]);
		EXPECT(!rseq_stack_push(all.stack, &nodes[i]));
		EXPECT(!rseq_ring_write(all.ring, &number, sizeof(number)));
		EXPECT(rseq_lock_acquire(all.lock) == cpu);
		EXPECT(!rseq_lock_release(all.lock, cpu));
	}
	EXPECT(rseq_stack_count(all.stack, cpu) == NR_ITEMS);
}

/* Takes them out of it again, newest first where that is the order; on any CPU. */
static void take(int cpu)
{
	struct rseq_list_node *node = rseq_list_drain_cpu(all.list, cpu);
	void *items[NR_ITEMS + 1];

	for (int i = 0; i < NR_ITEMS; i++) {
		int number = -1;

		EXPECT(node == &nodes[NR_ITEMS - 1 - i]);
		node = node ? node->next : NULL;
		EXPECT(rseq_ring_read(all.ring, cpu, &number, sizeof(number)) == sizeof(number));
		EXPECT(number == 100 * cpu + i);
		rseq_refcount_put(all.refcount);
	}
	EXPECT(!node);
	EXPECT(rseq_stack_steal(all.stack, cpu, items, NR_ITEMS + 1) == NR_ITEMS);
	for (int i = 0; i < NR_ITEMS; i++)
		EXPECT(items[i] == &nodes[i]);
}

/* What can be done to the part of a CPU on which nothing is, from another one. */
static void look_at_empty(int cpu)
{
	void *item;
	char record[8];

	EXPECT(!rseq_fence_cpu(cpu));
	EXPECT(!rseq_list_drain_cpu(all.list, cpu));
	EXPECT(!rseq_stack_steal(all.stack, cpu, &item, 1));
	EXPECT(!rseq_stack_count(all.stack, cpu));
	EXPECT(!rseq_ring_read(all.ring, cpu, record, sizeof(record)));
	EXPECT(!rseq_lock_acquire_cpu(all.lock, cpu));
	EXPECT(!rseq_lock_release(all.lock, cpu));
	EXPECT(!rseq_fence_all());
	EXPECT(rseq_list_empty(all.list) && !rseq_list_drain(all.list));
}

static void check_hotplug(int cpu)
{
	intptr_t sum = rseq_counter_sum(all.counter);

	EXPECT(last_cpu("online") == cpu);
	for (int turn = 0; turn < NR_TURNS; turn++) {
		/* The thread is on that CPU alone, and is driven away. */
		fill(cpu);
		EXPECT(switch_cpu(cpu, false));
		EXPECT(last_cpu("online") == cpu - 1);
		EXPECT(cpu_now() != cpu && (int)rseq_current_cpu() == cpu_now());
		EXPECT(support_move(0, cpu) && errno == EINVAL);
		sum += NR_ITEMS;
		EXPECT(rseq_counter_sum(all.counter) == sum);
		take(cpu);
		look_at_empty(cpu);

		EXPECT(switch_cpu(cpu, true));
		fill(cpu);
		EXPECT(!support_move(0, 0));
		sum += NR_ITEMS;
		EXPECT(rseq_counter_sum(all.counter) == sum);
		take(cpu);
		look_at_empty(cpu);
	}
}

static void check_possible(int cpu)
{
	int online = last_cpu("online");

	EXPECT(online < cpu && cpu < possible);
	EXPECT(!support_move(0, 0));
	for (int other = 0; other < possible; other++)
		look_at_empty(other);
	EXPECT(rseq_fence_cpu(possible) && errno == EINVAL);
	EXPECT(switch_cpu(cpu, true));
	EXPECT(rseq_get_max_nr_cpus() == possible);
	check_hotplug(cpu);
	EXPECT(switch_cpu(cpu, false));
	EXPECT(last_cpu("online") == online);
}

static void check_restricted(int cpu)
{
	struct support_cpus cpus;
	int other = cpu ? 0 : 1;

	EXPECT(last_cpu("online") > 0);
	support_find_cpus(&cpus);
	EXPECT(cpus.nr == 1 && cpus.cpu[0] == cpu);
	EXPECT(support_move(0, other) && errno == EINVAL);
	fill(cpu);
	EXPECT(rseq_counter_sum(all.counter) == NR_ITEMS);
	take(cpu);
	look_at_empty(cpu);
	look_at_empty(other);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*check)(int cpu);
	} checks[] = {
		{ "hotplug", check_hotplug },
		{ "possible", check_possible },
		{ "restricted", check_restricted },
	};
	int status = 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	possible = last_cpu("possible") + 1;
	rseq_register_current_thread();
	printf("%d CPUs are possible, online up to %d; rseq %s\n", possible, last_cpu("online"),
	       rseq_thread_registered() ? "registered" : "not registered");
	EXPECT(rseq_get_max_nr_cpus() == possible);
	for (size_t i = 0; argc == 3 && i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (strcmp(argv[1], checks[i].name))
			continue;
		if (!make())
			return 1;
		checks[i].check(atoi(argv[2]));
		destroy();
		status = nr_failures > 0;
	}
	return status;
}
