/* SPDX-License-Identifier: MIT */
/*
 * A cache in a long storm: 64 threads on the CPUs at hand, half of which have no rseq, come and go,
 * take objects, hand them to each other and free them, signal handlers too, while one trims. No
 * object may be with two at once, be lost, or come without its construction; the bounds are small,
 * so that depot and allocator have much to do. Says how many sections were aborted a second.
 *
 * STRESS_SECONDS is how long it runs, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/cache.h>

#include <time.h>

#define NR_THREADS	64
#define NR_PLACES	8192
#define NR_SLOTS	32
#define NR_HELD		24
#define NR_HANDLED	5
#define ROUNDS_PER_LIFE	512

/* Where the allocator's objects are; all words but the payload are atomic. */
static struct place {
	unsigned int taken;
	unsigned int owned;
	unsigned int constructed;
	unsigned int payload[4];
} places[NR_PLACES];

static unsigned int next_place;		/* atomic */
static struct place *slots[NR_SLOTS];	/* atomic */
static struct rseq_cache *cache;
static struct storm *storm;
static bool stop;			/* atomic */
static unsigned long nr_wrong, nr_lives, nr_without, nr_trimmed;	/* atomic */

static void expect(bool right)
{
	if (!right)
		__atomic_fetch_add(&nr_wrong, 1, __ATOMIC_RELAXED);
}

/* Async-signal-safe, as it is for handlers too. */
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

static int construct(void *object, void *priv)
{
	struct place *place = object;

	(void)priv;
	expect(!__atomic_exchange_n(&place->constructed, 1, __ATOMIC_RELAXED));
	return 0;
}

static void destruct(void *object, void *priv)
{
	struct place *place = object;

	(void)priv;
	expect(__atomic_exchange_n(&place->constructed, 0, __ATOMIC_RELAXED) == 1);
	expect(!__atomic_load_n(&place->owned, __ATOMIC_RELAXED));
}

/* An object that nobody else has. */
static struct place *take(void)
{
	struct place *place = rseq_cache_alloc(cache);

	if (!place) {
		expect(false);
		return NULL;
	}
	expect(place->constructed == 1);
	expect(!__atomic_exchange_n(&place->owned, 1, __ATOMIC_RELAXED));
	for (int i = 0; i < 4; i++)
		place->payload[i] = (unsigned int)(uintptr_t)place;
	return place;
}

static void give(struct place *place)
{
	if (!place)
		return;
	for (int i = 0; i < 4; i++)
		expect(place->payload[i] == (unsigned int)(uintptr_t)place);
	expect(__atomic_exchange_n(&place->owned, 0, __ATOMIC_RELAXED) == 1);
	expect(!rseq_cache_free(cache, place));
}

static void use_in_signal(void)
{
	struct place *held[NR_HANDLED];

	for (int i = 0; i < NR_HANDLED; i++)
		held[i] = take();
	for (int i = 0; i < NR_HANDLED; i++)
		give(held[i]);
}

static void use_one_round(unsigned int round)
{
	struct place *held[NR_HELD];
	void *batch[NR_HELD];
	size_t nr = 0;

	for (int i = 0; i < NR_HELD; i++)
		held[i] = take();
	for (unsigned int i = 0; i < NR_HELD; i += 2)
		held[i] = __atomic_exchange_n(&slots[(round + i) % NR_SLOTS], held[i],
					      __ATOMIC_ACQ_REL);
	if (round % 8) {
		for (int i = 0; i < NR_HELD; i++)
			give(held[i]);
		return;
	}
	for (int i = 0; i < NR_HELD; i++) {
		if (!held[i])
			continue;
		expect(__atomic_exchange_n(&held[i]->owned, 0, __ATOMIC_RELAXED) == 1);
		batch[nr++] = held[i];
	}
	expect(!rseq_cache_free_batch(cache, batch, nr));
}

/* One life of a thread. Those without rseq are slow: most of the time is for the others. */
static void *live(void *argument)
{
	const struct timespec moment = { 0, 2000000 };
	unsigned int index = *(unsigned int *)argument;

	if (index % 2)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	storm_enter(storm, index);
	for (unsigned int round = 0; round < ROUNDS_PER_LIFE; round++) {
		if (__atomic_load_n(&stop, __ATOMIC_RELAXED))
			break;
		use_one_round(round);
		if (round % 64 == 0)
			sched_yield();
		if (round % 4 == 0 && !rseq_thread_registered())
			nanosleep(&moment, NULL);
	}
	storm_leave(storm, index);
	__atomic_fetch_add(&nr_lives, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Keeps one thread alive after the other. */
static void *keep_alive(void *argument)
{
	pthread_t thread;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (pthread_create(&thread, NULL, live, argument))
			sched_yield();
		else
			pthread_join(thread, NULL);
	}
	return NULL;
}

static void *trim(void *argument)
{
	const struct timespec moment = { 0, 5000000 };

	(void)argument;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		nr_trimmed += rseq_cache_trim(cache);
		nanosleep(&moment, NULL);
	}
	return NULL;
}

static int check(void)
{
	struct rseq_cache_stat stat = { .size = sizeof(stat) };
	int nr_taken = 0, error;

	for (int i = 0; i < NR_SLOTS; i++) {
		give(slots[i]);
		slots[i] = NULL;
	}
	expect(!rseq_cache_stat(cache, &stat));
	expect(!stat.out);
	printf("%ju objects made, %ju overflows, %ju refills, %lu trimmed\n",
	       (uintmax_t)stat.created, (uintmax_t)stat.overflows, (uintmax_t)stat.refills,
	       nr_trimmed);
	error = rseq_cache_destroy(cache);
	for (int i = 0; i < NR_PLACES; i++)
		nr_taken += places[i].taken != 0;
	if (!error && !nr_taken && !nr_wrong)
		return 0;
	printf("%lu wrong, %zu out, %d places taken, destroy: %d\n", nr_wrong, stat.out, nr_taken,
	       error);
	return 1;
}

static void report(void)
{
	printf("%lu threads, %lu of them without rseq\n", nr_lives, nr_without);
	storm_report(storm);
}

static int run(void)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 16, .batch = 8, .depot = 64,
		.construct = construct, .destruct = destruct,
		.alloc = take_place, .free = give_place,
	};
	pthread_t trimmer;

	storm_keep_to_few_cpus();
	cache = rseq_cache_create("storm", sizeof(struct place), &attr);
	storm = storm_start(STORM_ALL, NR_THREADS, use_in_signal);
	if (!cache || !storm || pthread_create(&trimmer, NULL, trim, NULL))
		return 1;
	storm_run(NR_THREADS, keep_alive, NULL, &stop);
	pthread_join(trimmer, NULL);
	report();
	storm_stop(storm);
	return check();
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
