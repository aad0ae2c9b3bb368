/* SPDX-License-Identifier: MIT */
/*
 * 03-list: a pool of buffers. Threads take a buffer from their CPU's list, or allocate one if there
 * is none, and put it back; in the end, each buffer is there exactly once.
 */
#include <rseq/list.h>
#include <rseq/thread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_THREADS	8
#define NR_TURNS	100000

struct buffer {
	struct rseq_list_node node;	/* comes first */
	char text[240];
};

static struct rseq_list *buffers;
static atomic_int nr_allocated;

static struct buffer *get_buffer(void)
{
	struct rseq_list_node *node = rseq_list_pop(buffers);

	if (node)
		return (struct buffer *)node;
	nr_allocated++;
	return malloc(sizeof(struct buffer));
}

static void *run(void *failed)
{
	int i;

	for (i = 0; i < NR_TURNS; i++) {
		struct buffer *buffer = get_buffer();

		if (!buffer)
			return failed;
		snprintf(buffer->text, sizeof(buffer->text), "turn %d", i);
		rseq_list_push(buffers, &buffer->node);
	}
	return NULL;
}

int main(void)
{
	struct rseq_list_node *node, *next;
	pthread_t threads[NR_THREADS];
	int i, error, nr_found = 0;
	void *failed;

	buffers = rseq_list_create();
	if (!buffers) {
		perror("03-list: rseq_list_create");
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_THREADS; i++) {
		error = pthread_create(&threads[i], NULL, run, buffers);
		if (error) {
			fprintf(stderr, "03-list: thread %d: %s\n", i, strerror(error));
			return EXIT_FAILURE;
		}
	}
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], &failed);
		if (failed) {
			fprintf(stderr, "03-list: no memory for a buffer\n");
			return EXIT_FAILURE;
		}
	}

	for (node = rseq_list_drain(buffers); node; node = next) {
		next = node->next;
		free(node);
		nr_found++;
	}
	printf("%d buffers served %d turns, %d are back\n", nr_allocated, NR_THREADS * NR_TURNS,
	       nr_found);
	rseq_list_destroy(buffers);
	return nr_found == nr_allocated ? EXIT_SUCCESS : EXIT_FAILURE;
}
