/* SPDX-License-Identifier: MIT */
/*
 * Memory that is not to be had. Each allocation of each function fails once, and fails from then
 * on: that is told by ENOMEM, nothing is lost, nothing is left behind, and with memory the same
 * works.
 */
#define _GNU_SOURCE

#include "allocators.h"
#include "works.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/mempool.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#include <pthread.h>
#include <sys/mman.h>

#define MAX_ALLOCATIONS	400		/* of one subject */
#define NR_ITEMS	100
#define MAX_CREATE	8		/* allocations of what is tried often */
#define NR_OFTEN	600		/* more than rows that fit into a range */
#define NR_OBJECTS	40		/* more than half of the first table of what is out */
#define LARGE		5000		/* items of a stack that has a mapping of its own */

/* ---- what is tried: each returns whether it had the memory, and then has been all right ---- */

static struct rseq_list_node nodes[NR_ITEMS];

static bool try_counter(enum rseq_percpu_mode mode)
{
	struct rseq_counter *counter = rseq_counter_create();

	(void)mode;
	if (!counter)
		return false;
	rseq_counter_add(counter, 5);
	check(rseq_counter_sum(counter) == 5);
	rseq_counter_destroy(counter);
	return true;
}

static bool try_list(enum rseq_percpu_mode mode)
{
	struct rseq_list *list = rseq_list_create_mode(mode);

	if (!list)
		return false;
	rseq_list_push(list, &nodes[0]);
	rseq_list_push(list, &nodes[1]);
	check(rseq_list_drain(list) == &nodes[1]);
	rseq_list_destroy(list);
	return true;
}

static void mark(void *node, void *marks)
{
	((int *)marks)[(struct rseq_list_node *)node - nodes]++;
}

/* A drain that gets no memory for all items takes them bit by bit. */
static bool use_stack(struct rseq_stack *stack)
{
	int marks[NR_ITEMS] = { 0 };

	if (!stack)
		return false;
	for (int i = 0; i < NR_ITEMS; i++)
		check(!rseq_stack_push(stack, &nodes[i]));
	errno = 0;
	check(rseq_stack_drain(stack, mark, marks) == NR_ITEMS && !errno);
	for (int i = 0; i < NR_ITEMS; i++)
		check(marks[i] == 1);
	rseq_stack_destroy(stack);
	return true;
}

static bool try_stack(enum rseq_percpu_mode mode)
{
	return use_stack(rseq_stack_create_mode(NR_ITEMS, mode));
}

static bool try_large_stack(enum rseq_percpu_mode mode)
{
	return use_stack(rseq_stack_create_mode(LARGE, mode));
}

static bool try_ring(enum rseq_percpu_mode mode)
{
	struct rseq_ring *ring = rseq_ring_create_mode(5000, 0, mode);
	int record = 7, nr = 0;

	if (!ring)
		return false;
	check(!rseq_ring_write(ring, &record, sizeof(record)));
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		nr += rseq_ring_read(ring, cpu, &record, sizeof(record)) == sizeof(record);
	check(nr == 1);
	check(!rseq_ring_destroy(ring));
	return true;
}

static bool try_lock(enum rseq_percpu_mode mode)
{
	struct rseq_lock *lock = rseq_lock_create_mode(mode);

	if (!lock)
		return false;
	check(!rseq_lock_release(lock, rseq_lock_acquire(lock)));
	rseq_lock_destroy(lock);
	return true;
}

static void release(void *number)
{
	++*(int *)number;
}

static bool try_refcount(enum rseq_percpu_mode mode)
{
	int number = 0;
	struct rseq_refcount *ref = rseq_refcount_create(release, &number);

	(void)mode;
	if (!ref)
		return false;
	rseq_refcount_get(ref);
	rseq_refcount_put(ref);
	check(!rseq_refcount_kill(ref) && number == 1);
	rseq_refcount_destroy(ref);
	return true;
}

static int nr_constructed;

static int construct(void *object, void *unused)
{
	(void)object;
	(void)unused;
	nr_constructed++;
	return 0;
}

static void destruct(void *object, void *unused)
{
	(void)object;
	(void)unused;
	nr_constructed--;
}

/* An alloc that fails leaves all as it was. */
static bool use_cache(enum rseq_percpu_mode mode, unsigned int flags)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 8, .flags = flags, .mode = mode,
		.construct = construct, .destruct = destruct,
	};
	struct rseq_cache *cache = rseq_cache_create("name", 32, &attr);
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	void *objects[NR_OBJECTS];
	bool all = true;

	nr_constructed = 0;
	if (!cache)
		return false;
	for (int i = 0; i < NR_OBJECTS; i++) {
		errno = 0;
		objects[i] = rseq_cache_alloc(cache);
		if (!objects[i])
			check(errno == ENOMEM);
		all = all && objects[i];
	}
	for (int i = 0; i < NR_OBJECTS; i++)
		check(!rseq_cache_free(cache, objects[i]));
	check(!rseq_cache_stat(cache, &stat) && !stat.out && !stat.refused);
	check(!rseq_cache_destroy(cache) && !nr_constructed);
	errno = ENOMEM;
	return all;
}

static bool try_cache(enum rseq_percpu_mode mode)
{
	return use_cache(mode, 0);
}

static bool try_empty_cache(enum rseq_percpu_mode mode)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 100, .flags = RSEQ_CACHE_DEBUG, .mode = mode,
	};
	struct rseq_cache *cache = rseq_cache_create("name", 32, &attr);

	check(!rseq_cache_destroy(cache));
	return cache;
}

static bool try_cache_debug(enum rseq_percpu_mode mode)
{
	return use_cache(mode, RSEQ_CACHE_DEBUG);
}

static int init_row(void *unused, void *row, size_t len, int cpu)
{
	(void)unused;
	(void)cpu;
	memset(row, 1, len < 64 ? len : 64);
	return 0;
}

static bool use_pool(struct rseq_mempool *pool, size_t nr)
{
	const long value = 9;
	long *items[NR_ITEMS], *item;
	bool all = true;

	if (!pool)
		return false;
	for (size_t i = 0; i < nr; i++) {
		items[i] = i % 3 == 0 ? rseq_mempool_percpu_malloc(pool) :
			   i % 3 == 1 ? rseq_mempool_percpu_zmalloc(pool) :
			   rseq_mempool_percpu_malloc_init(pool, &value, sizeof(value));
		if (!items[i])
			check(errno == ENOMEM);
		for (int cpu = 0; items[i] && i % 3 && cpu < rseq_get_max_nr_cpus(); cpu++)
			check(*rseq_percpu_ptr(items[i], cpu) == (i % 3 == 1 ? 0 : value));
		all = all && items[i];
	}
	for (size_t i = 0; i < nr; i++)
		rseq_mempool_percpu_free(items[i]);
	item = rseq_mempool_percpu_zmalloc(pool);
	check(item || until_failure != NEVER || failed);
	all = all && item;
	rseq_mempool_percpu_free(item);
	check(!rseq_mempool_destroy(pool));
	errno = ENOMEM;
	return all;
}

/* Items so large that there are some ranges. */
static bool use_pool_of(enum rseq_mempool_populate_policy policy, bool robust, bool with_init)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	if (!attr)
		return false;
	check(!rseq_mempool_attr_set_populate_policy(attr, policy));
	if (robust)
		check(!rseq_mempool_attr_set_robust(attr));
	if (with_init)
		check(!rseq_mempool_attr_set_init(attr, init_row, NULL));
	pool = rseq_mempool_create("name", RSEQ_MEMPOOL_STRIDE / 4, attr);
	rseq_mempool_attr_destroy(attr);
	return use_pool(pool, 10);
}

static bool try_pool(enum rseq_percpu_mode mode)
{
	(void)mode;
	return use_pool(rseq_mempool_create("name", 64, NULL), NR_ITEMS);
}

static bool try_pool_init(enum rseq_percpu_mode mode)
{
	(void)mode;
	return use_pool_of(RSEQ_MEMPOOL_POPULATE_COW_INIT, false, true);
}

static bool try_pool_zero(enum rseq_percpu_mode mode)
{
	(void)mode;
	return use_pool_of(RSEQ_MEMPOOL_POPULATE_COW_ZERO, false, false);
}

static bool try_pool_robust(enum rseq_percpu_mode mode)
{
	(void)mode;
	return use_pool_of(RSEQ_MEMPOOL_POPULATE_COW_INIT, true, false);
}

/* What the set did not take is still the caller's. */
static bool try_set(enum rseq_percpu_mode mode)
{
	struct rseq_mempool_set *set = rseq_mempool_set_create();
	bool all = set;

	(void)mode;
	for (size_t size = 8; set && size <= 64; size *= 2) {
		struct rseq_mempool *pool = rseq_mempool_create(NULL, size, NULL);

		check(!pool || !rseq_mempool_set_add_pool(set, pool));
		all = all && pool;
	}
	all = all && rseq_mempool_set_percpu_zmalloc(set, 33);
	check(!rseq_mempool_set_destroy(set));
	errno = ENOMEM;
	return all;
}

static bool try_works(enum rseq_percpu_mode mode)
{
	struct works *works = works_create(mode);

	if (!works)
		return false;
	works_use(works, 20);
	works_settle(works, 0);
	works_destroy(works, 0);
	return true;
}

static const struct subject {
	const char *name;
	bool (*try)(enum rseq_percpu_mode mode);
} subjects[] = {
	{ "counter", try_counter },
	{ "list", try_list },
	{ "stack", try_stack },
	{ "large stack", try_large_stack },
	{ "ring", try_ring },
	{ "lock", try_lock },
	{ "refcount", try_refcount },
	{ "cache", try_cache },
	{ "cache with debugging", try_cache_debug },
	{ "pool", try_pool },
	{ "pool with init", try_pool_init },
	{ "pool of zeros", try_pool_zero },
	{ "robust pool", try_pool_robust },
	{ "set of pools", try_set },
	{ "all", try_works },
};

static const struct subject *subject;
static enum rseq_percpu_mode mode;
static int nr_allowed;			/* allocations before one fails */

struct left {
	long nr_blocks, nr_mapped;
};

static struct left look(void)
{
	return (struct left){ nr_blocks, nr_mapped };
}

static void do_nothing(void)
{
}

/* libc has room for some handlers of fork(); behind these, each one takes memory. */
static void fill_fork_handlers(void)
{
	for (int i = 0; i < 48; i++)
		check(!pthread_atfork(NULL, NULL, do_nothing));
}

static void *hold_locks(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED)) {
		struct rseq_list *list = rseq_list_create();

		if (!list)
			continue;
		rseq_list_drain(list);
		rseq_list_push(list, &nodes[0]);
		rseq_list_drain(list);
		rseq_list_destroy(list);
	}
	return NULL;
}

static struct left what_is_left(bool fails_first)
{
	until_failure = fails_first ? nr_allowed : NEVER;
	failed = false;
	errno = 0;
	if (!subject->try(mode))
		check(failed && errno == ENOMEM);
	until_failure = NEVER;
	check(subject->try(mode));
	check(subject->try(mode));
	return look();
}

/* In a process of its own: what the library makes once, it is asked for anew. */
static struct left *left;

static void measure(void)
{
	*left = what_is_left(false);
}

static void fail_once(void)
{
	struct left now = what_is_left(true);

	check(now.nr_blocks == left->nr_blocks);
	check(now.nr_mapped == left->nr_mapped);
	if (!failed)
		_exit(works_complaints() ? 1 : 2);
}

/* Returns whether there was an allocation with this number. */
static bool try_once(void)
{
	int status = 1;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		fail_once();
		_exit(works_complaints() != 0);
	}
	check(child > 0 && waitpid(child, &status, 0) == child);
	check(WIFEXITED(status) && WEXITSTATUS(status) != 1);
	if (status && status != 2 << 8)
		fprintf(stderr, "%s, mode %d, allocation %d fails%s\n", subject->name, mode,
			nr_allowed, fails_for_ever ? " and all after it" : "");
	return status != 2 << 8;
}

static void fail_each(void)
{
	works_in_child(measure);
	for (nr_allowed = 0; nr_allowed < MAX_ALLOCATIONS && !works_complaints(); nr_allowed++)
		if (!try_once())
			break;
	check(nr_allowed > 0 && nr_allowed < MAX_ALLOCATIONS);
	if (!fails_for_ever && mode == RSEQ_PERCPU_CPU_ID)
		printf("%s: %d allocations\n", subject->name, nr_allowed);
}

/*
 * Rows come from memory that structures share, and of which some are left over: what is lost of it
 * at each failure takes a new mapping in the end.
 */
static void fail_often(void)
{
	struct left before;

	check(subject->try(mode) && subject->try(mode));
	before = look();
	for (nr_allowed = 0; nr_allowed < MAX_CREATE; nr_allowed++) {
		for (int i = 0; i < NR_OFTEN; i++) {
			until_failure = nr_allowed;
			subject->try(mode);
			until_failure = NEVER;
			check(subject->try(mode));
		}
		check(nr_blocks == before.nr_blocks && nr_mapped == before.nr_mapped);
	}
}

static void test_often(void)
{
	static const struct subject often[] = {
		{ "ring", try_ring }, { "cache", try_empty_cache },
	};

	for (size_t i = 0; i < sizeof(often) / sizeof(often[0]); i++) {
		subject = &often[i];
		fails_for_ever = false;
		works_in_child(fail_often);
	}
}

/* Uses each of the locks that structures share. */
static void use_locks(void)
{
	alarm(WORKS_SECONDS);
	for (int i = 0; i < 64; i++) {
		struct rseq_list *own = rseq_list_create();

		if (!own)
			_exit(1);
		rseq_list_drain(own);
		rseq_list_push(own, &nodes[1]);
		if (rseq_list_drain(own) != &nodes[1])
			_exit(1);
	}
	_exit(0);
}

/*
 * There is no memory for the handlers of fork(), without which a child may wait for a lock that
 * nobody has there: then no structure can be made. Once it can, no child waits.
 */
static void test_fork_handlers(void)
{
	struct rseq_list *list = NULL;
	bool stop = false;
	pthread_t thread;

	fill_fork_handlers();
	for (int i = 0; !list && i < 2; i++) {
		until_failure = 0;
		list = rseq_list_create();
		check(!list && errno == ENOMEM);
		until_failure = i ? NEVER : 1;
		list = rseq_list_create();
		check(list || errno == ENOMEM);
	}
	until_failure = NEVER;
	list = rseq_list_create();
	if (!list) {
		check(errno == ENOMEM && pthread_atfork(NULL, NULL, do_nothing) == ENOMEM);
		printf("libc takes no handlers of fork() any more\n");
		return;
	}
	check(!pthread_create(&thread, NULL, hold_locks, &stop));
	for (int i = 0; i < 300 && !works_complaints(); i++) {
		pid_t child = fork();

		if (!child)
			use_locks();
		works_wait(child);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	check(!pthread_join(thread, NULL));
}

static int run(char **argv)
{
	(void)argv;
	left = (void *)syscall(SYS_mmap, NULL, sizeof(*left), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		for (int way = 0; way < 4; way++) {
			subject = &subjects[i];
			mode = way & 1 ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;
			fails_for_ever = way & 2;
			fail_each();
		}
	}
	test_often();
	works_in_child(test_fork_handlers);
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	if (SUPPORT_SANITIZED) {
		printf("skipped: a sanitizer has allocators of its own\n");
		return SUPPORT_SKIP;
	}
	return works_run_all_ways(argv, run);
}
