/* SPDX-License-Identifier: MIT */
/*
 * A thread without rseq pops from a list that none has popped from before: it takes the nodes of
 * its CPU's registered threads, and keeps the others for the next pop. Stopped in between, when the
 * row may be used again, it does not make these threads believe that there is no node.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/list.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include <cmocka.h>

#define MAX_STEPS	100000UL
#define RELEASED	(UINTPTR_MAX - 1)	/* see src/percpu.h */

/* What a child and its tracer tell each other. */
static struct {
	pid_t stepped;			/* the thread without rseq; these are atomic */
	int may_pop;
	int nr_done;
	struct rseq_list_node *popped[2];
} *shared;

static struct rseq_list *list;
static struct rseq_list_node nodes[2];
static int home;

static int read_word(const int *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void *pop_without_rseq(void *unused)
{
	(void)unused;
	support_go_without_rseq();
	__atomic_store_n(&shared->stepped, gettid(), __ATOMIC_SEQ_CST);
	raise(SIGSTOP);
	shared->popped[0] = rseq_list_pop(list);
	__atomic_add_fetch(&shared->nr_done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int pop_twice(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, pop_without_rseq, NULL))
		return 1;
	while (!read_word(&shared->may_pop))
		usleep(100);
	shared->popped[1] = rseq_list_pop(list);
	__atomic_add_fetch(&shared->nr_done, 1, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	return 0;
}

static uintptr_t peek(pid_t tid, const void *address)
{
	return (uintptr_t)ptrace(PTRACE_PEEKDATA, tid, address, NULL);
}

/* Up to where the row is empty and released. Returns whether it comes there. */
static bool step(pid_t tid)
{
	const struct rseq_list_row *row = (const struct rseq_list_row *)(const void *)
			(rseq_rows_of(list).first + (size_t)home * RSEQ_PERCPU_STRIDE);
	unsigned long nr = 0;
	int status;

	while (peek(tid, &row->head) || peek(tid, &row->gate) != RELEASED) {
		if (nr++ == MAX_STEPS || ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL) ||
		    waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
			return false;
	}
	return true;
}

/* The child is stopped as a whole, to be continued as one. */
static bool step_child(pid_t child)
{
	pid_t tid;
	int status;
	bool there;

	while (!(tid = read_word(&shared->stepped)))
		usleep(100);
	if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SEIZE, tid, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) || waitpid(tid, &status, __WALL) != tid)
		return false;
	kill(child, SIGCONT);
	there = step(tid);
	__atomic_store_n(&shared->may_pop, 1, __ATOMIC_SEQ_CST);
	/* It may have to wait for the other one. */
	for (int i = 0; i < 200 && !read_word(&shared->nr_done); i++)
		usleep(1000);
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
	return there;
}

static void test_two_pops(void **state)
{
	const char *emulator = getenv("RSEQ_EMULATOR");
	struct support_cpus cpus;
	pid_t child;
	int status;
	bool there;

	(void)state;
	if (SUPPORT_SANITIZED || (emulator && *emulator) || rseq_register_current_thread())
		skip();
	support_find_cpus(&cpus);
	home = cpus.cpu[0];
	assert_int_equal(support_move(0, home), 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	assert_true(shared != MAP_FAILED);
	list = rseq_list_create();
	assert_non_null(list);
	for (int i = 0; i < 2; i++)
		rseq_list_push(list, &nodes[i]);

	child = fork();
	if (!child)
		_exit(pop_twice());
	assert_true(child > 0);
	there = step_child(child);
	if (!there)
		kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!there) {
		print_message("the thread could not be stepped there\n");
		skip();
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_non_null(shared->popped[0]);
	assert_non_null(shared->popped[1]);
	rseq_list_destroy(list);
	assert_int_equal(support_release(&cpus), 0);
	rseq_unregister_current_thread();
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_two_pops) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
