/* SPDX-License-Identifier: MIT */
/*
 * Memory of malloc() that structures alone know of when the program ends: nothing of it is lost,
 * which is for a leak checker to find out. With an argument one block is.
 */
#include <rseq/cache.h>
#include <rseq/list.h>
#include <rseq/mempool.h>
#include <rseq/stack.h>

#include <stdlib.h>
#include <string.h>

#define BLOCK	100

static struct rseq_list *list;
static struct rseq_stack *small_stack, *large_stack;
static struct rseq_mempool *pool;
static void **item;
static void *volatile lost;

static int keep(void)
{
	struct rseq_list_node *node = malloc(BLOCK);

	list = rseq_list_create();
	small_stack = rseq_stack_create(10);
	large_stack = rseq_stack_create(100000);
	pool = rseq_mempool_create("leaks", sizeof(void *), NULL);
	if (!node || !list || !small_stack || !large_stack || !pool)
		return 1;
	rseq_list_push(list, node);
	item = (void **)rseq_mempool_percpu_zmalloc(pool);
	if (rseq_stack_push(small_stack, malloc(BLOCK)) ||
	    rseq_stack_push(large_stack, malloc(BLOCK)) || !item)
		return 1;
	*rseq_percpu_ptr(item, 0) = malloc(BLOCK);
	return 0;
}

/* Leaves nothing of the pointers in registers, and on the stack. */
static void overwrite(void)
{
	volatile char bytes[16384];

	memset((char *)bytes, 0, sizeof(bytes));
}

int main(int argc, char **argv)
{
	int result = keep();

	(void)argv;
	if (argc > 1) {
		lost = malloc(BLOCK);
		lost = NULL;
	}
	overwrite();
	return result;
}
