/* SPDX-License-Identifier: MIT */
/*
 * rseq/mempool.h: pools of items that exist once per CPU.
 *
 * An item of a per-CPU pool has the same offset in each CPU's row; rows are a stride apart. The
 * pointer that allocation returns is that of CPU 0's copy, and rseq_percpu_ptr() leads from there
 * to another. A global pool has one row.
 *
 * Rows that no CPU wrote to take no memory, and zeros are asked for at no CPU's expense: an item is
 * zeroed where one was written to since, as far as the kernel tells (/proc/thread-self/pagemap),
 * many at a time; a pool that is almost full may have one range more until there are as many. Else,
 * and for all that robust and poisoned pools allocate and free, each copy is looked at. Initial
 * values are written to each copy, too, where the kernel has no memory files, where RLIMIT_FSIZE is
 * below the stride, and in ranges beyond those that have 32768 rows with shared initial values in
 * the process: each such row is one of the mappings that it may have.
 *
 * CPUs keep items at hand, in sections of the library: as other structures do, pools register a
 * thread that nobody has tried to register, as long as it lives.
 *
 * Who may run with whom: allocation from, and freeing into, any pools may run at the same time on
 * any threads. Destroying a pool excludes all else on the same pool, and nothing on other pools.
 * Making a pool or a set, and adding a pool to a set, may run at the same time as anything on
 * others. An attribute belongs to one thread at a time. Nothing here is async-signal-safe.
 *
 * fork(): locks are held over it, so that the child of a threaded program can go on. A pool of
 * populate policy COW_ZERO works in the child, on copies of its own. One of COW_INIT shares its
 * initial values with the parent: in the child its items can be read and written, values that
 * no CPU had changed follow the parent's, allocation fails with EPERM, freeing does nothing, and
 * the pool can be destroyed.
 */
#ifndef RSEQ_MEMPOOL_H
#define RSEQ_MEMPOOL_H

#include <rseq/abi.h>
#include <rseq/compiler.h>

#include <stddef.h>
#include <stdint.h>

RSEQ_BEGIN_DECLS

/* Bytes between two CPUs' rows unless an attribute says otherwise. */
#define RSEQ_MEMPOOL_STRIDE	(1U << 16)

/* Marks a pointer that rseq_percpu_ptr() must be applied to. */
#ifdef __CHECKER__
# define __rseq_percpu		__attribute__((noderef, address_space(__rseq_percpu)))
#else
# define __rseq_percpu
#endif

/*
 * The copy of *ptr that belongs to cpu, as the same type of pointer. The third is the stride.
 * g++ warns of a cast to the type of a constant pointer; that of a value has no such qualifier.
 */
#ifdef __cplusplus
# define RSEQ_PERCPU_PTR_VALUE(ptr)	(true ? (ptr) : nullptr)
#else
# define RSEQ_PERCPU_PTR_VALUE(ptr)	(ptr)
#endif
#define RSEQ_PERCPU_PTR_STRIDE(ptr, cpu, stride)						\
	((__typeof__(RSEQ_PERCPU_PTR_VALUE(ptr)))((uintptr_t)(ptr) +			\
		(uintptr_t)(unsigned int)(cpu) * (uintptr_t)(stride)))
#define RSEQ_PERCPU_PTR_DEFAULT(ptr, cpu)						\
	RSEQ_PERCPU_PTR_STRIDE(ptr, cpu, RSEQ_MEMPOOL_STRIDE)
#define RSEQ_PERCPU_PTR_SELECT(ptr, cpu, stride, macro, ...)	macro
#define rseq_percpu_ptr(...)								\
	RSEQ_PERCPU_PTR_SELECT(__VA_ARGS__, RSEQ_PERCPU_PTR_STRIDE,			\
			       RSEQ_PERCPU_PTR_DEFAULT, unused)(__VA_ARGS__)

struct rseq_mempool;
struct rseq_mempool_attr;
struct rseq_mempool_set;

enum rseq_mempool_populate_policy {
	/* Pages start as copies of one initial page, shared until a CPU writes to its own. */
	RSEQ_MEMPOOL_POPULATE_COW_INIT = 0,
	/* Pages start as zeros. Usable after fork(). */
	RSEQ_MEMPOOL_POPULATE_COW_ZERO = 1,
};

/*
 * Attributes of a pool to be made.
 *
 * _create returns an attribute with the defaults (per CPU, stride RSEQ_MEMPOOL_STRIDE, all possible
 * CPUs, no limit of ranges, COW_INIT), or NULL with errno ENOMEM. _destroy takes NULL.
 *
 * Returns of the others: 0, or -1 with errno EINVAL.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: wait-free but for malloc().
 */
RSEQ_API struct rseq_mempool_attr *rseq_mempool_attr_create(void);
RSEQ_API void rseq_mempool_attr_destroy(struct rseq_mempool_attr *attr);

/*
 * Call init(priv, addr, len, cpu) for each row of each new range: len bytes at addr are cpu's. What
 * it returns other than 0 ends the creation of the range, which fails with the errno it left, or
 * with ENOMEM if it left none. What it writes there is what rseq_mempool_percpu_malloc() hands out
 * first. It may run with the pool's lock held, and must not use the pool.
 */
RSEQ_API int rseq_mempool_attr_set_init(struct rseq_mempool_attr *attr,
		int (*init)(void *priv, void *addr, size_t len, int cpu), void *priv);

/*
 * Find misuse: a double free, an item written to while it was free, a pointer that is no item, an
 * item still allocated when the pool is destroyed. Each prints a line that names the pool to the
 * standard error stream and calls abort(). As long as there is a robust pool, so does freeing what
 * is in no pool, which no pool's name is to be had for, or with a stride that is not its pool's,
 * whether that one is robust or not.
 */
RSEQ_API int rseq_mempool_attr_set_robust(struct rseq_mempool_attr *attr);

/*
 * A per-CPU pool. stride: bytes from row to row, a power of two of a page or more, 0 for the
 * default. max_nr_cpus: rows, 0 for all possible CPUs.
 */
RSEQ_API int rseq_mempool_attr_set_percpu(struct rseq_mempool_attr *attr, size_t stride,
		int max_nr_cpus);

/* A global pool: one row of stride bytes. */
RSEQ_API int rseq_mempool_attr_set_global(struct rseq_mempool_attr *attr, size_t stride);

/* Never more than this number of ranges; 0 for no limit. */
RSEQ_API int rseq_mempool_attr_set_max_nr_ranges(struct rseq_mempool_attr *attr,
		unsigned long max_nr_ranges);

/*
 * Fill free items with this word. Robust pools have one of their own, for copies that hold anything
 * but zeros when they are freed.
 */
RSEQ_API int rseq_mempool_attr_set_poison(struct rseq_mempool_attr *attr, uintptr_t poison);

RSEQ_API int rseq_mempool_attr_set_populate_policy(struct rseq_mempool_attr *attr,
		enum rseq_mempool_populate_policy policy);

/*
 * Make a pool of items of item_len bytes, rounded up to a power of two, and at least to a pointer.
 * A range of memory holds stride / item size items in each row; the first range is made at the
 * first allocation, or here if there is an init callback.
 *
 * Returns: the pool, or NULL with errno EINVAL (item_len is 0 or over the stride), ENOMEM (also for
 * more than an address space, or 2^32 items in a range), or what the init callback left.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: blocking.
 */
RSEQ_API struct rseq_mempool *rseq_mempool_create(const char *name, size_t item_len,
		const struct rseq_mempool_attr *attr);

/*
 * Free a pool with all its items. NULL is allowed and does nothing.
 *
 * Returns: 0, or -1 with errno: what munmap() said. What it refused stays mapped; the pool is gone,
 * and the rest of its memory freed, all the same.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: blocking.
 */
RSEQ_API int rseq_mempool_destroy(struct rseq_mempool *pool);

/*
 * The number of rows: CPUs that the pool has copies for, 1 for a global pool.
 *
 * Returns: a positive number, or -1 with errno EINVAL for NULL.
 * Context: any. Ordering: none. Progress: wait-free.
 */
RSEQ_API int rseq_mempool_get_max_nr_cpus(struct rseq_mempool *pool);

/*
 * Move the pages of a row to the memory node of its CPU: for an init callback. numa_flags are
 * those of move_pages(2): MPOL_MF_MOVE or MPOL_MF_MOVE_ALL. Pages that nobody wrote to stay as
 * they are.
 *
 * Returns: 0, or -1 with errno EINVAL (a negative cpu, an address that is not at a page, a length
 * beyond the last address), ENOSYS (no NUMA in this kernel), or what move_pages(2) said.
 * Context: any thread. Ordering: none. Progress: wait-free.
 */
RSEQ_API int rseq_mempool_range_init_numa(void *addr, size_t len, int cpu, int numa_flags);

/*
 * Allocate an item: with any content; with zeros on every CPU; with a copy of len bytes from init
 * on every CPU, and zeros behind them.
 *
 * Returns: the item (CPU 0's copy), or NULL with errno ENOMEM (no memory, or max_nr_ranges are
 * full), EINVAL (NULL pool, NULL init with a len, len over the item size), EPERM (a COW_INIT pool
 * in a fork child), or what the init callback left.
 * Context: any thread; not async-signal-safe.
 * Ordering: an item's former user's accesses come before its next user's.
 * Progress: blocking; malloc is wait-free while this CPU has items that were freed on it, and
 * zmalloc while it has some left of those that the last one that was not has fetched.
 */
RSEQ_API void __rseq_percpu *rseq_mempool_percpu_malloc(struct rseq_mempool *pool);
RSEQ_API void __rseq_percpu *rseq_mempool_percpu_zmalloc(struct rseq_mempool *pool);
RSEQ_API void __rseq_percpu *rseq_mempool_percpu_malloc_init(struct rseq_mempool *pool,
		const void *init, size_t len);

/*
 * Free an item; stride is that of its pool, RSEQ_MEMPOOL_STRIDE where none or 0 is given. NULL is
 * allowed and does nothing. Without a robust pool in the process, other pointers than items, and
 * another pool's stride, are undefined.
 *
 * Returns: nothing; errno is kept, but EINVAL if no pool was ever made with this stride, and
 * nothing is freed then.
 * Context: any thread; not async-signal-safe.
 * Ordering: as above.
 * Progress: blocking; wait-free while this CPU has room for free items and no pool is robust.
 */
RSEQ_API void librseq_mempool_percpu_free(void __rseq_percpu *ptr, size_t stride);

#define RSEQ_MEMPOOL_FREE_STRIDE(ptr, stride)	librseq_mempool_percpu_free(ptr, stride)
#define RSEQ_MEMPOOL_FREE_DEFAULT(ptr)						\
	librseq_mempool_percpu_free(ptr, RSEQ_MEMPOOL_STRIDE)
#define RSEQ_MEMPOOL_FREE_SELECT(ptr, stride, macro, ...)	macro
#define rseq_mempool_percpu_free(...)						\
	RSEQ_MEMPOOL_FREE_SELECT(__VA_ARGS__, RSEQ_MEMPOOL_FREE_STRIDE,		\
				 RSEQ_MEMPOOL_FREE_DEFAULT, unused)(__VA_ARGS__)

/* The same for global pools, whose items are plain pointers. */
RSEQ_INLINE void *rseq_mempool_malloc(struct rseq_mempool *pool)
{
	return (void *)rseq_mempool_percpu_malloc(pool);
}

RSEQ_INLINE void *rseq_mempool_zmalloc(struct rseq_mempool *pool)
{
	return (void *)rseq_mempool_percpu_zmalloc(pool);
}

RSEQ_INLINE void *rseq_mempool_malloc_init(struct rseq_mempool *pool, const void *init,
		size_t len)
{
	return (void *)rseq_mempool_percpu_malloc_init(pool, init, len);
}

#define rseq_mempool_free(...)	rseq_mempool_percpu_free(__VA_ARGS__)

/*
 * A set of pools of different item sizes, which allocates from the smallest that fits and has
 * room.
 *
 * _create returns the set, or NULL with errno ENOMEM. _destroy frees the set and its pools; 0, or
 * -1 with errno as rseq_mempool_destroy(). _add_pool gives a pool to the set: 0, or -1 with errno
 * EINVAL (NULL), or EBUSY (the set has a pool of this item size, or the pool is in a set).
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: blocking.
 */
RSEQ_API struct rseq_mempool_set *rseq_mempool_set_create(void);
RSEQ_API int rseq_mempool_set_destroy(struct rseq_mempool_set *set);
RSEQ_API int rseq_mempool_set_add_pool(struct rseq_mempool_set *set, struct rseq_mempool *pool);

/*
 * Allocate len bytes from the set, as the functions above do from a pool.
 *
 * Returns: the item, or NULL with errno ENOMEM (no pool is large enough, or none of these has
 * room), EINVAL (NULL set, NULL init with a len), or as above.
 */
RSEQ_API void __rseq_percpu *rseq_mempool_set_percpu_malloc(struct rseq_mempool_set *set,
		size_t len);
RSEQ_API void __rseq_percpu *rseq_mempool_set_percpu_zmalloc(struct rseq_mempool_set *set,
		size_t len);
RSEQ_API void __rseq_percpu *rseq_mempool_set_percpu_malloc_init(struct rseq_mempool_set *set,
		const void *init, size_t len);

RSEQ_INLINE void *rseq_mempool_set_malloc(struct rseq_mempool_set *set, size_t len)
{
	return (void *)rseq_mempool_set_percpu_malloc(set, len);
}

RSEQ_INLINE void *rseq_mempool_set_zmalloc(struct rseq_mempool_set *set, size_t len)
{
	return (void *)rseq_mempool_set_percpu_zmalloc(set, len);
}

RSEQ_INLINE void *rseq_mempool_set_malloc_init(struct rseq_mempool_set *set, const void *init,
		size_t len)
{
	return (void *)rseq_mempool_set_percpu_malloc_init(set, init, len);
}

RSEQ_END_DECLS

#endif /* RSEQ_MEMPOOL_H */
