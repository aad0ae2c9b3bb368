/* SPDX-License-Identifier: MIT */
/*
 * operations.c: see operations.h. Each leaves the structures as it found them, or nearly so.
 */
#include "operations.h"
#include "works.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/fence.h>
#include <rseq/info.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/mempool.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#define NR_ITEMS	64

static struct rseq_counter *counter;
static struct rseq_list *list;
static struct rseq_stack *stack;
static struct rseq_ring *ring, *stamped;
static struct rseq_lock *lock;
static struct rseq_refcount *ref;
static struct rseq_cache *cache;
static struct rseq_mempool *pool;
static struct rseq_list_node nodes[NR_ITEMS];
static void *items[NR_ITEMS];
static uintptr_t objects[NR_ITEMS + 16];
static size_t nr_objects;
static int nr_released;

static void release(void *unused)
{
	(void)unused;
	nr_released++;
}

static void *alloc_object(size_t size, size_t alignment, void *unused)
{
	(void)size;
	(void)alignment;
	(void)unused;
	return &objects[nr_objects++ % (sizeof(objects) / sizeof(objects[0]))];
}

static void free_object(void *freed, size_t size, void *unused)
{
	(void)freed;
	(void)size;
	(void)unused;
}

bool operations_create(void)
{
	const struct rseq_cache_attr cache_attr = {
		.size = sizeof(cache_attr), .per_cpu = 8, .alloc = alloc_object,
		.free = free_object,
	};
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	counter = rseq_counter_create();
	list = rseq_list_create();
	stack = rseq_stack_create(NR_ITEMS);
	ring = rseq_ring_create(65536, 0);
	stamped = rseq_ring_create(65536, RSEQ_RING_TIMESTAMP | RSEQ_RING_OVERWRITE);
	lock = rseq_lock_create();
	ref = rseq_refcount_create(release, NULL);
	cache = rseq_cache_create("filtered", sizeof(uintptr_t), &cache_attr);
	if (attr)
		rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	pool = rseq_mempool_create("filtered", sizeof(uintptr_t), attr);
	rseq_mempool_attr_destroy(attr);
	return counter && list && stack && ring && stamped && lock && ref && cache && pool;
}

static void op_add(void) { rseq_counter_add(counter, 2); }
static void op_sum(void) { check(rseq_counter_sum(counter) % 2 == 0); }

static void op_push_pop(void)
{
	rseq_list_push(list, &nodes[0]);
	check(rseq_list_pop(list) == &nodes[0]);
}

static void op_pop_none(void) { check(!rseq_list_pop(list)); }
static void op_empty(void) { check(rseq_list_empty(list)); }

static void op_drain(void)
{
	rseq_list_push(list, &nodes[0]);
	check(rseq_list_drain(list) == &nodes[0]);
}

static void op_drain_cpu(void)
{
	rseq_list_push(list, &nodes[0]);
	check(rseq_list_drain_cpu(list, (int)rseq_current_cpu()) == &nodes[0]);
}

static void op_stack(void)
{
	check(!rseq_stack_push(stack, items));
	check(rseq_stack_pop(stack) == items);
}

static void op_batch(void)
{
	void *const some[] = { items, items + 1, items + 2 };
	void *popped[3];

	check(rseq_stack_push_batch(stack, some, 3) == 3);
	check(rseq_stack_pop_batch(stack, popped, 3) == 3);
}

static void op_stack_none(void) { check(!rseq_stack_pop(stack)); }

static void op_stack_full(void)
{
	for (int i = 0; i < NR_ITEMS; i++)
		check(!rseq_stack_push(stack, items));
	check(rseq_stack_push(stack, items) == -1);
	for (int i = 0; i < NR_ITEMS; i++)
		check(rseq_stack_pop(stack));
}

static void op_count(void) { check(!rseq_stack_count(stack, 0)); }

static void op_steal(void)
{
	void *stolen;

	check(!rseq_stack_push(stack, items));
	check(rseq_stack_steal(stack, (int)rseq_current_cpu(), &stolen, 1) == 1);
}

static void count_item(void *one, void *number)
{
	(void)one;
	++*(int *)number;
}

static void op_stack_drain(void)
{
	int number = 0;

	check(!rseq_stack_push(stack, items));
	check(rseq_stack_drain(stack, count_item, &number) == 1 && number == 1);
}

static void op_set_capacity(void) { check(!rseq_stack_set_capacity(stack, 0, NR_ITEMS)); }
static void op_write(void) { check(!rseq_ring_write(ring, items, 24)); }
static void op_stamped(void) { check(!rseq_ring_write(stamped, items, 24)); }

static void op_read(void)
{
	char record[24];

	check(!rseq_ring_write(ring, items, sizeof(record)));
	check(rseq_ring_read(ring, (int)rseq_current_cpu(), record, sizeof(record)) > 0);
}

static void op_ring_stat(void)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };

	check(!rseq_ring_stat(ring, 0, &stat));
}

static void op_lock(void) { check(!rseq_lock_release(lock, rseq_lock_acquire(lock))); }
static void op_try_lock(void) { check(!rseq_lock_release(lock, rseq_lock_try_acquire(lock))); }

static void op_lock_held(void)
{
	int cpu = rseq_lock_acquire(lock);

	check(rseq_lock_try_acquire(lock) == -1 && errno == EBUSY);
	check(!rseq_lock_release(lock, cpu));
}

static void op_lock_cpu(void)
{
	check(!rseq_lock_acquire_cpu(lock, 0));
	check(!rseq_lock_release(lock, 0));
}

static void op_get_put(void)
{
	rseq_refcount_get(ref);
	check(rseq_refcount_tryget(ref));
	rseq_refcount_put(ref);
	rseq_refcount_put(ref);
}

static void op_kill(void)
{
	check(!rseq_refcount_kill(ref) || errno == EALREADY);
	check(nr_released == 1);
}

static void op_object(void)
{
	void *one = rseq_cache_alloc(cache);

	check(one && !rseq_cache_free(cache, one));
}

/* Until the CPU has none, and the depot, and then until there is no room any more. */
static void op_many_objects(void)
{
	void *some[NR_ITEMS];

	for (int i = 0; i < NR_ITEMS; i++)
		some[i] = rseq_cache_alloc(cache);
	for (int i = 0; i < NR_ITEMS; i += 2)
		check(!rseq_cache_free(cache, some[i]));
	for (int i = 1; i < NR_ITEMS; i += 2)
		check(!rseq_cache_free_batch(cache, &some[i], 1));
}

static void op_trim(void) { check(rseq_cache_trim(cache) <= NR_ITEMS); }

static void op_cache_stat(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	check(!rseq_cache_stat(cache, &stat));
}

static void op_item(void)
{
	void *one = rseq_mempool_percpu_malloc(pool);

	check(one);
	rseq_mempool_percpu_free(one);
}

static void op_numbers(void)
{
	check(rseq_current_cpu() < (unsigned int)rseq_get_max_nr_cpus());
	check(rseq_cpu_start() < (unsigned int)rseq_get_max_nr_cpus());
	check(rseq_mm_cid_available() || rseq_current_mm_cid() == (uint32_t)-1);
	check(rseq_get_abi() == rseq_get_abi_slow());
	rseq_current_node_id();
	rseq_prepare_unload();
}

/* A second registration in a registered thread: one more, or nothing at all. */
static void op_register(void)
{
	int error = rseq_register_current_thread() ? errno : 0;

	check(!error || !rseq_thread_registered());
	check(error || !rseq_unregister_current_thread());
}

static void op_info(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(!rseq_get_info(&info));
}

static void op_available(void)
{
	check(rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL) || !rseq_thread_registered());
}

static void op_fence(void)
{
	check(!rseq_fence_all());
	check(!rseq_fence_cpu(0));
}

const struct operation operations[] = {
	{ "counter add", op_add, NONE, WHERE, true },
	{ "counter sum", op_sum, NONE, NONE, true },
	{ "list push and pop", op_push_pop, NONE, WHERE | MASK, true },
	{ "list pop of none", op_pop_none, NONE, WHERE | MASK, true },
	{ "list empty", op_empty, NONE, NONE, true },
	{ "list drain", op_drain, MASK | FENCE, WHERE | MASK, true },
	{ "list drain of a CPU", op_drain_cpu, MASK | FENCE, WHERE | MASK, true },
	{ "stack push and pop", op_stack, NONE, WHERE | MASK, true },
	{ "stack batches", op_batch, NONE, WHERE | MASK, true },
	{ "stack pop of none", op_stack_none, NONE, WHERE | MASK, true },
	{ "stack push to a full one", op_stack_full, NONE, WHERE | MASK, true },
	{ "stack count", op_count, NONE, NONE, true },
	{ "stack steal", op_steal, MASK | FENCE, WHERE | MASK, true },
	{ "stack drain", op_stack_drain, MASK | FENCE, WHERE | MASK, false },
	{ "stack capacity", op_set_capacity, MASK, MASK, true },
	{ "ring write", op_write, NONE, WHERE | MASK, true },
	{ "ring write with time", op_stamped, WHERE, WHERE | MASK, true },
	{ "ring read", op_read, NONE, WHERE | MASK, true },
	{ "ring stat", op_ring_stat, NONE, NONE, true },
	{ "lock", op_lock, NONE, WHERE, false },
	{ "try lock", op_try_lock, NONE, WHERE, true },
	{ "try lock of a held one", op_lock_held, NONE, WHERE, true },
	{ "lock of a CPU", op_lock_cpu, FENCE, NONE, false },
	{ "get and put", op_get_put, NONE, NONE, true },
	{ "kill", op_kill, FENCE, NONE, true },
	{ "cache alloc and free", op_object, NONE, WHERE | MASK, true },
	{ "cache, many objects", op_many_objects, NONE, WHERE | MASK, true },
	{ "cache trim", op_trim, MASK | FENCE, WHERE | MASK, false },
	{ "cache stat", op_cache_stat, NONE, NONE, true },
	{ "pool malloc and free", op_item, MEMORY_AT_FIRST, NONE, false },
	{ "numbers", op_numbers, NONE, WHERE, true },
	{ "register", op_register, WHO | MASK | REGISTER, NONE, true },
	{ "info", op_info, WHO | REGISTER, NONE, true },
	{ "available", op_available, NONE, NONE, true },
	{ "fence", op_fence, FENCE, NONE, true },
};

const size_t nr_operations = sizeof(operations) / sizeof(operations[0]);
