/* SPDX-License-Identifier: MIT */
/*
 * rseq/urcu.h: per-CPU caches and lists together with liburcu: memory that goes back after a grace
 * period, handed over in batches.
 *
 * An optional header: all of it is inline, and librseq itself does not need liburcu. Include it
 * after a header of liburcu that chooses the flavour, as <urcu/rculfhash.h> wants it too:
 *
 *	#include <urcu.h>		or <urcu-qsbr.h>, <urcu-bp.h>, ...
 *	#include <rseq/urcu.h>
 *
 * and link with what pkg-config says of librseq-urcu, or of librseq and that flavour. Programs with
 * several flavours name one with the functions that end in _flavor.
 *
 * Who may run with whom: rseq_cache_free_rcu, rseq_cache_rcu_help, rseq_cache_rcu_barrier and
 * rseq_cache_rcu_backlog may run at the same time on any threads that may use call_rcu(), with or
 * without rseq, and with everything that rseq/cache.h and rseq/list.h allow. Nothing may run with,
 * or after, rseq_cache_rcu_destroy of the same deferral.
 *
 * Memory of a deferral, beside the objects: for each CPU that frees, and once more for itself, a
 * row of 32 bytes and 8 for each object of a batch, as rseq/stack.h says it; 160 bytes; batches, of
 * 32 bytes and 8 for each object; and their cache, as rseq/cache.h says it, with per_cpu 16 and a
 * depot of 64. That keeps batches whose grace period is over. A chain of a list takes 40 bytes
 * until its callback is over.
 */
#ifndef RSEQ_URCU_H
#define RSEQ_URCU_H

#include <rseq/cache.h>
#include <rseq/list.h>
#include <rseq/stack.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <urcu/call-rcu.h>
#include <urcu/flavor.h>

RSEQ_BEGIN_DECLS

/* The most objects that wait for a grace period together. */
#define RSEQ_CACHE_RCU_MAX_BATCH	512

#define RSEQ_CACHE_RCU_BATCH		128
#define RSEQ_CACHE_RCU_BACKLOG		65536

/*
 * What a deferral is like. size is the size of this structure; what is 0 has its default.
 */
struct rseq_cache_rcu_attr {
	size_t size;
	size_t batch;		/* objects handed over together: by default 128, at most 512 */
	size_t backlog;		/* objects with call_rcu() at most: by default 65536 */
	enum rseq_percpu_mode mode;
};

/*
 * A deferral: objects of one cache on their way back. Freed objects gather on the CPU that frees
 * them; once there are batch of them they go to call_rcu() in one call, and from its thread into
 * the cache all at once. For the functions below.
 */
struct rseq_cache_rcu {
	struct rseq_cache *cache;
	const struct rcu_flavor_struct *flavor;
	struct rseq_stack *pending;
	struct rseq_cache *batches;
	size_t batch;
	size_t backlog;
	size_t nr_handed;	/* objects with call_rcu(); atomic */
	uint64_t takers[2];	/* see rseq_cache_rcu_take(); atomic, as phase is */
	unsigned int phase;
};

/* The objects follow. */
struct rseq_cache_rcu_batch {
	struct rcu_head head;	/* comes first */
	struct rseq_cache_rcu *rcu;
	size_t nr;
};

static inline void **rseq_cache_rcu_objects(struct rseq_cache_rcu_batch *batch)
{
	return (void **)(void *)(batch + 1);
}

static inline int rseq_cache_rcu_set(struct rseq_cache_rcu *rcu,
		const struct rseq_cache_rcu_attr *attr, enum rseq_percpu_mode *mode)
{
	struct rseq_cache_rcu_attr known;

	memset(&known, 0, sizeof(known));
	if (attr && attr->size < sizeof(attr->size))
		return -1;
	if (attr)
		memcpy(&known, attr, attr->size < sizeof(known) ? attr->size : sizeof(known));
	rcu->batch = known.batch ? known.batch : RSEQ_CACHE_RCU_BATCH;
	rcu->backlog = known.backlog ? known.backlog : RSEQ_CACHE_RCU_BACKLOG;
	*mode = known.mode;
	return rcu->batch > RSEQ_CACHE_RCU_MAX_BATCH ? -1 : 0;
}

/*
 * Make a deferral for objects of a cache, which must outlive it. attr may be NULL.
 *
 * Returns: the deferral, or NULL with errno ENOMEM, or EINVAL if cache or flavor is NULL, or the
 * size, the batch or the mode in attr is wrong.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
static inline struct rseq_cache_rcu *rseq_cache_rcu_create_flavor(struct rseq_cache *cache,
		const struct rseq_cache_rcu_attr *attr, const struct rcu_flavor_struct *flavor)
{
	struct rseq_cache_rcu *rcu = (struct rseq_cache_rcu *)calloc(1, sizeof(*rcu));
	struct rseq_cache_attr batches;
	enum rseq_percpu_mode mode;
	int saved_errno;

	if (!rcu)
		return NULL;
	if (!cache || !flavor || rseq_cache_rcu_set(rcu, attr, &mode)) {
		free(rcu);
		errno = EINVAL;
		return NULL;
	}
	rcu->cache = cache;
	rcu->flavor = flavor;
	rcu->pending = rseq_stack_create_mode(rcu->batch, mode);
	if (rcu->pending) {
		memset(&batches, 0, sizeof(batches));
		batches.size = sizeof(batches);
		batches.per_cpu = 16;
		batches.mode = mode;
		rcu->batches = rseq_cache_create("rcu batches",
				sizeof(struct rseq_cache_rcu_batch) + rcu->batch * sizeof(void *),
				&batches);
		if (rcu->batches)
			return rcu;
	}
	saved_errno = errno;
	rseq_stack_destroy(rcu->pending);
	free(rcu);
	errno = saved_errno;
	return NULL;
}

/* With the flavour that was included. */
#define rseq_cache_rcu_create(cache, attr)					\
	rseq_cache_rcu_create_flavor(cache, attr, &rcu_flavor)

/*
 * Who takes objects from the CPUs' stacks is counted until they are back, or with call_rcu(): they
 * are nowhere else meanwhile, and a barrier has to wait for them. There are two counts, and who
 * begins uses that of the phase, so that the other comes to an end.
 *
 * A count is the lower half of its word. The upper half is the process that counts: for the child
 * of fork() a word of its parent is 0, as it does not have the threads that were counted.
 */
static inline uint64_t rseq_cache_rcu_process(void)
{
	return (uint64_t)(uint32_t)getpid() << 32;
}

static inline uint32_t rseq_cache_rcu_nr_takers(struct rseq_cache_rcu *rcu, unsigned int phase,
		uint64_t process)
{
	uint64_t word = __atomic_load_n(&rcu->takers[phase % 2], __ATOMIC_SEQ_CST);

	return (uint32_t)word == word - process ? (uint32_t)word : 0;
}

/* Returns what is to be given back. */
static inline uint64_t rseq_cache_rcu_take(struct rseq_cache_rcu *rcu)
{
	const uint64_t process = rseq_cache_rcu_process();
	unsigned int phase = __atomic_load_n(&rcu->phase, __ATOMIC_SEQ_CST) % 2;
	uint64_t old = __atomic_load_n(&rcu->takers[phase], __ATOMIC_RELAXED), taken;

	do {
		taken = (uint32_t)old == old - process ? old + 1 : process + 1;
	} while (!__atomic_compare_exchange_n(&rcu->takers[phase], &old, taken, true,
					      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	/* Who sees that the objects are gone sees the count. */
	rseq_smp_mb();
	return process | phase;
}

static inline void rseq_cache_rcu_taken(struct rseq_cache_rcu *rcu, uint64_t taken)
{
	const uint64_t process = taken & ~(uint64_t)1;
	uint64_t *word = &rcu->takers[taken & 1], old = __atomic_load_n(word, __ATOMIC_RELAXED);

	/* Not in a child that was made meanwhile, once it has begun to count itself. */
	while ((uint32_t)old == old - process &&
	       !__atomic_compare_exchange_n(word, &old, old - 1, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
}

/*
 * Waits for all who have taken objects that the caller no longer found. All who wait change the
 * phase when the next one's count, which nobody but latecomers adds to, is 0. Then both counts have
 * been 0 after the call began once there were three changes: the count for the first may have been
 * looked at before. In a reader's way the caller would keep others from what it waits for.
 */
static inline void rseq_cache_rcu_wait(struct rseq_cache_rcu *rcu)
{
	const uint64_t process = rseq_cache_rcu_process();
	unsigned int begun, phase;
	int online = 0;

	rseq_smp_mb();
	begun = phase = __atomic_load_n(&rcu->phase, __ATOMIC_SEQ_CST);
	while (phase - begun < 3) {
		if (!rseq_cache_rcu_nr_takers(rcu, phase + 1, process)) {
			__atomic_compare_exchange_n(&rcu->phase, &phase, phase + 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		} else {
			if (!online && rcu->flavor->read_ongoing()) {
				rcu->flavor->thread_offline();
				online = 1;
			}
			poll(NULL, 0, 1);
		}
		phase = __atomic_load_n(&rcu->phase, __ATOMIC_SEQ_CST);
	}
	if (online)
		rcu->flavor->thread_online();
}

/* What call_rcu() calls after the grace period. */
static inline void rseq_cache_rcu_done(struct rcu_head *head)
{
	struct rseq_cache_rcu_batch *batch = (struct rseq_cache_rcu_batch *)(void *)head;
	struct rseq_cache_rcu *rcu = batch->rcu;

	rseq_cache_free_batch(rcu->cache, rseq_cache_rcu_objects(batch), batch->nr);
	__atomic_fetch_sub(&rcu->nr_handed, batch->nr, __ATOMIC_RELAXED);
	rseq_cache_free(rcu->batches, batch);
}

/* Called by who has counted its objects already. */
static inline void rseq_cache_rcu_hand(struct rseq_cache_rcu *rcu,
		struct rseq_cache_rcu_batch *batch)
{
	batch->rcu = rcu;
	rcu->flavor->update_call_rcu(&batch->head, rseq_cache_rcu_done);
}

/*
 * Hands this CPU's objects to call_rcu(). Returns 1, or 0 if the backlog is at its bound or there
 * is no memory.
 */
static inline int rseq_cache_rcu_hand_over(struct rseq_cache_rcu *rcu)
{
	struct rseq_cache_rcu_batch *batch;
	size_t unused = rcu->batch;
	uint64_t taken;

	if (__atomic_add_fetch(&rcu->nr_handed, rcu->batch, __ATOMIC_RELAXED) <= rcu->backlog) {
		batch = (struct rseq_cache_rcu_batch *)rseq_cache_alloc(rcu->batches);
		if (batch) {
			taken = rseq_cache_rcu_take(rcu);
			batch->nr = rseq_stack_pop_batch(rcu->pending,
							 rseq_cache_rcu_objects(batch), rcu->batch);
			unused -= batch->nr;
			if (unused)
				__atomic_fetch_sub(&rcu->nr_handed, unused, __ATOMIC_RELAXED);
			if (batch->nr)
				rseq_cache_rcu_hand(rcu, batch);
			else
				rseq_cache_free(rcu->batches, batch);
			rseq_cache_rcu_taken(rcu, taken);
			return 1;
		}
	}
	__atomic_fetch_sub(&rcu->nr_handed, unused, __ATOMIC_RELAXED);
	return 0;
}

/*
 * Do the work of this CPU's batch here: wait for a grace period, and free it into the cache. What
 * rseq_cache_free_rcu() does by itself beyond the bound, where it may.
 *
 * Returns: nothing; errno is kept.
 * Context: as synchronize_rcu(): outside of read-side critical sections, where it would wait for
 * ever. For urcu-qsbr it is a quiescent state of the calling thread.
 * Ordering: as synchronize_rcu().
 * Progress: blocks for a grace period if this CPU has objects. Waits for readers alone, not for the
 * call_rcu() thread.
 */
static inline void rseq_cache_rcu_help(struct rseq_cache_rcu *rcu)
{
	void *objects[RSEQ_CACHE_RCU_MAX_BATCH];
	const uint64_t taken = rseq_cache_rcu_take(rcu);
	int saved_errno = errno;
	size_t nr = rseq_stack_pop_batch(rcu->pending, objects, rcu->batch);

	if (nr) {
		rcu->flavor->update_synchronize_rcu();
		rseq_cache_free_batch(rcu->cache, objects, nr);
	}
	rseq_cache_rcu_taken(rcu, taken);
	errno = saved_errno;
}

static inline int rseq_cache_free_rcu_slow(struct rseq_cache_rcu *rcu, void *object)
{
	int saved_errno = errno, error;

	if (!object)
		return 0;
	error = rseq_stack_push_slow(rcu->pending, object);
	/* Each turn makes room, for this thread or for another. */
	while (error) {
		if (!rseq_cache_rcu_hand_over(rcu)) {
			if (rcu->flavor->read_ongoing()) {
				errno = EDEADLK;
				return -1;
			}
			rseq_cache_rcu_help(rcu);
		}
		error = rseq_stack_push(rcu->pending, object);
	}
	errno = saved_errno;
	return 0;
}

/*
 * Free an object of the deferral's cache after a grace period: no reader finds it any more that
 * begins now. Nothing is written to it meanwhile, and it needs no field for this. The deferral must
 * not be NULL; an object that is NULL is none.
 *
 * When the backlog is at its bound, the caller does the work itself: it waits for a grace period,
 * and frees its CPU's batch. It waits for readers alone, and so may be a call_rcu() callback.
 * Within a read-side critical section it never waits.
 *
 * Returns: 0, with errno kept; -1 with errno EDEADLK if it would have to wait within a read-side
 * critical section: then the object is still the caller's. Leave the section, and try again. With
 * urcu-qsbr every thread that is online is within one: call rseq_cache_rcu_help() where the thread
 * has a quiescent state, and try again.
 * Context: threads that may use call_rcu(); not async-signal-safe.
 * Ordering: release, towards the readers that the grace period waits for and who allocates it next.
 * Progress: wait-free where rseq works but for each batch-th object of a CPU, for which it is as
 * call_rcu(), or blocks for a grace period.
 */
RSEQ_INLINE __attribute__((nonnull(1))) int rseq_cache_free_rcu(struct rseq_cache_rcu *rcu,
		void *object)
{
	if (rseq_unlikely(!object || !rseq_stack_try_push(rcu->pending, object)))
		return rseq_cache_free_rcu_slow(rcu, object);
	return 0;
}

/*
 * How many objects wait for a grace period, or for enough others. Exact when nothing is under way.
 * At most backlog of them wait for call_rcu(), and batch on each CPU, as many again there if
 * threads without rseq free as well; and batch for each thread that does the work itself, which are
 * not counted.
 *
 * Returns: the number.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed.
 * Progress: wait-free, O(CPUs).
 */
static inline size_t rseq_cache_rcu_backlog(const struct rseq_cache_rcu *rcu)
{
	size_t nr = __atomic_load_n(&rcu->nr_handed, __ATOMIC_RELAXED);

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		nr += rseq_stack_count(rcu->pending, cpu);
	return nr;
}

/* A batch that gathers objects of all CPUs. */
struct rseq_cache_rcu_flush {
	struct rseq_cache_rcu *rcu;
	struct rseq_cache_rcu_batch *batch;
};

static inline void rseq_cache_rcu_flush_each(void *object, void *arg)
{
	struct rseq_cache_rcu_flush *flush = (struct rseq_cache_rcu_flush *)arg;
	struct rseq_cache_rcu *rcu = flush->rcu;

	if (!flush->batch) {
		flush->batch = (struct rseq_cache_rcu_batch *)rseq_cache_alloc(rcu->batches);
		if (!flush->batch) {
			rcu->flavor->update_synchronize_rcu();
			rseq_cache_free(rcu->cache, object);
			return;
		}
		flush->batch->nr = 0;
	}
	__atomic_fetch_add(&rcu->nr_handed, 1, __ATOMIC_RELAXED);
	rseq_cache_rcu_objects(flush->batch)[flush->batch->nr++] = object;
	if (flush->batch->nr == rcu->batch) {
		rseq_cache_rcu_hand(rcu, flush->batch);
		flush->batch = NULL;
	}
}

/*
 * Wait until all objects that were freed before are back in the cache, those of other CPUs too, and
 * those that other threads are about to free or to hand over. In the child of fork(), what the
 * parent's other threads were about to free stays out for good.
 *
 * Returns: 0, with errno kept; -1 with errno ENOSYS if rseq_fence_all() cannot work: then objects
 * that other CPUs gather may stay where they are.
 * Context: as rcu_barrier(): a registered thread, outside of read-side critical sections, not in a
 * callback of call_rcu() or of the cache. For urcu-qsbr it is a quiescent state of the calling
 * thread.
 * Ordering: as rcu_barrier().
 * Progress: blocks for a fence, for all callbacks that call_rcu() has, and for the grace periods
 * that other threads wait for within free and help of this deferral, and other barriers of it.
 */
static inline int rseq_cache_rcu_barrier(struct rseq_cache_rcu *rcu)
{
	struct rseq_cache_rcu_flush flush = { rcu, NULL };
	const uint64_t taken = rseq_cache_rcu_take(rcu);
	int saved_errno = errno, error;

	errno = 0;
	rseq_stack_drain(rcu->pending, rseq_cache_rcu_flush_each, &flush);
	error = errno == ENOSYS;
	if (flush.batch)
		rseq_cache_rcu_hand(rcu, flush.batch);
	rseq_cache_rcu_taken(rcu, taken);
	/* They may go to call_rcu() yet, and are to do so before its barrier. */
	rseq_cache_rcu_wait(rcu);
	rcu->flavor->barrier();
	errno = error ? ENOSYS : saved_errno;
	return error ? -1 : 0;
}

/*
 * Wait as rseq_cache_rcu_barrier() does, and free a deferral. NULL is allowed and does nothing.
 *
 * Returns: 0, with errno kept; -1 with errno ENOSYS for the reason of rseq_cache_rcu_barrier() if
 * other CPUs have objects: then the deferral is kept.
 * Context, Ordering, Progress: as rseq_cache_rcu_barrier().
 */
static inline int rseq_cache_rcu_destroy(struct rseq_cache_rcu *rcu)
{
	int saved_errno = errno;

	if (!rcu)
		return 0;
	if (rseq_cache_rcu_barrier(rcu))
		return -1;
	rseq_stack_destroy(rcu->pending);
	rseq_cache_destroy(rcu->batches);
	free(rcu);
	errno = saved_errno;
	return 0;
}

/* A list's nodes with call_rcu(). */
struct rseq_list_rcu {
	struct rcu_head head;	/* comes first */
	struct rseq_list_node *first;
	void (*each)(struct rseq_list_node *node, void *arg);
	void *arg;
};

static inline void rseq_list_rcu_done(struct rcu_head *head)
{
	struct rseq_list_rcu *batch = (struct rseq_list_rcu *)(void *)head;
	struct rseq_list_node *node = batch->first, *next;

	for (; node; node = next) {
		next = node->next;
		batch->each(node, batch->arg);
	}
	free(batch);
}

/*
 * Take all nodes of a list, and call each() for them after a grace period: one call_rcu() for all
 * of them. each() may free the node. For lists that threads push what they removed to; readers must
 * not use the field that links the node to the list.
 *
 * Returns: 1 if there are nodes on their way, 0 if there were none, with errno kept; -1 with errno
 * ENOMEM, or with the errno of rseq_list_drain(), or EINVAL for a list, an each or a flavor that is
 * NULL: then all nodes stay.
 * Context: threads that may use call_rcu(), within read-side critical sections too; not
 * async-signal-safe. each() runs in the call_rcu() thread.
 * Ordering: each() sees what was written to a node before its push, and all that readers do with it
 * comes before.
 * Progress: as rseq_list_drain() and call_rcu(): blocks for a fence, never for a grace period.
 */
static inline int rseq_list_drain_rcu_flavor(struct rseq_list *list,
		void (*each)(struct rseq_list_node *node, void *arg), void *arg,
		const struct rcu_flavor_struct *flavor)
{
	struct rseq_list_rcu *batch;
	int saved_errno = errno, error;

	if (!list || !each || !flavor) {
		errno = EINVAL;
		return -1;
	}
	batch = (struct rseq_list_rcu *)malloc(sizeof(*batch));
	if (!batch)
		return -1;
	errno = 0;
	batch->first = rseq_list_drain(list);
	error = batch->first ? 0 : errno;
	errno = error ? error : saved_errno;
	if (!batch->first) {
		free(batch);
		return error ? -1 : 0;
	}
	batch->each = each;
	batch->arg = arg;
	flavor->update_call_rcu(&batch->head, rseq_list_rcu_done);
	return 1;
}

/* With the flavour that was included. */
#define rseq_list_drain_rcu(list, each, arg)					\
	rseq_list_drain_rcu_flavor(list, each, arg, &rcu_flavor)

RSEQ_END_DECLS

#endif /* RSEQ_URCU_H */
