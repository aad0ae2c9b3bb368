/* SPDX-License-Identifier: MIT */
/*
 * Zeros in items that were in use, on every CPU that may have written to them: while others of the
 * same pages are in use, with each way that the library may have to find out what was written to,
 * and in pools whose items also get initial values.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cmocka.h>

#define NR_ROWS		128
#define MAX_ITEMS	3000
#define NR_TURNS	3

enum { INIT = RSEQ_MEMPOOL_POPULATE_COW_INIT, ZERO = RSEQ_MEMPOOL_POPULATE_COW_ZERO };

struct shape {
	int policy;
	size_t stride, item_len;
	unsigned long max_nr_ranges;
	int nr_items;
	bool values;			/* some items get an initial one */
	bool robust;
};

static const struct shape shapes[] = {
	{ INIT, 65536, 64, 0, 1500, false, false },
	{ ZERO, 65536, 64, 0, 1500, false, false },
	{ INIT, 65536, 64, 0, 1500, true, false },
	{ ZERO, 65536, 64, 0, 600, true, false },
	{ INIT, 65536, 64, 1, 1000, true, false },
	{ ZERO, 65536, 64, 1, 1000, false, false },
	{ INIT, 4096, 8, 0, 900, false, false },
	{ ZERO, 1 << 20, 4096, 0, 200, false, false },
	{ INIT, 1 << 18, 16384, 0, 40, true, false },
	{ INIT, 65536, 1024, 0, 150, true, true },
	{ ZERO, 65536, 1024, 0, 150, false, true },
};

static unsigned int random_state = 1;

static unsigned int random_below(unsigned int limit)
{
	random_state = random_state * 1103515245 + 12345;
	return (random_state >> 8) % limit;
}

static struct rseq_mempool *create(const struct shape *shape)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_percpu(attr, shape->stride, NR_ROWS);
	rseq_mempool_attr_set_populate_policy(attr,
			(enum rseq_mempool_populate_policy)shape->policy);
	rseq_mempool_attr_set_max_nr_ranges(attr, shape->max_nr_ranges);
	if (shape->robust)
		rseq_mempool_attr_set_robust(attr);
	pool = rseq_mempool_create("zero", shape->item_len, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

/* Whether all copies hold len bytes of this value, and zeros. */
static bool holds(const struct shape *shape, char *item, char value, size_t len)
{
	for (int row = 0; row < NR_ROWS; row++) {
		const char *copy = rseq_percpu_ptr(item, row, shape->stride);

		for (size_t i = 0; i < shape->item_len; i++)
			if (copy[i] != (i < len ? value : 0))
				return false;
	}
	return true;
}

/* A few rows are written to, others read: first bytes, last ones, or all. */
static void use(const struct shape *shape, char *item)
{
	for (int i = 0; i < 3; i++) {
		char *copy = rseq_percpu_ptr(item, random_below(i ? 5 : NR_ROWS), shape->stride);

		switch (random_below(3)) {
		case 0:
			copy[0] = 'f';
			break;
		case 1:
			copy[shape->item_len - 1] = 'l';
			break;
		default:
			memset(copy, 'a', shape->item_len);
		}
	}
}

/* Returns 0, or how far it came. */
static int try_shape(const struct shape *shape)
{
	static char *items[MAX_ITEMS];
	struct rseq_mempool *pool = create(shape);
	char value[8];

	if (!pool)
		return 1;
	memset(items, 0, sizeof(items));
	for (int turn = 0; turn < NR_TURNS; turn++) {
		for (int i = 0; i < shape->nr_items; i++) {
			bool with_value = shape->values && !random_below(8);

			if (items[i])
				continue;
			memset(value, 'v' + turn % 4, sizeof(value));
			items[i] = with_value ?
				rseq_mempool_percpu_malloc_init(pool, value, sizeof(value)) :
				random_below(5) ? rseq_mempool_percpu_zmalloc(pool) :
				rseq_mempool_percpu_malloc(pool);
			if (!items[i])
				return 2;
			if (with_value && !holds(shape, items[i], value[0], sizeof(value)))
				return 3;
			use(shape, items[i]);
			rseq_mempool_percpu_free(items[i], shape->stride);
			items[i] = rseq_mempool_percpu_zmalloc(pool);
			if (!items[i] || !holds(shape, items[i], 0, 0))
				return 4;
			use(shape, items[i]);
		}
		/* Most go, or all, so that what is left pins no page, some or all of them. */
		for (int i = 0; i < shape->nr_items; i++) {
			if (turn % 3 && !random_below(turn % 3 == 1 ? 40 : 4))
				continue;
			rseq_mempool_percpu_free(items[i], shape->stride);
			items[i] = NULL;
		}
	}
	for (int i = 0; i < shape->nr_items; i++)
		rseq_mempool_percpu_free(items[i], shape->stride);
	return rseq_mempool_destroy(pool) ? 5 : 0;
}

/* The kernel does not tell which pages were written to at all. */
static int hide_pages(void)
{
	const struct rlimit no_files = { 0, 0 };

	return setrlimit(RLIMIT_NOFILE, &no_files);
}

/* It tells in the older way alone: ioctl() is refused. */
static int hide_scan(void)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { 4, instructions };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -1 : 0;
}

static int hide_nothing(void)
{
	return 0;
}

#define CANNOT_HIDE	100

/* In a child, which has what it hides hidden from then on. */
static void try_all(int (*hide)(void))
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		int status = -1;
		pid_t child = fork();

		if (!child)
			_exit(hide() ? CANNOT_HIDE : try_shape(&shapes[i]));
		assert_int_equal(waitpid(child, &status, 0), child);
		if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_HIDE)
			skip();
		if (status)
			print_error("shape %zu\n", i);
		assert_int_equal(status, 0);
	}
}

static void test_all_is_told(void **state)
{
	(void)state;
	try_all(hide_nothing);
}

static void test_pages_are_told(void **state)
{
	(void)state;
	try_all(hide_scan);
}

static void test_nothing_is_told(void **state)
{
	(void)state;
	try_all(hide_pages);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_told),
		cmocka_unit_test(test_pages_are_told),
		cmocka_unit_test(test_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
