/* SPDX-License-Identifier: MIT */
/*
 * stack-internal.h: what stack.c and stack-memory.c share.
 */
#ifndef RSEQ_STACK_INTERNAL_H
#define RSEQ_STACK_INTERNAL_H

#include "percpu.h"

#include <rseq/stack.h>

/* What no section needs to know. */
struct stack {
	struct rseq_rows rows;
	size_t capacity;
	char *items;			/* of the first row; of the others, stride bytes on */
	size_t stride;
	size_t map_len;			/* 0: items are behind their rows */
	unsigned int fallback_used;
};

static inline size_t nr_cpus(void)
{
	return (size_t)rseq_get_max_nr_cpus();
}

static inline struct rseq_stack_row *row_at(const struct rseq_rows *rows, size_t row)
{
	return rseq_percpu_row(rows->first, (int)row);
}

static inline struct rseq_stack_row *row_of(const struct stack *stack, size_t row)
{
	return row_at(&stack->rows, row);
}

/* Second rows have no use for a limit: the first one's leads to the rest of the stack. */
static inline uintptr_t *place_of_stack(const struct rseq_rows *rows)
{
	return &row_at(rows, nr_cpus())->limit;
}

static inline struct stack *stack_of(const struct rseq_stack *handle)
{
	struct rseq_rows rows = rseq_rows_of(handle);

	return (struct stack *)*place_of_stack(&rows);
}

static inline struct rseq_stack *handle_of(const struct stack *stack)
{
	return rseq_rows_handle(&stack->rows);
}

static inline void **items_of(const struct stack *stack, size_t row)
{
	return (void **)(void *)(stack->items + row * stack->stride);
}

#endif /* RSEQ_STACK_INTERNAL_H */
