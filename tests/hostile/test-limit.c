/* SPDX-License-Identifier: MIT */
/*
 * RLIMIT_AS, from nothing that is left up to what is needed, in small steps. What cannot be made
 * says ENOMEM; what was made works; when the limit goes, all works, and in the end no address space
 * is lost.
 */
#define _GNU_SOURCE

#include "works.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/list.h>
#include <rseq/mempool.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define NR_STEPS	80
#define NR_ITEMS	2000		/* fills more than one range */
#define SLACK		(1 << 18)	/* bytes of address space that malloc() keeps */

static long *needed;			/* bytes; shared with children */

static long address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	check(file && fscanf(file, "%ld", &pages) == 1);
	if (file)
		fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Above what there is; negative for no limit. */
static void limit(long bytes)
{
	struct rlimit limit;

	check(!getrlimit(RLIMIT_AS, &limit));
	limit.rlim_cur = bytes < 0 ? limit.rlim_max : (rlim_t)(address_space() + bytes);
	check(!setrlimit(RLIMIT_AS, &limit));
}

static bool try_works(enum rseq_percpu_mode mode)
{
	struct works *works = works_create(mode);

	if (!works) {
		check(errno == ENOMEM);
		return false;
	}
	works_use(works, 20);
	works_settle(works, 0);
	works_destroy(works, 0);
	return true;
}

/* As many items as there is room for; each of them is one of its own. */
static bool fill_pool(enum rseq_mempool_populate_policy policy)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	static long *items[NR_ITEMS];
	struct rseq_mempool *pool;
	int nr = 0;

	if (!attr)
		return false;
	rseq_mempool_attr_set_populate_policy(attr, policy);
	errno = 0;
	pool = rseq_mempool_create("limited", 64, attr);
	check(pool || errno == ENOMEM);
	for (; pool && nr < NR_ITEMS; nr++) {
		items[nr] = rseq_mempool_percpu_zmalloc(pool);
		if (!items[nr])
			break;
		*items[nr] = nr + 1;
	}
	check(nr == NR_ITEMS || errno == ENOMEM);
	for (int i = 0; i < nr; i++)
		check(*items[i] == i + 1);
	for (int i = 0; i < nr; i++)
		rseq_mempool_percpu_free(items[i]);
	check(!rseq_mempool_destroy(pool));
	rseq_mempool_attr_destroy(attr);
	return nr == NR_ITEMS;
}

/* Address space that only some structures take, and give back. */
static bool try_large(void)
{
	struct rseq_stack *stack = rseq_stack_create(100000);
	struct rseq_ring *ring = rseq_ring_create(1 << 18, RSEQ_RING_OVERWRITE);
	bool all = stack && ring;

	if (!all)
		check(errno == ENOMEM);
	if (stack)
		check(!rseq_stack_push(stack, &stack) && rseq_stack_pop(stack) == &stack);
	if (ring)
		check(!rseq_ring_write(ring, &all, sizeof(all)));
	rseq_stack_destroy(stack);
	check(!rseq_ring_destroy(ring));
	return all;
}

static bool try_all(void)
{
	bool all = try_works(RSEQ_PERCPU_CPU_ID);

	all = try_works(RSEQ_PERCPU_MM_CID) && all;
	all = fill_pool(RSEQ_MEMPOOL_POPULATE_COW_INIT) && all;
	all = fill_pool(RSEQ_MEMPOOL_POPULATE_COW_ZERO) && all;
	return try_large() && all;
}

static void measure(void)
{
	long before = address_space();

	check(try_works(RSEQ_PERCPU_CPU_ID));
	*needed = address_space() - before + SLACK;
	/* And what was given back meanwhile: the largest alone. */
	*needed += 4 * (1 << 20) + 4L * rseq_get_max_nr_cpus() * RSEQ_PERCPU_STRIDE;
	check(try_all());
}

static int step;
static bool *was_enough;

static void try_with_limit(void)
{
	long first, last;

	limit(*needed / NR_STEPS * step);
	*was_enough = try_all();
	limit(-1);
	check(try_all());
	first = address_space();
	for (int i = 0; i < 3; i++) {
		limit(*needed / NR_STEPS * step);
		try_all();
		limit(-1);
		check(try_all());
	}
	last = address_space();
	check(last - first <= SLACK);
	if (works_complaints())
		fprintf(stderr, "with %ld bytes: %ld bytes more afterwards\n",
			*needed / NR_STEPS * step, last - first);
}

static int run(char **argv)
{
	int nr_failed = 0;

	(void)argv;
	/* Else malloc() changes its mind about what it gives back. */
	mallopt(M_MMAP_THRESHOLD, 1 << 17);
	mallopt(M_TRIM_THRESHOLD, 1 << 17);
	needed = mmap(NULL, sizeof(*needed) + sizeof(*was_enough), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	was_enough = (bool *)(needed + 1);
	works_in_child(measure);
	for (step = 0; step <= NR_STEPS && !works_complaints(); step++) {
		works_in_child(try_with_limit);
		nr_failed += !*was_enough;
	}
	printf("%ld KiB in %d steps, %d of them not enough\n", *needed / 1024, NR_STEPS, nr_failed);
	check(nr_failed > 0 && nr_failed <= NR_STEPS);
	return 0;
}

int main(int argc, char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	(void)argc;
	if (SUPPORT_SANITIZED || (emulator && *emulator)) {
		printf("skipped: a sanitizer, or an emulator, has address space of its own\n");
		return SUPPORT_SKIP;
	}
	return works_run_all_ways(argv, run);
}
