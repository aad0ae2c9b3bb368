/* SPDX-License-Identifier: MIT */
/*
 * list.c: what a list does out of its sections.
 *
 * Threads without rseq keep nodes in the second rows, under the list's lock. Who takes the nodes of
 * registered threads closes the rows, so that no new section touches them, and waits with a fence
 * for those under way; meanwhile their owners use the second rows too.
 */
#include "percpu.h"

#include <rseq/fence.h>
#include <rseq/list.h>

#include <errno.h>

static struct rseq_list_row *row_of(const struct rseq_list *list, int row)
{
	return rseq_percpu_row(rseq_rows_of(list).first, row);
}

/* The second row of a CPU. */
static struct rseq_list_row *fallback_of(const struct rseq_list *list, int cpu)
{
	return row_of(list, rseq_get_max_nr_cpus() + cpu);
}

struct rseq_list *rseq_list_create(void)
{
	return rseq_list_create_mode(RSEQ_PERCPU_CPU_ID);
}

struct rseq_list *rseq_list_create_mode(enum rseq_percpu_mode mode)
{
	struct rseq_rows rows;

	if (rseq_percpu_set_id(&rows.id, mode))
		return NULL;
	rows.first = rseq_percpu_zalloc(sizeof(struct rseq_list_row));
	return rows.first ? rseq_rows_handle(&rows) : NULL;
}

void rseq_list_destroy(struct rseq_list *list)
{
	int saved_errno = errno;

	if (!list)
		return;
	rseq_percpu_free(rseq_rows_of(list).first);
	errno = saved_errno;
}

static struct rseq_list_node *head_of(const struct rseq_list_row *row)
{
	return RSEQ_READ_ONCE(row->head);
}

/* Whether second rows may hold anything. These have no use for a gate: the first one's says it. */
static uintptr_t *fallback_mark(const struct rseq_list *list)
{
	return &fallback_of(list, 0)->gate;
}

static bool fallback_used(const struct rseq_list *list)
{
	return __atomic_load_n(fallback_mark(list), __ATOMIC_RELAXED);
}

static void use_fallback(struct rseq_list *list)
{
	__atomic_store_n(fallback_mark(list), 1, __ATOMIC_RELAXED);
}

/* Called with the lock, as are all functions that write to second rows. */
static void push_fallback(struct rseq_list *list, int cpu, struct rseq_list_node *first,
		struct rseq_list_node *last)
{
	struct rseq_list_row *row = fallback_of(list, cpu);

	use_fallback(list);
	last->next = row->head;
	RSEQ_WRITE_ONCE(row->head, first);
}

static struct rseq_list_node *pop_fallback(struct rseq_list *list, int cpu)
{
	struct rseq_list_row *row = fallback_of(list, cpu);
	struct rseq_list_node *node = row->head;

	if (node)
		RSEQ_WRITE_ONCE(row->head, node->next);
	return node;
}

static struct rseq_list_node *last_of(struct rseq_list_node *node)
{
	while (node->next)
		node = node->next;
	return node;
}

/* A chain under construction: end is where the next one is to be linked. */
struct chain {
	struct rseq_list_node *first;
	struct rseq_list_node *last;
	bool stays;			/* in the list, but for its first node */
};

static void append(struct chain *chain, struct rseq_list_node *first)
{
	if (!first)
		return;
	if (chain->first)
		last_of(chain->last)->next = first;
	else
		chain->first = first;
	chain->last = first;
}

/* For a sanitizer: these nodes were pushed by sections. */
static void sanitize_taken(struct rseq_list_node *node)
{
	for (; RSEQ_SANITIZE_THREAD && node; node = node->next)
		rseq_sanitize_acquire(node);
}

/*
 * Called with the lock. Closes the rows that have nodes, and says how many; others are let alone: a
 * push that came before this call is seen.
 */
static int close_rows(struct rseq_list *list, int first, int last)
{
	int nr_closed = 0;

	for (int row = first; row <= last; row++) {
		if (head_of(row_of(list, row))) {
			rseq_gate_close(&row_of(list, row)->gate);
			nr_closed++;
		}
	}
	return nr_closed;
}

static int take_closed_rows(struct rseq_list *list, int first, int last, struct chain *chain)
{
	int nr_taken = 0;

	for (int row = first; row <= last; row++) {
		struct rseq_list_row *at = row_of(list, row);

		if (rseq_gate_state(&at->gate) != RSEQ_GATE_CLOSED)
			continue;
		if (chain) {
			sanitize_taken(head_of(at));
			append(chain, head_of(at));
			RSEQ_WRITE_ONCE(at->head, NULL);
			/* Who then finds this row empty looks for them there, and waits. */
			if (chain->stays)
				use_fallback(list);
		}
		rseq_gate_release(&at->gate);
		nr_taken++;
	}
	return nr_taken;
}

/*
 * Called with the lock. Takes what sections have left in these rows. A CPU that opened its row
 * again while it was closed, after a fence had failed in another call, is closed once more.
 */
static int take_rows(struct rseq_list *list, int first, int last, struct chain *chain)
{
	struct rseq_rows rows = rseq_rows_of(list);
	int nr_closed;

	do {
		nr_closed = close_rows(list, first, last);
		if (nr_closed && rseq_percpu_fence(&rows, first == last ? first : -1)) {
			take_closed_rows(list, first, last, NULL);
			return -1;
		}
	} while (nr_closed && take_closed_rows(list, first, last, chain) < nr_closed);
	return 0;
}

static struct rseq_list_node *drain(struct rseq_list *list, int first, int last)
{
	struct chain chain = { .stays = false };
	sigset_t signals;
	int result;

	rseq_fallback_lock(list, &signals);
	result = take_rows(list, first, last, &chain);
	if (!result && fallback_used(list)) {
		for (int cpu = first; cpu <= last; cpu++) {
			struct rseq_list_row *row = fallback_of(list, cpu);

			if (row->head) {
				append(&chain, row->head);
				RSEQ_WRITE_ONCE(row->head, NULL);
			}
		}
	}
	rseq_fallback_unlock(list, &signals);
	return chain.first;
}

struct rseq_list_node *rseq_list_drain(struct rseq_list *list)
{
	if (!list) {
		errno = EINVAL;
		return NULL;
	}
	return drain(list, 0, rseq_get_max_nr_cpus() - 1);
}

struct rseq_list_node *rseq_list_drain_cpu(struct rseq_list *list, int cpu)
{
	if (!list || cpu < 0 || cpu >= rseq_get_max_nr_cpus()) {
		errno = EINVAL;
		return NULL;
	}
	return drain(list, cpu, cpu);
}

bool rseq_list_empty(const struct rseq_list *list)
{
	int rows = rseq_get_max_nr_cpus();

	if (!list) {
		errno = EINVAL;
		return true;
	}
	if (fallback_used(list))
		rows *= 2;
	for (int row = 0; row < rows; row++)
		if (head_of(row_of(list, row)))
			return false;
	return true;
}

static enum rseq_retry prepare_retry(const struct rseq_list *list)
{
	struct rseq_rows rows = rseq_rows_of(list);

	return rseq_percpu_retry(&rows, offsetof(struct rseq_list_row, gate));
}

void rseq_list_push_slow(struct rseq_list *list, struct rseq_list_node *first,
		struct rseq_list_node *last)
{
	sigset_t signals;

	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		enum rseq_retry retry = prepare_retry(list);

		if (retry <= RSEQ_RETRY_CLOSED)
			break;
		if (retry == RSEQ_RETRY_ABORTED)
			rseq_count_abort();
		if (rseq_list_try_push(list, first, last))
			return;
	}
	rseq_fallback_lock(list, &signals);
	push_fallback(list, rseq_percpu_fallback_cpu(), first, last);
	rseq_fallback_unlock(list, &signals);
}

/*
 * Called with the lock, by a thread whose sections cannot, and that found no node of its kind:
 * moves those of this CPU's registered threads over; under mm_cid, those of all.
 */
static struct rseq_list_node *steal(struct rseq_list *list, int cpu)
{
	struct rseq_rows rows = rseq_rows_of(list);
	bool by_cpu = rseq_rows_by_cpu(&rows);
	struct chain chain = { .stays = true };
	struct rseq_list_node *node;

	if (rseq_process.off)
		return NULL;
	if (take_rows(list, by_cpu ? cpu : 0, by_cpu ? cpu : rseq_get_max_nr_cpus() - 1, &chain))
		return NULL;
	node = chain.first;
	if (node && node->next)
		push_fallback(list, cpu, node->next, last_of(chain.last));
	return node;
}

/* empty: a section of this thread has seen that its row is. */
static struct rseq_list_node *pop_with_lock(struct rseq_list *list, bool empty)
{
	struct rseq_list_node *node = NULL;
	int saved_errno = errno, cpu;
	sigset_t signals;

	if (empty && !fallback_used(list))
		return NULL;
	cpu = rseq_percpu_fallback_cpu();
	rseq_fallback_lock(list, &signals);
	if (fallback_used(list))
		node = pop_fallback(list, cpu);
	if (!node && !empty)
		node = steal(list, cpu);
	rseq_fallback_unlock(list, &signals);
	errno = saved_errno;
	return node;
}

struct rseq_list_node *rseq_list_pop_slow(struct rseq_list *list, struct rseq_list_node *tried)
{
	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		enum rseq_retry retry = prepare_retry(list);

		if (retry <= RSEQ_RETRY_CLOSED)
			return pop_with_lock(list, false);
		if (retry == RSEQ_RETRY_ABORTED && !tried)
			break;
		if (retry == RSEQ_RETRY_ABORTED)
			rseq_count_abort();
		tried = rseq_list_try_pop(list);
		if ((uintptr_t)tried > 1)
			return tried;
	}
	return pop_with_lock(list, !tried);
}
