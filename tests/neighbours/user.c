/* SPDX-License-Identifier: MIT */
/*
 * user.c: uses each structure of the library so that in the end all that was put in is accounted
 * for.
 */
#define _GNU_SOURCE

#include "support.h"
#include "user.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/info.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#define NR_NODES	32		/* of a thread */
#define NR_OBJECTS	8
#define RARELY		16		/* rounds: what takes locks, and is disturbed */

struct node {
	struct rseq_list_node link;	/* comes first */
	unsigned int seen;
};

struct record {
	intptr_t index, number;
};

/* What a thread has in its hands. */
struct hand {
	struct node nodes[NR_NODES];	/* its own at the start */
	struct node *list[USER_MAX_THREADS * NR_NODES], *stack[USER_MAX_THREADS * NR_NODES];
	int nr_list, nr_stack;
	struct node items[NR_NODES];
	long rounds, locked, written;
};

static struct hand hands[USER_MAX_THREADS];
static struct rseq_counter *counter;
static struct rseq_list *list;
static struct rseq_stack *stack;
static struct rseq_ring *ring;
static struct rseq_refcount *refcount;
static struct rseq_lock *lock;
static struct rseq_cache *cache;
static long *locked;			/* of each CPU, written under its lock */
static int nr_released, nr_complaints;

#define check(condition)							\
	do {									\
		if (!(condition))						\
			complain(__LINE__, #condition);				\
	} while (0)

static void complain(int line, const char *what)
{
	/* Users of other namespaces have a stderr of their own. */
	if (__atomic_fetch_add(&nr_complaints, 1, __ATOMIC_RELAXED) < 20)
		dprintf(2, "user.c:%d: not so: %s\n", line, what);
}

static void release(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&nr_released, 1, __ATOMIC_RELAXED);
}

static int start(void)
{
	memset(hands, 0, sizeof(hands));
	for (int i = 0; i < USER_MAX_THREADS; i++) {
		struct hand *hand = &hands[i];

		for (int k = 0; k < NR_NODES; k++) {
			hand->list[hand->nr_list++] = &hand->nodes[k];
			hand->stack[hand->nr_stack++] = &hand->items[k];
		}
	}
	nr_released = 0;
	counter = rseq_counter_create();
	list = rseq_list_create();
	stack = rseq_stack_create(USER_MAX_THREADS * NR_NODES);
	ring = rseq_ring_create(1 << 18, 0);
	refcount = rseq_refcount_create(release, NULL);
	lock = rseq_lock_create();
	cache = rseq_cache_create("neighbours", 64, NULL);
	locked = calloc((size_t)rseq_get_max_nr_cpus(), sizeof(*locked));
	return counter && list && stack && ring && refcount && lock && cache && locked ? 0 : -1;
}

static void use_list(struct hand *hand, bool push)
{
	struct rseq_list_node *node;

	if (push && hand->nr_list) {
		rseq_list_push(list, &hand->list[--hand->nr_list]->link);
		return;
	}
	node = rseq_list_pop(list);
	if (node)
		hand->list[hand->nr_list++] = (struct node *)node;
}

static void use_stack(struct hand *hand, bool push)
{
	void *item;

	if (push && hand->nr_stack) {
		check(!rseq_stack_push(stack, hand->stack[--hand->nr_stack]));
		return;
	}
	item = rseq_stack_pop(stack);
	if (item)
		hand->stack[hand->nr_stack++] = item;
}

static void use_lock(struct hand *hand)
{
	int cpu = rseq_lock_acquire(lock);

	check(cpu >= 0 && cpu < rseq_get_max_nr_cpus());
	if (cpu < 0)
		return;
	locked[cpu]++;
	hand->locked++;
	check(!rseq_lock_release(lock, cpu));
}

/* Objects stay out for a few rounds, and are as they were left. */
static void use_cache(intptr_t *objects[NR_OBJECTS], long round, intptr_t stamp)
{
	intptr_t **object = &objects[round % NR_OBJECTS];

	if (*object) {
		check((*object)[0] == stamp - NR_OBJECTS && (*object)[7] == stamp - NR_OBJECTS);
		check(!rseq_cache_free(cache, *object));
	}
	*object = rseq_cache_alloc(cache);
	check(*object);
	if (*object)
		(*object)[0] = (*object)[7] = stamp;
}

static void use_rarely(struct hand *hand, int index)
{
	struct record record = { index, hand->written };

	use_lock(hand);
	check(!rseq_ring_write(ring, &record, sizeof(record)));
	hand->written++;
	check(rseq_refcount_tryget(refcount));
	rseq_refcount_put(refcount);
	check(rseq_cpu_start() < (unsigned int)rseq_get_max_nr_cpus());
}

/* On one CPU, what the library says of it must be so. */
static void check_cpu(int index)
{
	struct support_cpus cpus;
	unsigned int node;
	int cpu;

	support_find_cpus(&cpus);
	cpu = cpus.cpu[index % cpus.nr];
	check(!support_move(0, cpu));
	check((int)rseq_current_cpu() == cpu);
	if (rseq_thread_registered())
		check(rseq_current_cpu_raw() == cpu && (int)rseq_cpu_start() == cpu);
	if (!syscall(SYS_getcpu, NULL, &node, NULL))
		check(rseq_current_node_id() == node);
	if (rseq_mm_cid_available())
		check(rseq_current_mm_cid() < (unsigned int)rseq_get_max_nr_cpus());
	check(!support_release(&cpus));
}

static void use(int index, int rounds, void (*disturb)(void))
{
	struct hand *hand = &hands[index];
	intptr_t *objects[NR_OBJECTS] = { NULL };

	check_cpu(index);
	for (long i = 0; i < rounds; i++) {
		bool push = i % 3 != 2;

		rseq_counter_add(counter, 3);
		rseq_counter_dec(counter);
		rseq_refcount_get(refcount);
		use_list(hand, push);
		use_stack(hand, push);
		use_cache(objects, i, ((intptr_t)index << 32) + i);
		if (i % RARELY == 0) {
			if (disturb)
				disturb();
			use_rarely(hand, index);
		}
		rseq_refcount_put(refcount);
	}
	hand->rounds += rounds;
	for (int i = 0; i < NR_OBJECTS; i++)
		rseq_cache_free(cache, objects[i]);
	check_cpu(index);
}

static int register_thread(void)
{
	return rseq_register_current_thread() ? errno : 0;
}

static int unregister_thread(void)
{
	return rseq_unregister_current_thread() ? errno : 0;
}

static void forget(void)
{
	unsigned int length = support_registered_length(rseq_get_abi());

	if (length)
		check(!support_sys_rseq(rseq_get_abi(), length, RSEQ_ABI_FLAG_UNREGISTER,
					RSEQ_SIG));
	check(!rseq_thread_registered());
}

static void spoil(void)
{
	RSEQ_WRITE_ONCE(rseq_get_abi()->cpu_id, (uint32_t)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED);
}

static void leave(void)
{
	rseq_prepare_unload();
}

/* Whatever the library says, the kernel must agree. */
static void describe(struct user_info *seen)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(!rseq_get_info(&info));
	check((info.reason == RSEQ_REASON_NONE) == rseq_thread_registered());
	if (info.reason == RSEQ_REASON_NONE)
		check(support_is_registered(rseq_get_abi(), info.registered_length));
	if (info.owner == RSEQ_OWNER_LIBRSEQ)
		check(rseq_size == info.feature_size);
	if (info.reason == RSEQ_REASON_OVERWRITTEN)
		check(support_is_registered(rseq_get_abi(), info.registered_length));
	else if (info.reason != RSEQ_REASON_NONE)
		check(!info.registered_length && !support_registered_length(rseq_get_abi()));
	seen->owner = info.owner;
	seen->reason = info.reason;
	seen->origin = info.area_origin;
	seen->registered_length = info.registered_length;
	seen->length = info.length;
	seen->other_definitions = info.other_definitions;
}

static void mark(void *item, void *argument)
{
	(void)argument;
	((struct node *)item)->seen++;
}

/* Every node is in one hand, or in the structure, once. */
static void check_nodes(void)
{
	struct rseq_list_node *next;

	for (struct rseq_list_node *node = rseq_list_drain(list); node; node = next) {
		next = node->next;
		mark(node, NULL);
	}
	rseq_stack_drain(stack, mark, NULL);
	for (int i = 0; i < USER_MAX_THREADS; i++) {
		for (int k = 0; k < hands[i].nr_list; k++)
			mark(hands[i].list[k], NULL);
		for (int k = 0; k < hands[i].nr_stack; k++)
			mark(hands[i].stack[k], NULL);
	}
	for (int i = 0; i < USER_MAX_THREADS; i++)
		for (int k = 0; k < NR_NODES; k++)
			check(hands[i].nodes[k].seen == 1 && hands[i].items[k].seen == 1);
}

/* Every record is there once, and under one CPU those of a thread are in order. */
static void check_records(void)
{
	long nr[USER_MAX_THREADS] = { 0 }, sum[USER_MAX_THREADS] = { 0 };
	struct record record;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		intptr_t last[USER_MAX_THREADS];

		memset(last, -1, sizeof(last));
		while (rseq_ring_read(ring, cpu, &record, sizeof(record)) == sizeof(record)) {
			check(record.number > last[record.index]);
			last[record.index] = record.number;
			nr[record.index]++;
			sum[record.index] += record.number;
		}
	}
	for (int i = 0; i < USER_MAX_THREADS; i++) {
		check(nr[i] == hands[i].written);
		check(sum[i] == nr[i] * (nr[i] - 1) / 2);
	}
}

static void check_locked(void)
{
	long sum = 0;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		sum += locked[cpu];
	for (int i = 0; i < USER_MAX_THREADS; i++)
		sum -= hands[i].locked;
	check(!sum);
}

static void finish(void)
{
	intptr_t sum = rseq_counter_sum(counter);

	for (int i = 0; i < USER_MAX_THREADS; i++)
		sum -= 2 * hands[i].rounds;
	check(!sum);
	check_nodes();
	check_records();
	check_locked();
	rseq_refcount_get(refcount);
	check(!rseq_refcount_kill(refcount) && !nr_released);
	rseq_refcount_put(refcount);
	check(nr_released == 1);
	rseq_refcount_destroy(refcount);
	rseq_counter_destroy(counter);
	rseq_list_destroy(list);
	rseq_stack_destroy(stack);
	check(!rseq_ring_destroy(ring));
	rseq_lock_destroy(lock);
	check(!rseq_cache_destroy(cache));
	free(locked);
}

static int complaints(void)
{
	return __atomic_load_n(&nr_complaints, __ATOMIC_RELAXED);
}

const struct user user = {
	start, use, register_thread, unregister_thread, forget, spoil, leave, describe, finish,
	complaints,
};
