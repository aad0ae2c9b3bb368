/* SPDX-License-Identifier: MIT */
/*
 * Functions of one critical section each, whose instructions counts.sh counts. ONE_MORE: an
 * addition has an instruction too many.
 */
#ifdef ONE_MORE
#include <rseq/section.h>
#undef RSEQ_ASM_ADD
#ifdef RSEQ_ARCH_AMD64
# define RSEQ_ASM_ADD(addend, memory)	"nop\n\taddq	%[" addend "], " memory "\n"
#else
# define RSEQ_ASM_ADD(addend, memory)	"nop\n\tldr	x16, " memory "\n\t"			\
	"add	x16, x16, %[" addend "]\n\tstr	x16, " memory "\n"
#endif
#endif

#include "every-op.h"

#include <rseq/counter.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#define OP(name, parameters, ...)							\
	extern int name parameters;							\
	int name parameters { return __VA_ARGS__; }

#define OPS_ORDERED(suffix)								\
OP(count_store_store_##suffix, (intptr_t *v, intptr_t expect, intptr_t *v2, intptr_t newv2,	\
				intptr_t newv, int cpu),				\
	store_store_##suffix(v, expect, v2, newv2, newv, cpu))				\
OP(count_copy_store_##suffix, (intptr_t *v, intptr_t expect, void *dst, void *src, size_t len,	\
			       int cpu),						\
	copy_store_##suffix(v, expect, dst, src, len, 1, cpu))

#define OPS_RELAXED(suffix)								\
OP(count_store_##suffix, (intptr_t *v, intptr_t expect, intptr_t newv, int cpu),	\
	store_##suffix(v, expect, newv, cpu))						\
OP(count_take_##suffix, (intptr_t *v, intptr_t expectnot, long voffp, intptr_t *load, int cpu),	\
	take_##suffix(v, expectnot, voffp, load, cpu))					\
OP(count_add_##suffix, (intptr_t *v, intptr_t count, int cpu),				\
	add_##suffix(v, count, cpu))							\
OP(count_add_one_##suffix, (intptr_t *v, int cpu), add_##suffix(v, 1, cpu))		\
OP(count_add_at_##suffix, (intptr_t *ptr, long off, intptr_t inc, int cpu),		\
	add_at_##suffix(ptr, off, inc, cpu))						\
OP(count_store_if_both_##suffix, (intptr_t *v, intptr_t expect, intptr_t *v2,		\
				  intptr_t expect2, intptr_t newv, int cpu),		\
	store_if_both_##suffix(v, expect, v2, expect2, newv, cpu))			\
OPS_ORDERED(suffix)									\
OPS_ORDERED(suffix##_release)

OPS_RELAXED(cpu_id)
OPS_RELAXED(mm_cid)

extern void count_counter_inc(struct rseq_counter *counter);
void count_counter_inc(struct rseq_counter *counter)
{
	rseq_counter_inc(counter);
}

extern void count_counter_add(struct rseq_counter *counter, intptr_t count);
void count_counter_add(struct rseq_counter *counter, intptr_t count)
{
	rseq_counter_add(counter, count);
}

extern void count_list_push(struct rseq_list *list, struct rseq_list_node *node);
void count_list_push(struct rseq_list *list, struct rseq_list_node *node)
{
	rseq_list_push(list, node);
}

extern struct rseq_list_node *count_list_pop(struct rseq_list *list);
struct rseq_list_node *count_list_pop(struct rseq_list *list)
{
	return rseq_list_pop(list);
}

extern bool count_stack_push(struct rseq_stack *stack, void *item);
bool count_stack_push(struct rseq_stack *stack, void *item)
{
	return rseq_stack_try_push(stack, item);
}

extern void *count_stack_pop(struct rseq_stack *stack);
void *count_stack_pop(struct rseq_stack *stack)
{
	return rseq_stack_try_pop(stack);
}

extern size_t count_stack_push_batch(struct rseq_stack *stack, void *const *items, size_t nr);
size_t count_stack_push_batch(struct rseq_stack *stack, void *const *items, size_t nr)
{
	return rseq_stack_try_push_batch(stack, items, nr);
}

extern size_t count_stack_pop_batch(struct rseq_stack *stack, void **items, size_t nr);
size_t count_stack_pop_batch(struct rseq_stack *stack, void **items, size_t nr)
{
	return rseq_stack_try_pop_batch(stack, items, nr);
}

extern int count_ring_write(struct rseq_ring *ring, const void *record, size_t len);
int count_ring_write(struct rseq_ring *ring, const void *record, size_t len)
{
	return rseq_ring_write(ring, record, len);
}

extern uintptr_t count_ring_write_stamped(struct rseq_ring *ring, const void *record, size_t len,
		uint64_t time);
uintptr_t count_ring_write_stamped(struct rseq_ring *ring, const void *record, size_t len,
		uint64_t time)
{
	return rseq_ring_try_write_stamped(ring, record, len, time);
}

extern void count_refcount_get(struct rseq_refcount *ref);
void count_refcount_get(struct rseq_refcount *ref)
{
	rseq_refcount_get(ref);
}

extern void count_refcount_put(struct rseq_refcount *ref);
void count_refcount_put(struct rseq_refcount *ref)
{
	rseq_refcount_put(ref);
}

extern int count_lock_acquire(struct rseq_lock *lock);
int count_lock_acquire(struct rseq_lock *lock)
{
	return rseq_lock_acquire(lock);
}

extern int count_lock_release(struct rseq_lock *lock, int cpu);
int count_lock_release(struct rseq_lock *lock, int cpu)
{
	return rseq_lock_release(lock, cpu);
}
