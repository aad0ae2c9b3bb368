/* SPDX-License-Identifier: MIT */
/*
 * Pools with all combinations of attributes: how many items they have, that each item is there on
 * each CPU for itself, and what it contains.
 *
 *	pools [STEP]
 *
 * STEP tries every so manieth combination.
 */
#include "check.h"

#include <rseq/mempool.h>

#define ITEMS_PER_RANGE	16
#define MAX_RANGES	3
#define MAX_ITEMS	(ITEMS_PER_RANGE * MAX_RANGES)
#define WRITTEN_BY_INIT	0x33

struct variant {
	bool global;
	size_t stride;
	int max_nr_cpus;
	bool robust;
	int poison;
	enum rseq_mempool_populate_policy policy;
	int init;
	unsigned long max_nr_ranges;
};

static const size_t strides[] = { 0, 4096, 1 << 20 };
static const int max_nr_cpus[] = { 0, 1, 3 };
static const uintptr_t poisons[] = { 0, 0, 0x5caff01d };
static int nr_variants, nr_inits;

static size_t stride_of(const struct variant *variant)
{
	return variant->stride ? variant->stride : RSEQ_MEMPOOL_STRIDE;
}

static int write_at_init(void *priv, void *addr, size_t len, int cpu)
{
	const struct variant *variant = (const struct variant *)priv;

	nr_inits++;
	check(len == stride_of(variant));
	check(cpu >= 0 && (cpu == 0 || !variant->global));
	memset(addr, WRITTEN_BY_INIT, len);
	return 0;
}

/* MPOL_MF_MOVE, without the header of another library. */
static int place_at_init(void *priv, void *addr, size_t len, int cpu)
{
	(void)priv;
	nr_inits++;
	if (rseq_mempool_range_init_numa(addr, len, cpu, 1 << 1))
		check(errno == ENOSYS || errno == EPERM || errno == ENODEV);
	return 0;
}

static int refuse(void *priv, void *addr, size_t len, int cpu)
{
	(void)priv, (void)addr, (void)len, (void)cpu;
	errno = EXDEV;
	return -1;
}

static struct rseq_mempool *create(struct variant *variant)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	if (!attr)
		return NULL;
	if (variant->global)
		check(!rseq_mempool_attr_set_global(attr, variant->stride));
	else
		check(!rseq_mempool_attr_set_percpu(attr, variant->stride, variant->max_nr_cpus));
	if (variant->robust)
		check(!rseq_mempool_attr_set_robust(attr));
	if (variant->poison)
		check(!rseq_mempool_attr_set_poison(attr, poisons[variant->poison]));
	check(!rseq_mempool_attr_set_populate_policy(attr, variant->policy));
	if (variant->init)
		check(!rseq_mempool_attr_set_init(attr, variant->init == 1 ? write_at_init :
						  place_at_init, variant));
	check(!rseq_mempool_attr_set_max_nr_ranges(attr, variant->max_nr_ranges));
	/* Rounded up to a sixteenth of the stride. */
	pool = rseq_mempool_create("variant", stride_of(variant) / ITEMS_PER_RANGE - 9, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

static bool filled_with(const char *memory, char value, size_t len)
{
	return memory[0] == value && !memcmp(memory, memory + 1, len - 1);
}

/* Each item, of any kind, shows what it is to show on each CPU. */
static void check_content(const struct variant *variant, const char *item, int kind, size_t len)
{
	if (kind == 1)
		check(filled_with(item, 0, len));
	else if (kind == 2)
		check(filled_with(item, 'v', 32));
	else if (variant->init == 1 && !variant->poison && !variant->robust)
		check(filled_with(item, WRITTEN_BY_INIT, len));
}

static char *allocate(const struct variant *variant, struct rseq_mempool *pool, int kind)
{
	char value[32];

	memset(value, 'v', sizeof(value));
	if (variant->global)
		return (char *)(kind == 0 ? rseq_mempool_malloc(pool) :
				kind == 1 ? rseq_mempool_zmalloc(pool) :
				rseq_mempool_malloc_init(pool, value, sizeof(value)));
	return (char *)(kind == 0 ? rseq_mempool_percpu_malloc(pool) :
			kind == 1 ? rseq_mempool_percpu_zmalloc(pool) :
			rseq_mempool_percpu_malloc_init(pool, value, sizeof(value)));
}

static char *copy_of(const struct variant *variant, char *item, int cpu)
{
	return variant->stride ? rseq_percpu_ptr(item, cpu, variant->stride) :
			rseq_percpu_ptr(item, cpu);
}

static void free_item(const struct variant *variant, char *item)
{
	if (variant->global && variant->stride)
		rseq_mempool_free(item, variant->stride);
	else if (variant->global)
		rseq_mempool_free(item);
	else if (variant->stride)
		rseq_mempool_percpu_free(item, variant->stride);
	else
		rseq_mempool_percpu_free(item);
}

/* Takes all items there are, or some ranges of them, marks each copy, and gives them back. */
static void use(const struct variant *variant, struct rseq_mempool *pool, bool fresh)
{
	size_t len = stride_of(variant) / ITEMS_PER_RANGE - 9;
	int nr_cpus = rseq_mempool_get_max_nr_cpus(pool), nr = 0;
	int limit = variant->max_nr_ranges ? (int)variant->max_nr_ranges * ITEMS_PER_RANGE :
			MAX_ITEMS;
	char *items[MAX_ITEMS];

	for (; nr < limit; nr++) {
		items[nr] = allocate(variant, pool, nr % 3);
		check(items[nr]);
		if (!items[nr])
			break;
		for (int cpu = 0; cpu < nr_cpus; cpu++) {
			char *copy = copy_of(variant, items[nr], cpu);

			if (fresh || nr % 3)
				check_content(variant, copy, nr % 3, len);
			copy[0] = (char)nr;
			copy[1] = (char)cpu;
			copy[len - 1] = (char)nr;
		}
	}
	if (variant->max_nr_ranges) {
		errno = 0;
		check(!allocate(variant, pool, 0) && errno == ENOMEM);
	}
	for (int i = 0; i < nr; i++) {
		for (int cpu = 0; cpu < nr_cpus; cpu++) {
			const char *copy = copy_of(variant, items[i], cpu);

			check(copy[0] == (char)i && copy[1] == (char)cpu);
			check(copy[len - 1] == (char)i);
		}
	}
	/* In another order than that in which they came. */
	for (int i = 0; i < nr; i++)
		free_item(variant, items[i ^ 1]);
}

static void try_variant(struct variant *variant)
{
	int all = variant->max_nr_cpus ? variant->max_nr_cpus : rseq_get_max_nr_cpus();
	int before = failures;
	struct rseq_mempool *pool = create(variant);

	check(pool);
	if (!pool)
		return;
	check(rseq_mempool_get_max_nr_cpus(pool) == (variant->global ? 1 : all));
	use(variant, pool, true);
	use(variant, pool, false);
	check(!rseq_mempool_destroy(pool));
	nr_variants++;
	if (failures != before)
		fprintf(stderr, "global %d, stride %zu, CPUs %d, robust %d, poison %d, policy %d, "
			"init %d, ranges %lu\n", variant->global, variant->stride,
			variant->max_nr_cpus, variant->robust, variant->poison,
			(int)variant->policy, variant->init, variant->max_nr_ranges);
}

/* One digit after the other of a number whose digits have different bases. */
static unsigned int digit(unsigned int *number, unsigned int base)
{
	unsigned int value = *number % base;

	*number /= base;
	return value;
}

static void try_all(unsigned int step)
{
	const unsigned int nr = 2 * 3 * 3 * 2 * 3 * 2 * 3 * 3;

	for (unsigned int i = 0; i < nr; i += step) {
		struct variant variant;
		unsigned int number = i;

		variant.global = digit(&number, 2);
		variant.stride = strides[digit(&number, 3)];
		variant.max_nr_cpus = max_nr_cpus[digit(&number, 3)];
		variant.robust = digit(&number, 2);
		variant.poison = (int)digit(&number, 3);
		variant.policy = (enum rseq_mempool_populate_policy)digit(&number, 2);
		variant.init = (int)digit(&number, 3);
		variant.max_nr_ranges = digit(&number, 3);
		if (variant.global && variant.max_nr_cpus)
			continue;
		/* Rows of a MiB that are all written to, for hundreds of CPUs. */
		if (!variant.max_nr_cpus && !variant.global && rseq_get_max_nr_cpus() > 16 &&
		    variant.stride != 4096)
			continue;
		if (variant.stride && variant.stride < (size_t)sysconf(_SC_PAGESIZE))
			continue;
		try_variant(&variant);
	}
}

#define check_invalid(call)						\
	do {								\
		errno = 0;						\
		check((call) == -1 && errno == EINVAL);			\
	} while (0)

static void try_bad_arguments(void)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool = rseq_mempool_create("defaults", 100, NULL);
	char big[200] = "too long for an item";

	check(attr && pool);
	check_invalid(rseq_mempool_attr_set_percpu(attr, 4097, 0));
	check_invalid(rseq_mempool_attr_set_percpu(attr, 64, 0));
	check_invalid(rseq_mempool_attr_set_percpu(attr, 0, -1));
	check_invalid(rseq_mempool_attr_set_percpu(NULL, 0, 0));
	check_invalid(rseq_mempool_attr_set_global(attr, 12288));
	check_invalid(rseq_mempool_attr_set_global(NULL, 0));
	check_invalid(rseq_mempool_attr_set_init(NULL, refuse, NULL));
	check_invalid(rseq_mempool_attr_set_robust(NULL));
	check_invalid(rseq_mempool_attr_set_max_nr_ranges(NULL, 1));
	check_invalid(rseq_mempool_attr_set_poison(NULL, 1));
	check_invalid(rseq_mempool_attr_set_populate_policy(NULL, RSEQ_MEMPOOL_POPULATE_COW_ZERO));
	errno = 0;
	check(!rseq_mempool_create("empty", 0, NULL) && errno == EINVAL);
	errno = 0;
	check(!rseq_mempool_create("huge", RSEQ_MEMPOOL_STRIDE + 1, attr) && errno == EINVAL);
	errno = 0;
	check(!rseq_mempool_percpu_malloc_init(pool, big, 129) && errno == EINVAL);
	check(!rseq_mempool_attr_set_init(attr, refuse, NULL));
	errno = 0;
	check(!rseq_mempool_create("refused", 8, attr) && errno == EXDEV);
	rseq_mempool_attr_destroy(attr);

	/* Nothing, freed. */
	rseq_mempool_percpu_free((char *)NULL);
	rseq_mempool_percpu_free((char *)NULL, 4096);
	rseq_mempool_free((char *)NULL);
	librseq_mempool_percpu_free(NULL, RSEQ_MEMPOOL_STRIDE);
	check(!rseq_mempool_destroy(pool));
}

/* A value given once shows on every CPU until that CPU changes its own. */
static void try_initial_value(void)
{
	struct rseq_mempool *pool = rseq_mempool_create("initial", sizeof(long), NULL);
	long value = 4711, __rseq_percpu *item;

	check(pool);
	if (!pool)
		return;
	item = (long __rseq_percpu *)rseq_mempool_percpu_malloc_init(pool, &value, sizeof(value));
	check(item);
	for (int cpu = 0; item && cpu < rseq_mempool_get_max_nr_cpus(pool); cpu++) {
		check(*rseq_percpu_ptr(item, cpu) == 4711);
		*rseq_percpu_ptr(item, cpu) += cpu + 1;
		check(*rseq_percpu_ptr(item, cpu) == 4712 + cpu);
	}
	check(item == rseq_percpu_ptr(item, 0));
	rseq_mempool_percpu_free(item);
	check(!rseq_mempool_destroy(pool));
}

int main(int argc, char **argv)
{
	unsigned int step = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;
	bool registered = enter_thread();

	try_bad_arguments();
	try_initial_value();
	try_all(step ? step : 1);
	check(nr_variants && nr_inits);
	printf("%d variants\n", nr_variants);
	leave_thread(registered);
	return finish();
}
