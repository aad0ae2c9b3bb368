/* SPDX-License-Identifier: MIT */
/*
 * Counters under many threads: not one add is lost or doubled, whether threads have rseq, have
 * none, or change between the two, while they are migrated and signalled, and while others sum.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define NR_THREADS	64
#define NR_COUNTERS	4
#define RUN_MILLISECONDS	600

/* Adds between two changes of a changing thread's registration. */
#define ADDS_PER_CHANGE	500

enum role {
	ROLE_REGISTERED,		/* by libc or by an explicit call */
	ROLE_UNREGISTERED,		/* for good, against libc and the library */
	ROLE_LAZY,			/* as the library pleases */
	ROLE_CHANGING,
	NR_ROLES,
};

struct worker {
	pthread_t thread;
	unsigned int index;
	enum role role;
	bool role_failed;		/* the thread did not become what it was to be */
	intptr_t sums[NR_COUNTERS];	/* what it added, in its handlers too */
};

static struct rseq_counter *counters[NR_COUNTERS];
static struct storm *storm;
static bool stop;
static unsigned int nr_ready;

/* What handlers added in this thread. */
static __thread volatile intptr_t handler_sums[NR_COUNTERS];

static void add_in_signal(void)
{
	rseq_counter_add(counters[0], 3);
	handler_sums[0] = handler_sums[0] + 3;
	rseq_counter_inc(counters[1]);
	handler_sums[1] = handler_sums[1] + 1;
}

/* Ends a registration of libc's, which the library leaves alone. */
static bool unregister_past_the_library(void)
{
	unsigned int length = support_registered_length(rseq_get_abi());

	return length && !support_sys_rseq(rseq_get_abi(), length, RSEQ_ABI_FLAG_UNREGISTER,
					   RSEQ_SIG);
}

/*
 * Ends in a thread that has no rseq, and which the library does not register by itself: what was
 * unregistered on demand stays so.
 */
static bool become_unregistered(void)
{
	if (rseq_thread_registered() && !unregister_past_the_library())
		return false;
	if (!rseq_register_current_thread() && rseq_unregister_current_thread())
		return false;
	return !rseq_thread_registered();
}

static bool become(enum role role)
{
	switch (role) {
	case ROLE_REGISTERED:
		rseq_register_current_thread();
		return true;
	case ROLE_UNREGISTERED:
	case ROLE_CHANGING:
		return become_unregistered();
	default:
		return true;
	}
}

static void change(unsigned int round)
{
	if (round % 2)
		rseq_unregister_current_thread();
	else
		rseq_register_current_thread();
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	unsigned int round = 0;

	worker->role_failed = !become(worker->role);
	storm_enter(storm, worker->index);
	__atomic_fetch_add(&nr_ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (worker->role == ROLE_CHANGING)
			change(round);
		for (intptr_t i = 0; i < ADDS_PER_CHANGE; i++) {
			rseq_counter_inc(counters[0]);
			rseq_counter_dec(counters[1]);
			rseq_counter_add(counters[2], i);
			rseq_counter_add(counters[3], 7);
		}
		worker->sums[0] += ADDS_PER_CHANGE;
		worker->sums[1] -= ADDS_PER_CHANGE;
		worker->sums[2] += ADDS_PER_CHANGE * (ADDS_PER_CHANGE - 1) / 2;
		worker->sums[3] += 7 * ADDS_PER_CHANGE;
		if (++round % 16 == worker->index % 16)
			sched_yield();
	}
	storm_leave(storm, worker->index);
	if (worker->role == ROLE_UNREGISTERED && rseq_thread_registered())
		worker->role_failed = true;
	for (int i = 0; i < NR_COUNTERS; i++)
		worker->sums[i] += handler_sums[i];
	return NULL;
}

/* Watches the counters that only grow. */
static void *watch(void *backwards)
{
	intptr_t before[2] = { 0, 0 };

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		const intptr_t sums[2] = { rseq_counter_sum(counters[0]),
					   rseq_counter_sum(counters[3]) };

		for (int i = 0; i < 2; i++) {
			if (sums[i] < before[i])
				++*(int *)backwards;
			before[i] = sums[i];
		}
		sched_yield();
	}
	return NULL;
}

static void rest(long milliseconds)
{
	const struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

static void run_workers(struct worker *workers, const enum role *roles, unsigned int nr_roles)
{
	pthread_t watcher;
	int backwards = 0;

	stop = false;
	nr_ready = 0;
	for (unsigned int i = 0; i < NR_THREADS; i++) {
		workers[i] = (struct worker){ .index = i, .role = roles[i % nr_roles] };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	assert_int_equal(pthread_create(&watcher, NULL, watch, &backwards), 0);
	while (__atomic_load_n(&nr_ready, __ATOMIC_ACQUIRE) < NR_THREADS)
		rest(1);
	rest(RUN_MILLISECONDS);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	assert_int_equal(pthread_join(watcher, NULL), 0);
	assert_int_equal(backwards, 0);
}

static void check_sums(const struct worker *workers)
{
	for (int c = 0; c < NR_COUNTERS; c++) {
		intptr_t expected = 0;

		for (int i = 0; i < NR_THREADS; i++)
			expected += workers[i].sums[c];
		assert_int_equal(rseq_counter_sum(counters[c]), expected);
	}
}

static uint64_t aborts(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	return rseq_get_info(&info) ? 0 : info.aborts;
}

static void run_roles(const enum role *roles, unsigned int nr_roles)
{
	static struct worker workers[NR_THREADS];
	uint64_t aborts_before = aborts();

	for (int i = 0; i < NR_COUNTERS; i++) {
		counters[i] = rseq_counter_create();
		assert_non_null(counters[i]);
	}
	storm = storm_start(STORM_ALL, NR_THREADS, add_in_signal);
	assert_non_null(storm);
	run_workers(workers, roles, nr_roles);
	print_message("%jd adds, %lu migrations, %lu signals, %lu wake-ups, %lu fences, "
		      "%ju aborts\n",
		      (intmax_t)(rseq_counter_sum(counters[3]) / 7) * NR_COUNTERS,
		      storm_count(storm, STORM_MIGRATE), storm_count(storm, STORM_SIGNAL),
		      storm_count(storm, STORM_WAKE), storm_count(storm, STORM_FENCE),
		      (uintmax_t)(aborts() - aborts_before));
	storm_stop(storm);
	check_sums(workers);
	for (int i = 0; i < NR_THREADS; i++)
		assert_false(workers[i].role_failed);
	for (int i = 0; i < NR_COUNTERS; i++)
		rseq_counter_destroy(counters[i]);
}

static void test_all_registered(void **state)
{
	static const enum role roles[] = { ROLE_REGISTERED };

	(void)state;
	run_roles(roles, 1);
}

static void test_none_registered(void **state)
{
	static const enum role roles[] = { ROLE_UNREGISTERED };

	(void)state;
	run_roles(roles, 1);
}

static void test_half_registered(void **state)
{
	static const enum role roles[] = { ROLE_REGISTERED, ROLE_UNREGISTERED };

	(void)state;
	run_roles(roles, 2);
}

static void test_all_roles(void **state)
{
	static const enum role roles[] = {
		ROLE_REGISTERED, ROLE_UNREGISTERED, ROLE_LAZY, ROLE_CHANGING,
	};

	(void)state;
	run_roles(roles, NR_ROLES);
}

static int run_group(void)
{
	const struct CMUnitTest threads[] = {
		cmocka_unit_test(test_all_registered),
		cmocka_unit_test(test_none_registered),
		cmocka_unit_test(test_half_registered),
		cmocka_unit_test(test_all_roles),
	};

	return cmocka_run_group_tests(threads, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
