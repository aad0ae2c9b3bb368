/* SPDX-License-Identifier: MIT */
/*
 * Robust pools: each misuse ends in SIGABRT, with a line that names the pool; correct use does not.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/mempool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define POOL_NAME	"the pool at fault"
#define POOL		"\"" POOL_NAME "\""
#define NO_POOL		"is in no pool"
#define ITEM		64

#define NR_CPUS		4
#define LARGE		((size_t)1 << 20)

static struct rseq_mempool *create(enum rseq_mempool_populate_policy policy)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_robust(attr);
	rseq_mempool_attr_set_percpu(attr, 0, NR_CPUS);
	rseq_mempool_attr_set_populate_policy(attr, policy);
	pool = rseq_mempool_create(POOL_NAME, ITEM, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

static void use_correctly(struct rseq_mempool *pool)
{
	static char init[] = "initial";
	char *items[1500];

	for (int turn = 0; turn < 3; turn++) {
		for (int i = 0; i < 1500; i++) {
			items[i] = i % 3 == 0 ? rseq_mempool_percpu_malloc(pool) :
				i % 3 == 1 ? rseq_mempool_percpu_zmalloc(pool) :
				rseq_mempool_percpu_malloc_init(pool, init, sizeof(init));
			for (int cpu = 0; cpu < 4; cpu++)
				memset(rseq_percpu_ptr(items[i], cpu), i, ITEM);
		}
		/* No stride stands for the default one. */
		for (int i = 0; i < 1500; i++)
			if (i % 2)
				rseq_mempool_percpu_free(items[i]);
			else
				rseq_mempool_percpu_free(items[i], 0);
	}
	rseq_mempool_destroy(pool);
}

static struct rseq_mempool *create_another(size_t stride)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_global(attr, stride);
	rseq_mempool_attr_set_max_nr_ranges(attr, 2);
	pool = rseq_mempool_create("another pool", stride / 4, attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

/* Pools that are not robust lose nothing next to one that is. */
static void use_others_correctly(struct rseq_mempool *pool)
{
	struct rseq_mempool *others[] = {
		create_another(LARGE), create_another(RSEQ_MEMPOOL_STRIDE), create_another(LARGE),
	};
	void *items[3][8], *item = rseq_mempool_percpu_malloc(pool);

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 3; i++)
			for (int j = 0; j < 8; j++)
				if (!(items[i][j] = rseq_mempool_malloc(others[i])))
					_exit(1);
		for (int i = 0; i < 3; i++)
			for (int j = 0; j < 8; j++)
				rseq_mempool_free(items[i][j],
						  i % 2 ? RSEQ_MEMPOOL_STRIDE : LARGE);
	}
	for (int i = 0; i < 3; i++)
		rseq_mempool_destroy(others[i]);
	rseq_mempool_percpu_free(item);
	rseq_mempool_destroy(pool);
}

static void free_twice(struct rseq_mempool *pool)
{
	void *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(item);
}

static void free_twice_later(struct rseq_mempool *pool)
{
	void *item = rseq_mempool_percpu_malloc(pool), *other = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(other);
	rseq_mempool_percpu_free(item);
}

static void write_to_free_item(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free(item);
	rseq_percpu_ptr(item, 3)[ITEM - 1] ^= 1;
	rseq_mempool_percpu_malloc(pool);
}

/* All of a copy, as whoever sets it up anew does. */
static void zero_free_item(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	memset(rseq_percpu_ptr(item, 3), 1, ITEM);
	rseq_mempool_percpu_free(item);
	memset(rseq_percpu_ptr(item, 3), 0, ITEM);
	rseq_mempool_destroy(pool);
}

/* Into one that was never handed out. */
static void run_over_last_item(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	memset(rseq_percpu_ptr(item, 3), 1, ITEM + 1);
	rseq_mempool_percpu_free(item);
	rseq_mempool_destroy(pool);
}

static void smash_free_list(struct rseq_mempool *pool)
{
	void **item = rseq_mempool_percpu_zmalloc(pool);

	rseq_mempool_percpu_free(item);
	*item = (void *)0xdeadUL;
	rseq_mempool_destroy(pool);
}

static void free_middle_of_item(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free(item + 8);
}

static void free_item_of_nobody(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free(item + 500 * ITEM);
}

static void free_other_copy(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free(rseq_percpu_ptr(item, NR_CPUS - 1));
}

static void free_with_small_stride(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_free(rseq_mempool_percpu_malloc(pool), (size_t)4096);
}

static void free_with_large_stride(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_free(rseq_mempool_percpu_malloc(pool), LARGE);
}

static void free_with_huge_stride(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_free(rseq_mempool_percpu_malloc(pool), (size_t)1 << 63);
}

static void free_with_odd_stride(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_free(rseq_mempool_percpu_malloc(pool), RSEQ_MEMPOOL_STRIDE + 64);
}

static void free_with_tiny_stride(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_free(rseq_mempool_percpu_malloc(pool), (size_t)1);
}

/* The other pool makes its stride a known one. */
static void free_with_stride_of_other(struct rseq_mempool *pool)
{
	rseq_mempool_malloc(create_another(LARGE));
	rseq_mempool_percpu_free(rseq_mempool_percpu_malloc(pool), LARGE);
}

static void free_item_of_other(struct rseq_mempool *pool)
{
	(void)pool;
	rseq_mempool_free(rseq_mempool_malloc(create_another(LARGE)));
}

static void free_low_address(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_malloc(pool);
	rseq_mempool_percpu_free((void *)8);
}

static void free_high_address(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_malloc(pool);
	rseq_mempool_percpu_free((void *)(UINTPTR_MAX - 7));
}

static void free_what_malloc_made(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_malloc(pool);
	rseq_mempool_percpu_free(malloc(ITEM));
}

static void free_behind_last_row(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free((char *)((uintptr_t)item & ~(uintptr_t)0xffff) +
				 NR_CPUS * (size_t)RSEQ_MEMPOOL_STRIDE);
}

static void free_before_first_row(struct rseq_mempool *pool)
{
	char *item = rseq_mempool_percpu_malloc(pool);

	rseq_mempool_percpu_free((char *)((uintptr_t)item & ~(uintptr_t)0xffff) - 8);
}

static void free_after_pool(struct rseq_mempool *pool)
{
	struct rseq_mempool *other = create_another(LARGE);
	void *item = rseq_mempool_malloc(other);

	(void)pool;
	rseq_mempool_destroy(other);
	rseq_mempool_free(item, LARGE);
}

static void leak(struct rseq_mempool *pool)
{
	rseq_mempool_percpu_malloc(pool);
	rseq_mempool_destroy(pool);
}

/* Runs it in a child; returns how it ended and what it said. */
static int run_child(void (*use)(struct rseq_mempool *), enum rseq_mempool_populate_policy policy,
		char *said, size_t size)
{
	const struct rlimit no_core = { 0, 0 };
	int channel[2], status = -1;
	ssize_t length;
	pid_t child;

	assert_int_equal(pipe(channel), 0);
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		dup2(channel[1], STDERR_FILENO);
		use(create(policy));
		_exit(0);
	}
	close(channel[1]);
	length = read(channel[0], said, size - 1);
	said[length > 0 ? length : 0] = '\0';
	close(channel[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void test_misuse(void **state)
{
	static const struct {
		void (*use)(struct rseq_mempool *);
		const char *said;
	} misuses[] = {
		{ free_twice, POOL }, { free_twice_later, POOL }, { write_to_free_item, POOL },
		{ zero_free_item, POOL }, { run_over_last_item, POOL },
		{ smash_free_list, POOL }, { free_middle_of_item, POOL },
		{ free_item_of_nobody, POOL }, { leak, POOL }, { free_other_copy, POOL },
		{ free_with_small_stride, POOL }, { free_with_large_stride, POOL },
		{ free_with_huge_stride, POOL }, { free_with_odd_stride, POOL },
		{ free_with_tiny_stride, POOL }, { free_with_stride_of_other, POOL },
		{ free_item_of_other, "\"another pool\"" }, { free_low_address, NO_POOL },
		{ free_high_address, NO_POOL }, { free_what_malloc_made, NO_POOL },
		{ free_behind_last_row, NO_POOL }, { free_before_first_row, NO_POOL },
		{ free_after_pool, NO_POOL },
	};
	char said[512];

	(void)state;
	for (size_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++) {
		for (int policy = 0; policy < 2; policy++) {
			int status = run_child(misuses[i].use,
					       (enum rseq_mempool_populate_policy)policy, said,
					       sizeof(said));

			print_message("%zu, %d: %s", i, policy, said);
			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), SIGABRT);
			assert_non_null(strstr(said, misuses[i].said));
		}
	}
}

static void test_correct_use(void **state)
{
	char said[512];

	(void)state;
	for (int policy = 0; policy < 2; policy++) {
		assert_int_equal(run_child(use_correctly, (enum rseq_mempool_populate_policy)policy,
					   said, sizeof(said)), 0);
		assert_string_equal(said, "");
		assert_int_equal(run_child(use_others_correctly,
					   (enum rseq_mempool_populate_policy)policy, said,
					   sizeof(said)), 0);
		assert_string_equal(said, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_correct_use),
		cmocka_unit_test(test_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
