/* SPDX-License-Identifier: MIT */
/*
 * Plain data goes from thread to thread through the structures, which order it. In a build for a
 * sanitizer of threads, it must say nothing to that, and must still report a thread that keeps on
 * writing to what it gave away; each case is a child of its own. In other builds the values are
 * what is compared.
 *
 * The threads run by turns, which nothing but the structure orders, as far as a sanitizer sees: a
 * turn is a relaxed word.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/cache.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/ops.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define NR_ROUNDS	50

/* Exit status of a child in which a sanitizer has reported something, and of one with no value. */
#define REPORTED	66
#define WRONG		3

struct thing {
	struct rseq_list_node node;
	struct rseq_list_node first, last;	/* of a chain around it */
	long value;
};

/* A way to hand a thing over, between two threads on the same CPU. */
struct handover {
	const char *name;
	int (*create)(void);
	void (*give)(struct thing *thing);
	struct thing *(*take)(void);
	bool operation;			/* without rseq there is none */
};

static const struct handover *way;
static struct thing things[NR_ROUNDS];
static struct support_cpus cpus;
static int turn;
static bool race, reported, giver_without_rseq, taker_without_rseq;

static struct rseq_list *list;
static struct rseq_stack *stack;
static struct rseq_cache *cache;
static struct rseq_ring *ring;
static struct rseq_lock *lock;
static struct rseq_refcount *refs[NR_ROUNDS];
static struct thing *slot, *released;
static intptr_t head;

static int create_list(void)
{
	list = rseq_list_create();
	return !list;
}

static void push_to_list(struct thing *thing)
{
	rseq_list_push(list, &thing->node);
}

static struct thing *pop_from_list(void)
{
	return (struct thing *)rseq_list_pop(list);
}

static struct thing *drain_list(void)
{
	return (struct thing *)rseq_list_drain(list);
}

/* What a chain has in the middle has to be known as well. */
static void push_chain(struct thing *thing)
{
	thing->first.next = &thing->node;
	thing->node.next = &thing->last;
	rseq_list_push_chain(list, &thing->first, &thing->last);
}

static struct thing *drain_chain(void)
{
	struct rseq_list_node *node = rseq_list_drain(list);

	return (struct thing *)(node ? node->next : NULL);
}

static struct thing *pop_chain(void)
{
	struct rseq_list_node *middle;

	rseq_list_pop(list);
	middle = rseq_list_pop(list);
	rseq_list_pop(list);
	return (struct thing *)middle;
}

static int create_stack(void)
{
	stack = rseq_stack_create(16);
	return !stack;
}

static void push_to_stack(struct thing *thing)
{
	if (rseq_stack_push(stack, thing))
		_exit(WRONG);
}

static struct thing *pop_from_stack(void)
{
	return rseq_stack_pop(stack);
}

static void push_batch(struct thing *thing)
{
	void *items[] = { thing };

	if (rseq_stack_push_batch(stack, items, 1) != 1)
		_exit(WRONG);
}

static struct thing *pop_batch(void)
{
	void *items[2] = { NULL };

	rseq_stack_pop_batch(stack, items, 2);
	return items[0];
}

static struct thing *steal(void)
{
	void *item = NULL;

	rseq_stack_steal(stack, cpus.cpu[0], &item, 1);
	return item;
}

static void keep(void *item, void *kept)
{
	*(void **)kept = item;
}

static struct thing *drain_stack(void)
{
	void *item = NULL;

	rseq_stack_drain(stack, keep, &item);
	return item;
}

static void *no_memory(size_t size, size_t alignment, void *priv)
{
	(void)size;
	(void)alignment;
	(void)priv;
	return NULL;
}

static void no_free(void *object, size_t size, void *priv)
{
	(void)object;
	(void)size;
	(void)priv;
}

/* Things come from elsewhere, to be freed into it. */
static int create_cache(void)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .alloc = no_memory, .free = no_free,
	};

	cache = rseq_cache_create("things", sizeof(struct thing), &attr);
	return !cache;
}

static void free_into_cache(struct thing *thing)
{
	rseq_cache_free(cache, thing);
}

static struct thing *alloc_from_cache(void)
{
	return rseq_cache_alloc(cache);
}

static int create_ring(void)
{
	ring = rseq_ring_create(4096, RSEQ_RING_OVERWRITE);
	return !ring;
}

static void write_to_ring(struct thing *thing)
{
	if (rseq_ring_write(ring, &thing, sizeof(thing)))
		_exit(WRONG);
}

static struct thing *read_from_ring(void)
{
	struct thing *thing = NULL;

	rseq_ring_read(ring, cpus.cpu[0], &thing, sizeof(thing));
	return thing;
}

static int create_lock(void)
{
	lock = rseq_lock_create();
	return !lock;
}

static void store_locked(struct thing *thing)
{
	int cpu = rseq_lock_acquire(lock);

	slot = thing;
	rseq_lock_release(lock, cpu);
}

static struct thing *load_locked(void)
{
	int cpu = rseq_lock_acquire(lock);
	struct thing *thing = slot;

	rseq_lock_release(lock, cpu);
	return thing;
}

static struct thing *load_locked_from_elsewhere(void)
{
	struct thing *thing;

	rseq_lock_acquire_cpu(lock, cpus.cpu[0]);
	thing = slot;
	rseq_lock_release(lock, cpus.cpu[0]);
	return thing;
}

static void release_thing(void *thing)
{
	released = thing;
}

/* Each has a reference for the giver. */
static int create_refs(void)
{
	for (int i = 0; i < NR_ROUNDS; i++) {
		refs[i] = rseq_refcount_create(release_thing, &things[i]);
		if (!refs[i])
			return -1;
		rseq_refcount_get(refs[i]);
	}
	return 0;
}

static void put_reference(struct thing *thing)
{
	rseq_refcount_put(refs[thing - things]);
}

static struct thing *kill_reference(void)
{
	rseq_refcount_kill(refs[RSEQ_READ_ONCE(turn) / 2]);
	return released;
}

static int create_nothing(void)
{
	return 0;
}

/* As programs of the librseq API pass things on. */
static void push_by_operation(struct thing *thing)
{
	intptr_t expected;
	int cpu;

	do {
		cpu = (int)rseq_cpu_start();
		expected = RSEQ_READ_ONCE(head);
		thing->node.next = (struct rseq_list_node *)expected;
	} while (rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &head, expected,
					   (intptr_t)thing, cpu));
}

static struct thing *pop_by_operation(void)
{
	intptr_t thing = 0;
	int result;

	do {
		result = rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED,
				RSEQ_PERCPU_CPU_ID, &head, 0, 0, &thing, (int)rseq_cpu_start());
	} while (result < 0);
	return result ? NULL : (struct thing *)thing;
}

static void publish_by_operation(struct thing *thing)
{
	static intptr_t copy;
	intptr_t from = (intptr_t)thing;

	while (rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID, &head, 0,
						&copy, &from, sizeof(from), (intptr_t)&copy,
						(int)rseq_cpu_start()))
		;
}

/* By a thread that is no section's. */
static struct thing *load_published(void)
{
	intptr_t *copy = (intptr_t *)rseq_smp_load_acquire(&head);
	struct thing *thing = (struct thing *)*copy;

	RSEQ_WRITE_ONCE(head, 0);
	return thing;
}

static void publish_two_by_operation(struct thing *thing)
{
	static intptr_t other;

	while (rseq_load_cbne_store_store__ptr(RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID, &head, 0,
					       &other, (intptr_t)thing, (intptr_t)&other,
					       (int)rseq_cpu_start()))
		;
}

static const struct handover handovers[] = {
	{ "list, pop", create_list, push_to_list, pop_from_list, false },
	{ "list, drain", create_list, push_to_list, drain_list, false },
	{ "list, chain, pop", create_list, push_chain, pop_chain, false },
	{ "list, chain, drain", create_list, push_chain, drain_chain, false },
	{ "stack, pop", create_stack, push_to_stack, pop_from_stack, false },
	{ "stack, batches", create_stack, push_batch, pop_batch, false },
	{ "stack, steal", create_stack, push_to_stack, steal, false },
	{ "stack, drain", create_stack, push_to_stack, drain_stack, false },
	{ "cache", create_cache, free_into_cache, alloc_from_cache, false },
	{ "ring", create_ring, write_to_ring, read_from_ring, false },
	{ "lock", create_lock, store_locked, load_locked, false },
	{ "lock, from elsewhere", create_lock, store_locked, load_locked_from_elsewhere, false },
	{ "refcount", create_refs, put_reference, kill_reference, false },
	{ "operations, push and pop", create_nothing, push_by_operation, pop_by_operation,
	  true },
	{ "operations, copy", create_nothing, publish_by_operation, load_published,
	  true },
	{ "operations, two stores", create_nothing, publish_two_by_operation, load_published,
	  true },
};

static void wait_for_turn(int mine)
{
	while (RSEQ_READ_ONCE(turn) != mine)
		sched_yield();
}

static void set_up_thread(bool without_rseq)
{
	support_move(0, cpus.cpu[0]);
	if (without_rseq)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
}

static void *give_all(void *arg)
{
	set_up_thread(giver_without_rseq);
	for (int i = 0; i < NR_ROUNDS; i++) {
		wait_for_turn(2 * i);
		things[i].value = i;
		way->give(&things[i]);
		if (race)
			things[i].value = -1;
		RSEQ_WRITE_ONCE(turn, 2 * i + 1);
	}
	return arg;
}

static void *take_all(void *arg)
{
	set_up_thread(taker_without_rseq);
	for (int i = 0; i < NR_ROUNDS; i++) {
		struct thing *thing;

		wait_for_turn(2 * i + 1);
		thing = way->take();
		if (thing != &things[i])
			_exit(WRONG);
		if (thing->value++ != i && !race)
			_exit(WRONG);
		RSEQ_WRITE_ONCE(turn, 2 * i + 2);
	}
	return arg;
}

/* The list is shared, and is used by turns, but no node goes from one thread to the other. */
static void give_beside(struct thing *thing)
{
	rseq_list_push(list, &thing->first);
}

static struct thing *take_beside(void)
{
	struct thing *thing = &things[RSEQ_READ_ONCE(turn) / 2];

	rseq_list_push(list, &thing->last);
	return rseq_list_pop(list) == &thing->last ? thing : NULL;
}

static const struct handover beside = {
	"beside a list", create_list, give_beside, take_beside, false,
};

static int run(void)
{
	pthread_t giver, taker;

	if (reported && !freopen("/dev/null", "w", stderr))
		return WRONG;
	if (way->create() || pthread_create(&giver, NULL, give_all, NULL) ||
	    pthread_create(&taker, NULL, take_all, NULL))
		return WRONG;
	pthread_join(giver, NULL);
	pthread_join(taker, NULL);
	return 0;
}

/* Returns 1 if it is not as it should be. */
static int try(const struct handover *handover)
{
	int status = -1;
	pid_t child;

	fflush(stdout);
	way = handover;
	child = fork();
	if (!child)
		exit(run());
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == (reported ? REPORTED : 0))
		return 0;
	printf("FAILED: %s%s%s%s: status 0x%x\n", way->name,
	       giver_without_rseq ? ", giver without rseq" : "",
	       taker_without_rseq ? ", taker without rseq" : "", race ? ", race" : "",
	       (unsigned int)status);
	return 1;
}

static int try_all(bool have_rseq)
{
	const size_t nr = sizeof(handovers) / sizeof(handovers[0]);
	int tries = 0, failed = 0;

	for (size_t i = 0; i < 4 * nr; i++) {
		const struct handover *handover = &handovers[i / 4];

		giver_without_rseq = i & 1;
		taker_without_rseq = i & 2;
		if (handover->operation && (i % 4 || !have_rseq))
			continue;
		failed += try(handover);
		tries++;
	}
	giver_without_rseq = taker_without_rseq = false;
	race = reported = true;
	for (size_t i = 0; RSEQ_SANITIZE_THREAD && i < nr; i++) {
		if (handovers[i].operation && !have_rseq)
			continue;
		failed += try(&handovers[i]);
		tries++;
	}
	race = false;
	if (RSEQ_SANITIZE_THREAD) {
		failed += try(&beside);
		tries++;
	}
	printf("%d ways, %d failed\n", tries, failed);
	return failed || !tries;
}

int main(void)
{
	bool have_rseq = !rseq_register_current_thread();

	support_find_cpus(&cpus);
	return try_all(have_rseq);
}
