/* SPDX-License-Identifier: MIT */
/*
 * Operations on memory that cannot be accessed: the signal of the fault aborts them, at known
 * instructions, so that every abort handler is taken. C and C++.
 */
#ifndef _GNU_SOURCE
# define _GNU_SOURCE
#endif

#include "fault.h"
#include "ops-support.h"

#include <sys/mman.h>

#define COPIED		300

/* A page without access, and the last bytes before it. */
static unsigned char *no_access;
static const size_t page_bytes = 65536;

static int set_up(void **state)
{
	unsigned char *map = (unsigned char *)mmap(NULL, 2 * page_bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map + page_bytes, page_bytes, PROT_NONE))
		return -1;
	no_access = map + page_bytes;
	fault_is_ours = areas_are_made_up;
	return ops_pin(state);
}

static int tear_down(void **state)
{
	(void)state;
	return munmap(no_access - page_bytes, 2 * page_bytes);
}

/* Aborted by its own fault; what aborts it before that is tried again. */
#define assert_faults(operation)							\
	do {										\
		int aborted_tries = 0;							\
											\
		faults = 0;								\
		do									\
			assert_int_equal(operation, -1);				\
		while (!faults && ++aborted_tries < MAX_TRIES);				\
		assert_int_equal(faults, 1);						\
	} while (0)

static void test_first_access(void **state)
{
	intptr_t *bad = (intptr_t *)no_access, load = 5;

	(void)state;
	assert_int_equal(catch_faults(), 0);	/* cmocka has a handler, too */
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		assert_faults(ops->store(bad, 1, 2, ops_id(ops)));
		assert_faults(ops->take(bad, 1, 0, &load, ops_id(ops)));
		assert_faults(ops->add(bad, 1, ops_id(ops)));
		assert_faults(ops->add_at(bad, 0, 1, ops_id(ops)));
		assert_faults(ops->store_if_both(bad, 1, &load, 5, 1, ops_id(ops)));
		assert_faults(ops->store_store(bad, 1, &load, 2, 2, ops_id(ops)));
		assert_faults(ops->copy_store(bad, 1, &load, &load, 0, 1, ops_id(ops)));
		assert_true(load == 5);
	}
}

static void test_later_access(void **state)
{
	intptr_t *bad = (intptr_t *)no_access, v, base, slot, load;

	(void)state;
	assert_int_equal(catch_faults(), 0);	/* cmocka has a handler, too */
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		v = (intptr_t)&slot;
		assert_faults(ops->take(&v, 0, 0, bad, ops_id(ops)));
		assert_true(v == (intptr_t)&slot);
		/* The link of the element, after the element has been stored. */
		v = (intptr_t)bad - 8;
		load = 5;
		assert_faults(ops->take(&v, 0, 8, &load, ops_id(ops)));
		assert_true(v == (intptr_t)bad - 8);
		assert_true(load == 5 || load == v);

		base = (intptr_t)bad - 8;
		assert_faults(ops->add_at(&base, 8, 1, ops_id(ops)));
		base = (intptr_t)&slot;
		slot = (intptr_t)bad;
		assert_faults(ops->add_at(&base, 0, 1, ops_id(ops)));
		assert_true(base == (intptr_t)&slot && slot == (intptr_t)bad);

		v = 1;
		assert_faults(ops->store_if_both(&v, 1, bad, 2, 3, ops_id(ops)));
		assert_faults(ops->store_store(&v, 1, bad, 2, 3, ops_id(ops)));
		assert_true(v == 1);
	}
}

/* In the middle of the copy: from, and to, memory that ends after so many bytes. */
static void test_copy(void **state)
{
	static unsigned char bytes[COPIED];
	intptr_t v = 1;

	(void)state;
	assert_int_equal(catch_faults(), 0);	/* cmocka has a handler, too */
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (size_t there = 0; there < COPIED; there++) {
			assert_faults(ops->copy_store(&v, 1, bytes, no_access - there, COPIED, 2,
						      ops_id(ops)));
			assert_faults(ops->copy_store(&v, 1, no_access - there, bytes, there + 1, 2,
						      ops_id(ops)));
			assert_true(v == 1);
		}
	}
}

/* The same operations commit when the memory is there. */
static void test_afterwards(void **state)
{
	int result;

	(void)state;
	assert_int_equal(mprotect(no_access, page_bytes, PROT_READ | PROT_WRITE), 0);
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		intptr_t *v = (intptr_t *)no_access;

		faults = 0;
		*v = 1;
		DO(result, ops->store(v, 1, 2, ops_id(ops)));
		assert_int_equal(result, 0);
		DO(result, ops->copy_store(v, 2, no_access - 8, v, 8, 3, ops_id(ops)));
		assert_int_equal(result, 0);
		assert_true(*v == 3);
		assert_int_equal(faults, 0);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_access),
		cmocka_unit_test(test_later_access),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_afterwards),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

int main(int argc, char **argv)
{
	(void)argc;
	return ops_main(argv, run);
}
