/* SPDX-License-Identifier: MIT */
/*
 * bench-stack.c: stacks of pointers, one item at a time and in batches.
 */
#include "bench.h"

#include <rseq/stack.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY	256
#define BATCH		32

static int setup_stack(struct bench_run *run)
{
	run->state = rseq_stack_create(CAPACITY);
	return run->state ? 0 : -1;
}

static void teardown_stack(struct bench_run *run)
{
	rseq_stack_destroy(run->state);
}

/* A thread that was migrated in between may find the stack empty, or leave an item too many. */
BENCH_BODY(rseq_pair)
{
	struct rseq_stack *stack = run->state;
	void *item = run;

	BENCH_REPEAT(nr,
		if (rseq_unlikely(rseq_stack_push(stack, item)))
			rseq_stack_pop(stack);
		item = rseq_stack_pop(stack);
		if (rseq_unlikely(!item))
			item = run;
	)
}
BENCH_LOOPS(rseq_pair)

struct array {
	size_t count;
	void *items[CAPACITY];
};

static __thread struct array own_array __attribute__((aligned(BENCH_LINE)));

/* Both ends are checked, as each push and pop of a stack has to. */
static inline __attribute__((always_inline)) void push(struct array *array, void *item)
{
	if (rseq_unlikely(array->count >= CAPACITY))
		abort();
	array->items[array->count] = item;
	array->count++;
	rseq_barrier();
}

static inline __attribute__((always_inline)) void *pop(struct array *array)
{
	void *item;

	if (rseq_unlikely(!array->count))
		abort();
	array->count--;
	item = array->items[array->count];
	rseq_barrier();
	return item;
}

BENCH_BODY(tls_pair)
{
	struct array *own = BENCH_OWN(own_array);
	void *item = run;

	BENCH_REPEAT(nr,
		push(own, item);
		item = pop(own);
	)
}
BENCH_LOOPS(tls_pair)

/* The same array, wherever the compiler has its address: in an instruction, on x86-64. */
BENCH_BODY(tls_plain_pair)
{
	void *item = run;

	BENCH_REPEAT(nr,
		push(&own_array, item);
		item = pop(&own_array);
	)
}
BENCH_LOOPS(tls_plain_pair)

/* The first one, and what two sections store to begin: a word of the thread's area. */
static __thread const void *volatile armed __attribute__((aligned(BENCH_LINE)));

BENCH_BODY(tls_armed_pair)
{
	struct array *own = BENCH_OWN(own_array);
	const void *volatile *area = BENCH_OWN(armed);
	void *item = run;

	BENCH_REPEAT(nr,
		*area = run;
		push(own, item);
		*area = own;
		item = pop(own);
	)
}
BENCH_LOOPS(tls_armed_pair)

/* One for all threads. No more than one item of each is there: it never is full. */
static struct {
	pthread_mutex_t mutex __attribute__((aligned(BENCH_LINE)));
	struct array array;
} locked = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static int empty_locked(struct bench_run *run)
{
	(void)run;
	locked.array.count = 0;
	return 0;
}

BENCH_BODY(mutex_pair)
{
	void *item = run;

	BENCH_REPEAT(nr,
		pthread_mutex_lock(&locked.mutex);
		if (rseq_likely(locked.array.count < CAPACITY))
			locked.array.items[locked.array.count++] = item;
		pthread_mutex_unlock(&locked.mutex);
		pthread_mutex_lock(&locked.mutex);
		if (rseq_likely(locked.array.count))
			item = locked.array.items[--locked.array.count];
		pthread_mutex_unlock(&locked.mutex);
	)
}
BENCH_LOOPS(mutex_pair)

/*
 * The same without a lock: a push takes a slot from a list of free ones, fills it, and adds it to
 * the list of full ones; a pop goes the other way. That makes four compare-and-swaps a pair. Each
 * head has the number of a slot and how often it was changed: a swap notices if it was replaced and
 * came back.
 */
struct slots {
	uint64_t full __attribute__((aligned(BENCH_LINE)));	/* atomic, as is all of it */
	uint64_t free __attribute__((aligned(BENCH_LINE)));
	uint32_t next[CAPACITY + 1];	/* 0 is the end */
	void *items[CAPACITY + 1];
};

static struct slots slots;

static int empty_slots(struct bench_run *run)
{
	(void)run;
	slots.full = 0;
	slots.free = 1;
	for (uint32_t slot = 1; slot <= CAPACITY; slot++)
		slots.next[slot] = slot < CAPACITY ? slot + 1 : 0;
	return 0;
}

static inline __attribute__((always_inline)) void add_slot(uint64_t *head, uint32_t slot)
{
	uint64_t before = __atomic_load_n(head, __ATOMIC_RELAXED), after;

	do {
		__atomic_store_n(&slots.next[slot], (uint32_t)before, __ATOMIC_RELAXED);
		after = ((before >> 32) + 1) << 32 | slot;
	} while (!__atomic_compare_exchange_n(head, &before, after, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

/* 0 if there is none. */
static inline __attribute__((always_inline)) uint32_t take_slot(uint64_t *head)
{
	uint64_t before = __atomic_load_n(head, __ATOMIC_ACQUIRE), after;

	do {
		if (rseq_unlikely(!(uint32_t)before))
			return 0;
		after = ((before >> 32) + 1) << 32 |
			__atomic_load_n(&slots.next[(uint32_t)before], __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(head, &before, after, true, __ATOMIC_ACQUIRE,
					      __ATOMIC_ACQUIRE));
	return (uint32_t)before;
}

BENCH_BODY(lock_free_pair)
{
	void *item = run;

	BENCH_REPEAT(nr,
		uint32_t slot = take_slot(&slots.free);

		if (rseq_likely(slot)) {
			slots.items[slot] = item;
			add_slot(&slots.full, slot);
		}
		slot = take_slot(&slots.full);
		if (rseq_likely(slot)) {
			item = slots.items[slot];
			add_slot(&slots.free, slot);
		}
	)
}
BENCH_LOOPS(lock_free_pair)

static const struct bench_variant pairs[] = {
	BENCH_VARIANT("rseq_stack_push, rseq_stack_pop", setup_stack, teardown_stack, rseq_pair),
	BENCH_VARIANT("TLS array", NULL, NULL, tls_pair),
	BENCH_VARIANT("TLS array, a variable of the program", NULL, NULL, tls_plain_pair),
	BENCH_VARIANT("TLS array, and the two stores that begin sections", NULL, NULL,
		      tls_armed_pair),
	BENCH_VARIANT("array and mutex", empty_locked, NULL, mutex_pair),
	BENCH_VARIANT("lock-free array, four atomics", empty_slots, NULL, lock_free_pair),
	{ .name = "liburcu wfstack", .peer = "urcu_stack" },
	{ .name = "Concurrency Kit stack", .peer = "ck_stack" },
	{ 0 },
};

/* An operation is one item that is pushed and popped: a batch of them each way. */
BENCH_BODY(rseq_batch)
{
	struct rseq_stack *stack = run->state;
	void *items[BATCH];

	for (int i = 0; i < BATCH; i++)
		items[i] = run;
	for (; nr; nr -= BATCH) {
		rseq_stack_push_batch(stack, items, BATCH);
		rseq_stack_pop_batch(stack, items, BATCH);
	}
}
BENCH_LOOPS(rseq_batch)

/* How many items there are is known at run time, as it is for a batch. */
BENCH_BODY(tls_batch)
{
	struct array *own = BENCH_OWN(own_array);
	void *items[BATCH];
	size_t batch = BATCH;

	for (int i = 0; i < BATCH; i++)
		items[i] = run;
	BENCH_HIDE(batch);
	for (; nr; nr -= BATCH) {
		if (rseq_unlikely(own->count + batch > CAPACITY))
			abort();
		memcpy(own->items + own->count, items, batch * sizeof(*items));
		own->count += batch;
		rseq_barrier();
		if (rseq_unlikely(own->count < batch))
			abort();
		own->count -= batch;
		memcpy(items, own->items + own->count, batch * sizeof(*items));
		rseq_barrier();
	}
}
BENCH_LOOPS(tls_batch)

static const struct bench_variant batches[] = {
	BENCH_VARIANT("rseq_stack_push_batch, rseq_stack_pop_batch", setup_stack, teardown_stack,
		      rseq_batch),
	BENCH_VARIANT("memcpy to and from a TLS array", NULL, NULL, tls_batch),
	{ 0 },
};

const struct bench bench_stack[] = {
	{ .name = "stack-pair", .area = "stack push+pop, one item", .unit = "ns",
	  .max_ratio = 1.3, .variants = pairs },
	{ .name = "stack-pair-threads", .area = "stack push+pop, 64 threads", .unit = "ns",
	  .threads = 64, .scales = true, .variants = pairs },
	{ .name = "stack-batch", .area = "stack batch of 32, each item", .unit = "ns",
	  .max_ratio = 1.1, .variants = batches },
	{ 0 },
};
