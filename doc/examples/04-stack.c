/* SPDX-License-Identifier: MIT */
/*
 * Buffers that threads keep for each other: freed ones go to the stack of the CPU at hand, from
 * where the next thread there takes them. What the stack has no room for goes to the allocator.
 */
#include <rseq/stack.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define NR_THREADS	4
#define NR_TURNS	100000
#define BUFFER_LEN	4096
#define KEPT_PER_CPU	16

static struct rseq_stack *buffers;
static size_t nr_made, nr_freed;

static void *get_buffer(void)
{
	void *buffer = rseq_stack_pop(buffers);

	if (!buffer) {
		buffer = malloc(BUFFER_LEN);
		if (!buffer)
			abort();
		__atomic_fetch_add(&nr_made, 1, __ATOMIC_RELAXED);
	}
	return buffer;
}

static void free_buffer(void *buffer, void *arg)
{
	(void)arg;
	free(buffer);
	__atomic_fetch_add(&nr_freed, 1, __ATOMIC_RELAXED);
}

static void put_buffer(void *buffer)
{
	if (rseq_stack_push(buffers, buffer))
		free_buffer(buffer, NULL);
}

static void *work(void *argument)
{
	void *held[3];

	for (int i = 0; i < NR_TURNS; i++) {
		for (int j = 0; j < 3; j++)
			held[j] = get_buffer();
		for (int j = 0; j < 3; j++)
			put_buffer(held[j]);
	}
	return argument;
}

int main(void)
{
	pthread_t threads[NR_THREADS];

	buffers = rseq_stack_create(KEPT_PER_CPU);
	if (!buffers) {
		perror("rseq_stack_create");
		return 1;
	}
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, NULL))
			return 1;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);

	rseq_stack_drain(buffers, free_buffer, NULL);
	rseq_stack_destroy(buffers);
	printf("%d uses of buffers, %zu made, %zu freed\n", 3 * NR_THREADS * NR_TURNS, nr_made,
	       nr_freed);
	return nr_made == nr_freed ? 0 : 1;
}
