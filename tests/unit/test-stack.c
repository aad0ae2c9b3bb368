/* SPDX-License-Identifier: MIT */
/*
 * Stacks: order, bounds, batches, capacities that change, items taken by other CPUs; threads with
 * and without rseq, signal handlers, fork, memory. In both modes.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/stack.h>

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define CAPACITY	100
#define LARGE_CAPACITY	50000	/* too many for a row that shares pages; and the most: */
#define SHARED_CAPACITY	4092

static enum rseq_percpu_mode modes[] = { RSEQ_PERCPU_CPU_ID, RSEQ_PERCPU_MM_CID };
static char things[LARGE_CAPACITY];

static struct rseq_stack *create(size_t capacity, enum rseq_percpu_mode mode)
{
	struct rseq_stack *stack = rseq_stack_create_mode(capacity, mode);

	assert_non_null(stack);
	return stack;
}

/* Registered or not, this thread does not come to another CPU's part meanwhile. */
static void stay(struct support_cpus *cpus)
{
	support_find_cpus(cpus);
	assert_int_equal(support_move(0, cpus->cpu[cpus->nr - 1]), 0);
}

static size_t count_all(const struct rseq_stack *stack)
{
	size_t total = 0;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		total += rseq_stack_count(stack, cpu);
	return total;
}

/* The number of the only part that has items. */
static int find_part(const struct rseq_stack *stack)
{
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		if (rseq_stack_count(stack, cpu))
			return cpu;
	fail();
	return -1;
}

static void push_many(struct rseq_stack *stack, size_t first, size_t nr)
{
	for (size_t i = first; i < first + nr; i++)
		assert_int_equal(rseq_stack_push(stack, &things[i]), 0);
}

static void pop_many(struct rseq_stack *stack, size_t nr)
{
	while (nr--)
		assert_ptr_equal(rseq_stack_pop(stack), &things[nr]);
	assert_null(rseq_stack_pop(stack));
}

static void push_too_many(struct rseq_stack *stack)
{
	errno = 0;
	assert_int_equal(rseq_stack_push(stack, &things[0]), -1);
	assert_int_equal(errno, ENOSPC);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_stack_push_batch(stack, (void *[]){ &things[0] }, 1), 0);
	assert_int_equal(errno, KEPT_ERRNO);
}

static void check_order(struct rseq_stack *stack, size_t capacity)
{
	errno = KEPT_ERRNO;
	assert_null(rseq_stack_pop(stack));
	push_many(stack, 0, capacity);
	assert_int_equal(count_all(stack), capacity);
	assert_int_equal(rseq_stack_count(stack, find_part(stack)), capacity);
	push_too_many(stack);
	pop_many(stack, capacity);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(count_all(stack), 0);
}

static void check_batches(struct rseq_stack *stack)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 33, CAPACITY };
	void *in[CAPACITY + 8], *out[CAPACITY + 8];

	for (int i = 0; i < CAPACITY + 8; i++)
		in[i] = &things[i];
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_stack_push_batch(stack, in, 0), 0);
	assert_int_equal(rseq_stack_pop_batch(stack, out, 0), 0);
	assert_int_equal(rseq_stack_pop_batch(stack, out, CAPACITY), 0);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t nr = sizes[s];

		assert_int_equal(rseq_stack_push_batch(stack, in, nr), nr);
		assert_int_equal(count_all(stack), nr);
		assert_int_equal(rseq_stack_pop_batch(stack, out, nr), nr);
		assert_memory_equal(out, in, nr * sizeof(*in));
	}
	/* As one after the other. */
	push_many(stack, 0, 3);
	assert_int_equal(rseq_stack_push_batch(stack, in + 3, 4), 4);
	assert_ptr_equal(rseq_stack_pop(stack), in[6]);
	assert_int_equal(rseq_stack_pop_batch(stack, out, 4), 4);
	assert_memory_equal(out, in + 2, 4 * sizeof(*in));
	/* As many as there is room for, and as there are. */
	assert_int_equal(rseq_stack_push_batch(stack, in + 2, CAPACITY + 6), CAPACITY - 2);
	push_too_many(stack);
	assert_int_equal(rseq_stack_pop_batch(stack, out, CAPACITY + 8), CAPACITY);
	assert_memory_equal(out, in, CAPACITY * sizeof(*in));
	assert_int_equal(rseq_stack_pop_batch(stack, out, 1), 0);
	assert_int_equal(errno, KEPT_ERRNO);
}

/* What a drain's callback sees, and what it does to the stack. */
struct seen {
	struct rseq_stack *stack;
	size_t nr, first, nr_to_push;
	bool in_order;
};

static void see(void *item, void *arg)
{
	struct seen *seen = arg;

	seen->nr++;
	seen->in_order &= item == &things[seen->first - seen->nr];
	errno = KEPT_ERRNO;
	if (seen->nr_to_push) {
		seen->nr_to_push--;
		assert_int_equal(rseq_stack_push(seen->stack, &things[seen->nr_to_push]), 0);
	}
}

/* things[0] to things[nr - 1] are in one part; nr_to_push are pushed meanwhile, and may stay. */
static void drain(struct rseq_stack *stack, size_t nr, size_t nr_to_push)
{
	struct seen seen = { stack, 0, nr, nr_to_push, true };

	errno = KEPT_ERRNO;
	assert_int_equal(rseq_stack_drain(stack, see, &seen), nr);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(seen.nr, nr);
	assert_true(seen.in_order);
	assert_int_equal(seen.nr_to_push, 0);
	assert_int_equal(count_all(stack), nr_to_push);
}

static void check_drain(struct rseq_stack *stack, size_t capacity)
{
	drain(stack, 0, 0);
	for (size_t nr = 1; nr <= capacity; nr *= 2) {
		push_many(stack, 0, nr);
		drain(stack, nr, 0);
		assert_null(rseq_stack_pop(stack));
	}
	push_many(stack, 0, capacity);
	drain(stack, capacity, 10);
	for (int i = 0; i < 10; i++)
		assert_ptr_equal(rseq_stack_pop(stack), &things[i]);
	check_order(stack, capacity);
}

static void check_steal(struct rseq_stack *stack)
{
	void *out[CAPACITY];
	int part;

	push_many(stack, 0, CAPACITY);
	part = find_part(stack);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_stack_steal(stack, part, out, 0), 0);
	assert_int_equal(rseq_stack_steal(stack, part, out, 30), 30);
	for (int i = 0; i < 30; i++)
		assert_ptr_equal(out[i], &things[CAPACITY - 30 + i]);
	assert_int_equal(rseq_stack_count(stack, part), CAPACITY - 30);
	push_many(stack, CAPACITY - 30, 30);
	push_too_many(stack);
	assert_int_equal(rseq_stack_steal(stack, part, out, CAPACITY), CAPACITY);
	for (int i = 0; i < CAPACITY; i++)
		assert_ptr_equal(out[i], &things[i]);
	assert_int_equal(rseq_stack_steal(stack, part, out, 1), 0);
	assert_null(rseq_stack_pop(stack));
	assert_int_equal(errno, KEPT_ERRNO);
	check_order(stack, CAPACITY);
}

static void set_all(struct rseq_stack *stack, size_t capacity)
{
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		assert_int_equal(rseq_stack_set_capacity(stack, cpu, capacity), 0);
}

static void check_capacity(struct rseq_stack *stack)
{
	void *out[CAPACITY];

	errno = KEPT_ERRNO;
	set_all(stack, 10);
	check_order(stack, 10);
	push_many(stack, 0, 10);
	set_all(stack, 4);
	push_too_many(stack);
	assert_ptr_equal(rseq_stack_pop(stack), &things[9]);
	push_too_many(stack);
	assert_int_equal(rseq_stack_pop_batch(stack, out, 6), 6);
	push_many(stack, 3, 1);
	push_too_many(stack);
	set_all(stack, 0);
	push_too_many(stack);
	pop_many(stack, 4);
	push_too_many(stack);
	set_all(stack, 7);
	check_order(stack, 7);
	push_many(stack, 0, 7);
	assert_int_equal(rseq_stack_steal(stack, find_part(stack), out, 7), 7);
	set_all(stack, 5);
	check_order(stack, 5);
	set_all(stack, CAPACITY);
	check_order(stack, CAPACITY);
	assert_int_equal(errno, KEPT_ERRNO);
}

static void check_alone(enum rseq_percpu_mode mode)
{
	const size_t capacities[] = { 1, SHARED_CAPACITY, SHARED_CAPACITY + 1, LARGE_CAPACITY };
	struct rseq_stack *stack = create(CAPACITY, mode);
	struct support_cpus cpus;

	stay(&cpus);
	check_order(stack, CAPACITY);
	check_batches(stack);
	check_drain(stack, CAPACITY);
	check_steal(stack);
	check_capacity(stack);
	rseq_stack_destroy(stack);
	/* Of a part that nobody has pushed to. */
	stack = create(CAPACITY, mode);
	check_capacity(stack);
	rseq_stack_destroy(stack);
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		stack = create(capacities[i], mode);
		check_order(stack, capacities[i]);
		if (capacities[i] >= 10)
			check_drain(stack, capacities[i]);
		rseq_stack_destroy(stack);
	}
	assert_int_equal(support_release(&cpus), 0);
}

static void test_alone(void **state)
{
	(void)state;
	for (int m = 0; m < 2; m++) {
		rseq_register_current_thread();
		check_alone(modes[m]);
		rseq_unregister_current_thread();
	}
}

static void *check_alone_without(void *mode)
{
	support_go_without_rseq();
	check_alone(*(const enum rseq_percpu_mode *)mode);
	return NULL;
}

static void in_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_without_rseq(void **state)
{
	(void)state;
	for (int m = 0; m < 2; m++)
		in_thread(check_alone_without, &modes[m]);
}

static void test_arguments(void **state)
{
	struct rseq_stack *stack = rseq_stack_create(CAPACITY);
	const int nr_cpus = rseq_get_max_nr_cpus();
	void *items[1];

#define FAILS(error, call)	(errno = 0, (call) && errno == (error))
	(void)state;
	assert_non_null(stack);
	assert_true(FAILS(EINVAL, !rseq_stack_create(0)));
	assert_true(FAILS(EINVAL, !rseq_stack_create_mode(1, (enum rseq_percpu_mode)2)));
	for (size_t capacity = SIZE_MAX; capacity > SIZE_MAX >> 12; capacity /= 2)
		assert_true(FAILS(ENOMEM, !rseq_stack_create(capacity)));
	assert_true(FAILS(EINVAL, rseq_stack_push(stack, NULL) == -1));
	for (int cpu = -1; cpu <= nr_cpus; cpu += nr_cpus + 1) {
		assert_true(FAILS(EINVAL, !rseq_stack_count(stack, cpu)));
		assert_true(FAILS(EINVAL, !rseq_stack_steal(stack, cpu, items, 1)));
		assert_true(FAILS(EINVAL, rseq_stack_set_capacity(stack, cpu, 1) == -1));
	}
	assert_true(FAILS(EINVAL, !rseq_stack_count(NULL, 0)));
	assert_true(FAILS(EINVAL, !rseq_stack_steal(NULL, 0, items, 1)));
	assert_true(FAILS(EINVAL, !rseq_stack_steal(stack, 0, NULL, 1)));
	assert_true(FAILS(EINVAL, !rseq_stack_drain(NULL, see, NULL)));
	assert_true(FAILS(EINVAL, !rseq_stack_drain(stack, NULL, NULL)));
	assert_true(FAILS(EINVAL, rseq_stack_set_capacity(NULL, 0, 1) == -1));
	assert_true(FAILS(EINVAL, rseq_stack_set_capacity(stack, 0, CAPACITY + 1) == -1));
#undef FAILS
	errno = KEPT_ERRNO;
	rseq_stack_destroy(NULL);
	rseq_stack_destroy(stack);
	assert_int_equal(errno, KEPT_ERRNO);
}

static struct rseq_stack *shared;

static void *take_without(void *argument)
{
	void *out[4];

	(void)argument;
	support_go_without_rseq();
	assert_ptr_equal(rseq_stack_pop(shared), &things[9]);
	assert_int_equal(rseq_stack_pop_batch(shared, out, 4), 4);
	assert_ptr_equal(out[0], &things[5]);
	pop_many(shared, 5);
	push_many(shared, 0, CAPACITY);
	return NULL;
}

/* What a thread with rseq has pushed, one without finds, and the other way round. */
static void test_each_others(void **state)
{
	struct support_cpus cpus;
	void *out[2 * CAPACITY];
	size_t nr;

	(void)state;
	stay(&cpus);
	rseq_register_current_thread();
	for (int m = 0; m < 2; m++) {
		shared = create(CAPACITY, modes[m]);
		push_many(shared, 0, 10);
		in_thread(take_without, NULL);
		assert_int_equal(count_all(shared), CAPACITY);
		pop_many(shared, CAPACITY);
		/* Each kind has its own room. */
		push_many(shared, 0, 10);
		in_thread(take_without, NULL);
		nr = rseq_stack_push_batch(shared, (void *[]){ &things[0], &things[0] }, 2);
		assert_int_equal(nr, rseq_thread_registered() ? 2 : 0);
		assert_int_equal(count_all(shared), CAPACITY + nr);
		for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
			nr -= rseq_stack_steal(shared, cpu, out, 2 * CAPACITY);
		assert_int_equal(nr, (size_t)-CAPACITY);
		rseq_stack_destroy(shared);
	}
	rseq_unregister_current_thread();
	assert_int_equal(support_release(&cpus), 0);
}

/* Items of every CPU; each comes back once. */
static void mark(void *item, void *arg)
{
	(void)arg;
	++*(char *)item;
}

static void test_all_cpus(void **state)
{
	struct support_cpus cpus;
	size_t nr = 0;
	void *out[3];

	(void)state;
	support_find_cpus(&cpus);
	shared = create(CAPACITY, RSEQ_PERCPU_CPU_ID);
	for (int round = 0; round < 3; round++, nr = 0) {
		for (int c = 0; c < cpus.nr && nr + 10 <= sizeof(things); c++, nr += 10) {
			assert_int_equal(support_move(0, cpus.cpu[c]), 0);
			push_many(shared, nr, 10);
			assert_int_equal(rseq_stack_count(shared, cpus.cpu[c]), 10);
		}
		assert_int_equal(rseq_stack_steal(shared, cpus.cpu[0], out, 3), 3);
		for (int i = 0; i < 3; i++) {
			assert_ptr_equal(out[i], &things[7 + i]);
			mark(out[i], NULL);
		}
		assert_int_equal(rseq_stack_drain(shared, mark, NULL), nr - 3);
		for (size_t i = 0; i < nr; i++)
			assert_int_equal(things[i], 1);
		memset(things, 0, sizeof(things));
	}
	rseq_stack_destroy(shared);
	assert_int_equal(support_release(&cpus), 0);
}

/* Without memory for all items, a drain takes them in turns. */
static int drain_without_memory(void)
{
	const struct rlimit none = { 0, 0 };
	struct seen seen = { shared, 0, LARGE_CAPACITY, 100, true };
	char *volatile item;	/* clang leaves out an allocation that nobody looks at */

	if (setrlimit(RLIMIT_AS, &none) || (item = malloc(1 << 30)))
		return SUPPORT_SKIP;
	while ((item = malloc(4096)))
		;
	if (rseq_stack_drain(shared, see, &seen) != LARGE_CAPACITY || !seen.in_order)
		return 2;
	/* What was pushed meanwhile is there, in whatever order. */
	while ((item = rseq_stack_pop(shared)))
		++*item;
	for (int i = 0; i < 100; i++)
		if (things[i] != 1)
			return 3;
	return 0;
}

static void test_drain_without_memory(void **state)
{
	struct support_cpus cpus;
	int status = 0;
	pid_t child;

	(void)state;
	if (SUPPORT_SANITIZED)
		skip();
	stay(&cpus);
	shared = create(LARGE_CAPACITY, RSEQ_PERCPU_CPU_ID);
	push_many(shared, 0, LARGE_CAPACITY);
	child = fork();
	if (!child)
		_exit(drain_without_memory());
	assert_int_equal(waitpid(child, &status, 0), child);
	if (status == SUPPORT_SKIP << 8)
		print_message("an emulator does not limit the address space\n");
	else
		assert_int_equal(status, 0);
	/* The child had items of its own. */
	pop_many(shared, LARGE_CAPACITY);
	rseq_stack_destroy(shared);
	assert_int_equal(support_release(&cpus), 0);
}

static volatile int nr_handled;

static void push_and_pop_in_handler(int signal)
{
	void *out[3], *in[] = { &things[50], &things[51], &things[52] };

	(void)signal;
	if (rseq_stack_push_batch(shared, in, 3) == 3 && rseq_stack_pop(shared) == in[2] &&
	    rseq_stack_pop_batch(shared, out, 2) == 2 && out[0] == in[0] && out[1] == in[1])
		nr_handled++;
}

static void *handle_signals(void *argument)
{
	struct sigaction action = { .sa_handler = push_and_pop_in_handler }, before;
	struct support_cpus cpus;

	stay(&cpus);
	if (argument)
		support_go_without_rseq();
	shared = create(CAPACITY, RSEQ_PERCPU_CPU_ID);
	nr_handled = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	for (int i = 0; i < 50; i++) {
		push_many(shared, (size_t)i, 1);
		assert_int_equal(raise(SIGUSR1), 0);
	}
	pop_many(shared, 50);
	assert_int_equal(nr_handled, 50);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	rseq_stack_destroy(shared);
	return NULL;
}

static void test_signal_handler(void **state)
{
	(void)state;
	in_thread(handle_signals, NULL);
	in_thread(handle_signals, things);
}

/* 16 MiB for each CPU cost what is used of them, whatever looks at them. */
static void test_memory(void **state)
{
	const size_t capacity = (16 << 20) / sizeof(void *), little = 1 << 20;
	struct support_cpus cpus;
	size_t before, full;
	void *in[64], *out[4];

	(void)state;
	if (SUPPORT_SANITIZED)
		skip();
	stay(&cpus);
	before = (size_t)support_resident();
	shared = create(capacity, RSEQ_PERCPU_CPU_ID);
	push_many(shared, 0, 100);
	set_all(shared, capacity / 2);
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		rseq_stack_steal(shared, cpu, out, 4);
	drain(shared, 96, 0);
	assert_in_range((size_t)support_resident(), 0, before + little +
			(size_t)rseq_get_max_nr_cpus() * (size_t)sysconf(_SC_PAGESIZE));
	set_all(shared, capacity);
	memset(in, 1, sizeof(in));
	while (rseq_stack_push_batch(shared, in, 64) == 64)
		;
	full = (size_t)support_resident();
	assert_true(full >= before + (16 << 20) && full < before + (18 << 20));
	rseq_stack_destroy(shared);
	assert_in_range((size_t)support_resident(), 0, before + little);
	assert_int_equal(support_release(&cpus), 0);
}

/* Sections do most of the work, where there is rseq: slow ways would hide that they do not. */
static void test_try(void **state)
{
	void *in[] = { &things[0], &things[1] }, *out[2];
	struct support_cpus cpus;
	int nr = 0;

	(void)state;
	stay(&cpus);
	rseq_register_current_thread();
	for (int m = 0; m < 2; m++) {
		shared = create(CAPACITY, modes[m]);
		assert_int_equal(rseq_stack_push_slow(shared, in[0]), 0);
		assert_ptr_equal(rseq_stack_pop_slow(shared), in[0]);
		for (int i = 0; i < 1000; i++) {
			nr += rseq_stack_try_push(shared, in[0]);
			nr += rseq_stack_try_pop(shared) == in[0];
			nr += rseq_stack_try_push_batch(shared, in, 2) == 2;
			nr += rseq_stack_try_pop_batch(shared, out, 2) == 2;
			if (!count_all(shared))
				continue;
			/* A pop was aborted. No try opens the row again that this closes. */
			rseq_stack_drain(shared, mark, NULL);
			assert_int_equal(rseq_stack_push(shared, in[0]), 0);
			assert_ptr_equal(rseq_stack_pop(shared), in[0]);
		}
		rseq_stack_destroy(shared);
	}
	if (rseq_thread_registered())
		assert_true(nr > 2 * 4 * 500);
	else
		assert_int_equal(nr, 0);
	rseq_unregister_current_thread();
	assert_int_equal(support_release(&cpus), 0);
}

static int run_group(void)
{
	const struct CMUnitTest stack[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_without_rseq),
		cmocka_unit_test(test_each_others),
		cmocka_unit_test(test_all_cpus),
		cmocka_unit_test(test_drain_without_memory),
		cmocka_unit_test(test_signal_handler),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_try),
	};

	return cmocka_run_group_tests(stack, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
