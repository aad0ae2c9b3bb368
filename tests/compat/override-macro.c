/* SPDX-License-Identifier: MIT */
/*
 * A program that finds the area itself, as a macro, and takes it from libc's own header where that
 * is where it is.
 */
#ifndef _GNU_SOURCE
# define _GNU_SOURCE
#endif
#define RSEQ_GET_ABI_OVERRIDE
#define rseq_get_abi()	area_of_this_thread()

struct rseq_abi;
static struct rseq_abi *area_of_this_thread(void);

#if __has_include(<sys/rseq.h>)
# include <sys/rseq.h>
# define HAVE_LIBC_HEADER	1
#endif
#include "check.h"

static struct rseq_abi *area_of_this_thread(void)
{
	ptrdiff_t offset = rseq_offset;

#ifdef HAVE_LIBC_HEADER
	if (rseq_available(RSEQ_AVAILABLE_QUERY_LIBC))
		offset = __rseq_offset;
#endif
	return (struct rseq_abi *)((char *)rseq_thread_pointer() + offset);
}

int main(void)
{
	bool registered = enter_thread();
	intptr_t word = 1;
	int result;

#ifdef HAVE_LIBC_HEADER
	if (rseq_available(RSEQ_AVAILABLE_QUERY_LIBC))
		check(__rseq_offset == rseq_offset && __rseq_size && __rseq_flags == rseq_flags);
#endif
	do
		result = rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &word, 1, 2,
						   (int)rseq_cpu_start());
	while (registered && result);
	check(word == (registered ? 2 : 1));
	check((result == 0) == registered);
	leave_thread(registered);
	return finish();
}
