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
#define ITEM		64

static struct rseq_mempool *create(enum rseq_mempool_populate_policy policy)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	rseq_mempool_attr_set_robust(attr);
	rseq_mempool_attr_set_percpu(attr, 0, 4);
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
		for (int i = 0; i < 1500; i++)
			rseq_mempool_percpu_free(items[i]);
	}
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
	static void (*const misuses[])(struct rseq_mempool *) = {
		free_twice, free_twice_later, write_to_free_item, smash_free_list,
		free_middle_of_item, free_item_of_nobody, leak,
	};
	char said[512];

	(void)state;
	for (size_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++) {
		for (int policy = 0; policy < 2; policy++) {
			int status = run_child(misuses[i],
					       (enum rseq_mempool_populate_policy)policy, said,
					       sizeof(said));

			print_message("%zu, %d: %s", i, policy, said);
			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), SIGABRT);
			assert_non_null(strstr(said, "\"" POOL_NAME "\""));
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
