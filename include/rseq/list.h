/* SPDX-License-Identifier: MIT */
/*
 * rseq/list.h: intrusive list, split over CPUs; last in, first out.
 *
 * Who may run with whom: push, push_chain, pop, drain, drain_cpu and empty may run at the same time
 * on any threads, with or without rseq, in signal handlers too. create and destroy of other lists
 * may run with all of these. Nothing may run with, or after, destroy of the same list.
 *
 * A node belongs to the list from push to pop or drain, and to the caller otherwise; it may be
 * freed as soon as it is popped: nobody looks at it any more. An abort makes each try start with
 * the head as it is then, so that a node which comes back in between (ABA) does no harm.
 *
 * Memory: 16 bytes in the row of each CPU that pushes.
 */
#ifndef RSEQ_LIST_H
#define RSEQ_LIST_H

#include <rseq/section.h>

#include <stddef.h>

RSEQ_BEGIN_DECLS

struct rseq_list_node {
	struct rseq_list_node *next;
};

/* A CPU's part. Its sections write to head, and keep off unless gate is 0, open. */
struct rseq_list_row {
	struct rseq_list_node *head;
	uintptr_t gate;
};

/* Of no size: the pointer to it is a handle, see rseq/section.h. */
struct rseq_list;

/* What a try of a pop returns instead of a node, if it did not succeed. */
#define RSEQ_LIST_ABORTED	((struct rseq_list_node *)(uintptr_t)1)

/*
 * Make an empty list. In rseq_list_create_mode(), mode chooses what numbers its parts:
 * RSEQ_PERCPU_MM_CID makes a process with few threads use few of them, on whichever CPUs it runs.
 * Where the kernel has no mm_cid, that is RSEQ_PERCPU_CPU_ID, the one of rseq_list_create().
 *
 * Returns: the list, or NULL with errno ENOMEM, or EINVAL for another mode.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API struct rseq_list *rseq_list_create(void);
RSEQ_API struct rseq_list *rseq_list_create_mode(enum rseq_percpu_mode mode);

/*
 * Free a list, not its nodes: drain it first. NULL is allowed and does nothing.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread; not async-signal-safe.
 * Ordering: none.
 * Progress: takes locks of the memory pools.
 */
RSEQ_API void rseq_list_destroy(struct rseq_list *list);

/*
 * Take all nodes, of one CPU or of all, while others push and pop. With mm_cid, cpu is such an id.
 *
 * Returns: the nodes, each CPU's newest first, chained through next; NULL with errno kept if there
 * are none; NULL with errno ENOSYS if there are and rseq_fence_all() cannot work: then all stay.
 * NULL with errno EINVAL for a list that is NULL or a cpu that is not possible.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire: what was written to a node before its push is seen.
 * Progress: blocks for one fence (see rseq/fence.h) if any CPU has nodes of registered threads;
 * O(CPUs + nodes). Pushes and pops that meet it go on, through the list's lock.
 */
RSEQ_API struct rseq_list_node *rseq_list_drain(struct rseq_list *list);
RSEQ_API struct rseq_list_node *rseq_list_drain_cpu(struct rseq_list *list, int cpu);

/*
 * Whether no CPU has a node. Exact when no push, pop or drain is under way; otherwise each CPU's
 * part was empty at some time meanwhile.
 *
 * Returns: true or false; true with errno EINVAL for NULL.
 * Context: any thread, async-signal-safe.
 * Ordering: relaxed.
 * Progress: wait-free, O(CPUs).
 */
RSEQ_API bool rseq_list_empty(const struct rseq_list *list);

/*
 * What push and pop do when their section does not succeed: register the thread if nobody tried,
 * try again a few times, then go through nodes that are kept under a lock.
 *
 * Returns: as rseq_list_push_chain() and rseq_list_pop() do. tried is what the pop's try returned.
 * Context, Ordering: the same.
 * Progress: takes the list's lock, with signals blocked. A pop of a thread without rseq that finds
 * nodes of this CPU's registered threads alone waits for a fence, once for all of them.
 */
RSEQ_API void rseq_list_push_slow(struct rseq_list *list, struct rseq_list_node *first,
		struct rseq_list_node *last);
RSEQ_API struct rseq_list_node *rseq_list_pop_slow(struct rseq_list *list,
		struct rseq_list_node *tried);

/* For a sanitizer: the nodes of a chain go to whoever takes them. */
RSEQ_INLINE void rseq_list_sanitize_push(struct rseq_list_node *first, struct rseq_list_node *last)
{
	rseq_sanitize_written(&last->next, sizeof(last->next));
	if (!RSEQ_SANITIZE_THREAD)
		return;
	for (; first != last; first = first->next)
		rseq_sanitize_release(first);
	rseq_sanitize_release(last);
}

/*
 * Try to push a chain, once. Nothing is NULL; the chain leads from first to last.
 *
 * Returns: true when it is pushed; false when the section was aborted, a drain is at work, or the
 * thread is not registered: then nothing is changed but last->next.
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who pops or drains the nodes.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) bool rseq_list_try_push(struct rseq_list *list,
		struct rseq_list_node *first, struct rseq_list_node *last)
{
	struct rseq_rows rows = rseq_rows_of(list);

	rseq_list_sanitize_push(first, last);
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_INDEX_BY("rows", "id", RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_BNZ_AT(RSEQ_ASM_ROW("rows", "8"), RSEQ_ASM_EXIT_LABEL("failed"))
		RSEQ_ASM_GET(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "0"))
		RSEQ_ASM_SCRATCH("next") RSEQ_ASM_PUT(RSEQ_ASM_T1, RSEQ_ASM_AT("last"))
		RSEQ_ASM_PUT(RSEQ_ASM_REG("first"), RSEQ_ASM_ROW("rows", "0"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("list_push", "failed")
		: /* none */
		: RSEQ_SECTION_ROWS(&rows), [first] "r" (first), [last] "r" (last)
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_TEMPORARIES
		: failed);
	return true;
failed:
	return false;
}

/*
 * Try to take this CPU's newest node, once. The list is not NULL.
 *
 * Returns: the node; NULL when there is none, or a drain is at work; RSEQ_LIST_ABORTED when the
 * section was aborted or the thread is not registered: then nothing is changed.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire, towards who pushed the node.
 * Progress: wait-free.
 */
RSEQ_INLINE __attribute__((nonnull)) struct rseq_list_node *rseq_list_try_pop(
		struct rseq_list *list)
{
	struct rseq_rows rows = rseq_rows_of(list);
	struct rseq_list_node *node;

	__asm__ __volatile__ (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_INDEX_BY("rows", "id", RSEQ_ASM_ABORT_LABEL)
		RSEQ_ASM_GET(RSEQ_ASM_REG("node"), RSEQ_ASM_ROW("rows", "0"))
		/* A gate that is not open is above every pointer. */
		RSEQ_ASM_BNA_AT(RSEQ_ASM_REG("node"), RSEQ_ASM_ROW("rows", "8"),
				RSEQ_ASM_RESULT_LABEL("none"))
		RSEQ_ASM_GET(RSEQ_ASM_T1, RSEQ_ASM_AT_REG(RSEQ_ASM_REG("node"), "0"))
		RSEQ_ASM_PUT(RSEQ_ASM_T1, RSEQ_ASM_ROW("rows", "0"))
		RSEQ_SECTION_END
		RSEQ_SECTION_RESULTS("list_pop", "node", "1",
				     RSEQ_SECTION_RESULT("none", "node", "0"))
		: [node] "=&r" (node)
		: RSEQ_SECTION_ROWS(&rows)
		: "memory", RSEQ_ASM_CLOBBERS, RSEQ_ASM_TEMPORARIES);
	if (RSEQ_SANITIZE_THREAD && (uintptr_t)node > 1)
		rseq_sanitize_acquire(node);
	return node;
}

/*
 * Push a node, or a chain that leads from first to last. Cannot fail. Nothing may be NULL.
 *
 * Returns: nothing; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: release, towards who pops or drains the nodes.
 * Progress: wait-free where rseq works; a thread without it takes a lock.
 */
RSEQ_INLINE __attribute__((nonnull)) void rseq_list_push_chain(struct rseq_list *list,
		struct rseq_list_node *first, struct rseq_list_node *last)
{
	if (rseq_unlikely(!rseq_list_try_push(list, first, last)))
		rseq_list_push_slow(list, first, last);
}

RSEQ_INLINE __attribute__((nonnull)) void rseq_list_push(struct rseq_list *list,
		struct rseq_list_node *node)
{
	rseq_list_push_chain(list, node, node);
}

/*
 * Take this CPU's newest node. The list must not be NULL.
 *
 * Returns: the node, or NULL if this CPU has none; errno is kept.
 * Context: any thread, async-signal-safe.
 * Ordering: acquire, towards who pushed the node.
 * Progress: wait-free where rseq works; a thread without it takes a lock.
 */
RSEQ_INLINE __attribute__((nonnull)) struct rseq_list_node *rseq_list_pop(struct rseq_list *list)
{
	struct rseq_list_node *node = rseq_list_try_pop(list);

	if (rseq_unlikely((uintptr_t)node <= 1))
		node = rseq_list_pop_slow(list, node);
	return node;
}

RSEQ_END_DECLS

#endif /* RSEQ_LIST_H */
