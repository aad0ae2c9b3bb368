/* SPDX-License-Identifier: MIT */
/*
 * A program that uses only what headers give by themselves: it is linked without the library.
 */
#include <rseq/counter.h>
#include <rseq/info.h>
#include <rseq/rseq.h>

static int value;
static const volatile unsigned char flag = 1;

int main(void)
{
	rseq_smp_store_release(&value, 41);
	rseq_smp_mb();
	rseq_smp_rmb();
	rseq_smp_wmb();
	RSEQ_WRITE_ONCE(value, rseq_smp_load_acquire(&value) + RSEQ_READ_ONCE(flag));
	rseq_smp_acquire__after_ctrl_dep();
	rseq_barrier();
	if (rseq_unlikely(RSEQ_ACCESS_ONCE(value) != 42))
		rseq_bug("value is %d", value);
	return rseq_thread_pointer() == NULL;
}
