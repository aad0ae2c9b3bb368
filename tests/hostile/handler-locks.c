/* SPDX-License-Identifier: MIT */
/*
 * handler-locks.c: locks, reference counts, caches, a thread's registration, and what is made and
 * freed, interrupted.
 */
#define _GNU_SOURCE

#include "handler.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/fence.h>
#include <rseq/info.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/mempool.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

/* ---- locks: whoever has the CPU's lock, the other one has it not ---- */

static struct rseq_lock *lock;
static int holder;			/* 0, or who: 1 the thread, 2 the handler */
static int my_cpu, its_cpu;

static void create_lock(void)
{
	lock = rseq_lock_create();
	check(lock);
}

/* All run on one CPU. */
static void try_and_release(void)
{
	int cpu = rseq_lock_try_acquire(lock);

	if (cpu < 0) {
		check(errno == EBUSY);
		return;
	}
	check(!holder);
	check(!rseq_lock_release(lock, cpu));
}

/* The handler keeps it; then the thread has not got it, and finds it busy. */
static void try_and_keep(void)
{
	int cpu = rseq_lock_try_acquire(lock);

	if (cpu < 0)
		check(errno == EBUSY);
	else if (in_handler)
		its_cpu = cpu;
	else
		my_cpu = cpu;
}

static void acquire_and_release(void)
{
	int cpu = rseq_lock_acquire(lock);

	holder = 1;
	check(cpu >= 0);
	holder = 0;
	check(!rseq_lock_release(lock, cpu));
}

static void acquire_cpu(void)
{
	check(!rseq_lock_acquire_cpu(lock, (int)rseq_current_cpu()));
	holder = 1;
	check(rseq_lock_try_acquire(lock) == -1 && errno == EBUSY);
	holder = 0;
	check(!rseq_lock_release(lock, (int)rseq_current_cpu()));
}

static void lock_elsewhere(void)
{
	int cpu = rseq_lock_acquire(lock);

	check(cpu >= 0 && !rseq_lock_release(lock, cpu));
}

static void prepare_lock(char state, const struct deed *deed)
{
	(void)deed;
	my_cpu = its_cpu = -1;
	holder = 0;
	/* As often as it takes to be open again. */
	for (int i = 0; i < 10; i++)
		acquire_and_release();
	/* Atomic for a while. */
	if (state == MIXED)
		without_rseq(lock_elsewhere);
}

static void judge_lock(void)
{
	int cpu;

	check(my_cpu < 0 || its_cpu < 0);
	if (my_cpu >= 0 || its_cpu >= 0) {
		check(rseq_lock_try_acquire(lock) == -1 && errno == EBUSY);
		check(!rseq_lock_release(lock, my_cpu >= 0 ? my_cpu : its_cpu));
	}
	cpu = rseq_lock_try_acquire(lock);
	check(cpu == (int)rseq_current_cpu() && !rseq_lock_release(lock, cpu));
	check(rseq_lock_release(lock, cpu) == -1 && errno == EPERM);
}

static const struct deed lock_deeds[] = {
	{ "try and release", try_and_release, true, false, false },
	{ "try and keep", try_and_keep, true, false, true },
	{ "acquire", acquire_and_release, false, false, false },
	{ "acquire a CPU's", acquire_cpu, false, false, false },
};

const struct subject lock_subject = {
	"lock", "em", create_lock, prepare_lock, judge_lock, DEEDS(lock_deeds), false
};

/* ---- reference counts ---- */

static struct rseq_refcount *ref;
static int nr_released, nr_refs, nr_killed;

static void release(void *unused)
{
	(void)unused;
	nr_released++;
}

static void create_refcount(void)
{
	ref = rseq_refcount_create(release, NULL);
	check(ref);
}

static void count_refs(int nr)
{
	/* The thread's own deed counts in a register: the handler comes and goes in between. */
	__atomic_fetch_add(&nr_refs, nr, __ATOMIC_RELAXED);
}

static void get(void)
{
	rseq_refcount_get(ref);
	count_refs(1);
}

static void put(void)
{
	count_refs(-1);
	rseq_refcount_put(ref);
}

static void get_and_put(void)
{
	rseq_refcount_get(ref);
	rseq_refcount_put(ref);
}

static void tryget(void)
{
	if (rseq_refcount_tryget(ref))
		count_refs(1);
}

static void kill_refcount(void)
{
	if (rseq_refcount_kill(ref))
		check(errno == EALREADY);
	else
		nr_killed++;
}

/* There is one reference more than are put, so that it is not released meanwhile. */
static void prepare_refcount(char state, const struct deed *deed)
{
	(void)deed;
	rseq_refcount_destroy(ref);
	create_refcount();
	nr_released = nr_refs = nr_killed = 0;
	get();
	get();
	if (state == MIXED)
		without_rseq(get);
}

static void judge_refcount(void)
{
	check(!nr_released && nr_refs > 0);
	kill_refcount();
	check(nr_killed == 1 && !rseq_refcount_tryget(ref));
	while (nr_refs > 0) {
		check(!nr_released);
		put();
	}
	check(nr_released == 1);
}

static const struct deed refcount_deeds[] = {
	{ "get and put", get_and_put, true, false, false },
	{ "get", get, true, false, false },
	{ "put", put, false, false, false },
	{ "tryget", tryget, true, false, false },
	{ "kill", kill_refcount, true, false, false },
};

const struct subject refcount_subject = {
	"reference count", "em", create_refcount, prepare_refcount, judge_refcount,
	DEEDS(refcount_deeds), false
};

/* ---- caches, with an allocator that handlers may call ---- */

#define NR_OBJECTS	512

struct object {
	int with_cache, out;
};

static struct rseq_cache *cache;
static struct object objects[NR_OBJECTS];
static void *mine[8];			/* that the thread has, or gets */
static void *spare[8];			/* for the handler to free */
static size_t nr_mine, nr_spare;

static void *alloc_object(size_t size, size_t alignment, void *unused)
{
	(void)size;
	(void)alignment;
	(void)unused;
	for (int i = 0; i < NR_OBJECTS; i++)
		if (!__atomic_exchange_n(&objects[i].with_cache, 1, __ATOMIC_RELAXED))
			return &objects[i];
	return NULL;
}

static void free_object(void *object, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	check(!((struct object *)object)->out);
	check(__atomic_exchange_n(&((struct object *)object)->with_cache, 0, __ATOMIC_RELAXED));
}

static void create_cache(void)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 4, .depot = 4, .alloc = alloc_object,
		.free = free_object,
	};

	cache = rseq_cache_create("interrupted", sizeof(struct object), &attr);
	check(cache);
}

/* Each that comes out is one that nobody has. */
static void note(struct object *object)
{
	check(object && object->with_cache && !__atomic_exchange_n(&object->out, 1,
								   __ATOMIC_RELAXED));
}

static void cache_alloc(void)
{
	struct object *object = rseq_cache_alloc(cache);

	note(object);
	if (!in_handler) {
		mine[nr_mine++] = object;
	} else if (nr_spare < 8) {
		spare[nr_spare++] = object;
	} else {
		object->out = 0;
		rseq_cache_free(cache, object);
	}
}

static void cache_free(void)
{
	struct object *object;

	if (in_handler ? !nr_spare : !nr_mine)
		return;
	object = in_handler ? spare[--nr_spare] : mine[--nr_mine];
	object->out = 0;
	check(!rseq_cache_free(cache, object));
}

static void free_some(void **some, size_t *nr_some)
{
	const size_t nr = *nr_some;

	*nr_some = 0;
	for (size_t i = 0; i < nr; i++)
		((struct object *)some[i])->out = 0;
	check(!rseq_cache_free_batch(cache, some, nr));
}

static void cache_free_batch(void)
{
	if (in_handler)
		free_some(spare, &nr_spare);
	else
		free_some(mine, &nr_mine);
}

static void cache_trim(void)
{
	rseq_cache_trim(cache);
}

static void prepare_cache(char state, const struct deed *deed)
{
	(void)deed;
	nr_mine = nr_spare = 0;
	rseq_cache_trim(cache);
	for (int i = 0; i < 6; i++)
		cache_alloc();
	in_handler = true;
	for (int i = 0; i < 4; i++)
		cache_alloc();
	in_handler = false;
	for (int i = 0; i < 3 && state == SOME; i++)
		cache_free();
	/* The CPU and the depot. */
	if (state == FULL) {
		void *more[16];

		for (int i = 0; i < 16; i++)
			more[i] = rseq_cache_alloc(cache);
		check(!rseq_cache_free_batch(cache, more, 8));
		check(!rseq_cache_free_batch(cache, more + 8, 8));
	}
}

static void judge_cache(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	check(!rseq_cache_stat(cache, &stat) && stat.out == nr_mine + nr_spare);
	cache_free_batch();
	in_handler = true;
	cache_free_batch();
	in_handler = false;
	for (int i = 0; i < 10 && rseq_cache_trim(cache); i++)
		;
	check(!rseq_cache_stat(cache, &stat) && !stat.out && stat.created == stat.released);
	for (int i = 0; i < NR_OBJECTS; i++)
		check(!objects[i].with_cache && !objects[i].out);
}

static const struct deed cache_deeds[] = {
	{ "alloc", cache_alloc, true, false, false },
	{ "free", cache_free, true, false, false },
	{ "free_batch", cache_free_batch, true, false, true },
	{ "trim", cache_trim, false, false, true },
};

const struct subject cache_subject = {
	"cache", "esf", create_cache, prepare_cache, judge_cache, DEEDS(cache_deeds), false
};

/* ---- a thread's registration: what was there before is there afterwards ---- */

static bool was_registered, may_register;

static void create_nothing(void)
{
	may_register = !rseq_register_current_thread();
}

static void register_and_unregister(void)
{
	int result = rseq_register_current_thread();

	check(!result == may_register);
	check(result || !rseq_unregister_current_thread());
}

static void ask(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(!rseq_get_info(&info));
	check((info.reason == RSEQ_REASON_NONE) == rseq_thread_registered() || !in_handler);
	rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL);
}

static void fence(void)
{
	check(!rseq_fence_all());
	check(!rseq_fence_cpu((int)rseq_current_cpu()));
}

static bool is_registered_by_us(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(!rseq_get_info(&info));
	return info.owner == RSEQ_OWNER_LIBRSEQ;
}

/* Where this library owns it, it is not there in the state without. */
static void prepare_thread(char state, const struct deed *deed)
{
	(void)deed;
	if (state == EMPTY && is_registered_by_us())
		check(!rseq_unregister_current_thread());
	if (state == SOME && may_register && !rseq_thread_registered())
		check(!rseq_register_current_thread());
	was_registered = rseq_thread_registered();
}

static void judge_thread(void)
{
	check(rseq_thread_registered() == was_registered);
	check(!support_registered_length(rseq_get_abi()) == !was_registered);
	if (may_register && !was_registered) {
		check(rseq_unregister_current_thread() == -1 && errno == EINVAL);
		check(!rseq_register_current_thread());
	}
}

static const struct deed thread_deeds[] = {
	{ "register", register_and_unregister, true, false, false },
	{ "info", ask, true, false, false },
	{ "fence", fence, true, false, true },
};

const struct subject thread_subject = {
	"thread", "es", create_nothing, prepare_thread, judge_thread, DEEDS(thread_deeds), false
};

/* ---- what handlers may not do, while they do with other structures what they may ---- */

static struct rseq_counter *counter;
static struct rseq_list *list;
static struct rseq_stack *stack;
static struct rseq_mempool *pool;
static struct rseq_list_node node;
static int nr_used;

static void create_others(void)
{
	counter = rseq_counter_create();
	list = rseq_list_create();
	stack = rseq_stack_create(8);
	pool = rseq_mempool_create("interrupted", 64, NULL);
	check(counter && list && stack && pool);
}

static void use_others(void)
{
	void *item;

	rseq_counter_add(counter, 1);
	rseq_list_push(list, &node);
	check(rseq_list_drain(list) == &node);
	rseq_list_push(list, &node);
	check(rseq_list_pop(list) == &node);
	check(!rseq_stack_push(stack, &node));
	check(rseq_stack_steal(stack, (int)rseq_current_cpu(), &item, 1) == 1);
	nr_used++;
}

static void make_counter(void)
{
	struct rseq_counter *other = rseq_counter_create();

	check(other && !rseq_counter_sum(other));
	rseq_counter_destroy(other);
}

static void make_list(void)
{
	struct rseq_list *other = rseq_list_create();

	check(other && rseq_list_empty(other));
	rseq_list_destroy(other);
}

static void make_ring(void)
{
	struct rseq_ring *other = rseq_ring_create(4096, 0);

	check(other && !rseq_ring_destroy(other));
}

static void make_pool(void)
{
	struct rseq_mempool *other = rseq_mempool_create("other", 8, NULL);

	check(other && rseq_mempool_percpu_malloc(other) && !rseq_mempool_destroy(other));
}

static void use_item(void)
{
	long *first = rseq_mempool_percpu_malloc(pool), *second;

	second = rseq_mempool_percpu_malloc(pool);
	check(first && second && first != second);
	rseq_mempool_percpu_free(first);
	rseq_mempool_percpu_free(second);
}

static void use_zeroed_item(void)
{
	long *item = rseq_mempool_percpu_zmalloc(pool);

	check(item && !*item);
	*item = 1;
	rseq_mempool_percpu_free(item);
}

static void prepare_others(char state, const struct deed *deed)
{
	(void)state;
	(void)deed;
	nr_used = 0;
}

static void judge_others(void)
{
	static intptr_t expected;

	expected += nr_used;
	check(rseq_counter_sum(counter) == expected);
	check(rseq_list_empty(list) && !rseq_stack_count(stack, (int)rseq_current_cpu()));
}

static const struct deed make_deeds[] = {
	{ "others", use_others, true, true, false },
	{ "a counter", make_counter, false, false, false },
	{ "a list", make_list, false, false, false },
	{ "a ring", make_ring, false, false, false },
	{ "a pool", make_pool, false, false, false },
	{ "an item", use_item, false, false, false },
	{ "a zeroed item", use_zeroed_item, false, false, false },
};

const struct subject make_subject = {
	"make", "e", create_others, prepare_others, judge_others, DEEDS(make_deeds), true
};
