/* SPDX-License-Identifier: MIT */
/*
 * System call filters that come late: before a thread's first use of the library, between the
 * registrations of threads, and when structures are in use. One that kills proves that no call is
 * made but those that the guide tells, and none at all where rseq works and nobody is in the way;
 * with one that refuses everything but rseq and what threads cannot do without, operations go on.
 */
#define _GNU_SOURCE

#include "operations.h"
#include "works.h"

#include <rseq/fence.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#define MAX_CALLS	40
#define NR_TIMES	50		/* of each operation under a filter */

static const struct {
	enum calls group;
	int nr;
} groups[] = {
	{ WHERE, __NR_getcpu }, { WHERE, __NR_clock_gettime },
	{ MASK, __NR_rt_sigprocmask },
	{ REGISTER, __NR_rseq },
	{ WHO, __NR_gettid },
	{ FENCE, __NR_membarrier },
	{ MEMORY_AT_FIRST, __NR_mmap }, { MEMORY_AT_FIRST, __NR_munmap },
	{ MEMORY_AT_FIRST, __NR_madvise }, { MEMORY_AT_FIRST, __NR_brk },
	{ FUTEX, __NR_futex },
	{ THREADS, __NR_mmap }, { THREADS, __NR_mprotect }, { THREADS, __NR_munmap },
	{ THREADS, __NR_madvise }, { THREADS, __NR_brk }, { THREADS, __NR_clone },
#ifdef __NR_clone3
	{ THREADS, __NR_clone3 },
#endif
	{ THREADS, __NR_set_robust_list }, { THREADS, __NR_rt_sigprocmask },
	{ THREADS, __NR_futex },
};

/* How a process ends, and how it complains. */
static const int always[] = {
	__NR_exit, __NR_exit_group, __NR_write, __NR_rt_sigreturn,
};

#define ALLOW(nr)							\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)(nr), 0, 1),	\
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* From now on all other calls come to this action. */
static int filter_all_but(unsigned int calls, unsigned int action, unsigned int flags)
{
	struct sock_filter program[2 * MAX_CALLS + 2];
	unsigned short length = 0;
	struct sock_fprog filter = { .filter = program };

	program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		const struct sock_filter allow[] = { ALLOW(always[i]) };

		memcpy(program + length, allow, sizeof(allow));
		length = (unsigned short)(length + 2);
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		const struct sock_filter allow[] = { ALLOW(groups[i].nr) };

		if (!(groups[i].group & calls))
			continue;
		memcpy(program + length, allow, sizeof(allow));
		length = (unsigned short)(length + 2);
	}
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	filter.len = length;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) ? -1 : 0;
}

/* ---- operations, one by one, under a filter that kills ---- */

static const struct operation *operation;
static bool at_first;			/* the thread has not used the library yet */

static void use_under_filter(void)
{
	struct support_cpus cpus;
	unsigned int calls;

	support_find_cpus(&cpus);
	check(!support_move(0, cpus.cpu[0]));
	if (!at_first) {
		operations[0].run();
		operation->run();
		operation->run();
	}
	rseq_get_max_nr_cpus();
	calls = rseq_thread_registered() ? operation->calls : operation->fallback;
	if (at_first)
		calls = operation->calls | operation->fallback | WHO | MASK | REGISTER;
	else
		calls &= ~(unsigned int)MEMORY_AT_FIRST;
	check(!filter_all_but(calls, SECCOMP_RET_KILL_PROCESS, 0));
	for (int i = 0; i < NR_TIMES; i++)
		operation->run();
}

static void test_calls(void)
{
	for (int first = 0; first < 2; first++) {
		at_first = first;
		for (size_t i = 0; i < nr_operations; i++) {
			int before = works_complaints();

			operation = &operations[i];
			works_in_child(use_under_filter);
			if (works_complaints() != before)
				fprintf(stderr, "under a filter%s: %s\n",
					first ? ", at first" : "", operation->name);
		}
	}
}

/* ---- all structures at work, under filters that refuse ---- */

#define NR_THREADS	4
#define NR_ROUNDS	300

static struct works *works;
static unsigned int action;
static pthread_barrier_t barrier;

enum moment { FIRST, REGISTERED, IN_USE, NR_MOMENTS };

static void begin_works(void)
{
	works = works_create(RSEQ_PERCPU_CPU_ID);
	check(works);
	if (!works)
		_exit(1);
	/* So that no thread needs memory of the kernel's. */
	works_use(works, 20);
}

/* A thread that filters itself goes on, and so do the others. */
static void *filter_itself(void *argument)
{
	enum moment moment = *(enum moment *)argument;

	if (moment == REGISTERED)
		rseq_register_current_thread();
	if (moment == IN_USE)
		works_use(works, NR_ROUNDS);
	check(!filter_all_but(REGISTER | FUTEX, action, 0));
	works_use(works, NR_ROUNDS);
	check(!rseq_fence_all() || errno == ENOSYS);
	works_use(works, NR_ROUNDS);
	rseq_unregister_current_thread();
	works_use(works, NR_ROUNDS);
	return NULL;
}

static void test_each_filters_itself(void)
{
	static const enum moment moments[NR_MOMENTS] = { FIRST, REGISTERED, IN_USE };
	pthread_t threads[NR_MOMENTS];

	begin_works();
	works_without_fence = true;
	for (int i = 0; i < NR_MOMENTS; i++)
		check(!pthread_create(&threads[i], NULL, filter_itself, (void *)&moments[i]));
	works_use(works, NR_ROUNDS);
	for (int i = 0; i < NR_MOMENTS; i++)
		check(!pthread_join(threads[i], NULL));
	works_settle(works, 0);
	works_destroy(works, 0);
}

static void *work_over_filter(void *unused)
{
	(void)unused;
	works_use(works, NR_ROUNDS);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	works_use(works, NR_ROUNDS);
	return NULL;
}

static void *work_after_filter(void *unused)
{
	bool registered;

	(void)unused;
	rseq_register_current_thread();
	registered = rseq_thread_registered();
	works_use(works, NR_ROUNDS);
	check(rseq_thread_registered() == registered);
	return NULL;
}

/* One for all threads, among them; later threads are registered, as rseq is let pass. */
static void test_filter_for_all(void)
{
	pthread_t threads[NR_THREADS];
	bool registered;

	begin_works();
	check(!pthread_barrier_init(&barrier, NULL, NR_THREADS + 1));
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work_over_filter, NULL));
	pthread_barrier_wait(&barrier);
	registered = rseq_thread_registered();
	check(!filter_all_but(REGISTER | THREADS | WHO | FENCE | WHERE, action,
			      SECCOMP_FILTER_FLAG_TSYNC));
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < NR_THREADS; i++) {
		works_in_thread(work_after_filter, NULL);
		check(!pthread_join(threads[i], NULL));
	}
	works_use(works, NR_ROUNDS);
	check(rseq_thread_registered() == registered);
	works_settle(works, 0);
	works_destroy(works, 0);
}

static void test_refusals(void)
{
	static const unsigned int actions[] = {
		SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_KILL_PROCESS,
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		action = actions[i];
		if (action != SECCOMP_RET_KILL_PROCESS)
			works_in_child(test_each_filters_itself);
		works_in_child(test_filter_for_all);
	}
}

static void ask(void)
{
	check(!filter_all_but(NONE, SECCOMP_RET_ERRNO | EPERM, 0));
}

static int run(char **argv)
{
	(void)argv;
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0,
		    &(unsigned int){ SECCOMP_RET_KILL_PROCESS })) {
		printf("skipped: no seccomp filters here: %s\n", strerror(errno));
		return SUPPORT_SKIP;
	}
	works_in_child(ask);
	if (works_complaints())
		return 1;
	check(operations_create());
	test_calls();
	test_refusals();
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	if (SUPPORT_SANITIZED) {
		printf("skipped: a sanitizer makes calls of its own\n");
		return SUPPORT_SKIP;
	}
	return works_run_all_ways(argv, run);
}
