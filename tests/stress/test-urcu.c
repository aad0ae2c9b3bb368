/* SPDX-License-Identifier: MIT */
/*
 * Deferred frees in a long storm: 64 threads on the CPUs at hand, a quarter of which have no rseq,
 * replace objects that they all read, and free what they removed after a grace period: one by one,
 * or in chains that a list gathers. Others trim the cache and wait for all that was freed. No
 * reader may see an object that is in use again, and each object is made, had, returned and
 * unmade once. One source for each flavour of liburcu.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"
#include "urcu-flavor.h"

#include <time.h>

#define NR_THREADS	64
#define NR_PLACES	65536
#define NR_SLOTS	32
#define TURNS_PER_ROUND	64
#define NR_CHECKED	100

enum state {
	IDLE,			/* never had, or given back */
	HAD,
	REMOVED,		/* from the slots: readers may still have it */
};

/* Where the allocator's objects are; all words are atomic. */
struct place {
	struct rseq_list_node node;
	unsigned int taken;
	unsigned int constructed;
	unsigned int state;
	unsigned long value, same;	/* of this use of the object */
};

/* What is under test; the second one is the checker's, which alone frees to it. */
static struct {
	struct rseq_cache *cache;
	struct rseq_cache_rcu *rcu;
} main_one, checked;

static struct place places[NR_PLACES];
static struct place *slots[NR_SLOTS];	/* atomic */
static struct rseq_list *list;
static struct storm *storm;
static bool stop;			/* atomic */
/* Atomic, too. */
static unsigned int next_place;
static unsigned long next_value, nr_wrong, nr_reads, nr_freed, nr_chained, nr_unchained;
static unsigned long nr_constructed, nr_destructed, nr_barriers, nr_trimmed;

static void count(unsigned long *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void expect(bool right)
{
	if (!right)
		count(&nr_wrong);
}

/* Async-signal-safe, as the cache then is. */
static void *take_place(size_t size, size_t alignment, void *priv)
{
	(void)size;
	(void)alignment;
	(void)priv;
	for (unsigned int i = 0; i < NR_PLACES; i++) {
		unsigned int at = __atomic_fetch_add(&next_place, 1, __ATOMIC_RELAXED) % NR_PLACES;

		if (!__atomic_exchange_n(&places[at].taken, 1, __ATOMIC_ACQUIRE))
			return &places[at];
	}
	return NULL;
}

static void give_place(void *object, size_t size, void *priv)
{
	struct place *place = object;

	(void)size;
	(void)priv;
	expect(__atomic_exchange_n(&place->taken, 0, __ATOMIC_RELEASE) == 1);
}

/* Who brings an object back to the checker's cache takes his time. */
static void give_place_late(void *object, size_t size, void *priv)
{
	sched_yield();
	give_place(object, size, priv);
}

static int construct(void *object, void *priv)
{
	struct place *place = object;

	(void)priv;
	count(&nr_constructed);
	expect(!__atomic_exchange_n(&place->constructed, 1, __ATOMIC_RELAXED));
	__atomic_store_n(&place->state, IDLE, __ATOMIC_RELAXED);
	return 0;
}

static void destruct(void *object, void *priv)
{
	struct place *place = object;

	(void)priv;
	count(&nr_destructed);
	expect(__atomic_exchange_n(&place->constructed, 0, __ATOMIC_RELAXED) == 1);
	expect(__atomic_load_n(&place->state, __ATOMIC_RELAXED) != HAD);
	RSEQ_WRITE_ONCE(place->value, 0);
}

/* An object that nobody else has, and no reader. */
static struct place *take(struct rseq_cache *cache)
{
	struct place *place = rseq_cache_alloc(cache);

	if (!place) {
		expect(false);
		return NULL;
	}
	expect(place->constructed == 1);
	expect(__atomic_exchange_n(&place->state, HAD, __ATOMIC_RELAXED) != HAD);
	RSEQ_WRITE_ONCE(place->value, __atomic_add_fetch(&next_value, 1, __ATOMIC_RELAXED));
	RSEQ_WRITE_ONCE(place->same, place->value);
	return place;
}

static void leave_as(struct place *place, enum state state)
{
	expect(__atomic_exchange_n(&place->state, state, __ATOMIC_RELAXED) == HAD);
}

/* With urcu-qsbr, a thread that is online may have to have a quiescent state first. */
static void free_later(struct rseq_cache_rcu *rcu, struct place *place)
{
	leave_as(place, REMOVED);
	while (rseq_cache_free_rcu(rcu, place)) {
		expect(errno == EDEADLK && IS_QSBR);
		rseq_cache_rcu_help(rcu);
	}
	count(&nr_freed);
}

/* It stays the same for as long as it may be looked at. */
static void look(unsigned int slot, bool yield)
{
	struct place *place;
	unsigned long value;

	rcu_read_lock();
	place = __atomic_load_n(&slots[slot % NR_SLOTS], __ATOMIC_ACQUIRE);
	if (place) {
		value = RSEQ_READ_ONCE(place->value);
		if (yield)
			sched_yield();
		expect(RSEQ_READ_ONCE(place->state) != IDLE);
		expect(RSEQ_READ_ONCE(place->same) == value);
		expect(RSEQ_READ_ONCE(place->value) == value);
	}
	rcu_read_unlock();
}

static void use_in_signal(void)
{
	struct place *place = take(main_one.cache);

	/* A thread of urcu-qsbr that is offline is no reader. */
	for (unsigned int i = 0; i < 4 && (!IS_QSBR || rcu_read_ongoing()); i++)
		look(i, false);
	if (!place)
		return;
	leave_as(place, IDLE);
	expect(!rseq_cache_free(main_one.cache, place));
}

static void replace(unsigned int slot, bool in_chain)
{
	struct place *place = take(main_one.cache);

	place = __atomic_exchange_n(&slots[slot % NR_SLOTS], place, __ATOMIC_ACQ_REL);
	if (!place)
		return;
	if (in_chain) {
		leave_as(place, REMOVED);
		rseq_list_push(list, &place->node);
		count(&nr_chained);
	} else {
		free_later(main_one.rcu, place);
	}
}

static void use_one_round(unsigned int round)
{
	for (unsigned int i = 0; i < TURNS_PER_ROUND; i++) {
		look(round + i, i == 3 && round % 4 == 0);
		if (i % 4 == 0)
			replace(round + i, i == 8);
	}
	__atomic_fetch_add(&nr_reads, TURNS_PER_ROUND, __ATOMIC_RELAXED);
	rcu_quiescent_state();
	if (round % 4 == 0)
		rseq_cache_rcu_help(checked.rcu);
}

static void rest(long nanoseconds)
{
	const struct timespec moment = { 0, nanoseconds };

	rcu_thread_offline();
	nanosleep(&moment, NULL);
	rcu_thread_online();
}

static void use(unsigned int index)
{
	if (index % 4 == 3)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	storm_enter(storm, index);
	for (unsigned int round = index; !__atomic_load_n(&stop, __ATOMIC_RELAXED); round++) {
		use_one_round(round);
		if (!rseq_thread_registered())
			rest(2000000);
	}
	storm_leave(storm, index);
}

/* All of them have to be back, also those that a helper or another barrier has taken. */
static void check_barriers(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < NR_CHECKED; i++) {
			struct place *place = take(checked.cache);

			if (place)
				free_later(checked.rcu, place);
			if (i % 20 == 0)
				support_move(0, cpus.cpu[i / 20 % cpus.nr]);
		}
		rest(1000000);
		expect(!rseq_cache_rcu_barrier(checked.rcu));
		expect(!rseq_cache_stat(checked.cache, &stat));
		expect(!stat.out);
		expect(!rseq_cache_rcu_backlog(checked.rcu));
		count(&nr_barriers);
	}
}

static void free_of_chain(struct rseq_list_node *node, void *arg)
{
	count(&nr_unchained);
	expect(!rseq_cache_free(arg, node));
}

/* Chains, trims, and barriers that meet the other thread's. */
static void hand_over_chains(void)
{
	for (unsigned int turn = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
		expect(rseq_list_drain_rcu(list, free_of_chain, main_one.cache) >= 0);
		rest(1000000);
		if (turn % 4 == 0)
			__atomic_fetch_add(&nr_trimmed, rseq_cache_trim(main_one.cache),
					   __ATOMIC_RELAXED);
		if (turn % 8 == 0)
			expect(!rseq_cache_rcu_barrier(main_one.rcu));
		if (turn % 2 == 0)
			expect(!rseq_cache_rcu_barrier(checked.rcu));
	}
}

static void *work(void *argument)
{
	unsigned int index = *(unsigned int *)argument;

	rcu_register_thread();
	if (index < NR_THREADS)
		use(index);
	else if (index == NR_THREADS)
		check_barriers();
	else
		hand_over_chains();
	rcu_unregister_thread();
	return NULL;
}

static int set_up(void)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 32, .batch = 16, .depot = 64,
		.construct = construct, .destruct = destruct,
		.alloc = take_place, .free = give_place,
	};
	const struct rseq_cache_attr late = {
		.size = sizeof(late), .per_cpu = 4, .depot = 4,
		.construct = construct, .destruct = destruct,
		.alloc = take_place, .free = give_place_late,
	};
	const struct rseq_cache_rcu_attr small = {
		.size = sizeof(small), .batch = 16, .backlog = 128,
	};
	const struct rseq_cache_rcu_attr by_mm_cid = {
		.size = sizeof(small), .batch = 32, .mode = RSEQ_PERCPU_MM_CID,
	};

	list = rseq_list_create();
	main_one.cache = rseq_cache_create("storm", sizeof(struct place), &attr);
	checked.cache = rseq_cache_create("checked", sizeof(struct place), &late);
	if (!list || !main_one.cache || !checked.cache)
		return -1;
	main_one.rcu = rseq_cache_rcu_create(main_one.cache, &small);
	checked.rcu = rseq_cache_rcu_create(checked.cache, &by_mm_cid);
	return main_one.rcu && checked.rcu ? 0 : -1;
}

static void report(void)
{
	const unsigned long per = (unsigned long)storm_seconds();

	printf("per second: %lu reads, %lu freed, %lu in chains, %lu trimmed, %lu barriers\n",
	       nr_reads / per, nr_freed / per, nr_chained / per, nr_trimmed / per,
	       nr_barriers / per);
	storm_report(storm);
}

static int check(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	unsigned int nr_left = 0;

	rcu_register_thread();
	expect(rseq_list_drain_rcu(list, free_of_chain, main_one.cache) >= 0);
	expect(!rseq_cache_rcu_barrier(main_one.rcu));
	expect(nr_chained == nr_unchained);
	expect(rseq_list_empty(list));
	expect(!rseq_cache_rcu_backlog(main_one.rcu));
	expect(!rseq_cache_stat(main_one.cache, &stat));
	for (int i = 0; i < NR_SLOTS; i++) {
		if (!slots[i])
			continue;
		nr_left++;
		leave_as(slots[i], IDLE);
		expect(!rseq_cache_free(main_one.cache, slots[i]));
	}
	expect(stat.out == nr_left);
	expect(!rseq_cache_rcu_destroy(main_one.rcu) && !rseq_cache_rcu_destroy(checked.rcu));
	expect(!rseq_cache_destroy(main_one.cache) && !rseq_cache_destroy(checked.cache));
	expect(nr_constructed == nr_destructed);
	for (int i = 0; i < NR_PLACES; i++)
		expect(!places[i].taken);
	rseq_list_destroy(list);
	rcu_unregister_thread();
	if (nr_wrong)
		printf("%lu wrong; %zu out, %u left; %lu made, %lu unmade; chained %lu, %lu\n",
		       nr_wrong, stat.out, nr_left, nr_constructed, nr_destructed, nr_chained,
		       nr_unchained);
	return nr_wrong != 0;
}

static int run(void)
{
	storm_keep_to_few_cpus();
	if (set_up())
		return 1;
	storm = storm_start(STORM_ALL, NR_THREADS, use_in_signal);
	if (!storm)
		return 1;
	storm_run(NR_THREADS + 2, work, NULL, &stop);
	report();
	storm_stop(storm);
	return check();
}

int main(int argc, char **argv)
{
	(void)argc;
	if (RSEQ_SANITIZE_THREAD) {
		printf("skipped: liburcu is not compiled for the sanitizer of threads\n");
		return SUPPORT_SKIP;
	}
	return support_run_both_ways(argv, run);
}
