/* SPDX-License-Identifier: MIT */
/*
 * works.c: see works.h. Tokens go through the list and the stack; each says where it is, so that
 * one which is found twice, or not at all, is noticed.
 */
#define _GNU_SOURCE

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
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

/* For what may be suspended in one thread and resumed in another: see the guide. */
#define not_inlined	__attribute__((noinline))

#define NR_TOKENS	128
#define CAPACITY	16
#define MAX_RECORDS	(1U << 20)
#define NR_OBJECTS	1024
#define OBJECT_WORDS	4
#define LOOK_NS		200000L		/* between two looks whether a child has ended */
#define MAX_LOOKS	100000
#define STEP		3		/* what is added to the counter at a time */

struct object {
	uintptr_t words[OBJECT_WORDS];
	int used;			/* atomic */
};

enum where { FREE, HELD, IN_LIST, IN_STACK };

struct token {
	struct rseq_list_node node;
	int where;			/* enum where; atomic */
};

/* How often something was begun and done; atomic. Only fork() makes a difference that stays. */
struct tally {
	uintptr_t begun, done;
};

struct works {
	struct rseq_counter *counter;
	struct rseq_list *list;
	struct rseq_stack *stack;
	struct rseq_ring *ring;
	struct rseq_lock *lock;
	struct rseq_refcount *ref;
	struct rseq_cache *cache;
	struct rseq_mempool *pool;
	struct token tokens[NR_TOKENS];
	struct object objects_of_cache[NR_OBJECTS];
	struct tally adds, writes, locks, gets, objects, items;
	uintptr_t refused, unlocked;	/* writes, and locks that were not had; atomic */
	uintptr_t nr_read;		/* records */
	uintptr_t *locked;		/* for each CPU, written under its lock */
	unsigned char *seen;		/* records by their number */
	int released;			/* by the reference count */
};

void (*works_pause)(void);
bool works_without_fence;

static int complaints;

void works_complain(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	__atomic_fetch_add(&complaints, 1, __ATOMIC_RELAXED);
}

int works_complaints(void)
{
	return __atomic_load_n(&complaints, __ATOMIC_RELAXED);
}

static void pause_here(void)
{
	if (works_pause)
		works_pause();
}

static uintptr_t add(uintptr_t *word)
{
	return __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static void release(void *works)
{
	((struct works *)works)->released++;
}

/* The cache's allocator, which asks nobody else: good for signal handlers, and under filters. */
static void *alloc_object(size_t size, size_t alignment, void *argument)
{
	struct works *works = argument;

	(void)size;
	(void)alignment;
	for (int i = 0; i < NR_OBJECTS; i++)
		if (!__atomic_exchange_n(&works->objects_of_cache[i].used, 1, __ATOMIC_ACQUIRE))
			return &works->objects_of_cache[i];
	return NULL;
}

static void free_object(void *freed, size_t size, void *works)
{
	struct object *object = freed;

	(void)size;
	(void)works;
	check(__atomic_exchange_n(&object->used, 0, __ATOMIC_RELEASE) == 1);
}

static void free_all(struct works *works)
{
	rseq_counter_destroy(works->counter);
	rseq_list_destroy(works->list);
	rseq_stack_destroy(works->stack);
	check(!rseq_ring_destroy(works->ring));
	rseq_lock_destroy(works->lock);
	rseq_refcount_destroy(works->ref);
	check(!rseq_cache_destroy(works->cache));
	check(!rseq_mempool_destroy(works->pool));
	free(works->locked);
	free(works->seen);
	free(works);
}

/* One that children of fork() may use, with memory for all that is ever out. */
static struct rseq_mempool *create_pool(void)
{
	struct rseq_mempool_attr *attr = rseq_mempool_attr_create();
	struct rseq_mempool *pool;
	void *item;

	if (!attr)
		return NULL;
	rseq_mempool_attr_set_populate_policy(attr, RSEQ_MEMPOOL_POPULATE_COW_ZERO);
	pool = rseq_mempool_create("works", sizeof(uintptr_t), attr);
	rseq_mempool_attr_destroy(attr);
	item = pool ? rseq_mempool_percpu_malloc(pool) : NULL;
	if (item) {
		rseq_mempool_percpu_free(item);
		return pool;
	}
	rseq_mempool_destroy(pool);
	errno = ENOMEM;
	return NULL;
}

struct works *works_create(enum rseq_percpu_mode mode)
{
	struct works *works = calloc(1, sizeof(*works));
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 4, .depot = 8, .mode = mode,
		.alloc = alloc_object, .free = free_object, .priv = works,
	};
	int error;

	if (!works)
		return NULL;
	works->locked = calloc((size_t)rseq_get_max_nr_cpus(), sizeof(*works->locked));
	works->seen = calloc(MAX_RECORDS, 1);
	if (works->locked && works->seen &&
	    (works->counter = rseq_counter_create()) &&
	    (works->list = rseq_list_create_mode(mode)) &&
	    (works->stack = rseq_stack_create_mode(CAPACITY, mode)) &&
	    (works->ring = rseq_ring_create_mode(65536, 0, mode)) &&
	    (works->lock = rseq_lock_create_mode(mode)) &&
	    (works->ref = rseq_refcount_create(release, works)) &&
	    (works->cache = rseq_cache_create("works", OBJECT_WORDS * sizeof(uintptr_t), &attr)) &&
	    (works->pool = create_pool()))
		return works;
	error = errno;
	free_all(works);
	errno = error;
	return NULL;
}

static bool move_token(struct token *token, int from, int to)
{
	return __atomic_compare_exchange_n(&token->where, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

static struct token *take_token(struct works *works)
{
	for (int i = 0; i < NR_TOKENS; i++)
		if (move_token(&works->tokens[i], FREE, HELD))
			return &works->tokens[i];
	return NULL;
}

static void free_token(struct token *token)
{
	if (token)
		check(move_token(token, HELD, FREE));
}

not_inlined static void push_to_list(struct works *works, struct token *token)
{
	check(move_token(token, HELD, IN_LIST));
	rseq_list_push(works->list, &token->node);
}

not_inlined static struct token *pop_from_list(struct works *works)
{
	struct token *token = (struct token *)rseq_list_pop(works->list);

	if (token)
		check(move_token(token, IN_LIST, HELD));
	return token;
}

/* Returns a token that comes back, if any does. */
static struct token *through_list(struct works *works, struct token *token)
{
	if (token)
		push_to_list(works, token);
	pause_here();
	return pop_from_list(works);
}

not_inlined static void push_to_stack(struct works *works, struct token *token)
{
	check(move_token(token, HELD, IN_STACK));
	if (rseq_stack_push(works->stack, token)) {
		check(errno == ENOSPC);
		check(move_token(token, IN_STACK, HELD));
		free_token(token);
	}
}

not_inlined static struct token *pop_from_stack(struct works *works)
{
	struct token *token = rseq_stack_pop(works->stack);

	if (token)
		check(move_token(token, IN_STACK, HELD));
	return token;
}

static struct token *through_stack(struct works *works, struct token *token)
{
	if (token)
		push_to_stack(works, token);
	pause_here();
	return pop_from_stack(works);
}

not_inlined static void write_record(struct works *works)
{
	uintptr_t record = add(&works->writes.begun);

	if (rseq_ring_write(works->ring, &record, sizeof(record))) {
		check(errno == ENOSPC);
		add(&works->refused);
	}
	add(&works->writes.done);
}

not_inlined static int take_lock(struct works *works, bool may_wait)
{
	return may_wait ? rseq_lock_acquire(works->lock) : rseq_lock_try_acquire(works->lock);
}

not_inlined static int release_lock(struct works *works, int cpu)
{
	return rseq_lock_release(works->lock, cpu);
}

/* There may be nobody any more who would release it. */
static void lock_and_count(struct works *works, bool may_wait)
{
	int cpu = take_lock(works, may_wait);

	if (cpu < 0) {
		check((!may_wait && errno == EBUSY) || (works_without_fence && errno == ENOSYS));
		add(&works->unlocked);
		return;
	}
	add(&works->locks.begun);
	works->locked[cpu]++;
	add(&works->locks.done);
	pause_here();
	check(!release_lock(works, cpu));
}

not_inlined static void *take_object(struct works *works)
{
	return rseq_cache_alloc(works->cache);
}

not_inlined static int give_object(struct works *works, void *object)
{
	return rseq_cache_free(works->cache, object);
}

/* An object that two have at a time does not keep what was written to it. */
static void use_object(struct works *works)
{
	uintptr_t *object, mark = add(&works->objects.begun);

	object = take_object(works);
	check(object);
	for (int i = 0; object && i < OBJECT_WORDS; i++)
		RSEQ_WRITE_ONCE(object[i], mark);
	pause_here();
	for (int i = 0; object && i < OBJECT_WORDS; i++)
		check(RSEQ_READ_ONCE(object[i]) == mark);
	check(!give_object(works, object));
	add(&works->objects.done);
}

static void use_item(struct works *works)
{
	uintptr_t *item, mark = add(&works->items.begun);

	item = rseq_mempool_percpu_malloc(works->pool);
	check(item);
	if (item)
		RSEQ_WRITE_ONCE(*item, mark);
	pause_here();
	if (item)
		check(RSEQ_READ_ONCE(*item) == mark);
	rseq_mempool_percpu_free(item);
	add(&works->items.done);
}

not_inlined static void count_and_get(struct works *works)
{
	rseq_counter_add(works->counter, STEP);
	rseq_refcount_get(works->ref);
}

not_inlined static void put(struct works *works)
{
	rseq_refcount_put(works->ref);
}

static void count_and_refer(struct works *works)
{
	add(&works->adds.begun);
	count_and_get(works);
	add(&works->adds.done);
	add(&works->gets.begun);
	pause_here();
	put(works);
	add(&works->gets.done);
}

void works_round_in_handler(struct works *works)
{
	count_and_refer(works);
	free_token(through_stack(works, through_list(works, take_token(works))));
	write_record(works);
	lock_and_count(works, false);
	use_object(works);
}

void works_round(struct works *works)
{
	count_and_refer(works);
	free_token(through_stack(works, through_list(works, take_token(works))));
	write_record(works);
	lock_and_count(works, true);
	use_object(works);
	use_item(works);
}

void works_use(struct works *works, int rounds)
{
	for (int i = 0; i < rounds; i++)
		works_round(works);
}

/* Whether so much was done, as far as one can tell. */
static bool is_right(const struct tally *tally, uintptr_t number, int vanished)
{
	if (tally->begun - tally->done > (uintptr_t)vanished) {
		fprintf(stderr, "%ju begun, %ju done\n", (uintmax_t)tally->begun,
			(uintmax_t)tally->done);
		return false;
	}
	if (number >= tally->done && number <= tally->begun)
		return true;
	fprintf(stderr, "%ju, should be from %ju to %ju\n", (uintmax_t)number,
		(uintmax_t)tally->done, (uintmax_t)tally->begun);
	return false;
}

static void take_back(void *item, void *argument)
{
	struct token *token = item;

	check(move_token(token, *(int *)argument, FREE));
}

static void settle_tokens(struct works *works, int vanished)
{
	struct rseq_list_node *node = rseq_list_drain(works->list), *next;
	int where = IN_LIST, nr_missing = 0;

	for (int nr = 0; node && nr < NR_TOKENS; node = next, nr++) {
		next = node->next;
		take_back(node, &where);
	}
	check(!node);
	where = IN_STACK;
	errno = 0;
	rseq_stack_drain(works->stack, take_back, &where);
	check(!errno);
	for (int i = 0; i < NR_TOKENS; i++) {
		nr_missing += works->tokens[i].where != FREE;
		works->tokens[i].where = FREE;
	}
	/* Each who vanished had one, or was about to put it in, or to take it out. */
	check(nr_missing <= vanished);
	check(rseq_list_empty(works->list));
}

static void settle_ring(struct works *works, int vanished)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };
	uintptr_t record, nr_refused = 0;
	ssize_t len;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		while ((len = rseq_ring_read(works->ring, cpu, &record, sizeof(record))) > 0) {
			check(len == sizeof(record) && record < works->writes.begun);
			works->nr_read++;
			if (record < MAX_RECORDS)
				check(!works->seen[record]++);
		}
		check(!len);
		check(!rseq_ring_stat(works->ring, cpu, &stat));
		nr_refused += stat.refused;
	}
	check(is_right(&works->writes, works->nr_read + nr_refused, vanished));
	check(nr_refused >= works->refused && nr_refused - works->refused <= (uintptr_t)vanished);
}

void works_settle(struct works *works, int vanished)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	uintptr_t nr_locked = 0;

	check(is_right(&works->adds, (uintptr_t)rseq_counter_sum(works->counter) / STEP, vanished));
	check(rseq_counter_sum(works->counter) % STEP == 0);
	settle_tokens(works, vanished);
	settle_ring(works, vanished);
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		nr_locked += works->locked[cpu];
	check(is_right(&works->locks, nr_locked, vanished));
	check(!rseq_cache_stat(works->cache, &stat));
	check(stat.out <= (size_t)vanished * 8);
	check(is_right(&works->objects, works->objects.done, vanished));
	check(is_right(&works->items, works->items.done, vanished));
	check(is_right(&works->gets, works->gets.done, vanished));
	check(!works->released);
}

void works_destroy(struct works *works, int vanished)
{
	check(!rseq_refcount_kill(works->ref));
	/* A reference that vanished with its thread is never given back. */
	check(works->released == 1 || (vanished && !works->released));
	if (!vanished) {
		for (int i = 0; rseq_cache_trim(works->cache) && i < NR_OBJECTS; i++)
			;
		for (int i = 0; i < NR_OBJECTS; i++)
			check(!works->objects_of_cache[i].used);
		free_all(works);
		return;
	}
	rseq_cache_trim(works->cache);
	if (rseq_cache_destroy(works->cache))
		check(errno == EBUSY);
}

/* A child that waits for a lock has its signals blocked, and is ended by none that it may block. */
void works_wait(pid_t child)
{
	const struct timespec look = { 0, LOOK_NS };
	int status = 0;
	pid_t pid = 0;

	for (long i = 0; child > 0 && !pid && i < MAX_LOOKS; i++) {
		pid = waitpid(child, &status, WNOHANG);
		if (!pid)
			nanosleep(&look, NULL);
	}
	if (child > 0 && !pid) {
		fprintf(stderr, "child: it does not end\n");
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	check(child > 0 && pid == child);
	if (WIFSIGNALED(status))
		fprintf(stderr, "child: %s\n", strsignal(WTERMSIG(status)));
	check(WIFEXITED(status) && !WEXITSTATUS(status));
}

void works_in_child(void (*function)(void))
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		__atomic_store_n(&complaints, 0, __ATOMIC_RELAXED);
		function();
		fflush(stdout);
		_exit(works_complaints() != 0);
	}
	works_wait(child);
}

void works_in_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	check(!pthread_create(&thread, NULL, function, argument));
	check(!pthread_join(thread, NULL));
}

static int run_program(char **argv, const char *name, const char *value)
{
	int status = -1;
	pid_t child;

	printf("%s=%s\n", name, value);
	fflush(stdout);
	child = fork();
	if (!child) {
		setenv(name, value, 1);
		setenv("WORKS_WAY", value, 1);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	printf("ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	return 1;
}

int works_run_all_ways(char **argv, int (*run)(char **argv))
{
	static const char *const ways[][2] = {
		{ "GLIBC_TUNABLES", "glibc.pthread.rseq=1" },
		{ "GLIBC_TUNABLES", "glibc.pthread.rseq=0" },
		{ "LIBRSEQ_DISABLE", "1" },
	};
	const char *emulator = getenv("RSEQ_EMULATOR");
	int failed = 0, skipped = 0, status;

	if (getenv("WORKS_WAY") || (emulator && *emulator)) {
		alarm(WORKS_SECONDS);
		status = run(argv);
		return works_complaints() ? 1 : status;
	}
	unsetenv("LIBRSEQ_DISABLE");
	/* Kernels with a known bug are what other tests are for; here rseq is to be used. */
	setenv("LIBRSEQ_KERNEL_TRUSTED", "1", 1);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		status = run_program(argv, ways[i][0], ways[i][1]);
		skipped |= status == SUPPORT_SKIP;
		failed |= status && status != SUPPORT_SKIP;
	}
	return failed ? 1 : skipped ? SUPPORT_SKIP : 0;
}
