/* SPDX-License-Identifier: MIT */
/*
 * A row is opened by its own CPU alone, and word by word in an order of which each state is one
 * that sections can meet. Operations that open one are stepped through in a child, with its
 * critical sections hidden from the kernel, so that the steps do not abort them, and the row is
 * looked at after each. Then, right before each instruction that changed it, a child is moved to
 * another CPU, where it must leave the row alone.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/list.h>
#include <rseq/stack.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ptrace.h>

#include <cmocka.h>

#define CAPACITY	4
#define MAX_STEPS	100000UL
#define MAX_CHANGES	8
#define NO_PTRACE	99

static struct support_cpus cpus;
static int home, away;
static char things[2 * CAPACITY];
static struct rseq_stack *stack;
static struct rseq_list *list;
static struct rseq_list_node nodes[2];

static void count_item(void *item, void *nr)
{
	(void)item;
	++*(int *)nr;
}

/* ---- what is done to the row of the home CPU before, and what opens it: 0 if it did well ---- */

static int make_stack(void)
{
	stack = rseq_stack_create(CAPACITY);
	return stack ? 0 : -1;
}

static int make_stolen_stack(void)
{
	void *out[1];

	if (make_stack() || rseq_stack_push(stack, &things[0]) ||
	    rseq_stack_push(stack, &things[1]))
		return -1;
	return rseq_stack_steal(stack, home, out, 1) == 1 ? 0 : -1;
}

static int make_drained_stack(void)
{
	int nr = 0;

	if (make_stolen_stack())
		return -1;
	rseq_stack_push(stack, &things[1]);
	return rseq_stack_drain(stack, count_item, &nr) == 2 ? 0 : -1;
}

static int push_stack(void)
{
	return rseq_stack_push(stack, &things[2]);
}

static int push_batch(void)
{
	void *in[] = { &things[2], &things[3] };

	return rseq_stack_push_batch(stack, in, 2) == 2 ? 0 : -1;
}

/* On the other CPU there is none. */
static int pop_stack(void)
{
	void *item = rseq_stack_pop(stack);

	return !item || item == &things[0] ? 0 : -1;
}

static int make_drained_list(void)
{
	list = rseq_list_create();
	if (!list)
		return -1;
	rseq_list_push(list, &nodes[0]);
	return rseq_list_drain(list) == &nodes[0] ? 0 : -1;
}

static int push_list(void)
{
	rseq_list_push(list, &nodes[1]);
	return 0;
}

static void clear(void)
{
	rseq_stack_destroy(stack);
	rseq_list_destroy(list);
	stack = NULL;
	list = NULL;
}

static const struct scenario {
	const char *name;
	int (*prepare)(void);
	int (*run)(void);
	int nr_changes;			/* of the row's words: those that open it, and its own */
} scenarios[] = {
	{ "first push to a stack", make_stack, push_stack, 4 },
	{ "first push of a batch", make_stack, push_batch, 4 },
	{ "push to a stack that was stolen from", make_stolen_stack, push_stack, 3 },
	{ "pop from a stack that was stolen from", make_stolen_stack, pop_stack, 3 },
	{ "push to a stack that was drained", make_drained_stack, push_stack, 3 },
	{ "push to a list that was drained", make_drained_list, push_list, 2 },
};
#define NR_SCENARIOS	(sizeof(scenarios) / sizeof(scenarios[0]))

/* ---- the child ---- */

#define ROW_WORDS	3

struct row {
	uintptr_t words[ROW_WORDS];
};

static uintptr_t peek(pid_t child, const void *address)
{
	errno = 0;
	return (uintptr_t)ptrace(PTRACE_PEEKDATA, child, (void *)(uintptr_t)address, NULL);
}

static void poke(pid_t child, void *address, uintptr_t word)
{
	assert_int_equal(ptrace(PTRACE_POKEDATA, child, address, (void *)word), 0);
}

/* Of the stack or the list, whichever there is. */
static struct row read_row(pid_t child)
{
	struct rseq_rows rows = stack ? rseq_rows_of(stack) : rseq_rows_of(list);
	const char *at = rows.first + (size_t)home * RSEQ_PERCPU_STRIDE;
	struct row row = { { 0 } };

	for (size_t i = 0; i < (stack ? ROW_WORDS : 2); i++)
		row.words[i] = peek(child, at + i * sizeof(row.words[0]));
	return row;
}

static int trace_me(const struct scenario *scenario)
{
	int result;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		return NO_PTRACE;
	raise(SIGSTOP);
	result = scenario->run();
	raise(SIGSTOP);
	return result ? 1 : 0;
}

/* Returns the child, which has stopped before the operation, or 0 where nothing may be traced. */
static pid_t start(const struct scenario *scenario)
{
	pid_t child = fork();
	int status = -1;

	if (!child)
		_exit(trace_me(scenario));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
		return 0;
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	return child;
}

static void finish(pid_t child)
{
	int status = -1;

	assert_int_equal(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/*
 * One instruction. What it arms is kept in *armed, away from the kernel. Returns false when the
 * operation is over.
 */
static bool step(pid_t child, uintptr_t *armed)
{
	void *word = (char *)rseq_get_abi() + offsetof(struct rseq_abi, rseq_cs);
	uintptr_t now;
	int status = -1;

	assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	now = peek(child, word);
	if (now) {
		*armed = now;
		poke(child, word, 0);
	}
	return WSTOPSIG(status) == SIGTRAP;
}

/* From here on the kernel finds what is armed, and the child is elsewhere. */
static void move_away(pid_t child, uintptr_t armed)
{
	if (armed)
		poke(child, (char *)rseq_get_abi() + offsetof(struct rseq_abi, rseq_cs), armed);
	assert_int_equal(support_move(child, away), 0);
}

static void run_to_end(pid_t child)
{
	int status = -1;

	assert_int_equal(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
}

/* ---- the tests ---- */

/*
 * Whether no section does harm there: a push goes by top and limit, and writes to top; a pop goes
 * by top and floor, and reads below top.
 */
static bool is_sound(const struct row *row)
{
	uintptr_t top = row->words[0], limit = row->words[1], floor = row->words[2];

	if (limit && (!top || limit < top))
		return false;
	return !top || floor;
}

/* The steps that change the row, by number. Returns how many, or 0 where nothing may be traced. */
static int find_changes(const struct scenario *scenario, unsigned long *changes)
{
	struct row row, before;
	uintptr_t armed = 0;
	unsigned long nr = 0;
	int nr_changes = 0;
	pid_t child = start(scenario);

	if (!child)
		return 0;
	before = read_row(child);
	while (step(child, &armed)) {
		nr++;
		assert_in_range(nr, 1, MAX_STEPS);
		row = read_row(child);
		if (stack && !is_sound(&row))
			fail_msg("%s: top %#lx, limit %#lx, floor %#lx after %lu steps",
				 scenario->name, (unsigned long)row.words[0],
				 (unsigned long)row.words[1], (unsigned long)row.words[2], nr);
		if (memcmp(&row, &before, sizeof(row))) {
			assert_in_range(nr_changes, 0, MAX_CHANGES - 1);
			changes[nr_changes++] = nr;
		}
		before = row;
	}
	finish(child);
	return nr_changes;
}

static void move_before(const struct scenario *scenario, unsigned long change)
{
	pid_t child = start(scenario);
	struct row row, after;
	uintptr_t armed = 0;

	for (unsigned long nr = 1; nr < change; nr++)
		assert_true(step(child, &armed));
	row = read_row(child);
	move_away(child, armed);
	run_to_end(child);
	after = read_row(child);
	if (memcmp(&after, &row, sizeof(row)))
		fail_msg("%s: moved after %lu steps, it has written to its former row",
			 scenario->name, change - 1);
	finish(child);
}

static void skip_unless_possible(void)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	if (SUPPORT_SANITIZED || (emulator && *emulator) || rseq_register_current_thread())
		skip();
	support_find_cpus(&cpus);
	home = cpus.cpu[0];
	away = cpus.cpu[cpus.nr - 1];
	assert_int_equal(support_move(0, home), 0);
}

static void test_steps(void **state)
{
	unsigned long changes[MAX_CHANGES];
	int nr_changes;

	(void)state;
	skip_unless_possible();
	for (size_t i = 0; i < NR_SCENARIOS; i++) {
		/* Once without steps, which are not to lead through the dynamic linker. */
		assert_int_equal(scenarios[i].prepare(), 0);
		assert_int_equal(scenarios[i].run(), 0);
		clear();
		assert_int_equal(scenarios[i].prepare(), 0);
		nr_changes = find_changes(&scenarios[i], changes);
		if (!nr_changes)
			skip();
		print_message("%s: %d words written\n", scenarios[i].name, nr_changes);
		assert_int_equal(nr_changes, scenarios[i].nr_changes);
		for (int change = 0; home != away && change < nr_changes; change++)
			move_before(&scenarios[i], changes[change]);
		clear();
	}
	assert_int_equal(support_release(&cpus), 0);
	rseq_unregister_current_thread();
}

/* Sections find the row shut until their own CPU's slow way has opened it. */
static void expect_shut(void)
{
	assert_int_equal(support_move(0, home), 0);
	assert_false(rseq_stack_try_push(stack, &things[4]));
	assert_null(rseq_stack_try_pop(stack));
}

static void expect_open(void)
{
	assert_int_equal(rseq_stack_push(stack, &things[5]), 0);
	assert_ptr_equal(rseq_stack_pop(stack), &things[5]);
	assert_true(rseq_stack_try_push(stack, &things[6]));
	assert_ptr_equal(rseq_stack_try_pop(stack), &things[6]);
}

static void test_opened_by_others(void **state)
{
	static int (*const prepare[])(void) = {
		make_stack, make_stolen_stack, make_drained_stack,
	};

	(void)state;
	skip_unless_possible();
	for (size_t i = 0; i < sizeof(prepare) / sizeof(prepare[0]); i++) {
		assert_int_equal(support_move(0, home), 0);
		assert_int_equal(prepare[i](), 0);
		expect_shut();
		assert_int_equal(support_move(0, away), 0);
		assert_int_equal(rseq_stack_set_capacity(stack, home, CAPACITY - 1), 0);
		if (home != away) {
			assert_int_equal(rseq_stack_push(stack, &things[7]), 0);
			assert_ptr_equal(rseq_stack_pop(stack), &things[7]);
		}
		expect_shut();
		expect_open();
		clear();
	}
	assert_int_equal(make_drained_list(), 0);
	assert_false(rseq_list_try_push(list, &nodes[1], &nodes[1]));
	rseq_list_push(list, &nodes[1]);
	assert_ptr_equal(rseq_list_pop(list), &nodes[1]);
	assert_true(rseq_list_try_push(list, &nodes[1], &nodes[1]));
	clear();
	assert_int_equal(support_release(&cpus), 0);
	rseq_unregister_current_thread();
}

static int run_group(void)
{
	const struct CMUnitTest row_open[] = {
		cmocka_unit_test(test_opened_by_others),
		cmocka_unit_test(test_steps),
	};

	return cmocka_run_group_tests(row_open, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
