/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU arrays of pointers, pushed with a relaxed and with a release commit; a reader on
 * whatever CPU looks on meanwhile.
 */
#include "check.h"

#include <rseq/mempool.h>

#define CAPACITY	100
#define NR_ITEMS	64
#define NR_TURNS	500
#define NR_THREADS	32

struct item {
	intptr_t value;
};

struct buffer {
	intptr_t offset;
	struct item *array[CAPACITY];
};

static struct buffer __rseq_percpu *buffers;
static struct item items[NR_ITEMS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum rseq_mo order;
static bool stop;

static bool push_locked(struct buffer *buffer, struct item *item)
{
	bool room;

	pthread_mutex_lock(&lock);
	room = buffer->offset < CAPACITY;
	if (room) {
		buffer->array[buffer->offset] = item;
		rseq_smp_store_release(&buffer->offset, buffer->offset + 1);
	}
	pthread_mutex_unlock(&lock);
	return room;
}

static bool push(bool registered, struct item *item)
{
	if (!registered)
		return push_locked(rseq_percpu_ptr(buffers, 0), item);
	for (;;) {
		int cpu = (int)rseq_cpu_start(), result;
		struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);
		intptr_t offset = RSEQ_READ_ONCE(buffer->offset);
		intptr_t *slot = (intptr_t *)&buffer->array[offset];

		if (offset == CAPACITY)
			return false;
		if (order == RSEQ_MO_RELEASE)
			result = rseq_load_cbne_store_store__ptr(RSEQ_MO_RELEASE,
					RSEQ_PERCPU_CPU_ID, &buffer->offset, offset, slot,
					(intptr_t)item, offset + 1, cpu);
		else
			result = rseq_load_cbne_store_store__ptr(RSEQ_MO_RELAXED,
					RSEQ_PERCPU_CPU_ID, &buffer->offset, offset, slot,
					(intptr_t)item, offset + 1, cpu);
		if (rseq_likely(!result))
			return true;
	}
}

static struct item *pop_locked(struct buffer *buffer)
{
	struct item *item = NULL;

	pthread_mutex_lock(&lock);
	if (buffer->offset)
		item = buffer->array[--buffer->offset];
	pthread_mutex_unlock(&lock);
	return item;
}

static struct item *pop(bool registered)
{
	if (!registered)
		return pop_locked(rseq_percpu_ptr(buffers, 0));
	for (;;) {
		int cpu = (int)rseq_cpu_start();
		struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);
		intptr_t offset = RSEQ_READ_ONCE(buffer->offset);
		struct item *item;

		if (!offset)
			return NULL;
		item = RSEQ_READ_ONCE(buffer->array[offset - 1]);
		/* The offset alone comes back to its value with another item below it. */
		if (rseq_likely(!rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED,
				RSEQ_PERCPU_CPU_ID, &buffer->offset, offset,
				(intptr_t *)&buffer->array[offset - 1], (intptr_t)item,
				offset - 1, cpu)))
			return item;
	}
}

static void *shuffle(void *unused)
{
	struct item *hand = NULL;
	bool registered = enter_thread();

	(void)unused;
	for (int i = 0; i < NR_TURNS || hand; i++) {
		if (hand && push(registered, hand)) {
			hand = NULL;
			continue;
		}
		if (!hand)
			hand = pop(registered);
		if (!hand || i % 32 == 0)
			sched_yield();
	}
	leave_thread(registered);
	return NULL;
}

/* What an acquired offset covers was written before it. */
static void *look_on(void *unused)
{
	int nr_cpus = rseq_get_max_nr_cpus();

	(void)unused;
	while (!rseq_smp_load_acquire(&stop)) {
		for (int cpu = 0; cpu < nr_cpus; cpu++) {
			struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);
			intptr_t offset = rseq_smp_load_acquire(&buffer->offset);

			check(offset >= 0 && offset <= NR_ITEMS);
			for (intptr_t i = 0; i < offset; i++)
				check(RSEQ_READ_ONCE(buffer->array[i]) != NULL);
		}
		sched_yield();
	}
	return NULL;
}

static void try_order(enum rseq_mo mo, bool registered)
{
	intptr_t sum = 0, nr = 0;
	pthread_t reader;

	order = mo;
	stop = false;
	for (int i = 0; i < NR_ITEMS; i++) {
		items[i].value = i + 1;
		check(push(registered, &items[i]));
	}
	check(!pthread_create(&reader, NULL, look_on, NULL));
	run_threads(NR_THREADS, shuffle);
	rseq_smp_store_release(&stop, true);
	check(!pthread_join(reader, NULL));
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);

		while (buffer->offset) {
			sum += buffer->array[--buffer->offset]->value;
			nr++;
		}
	}
	check(nr == NR_ITEMS && sum == NR_ITEMS * (NR_ITEMS + 1) / 2);
}

int main(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("buffers", sizeof(struct buffer), NULL);
	bool registered = enter_thread();

	keep_to_few_cpus();
	if (pool)
		buffers = (struct buffer __rseq_percpu *)rseq_mempool_percpu_zmalloc(pool);
	check(buffers);
	if (!buffers)
		return 1;
	try_order(RSEQ_MO_RELAXED, registered);
	try_order(RSEQ_MO_RELEASE, registered);
	rseq_mempool_percpu_free(buffers);
	check(!rseq_mempool_destroy(pool));
	leave_thread(registered);
	return finish();
}
