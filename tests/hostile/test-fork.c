/* SPDX-License-Identifier: MIT */
/*
 * fork() among threads at work: the child finds in the structures what had come in and not gone
 * out, works on with threads of its own, and makes structures of its own; what threads that it has
 * not were about to do is missing, and no more. The parent's structures do not notice.
 */
#define _GNU_SOURCE

#include "works.h"

#include <rseq/counter.h>

#include <pthread.h>

#define NR_THREADS	4
#define NR_FORKS	60
#define NR_ROUNDS	30

static struct works *works;
static bool stop;

static void *work_on(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		works_round(works);
	return NULL;
}

/* Another thread may have held a lock, or have been about to take one. */
static void *work_in_child(void *unused)
{
	(void)unused;
	for (int i = 0; i < NR_ROUNDS; i++)
		works_round_in_handler(works);
	return NULL;
}

static void *work_on_own(void *own)
{
	works_use(own, NR_ROUNDS);
	return NULL;
}

static void run_threads(void *(*function)(void *), void *argument)
{
	pthread_t threads[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, function, argument));
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(threads[i], NULL));
}

static bool was_registered;
static unsigned int length;

static void be_child(void)
{
	struct works *own;

	alarm(WORKS_SECONDS);
	check(rseq_thread_registered() == was_registered);
	check(support_registered_length(rseq_get_abi()) == length);
	works_settle(works, NR_THREADS);
	for (int i = 0; i < NR_ROUNDS; i++)
		works_round_in_handler(works);
	run_threads(work_in_child, NULL);
	works_settle(works, NR_THREADS);
	own = works_create(RSEQ_PERCPU_MM_CID);
	check(own);
	if (own) {
		works_use(own, NR_ROUNDS);
		run_threads(work_on_own, own);
		works_settle(own, 0);
		works_destroy(own, 0);
	}
	works_destroy(works, NR_THREADS);
}

static void fork_among_threads(enum rseq_percpu_mode mode)
{
	pthread_t threads[NR_THREADS];

	works = works_create(mode);
	check(works);
	if (!works)
		return;
	stop = false;
	works_use(works, NR_ROUNDS);
	was_registered = rseq_thread_registered();
	length = support_registered_length(rseq_get_abi());
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work_on, NULL));
	for (int i = 0; i < NR_FORKS && !works_complaints(); i++) {
		works_in_child(be_child);
		works_use(works, NR_ROUNDS);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(threads[i], NULL));
	works_settle(works, 0);
	works_destroy(works, 0);
}

/* What each child adds, and its children, is its own. */
static void fork_in_turn(void)
{
	struct rseq_counter *counter = rseq_counter_create();
	int depth = 0, status = 0;
	pid_t child;

	check(counter);
	while (counter && depth < 6) {
		rseq_counter_add(counter, 1);
		child = fork();
		if (child) {
			check(rseq_counter_sum(counter) == depth + 1);
			check(waitpid(child, &status, 0) == child && !status);
			if (depth)
				_exit(works_complaints() != 0);
			break;
		}
		depth++;
	}
	if (depth)
		_exit(works_complaints() != 0);
	rseq_counter_destroy(counter);
}

static int run(char **argv)
{
	(void)argv;
	fork_in_turn();
	fork_among_threads(RSEQ_PERCPU_CPU_ID);
	fork_among_threads(RSEQ_PERCPU_MM_CID);
	return 0;
}

int main(int argc, char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	(void)argc;
	if (emulator && *emulator) {
		printf("skipped: qemu-user does not survive fork() among threads\n");
		return SUPPORT_SKIP;
	}
	if (SUPPORT_SANITIZED) {
		printf("skipped: a sanitizer's malloc() waits for ever in such a child\n");
		return SUPPORT_SKIP;
	}
	return works_run_all_ways(argv, run);
}
