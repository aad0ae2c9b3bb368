/* SPDX-License-Identifier: MIT */
/*
 * Under a debugger's single steps each section is aborted, over and over. Every operation of the
 * structures ends nevertheless, with the right result: each is stepped through here, in a child,
 * from the first instruction to the last. Those of rseq/ops.h end as aborted, and change nothing.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/fence.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/mempool.h>
#include <rseq/ops.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ptrace.h>

#include <cmocka.h>

#define MAX_STEPS	2000000UL
#define NO_PTRACE	99

/* The first of these that is 0 makes a child return the number of its line. */
#define CHECK(condition)							\
	do {									\
		if (!(condition))						\
			return __LINE__ % 64 + 1;				\
	} while (0)

/* What is stepped through, between two stops. */
static void begin(void)
{
	raise(SIGSTOP);
}

static void end(void)
{
	raise(SIGSTOP);
}

static int step_counter(void)
{
	struct rseq_counter *counter = rseq_counter_create();

	CHECK(counter);
	begin();
	rseq_counter_inc(counter);
	rseq_counter_add(counter, 41);
	rseq_counter_dec(counter);
	CHECK(rseq_counter_sum(counter) == 41);
	end();
	rseq_counter_destroy(counter);
	return 0;
}

static int step_list(void)
{
	struct rseq_list *list = rseq_list_create();
	struct rseq_list_node nodes[4], *drained;

	CHECK(list);
	begin();
	CHECK(!rseq_list_pop(list));
	rseq_list_push(list, &nodes[0]);
	nodes[1].next = &nodes[2];
	rseq_list_push_chain(list, &nodes[1], &nodes[2]);
	CHECK(rseq_list_pop(list) == &nodes[1]);
	rseq_list_push(list, &nodes[3]);
	CHECK(!rseq_list_empty(list));
	drained = rseq_list_drain(list);
	CHECK(drained == &nodes[3] && drained->next == &nodes[2]);
	CHECK(nodes[2].next == &nodes[0] && !nodes[0].next);
	CHECK(!rseq_list_pop(list) && rseq_list_empty(list));
	end();
	rseq_list_destroy(list);
	return 0;
}

/* Nodes of sections, which a thread that is aborted each time has to fetch. */
static int step_pop_of_pushed(void)
{
	struct rseq_list *list = rseq_list_create();
	struct rseq_list_node nodes[2];

	CHECK(list);
	rseq_list_push(list, &nodes[0]);
	rseq_list_push(list, &nodes[1]);
	begin();
	CHECK(rseq_list_pop(list) == &nodes[1]);
	CHECK(rseq_list_pop(list) == &nodes[0]);
	CHECK(!rseq_list_pop(list));
	end();
	rseq_list_destroy(list);
	return 0;
}

static void count_item(void *item, void *nr)
{
	*(size_t *)nr += (uintptr_t)item;
}

static int step_stack(void)
{
	struct rseq_stack *stack = rseq_stack_create(4);
	void *items[4] = { (void *)1, (void *)2, (void *)3, (void *)4 }, *popped[4];
	size_t sum = 0;

	CHECK(stack);
	begin();
	CHECK(!rseq_stack_pop(stack));
	CHECK(!rseq_stack_push(stack, items[0]));
	CHECK(rseq_stack_push_batch(stack, items + 1, 3) == 3);
	CHECK(rseq_stack_pop(stack) == items[3]);
	CHECK(rseq_stack_pop_batch(stack, popped, 2) == 2);
	CHECK(popped[0] == items[1] && popped[1] == items[2]);
	CHECK(!rseq_stack_push(stack, items[1]));
	CHECK(rseq_stack_drain(stack, count_item, &sum) == 2 && sum == 3);
	CHECK(!rseq_stack_pop(stack));
	end();
	rseq_stack_destroy(stack);
	return 0;
}

static int step_stack_of_pushed(void)
{
	struct rseq_stack *stack = rseq_stack_create(4);
	void *items[2] = { (void *)1, (void *)2 }, *stolen[2];
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	CHECK(stack);
	CHECK(rseq_stack_push_batch(stack, items, 2) == 2);
	begin();
	CHECK(rseq_stack_pop(stack) == items[1]);
	CHECK(rseq_stack_steal(stack, cpus.cpu[0], stolen, 2) == 1 && stolen[0] == items[0]);
	end();
	rseq_stack_destroy(stack);
	return 0;
}

static int step_ring_with(unsigned int flags)
{
	struct rseq_ring *ring = rseq_ring_create(4096, flags);
	char record[1000], buf[1000];
	int nr_read = 0, cpu, nr;

	CHECK(ring);
	memset(record, 'x', sizeof(record));
	begin();
	for (nr = 0; nr < 6 && !rseq_ring_write(ring, record, sizeof(record)); nr++)
		;
	for (cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		while (rseq_ring_read(ring, cpu, buf, sizeof(buf)) == sizeof(buf))
			nr_read++;
	end();
	CHECK(flags & RSEQ_RING_OVERWRITE ? nr == 6 && nr_read >= 3 : nr_read == nr);
	CHECK(!memcmp(buf, record, sizeof(buf)));
	return rseq_ring_destroy(ring);
}

static int step_ring(void)
{
	return step_ring_with(0);
}

static int step_overwritten_ring(void)
{
	return step_ring_with(RSEQ_RING_OVERWRITE | RSEQ_RING_TIMESTAMP);
}

static int step_lock(void)
{
	struct rseq_lock *lock = rseq_lock_create();
	int cpu, other;

	CHECK(lock);
	begin();
	cpu = rseq_lock_acquire(lock);
	CHECK(cpu >= 0);
	other = rseq_lock_try_acquire(lock);
	CHECK(other != cpu);
	CHECK(other < 0 || !rseq_lock_release(lock, other));
	CHECK(!rseq_lock_release(lock, cpu));
	cpu = rseq_lock_try_acquire(lock);
	CHECK(cpu >= 0 && !rseq_lock_release(lock, cpu));
	CHECK(!rseq_lock_acquire_cpu(lock, cpu) && !rseq_lock_release(lock, cpu));
	CHECK(rseq_lock_release(lock, cpu) && errno == EPERM);
	end();
	rseq_lock_destroy(lock);
	return 0;
}

/* It was taken by a section. */
static int step_release(void)
{
	struct rseq_lock *lock = rseq_lock_create();
	int cpu;

	CHECK(lock);
	cpu = rseq_lock_acquire(lock);
	begin();
	CHECK(!rseq_lock_release(lock, cpu));
	cpu = rseq_lock_acquire(lock);
	CHECK(cpu >= 0 && !rseq_lock_release(lock, cpu));
	end();
	rseq_lock_destroy(lock);
	return 0;
}

static void count_release(void *nr)
{
	++*(int *)nr;
}

static int step_refcount(void)
{
	int nr_released = 0;
	struct rseq_refcount *ref = rseq_refcount_create(count_release, &nr_released);

	CHECK(ref);
	begin();
	rseq_refcount_get(ref);
	CHECK(rseq_refcount_tryget(ref));
	rseq_refcount_put(ref);
	CHECK(!rseq_refcount_kill(ref) && !nr_released);
	CHECK(!rseq_refcount_tryget(ref));
	rseq_refcount_put(ref);
	CHECK(nr_released == 1);
	end();
	rseq_refcount_destroy(ref);
	return 0;
}

static int step_cache(void)
{
	const struct rseq_cache_attr attr = { .size = sizeof(attr), .per_cpu = 2 };
	struct rseq_cache *cache = rseq_cache_create("stepped", 64, &attr);
	void *objects[8];

	CHECK(cache);
	begin();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 8; i++) {
			objects[i] = rseq_cache_alloc(cache);
			CHECK(objects[i]);
		}
		for (int i = 0; i < 8; i++)
			CHECK(!rseq_cache_free(cache, objects[i]));
	}
	end();
	return rseq_cache_destroy(cache);
}

static int step_mempool(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("stepped", 64, NULL);
	void *items[2];

	CHECK(pool);
	begin();
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 2; i++) {
			items[i] = rseq_mempool_percpu_malloc(pool);
			CHECK(items[i]);
		}
		CHECK(items[0] != items[1]);
		for (int i = 0; i < 2; i++)
			rseq_mempool_percpu_free(items[i]);
	}
	end();
	return rseq_mempool_destroy(pool);
}

/* Each is aborted, as its documentation says. */
static int step_operations(void)
{
	struct { intptr_t next, value; } node = { 0, 5 };
	intptr_t v = (intptr_t)&node, v2 = 7, from = 9, to = 8, load = 6;
	struct support_cpus cpus;
	int cpu;

	support_find_cpus(&cpus);
	cpu = cpus.cpu[0];
	begin();
	CHECK(rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v2, 7, 1, cpu) == -1);
	CHECK(rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v, 0,
						       0, &load, cpu) == -1);
	CHECK(rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v2, 1, cpu) == -1);
	CHECK(rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v,
						     sizeof(intptr_t), 1, cpu) == -1);
	CHECK(rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v2, 7,
						  &from, 9, 1, cpu) == -1);
	CHECK(rseq_load_cbne_store_store__ptr(RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID, &v2, 7, &to, 1,
					      1, cpu) == -1);
	CHECK(rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID, &v2, 7, &to,
					       &from, sizeof(to), 1, cpu) == -1);
	end();
	CHECK(v == (intptr_t)&node && v2 == 7 && node.value == 5);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} all[] = {
	{ "counter", step_counter },
	{ "list", step_list },
	{ "list, pop of what was pushed before", step_pop_of_pushed },
	{ "stack", step_stack },
	{ "stack, pop and steal of what was pushed before", step_stack_of_pushed },
	{ "ring", step_ring },
	{ "ring, overwritten, with timestamps", step_overwritten_ring },
	{ "lock", step_lock },
	{ "lock, taken before", step_release },
	{ "refcount", step_refcount },
	{ "cache", step_cache },
	{ "mempool", step_mempool },
	{ "operations", step_operations },
};

static int trace_me(int (*run)(void))
{
	struct support_cpus cpus;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return NO_PTRACE;
	/* What one CPU has, another does not find. */
	support_find_cpus(&cpus);
	CHECK(!support_move(0, cpus.cpu[0]));
	rseq_register_current_thread();
	return run();
}

/* Steps from the first stop to the second. Returns the child's exit status. */
static int step_through(int (*run)(void), unsigned long *steps)
{
	pid_t child = fork();
	int status = -1;

	if (!child)
		_exit(trace_me(run));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	for (*steps = 0; *steps < MAX_STEPS; ++*steps) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
			break;
	}
	if (*steps == MAX_STEPS) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		fail_msg("no end after %lu steps", MAX_STEPS);
	}
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP) {
		ptrace(PTRACE_CONT, child, NULL, NULL);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_every_operation(void **state)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	(void)state;
	/* A sanitizer of threads makes each instruction hundreds. */
	if (RSEQ_SANITIZE_THREAD || (emulator && *emulator))
		skip();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		unsigned long steps = 0;
		int result = step_through(all[i].run, &steps);

		if (result == NO_PTRACE)
			skip();
		print_message("%s: %lu instructions\n", all[i].name, steps);
		if (result)
			fail_msg("%s ends with %d", all[i].name, result);
		assert_true(steps > 0);
	}
}

static int run_group(void)
{
	const struct CMUnitTest single_step[] = {
		cmocka_unit_test(test_every_operation),
	};

	return cmocka_run_group_tests(single_step, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
