/* SPDX-License-Identifier: MIT */
/*
 * rseq/stack.h: bounded stack of pointers, split over CPUs; last in, first out.
 *
 * Who may run with whom: push, pop, their batches, steal, drain, set_capacity and count may run at
 * the same time on any threads, with or without rseq; all but drain in signal handlers too. create
 * and destroy of other stacks may run with all of these. Nothing may run with, or after, destroy of
 * the same stack.
 *
 * Each CPU's part has room for as many items as the capacity says, and for as many again that
 * threads without rseq push there. A thread sees the items of the CPU that it runs on alone.
 *
 * Memory: per CPU that pushes 32 bytes and 8 for each item of the capacity, rounded up to a power
 * of two and in pages shared with other structures up to a capacity of 4092; above, whole pages of
 * a mapping of its own, as far as they were ever filled. CPUs that never push take none. For the
 * stack one such row more, of 32 bytes where items are in a mapping, and 64 bytes.
 */
#ifndef RSEQ_STACK_H
#define RSEQ_STACK_H

#include <rseq/section.h>

#include <stddef.h>

RSEQ_BEGIN_DECLS

/* The text of a section is longer than the strings that ISO C promises. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"

/*
 * A CPU's part. Its sections write to items and to top, behind the newest one: a push, while top is
 * below limit; a pop, while it is above floor. Both bounds are written with the stack's lock held
 * alone. All zero is an empty part, which its first push makes ready.
 */
struct rseq_stack_row {
	uintptr_t top;			/* these three are addresses of items */
	uintptr_t limit;
	uintptr_t floor;		/* the first item, or above every top: then nobody pops */
	uintptr_t setting;		/* the capacity it was given plus 1, or 0: the stack's */
};

/* Of no size: the pointer to it is a handle, see rseq/section.h. */
struct rseq_stack;

/*
 * Make an empty stack with room for capacity_per_cpu items on each CPU. In
 * rseq_stack_create_mode(), mode chooses what numbers its parts: RSEQ_PERCPU_MM_CID makes a process
 * with few threads use few of them, on whichever CPUs it runs. Where the kernel has no mm_cid, that
 * is RSEQ_PERCPU_CPU_ID, the one of rseq_stack_create().
 *
 * Returns: the stack, or NULL with errno ENOMEM, or EINVAL for another mode or a capacity of 0.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API struct rseq_stack *rseq_stack_create(size_t capacity_per_cpu);
RSEQ_API struct rseq_stack *rseq_stack_create_mode(size_t capacity_per_cpu,
		enum rseq_percpu_mode mode);

/*
 * Free a stack, not what its items point to: drain it first. NULL is allowed and does nothing.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API void rseq_stack_destroy(struct rseq_stack *stack);

/*
 * Take all items that are there, of all CPUs, while others push and pop, and call each() for them,
 * each CPU's newest first. each() runs without a lock, and may use the stack; an item that is
 * pushed meanwhile is left or taken.
 *
 * Returns: how many were taken. If rseq_fence_all() cannot work, the rest stays, with errno ENOSYS;
 * 0 with errno EINVAL for a stack or an each that is NULL. Otherwise errno is what each() left.
 * Context: any thread; not async-signal-safe.
 * Ordering: acquire: what was written to an item before its push is seen.
 * Progress: blocks for one fence (see rseq/fence.h) if any CPU has items of registered threads, and
 * for more if memory for all items is not to be had; O(CPUs + items). Pushes and pops that meet it
 * wait until the items are copied out.
 */
RSEQ_API size_t rseq_stack_drain(struct rseq_stack *stack, void (*each)(void *item, void *arg),
		void *arg);

/*
 * Take up to nr of one CPU's newest items, while others push and pop. With mm_cid, cpu is such an
 * id. The items are in the order in which they were pushed, first those of registered threads, then
 * those of others.
 *
 * Returns: how many were taken; 0 with errno kept if there are none, and 0 with errno ENOSYS if
 * rseq_fence_cpu() cannot work, or EINVAL for a stack or items that are NULL or a cpu that is not
 * possible.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire: what was written to an item before its push is seen.
 * Progress: blocks for one fence if the CPU has items of registered threads; O(nr). Pushes and pops
 * of that CPU that meet it wait for it.
 */
RSEQ_API size_t rseq_stack_steal(struct rseq_stack *stack, int cpu, void **items, size_t nr);

/*
 * Change the capacity of one CPU's part, up to the one at creation; 0 keeps the CPU from pushing.
 * Items beyond the new capacity stay until they are taken; until then each push fails. A push that
 * is under way may still go by the old capacity. In a stack by mm_cid the number is such an id for
 * registered threads, and the CPU's for those without rseq.
 *
 * Returns: 0; -1 with errno EINVAL for a stack that is NULL, a cpu that is not possible or a
 * capacity above the one at creation.
 * Context: any thread, async-signal-safe.
 * Ordering: none.
 * Progress: takes the stack's lock.
 */
RSEQ_API int rseq_stack_set_capacity(struct rseq_stack *stack, int cpu, size_t capacity);

/*
 * How many items a CPU has. Exact when nobody pushes, pops or takes there; otherwise true of some
 * time meanwhile.
 *
 * Returns: the number; 0 with errno EINVAL for a stack that is NULL or a cpu that is not possible.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed.
 * Progress: wait-free.
 */
RSEQ_API size_t rseq_stack_count(const struct rseq_stack *stack, int cpu);

/*
 * What the functions below do when their section does not succeed: register the thread if nobody
 * tried, set the bounds of this CPU's part if they are to be, try again a few times, then use a
 * part that is kept under a lock.
 *
 * Returns: as rseq_stack_push(), rseq_stack_pop(), and their batches do.
 * Context, Ordering: the same.
 * Progress: takes the stack's lock, with signals blocked, but for a part that is simply full or
 * empty. A pop of a thread without rseq that finds items of this CPU's registered threads alone
 * waits for a fence, once for all of them; if that cannot work, it finds none.
 */
RSEQ_API int rseq_stack_push_slow(struct rseq_stack *stack, void *item);
RSEQ_API void *rseq_stack_pop_slow(struct rseq_stack *stack);
RSEQ_API size_t rseq_stack_push_batch_slow(struct rseq_stack *stack, void *const *items, size_t nr);
RSEQ_API size_t rseq_stack_pop_batch_slow(struct rseq_stack *stack, void **items, size_t nr);

/*
 * For a sanitizer: items go to whoever takes them. An item need not be an address: a word of the
 * stack's rows, of which there are twice as many as CPUs, stands for it. That is top or limit: a
 * store to floor is a release, with which the sanitizer forgets what was released before.
 */
RSEQ_INLINE void *rseq_stack_sanitize_at(const struct rseq_stack *stack, const void *item)
{
	const uintptr_t nr_words = 2;
	uintptr_t word = (uintptr_t)item / sizeof(item) %
		(nr_words * 2 * (uintptr_t)rseq_get_max_nr_cpus());

	return rseq_rows_of(stack).first + word / nr_words * RSEQ_PERCPU_STRIDE +
		word % nr_words * sizeof(uintptr_t);
}

RSEQ_INLINE void rseq_stack_sanitize_push(const struct rseq_stack *stack, void *const *items,
		size_t nr)
{
	for (size_t i = 0; RSEQ_SANITIZE_THREAD && i < nr; i++)
		rseq_sanitize_release(rseq_stack_sanitize_at(stack, items[i]));
}

RSEQ_INLINE void rseq_stack_sanitize_pop(const struct rseq_stack *stack, void **items, size_t nr)
{
	rseq_sanitize_written(items, nr * sizeof(*items));
	for (size_t i = 0; RSEQ_SANITIZE_THREAD && i < nr; i++)
		rseq_sanitize_acquire(rseq_stack_sanitize_at(stack, items[i]));
}

/*
 * Try to push an item, once. Neither is NULL.
 *
 * Returns: true when it is pushed; false when this CPU's part is full or in use by another CPU, the
 * section was aborted, or the thread is not registered: then nothing is changed.
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who takes the item.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_stack_try_push(struct rseq_stack *stack, void *item)
{
	struct rseq_rows rows = rseq_rows_of(stack);

	rseq_stack_sanitize_push(stack, &item, 1);
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_INDEX_BY("rows", "id", RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_GET(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "0"))
		RSEQ_ASM_BAE_AT(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "8"),
				RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_SCRATCH("item")
		RSEQ_ASM_PUT(RSEQ_ASM_REG("item"), RSEQ_ASM_AT_REG(RSEQ_ASM_T1, "0"))
		RSEQ_ASM_NEXT_WORD(RSEQ_ASM_T1)
		RSEQ_ASM_PUT(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "0"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("stack_push", "failed")
		: /* none */
		: RSEQ_SECTION_ROWS(&rows), [item] "r" (item)
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_TEMPORARIES
		: failed);
	return true;
failed:
	return false;
}

/*
 * Try to take this CPU's newest item, once. The stack is not NULL.
 *
 * Returns: the item; NULL when there is none, this CPU's part is in use by another CPU, the section
 * was aborted, or the thread is not registered: then nothing is changed.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire, towards who pushed the item.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) void *rseq_stack_try_pop(struct rseq_stack *stack)
{
	struct rseq_rows rows = rseq_rows_of(stack);
	void *item;

	__asm__ __volatile__ (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_INDEX_BY("rows", "id", RSEQ_ASM_ABORT_LABEL)
		RSEQ_ASM_GET(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "0"))
		RSEQ_ASM_BNA_AT(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "16"),
				RSEQ_ASM_RESULT_LABEL("none"))
		RSEQ_ASM_PREVIOUS_WORD(RSEQ_ASM_T1)
		RSEQ_ASM_GET(RSEQ_ASM_REG("item"), RSEQ_ASM_AT_REG(RSEQ_ASM_T1, "0"))
		RSEQ_ASM_PUT(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "0"))
		RSEQ_SECTION_END
		RSEQ_SECTION_RESULTS("stack_pop", "item", "0",
				     RSEQ_SECTION_RESULT("none", "item", "0"))
		: [item] "=&r" (item)
		: RSEQ_SECTION_ROWS(&rows)
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_TEMPORARIES);
	if (RSEQ_SANITIZE_THREAD && item)
		rseq_stack_sanitize_pop(stack, &item, 1);
	return item;
}

/*
 * The number of this thread's row. Returns false for a thread that is not registered.
 */
RSEQ_INLINE bool rseq_stack_find_row(const struct rseq_stack *stack, uint32_t *id,
		struct rseq_stack_row **row)
{
	struct rseq_rows rows = rseq_rows_of(stack);
	const void *area = rseq_get_abi();

	if (rseq_unlikely(!rseq_thread_registered()))
		return false;
	*id = RSEQ_READ_ONCE(((const uint32_t *)area)[rows.id]);
	*row = (struct rseq_stack_row *)(rows.first + (size_t)*id * RSEQ_PERCPU_STRIDE);
	return true;
}

/*
 * Try to push the first of nr items, as many as there is room for, once. Nothing is NULL.
 *
 * Returns: how many are pushed; 0 for the reasons of rseq_stack_try_push().
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who takes the items.
 * Progress: wait-free, O(nr).
 */
RSEQ_INLINE __attribute__((nonnull)) size_t rseq_stack_try_push_batch(struct rseq_stack *stack,
		void *const *items, size_t nr)
{
	struct rseq_stack_row *row;
	uintptr_t top, limit;
	uint32_t id;

	if (rseq_unlikely(!rseq_stack_find_row(stack, &id, &row)))
		return 0;
	top = RSEQ_READ_ONCE(row->top);
	limit = RSEQ_READ_ONCE(row->limit);
	if (rseq_unlikely(top >= limit || !nr))
		return 0;
	if (nr > (limit - top) / sizeof(*items))
		nr = (limit - top) / sizeof(*items);
	rseq_stack_sanitize_push(stack, items, nr);
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_CHECK_REGISTERED("failed")
		RSEQ_ASM_CHECK_ID_BY("value", "id", RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_BNE(RSEQ_ASM_AT("row"), "top", "failed")
		RSEQ_ASM_BNE(RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "8"), "limit", "failed")
		RSEQ_ASM_COPY_WORDS("top", "from", "len")
		RSEQ_ASM_STORE("result", RSEQ_ASM_AT("row"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("stack_push_batch", "failed")
		: /* none */
		: [rseq_area] "r" (RSEQ_ASM_AREA),
		  [id] "r" (rseq_rows_of(stack).id), [value] "r" (id), [row] "r" (row),
		  [top] "r" (top), [limit] "r" (limit), [from] "r" (items),
		  [len] "r" (nr * sizeof(*items)), [result] "r" (top + nr * sizeof(*items))
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_COPY_CLOBBERS
		: failed);
	return nr;
failed:
	return 0;
}

/*
 * Try to take this CPU's newest items, up to nr, once. Nothing is NULL.
 *
 * Returns: how many are taken; 0 for the reasons of rseq_stack_try_pop(): then items may have been
 * written to, and nothing else.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire, towards who pushed the items.
 * Progress: wait-free, O(nr).
 */
RSEQ_INLINE __attribute__((nonnull)) size_t rseq_stack_try_pop_batch(struct rseq_stack *stack,
		void **items, size_t nr)
{
	struct rseq_stack_row *row;
	uintptr_t top, floor;
	uint32_t id;

	if (rseq_unlikely(!rseq_stack_find_row(stack, &id, &row)))
		return 0;
	top = RSEQ_READ_ONCE(row->top);
	floor = RSEQ_READ_ONCE(row->floor);
	if (rseq_unlikely(top <= floor || !nr))
		return 0;
	if (nr > (top - floor) / sizeof(*items))
		nr = (top - floor) / sizeof(*items);
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_CHECK_REGISTERED("failed")
		RSEQ_ASM_CHECK_ID_BY("value", "id", RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_BNE(RSEQ_ASM_AT("row"), "top", "failed")
		RSEQ_ASM_BNE(RSEQ_ASM_AT_REG(RSEQ_ASM_REG("row"), "16"), "floor", "failed")
		RSEQ_ASM_COPY_WORDS("to", "result", "len")
		RSEQ_ASM_STORE("result", RSEQ_ASM_AT("row"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("stack_pop_batch", "failed")
		: /* none */
		: [rseq_area] "r" (RSEQ_ASM_AREA),
		  [id] "r" (rseq_rows_of(stack).id), [value] "r" (id), [row] "r" (row),
		  [top] "r" (top), [floor] "r" (floor), [to] "r" (items),
		  [len] "r" (nr * sizeof(*items)), [result] "r" (top - nr * sizeof(*items))
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_COPY_CLOBBERS
		: failed);
	/* clang does not forget an inline call that does nothing. */
	if (RSEQ_SANITIZE_THREAD || RSEQ_SANITIZE_MEMORY)
		rseq_stack_sanitize_pop(stack, items, nr);
	return nr;
failed:
	return 0;
}

/*
 * Push an item. The stack must not be NULL.
 *
 * Returns: 0; -1 with errno ENOSPC if this CPU's part is full, EINVAL for an item that is NULL.
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who takes the item.
 * Progress: wait-free where rseq works and nobody steals or drains; otherwise takes a lock.
 */
RSEQ_INLINE __attribute__((nonnull(1))) int rseq_stack_push(struct rseq_stack *stack, void *item)
{
	if (rseq_unlikely(!item || !rseq_stack_try_push(stack, item)))
		return rseq_stack_push_slow(stack, item);
	return 0;
}

/*
 * Take this CPU's newest item. The stack must not be NULL.
 *
 * Returns: the item, or NULL if this CPU has none; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire, towards who pushed the item.
 * Progress: wait-free where rseq works and nobody steals or drains; otherwise takes a lock.
 */
RSEQ_INLINE __attribute__((nonnull)) void *rseq_stack_pop(struct rseq_stack *stack)
{
	void *item = rseq_stack_try_pop(stack);

	if (rseq_unlikely(!item))
		item = rseq_stack_pop_slow(stack);
	return item;
}

/*
 * Push the first of nr items, items[0] first, as many as there is room for on this CPU. Nothing may
 * be NULL, the items neither, which is not checked.
 *
 * Returns: how many were pushed, all in one; errno is kept.
 * Context, Ordering, Progress: as rseq_stack_push(); O(nr).
 */
RSEQ_INLINE __attribute__((nonnull)) size_t rseq_stack_push_batch(struct rseq_stack *stack,
		void *const *items, size_t nr)
{
	size_t nr_pushed = rseq_stack_try_push_batch(stack, items, nr);

	if (rseq_unlikely(!nr_pushed))
		nr_pushed = rseq_stack_push_batch_slow(stack, items, nr);
	return nr_pushed;
}

/*
 * Take this CPU's newest items, up to nr, in the order in which they were pushed: the newest is
 * the last. What follows them in items may be written to. Nothing may be NULL.
 *
 * Returns: how many were taken, all in one; 0 only if this CPU has none; errno is kept.
 * Context, Ordering, Progress: as rseq_stack_pop(); O(nr).
 */
RSEQ_INLINE __attribute__((nonnull)) size_t rseq_stack_pop_batch(struct rseq_stack *stack,
		void **items, size_t nr)
{
	size_t nr_popped = rseq_stack_try_pop_batch(stack, items, nr);

	if (rseq_unlikely(!nr_popped))
		nr_popped = rseq_stack_pop_batch_slow(stack, items, nr);
	return nr_popped;
}

#pragma GCC diagnostic pop

RSEQ_END_DECLS

#endif /* RSEQ_STACK_H */
