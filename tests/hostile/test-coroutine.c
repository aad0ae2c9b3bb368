/* SPDX-License-Identifier: MIT */
/*
 * Coroutines that are suspended in one thread and resumed in another, in the middle of what they do
 * with the structures, as the guide says that they may: by functions that are not inlined and do
 * not switch. A lock may be held meanwhile, and is released in another thread.
 */
#define _GNU_SOURCE

#include "works.h"

#include <rseq/info.h>

#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NR_THREADS	4
#define NR_COROUTINES	24
#define NR_ROUNDS	60
#define STACK_BYTES	131072

struct coroutine {
	ucontext_t context;
	struct coroutine *next;		/* that is to be resumed */
	struct runner *runner;		/* the thread that it was in */
	bool ended;
};

/* One for each thread; where it resumes coroutines, and what it knows of itself. */
struct runner {
	ucontext_t context;
	struct coroutine *current;
	struct rseq_abi *area;
};

static struct works *works;
static struct coroutine coroutines[NR_COROUTINES];
static struct coroutine *first, **last = &first;
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static int nr_ended, nr_moved;
static __thread struct runner *runner;

/* Nothing of the thread may be kept over a switch. */
__attribute__((noinline))
static struct runner *this_runner(void)
{
	struct runner *found = runner;

	__asm__ __volatile__ ("" : "+r" (found) : : "memory");
	return found;
}

static void enqueue(struct coroutine *coroutine)
{
	pthread_mutex_lock(&queue_lock);
	coroutine->next = NULL;
	*last = coroutine;
	last = &coroutine->next;
	pthread_mutex_unlock(&queue_lock);
}

/* One that was suspended in another thread. */
static struct coroutine *dequeue(const struct runner *self)
{
	struct coroutine **at = &first, *coroutine;

	pthread_mutex_lock(&queue_lock);
	while (*at && (*at)->runner == self)
		at = &(*at)->next;
	coroutine = *at;
	if (coroutine) {
		*at = coroutine->next;
		if (!*at)
			last = at;
	}
	pthread_mutex_unlock(&queue_lock);
	return coroutine;
}

/* The area is that of the thread that this is now. */
__attribute__((noinline))
static void check_thread(const struct runner *now)
{
	check(now == this_runner());
	check(rseq_get_abi_slow() == now->area);
}

static void switch_away(void)
{
	struct runner *before = this_runner(), *now;
	struct coroutine *self = before ? before->current : NULL;

	if (!self)
		return;
	check_thread(before);
	swapcontext(&self->context, &before->context);
	now = this_runner();
	if (now != before)
		__atomic_fetch_add(&nr_moved, 1, __ATOMIC_RELAXED);
	check_thread(now);
}

static void be_coroutine(void)
{
	struct runner *now;

	for (int i = 0; i < NR_ROUNDS; i++) {
		works_round_in_handler(works);
		switch_away();
	}
	now = this_runner();
	now->current->ended = true;
	swapcontext(&now->current->context, &now->context);
}

/* Every other thread is registered at first. */
static void *resume_all(void *argument)
{
	struct runner self = { .current = NULL };
	struct coroutine *coroutine;

	pthread_barrier_wait(&barrier);
	runner = &self;
	self.area = rseq_get_abi();
	if (*(const int *)argument % 2)
		rseq_register_current_thread();
	while (__atomic_load_n(&nr_ended, __ATOMIC_ACQUIRE) < NR_COROUTINES) {
		coroutine = dequeue(&self);
		if (!coroutine) {
			sched_yield();
			continue;
		}
		self.current = coroutine;
		coroutine->runner = &self;
		swapcontext(&self.context, &coroutine->context);
		self.current = NULL;
		if (coroutine->ended)
			__atomic_fetch_add(&nr_ended, 1, __ATOMIC_RELEASE);
		else
			enqueue(coroutine);
	}
	return NULL;
}

static int run(char **argv)
{
	static const int numbers[NR_THREADS] = { 0, 1, 2, 3 };
	pthread_t threads[NR_THREADS];

	(void)argv;
	works = works_create(RSEQ_PERCPU_CPU_ID);
	check(works);
	if (!works)
		return 1;
	works_pause = switch_away;
	check(!pthread_barrier_init(&barrier, NULL, NR_THREADS));
	for (int i = 0; i < NR_COROUTINES; i++) {
		void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		check(stack != MAP_FAILED && !getcontext(&coroutines[i].context));
		coroutines[i].context.uc_stack.ss_sp = stack;
		coroutines[i].context.uc_stack.ss_size = STACK_BYTES;
		makecontext(&coroutines[i].context, be_coroutine, 0);
		enqueue(&coroutines[i]);
	}
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, resume_all, (void *)&numbers[i]));
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(threads[i], NULL));
	printf("%d times a coroutine was resumed in another thread\n", nr_moved);
	check(nr_moved >= NR_COROUTINES * NR_ROUNDS);
	works_settle(works, 0);
	works_destroy(works, 0);
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	return works_run_all_ways(argv, run);
}
