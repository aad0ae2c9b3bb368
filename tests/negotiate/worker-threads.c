/* SPDX-License-Identifier: MIT */
/*
 * worker-threads.c: scenarios of threads: a filter that comes late, other registrars, and how
 * threads end.
 */
#define _GNU_SOURCE

#include "filter.h"
#include "names.h"
#include "worker.h"

#define NR_THREADS	8
#define NR_SHORT_LIVED	1000

/* Ends the registration of the calling thread, if there is one, past the library. */
static void unregister_past_the_library(void)
{
	struct rseq_abi *area = rseq_get_abi();
	unsigned int length = support_registered_length(area);

	if (length)
		check(!support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG));
	check(!rseq_thread_registered());
}

static struct rseq_counter *counter;
static pthread_barrier_t barrier;

static void add(int times)
{
	for (int i = 0; i < times; i++)
		rseq_counter_inc(counter);
}

/*
 * A filter that comes when threads are registered: those go on, new ones do without. Some libcs
 * end the process when a new thread cannot be registered as its creator was, so that there are no
 * new ones where libc owns registration.
 */
static void *start_before_filter(void *argument)
{
	int *errors = argument;

	errors[0] = worker_error(rseq_register_current_thread());
	add(worker_adds);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	add(worker_adds);
	check((errors[0] == 0) == rseq_thread_registered());
	errors[1] = worker_error(rseq_unregister_current_thread());
	add(worker_adds);
	/* The kernel did not end it: the thread is registered as before, and that needs no call. */
	check(rseq_thread_registered());
	check(!rseq_register_current_thread());
	check(worker_error(rseq_unregister_current_thread()) == errors[1]);
	return NULL;
}

static void *start_after_filter(void *argument)
{
	int *error = argument;

	check(!rseq_thread_registered());
	check(rseq_cpu_start() == 0);
	*error = worker_error(rseq_register_current_thread());
	add(worker_adds);
	worker_print_info("new.");
	check(worker_error(rseq_unregister_current_thread()) == EINVAL);
	return NULL;
}

void worker_late_filter(const char *argument)
{
	pthread_t threads[NR_THREADS];
	int errors[NR_THREADS][2], error, nr_adds = 3 * NR_THREADS;
	bool libc_owns;

	counter = rseq_counter_create();
	check(counter && argument && !pthread_barrier_init(&barrier, NULL, NR_THREADS + 1));
	check(!rseq_register_current_thread());
	libc_owns = worker_info().owner == RSEQ_OWNER_LIBC;
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, start_before_filter, errors[i]));
	pthread_barrier_wait(&barrier);
	if (filter_rseq(atoi(argument), 0, SECCOMP_FILTER_FLAG_TSYNC)) {
		printf("skipped: seccomp filters are not permitted: %s\n", strerror(errno));
		exit(SUPPORT_SKIP);
	}
	pthread_barrier_wait(&barrier);
	if (!libc_owns) {
		worker_in_thread(start_after_filter, &error);
		worker_print("new.register", "%s", name_of_errno(error));
		nr_adds++;
	}
	for (int i = 0; i < NR_THREADS; i++) {
		check(!pthread_join(threads[i], NULL));
		check(errors[i][0] == 0 && errors[i][1] == errors[0][1]);
	}
	worker_print("old.unregister", "%s", name_of_errno(errors[0][1]));
	add(worker_adds);
	check(rseq_thread_registered());
	check(rseq_counter_sum(counter) == (intptr_t)worker_adds * (nr_adds + 1));
}

/*
 * Another registrar registers an area of its own. It is not thread-local: that would align all of
 * the program's thread-local storage, an interposing symbol too.
 */
static void *be_foreign(void *argument)
{
	static unsigned char private_areas[2][64] __attribute__((aligned(64)));
	static int nr_used;
	struct rseq_abi *private_area = (struct rseq_abi *)private_areas[nr_used++];
	int *error = argument;

	unregister_past_the_library();
	check(!support_sys_rseq(private_area, 32, 0, RSEQ_SIG));
	*error = worker_error(rseq_register_current_thread());
	add(worker_adds);
	check(!rseq_thread_registered());
	worker_print_info("foreign.");
	check(worker_error(rseq_unregister_current_thread()) == EINVAL);
	/* The other registration is as it was. */
	check(support_is_registered(private_area, 32));
	check((int32_t)RSEQ_READ_ONCE(private_area->cpu_id) >= 0);
	return NULL;
}

/* A neighbour's area, in some threads only: there the library does without. */
void worker_foreign(const char *argument)
{
	int error = 0;

	(void)argument;
	counter = rseq_counter_create();
	check(counter);
	worker_in_thread(be_foreign, &error);
	worker_print("foreign.register", "%s", name_of_errno(error));
	check(!rseq_register_current_thread());
	add(worker_adds);
	check(rseq_counter_sum(counter) == (intptr_t)worker_adds * 2);
	worker_print("threads_registered", "%d", worker_count(NR_THREADS));
	worker_print_info("");
	check(!rseq_unregister_current_thread());
	be_foreign(&error);
	check(error == EBUSY);
	check(rseq_counter_sum(counter) == (intptr_t)worker_adds * 3);
}

static void *be_shared(void *argument)
{
	int *errors = argument;

	unregister_past_the_library();
	check(!support_sys_rseq(rseq_get_abi(), 32, 0, RSEQ_SIG));
	/* Seen before anybody tells the library. */
	worker_print_info("unknown.");
	add(worker_adds);
	errors[0] = worker_error(rseq_register_current_thread());
	worker_print_info("shared.");
	add(worker_adds);
	errors[1] = worker_error(rseq_unregister_current_thread());
	/* What somebody else registered is not this library's to end. */
	check(support_is_registered(rseq_get_abi(), 32));
	check(rseq_thread_registered());
	add(worker_adds);
	return NULL;
}

/* A neighbour registers the area that this library uses, too. */
void worker_shared(const char *argument)
{
	int errors[2] = { 0, 0 };

	(void)argument;
	counter = rseq_counter_create();
	check(counter);
	worker_in_thread(be_shared, errors);
	worker_print("shared.register", "%s", name_of_errno(errors[0]));
	worker_print("shared.unregister", "%s", name_of_errno(errors[1]));
	check(rseq_counter_sum(counter) == (intptr_t)worker_adds * 3);
	worker_print("threads_registered", "%d", worker_count(NR_THREADS));
}

/* Threads that end registered, or not, and whose last words are adds. */
static pthread_key_t key;
static unsigned int nr_destroyed, nr_ended;

static void add_at_the_end(void *value)
{
	/* Once more in a second round of destructors. */
	add(10);
	if ((uintptr_t)value == 1) {
		rseq_register_current_thread();
		pthread_setspecific(key, (void *)2);
	}
	__atomic_fetch_add(&nr_destroyed, 1, __ATOMIC_RELAXED);
}

static void *live_shortly(void *argument)
{
	uintptr_t kind = (uintptr_t)argument;

	check(!pthread_setspecific(key, (void *)1));
	if (kind % 3 == 0)
		rseq_register_current_thread();
	add(10);
	if (kind % 6 == 0)
		rseq_unregister_current_thread();
	__atomic_fetch_add(&nr_ended, 1, __ATOMIC_RELEASE);
	if (kind % 5 == 0)
		pthread_exit(NULL);
	return NULL;
}

void worker_exit_order(const char *argument)
{
	pthread_attr_t detached;
	pthread_t thread;

	(void)argument;
	counter = rseq_counter_create();
	check(counter && !pthread_key_create(&key, add_at_the_end));
	check(!pthread_attr_init(&detached));
	check(!pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED));
	for (uintptr_t i = 0; i < NR_SHORT_LIVED; i++) {
		/* A new thread may get the stack, and the area, of one that has ended. */
		bool join = i % 4;

		while (pthread_create(&thread, join ? NULL : &detached, live_shortly, (void *)i))
			sched_yield();
		if (join)
			check(!pthread_join(thread, NULL));
	}
	while (__atomic_load_n(&nr_destroyed, __ATOMIC_RELAXED) < 2 * NR_SHORT_LIVED)
		sched_yield();
	check(__atomic_load_n(&nr_ended, __ATOMIC_ACQUIRE) == NR_SHORT_LIVED);
	check(rseq_counter_sum(counter) == NR_SHORT_LIVED * 30);
	worker_print_info("");
}
