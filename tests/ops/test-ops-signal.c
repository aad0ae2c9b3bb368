/* SPDX-License-Identifier: MIT */
/*
 * The operations while signals interrupt them: a handler runs the same operation on the same data,
 * and nothing is lost or done twice. C and C++.
 */
#include "ops-support.h"

#include <time.h>

#define NR_LINKS	256
#define COPIED		200

/* How often the handler runs, and for how long, and how often at least, a step is made. */
#define PERIOD_NS	40000L
#define DURATION_NS	20000000L
#define MIN_STEPS	1000

/* Steps between two looks at the clock. */
#define BATCH		64

/* Data that each kind of step advances by one, whoever makes it. */
static struct {
	intptr_t v, v2, base, slot, head, load;
	intptr_t links[NR_LINKS];	/* a circle */
	intptr_t stored[NR_LINKS];
	unsigned char copy[COPIED], record[COPIED];
} data;

typedef int step(const struct ops *ops);

static int step_store(const struct ops *ops)
{
	intptr_t v = RSEQ_READ_ONCE(data.v);

	return ops->store(&data.v, v, v + 1, ops_id(ops));
}

static int step_take(const struct ops *ops)
{
	return ops->take(&data.head, 0, 0, &data.load, ops_id(ops));
}

static int step_add(const struct ops *ops)
{
	return ops->add(&data.v, 1, ops_id(ops));
}

static int step_add_at(const struct ops *ops)
{
	return ops->add_at(&data.base, -24, 1, ops_id(ops));
}

static int step_store_if_both(const struct ops *ops)
{
	intptr_t v = RSEQ_READ_ONCE(data.v);

	return ops->store_if_both(&data.v, v, &data.v2, 0, v + 1, ops_id(ops));
}

static int step_store_store(const struct ops *ops)
{
	intptr_t v = RSEQ_READ_ONCE(data.v);

	return ops->store_store(&data.v, v, &data.stored[v % NR_LINKS], v, v + 1, ops_id(ops));
}

static int step_copy_store(const struct ops *ops)
{
	intptr_t v = RSEQ_READ_ONCE(data.v);

	return ops->copy_store(&data.v, v, data.copy, data.record, COPIED, v + 1, ops_id(ops));
}

static const struct {
	const char *name;
	step *run;
} steps[] = {
	{ "store", step_store },
	{ "take", step_take },
	{ "add", step_add },
	{ "add_at", step_add_at },
	{ "store_if_both", step_store_if_both },
	{ "store_store", step_store_store },
	{ "copy_store", step_copy_store },
};

static void reset(void)
{
	memset(&data, 0, sizeof(data));
	for (int i = 0; i < NR_LINKS; i++)
		data.links[i] = (intptr_t)&data.links[(i + 1) % NR_LINKS];
	data.head = (intptr_t)&data.links[0];
	data.base = (intptr_t)&data.slot + 24;
	data.slot = (intptr_t)&data.v;
	memset(data.record, 0x5a, sizeof(data.record));
}

/* What the data say of the number of steps, modulo what they can tell. */
static bool advanced_by(long steps_made)
{
	intptr_t links = (data.head - (intptr_t)data.links) / (intptr_t)sizeof(data.links[0]);

	return data.v + links == steps_made ||
	       (!data.v && links == steps_made % NR_LINKS);
}

static const struct ops *running_ops;
static step *running;
static volatile long in_handler, handler_failures;

static void handle(int signal)
{
	int saved_errno = errno, result;

	(void)signal;
	DO(result, running(running_ops));
	if (result)
		handler_failures = handler_failures + 1;
	else
		in_handler = in_handler + 1;
	errno = saved_errno;
}

static int64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static timer_t start_signals(void)
{
	struct itimerspec often = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
	struct sigaction action;
	struct sigevent event;
	timer_t timer;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handle;
	action.sa_flags = SA_RESTART;
	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGRTMIN;
	assert_int_equal(sigaction(SIGRTMIN, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	return timer;
}

/* A section that the kernel does not know is not aborted, and so not protected from handlers. */
static void need_signals(void)
{
	if (!areas_are_made_up)
		return;
	print_message("the kernel does not know this area\n");
	skip();
}

struct outcome {
	long committed, aborted, differed;
};

/*
 * Outside of a handler, a step is tried until the time is over: signals abort it, and a handler
 * may have changed what it compares.
 */
static struct outcome run_interrupted(const struct ops *ops, step *run)
{
	struct outcome outcome = { 0, 0, 0 };
	int64_t end = now_ns() + DURATION_NS;
	timer_t timer;

	reset();
	running_ops = ops;
	running = run;
	in_handler = 0;
	handler_failures = 0;
	timer = start_signals();
	while (now_ns() < end || outcome.committed < MIN_STEPS) {
		for (int i = 0; i < BATCH; i++) {
			int result = run(ops);

			outcome.committed += !result;
			outcome.aborted += result < 0;
			outcome.differed += result > 0;
		}
	}
	assert_int_equal(timer_delete(timer), 0);
	return outcome;
}

static void test_handler_on_same_data(void **state)
{
	(void)state;
	need_signals();
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < ARRAY_SIZE(steps); i++) {
			struct outcome outcome = run_interrupted(ops, steps[i].run);

			print_message("%s, %s: %ld commits, %ld aborts, %ld differed; %ld in "
				      "handlers\n", steps[i].name, ops->name, outcome.committed,
				      outcome.aborted, outcome.differed, in_handler);
			assert_int_equal(handler_failures, 0);
			assert_true(advanced_by(outcome.committed + in_handler));
		}
	}
}

/*
 * A try that is aborted, or finds the wrong CPU, may have written the first of two words or a part
 * of the copy. The one that commits makes it right.
 */
static void repeat_after_failure(const struct ops *ops, intptr_t i)
{
	intptr_t word = i, stored = -1;
	int wrong = ~ops_id(ops), result;

	assert_int_equal(ops->store_store(&word, i, &stored, ~i, i + 1, wrong), -1);
	DO(result, ops->store_store(&word, i, &stored, ~i, i + 1, ops_id(ops)));
	assert_int_equal(result, 0);
	assert_true(word == i + 1 && stored == ~i);

	memset(data.record, (int)i, sizeof(data.record));
	assert_int_equal(ops->copy_store(&word, i + 1, data.copy, data.record, COPIED, i, wrong),
			 -1);
	DO(result, ops->copy_store(&word, i + 1, data.copy, data.record, COPIED, i, ops_id(ops)));
	assert_int_equal(result, 0);
	assert_true(word == i);
	assert_memory_equal(data.copy, data.record, COPIED);
}

static void test_repeated_after_failure(void **state)
{
	(void)state;
	need_signals();
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		int64_t end = now_ns() + 3 * DURATION_NS;
		timer_t timer;

		reset();
		running_ops = ops;
		running = step_add;
		timer = start_signals();
		for (intptr_t i = 0; i < MIN_STEPS || i % BATCH || now_ns() < end; i++)
			repeat_after_failure(ops, i);
		assert_int_equal(timer_delete(timer), 0);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_handler_on_same_data, ops_pin),
		cmocka_unit_test(test_repeated_after_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return ops_main(argv, run);
}
