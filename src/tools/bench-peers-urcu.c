/* SPDX-License-Identifier: MIT */
/*
 * bench-peers-urcu.c: this library's deferred frees, which need liburcu, and liburcu's own.
 */
#include "bench-peers.h"

#ifdef HAVE_URCU
# define RCU_MEMBARRIER
# include <urcu.h>

# include <rseq/urcu.h>

# include <pthread.h>
# include <stdlib.h>

static unsigned int nr_loops;	/* atomic: under way */

static void begin(void)
{
	__atomic_fetch_add(&nr_loops, 1, __ATOMIC_RELAXED);
	rcu_register_thread();
}

/* The last one waits for the callbacks of all. */
static void end(void)
{
	if (!__atomic_sub_fetch(&nr_loops, 1, __ATOMIC_ACQ_REL))
		rcu_barrier();
	rcu_unregister_thread();
}

static struct rseq_cache *cache;
static struct rseq_cache_rcu *deferral;

static void make_cache(size_t bytes)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&mutex);
	if (!cache)
		cache = rseq_cache_create("bench rcu", bytes, NULL);
	if (cache && !deferral)
		deferral = rseq_cache_rcu_create(cache, NULL);
	pthread_mutex_unlock(&mutex);
	if (!deferral)
		abort();
}

/* What a CPU has gathered and not yet handed over, less than a batch, is the next loop's. */
BENCH_PEER(urcu_cache)
{
	make_cache(bytes);
	begin();
	BENCH_REPEAT(nr,
		uint64_t *object = rseq_cache_alloc(cache);

		if (rseq_unlikely(!object))
			abort();
		*object = nr;
		rseq_cache_free_rcu(deferral, object);
	)
	end();
}

/* An object has a place for the callback beside its bytes. */
struct object {
	struct rcu_head head;
	uint64_t data[];
};

static void free_object(struct rcu_head *head)
{
	free(head);
}

BENCH_PEER(urcu_malloc)
{
	begin();
	BENCH_REPEAT(nr,
		struct object *object = malloc(sizeof(*object) + bytes);

		if (rseq_unlikely(!object))
			abort();
		object->data[0] = nr;
		call_rcu(&object->head, free_object);
	)
	end();
}
#endif
