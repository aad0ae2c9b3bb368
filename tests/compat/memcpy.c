/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU buffers of records, copied in and out by one operation each, with a relaxed and with a
 * release commit. No record may be torn, lost or there twice.
 */
#include "check.h"

#include <rseq/mempool.h>

#define CAPACITY	40
#define NR_RECORDS	32
#define NR_TURNS	500
#define NR_THREADS	32

/* An odd size, so that records have any alignment. */
struct record {
	unsigned char number;
	unsigned char body[76];
};

struct buffer {
	intptr_t offset;
	struct record array[CAPACITY];
};

static struct buffer __rseq_percpu *buffers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum rseq_mo order;

static void fill(struct record *record, int number)
{
	record->number = (unsigned char)number;
	memset(record->body, number ^ 0x55, sizeof(record->body));
}

static bool is_whole(const struct record *record)
{
	for (size_t i = 0; i < sizeof(record->body); i++)
		if (record->body[i] != (record->number ^ 0x55))
			return false;
	return true;
}

/* Copies len bytes if *v is still expect, and gives it another value: one for push and pop. */
static int copy(intptr_t *v, intptr_t expect, void *dst, void *src, size_t len, intptr_t newv,
		int cpu)
{
	if (order == RSEQ_MO_RELEASE)
		return rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID, v,
							expect, dst, src, len, newv, cpu);
	return rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, v, expect,
						dst, src, len, newv, cpu);
}

static bool push_locked(struct buffer *buffer, const struct record *record)
{
	bool room;

	pthread_mutex_lock(&lock);
	room = buffer->offset < CAPACITY;
	if (room)
		buffer->array[buffer->offset++] = *record;
	pthread_mutex_unlock(&lock);
	return room;
}

static bool push(bool registered, struct record *record)
{
	if (!registered)
		return push_locked(rseq_percpu_ptr(buffers, 0), record);
	for (;;) {
		int cpu = (int)rseq_cpu_start();
		struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);
		intptr_t offset = RSEQ_READ_ONCE(buffer->offset);

		if (offset == CAPACITY)
			return false;
		if (rseq_likely(!copy(&buffer->offset, offset, &buffer->array[offset], record,
				      sizeof(*record), offset + 1, cpu)))
			return true;
	}
}

static bool pop_locked(struct buffer *buffer, struct record *record)
{
	bool some;

	pthread_mutex_lock(&lock);
	some = buffer->offset > 0;
	if (some)
		*record = buffer->array[--buffer->offset];
	pthread_mutex_unlock(&lock);
	return some;
}

static bool pop(bool registered, struct record *record)
{
	if (!registered)
		return pop_locked(rseq_percpu_ptr(buffers, 0), record);
	for (;;) {
		int cpu = (int)rseq_cpu_start();
		struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);
		intptr_t offset = RSEQ_READ_ONCE(buffer->offset);

		if (!offset)
			return false;
		if (rseq_likely(!copy(&buffer->offset, offset, record, &buffer->array[offset - 1],
				      sizeof(*record), offset - 1, cpu)))
			return true;
	}
}

static void *shuffle(void *unused)
{
	bool registered = enter_thread();
	struct record hand;
	bool full = false;

	(void)unused;
	for (int i = 0; i < NR_TURNS || full; i++) {
		if (full) {
			check(is_whole(&hand));
			full = !push(registered, &hand);
		} else {
			full = pop(registered, &hand);
		}
		if (i % 32 == 0)
			sched_yield();
	}
	leave_thread(registered);
	return NULL;
}

static void try_order(enum rseq_mo mo, bool registered)
{
	int seen[NR_RECORDS] = { 0 };
	struct record record;

	order = mo;
	for (int i = 0; i < NR_RECORDS; i++) {
		fill(&record, i);
		check(push(registered, &record));
	}
	run_threads(NR_THREADS, shuffle);
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		struct buffer *buffer = rseq_percpu_ptr(buffers, cpu);

		while (buffer->offset) {
			record = buffer->array[--buffer->offset];
			check(is_whole(&record) && record.number < NR_RECORDS);
			seen[record.number % NR_RECORDS]++;
		}
	}
	for (int i = 0; i < NR_RECORDS; i++)
		check(seen[i] == 1);
}

/* Lengths from nothing to a few hundred bytes, byte for byte. */
static void try_lengths(void)
{
	static unsigned char src[600], dst[600];
	intptr_t word = 0;

	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (unsigned char)(i * 7 + 1);
	for (size_t len = 0; len < 300; len++) {
		int cpu, result;

		memset(dst, 0, sizeof(dst));
		do {
			cpu = (int)rseq_cpu_start();
			result = copy(&word, (intptr_t)len, dst + len % 17, src + len % 13, len,
				      (intptr_t)len + 1, cpu);
		} while (result < 0);
		check(!result && word == (intptr_t)len + 1);
		check(!memcmp(dst + len % 17, src + len % 13, len));
		for (size_t i = 0; i < len % 17; i++)
			check(!dst[i]);
		for (size_t i = len % 17 + len; i < sizeof(dst); i++)
			check(!dst[i]);
		check(copy(&word, -1, dst, src, len, 0, (int)rseq_cpu_start()) != 0);
	}
}

int main(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("records", sizeof(struct buffer), NULL);
	bool registered = enter_thread();

	keep_to_few_cpus();
	if (pool)
		buffers = (struct buffer __rseq_percpu *)rseq_mempool_percpu_zmalloc(pool);
	check(buffers);
	if (!buffers)
		return 1;
	for (int mo = 0; mo < 2; mo++) {
		try_order(mo ? RSEQ_MO_RELEASE : RSEQ_MO_RELAXED, registered);
		if (registered)
			try_lengths();
	}
	rseq_mempool_percpu_free(buffers);
	check(!rseq_mempool_destroy(pool));
	leave_thread(registered);
	return finish();
}
