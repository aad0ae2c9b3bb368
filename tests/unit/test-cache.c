/* SPDX-License-Identifier: MIT */
/*
 * Caches in one thread: what they are made of, where objects go, who constructs them, and what is
 * refused. tests/unit/test-cache-threads.c has many.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/cache.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define NR_OBJECTS	40

/* An allocator that counts, and refuses when it is told to. */
struct source {
	long taken, returned, constructed, destructed;
	size_t size, alignment;
	int refuse, refuse_construct;	/* an errno, or 0; -1 leaves errno alone */
};

#define CONSTRUCTED	0x636f6e7374727563ULL

static void *source_alloc(size_t size, size_t alignment, void *priv)
{
	struct source *source = priv;

	if (source->refuse) {
		if (source->refuse > 0)
			errno = source->refuse;
		return NULL;
	}
	source->taken++;
	source->size = size;
	source->alignment = alignment;
	return calloc(1, size);
}

static void source_free(void *object, size_t size, void *priv)
{
	struct source *source = priv;

	assert_int_equal(size, source->size);
	source->returned++;
	free(object);
	errno = EDOM;
}

static int construct(void *object, void *priv)
{
	struct source *source = priv;

	if (source->refuse_construct) {
		errno = source->refuse_construct;
		return 1;
	}
	source->constructed++;
	*(uint64_t *)object = CONSTRUCTED;
	return 0;
}

static void destruct(void *object, void *priv)
{
	struct source *source = priv;

	source->destructed++;
	assert_int_equal(*(uint64_t *)object, CONSTRUCTED);
	*(uint64_t *)object = 0;
}

static struct rseq_cache_attr attr_of(struct source *source)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr),
		.per_cpu = 8,
		.batch = 4,
		.depot = 8,
		.construct = construct,
		.destruct = destruct,
		.alloc = source_alloc,
		.free = source_free,
		.priv = source,
	};

	return attr;
}

static struct rseq_cache_stat stat_of(const struct rseq_cache *cache)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	assert_int_equal(rseq_cache_stat(cache, &stat), 0);
	assert_int_equal(stat.size, sizeof(stat));
	assert_int_equal(stat.created - stat.released,
			 stat.out + stat.on_cpus + stat.in_depot);
	return stat;
}

/* Where objects go depends on the CPU: these tests stay on one. */
static void stay(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	assert_int_equal(support_move(0, cpus.cpu[cpus.nr - 1]), 0);
}

static void test_defaults(void **state)
{
	static const struct { size_t size, per_cpu, batch, depot; } expected[] = {
		{ 1, 2048, 1024, 8192 },
		{ 64, 2048, 1024, 8192 },
		{ 128, 1024, 512, 4096 },
		{ 1000, 131, 65, 585 },
		{ 1024, 128, 64, 512 },
		{ 65536, 4, 2, 16 },
		{ 1 << 20, 4, 2, 16 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct rseq_cache *cache = rseq_cache_create("name", expected[i].size, NULL);
		struct rseq_cache_stat stat;

		assert_non_null(cache);
		stat = stat_of(cache);
		assert_string_equal(stat.name, "name");
		assert_int_equal(stat.object_size, expected[i].size);
		assert_int_equal(stat.per_cpu, expected[i].per_cpu);
		assert_int_equal(stat.batch, expected[i].batch);
		if (expected[i].size != 1000)
			assert_int_equal(stat.depot, expected[i].depot);
		assert_int_equal(stat.created, 0);
		assert_int_equal(rseq_cache_destroy(cache), 0);
	}
}

static void expect_no_cache(size_t object_size, const struct rseq_cache_attr *attr, int error)
{
	errno = 0;
	assert_null(rseq_cache_create(NULL, object_size, attr));
	assert_int_equal(errno, error);
}

static void test_wrong_attributes(void **state)
{
	struct source source = { 0 };
	struct { struct rseq_cache_attr attr; char beyond[16]; } longer;
	struct rseq_cache_attr attr = attr_of(&source);
	struct rseq_cache *cache;

	(void)state;
	expect_no_cache(0, NULL, EINVAL);
	expect_no_cache(SIZE_MAX, NULL, EINVAL);
	attr.size = 0;
	expect_no_cache(64, &attr, EINVAL);
	attr = attr_of(&source);
	attr.alignment = 24;
	expect_no_cache(64, &attr, EINVAL);
	attr = attr_of(&source);
	attr.batch = 9;
	expect_no_cache(64, &attr, EINVAL);
	attr = attr_of(&source);
	attr.free = NULL;
	expect_no_cache(64, &attr, EINVAL);
	attr = attr_of(&source);
	attr.flags = 1U << 31;
	expect_no_cache(64, &attr, EINVAL);
	attr = attr_of(&source);
	attr.mode = (enum rseq_percpu_mode)7;
	expect_no_cache(64, &attr, EINVAL);
	attr = attr_of(&source);
	attr.depot = SIZE_MAX;
	expect_no_cache(64, &attr, ENOMEM);

	/* From a later library: what is not known here must not be asked for. */
	memset(&longer, 0, sizeof(longer));
	longer.attr = attr_of(&source);
	longer.attr.size = sizeof(longer);
	cache = rseq_cache_create(NULL, 64, &longer.attr);
	assert_non_null(cache);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	longer.beyond[8] = 1;
	expect_no_cache(64, &longer.attr, E2BIG);

	/* From an earlier one: the rest has its default. */
	attr.size = offsetof(struct rseq_cache_attr, batch);
	cache = rseq_cache_create(NULL, 64, &attr);
	assert_non_null(cache);
	assert_int_equal(stat_of(cache).per_cpu, 8);
	assert_int_equal(stat_of(cache).depot, 32);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(source.taken, 0);
}

static void test_null(void **state)
{
	struct rseq_cache *cache = rseq_cache_create(NULL, 8, NULL);
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	(void)state;
	assert_non_null(cache);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_cache_destroy(NULL), 0);
	assert_int_equal(rseq_cache_free(cache, NULL), 0);
	assert_int_equal(rseq_cache_free_slow(cache, NULL), 0);
	assert_int_equal(rseq_cache_free_batch(cache, NULL, 0), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_null(stat_of(cache).name);
	assert_int_equal(rseq_cache_trim(NULL), 0);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_cache_stat(NULL, &stat), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(rseq_cache_stat(cache, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

/* Smaller and larger structures than the library's. */
static void test_stat_size(void **state)
{
	struct { struct rseq_cache_stat stat; char beyond[16]; } longer;
	struct rseq_cache *cache = rseq_cache_create("x", 24, NULL);
	struct rseq_cache_stat stat;

	(void)state;
	assert_non_null(cache);
	memset(&stat, 0xff, sizeof(stat));
	stat.size = offsetof(struct rseq_cache_stat, created);
	assert_int_equal(rseq_cache_stat(cache, &stat), 0);
	assert_int_equal(stat.size, offsetof(struct rseq_cache_stat, created));
	assert_int_equal(stat.object_size, 24);
	assert_int_equal(stat.out, 0);
	assert_true(stat.created == UINT64_MAX);
	stat.size--;
	assert_int_equal(rseq_cache_stat(cache, &stat), -1);
	assert_int_equal(errno, EINVAL);

	memset(&longer, 0xff, sizeof(longer));
	longer.stat.size = sizeof(longer);
	assert_int_equal(rseq_cache_stat(cache, &longer.stat), 0);
	assert_int_equal(longer.stat.size, sizeof(longer.stat));
	for (size_t i = 0; i < sizeof(longer.beyond); i++)
		assert_int_equal(longer.beyond[i], 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

/* Objects come out as they went in, the latest first, and are constructed once. */
static void test_reuse(void **state)
{
	struct source source = { 0 };
	const struct rseq_cache_attr attr = attr_of(&source);
	struct rseq_cache *cache = rseq_cache_create(NULL, 32, &attr);
	uint64_t *object, *other;

	(void)state;
	assert_non_null(cache);
	stay();
	errno = KEPT_ERRNO;
	object = rseq_cache_alloc(cache);
	other = rseq_cache_alloc(cache);
	assert_non_null(object);
	assert_non_null(other);
	assert_ptr_not_equal(object, other);
	assert_int_equal(object[0], CONSTRUCTED);
	object[1] = 1;
	other[1] = 2;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(rseq_cache_free(cache, object), 0);
		assert_int_equal(rseq_cache_free(cache, other), 0);
		assert_ptr_equal(i % 2 ? rseq_cache_alloc(cache) : rseq_cache_alloc_slow(cache),
				 other);
		assert_ptr_equal(rseq_cache_alloc(cache), object);
		assert_int_equal(object[1], 1);
		assert_int_equal(other[1], 2);
	}
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(source.size, 32);
	assert_int_equal(source.constructed, 2);
	assert_int_equal(stat_of(cache).out, 2);
	rseq_cache_free(cache, object);
	rseq_cache_free(cache, other);
	assert_int_equal(stat_of(cache).on_cpus, 2);
	assert_int_equal(source.destructed, 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(source.destructed, 2);
	assert_int_equal(source.returned, 2);
	assert_int_equal(errno, KEPT_ERRNO);
}

/* What the allocator or the constructor say is what the caller hears, and nothing is kept of it. */
static void test_no_memory(void **state)
{
	struct source source = { .refuse = ENOMEM };
	const struct rseq_cache_attr attr = attr_of(&source);
	struct rseq_cache *cache = rseq_cache_create(NULL, 32, &attr);
	void *object;

	(void)state;
	assert_non_null(cache);
	assert_null(rseq_cache_alloc(cache));
	assert_int_equal(errno, ENOMEM);
	source.refuse = EAGAIN;
	assert_null(rseq_cache_alloc(cache));
	assert_int_equal(errno, EAGAIN);
	source.refuse = -1;
	errno = 0;
	assert_null(rseq_cache_alloc(cache));
	assert_int_equal(errno, ENOMEM);
	source.refuse = 0;
	source.refuse_construct = ENOTCONN;
	assert_null(rseq_cache_alloc(cache));
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(source.taken, 1);
	assert_int_equal(source.returned, 1);
	assert_int_equal(source.destructed, 0);
	assert_int_equal(stat_of(cache).created, 0);

	/* What the cache has it gives. */
	source.refuse_construct = 0;
	object = rseq_cache_alloc(cache);
	source.refuse = ENOMEM;
	rseq_cache_free(cache, object);
	assert_ptr_equal(rseq_cache_alloc(cache), object);
	rseq_cache_free(cache, object);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(source.taken, source.returned);
}

static void test_alignment(void **state)
{
	struct source source = { 0 };
	struct rseq_cache_attr attr = { .size = sizeof(attr) };
	void *objects[NR_OBJECTS];
	struct rseq_cache *cache;

	(void)state;
	for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
		attr.alignment = alignment;
		cache = rseq_cache_create(NULL, 40, &attr);
		assert_non_null(cache);
		for (int i = 0; i < NR_OBJECTS; i++) {
			objects[i] = rseq_cache_alloc(cache);
			assert_non_null(objects[i]);
			assert_int_equal((uintptr_t)objects[i] % alignment, 0);
			memset(objects[i], i, 40);
		}
		assert_int_equal(rseq_cache_free_batch(cache, objects, NR_OBJECTS), 0);
		assert_int_equal(rseq_cache_destroy(cache), 0);
	}
	attr = attr_of(&source);
	attr.alignment = 256;
	cache = rseq_cache_create(NULL, 40, &attr);
	assert_non_null(cache);
	rseq_cache_free(cache, rseq_cache_alloc(cache));
	assert_int_equal(source.alignment, 256);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

static void take_all(struct rseq_cache *cache, void **objects)
{
	for (int i = 0; i < NR_OBJECTS; i++) {
		objects[i] = rseq_cache_alloc(cache);
		assert_non_null(objects[i]);
		for (int j = 0; j < i; j++)
			assert_ptr_not_equal(objects[i], objects[j]);
	}
}

/* A CPU keeps 8, the depot 8 in batches of 4; more goes back, and what is there comes first. */
static void test_overflow(void **state)
{
	struct source source = { 0 };
	const struct rseq_cache_attr attr = attr_of(&source);
	struct rseq_cache *cache = rseq_cache_create(NULL, 32, &attr);
	size_t on_cpu = 0, in_depot = 0, released = 0;
	void *objects[NR_OBJECTS];
	struct rseq_cache_stat stat;

	(void)state;
	stay();
	assert_non_null(cache);
	take_all(cache, objects);
	for (int i = 0; i < NR_OBJECTS; i++) {
		if (on_cpu == 8) {
			on_cpu -= 4;
			*(in_depot < 8 ? &in_depot : &released) += 4;
		}
		on_cpu++;
		assert_int_equal(rseq_cache_free(cache, objects[i]), 0);
		stat = stat_of(cache);
		assert_int_equal(stat.on_cpus, on_cpu);
		assert_int_equal(stat.in_depot, in_depot);
		assert_int_equal(stat.released, released);
		assert_int_equal(stat.overflows, in_depot / 4);
	}
	assert_int_equal(in_depot, 8);
	assert_true(released > 0);

	take_all(cache, objects);
	stat = stat_of(cache);
	assert_int_equal(stat.on_cpus + stat.in_depot, 0);
	assert_int_equal(stat.refills, 2);
	assert_int_equal(stat.created, NR_OBJECTS + released);
	assert_int_equal(source.constructed, NR_OBJECTS + (long)released);

	/* The same bounds for all at once. */
	assert_int_equal(rseq_cache_free_batch(cache, objects, NR_OBJECTS), 0);
	stat = stat_of(cache);
	assert_int_equal(stat.on_cpus, 8);
	assert_int_equal(stat.in_depot, 8);
	assert_int_equal(stat.out, 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(source.taken, source.returned);
	assert_int_equal(source.destructed, source.constructed);
}

static void test_trim_and_busy(void **state)
{
	struct source source = { 0 };
	const struct rseq_cache_attr attr = attr_of(&source);
	struct rseq_cache *cache = rseq_cache_create(NULL, 32, &attr);
	void *objects[NR_OBJECTS], *last;

	(void)state;
	stay();
	assert_non_null(cache);
	take_all(cache, objects);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_cache_trim(cache), 0);
	rseq_cache_free_batch(cache, objects + 1, NR_OBJECTS - 1);
	assert_int_equal(rseq_cache_trim(cache), 16);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(rseq_cache_trim(cache), 0);
	assert_int_equal(source.returned, NR_OBJECTS - 1);
	assert_int_equal(stat_of(cache).out, 1);
	assert_int_equal(rseq_cache_destroy(cache), -1);
	assert_int_equal(errno, EBUSY);

	/* It works on. */
	last = objects[0];
	take_all(cache, objects);
	rseq_cache_free_batch(cache, objects, NR_OBJECTS);
	assert_int_equal(stat_of(cache).out, 1);
	assert_int_equal(rseq_cache_destroy(cache), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(source.taken, source.returned + 1);
	assert_int_equal(rseq_cache_free(cache, last), 0);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(source.taken, source.returned);
}

/* Refuses what is not out, and nothing else; nothing is lost, nothing comes twice. */
static void test_debug(void **state)
{
	struct source source = { 0 };
	struct rseq_cache_attr attr = attr_of(&source);
	void *objects[NR_OBJECTS], *batch[4];
	struct rseq_cache *cache;
	char foreign[64];

	(void)state;
	stay();
	attr.flags = RSEQ_CACHE_DEBUG;
	cache = rseq_cache_create(NULL, 32, &attr);
	assert_non_null(cache);
	take_all(cache, objects);
	for (int i = 0; i < NR_OBJECTS; i++) {
		errno = KEPT_ERRNO;
		assert_int_equal(rseq_cache_free(cache, objects[i]), 0);
		assert_int_equal(errno, KEPT_ERRNO);
		for (int j = 0; j <= i; j++) {
			errno = 0;
			assert_int_equal(rseq_cache_free(cache, objects[j]), -1);
			assert_int_equal(errno, EINVAL);
		}
	}
	errno = 0;
	assert_int_equal(rseq_cache_free(cache, foreign), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stat_of(cache).refused, NR_OBJECTS * (NR_OBJECTS + 1) / 2 + 1);
	assert_int_equal(stat_of(cache).out, 0);
	take_all(cache, objects);
	errno = 0;
	assert_int_equal(rseq_cache_free(cache, (char *)objects[0] + 8), -1);
	assert_int_equal(errno, EINVAL);

	batch[0] = objects[0];
	batch[1] = objects[0];
	batch[2] = NULL;
	batch[3] = objects[1];
	errno = 0;
	assert_int_equal(rseq_cache_free_batch(cache, batch, 4), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stat_of(cache).out, NR_OBJECTS - 2);
	assert_int_equal(rseq_cache_free_batch(cache, objects + 2, NR_OBJECTS - 2), 0);

	/* Also when it is not even the cache's any more. */
	rseq_cache_trim(cache);
	assert_int_equal(rseq_cache_free(cache, objects[3]), -1);
	assert_int_equal(rseq_cache_destroy(cache), 0);
	assert_int_equal(source.taken, source.returned);
}

/* More objects out than the table began with, freed in another order. */
static void test_debug_many(void **state)
{
	const struct rseq_cache_attr attr = { .size = sizeof(attr), .flags = RSEQ_CACHE_DEBUG };
	struct rseq_cache *cache = rseq_cache_create(NULL, 16, &attr);
	static void *objects[10007];
	const size_t nr = sizeof(objects) / sizeof(objects[0]);

	(void)state;
	assert_non_null(cache);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < nr; i++) {
			objects[i] = rseq_cache_alloc(cache);
			assert_non_null(objects[i]);
		}
		assert_int_equal(stat_of(cache).out, nr);
		for (size_t i = 0; i < nr; i++) {
			void *object = objects[i * 4999 % nr];

			assert_int_equal(rseq_cache_free(cache, object), 0);
			assert_int_equal(rseq_cache_free(cache, object), -1);
		}
		assert_int_equal(stat_of(cache).out, 0);
	}
	assert_int_equal(stat_of(cache).refused, 3 * nr);
	assert_int_equal(rseq_cache_destroy(cache), 0);
}

static int run_group(void)
{
	const struct CMUnitTest cache[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_wrong_attributes),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_stat_size),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_trim_and_busy),
		cmocka_unit_test(test_debug),
		cmocka_unit_test(test_debug_many),
	};

	return cmocka_run_group_tests(cache, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
