/* SPDX-License-Identifier: MIT */
/*
 * bench-plain.c: a shared object that `rseqctl bench` puts into other processes: a plain one with a
 * constructor, to which the start-up of the library is compared. It can also make the library
 * believe in another number of possible CPUs.
 */
#define _GNU_SOURCE		/* RTLD_NEXT */

#include <dlfcn.h>
#include <stdlib.h>

int rseq_get_max_nr_cpus(void);

static volatile int constructed;

__attribute__((constructor))
static void construct(void)
{
	constructed = 1;
}

/* The library calls this one instead of its own. */
__attribute__((visibility("default")))
int rseq_get_max_nr_cpus(void)
{
	static int nr_cpus;		/* atomic */
	int nr = __atomic_load_n(&nr_cpus, __ATOMIC_RELAXED);
	const char *wanted;

	if (nr)
		return nr;
	wanted = getenv("RSEQCTL_BENCH_CPUS");
	if (wanted)
		nr = atoi(wanted);
	if (nr <= 0) {
		int (*next)(void);

		*(void **)&next = dlsym(RTLD_NEXT, "rseq_get_max_nr_cpus");
		nr = next ? next() : 1;
	}
	__atomic_store_n(&nr_cpus, nr, __ATOMIC_RELAXED);
	return nr;
}
