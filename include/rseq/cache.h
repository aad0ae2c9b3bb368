/* SPDX-License-Identifier: MIT */
/*
 * rseq/cache.h: objects of one size, kept per CPU in front of malloc() or of an allocator of one's
 * own.
 *
 * Each CPU keeps a bounded stack of free objects. What is too much for one CPU goes to a depot that
 * all share, half of a CPU's objects at a time, what is too much for the depot to the allocator; a
 * CPU that has none left looks in the same places. Memory is bounded by the number of CPUs, not by
 * that of threads.
 *
 * Who may run with whom: alloc, free, free_batch, trim and stat may run at the same time on any
 * threads, with or without rseq; an object may be freed by another thread than the one that
 * allocated it. create and destroy of other caches may run with all of these. Nothing may run with,
 * or after, destroy of the same cache.
 *
 * Bound: at most per_cpu objects on each CPU that frees, as many again there if threads without
 * rseq free as well, and depot objects in the depot.
 *
 * Memory, beside the objects: for each CPU that frees, and once more for the cache, a row of 32
 * bytes and 8 for each object of per_cpu, as rseq/stack.h says it; for each CPU that goes to the
 * depot or to the allocator up to 32 bytes for statistics; for each batch that the depot has room
 * for, 16 bytes and 8 for each object of a batch; 512 bytes for the cache, and its name. What
 * RSEQ_CACHE_DEBUG takes comes on top.
 */
#ifndef RSEQ_CACHE_H
#define RSEQ_CACHE_H

#include <rseq/stack.h>

RSEQ_BEGIN_DECLS

/* For the functions below: what their sections work on. */
struct rseq_cache {
	struct rseq_stack *fast;
};

/* Flags of a cache. */
enum rseq_cache_flags {
	/*
	 * Keep a table of the objects that are out, and refuse to free any other pointer. Each
	 * alloc and free then takes a lock, and may call malloc(). For tests, not for production.
	 */
	RSEQ_CACHE_DEBUG	= 1 << 0,
};

/*
 * What a cache is like. size is the size of this structure, for fields to come; what is 0 or NULL
 * has its default.
 *
 * Callbacks run in the thread that allocates, frees, trims or destroys, without a lock, and may use
 * other caches. construct() is called once for each object that comes from the allocator, not at
 * each alloc: an object that is freed into the cache comes out of it as it went in. If it returns
 * something else than 0, the object goes back to the allocator, and the alloc fails with the errno
 * that it set. destruct() is called before an object goes back.
 */
struct rseq_cache_attr {
	size_t size;
	size_t alignment;	/* of objects, a power of two; by default as malloc() does it */
	size_t per_cpu;		/* objects that a CPU keeps at most; by default 128 KiB of them, */
				/* but 4 at least and 2048 at most */
	size_t batch;		/* objects that move at a time; by default half of per_cpu */
	size_t depot;		/* objects that the depot keeps at most, rounded up to whole */
				/* batches; by default 4 * per_cpu */
	int (*construct)(void *object, void *priv);
	void (*destruct)(void *object, void *priv);
	void *(*alloc)(size_t size, size_t alignment, void *priv);	/* both, or neither */
	void (*free)(void *object, size_t size, void *priv);
	void *priv;		/* for the callbacks */
	unsigned int flags;	/* enum rseq_cache_flags */
	enum rseq_percpu_mode mode;	/* RSEQ_PERCPU_MM_CID: see rseq_stack_create_mode() */
};

/*
 * Make an empty cache of objects of object_size bytes. The name is copied, and may be NULL; attr
 * may be NULL.
 *
 * Returns: the cache, or NULL with errno ENOMEM; EINVAL if object_size is 0 or beyond PTRDIFF_MAX,
 * if the alignment is no power of two, batch is above per_cpu, one of alloc and free is NULL, or a
 * flag or the mode is unknown; E2BIG if attr->size is more than this library knows and there is
 * something in what it does not know.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API struct rseq_cache *rseq_cache_create(const char *name, size_t object_size,
		const struct rseq_cache_attr *attr);

/*
 * Give what the cache holds back to the allocator, and free the cache. NULL is allowed and does
 * nothing.
 *
 * Returns: 0; -1 with errno EBUSY while objects are out, or ENOSYS if rseq_fence_all() cannot work
 * and CPUs hold objects. Then the cache may be used on, and is trimmed. In the child of fork(),
 * objects that the parent's other threads had stay out for good.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: as rseq_cache_trim().
 */
RSEQ_API int rseq_cache_destroy(struct rseq_cache *cache);

/*
 * Give the objects that CPUs and the depot hold back to the allocator, while others alloc and free.
 *
 * Returns: how many, with errno kept. If rseq_fence_all() cannot work, those of the CPUs stay, with
 * errno ENOSYS. 0 with errno EINVAL for NULL.
 * Context: any thread; not async-signal-safe.
 * Ordering: acquire: destruct() sees what was written to an object before it was freed.
 * Progress: blocks for a fence (see rseq_stack_drain()); O(CPUs + objects). Allocs and frees go on,
 * and what is freed meanwhile may stay.
 */
RSEQ_API size_t rseq_cache_trim(struct rseq_cache *cache);

/* What a cache is like, and what it holds. */
struct rseq_cache_stat {
	size_t size;		/* of this structure, set by the caller */
	const char *name;	/* until destroy; NULL if it has none */
	size_t object_size;
	size_t per_cpu;
	size_t batch;
	size_t depot;		/* the bound, in whole batches */
	size_t on_cpus;		/* objects that CPUs hold */
	size_t in_depot;	/* objects that the depot holds */
	size_t out;		/* objects that users hold */
	uint64_t created;	/* objects that ever came from the allocator */
	uint64_t released;	/* and that went back */
	uint64_t overflows;	/* batches that went from a CPU to the depot */
	uint64_t refills;	/* and from there to a CPU */
	uint64_t refused;	/* frees refused by RSEQ_CACHE_DEBUG */
};

/*
 * Fill in stat, as far as stat->size says. Numbers are exact when no alloc, free or trim is under
 * way; objects on their way count as out.
 *
 * Returns: 0, with stat->size lowered to what the library knows; -1 with errno EINVAL if either is
 * NULL or stat->size has no room for out.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed.
 * Progress: wait-free, O(CPUs).
 */
RSEQ_API int rseq_cache_stat(const struct rseq_cache *cache, struct rseq_cache_stat *stat);

/*
 * What alloc and free do when their section does not succeed: what the stack's own slow functions
 * do, then the depot, then the allocator.
 *
 * Returns, Context, Ordering: as rseq_cache_alloc() and rseq_cache_free().
 * Progress: lock-free, but for the stack's lock in threads without rseq, and the allocator.
 */
RSEQ_API void *rseq_cache_alloc_slow(struct rseq_cache *cache);
RSEQ_API int rseq_cache_free_slow(struct rseq_cache *cache, void *object);

/*
 * Free nr objects at once. Those that are NULL, or refused, are passed over.
 *
 * Returns: 0; with RSEQ_CACHE_DEBUG -1 with errno EINVAL if some were refused.
 * Context, Ordering, Progress: as rseq_cache_free(), O(nr).
 */
RSEQ_API int rseq_cache_free_batch(struct rseq_cache *cache, void *const *objects, size_t nr);

/*
 * Take an object out of the cache, or from the allocator. The cache must not be NULL.
 *
 * Returns: the object, with errno kept; its contents are what construct() or its last user left.
 * NULL with the errno of the allocator, such as ENOMEM, or of construct(); with RSEQ_CACHE_DEBUG
 * also NULL with ENOMEM if there is none for the table.
 * Context: any thread; async-signal-safe if the allocator and construct() are, which malloc() is
 * not, and without RSEQ_CACHE_DEBUG.
 * Ordering: acquire, towards who freed the object.
 * Progress: wait-free where rseq works and the CPU has objects; otherwise as the slow function.
 */
RSEQ_INLINE __attribute__((nonnull)) void *rseq_cache_alloc(struct rseq_cache *cache)
{
	void *object = rseq_stack_try_pop(cache->fast);

	if (rseq_unlikely(!object))
		object = rseq_cache_alloc_slow(cache);
	return object;
}

/*
 * Put an object of this cache into it. The cache must not be NULL; an object that is NULL is none.
 *
 * Returns: 0, with errno kept. With RSEQ_CACHE_DEBUG, -1 with errno EINVAL for a pointer that is no
 * object of this cache that is out, such as one that was freed before: then nothing is done.
 * Without it, such a free is not noticed.
 * Context: any thread; async-signal-safe if destruct() and the allocator are, which free() is not,
 * and without RSEQ_CACHE_DEBUG.
 * Ordering: release, towards who allocates the object.
 * Progress: wait-free where rseq works and the CPU has room; otherwise as the slow function.
 */
RSEQ_INLINE __attribute__((nonnull(1))) int rseq_cache_free(struct rseq_cache *cache, void *object)
{
	if (rseq_unlikely(!object || !rseq_stack_try_push(cache->fast, object)))
		return rseq_cache_free_slow(cache, object);
	return 0;
}

RSEQ_END_DECLS

#endif /* RSEQ_CACHE_H */
