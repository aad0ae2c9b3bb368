/* SPDX-License-Identifier: MIT */
/*
 * worker-process.c: scenarios of processes: children with their own memory, children on borrowed
 * memory, and new programs.
 */
#define _GNU_SOURCE

#include "worker.h"

#include <spawn.h>

#define NR_THREADS	4

extern char **environ;

static struct rseq_counter *counter;

static void add(int times)
{
	for (int i = 0; i < times; i++)
		rseq_counter_inc(counter);
}

static void create_counter(void)
{
	counter = rseq_counter_create();
	if (counter)
		return;
	perror("rseq_counter_create");
	exit(1);
}

/* A registration, two calls deep, is the child's as well as its parent's. */
static void check_inherited(struct rseq_abi *area, unsigned int length)
{
	bool libc_owns = worker_info().owner == RSEQ_OWNER_LIBC;

	check(rseq_get_abi() == area);
	check(worker_info().registered_length == length);
	add(worker_adds);
	check(rseq_counter_sum(counter) == (intptr_t)worker_adds * 2);
	check(!rseq_unregister_current_thread());
	check(rseq_thread_registered());
	check(!rseq_unregister_current_thread());
	check(rseq_thread_registered() == libc_owns);
	check(worker_error(rseq_unregister_current_thread()) == (libc_owns ? 0 : EINVAL));
	worker_count(NR_THREADS);
}

void worker_fork(const char *argument)
{
	unsigned int length;
	pid_t child;

	(void)argument;
	create_counter();
	/* Of a thread that nobody registered, or libc. */
	child = fork();
	if (!child) {
		worker_count(NR_THREADS);
		worker_report(NULL);
		_exit(worker_complaints());
	}
	worker_wait(child);

	check(!rseq_register_current_thread() && !rseq_register_current_thread());
	length = worker_info().registered_length;
	add(worker_adds);
	child = fork();
	if (!child) {
		check_inherited(rseq_get_abi(), length);
		_exit(worker_complaints());
	}
	worker_wait(child);
	check(worker_info().registered_length == length);
	check(rseq_counter_sum(counter) == worker_adds);
	worker_count(NR_THREADS);
}

/* What a child on borrowed storage saw; it shares this memory with its parent. */
static struct borrowed {
	volatile int registered, unregistered, available;
	volatile int info_result, info_reason, info_owner;
	volatile bool with_add;
} borrowed;

/* Calls everything that acts on a thread. */
static void act_on_borrowed_storage(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	borrowed.info_result = worker_error(rseq_get_info(&info));
	borrowed.info_reason = info.reason;
	borrowed.info_owner = info.owner;
	borrowed.registered = worker_error(rseq_register_current_thread());
	borrowed.unregistered = worker_error(rseq_unregister_current_thread());
	borrowed.available = rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL);
	/* With a second chance to do harm. */
	rseq_unregister_current_thread();
	rseq_register_current_thread();
	if (borrowed.with_add)
		rseq_counter_inc(counter);
}

static int act_and_exit(void *argument)
{
	(void)argument;
	act_on_borrowed_storage();
	return 0;
}

static void run_vfork_child(void)
{
	pid_t child = vfork();

	if (!child) {
		act_on_borrowed_storage();
		_exit(0);
	}
	worker_wait(child);
}

static void run_clone_child(void)
{
	static char stack[1 << 16] __attribute__((aligned(64)));

	worker_wait(clone(act_and_exit, stack + sizeof(stack),
			  CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
}

static void (*run_child)(void);

/* The child is told that it can do nothing, and does nothing. */
static void check_child(int expected)
{
	run_child();
	check(borrowed.registered == expected);
	check(borrowed.unregistered == expected);
	check(borrowed.info_result == 0);
	check(borrowed.info_reason == RSEQ_REASON_VFORK_CHILD);
	check(borrowed.info_owner == RSEQ_OWNER_NONE);
}

/*
 * The caller's sections still do what they did: moved to each CPU, what it adds goes to that CPU's
 * row, as the other threads' adds on the same CPUs do.
 */
static void check_sections(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	for (int i = 0; i < cpus.nr; i++) {
		check(!support_move(0, cpus.cpu[i]));
		if (rseq_thread_registered())
			check(rseq_current_cpu_raw() == cpus.cpu[i]);
		add(worker_adds);
	}
	support_release(&cpus);
}

/* The parent's state before and after a child on its storage. */
static void check_parent(bool registered)
{
	struct rseq_info before = worker_info(), after;
	bool libc_owns = before.owner == RSEQ_OWNER_LIBC;
	intptr_t sum = rseq_counter_sum(counter);

	/* No system call tells a child of a thread that libc registered. */
	for (int i = 0; i < 3; i++)
		check_child(libc_owns ? 0 : ECHILD);
	check(rseq_counter_sum(counter) == sum + (borrowed.with_add ? 3 : 0));
	after = worker_info();
	check(after.owner == before.owner && after.reason == before.reason);
	check(after.registered_length == before.registered_length);
	check(rseq_thread_registered() == (registered || libc_owns));
	check_sections();
}

static void *borrow_from_unknown_thread(void *argument)
{
	/* Adds in the child are for a parent that has no rseq: a stale CPU number is no help. */
	borrowed.with_add = !rseq_thread_registered();
	check_parent(false);
	borrowed.with_add = false;
	/* The thread may still be registered: a section's slow path did it, and a call can. */
	check(rseq_thread_registered());
	check(!rseq_register_current_thread());
	check(rseq_thread_registered());
	return argument;
}

static void *count_aside(void *argument)
{
	intptr_t *done = argument;

	while (!__atomic_load_n(&done[1], __ATOMIC_RELAXED)) {
		add(1000);
		done[0] += 1000;
	}
	return NULL;
}

static void borrow(void (*run)(void))
{
	struct support_cpus cpus;
	intptr_t aside[2] = { 0, 0 }, expected;
	pthread_t thread;

	run_child = run;
	create_counter();
	support_find_cpus(&cpus);
	worker_in_thread(borrow_from_unknown_thread, NULL);

	check(!rseq_register_current_thread() && !rseq_register_current_thread());
	rseq_counter_add(counter, -rseq_counter_sum(counter));
	check_parent(true);
	worker_print_info("");

	/* While another thread counts on the same CPUs. */
	expected = rseq_counter_sum(counter);
	check(!pthread_create(&thread, NULL, count_aside, aside));
	for (int i = 0; i < 20; i++) {
		run_child();
		check_sections();
	}
	__atomic_store_n(&aside[1], 1, __ATOMIC_RELAXED);
	check(!pthread_join(thread, NULL));
	expected += aside[0] + (intptr_t)worker_adds * cpus.nr * 20;
	check(rseq_counter_sum(counter) == expected);

	/* The nesting is as deep as it was. */
	if (worker_info().owner == RSEQ_OWNER_LIBC)
		return;
	check(!rseq_unregister_current_thread());
	check(rseq_thread_registered());
	check(!rseq_unregister_current_thread());
	check(!rseq_thread_registered());
	check(worker_error(rseq_unregister_current_thread()) == EINVAL);
}

/* musl's is a fork() on some machines: then there is no storage that is borrowed. */
static bool vfork_borrows(void)
{
	static volatile bool seen;
	pid_t child = vfork();

	if (!child) {
		seen = true;
		_exit(0);
	}
	worker_wait(child);
	return seen;
}

void worker_vfork(const char *argument)
{
	(void)argument;
	if (vfork_borrows())
		borrow(run_vfork_child);
	else
		worker_print("vfork", "fork");
}

void worker_clone(const char *argument)
{
	(void)argument;
	borrow(run_clone_child);
}

static char report_name[] = "report";

void worker_spawn(const char *argument)
{
	char program[] = "/proc/self/exe";
	char *const arguments[] = { program, report_name, NULL };
	struct rseq_info before, after;
	pid_t child = 0;

	(void)argument;
	create_counter();
	check(!rseq_register_current_thread());
	before = worker_info();
	check(!posix_spawn(&child, program, NULL, NULL, arguments, environ));
	check_sections();
	worker_wait(child);
	check_sections();
	after = worker_info();
	check(after.owner == before.owner && after.registered_length == before.registered_length);
	check(!rseq_unregister_current_thread());
}

/* Nothing of a registration goes over to a new program. */
void worker_exec(const char *argument)
{
	char program[] = "/proc/self/exe";
	char *const arguments[] = { program, report_name, NULL };

	(void)argument;
	create_counter();
	check(!rseq_register_current_thread() && !rseq_register_current_thread());
	add(worker_adds);
	if (worker_complaints())
		exit(1);
	execv(program, arguments);
	perror(program);
	exit(1);
}
