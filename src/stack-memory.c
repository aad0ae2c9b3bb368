/* SPDX-License-Identifier: MIT */
/*
 * stack-memory.c: where the rows and the items of a stack are.
 *
 * Rows are in pages shared with other structures, and so are their items, behind them, if they are
 * not too many. Otherwise these are in a mapping of their own.
 */
#include "stack-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(offsetof(struct rseq_stack_row, top) == 0 &&
	       offsetof(struct rseq_stack_row, limit) == 8 &&
	       offsetof(struct rseq_stack_row, floor) == 16 && sizeof(struct rseq_stack_row) == 32,
	       "as the sections have it");

/* The longest row of the size classes. */
#define MAX_SHARED_LEN	32768

/* Whole pages, and 64 bytes more, so that the first items are in different cache sets. */
static bool find_stride(size_t len, size_t *stride, size_t *map_len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (len > PTRDIFF_MAX)
		return false;
	*stride = ((len + page - 1) & ~(page - 1)) + 64;
	return !__builtin_mul_overflow(*stride, 2 * nr_cpus(), map_len) && *map_len <= PTRDIFF_MAX;
}

static int map_items(struct stack *stack)
{
	size_t len;
	void *items;

	if (!find_stride(stack->capacity * sizeof(void *), &stack->stride, &len)) {
		errno = ENOMEM;
		return -1;
	}
	items = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (items == MAP_FAILED) {
		errno = ENOMEM;
		return -1;
	}
	/* A huge page would make many rows resident when one CPU writes to its own. */
	madvise(items, len, MADV_NOHUGEPAGE);
	stack->items = items;
	stack->map_len = len;
	rseq_show_pointers(items, len);
	return 0;
}

static void free_stack(struct stack *stack)
{
	if (stack->map_len) {
		rseq_hide_pointers(stack->items, stack->map_len);
		munmap(stack->items, stack->map_len);
	}
	free(stack);
}

/* Rows, with room for the items behind each if that is not too much. */
static int make_rows(struct stack *stack)
{
	size_t len = sizeof(struct rseq_stack_row) + stack->capacity * sizeof(void *);

	if (len > MAX_SHARED_LEN) {
		len = sizeof(struct rseq_stack_row);
		if (map_items(stack))
			return -1;
	}
	stack->rows.first = rseq_percpu_zalloc(len);
	if (!stack->rows.first)
		return -1;
	if (!stack->map_len) {
		stack->items = (char *)(row_of(stack, 0) + 1);
		stack->stride = RSEQ_PERCPU_STRIDE;
	}
	*place_of_stack(&stack->rows) = (uintptr_t)stack;
	return 0;
}

struct rseq_stack *rseq_stack_create(size_t capacity_per_cpu)
{
	return rseq_stack_create_mode(capacity_per_cpu, RSEQ_PERCPU_CPU_ID);
}

struct rseq_stack *rseq_stack_create_mode(size_t capacity_per_cpu, enum rseq_percpu_mode mode)
{
	struct stack *stack;

	if (!capacity_per_cpu) {
		errno = EINVAL;
		return NULL;
	}
	if (capacity_per_cpu > PTRDIFF_MAX / sizeof(void *) - sizeof(struct rseq_stack_row)) {
		errno = ENOMEM;
		return NULL;
	}
	stack = calloc(1, sizeof(*stack));
	if (!stack)
		return NULL;
	stack->capacity = capacity_per_cpu;
	if (!rseq_percpu_set_id(&stack->rows.id, mode) && !make_rows(stack))
		return handle_of(stack);
	free_stack(stack);
	return NULL;
}

void rseq_stack_destroy(struct rseq_stack *handle)
{
	int saved_errno = errno;
	struct stack *stack;

	if (!handle)
		return;
	stack = stack_of(handle);
	rseq_percpu_free(stack->rows.first);
	free_stack(stack);
	errno = saved_errno;
}
