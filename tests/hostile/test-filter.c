/* SPDX-License-Identifier: MIT */
/*
 * System call filters that come late: before a thread's first use of the library, between the
 * registrations of threads, and when structures are in use. One that kills proves that no call is
 * made but those that the guide tells, and none at all where rseq works and nobody is in the way;
 * with one that refuses everything but rseq and what threads cannot do without, operations go on.
 */
#define _GNU_SOURCE

#include "works.h"

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

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#define MAX_CALLS	40
#define NR_TIMES	50		/* of each operation under a filter */
#define NR_ITEMS	64

/* Groups of system calls, as the guide lists them. */
enum calls {
	NONE		= 0,
	WHERE		= 1 << 0,	/* which CPU this is, without rseq */
	MASK		= 1 << 1,	/* signals, while a lock is held or a thread registered */
	REGISTER	= 1 << 2,
	WHO		= 1 << 3,	/* which thread this is */
	FENCE		= 1 << 4,
	MEMORY_AT_FIRST	= 1 << 5,	/* if it was never done before */
	FUTEX		= 1 << 6,
	THREADS		= 1 << 7,	/* what libc needs for them */
};

static const struct {
	enum calls group;
	int nr;
} groups[] = {
	{ WHERE, __NR_getcpu }, { WHERE, __NR_clock_gettime },
	{ MASK, __NR_rt_sigprocmask },
	{ REGISTER, __NR_rseq },
	{ WHO, __NR_gettid },
	{ FENCE, __NR_membarrier },
	{ MEMORY_AT_FIRST, __NR_mmap }, { MEMORY_AT_FIRST, __NR_munmap },
	{ MEMORY_AT_FIRST, __NR_madvise }, { MEMORY_AT_FIRST, __NR_brk },
	{ FUTEX, __NR_futex },
	{ THREADS, __NR_mmap }, { THREADS, __NR_mprotect }, { THREADS, __NR_munmap },
	{ THREADS, __NR_madvise }, { THREADS, __NR_brk }, { THREADS, __NR_clone },
#ifdef __NR_clone3
	{ THREADS, __NR_clone3 },
#endif
	{ THREADS, __NR_set_robust_list }, { THREADS, __NR_rt_sigprocmask },
	{ THREADS, __NR_futex },
};

/* How a process ends, and how it complains. */
static const int always[] = {
	__NR_exit, __NR_exit_group, __NR_write, __NR_rt_sigreturn,
};

#define ALLOW(nr)							\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)(nr), 0, 1),	\
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* From now on all other calls come to this action. */
static int filter_all_but(unsigned int calls, unsigned int action, unsigned int flags)
{
	struct sock_filter program[2 * MAX_CALLS + 2];
	unsigned short length = 0;
	struct sock_fprog filter = { .filter = program };

	program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		const struct sock_filter allow[] = { ALLOW(always[i]) };

		memcpy(program + length, allow, sizeof(allow));
		length = (unsigned short)(length + 2);
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		const struct sock_filter allow[] = { ALLOW(groups[i].nr) };

		if (!(groups[i].group & calls))
			continue;
		memcpy(program + length, allow, sizeof(allow));
		length = (unsigned short)(length + 2);
	}
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	filter.len = length;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) ? -1 : 0;
}

/* ---- operations, one by one, under a filter that kills ---- */

static struct rseq_counter *counter;
static struct rseq_list *list;
static struct rseq_stack *stack;
static struct rseq_ring *ring, *stamped;
static struct rseq_lock *lock;
static struct rseq_refcount *ref;
static struct rseq_cache *cache;
static struct rseq_mempool *pool;
static struct rseq_list_node nodes[NR_ITEMS];
static void *items[NR_ITEMS];
static uintptr_t objects[NR_ITEMS + 16];
static size_t nr_objects;
static int nr_released;

static void release(void *unused)
{
	(void)unused;
	nr_released++;
}

static void *alloc_object(size_t size, size_t alignment, void *unused)
{
	(void)size;
	(void)alignment;
	(void)unused;
	return &objects[nr_objects++ % (sizeof(objects) / sizeof(objects[0]))];
}

static void free_object(void *freed, size_t size, void *unused)
{
	(void)freed;
	(void)size;
	(void)unused;
}

static bool create(void)
{
	const struct rseq_cache_attr cache_attr = {
		.size = sizeof(cache_attr), .per_cpu = 8, .alloc = alloc_object,
		.free = free_object,
	};
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();

	counter = rseq_counter_create();
	list = rseq_list_create();
	stack = rseq_stack_create(NR_ITEMS);
	ring = rseq_ring_create(65536, 0);
	stamped = rseq_ring_create(65536, RSEQ_RING_TIMESTAMP | RSEQ_RING_OVERWRITE);
	lock = rseq_lock_create();
	ref = rseq_refcount_create(release, NULL);
	cache = rseq_cache_create("filtered", sizeof(uintptr_t), &cache_attr);
	if (attr)
		rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	pool = rseq_mempool_create("filtered", sizeof(uintptr_t), attr);
	rseq_mempool_attr_destroy(attr);
	return counter && list && stack && ring && stamped && lock && ref && cache && pool;
}

static void op_add(void) { rseq_counter_add(counter, 2); }
static void op_sum(void) { check(rseq_counter_sum(counter) % 2 == 0); }

static void op_push_pop(void)
{
	rseq_list_push(list, &nodes[0]);
	check(rseq_list_pop(list) == &nodes[0]);
}

static void op_pop_none(void) { check(!rseq_list_pop(list)); }
static void op_empty(void) { check(rseq_list_empty(list)); }

static void op_drain(void)
{
	rseq_list_push(list, &nodes[0]);
	check(rseq_list_drain(list) == &nodes[0]);
}

static void op_drain_cpu(void)
{
	rseq_list_push(list, &nodes[0]);
	check(rseq_list_drain_cpu(list, (int)rseq_current_cpu()) == &nodes[0]);
}

static void op_stack(void)
{
	check(!rseq_stack_push(stack, items));
	check(rseq_stack_pop(stack) == items);
}

static void op_batch(void)
{
	void *const some[] = { items, items + 1, items + 2 };
	void *popped[3];

	check(rseq_stack_push_batch(stack, some, 3) == 3);
	check(rseq_stack_pop_batch(stack, popped, 3) == 3);
}

static void op_stack_none(void) { check(!rseq_stack_pop(stack)); }

static void op_stack_full(void)
{
	for (int i = 0; i < NR_ITEMS; i++)
		check(!rseq_stack_push(stack, items));
	check(rseq_stack_push(stack, items) == -1);
	for (int i = 0; i < NR_ITEMS; i++)
		check(rseq_stack_pop(stack));
}

static void op_count(void) { check(!rseq_stack_count(stack, 0)); }

static void op_steal(void)
{
	void *stolen;

	check(!rseq_stack_push(stack, items));
	check(rseq_stack_steal(stack, (int)rseq_current_cpu(), &stolen, 1) == 1);
}

static void count_item(void *one, void *number)
{
	(void)one;
	++*(int *)number;
}

static void op_stack_drain(void)
{
	int number = 0;

	check(!rseq_stack_push(stack, items));
	check(rseq_stack_drain(stack, count_item, &number) == 1 && number == 1);
}

static void op_set_capacity(void) { check(!rseq_stack_set_capacity(stack, 0, NR_ITEMS)); }
static void op_write(void) { check(!rseq_ring_write(ring, items, 24)); }
static void op_stamped(void) { check(!rseq_ring_write(stamped, items, 24)); }

static void op_read(void)
{
	char record[24];

	check(!rseq_ring_write(ring, items, sizeof(record)));
	check(rseq_ring_read(ring, (int)rseq_current_cpu(), record, sizeof(record)) > 0);
}

static void op_ring_stat(void)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };

	check(!rseq_ring_stat(ring, 0, &stat));
}

static void op_lock(void) { check(!rseq_lock_release(lock, rseq_lock_acquire(lock))); }
static void op_try_lock(void) { check(!rseq_lock_release(lock, rseq_lock_try_acquire(lock))); }

static void op_lock_held(void)
{
	int cpu = rseq_lock_acquire(lock);

	check(rseq_lock_try_acquire(lock) == -1 && errno == EBUSY);
	check(!rseq_lock_release(lock, cpu));
}

static void op_lock_cpu(void)
{
	check(!rseq_lock_acquire_cpu(lock, 0));
	check(!rseq_lock_release(lock, 0));
}

static void op_get_put(void)
{
	rseq_refcount_get(ref);
	check(rseq_refcount_tryget(ref));
	rseq_refcount_put(ref);
	rseq_refcount_put(ref);
}

static void op_kill(void)
{
	check(!rseq_refcount_kill(ref) || errno == EALREADY);
	check(nr_released == 1);
}

static void op_object(void)
{
	void *one = rseq_cache_alloc(cache);

	check(one && !rseq_cache_free(cache, one));
}

/* Until the CPU has none, and the depot, and then until there is no room any more. */
static void op_many_objects(void)
{
	void *some[NR_ITEMS];

	for (int i = 0; i < NR_ITEMS; i++)
		some[i] = rseq_cache_alloc(cache);
	for (int i = 0; i < NR_ITEMS; i += 2)
		check(!rseq_cache_free(cache, some[i]));
	for (int i = 1; i < NR_ITEMS; i += 2)
		check(!rseq_cache_free_batch(cache, &some[i], 1));
}

static void op_trim(void) { check(rseq_cache_trim(cache) <= NR_ITEMS); }

static void op_cache_stat(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };

	check(!rseq_cache_stat(cache, &stat));
}

static void op_item(void)
{
	void *one = rseq_mempool_percpu_malloc(pool);

	check(one);
	rseq_mempool_percpu_free(one);
}

static void op_numbers(void)
{
	check(rseq_current_cpu() < (unsigned int)rseq_get_max_nr_cpus());
	check(rseq_cpu_start() < (unsigned int)rseq_get_max_nr_cpus());
	check(rseq_mm_cid_available() || rseq_current_mm_cid() == (uint32_t)-1);
	check(rseq_get_abi() == rseq_get_abi_slow());
	rseq_current_node_id();
	rseq_prepare_unload();
}

/* A second registration in a registered thread: one more, or nothing at all. */
static void op_register(void)
{
	int error = rseq_register_current_thread() ? errno : 0;

	check(error == 0 || error == EOPNOTSUPP);
	check(error || !rseq_unregister_current_thread());
}

static void op_info(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(!rseq_get_info(&info));
}

static void op_available(void)
{
	check(rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL) || !rseq_thread_registered());
}

static void op_fence(void)
{
	check(!rseq_fence_all());
	check(!rseq_fence_cpu(0));
}

/*
 * calls: in a registered thread when it is done again. fallback: in one without rseq. A thread's
 * first use of the library may take those of a registration as well.
 */
static const struct operation {
	const char *name;
	void (*run)(void);
	unsigned int calls, fallback;
} operations[] = {
	{ "counter add", op_add, NONE, WHERE },
	{ "counter sum", op_sum, NONE, NONE },
	{ "list push and pop", op_push_pop, NONE, WHERE | MASK },
	{ "list pop of none", op_pop_none, NONE, WHERE | MASK },
	{ "list empty", op_empty, NONE, NONE },
	{ "list drain", op_drain, MASK | FENCE, WHERE | MASK },
	{ "list drain of a CPU", op_drain_cpu, MASK | FENCE, WHERE | MASK },
	{ "stack push and pop", op_stack, NONE, WHERE | MASK },
	{ "stack batches", op_batch, NONE, WHERE | MASK },
	{ "stack pop of none", op_stack_none, NONE, WHERE | MASK },
	{ "stack push to a full one", op_stack_full, NONE, WHERE | MASK },
	{ "stack count", op_count, NONE, NONE },
	{ "stack steal", op_steal, MASK | FENCE, WHERE | MASK },
	{ "stack drain", op_stack_drain, MASK | FENCE, WHERE | MASK },
	{ "stack capacity", op_set_capacity, MASK, MASK },
	{ "ring write", op_write, NONE, WHERE | MASK },
	{ "ring write with time", op_stamped, WHERE, WHERE | MASK },
	{ "ring read", op_read, NONE, WHERE | MASK },
	{ "ring stat", op_ring_stat, NONE, NONE },
	{ "lock", op_lock, NONE, WHERE },
	{ "try lock", op_try_lock, NONE, WHERE },
	{ "try lock of a held one", op_lock_held, NONE, WHERE },
	{ "lock of a CPU", op_lock_cpu, FENCE, NONE },
	{ "get and put", op_get_put, NONE, NONE },
	{ "kill", op_kill, FENCE, NONE },
	{ "cache alloc and free", op_object, NONE, WHERE | MASK },
	{ "cache, many objects", op_many_objects, NONE, WHERE | MASK },
	{ "cache trim", op_trim, MASK | FENCE, WHERE | MASK },
	{ "cache stat", op_cache_stat, NONE, NONE },
	{ "pool malloc and free", op_item, MEMORY_AT_FIRST, NONE },
	{ "numbers", op_numbers, NONE, WHERE },
	{ "register", op_register, WHO | MASK | REGISTER, NONE },
	{ "info", op_info, WHO | REGISTER, NONE },
	{ "available", op_available, NONE, NONE },
	{ "fence", op_fence, FENCE, NONE },
};

#define NR_OPERATIONS	(sizeof(operations) / sizeof(operations[0]))

static const struct operation *operation;
static bool at_first;			/* the thread has not used the library yet */

static void use_under_filter(void)
{
	struct support_cpus cpus;
	unsigned int calls;

	support_find_cpus(&cpus);
	check(!support_move(0, cpus.cpu[0]));
	if (!at_first) {
		op_add();
		operation->run();
		operation->run();
	}
	rseq_get_max_nr_cpus();
	calls = rseq_thread_registered() ? operation->calls : operation->fallback;
	if (at_first)
		calls = operation->calls | operation->fallback | WHO | MASK | REGISTER;
	else
		calls &= ~(unsigned int)MEMORY_AT_FIRST;
	check(!filter_all_but(calls, SECCOMP_RET_KILL_PROCESS, 0));
	for (int i = 0; i < NR_TIMES; i++)
		operation->run();
}

static void test_calls(void)
{
	for (int first = 0; first < 2; first++) {
		at_first = first;
		for (size_t i = 0; i < NR_OPERATIONS; i++) {
			int before = works_complaints();

			operation = &operations[i];
			works_in_child(use_under_filter);
			if (works_complaints() != before)
				fprintf(stderr, "under a filter%s: %s\n",
					first ? ", at first" : "", operation->name);
		}
	}
}

/* ---- all structures at work, under filters that refuse ---- */

#define NR_THREADS	4
#define NR_ROUNDS	300

static struct works *works;
static unsigned int action;
static pthread_barrier_t barrier;

enum moment { FIRST, REGISTERED, IN_USE, NR_MOMENTS };

static void begin_works(void)
{
	works = works_create(RSEQ_PERCPU_CPU_ID);
	check(works);
	if (!works)
		_exit(1);
	/* So that no thread needs memory of the kernel's. */
	works_use(works, 20);
}

/* A thread that filters itself goes on, and so do the others. */
static void *filter_itself(void *argument)
{
	enum moment moment = *(enum moment *)argument;

	if (moment == REGISTERED)
		rseq_register_current_thread();
	if (moment == IN_USE)
		works_use(works, NR_ROUNDS);
	check(!filter_all_but(REGISTER | FUTEX, action, 0));
	works_use(works, NR_ROUNDS);
	check(!rseq_fence_all() || errno == ENOSYS);
	works_use(works, NR_ROUNDS);
	rseq_unregister_current_thread();
	works_use(works, NR_ROUNDS);
	return NULL;
}

static void test_each_filters_itself(void)
{
	static const enum moment moments[NR_MOMENTS] = { FIRST, REGISTERED, IN_USE };
	pthread_t threads[NR_MOMENTS];

	begin_works();
	works_without_fence = true;
	for (int i = 0; i < NR_MOMENTS; i++)
		check(!pthread_create(&threads[i], NULL, filter_itself, (void *)&moments[i]));
	works_use(works, NR_ROUNDS);
	for (int i = 0; i < NR_MOMENTS; i++)
		check(!pthread_join(threads[i], NULL));
	works_settle(works, 0);
	works_destroy(works, 0);
}

static void *work_over_filter(void *unused)
{
	(void)unused;
	works_use(works, NR_ROUNDS);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	works_use(works, NR_ROUNDS);
	return NULL;
}

static void *work_after_filter(void *unused)
{
	bool registered;

	(void)unused;
	rseq_register_current_thread();
	registered = rseq_thread_registered();
	works_use(works, NR_ROUNDS);
	check(rseq_thread_registered() == registered);
	return NULL;
}

/* One for all threads, among them; later threads are registered, as rseq is let pass. */
static void test_filter_for_all(void)
{
	pthread_t threads[NR_THREADS];
	bool registered;

	begin_works();
	check(!pthread_barrier_init(&barrier, NULL, NR_THREADS + 1));
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work_over_filter, NULL));
	pthread_barrier_wait(&barrier);
	registered = rseq_thread_registered();
	check(!filter_all_but(REGISTER | THREADS | WHO | FENCE | WHERE, action,
			      SECCOMP_FILTER_FLAG_TSYNC));
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < NR_THREADS; i++) {
		works_in_thread(work_after_filter, NULL);
		check(!pthread_join(threads[i], NULL));
	}
	works_use(works, NR_ROUNDS);
	check(rseq_thread_registered() == registered);
	works_settle(works, 0);
	works_destroy(works, 0);
}

static void test_refusals(void)
{
	static const unsigned int actions[] = {
		SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_KILL_PROCESS,
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		action = actions[i];
		if (action != SECCOMP_RET_KILL_PROCESS)
			works_in_child(test_each_filters_itself);
		works_in_child(test_filter_for_all);
	}
}

static void ask(void)
{
	check(!filter_all_but(NONE, SECCOMP_RET_ERRNO | EPERM, 0));
}

static int run(char **argv)
{
	(void)argv;
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0,
		    &(unsigned int){ SECCOMP_RET_KILL_PROCESS })) {
		printf("skipped: no seccomp filters here: %s\n", strerror(errno));
		return SUPPORT_SKIP;
	}
	works_in_child(ask);
	if (works_complaints())
		return 1;
	check(create());
	test_calls();
	test_refusals();
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	return works_run_all_ways(argv, run, 60);
}
