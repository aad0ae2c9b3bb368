/* SPDX-License-Identifier: MIT */
/*
 * Pools in a storm: threads with and without rseq allocate from the same pools while these grow,
 * hand items on to each other, free what others allocated, and make, use and destroy pools of
 * their own meanwhile. Every item is in one hand at a time, none is lost, and new ones contain
 * what they should.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/mempool.h>

#include <stdarg.h>
#include <time.h>

#define NR_THREADS	24
#define NR_ROWS		2
#define NR_HANDLES	64
#define NR_MAILBOXES	16
#define TURNS_PER_LIFE	4000
#define LIMIT		2		/* ranges of the pools that have a limit */
#define MAX_SECONDS	86400

/* What an item consists of on each CPU; its size leaves few items to a range, for growth. */
struct content {
	uintptr_t mark;
	char rest[1000];
};

#define ITEMS_PER_RANGE	((int)RSEQ_MEMPOOL_STRIDE / 1024)

struct kind {
	const char *name;
	bool zero, robust, global;
	uintptr_t poison;
	unsigned long max_nr_ranges;
	bool any_content_only;		/* so that frees stay with the CPUs */
	struct rseq_mempool *pool;
};

static struct kind kinds[] = {
	{ .name = "of each CPU", .any_content_only = true },
	{ .name = "of each CPU, zero", .any_content_only = true, .zero = true },
	{ .name = "init" },
	{ .name = "zero", .zero = true },
	{ .name = "limited", .max_nr_ranges = LIMIT, .zero = true },
	{ .name = "poisoned", .poison = 0x1234567812345678 },
	{ .name = "robust", .robust = true },
	{ .name = "robust, limited", .robust = true, .zero = true, .max_nr_ranges = LIMIT },
	{ .name = "global", .global = true },
};

#define NR_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

/* An item in somebody's hand, or in a mailbox. */
struct handle {
	struct kind *kind;
	struct content *item;		/* NULL: none */
	uintptr_t mark;
};

static struct handle *mailboxes[NR_MAILBOXES];
static struct storm *storm;
static unsigned long nr_lives, nr_allocated, nr_freed, nr_full, nr_pools;
static int errors;

__attribute__((format(printf, 2, 3)))
static void complain(const struct kind *kind, const char *format, ...)
{
	va_list arguments;

	if (__atomic_fetch_add(&errors, 1, __ATOMIC_RELAXED) > 20)
		return;
	va_start(arguments, format);
	printf("pool \"%s\": ", kind->name);
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
}

static struct rseq_mempool *create(const struct kind *kind)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;

	if (kind->global)
		rseq_mempool_attr_set_global(attr, 0);
	else
		rseq_mempool_attr_set_percpu(attr, 0, NR_ROWS);
	if (kind->zero)
		rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	if (kind->robust)
		rseq_mempool_attr_set_robust(attr);
	if (kind->poison)
		rseq_mempool_attr_set_poison(attr, kind->poison);
	rseq_mempool_attr_set_max_nr_ranges(attr, kind->max_nr_ranges);
	pool = rseq_mempool_create(kind->name, sizeof(struct content), attr);
	rseq_mempool_attr_destroy(attr);
	return pool;
}

static struct content *copy_of(const struct kind *kind, struct content *item, int cpu)
{
	return kind->global ? item : rseq_percpu_ptr(item, cpu);
}

static bool is_filled(const char *memory, size_t len, char value)
{
	return memory[0] == value && !memcmp(memory, memory + 1, len - 1);
}

/* Allocates with one of the three contents, checks it, and puts the mark on all copies. */
static bool allocate(struct handle *handle, struct kind *kind, uintptr_t mark)
{
	const int content = kind->any_content_only ? 0 : (int)(mark % 3);
	const char value = content == 1 ? 0 : (char)('a' + mark % 19);
	struct content init, *item;

	memset(&init, value, sizeof(init));
	item = content == 0 ? rseq_mempool_percpu_malloc(kind->pool) :
	       content == 1 ? rseq_mempool_percpu_zmalloc(kind->pool) :
	       rseq_mempool_percpu_malloc_init(kind->pool, &init, sizeof(init));
	if (!item) {
		if (errno != ENOMEM || !kind->max_nr_ranges)
			complain(kind, "not allocated: %s", strerror(errno));
		__atomic_fetch_add(&nr_full, 1, __ATOMIC_RELAXED);
		return false;
	}
	for (int cpu = 0; cpu < NR_ROWS; cpu++) {
		struct content *copy = copy_of(kind, item, cpu);

		if (content && !(kind->global && cpu) &&
		    !is_filled((char *)copy, sizeof(*copy), value))
			complain(kind, "an item has another content than it was given");
		RSEQ_WRITE_ONCE(copy->mark, mark);
	}
	*handle = (struct handle){ kind, item, mark };
	__atomic_fetch_add(&nr_allocated, 1, __ATOMIC_RELAXED);
	return true;
}

static void free_item(struct handle *handle)
{
	for (int cpu = 0; cpu < NR_ROWS; cpu++)
		if (RSEQ_READ_ONCE(copy_of(handle->kind, handle->item, cpu)->mark) != handle->mark)
			complain(handle->kind, "an item is in two hands");
	rseq_mempool_percpu_free(handle->item);
	handle->item = NULL;
	__atomic_fetch_add(&nr_freed, 1, __ATOMIC_RELAXED);
}

/* A pool of this thread alone, which grows and goes while others look up items of theirs. */
static void use_own_pool(struct kind *like)
{
	struct kind own = *like;
	struct handle handles[3 * ITEMS_PER_RANGE / 2];
	int nr = 0;

	own.pool = create(&own);
	if (!own.pool) {
		complain(&own, "not made: %s", strerror(errno));
		return;
	}
	for (; nr < 3 * ITEMS_PER_RANGE / 2; nr++)
		if (!allocate(&handles[nr], &own, (uintptr_t)nr + 1))
			break;
	for (int i = 0; i < nr; i++)
		free_item(&handles[i]);
	if (rseq_mempool_destroy(own.pool))
		complain(&own, "not destroyed: %s", strerror(errno));
	__atomic_fetch_add(&nr_pools, 1, __ATOMIC_RELAXED);
}

static void take_a_turn(struct handle **handles, uintptr_t number, unsigned int random)
{
	struct handle **handle = &handles[random % NR_HANDLES];

	if (random >> 8 & 1 && (*handle)->item)
		free_item(*handle);
	else if (!(*handle)->item)
		allocate(*handle, &kinds[(random >> 16) % NR_KINDS], number);
	/* What is in the mailbox, item or none, for what is in the hand. */
	if (!(random >> 9 & 3))
		*handle = __atomic_exchange_n(&mailboxes[(random >> 12) % NR_MAILBOXES], *handle,
					      __ATOMIC_ACQ_REL);
	if (!(random >> 8 & 255))
		use_own_pool(&kinds[(random >> 16) % NR_KINDS]);
}

/* Handles wander through the mailboxes, so that they belong to no thread. */
static struct handle all_handles[NR_THREADS * NR_HANDLES + NR_MAILBOXES];

static void *live(void *argument)
{
	const unsigned int index = *(unsigned int *)argument;
	struct handle *handles[NR_HANDLES];
	unsigned int random = index + 1;

	for (int i = 0; i < NR_HANDLES; i++)
		handles[i] = &all_handles[index * NR_HANDLES + (unsigned int)i];
	if (index % 3 == 2)
		support_go_without_rseq();
	storm_enter(storm, index);
	for (uintptr_t turn = 1; turn <= TURNS_PER_LIFE; turn++) {
		random = random * 1103515245 + 12345;
		take_a_turn(handles, turn * NR_THREADS + index, random >> 4);
	}
	storm_leave(storm, index);
	__atomic_fetch_add(&nr_lives, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* After all items came back a pool with a limit has all of them to give, and no more. */
static void check_nothing_is_lost(struct kind *kind)
{
	static struct handle handles[LIMIT * ITEMS_PER_RANGE + 1];
	int nr = 0;

	if (!kind->max_nr_ranges)
		return;
	while (nr <= LIMIT * ITEMS_PER_RANGE && allocate(&handles[nr], kind, (uintptr_t)nr + 1))
		nr++;
	if (nr != LIMIT * ITEMS_PER_RANGE)
		complain(kind, "%d items instead of %d", nr, LIMIT * ITEMS_PER_RANGE);
	for (int i = 0; i < nr; i++)
		free_item(&handles[i]);
}

/* New pools, so that they grow under the threads' hands. */
static void run_round(void)
{
	static unsigned int indices[NR_THREADS];
	pthread_t threads[NR_THREADS];
	unsigned int nr = 0;

	memset(all_handles, 0, sizeof(all_handles));
	for (size_t i = 0; i < NR_MAILBOXES; i++)
		mailboxes[i] = &all_handles[NR_THREADS * NR_HANDLES + i];
	for (size_t i = 0; i < NR_KINDS; i++)
		kinds[i].pool = create(&kinds[i]);
	for (; nr < NR_THREADS; nr++) {
		indices[nr] = nr;
		if (pthread_create(&threads[nr], NULL, live, &indices[nr]))
			break;
	}
	while (nr)
		pthread_join(threads[--nr], NULL);
	for (size_t i = 0; i < sizeof(all_handles) / sizeof(all_handles[0]); i++)
		if (all_handles[i].item)
			free_item(&all_handles[i]);
	for (size_t i = 0; i < NR_KINDS; i++) {
		check_nothing_is_lost(&kinds[i]);
		/* A robust pool also finds what is lost. */
		if (rseq_mempool_destroy(kinds[i].pool))
			complain(&kinds[i], "not destroyed: %s", strerror(errno));
	}
}

static long duration(void)
{
	const char *text = getenv("STRESS_SECONDS");
	long seconds = text ? atol(text) : 3;

	return seconds < 1 ? 1 : seconds > MAX_SECONDS ? MAX_SECONDS : seconds;
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static int run(void)
{
	const time_t end = now() + duration();
	int nr_rounds = 0;

	storm = storm_start(STORM_ALL, NR_THREADS, NULL);
	if (!storm)
		return 1;
	while (!errors && (!nr_rounds || now() < end)) {
		run_round();
		nr_rounds++;
	}
	storm_stop(storm);
	printf("%d rounds, %lu threads, %lu items, %lu times a pool was full, %lu pools made and "
	       "destroyed beside\n", nr_rounds, nr_lives, nr_allocated, nr_full, nr_pools);
	if (nr_allocated != nr_freed) {
		printf("%lu allocated, %lu freed\n", nr_allocated, nr_freed);
		return 1;
	}
	if (!nr_full || !nr_pools) {
		printf("not everything was tried\n");
		return 1;
	}
	return errors != 0;
}

int main(int argc, char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	(void)argc;
	/* qemu-user ignores madvise(), by which robust pools wait for copies of pages. */
	if (emulator && *emulator) {
		printf("skipped: an emulator's madvise() does nothing\n");
		return SUPPORT_SKIP;
	}
	return support_run_both_ways(argv, run);
}
