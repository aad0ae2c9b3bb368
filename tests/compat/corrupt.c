/* SPDX-License-Identifier: MIT */
/*
 * Robust pools of all kinds, misused: each misuse ends in SIGABRT, with a message on the standard
 * error stream that names the pool. Correct use ends as it should, and says nothing.
 */
#include "check.h"

#include <rseq/mempool.h>

#include <sys/resource.h>
#include <sys/wait.h>

#define POOL_NAME	"the pool at fault"
#define ITEM		64
#define NR_CPUS		3

static struct rseq_mempool *pool;
static int last_row;

static char *take(void)
{
	char *item = (char *)rseq_mempool_percpu_malloc(pool);

	if (!item)
		_exit(3);
	return item;
}

static void destroy(void)
{
	if (rseq_mempool_destroy(pool))
		_exit(4);
}

static void correct_use(void)
{
	char *items[3000];

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 3000; i++) {
			items[i] = i % 2 ? take() : (char *)rseq_mempool_percpu_zmalloc(pool);
			memset(rseq_percpu_ptr(items[i], last_row), 0xff, ITEM);
		}
		for (int i = 0; i < 3000; i++)
			rseq_mempool_percpu_free(items[i]);
	}
	destroy();
}

static void free_twice(void)
{
	char *item = take();

	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(item);
}

static void free_twice_with_others_between(void)
{
	char *item = take(), *other = take(), *third = take();

	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(other);
	rseq_mempool_percpu_free(third);
	rseq_mempool_percpu_free(item);
}

static void write_after_free_then_allocate(void)
{
	char *item = take();

	rseq_mempool_percpu_free(item);
	rseq_percpu_ptr(item, last_row)[ITEM - 1] ^= 1;
	take();
}

static void write_after_free_then_destroy(void)
{
	char *item = take();

	rseq_mempool_percpu_free(item);
	rseq_percpu_ptr(item, last_row)[0] ^= 1;
	destroy();
}

/* The first word is where allocators keep the list of their free items. */
static void smash_list_then_allocate(void)
{
	uintptr_t *item = (uintptr_t *)take(), *other = (uintptr_t *)take();

	rseq_mempool_percpu_free(other);
	rseq_mempool_percpu_free(item);
	*item = 0xdeadbeefUL;
	take();
	take();
	take();
}

static void smash_list_then_free(void)
{
	uintptr_t *item = (uintptr_t *)take(), *other = (uintptr_t *)take();

	rseq_mempool_percpu_free(item);
	memset(item, 0xff, ITEM);
	rseq_mempool_percpu_free(other);
	destroy();
}

/* A list that leads back to itself. */
static void make_list_circular(void)
{
	uintptr_t *item = (uintptr_t *)take(), *other = (uintptr_t *)take();

	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(other);
	*item = (uintptr_t)other;
	*other = (uintptr_t)item;
	destroy();
}

static void leak_one(void)
{
	take();
	destroy();
}

static void leak_last_of_many(void)
{
	char *items[2000];

	for (int i = 0; i < 2000; i++)
		items[i] = take();
	for (int i = 0; i < 1999; i++)
		rseq_mempool_percpu_free(items[i]);
	destroy();
}

static void leak_from_a_set(void)
{
	struct rseq_mempool_set *set = rseq_mempool_set_create();

	if (!set || rseq_mempool_set_add_pool(set, pool))
		_exit(3);
	if (!rseq_mempool_set_percpu_malloc(set, ITEM / 2))
		_exit(3);
	rseq_mempool_set_destroy(set);
}

static void write_after_free_then_free_twice(void)
{
	char *item = take();

	rseq_mempool_percpu_free(item);
	memset(rseq_percpu_ptr(item, last_row), 0, ITEM);
	memset(item, 0xff, ITEM);
	rseq_mempool_percpu_free(item);
}

static void free_twice_after_it_was_handed_out_again(void)
{
	char *item = take();

	rseq_mempool_percpu_free(item);
	for (int i = 0; i < 2000; i++)
		take();
	rseq_mempool_percpu_free(item);
	rseq_mempool_percpu_free(item);
}

static void leak_and_write_after_free(void)
{
	char *item = take();

	take();
	rseq_mempool_percpu_free(item);
	memset(item, 0xff, ITEM);
	destroy();
}

static void overrun_into_free_neighbour(void)
{
	char *item = take(), *next = take(), *low = item < next ? item : next;

	rseq_mempool_percpu_free(low == item ? next : item);
	memset(low, 0xff, 2 * ITEM);
	rseq_mempool_percpu_free(low);
	destroy();
}

/* free() has no result: what it is given by mistake must not lead it astray. */
static void free_inner_pointer(void)
{
	char *item = take();

	rseq_mempool_percpu_free(item + ITEM / 2);
}

#define MISUSE(name)	{ #name, name }

static const struct misuse {
	const char *name;
	void (*commit)(void);
} misuses[] = {
	MISUSE(free_twice),
	MISUSE(free_twice_with_others_between),
	MISUSE(write_after_free_then_allocate),
	MISUSE(write_after_free_then_destroy),
	MISUSE(smash_list_then_allocate),
	MISUSE(smash_list_then_free),
	MISUSE(make_list_circular),
	MISUSE(leak_one),
	MISUSE(leak_last_of_many),
	MISUSE(leak_from_a_set),
	MISUSE(write_after_free_then_free_twice),
	MISUSE(free_twice_after_it_was_handed_out_again),
	MISUSE(leak_and_write_after_free),
	MISUSE(overrun_into_free_neighbour),
	MISUSE(free_inner_pointer),
};

enum variant { GLOBAL = 1, COW_ZERO = 2, POISON = 4, NR_VARIANTS = 8 };

static void create(int variant)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	if (!attr)
		_exit(3);
	rseq_mempool_attr_set_robust(attr);
	if (variant & GLOBAL)
		rseq_mempool_attr_set_global(attr, 0);
	else
		rseq_mempool_attr_set_percpu(attr, 0, NR_CPUS);
	if (variant & COW_ZERO)
		rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	if (variant & POISON)
		rseq_mempool_attr_set_poison(attr, 0x1234567812345678UL);
	last_row = variant & GLOBAL ? 0 : NR_CPUS - 1;
	pool = rseq_mempool_create(POOL_NAME, ITEM, attr);
	rseq_mempool_attr_destroy(attr);
	if (!pool)
		_exit(3);
}

/* Returns how a child that does it ended; said is what it printed. */
static int run_in_child(void (*use)(void), int variant, char *said, size_t size)
{
	const struct rlimit no_core = { 0, 0 };
	int channel[2], status = -1;
	size_t length = 0;
	ssize_t got;
	pid_t child;

	if (pipe(channel))
		return -1;
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(channel[1], STDERR_FILENO);
		create(variant);
		use();
		_exit(0);
	}
	close(channel[1]);
	while (length < size - 1 && (got = read(channel[0], said + length, size - 1 - length)) > 0)
		length += (size_t)got;
	said[length] = '\0';
	close(channel[0]);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return status;
}

static void try_misuse(const struct misuse *misuse, int variant)
{
	char said[512];
	int status = run_in_child(misuse->commit, variant, said, sizeof(said)), before = failures;

	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	check(strstr(said, POOL_NAME));
	if (failures != before)
		fprintf(stderr, "%s, variant %d: status %#x, \"%s\"\n", misuse->name, variant,
			(unsigned int)status, said);
}

int main(void)
{
	char said[512];

	for (int variant = 0; variant < NR_VARIANTS; variant++) {
		check(run_in_child(correct_use, variant, said, sizeof(said)) == 0);
		check(!said[0]);
		for (size_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++)
			try_misuse(&misuses[i], variant);
	}
	return finish();
}
