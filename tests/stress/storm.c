/* SPDX-License-Identifier: MIT */
/*
 * storm.c: the threads and timers that disturb others.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/info.h>

#include <linux/membarrier.h>
#include <sys/prctl.h>
#include <time.h>

#ifndef sigev_notify_thread_id
# define sigev_notify_thread_id	_sigev_un._tid
#endif

#define STORM_SIGNO		(SIGRTMIN + 1)
#define MAX_WAKERS		4

/* Nanoseconds between two disturbances; a timer each for every thread. */
#define MIGRATE_PERIOD		50000
#define SIGNAL_PERIOD		2000000
#define WAKE_PERIOD		50000
#define FENCE_PERIOD		100000

struct storm_target {
	pid_t tid;			/* 0: not in the storm; under the lock */
	bool has_timer;
	timer_t timer;
};

struct storm {
	unsigned int kinds;
	unsigned int nr_threads;
	bool stop;			/* atomic */
	struct support_cpus cpus;
	pthread_mutex_t lock;
	struct storm_target *targets;
	pthread_t threads[MAX_WAKERS + 2];
	unsigned int nr_started;
	unsigned int nr_wakers;		/* atomic */
	unsigned long migrations, wakes, fences;	/* atomic */
};

static unsigned long nr_signals;
static void (*signal_callback)(void);

static void count(unsigned long *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static bool stopped(const struct storm *storm)
{
	return __atomic_load_n(&storm->stop, __ATOMIC_RELAXED);
}

static void rest(long nanoseconds)
{
	const struct timespec time = { 0, nanoseconds };

	nanosleep(&time, NULL);
}

static void *migrate(void *argument)
{
	struct storm *storm = argument;
	unsigned int seed = 1;

	while (!stopped(storm)) {
		struct storm_target *target;
		int cpu;

		seed = seed * 1103515245 + 12345;
		target = &storm->targets[(seed >> 8) % storm->nr_threads];
		cpu = storm->cpus.cpu[(seed >> 20) % (unsigned int)storm->cpus.nr];
		pthread_mutex_lock(&storm->lock);
		if (target->tid && !support_move(target->tid, cpu))
			count(&storm->migrations);
		pthread_mutex_unlock(&storm->lock);
		rest(MIGRATE_PERIOD);
	}
	return NULL;
}

static void *wake(void *argument)
{
	struct storm *storm = argument;
	unsigned int index = __atomic_fetch_add(&storm->nr_wakers, 1, __ATOMIC_RELAXED);

	support_move(0, storm->cpus.cpu[index]);
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	while (!stopped(storm)) {
		rest(WAKE_PERIOD);
		count(&storm->wakes);
	}
	return NULL;
}

static void *fence(void *argument)
{
	struct storm *storm = argument;

	while (!stopped(storm)) {
		if (!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0))
			count(&storm->fences);
		rest(FENCE_PERIOD);
	}
	return NULL;
}

static void on_storm_signal(int signo)
{
	int saved_errno = errno;

	(void)signo;
	count(&nr_signals);
	if (signal_callback)
		signal_callback();
	errno = saved_errno;
}

static void start_thread(struct storm *storm, void *(*function)(void *))
{
	if (!pthread_create(&storm->threads[storm->nr_started], NULL, function, storm))
		storm->nr_started++;
}

struct storm *storm_start(unsigned int kinds, unsigned int nr_threads, void (*on_signal)(void))
{
	struct sigaction action = { .sa_handler = on_storm_signal, .sa_flags = SA_RESTART };
	struct storm *storm = calloc(1, sizeof(*storm));

	if (!storm)
		return NULL;
	storm->targets = calloc(nr_threads, sizeof(storm->targets[0]));
	if (!storm->targets) {
		free(storm);
		return NULL;
	}
	storm->kinds = kinds;
	storm->nr_threads = nr_threads;
	pthread_mutex_init(&storm->lock, NULL);
	support_find_cpus(&storm->cpus);
	nr_signals = 0;
	signal_callback = on_signal;
	sigaction(STORM_SIGNO, &action, NULL);
	if (kinds & STORM_MIGRATE)
		start_thread(storm, migrate);
	for (int i = 0; (kinds & STORM_WAKE) && i < storm->cpus.nr && i < MAX_WAKERS; i++)
		start_thread(storm, wake);
	/* Here and not in the thread: it may take a second once all CPUs are busy. */
	if ((kinds & STORM_FENCE) &&
	    !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0))
		start_thread(storm, fence);
	return storm;
}

void storm_enter(struct storm *storm, unsigned int index)
{
	struct storm_target *target = &storm->targets[index];
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = STORM_SIGNO };
	/* Threads at different rates do not fall into step. */
	const long period = SIGNAL_PERIOD + (long)index * 9973;
	const struct itimerspec often = { { 0, period }, { 0, period } };
	pid_t tid = (pid_t)syscall(SYS_gettid);

	pthread_mutex_lock(&storm->lock);
	target->tid = tid;
	pthread_mutex_unlock(&storm->lock);
	if (!(storm->kinds & STORM_SIGNAL))
		return;
	event.sigev_notify_thread_id = tid;
	target->has_timer = !timer_create(CLOCK_MONOTONIC, &event, &target->timer) &&
			    !timer_settime(target->timer, 0, &often, NULL);
}

void storm_leave(struct storm *storm, unsigned int index)
{
	struct storm_target *target = &storm->targets[index];
	const struct timespec at_once = { 0, 0 };
	sigset_t ours, before;

	pthread_mutex_lock(&storm->lock);
	target->tid = 0;
	pthread_mutex_unlock(&storm->lock);
	support_release(&storm->cpus);
	if (!target->has_timer)
		return;

	/* A signal that is on its way is taken here, without its handler. */
	sigemptyset(&ours);
	sigaddset(&ours, STORM_SIGNO);
	pthread_sigmask(SIG_BLOCK, &ours, &before);
	timer_delete(target->timer);
	while (sigtimedwait(&ours, NULL, &at_once) > 0)
		;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	target->has_timer = false;
}

unsigned long storm_count(const struct storm *storm, enum storm_kind kind)
{
	const unsigned long *counter = kind == STORM_MIGRATE ? &storm->migrations :
				       kind == STORM_SIGNAL ? &nr_signals :
				       kind == STORM_WAKE ? &storm->wakes : &storm->fences;

	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void storm_stop(struct storm *storm)
{
	__atomic_store_n(&storm->stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < storm->nr_started; i++)
		pthread_join(storm->threads[i], NULL);
	pthread_mutex_destroy(&storm->lock);
	free(storm->targets);
	free(storm);
}

#define MAX_SECONDS	86400

long storm_seconds(void)
{
	const char *text = getenv("STRESS_SECONDS");
	long seconds = text ? atol(text) : 3;

	return seconds < 1 ? 1 : seconds > MAX_SECONDS ? MAX_SECONDS : seconds;
}

void storm_keep_to_few_cpus(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	if (cpus.nr > STORM_MAX_CPUS)
		cpus.nr = STORM_MAX_CPUS;
	support_release(&cpus);
}

static bool is_over(const struct timespec *end)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end->tv_sec ||
	       (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

void storm_run(unsigned int nr_threads, void *(*work)(void *index), void (*meanwhile)(void),
		bool *stop)
{
	static unsigned int indices[STORM_MAX_THREADS];
	pthread_t threads[STORM_MAX_THREADS];
	const struct timespec moment = { 0, 10000000 };
	struct timespec end;
	unsigned int nr_started = 0;

	alarm((unsigned int)storm_seconds() + 600);
	for (unsigned int i = 0; i < nr_threads && i < STORM_MAX_THREADS; i++) {
		indices[i] = i;
		if (!pthread_create(&threads[nr_started], NULL, work, &indices[i]))
			nr_started++;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += storm_seconds();
	while (!is_over(&end)) {
		if (meanwhile)
			meanwhile();
		else
			nanosleep(&moment, NULL);
	}
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	while (nr_started)
		pthread_join(threads[--nr_started], NULL);
}

void storm_report(const struct storm *storm)
{
	const unsigned long seconds = (unsigned long)storm_seconds();
	struct rseq_info info = { .size = sizeof(info) };

	rseq_get_info(&info);
	printf("%lu s; per second: %lu migrations, %lu signals, %lu wake-ups, %lu fences\n",
	       seconds, storm_count(storm, STORM_MIGRATE) / seconds,
	       storm_count(storm, STORM_SIGNAL) / seconds, storm_count(storm, STORM_WAKE) / seconds,
	       storm_count(storm, STORM_FENCE) / seconds);
	printf("%ju aborts, %ju a second\n", (uintmax_t)info.aborts,
	       (uintmax_t)info.aborts / seconds);
	if (!info.aborts)
		printf("no section was aborted: %s\n", rseq_reason_string(info.reason));
}

/* The test that runs, for its threads. */
static const struct storm_test *current;
static struct storm *current_storm;
static bool over;
static unsigned long nr_turns, nr_mistakes;	/* atomic */

void storm_mistake(void)
{
	count(&nr_mistakes);
}

static void *work_in_rounds(void *argument)
{
	unsigned int index = *(unsigned int *)argument;
	unsigned long turns = 0;

	if (index % 4 == 3)
		support_go_without_rseq();
	else
		rseq_register_current_thread();
	storm_enter(current_storm, index);
	for (unsigned int round = index; !__atomic_load_n(&over, __ATOMIC_RELAXED); round++) {
		turns += current->round(round);
		if (!rseq_thread_registered())
			rest(2000000);
	}
	storm_leave(current_storm, index);
	__atomic_fetch_add(&nr_turns, turns, __ATOMIC_RELAXED);
	return NULL;
}

int storm_test(const struct storm_test *test)
{
	storm_keep_to_few_cpus();
	if (test->set_up())
		return 1;
	current = test;
	current_storm = storm_start(STORM_ALL, test->nr_threads, test->on_signal);
	if (!current_storm)
		return 1;
	storm_run(test->nr_threads, work_in_rounds, test->meanwhile, &over);
	test->report(nr_turns);
	storm_report(current_storm);
	storm_stop(current_storm);
	test->check(nr_turns);
	if (nr_mistakes)
		printf("%lu mistakes\n", nr_mistakes);
	return nr_mistakes > 0;
}
