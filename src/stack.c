/* SPDX-License-Identifier: MIT */
/*
 * stack.c: what a stack does out of its sections.
 *
 * Who takes the items of another CPU's registered threads closes their row, so that no new section
 * touches it, and waits with a fence for those under way; then he releases it. A row's bounds are
 * opened again, and set for the first time, by its own CPU: no section there is under way then.
 * All this is done with the stack's lock, so that who has it finds no row closed, and who opens a
 * row competes with nobody. Threads without rseq keep items in the second rows, under the lock.
 */
#include "stack-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Items that a drain takes at a time where memory for all is not to be had. */
#define MIN_BATCH	64

/* The number of a CPU's second row. */
static size_t fallback_of(size_t cpu)
{
	return nr_cpus() + cpu;
}

static size_t count_of(const struct stack *stack, size_t row)
{
	uintptr_t top = RSEQ_READ_ONCE(row_of(stack, row)->top);

	return top ? (top - (uintptr_t)items_of(stack, row)) / sizeof(void *) : 0;
}

static void set_count(struct stack *stack, size_t row, size_t count)
{
	RSEQ_WRITE_ONCE(row_of(stack, row)->top, (uintptr_t)(items_of(stack, row) + count));
}

/* How many items a first row may have when it is open. */
static size_t capacity_of(const struct stack *stack, size_t row)
{
	uintptr_t setting = RSEQ_READ_ONCE(row_of(stack, row)->setting);

	return setting ? setting - 1 : stack->capacity;
}

static bool fallback_used(const struct stack *stack)
{
	return __atomic_load_n(&stack->fallback_used, __ATOMIC_RELAXED);
}

/* Called with the lock, as are all functions from here to open_row(). */
static bool is_closed(const struct rseq_stack_row *row)
{
	return rseq_gate_state(&row->floor) == RSEQ_GATE_CLOSED;
}

static void release_rows(struct stack *stack, size_t first, size_t end)
{
	for (size_t row = first; row < end; row++)
		if (is_closed(row_of(stack, row)))
			rseq_gate_release(&row_of(stack, row)->floor);
}

/*
 * Closes the rows that have items and waits for their sections; a push that came before this call
 * is seen. Returns how many were closed, or -1 with errno ENOSYS if one cannot wait.
 */
static int close_rows(struct stack *stack, size_t first, size_t end)
{
	int nr_closed = 0;

	for (size_t row = first; row < end; row++) {
		struct rseq_stack_row *at = row_of(stack, row);

		if (!count_of(stack, row))
			continue;
		rseq_gate_close(&at->floor);
		RSEQ_WRITE_ONCE(at->limit, 0);
		nr_closed++;
	}
	if (!nr_closed || !rseq_percpu_fence(&stack->rows, end - first == 1 ? (int)first : -1))
		return nr_closed;
	release_rows(stack, first, end);
	return -1;
}

/* Takes the nr items below the one whose number is end; the newest ones fill the gap. */
static void take(struct stack *stack, size_t row, size_t end, void **to, size_t nr)
{
	void **items = items_of(stack, row);
	size_t count = count_of(stack, row), nr_moved = count - end < nr ? count - end : nr;

	memcpy(to, items + end - nr, nr * sizeof(*items));
	memmove(items + end - nr, items + count - nr_moved, nr_moved * sizeof(*items));
	set_count(stack, row, count - nr);
	rseq_stack_sanitize_pop(handle_of(stack), to, nr);
}

static size_t take_newest(struct stack *stack, size_t row, void **to, size_t nr)
{
	size_t count = count_of(stack, row);

	if (nr > count)
		nr = count;
	if (nr)
		take(stack, row, count, to, nr);
	return nr;
}

/* To a second row. */
static void put(struct stack *stack, size_t row, void *const *items, size_t nr)
{
	size_t count = count_of(stack, row);

	__atomic_store_n(&stack->fallback_used, 1, __ATOMIC_RELAXED);
	memcpy(items_of(stack, row) + count, items, nr * sizeof(*items));
	set_count(stack, row, count + nr);
}

/*
 * For a thread whose sections cannot, and that found no item of its kind: moves those of this CPU's
 * registered threads over, under mm_cid those of all, as far as there is room.
 */
static void move_to_fallback(struct stack *stack, size_t cpu)
{
	bool by_cpu = rseq_rows_by_cpu(&stack->rows);
	size_t first = by_cpu ? cpu : 0, end = by_cpu ? cpu + 1 : nr_cpus();
	size_t fallback = fallback_of(cpu);

	if (close_rows(stack, first, end) <= 0)
		return;
	for (size_t row = first; row < end; row++) {
		size_t nr = stack->capacity - count_of(stack, fallback);
		size_t count = count_of(stack, row);

		if (!is_closed(row_of(stack, row)))
			continue;
		if (nr > count)
			nr = count;
		if (!nr)
			continue;
		put(stack, fallback, items_of(stack, row) + count - nr, nr);
		set_count(stack, row, count - nr);
	}
	release_rows(stack, first, end);
}

/* The number of the row of this thread's sections. False for a thread without rseq. */
static bool find_row(const struct stack *stack, size_t *row)
{
	struct rseq_stack_row *at;
	uint32_t id;

	if (!rseq_stack_find_row(handle_of(stack), &id, &at))
		return false;
	*row = id;
	return true;
}

/*
 * If a section fails, it is another row's turn now, or another try's. The floor of a row that was
 * never open is first: without it, a pop would find what is below the items.
 */
static void open_row(struct stack *stack)
{
	struct rseq_stack_row *at;
	uintptr_t items;
	size_t row;

	if (!find_row(stack, &row))
		return;
	at = row_of(stack, row);
	items = (uintptr_t)items_of(stack, row);
	if (rseq_percpu_set(&stack->rows, (int)row, &at->floor, items))
		return;
	if (!RSEQ_READ_ONCE(at->top) && rseq_percpu_set(&stack->rows, (int)row, &at->top, items))
		return;
	rseq_percpu_set(&stack->rows, (int)row, &at->limit,
			items + capacity_of(stack, row) * sizeof(void *));
}

/* Why a section did not succeed. */
enum reason {
	REASON_NO_RSEQ,
	REASON_CLOSED,		/* or never open, or not registered: try again now */
	REASON_BOUND,		/* full, or empty */
	REASON_ABORTED,
};

static enum reason find_reason(struct stack *stack, bool push)
{
	struct rseq_stack_row *at;
	sigset_t signals;
	size_t row;

	if (!find_row(stack, &row))
		return rseq_thread_register_lazily() ? REASON_CLOSED : REASON_NO_RSEQ;
	at = row_of(stack, row);
	if (push && count_of(stack, row) >= capacity_of(stack, row))
		return REASON_BOUND;
	if (rseq_gate_state(&at->floor) >= RSEQ_GATE_RELEASED ||
	    (push && !RSEQ_READ_ONCE(at->limit))) {
		rseq_fallback_lock(stack, &signals);
		open_row(stack);
		rseq_fallback_unlock(stack, &signals);
		return REASON_CLOSED;
	}
	if (!push && !count_of(stack, row))
		return REASON_BOUND;
	rseq_count_abort();
	return REASON_ABORTED;
}

static size_t push_fallback(struct stack *stack, void *const *items, size_t nr)
{
	size_t cpu = (size_t)rseq_percpu_fallback_cpu(), capacity, count;
	sigset_t signals;

	rseq_fallback_lock(stack, &signals);
	capacity = capacity_of(stack, cpu);
	count = count_of(stack, fallback_of(cpu));
	if (nr > (count < capacity ? capacity - count : 0))
		nr = count < capacity ? capacity - count : 0;
	if (nr)
		put(stack, fallback_of(cpu), items, nr);
	rseq_fallback_unlock(stack, &signals);
	return nr;
}

size_t rseq_stack_push_batch_slow(struct rseq_stack *handle, void *const *items, size_t nr)
{
	struct stack *stack = stack_of(handle);
	int saved_errno = errno;
	size_t nr_pushed = 0;

	for (int try = 0; nr && try < RSEQ_MAX_TRIES; try++) {
		enum reason reason = find_reason(stack, true);

		if (reason == REASON_NO_RSEQ)
			break;
		if (reason == REASON_BOUND)
			goto out;
		nr_pushed = rseq_stack_try_push_batch(handle, items, nr);
		if (nr_pushed)
			goto out;
	}
	if (nr)
		nr_pushed = push_fallback(stack, items, nr);
out:
	errno = saved_errno;
	return nr_pushed;
}

int rseq_stack_push_slow(struct rseq_stack *stack, void *item)
{
	if (!item) {
		errno = EINVAL;
		return -1;
	}
	if (rseq_stack_push_batch_slow(stack, &item, 1))
		return 0;
	errno = ENOSPC;
	return -1;
}

/* empty: this thread has seen that its sections' row is. */
static size_t pop_fallback(struct stack *stack, void **items, size_t nr, bool empty)
{
	size_t row, nr_popped;
	sigset_t signals;

	if (empty && !fallback_used(stack))
		return 0;
	row = fallback_of((size_t)rseq_percpu_fallback_cpu());
	if (empty && !count_of(stack, row))
		return 0;
	rseq_fallback_lock(stack, &signals);
	if (!empty && !count_of(stack, row))
		move_to_fallback(stack, row - nr_cpus());
	nr_popped = take_newest(stack, row, items, nr);
	rseq_fallback_unlock(stack, &signals);
	return nr_popped;
}

size_t rseq_stack_pop_batch_slow(struct rseq_stack *handle, void **items, size_t nr)
{
	struct stack *stack = stack_of(handle);
	int saved_errno = errno;
	size_t nr_popped = 0;
	bool empty = false;

	for (int try = 0; nr && try < RSEQ_MAX_TRIES; try++) {
		enum reason reason = find_reason(stack, false);

		empty = reason == REASON_BOUND;
		if (reason == REASON_NO_RSEQ || empty)
			break;
		nr_popped = rseq_stack_try_pop_batch(handle, items, nr);
		if (nr_popped)
			break;
	}
	if (nr && !nr_popped)
		nr_popped = pop_fallback(stack, items, nr, empty);
	errno = saved_errno;
	return nr_popped;
}

void *rseq_stack_pop_slow(struct rseq_stack *stack)
{
	void *item = NULL;

	rseq_stack_pop_batch_slow(stack, &item, 1);
	return item;
}

/* A number of a CPU, as others give it. */
static bool is_valid(const struct rseq_stack *handle, int cpu)
{
	if (handle && cpu >= 0 && cpu < rseq_get_max_nr_cpus())
		return true;
	errno = EINVAL;
	return false;
}

size_t rseq_stack_steal(struct rseq_stack *handle, int cpu, void **items, size_t nr)
{
	size_t row = (size_t)cpu, nr_taken = 0;
	struct stack *stack;
	sigset_t signals;
	int nr_closed;

	if (!is_valid(handle, cpu))
		return 0;
	if (!items) {
		errno = EINVAL;
		return 0;
	}
	if (!nr)
		return 0;
	stack = stack_of(handle);
	rseq_fallback_lock(stack, &signals);
	nr_closed = close_rows(stack, row, row + 1);
	if (nr_closed > 0) {
		nr_taken = take_newest(stack, row, items, nr);
		release_rows(stack, row, row + 1);
	}
	if (nr_closed >= 0 && fallback_used(stack))
		nr_taken += take_newest(stack, fallback_of(row), items + nr_taken,
					nr - nr_taken);
	rseq_fallback_unlock(stack, &signals);
	return nr_taken;
}

/*
 * A drain under way: it goes through first and second rows in turns, as many items a turn as there
 * is memory for. What is pushed to a row between turns is above limit, and left alone.
 */
struct drain {
	size_t row;
	size_t limit;
	void **items;
	size_t nr;
	size_t room;
};

/* Returns false if there was no room for all of a row. */
static bool drain_row(struct stack *stack, struct drain *drain)
{
	size_t end = count_of(stack, drain->row), nr;

	if (drain->row < nr_cpus() && !is_closed(row_of(stack, drain->row)))
		end = 0;
	if (end > drain->limit)
		end = drain->limit;
	nr = drain->room - drain->nr;
	if (nr > end)
		nr = end;
	if (nr)
		take(stack, drain->row, end, drain->items + drain->nr, nr);
	drain->nr += nr;
	drain->limit = end - nr;
	return nr == end;
}

/* Called with the lock. Returns 1 if there is more to do, 0, or -1 with errno ENOSYS. */
static int drain_turn(struct stack *stack, struct drain *drain)
{
	size_t end = fallback_used(stack) ? 2 * nr_cpus() : nr_cpus(), first = drain->row;
	int result = 0;

	drain->nr = 0;
	if (first < nr_cpus() && close_rows(stack, first, nr_cpus()) < 0)
		return -1;
	for (; drain->row < end; drain->row++, drain->limit = SIZE_MAX) {
		if (!drain_row(stack, drain)) {
			result = 1;
			break;
		}
	}
	if (first < nr_cpus())
		release_rows(stack, first, nr_cpus());
	return result;
}

static size_t count_all(const struct rseq_stack *handle)
{
	size_t total = 0;

	for (size_t cpu = 0; cpu < nr_cpus(); cpu++)
		total += rseq_stack_count(handle, (int)cpu);
	return total;
}

size_t rseq_stack_drain(struct rseq_stack *handle, void (*each)(void *item, void *arg), void *arg)
{
	void *some[MIN_BATCH];
	struct drain drain = { .limit = SIZE_MAX, .items = some, .room = MIN_BATCH };
	int more, saved_errno = errno;
	struct stack *stack;
	size_t total;

	if (!handle || !each) {
		errno = EINVAL;
		return 0;
	}
	stack = stack_of(handle);
	total = count_all(handle);
	/* Some more, for what is pushed until the rows are closed. */
	if (total > MIN_BATCH / 2) {
		void **all = calloc(total + total / 4, sizeof(*all));

		errno = saved_errno;
		if (all) {
			drain.items = all;
			drain.room = total + total / 4;
		}
	}
	total = 0;
	do {
		sigset_t signals;

		rseq_fallback_lock(stack, &signals);
		more = drain_turn(stack, &drain);
		rseq_fallback_unlock(stack, &signals);
		for (size_t i = drain.nr; i; i--)
			each(drain.items[i - 1], arg);
		total += drain.nr;
	} while (more > 0);
	saved_errno = more < 0 ? ENOSYS : errno;
	if (drain.items != some)
		free(drain.items);
	errno = saved_errno;
	return total;
}

int rseq_stack_set_capacity(struct rseq_stack *handle, int cpu, size_t capacity)
{
	struct rseq_stack_row *at;
	struct stack *stack;
	sigset_t signals;
	size_t row;

	if (!is_valid(handle, cpu))
		return -1;
	stack = stack_of(handle);
	if (capacity > stack->capacity) {
		errno = EINVAL;
		return -1;
	}
	row = (size_t)cpu;
	at = row_of(stack, row);
	rseq_fallback_lock(stack, &signals);
	RSEQ_WRITE_ONCE(at->setting, capacity + 1);
	/* Where the limit is 0, the row's own CPU opens it. */
	if (at->limit)
		RSEQ_WRITE_ONCE(at->limit, (uintptr_t)(items_of(stack, row) + capacity));
	rseq_fallback_unlock(stack, &signals);
	return 0;
}

size_t rseq_stack_count(const struct rseq_stack *handle, int cpu)
{
	struct stack *stack;
	size_t count;

	if (!is_valid(handle, cpu))
		return 0;
	stack = stack_of(handle);
	count = count_of(stack, (size_t)cpu);
	if (fallback_used(stack))
		count += count_of(stack, fallback_of((size_t)cpu));
	return count;
}
