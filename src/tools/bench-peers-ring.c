/* SPDX-License-Identifier: MIT */
/*
 * bench-peers-ring.c: queues of other libraries as flight recorders, one for all threads: a write
 * takes the oldest record out where there is no more room, and adds its own.
 */
#include "bench-peers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RING_BYTES	(512 * 1024)
#define NR_SIZES	3		/* of records: 64, 128 and 256 bytes */

#ifdef HAVE_URCU
# include <urcu/wfcqueue.h>

struct node {
	struct cds_wfcq_node link;
	size_t bytes;
	char record[];
};

/* For each size of records; filled at its first use. */
static struct queue {
	struct cds_wfcq_head head __attribute__((aligned(BENCH_LINE)));
	struct cds_wfcq_tail tail __attribute__((aligned(BENCH_LINE)));
	bool filled;
} queues[NR_SIZES];

/* With as many as a ring has room for, one behind the other as its records are. */
static void fill_queue(struct queue *queue, size_t bytes)
{
	size_t space = sizeof(struct node) + bytes;
	char *nodes = aligned_alloc(BENCH_LINE, RING_BYTES);

	if (!nodes)
		abort();
	cds_wfcq_init(&queue->head, &queue->tail);
	for (size_t i = 0; i < RING_BYTES / space; i++) {
		struct node *node = (struct node *)(void *)(nodes + i * space);

		cds_wfcq_node_init(&node->link);
		cds_wfcq_enqueue(&queue->head, &queue->tail, &node->link);
	}
	queue->filled = true;
}

static struct queue *find_queue(size_t bytes)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	struct queue *queue = &queues[bytes / 128];

	pthread_mutex_lock(&mutex);
	if (!queue->filled)
		fill_queue(queue, bytes);
	pthread_mutex_unlock(&mutex);
	return queue;
}

/* Nodes are more than threads: there is always one. Who takes one holds the queue's mutex. */
BENCH_PEER(urcu_ring)
{
	struct queue *queue = find_queue(bytes);
	char record[256];

	memset(record, 1, sizeof(record));
	BENCH_HIDE(bytes);
	BENCH_REPEAT(nr,
		struct cds_wfcq_node *oldest =
			cds_wfcq_dequeue_blocking(&queue->head, &queue->tail);
		struct node *node = caa_container_of(oldest, struct node, link);

		node->bytes = bytes;
		memcpy(node->record, record, bytes);
		cds_wfcq_node_init(&node->link);
		cds_wfcq_enqueue(&queue->head, &queue->tail, &node->link);
	)
}
#endif

#ifdef HAVE_CK
# include <ck_ring.h>

/* Only full entries of a fixed size can be had. A ring keeps one place free. */
#define RING(size)								\
	struct record_##size {							\
		char bytes[size];						\
	};									\
										\
	CK_RING_PROTOTYPE(record_##size, record_##size)				\
										\
	static struct record_##size buffer_##size[RING_BYTES / (size)];		\
	static ck_ring_t ring_##size;						\
										\
	__attribute__((constructor))						\
	static void init_##size(void)						\
	{									\
		ck_ring_init(&ring_##size, RING_BYTES / (size));		\
	}									\
										\
	static void write_##size(uint64_t nr)					\
	{									\
		struct record_##size record, oldest;				\
										\
		memset(&record, 1, sizeof(record));				\
		BENCH_REPEAT(nr,						\
			while (!ck_ring_enqueue_mpmc_record_##size(&ring_##size,	\
					buffer_##size, &record))		\
				ck_ring_trydequeue_mpmc_record_##size(&ring_##size,	\
					buffer_##size, &oldest);		\
		)								\
	}

RING(64)
RING(128)
RING(256)

BENCH_PEER(ck_ring)
{
	if (bytes == 64)
		write_64(nr);
	else if (bytes == 128)
		write_128(nr);
	else
		write_256(nr);
}
#endif
