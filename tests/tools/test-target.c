/* SPDX-License-Identifier: MIT */
/*
 * test-target: a process to look at.
 *
 *	test-target threads	some threads registered by libc or the library, some not, some
 *				with an area of their own
 *	test-target signals	a thread that handles signals all the time, each of which counts
 *	test-target vfork	a thread that waits for the child of vfork()
 *
 * Writes what there is to see, a line for each thread: its id, its area, length and signature, or
 * "none". Then "ready"; then it goes on until its standard input ends. Exit status 0 if it is well.
 */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>

#define NR_THREADS	5
#define OWN_SIGNATURE	0x12345678U

struct own_area {
	alignas(64) char bytes[64];
};

static struct own_area own_areas[NR_THREADS];
static pthread_barrier_t barrier;
static pthread_mutex_t print_lock = PTHREAD_MUTEX_INITIALIZER;

static atomic_bool done;
static _Atomic unsigned long handled;

static void print(const void *area, unsigned int length, unsigned int signature)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	pthread_mutex_lock(&print_lock);
	if (length)
		printf("%d %ju %u %u\n", (int)tid, (uintmax_t)(uintptr_t)area, length, signature);
	else
		printf("%d none\n", (int)tid);
	pthread_mutex_unlock(&print_lock);
}

static void print_library(void)
{
	void *area = rseq_get_abi();

	print(area, support_registered_length(area), RSEQ_SIG);
}

/* Ends a registration whoever made it. */
static void unregister(void)
{
	void *area = rseq_get_abi();
	unsigned int length = support_registered_length(area);

	if (length)
		support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
}

static void *thread(void *argument)
{
	int number = (int)(uintptr_t)argument;
	void *area = &own_areas[number];

	switch (number) {
	case 0:
	case 1:
		prctl(PR_SET_NAME, "registered");
		rseq_register_current_thread();
		print_library();
		break;
	case 2:
	case 3:
		prctl(PR_SET_NAME, "own area");
		unregister();
		print(area, support_sys_rseq(area, 32, 0, OWN_SIGNATURE) ? 0 : 32, OWN_SIGNATURE);
		break;
	default:
		prctl(PR_SET_NAME, "\"\n\\\033\377\303\244");
		unregister();
		print(NULL, 0, 0);
		break;
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void tell_ready_and_wait(void)
{
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
}

static int show_threads(void)
{
	pthread_t threads[NR_THREADS];

	pthread_barrier_init(&barrier, NULL, NR_THREADS + 1);
	rseq_register_current_thread();
	print_library();
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)i))
			return 1;
	pthread_barrier_wait(&barrier);
	tell_ready_and_wait();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static void handle(int signal)
{
	(void)signal;
	atomic_fetch_add(&handled, 1);
}

static void *take_signals(void *argument)
{
	while (!atomic_load(&done))
		;
	return argument;
}

/*
 * Real-time signals queue up: each one that was sent is handled, unless somebody takes it away.
 * They come as fast as they are handled, so that one hits whatever a tracer does.
 */
static void *send_signals(void *argument)
{
	static unsigned long sent;
	pthread_t *taker = argument;

	while (!atomic_load(&done)) {
		if (sent - atomic_load(&handled) > 16)
			sched_yield();
		else if (!pthread_kill(*taker, SIGRTMIN))
			sent++;
	}
	return &sent;
}

static int show_signals(void)
{
	struct sigaction action = { .sa_handler = handle };
	pthread_t taker, sender;
	void *sent;

	sigaction(SIGRTMIN, &action, NULL);
	if (pthread_create(&taker, NULL, take_signals, NULL) ||
	    pthread_create(&sender, NULL, send_signals, &taker))
		return 1;
	tell_ready_and_wait();
	atomic_store(&done, true);
	pthread_join(sender, &sent);
	pthread_join(taker, NULL);
	printf("sent %lu, handled %lu\n", *(unsigned long *)sent, atomic_load(&handled));
	return *(unsigned long *)sent != atomic_load(&handled);
}

static int show_vfork(void)
{
	pid_t child;
	int status;

	child = vfork();
	if (!child) {
		tell_ready_and_wait();
		_exit(0);
	}
	return child < 0 || waitpid(child, &status, 0) != child || status;
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	/* Where only an ancestor may trace a process, it may allow others to. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	if (!strcmp(what, "threads"))
		return show_threads();
	if (!strcmp(what, "signals"))
		return show_signals();
	if (!strcmp(what, "vfork"))
		return show_vfork();
	fputs("usage: test-target threads|signals|vfork\n", stderr);
	return 2;
}
