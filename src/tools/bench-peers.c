/* SPDX-License-Identifier: MIT */
/*
 * bench-peers.c: a shared object with loops over other libraries' structures, as far as these were
 * there when it was built. `rseqctl bench` loads it, so that it depends on none of them itself.
 * Rings are in a file of their own.
 */
#include "bench-peers.h"

#include <stdlib.h>

#ifdef HAVE_URCU
/* Read-side functions are inlined, as fast users do: they are short enough for any license. */
# define _LGPL_SOURCE
# include <urcu/urcu-memb.h>
# undef _LGPL_SOURCE
# include <urcu/wfstack.h>
#endif
#ifdef HAVE_CK
# include <ck_spinlock.h>
# include <ck_stack.h>
#endif

/* Nodes are never freed: who has pushed one does not know who will pop it, nor when. */
__attribute__((unused))
static void *make_node(void)
{
	void *node = aligned_alloc(BENCH_LINE, BENCH_LINE);

	if (!node)
		abort();
	return node;
}

#ifdef HAVE_URCU
BENCH_PEER(urcu_read)
{
	(void)bytes;
	urcu_memb_register_thread();
	BENCH_REPEAT(nr, urcu_memb_read_lock(); urcu_memb_read_unlock();)
	urcu_memb_unregister_thread();
}

/* Without a registered thread there would be nobody to wait for. */
BENCH_PEER(urcu_synchronize)
{
	(void)bytes;
	urcu_memb_register_thread();
	for (; nr; nr--)
		urcu_memb_synchronize_rcu();
	urcu_memb_unregister_thread();
}

static struct cds_wfs_stack wfstack;

__attribute__((constructor))
static void init_wfstack(void)
{
	cds_wfs_init(&wfstack);
}

BENCH_PEER(urcu_stack)
{
	struct cds_wfs_node *node = make_node();

	(void)bytes;
	BENCH_REPEAT(nr,
		cds_wfs_node_init(node);
		cds_wfs_push(&wfstack, node);
		node = cds_wfs_pop_blocking(&wfstack);
	)
}
#endif

#ifdef HAVE_CK
static ck_spinlock_fas_t spinlock __attribute__((aligned(BENCH_LINE))) =
	CK_SPINLOCK_FAS_INITIALIZER;

BENCH_PEER(ck_spinlock)
{
	(void)bytes;
	BENCH_REPEAT(nr, ck_spinlock_fas_lock(&spinlock); ck_spinlock_fas_unlock(&spinlock);)
}

#ifdef CK_F_STACK_POP_MPMC
static struct ck_stack stack __attribute__((aligned(BENCH_LINE))) = CK_STACK_INITIALIZER;

BENCH_PEER(ck_stack)
{
	struct ck_stack_entry *entry = make_node();

	(void)bytes;
	BENCH_REPEAT(nr, ck_stack_push_mpmc(&stack, entry); entry = ck_stack_pop_mpmc(&stack);)
}
#endif
#endif
