/* SPDX-License-Identifier: MIT */
/*
 * handler-data.c: counters, lists and stacks that are interrupted. Tokens go in and come
 * out; each must be as often in there as it was put in and not taken out, that is once or never.
 */
#define _GNU_SOURCE

#include "handler.h"

#include <rseq/counter.h>
#include <rseq/list.h>
#include <rseq/stack.h>

#include <pthread.h>

#define NR_TOKENS	64
#define CAPACITY	6
#define NR_MINE		3		/* tokens of the interrupted thread */

bool in_handler;
int nr_acts;

struct token {
	struct rseq_list_node node;	/* comes first */
	int in;
};

static struct token tokens[NR_TOKENS];
static struct token *taken[NR_TOKENS];	/* by the interrupted thread */
static size_t nr_taken;
static bool is_put;			/* by it */
static size_t nr_put;

static void *run_without_rseq(void *function)
{
	void (*run)(void);

	*(void **)&run = function;
	support_go_without_rseq();
	run();
	return NULL;
}

void without_rseq(void (*function)(void))
{
	void *argument;

	*(void (**)(void))&argument = function;
	works_in_thread(run_without_rseq, argument);
}

/* One that nobody else has; the first ones belong to the interrupted thread. */
static struct token *new_token(void)
{
	for (int i = NR_MINE; i < NR_TOKENS; i++) {
		if (!tokens[i].in) {
			tokens[i].in = 1;
			return &tokens[i];
		}
	}
	return NULL;
}

static void take_token(void *item)
{
	struct token *token = item;

	if (!token)
		return;
	check(token >= tokens && token < tokens + NR_TOKENS && token->in == 1);
	if (token >= tokens && token < tokens + NR_TOKENS)
		token->in--;
}

/* The interrupted thread's own account is made afterwards, so that it is not interrupted itself. */
static void account(void *item)
{
	if (in_handler)
		take_token(item);
	else if (item && nr_taken < NR_TOKENS)
		taken[nr_taken++] = item;
}

static void begin_tokens(size_t nr)
{
	memset(tokens, 0, sizeof(tokens));
	nr_taken = 0;
	is_put = true;
	nr_put = nr;
	for (size_t i = 0; i < nr; i++)
		tokens[i].in = 1;
}

/* Tokens that were not put in are not in there. */
static void end_tokens(void)
{
	for (size_t i = 0; i < NR_MINE; i++)
		if (i >= nr_put && tokens[i].in)
			tokens[i].in = 0;
	for (size_t i = 0; i < nr_taken; i++)
		take_token(taken[i]);
}

static void check_tokens(void)
{
	for (int i = 0; i < NR_TOKENS; i++)
		check(!tokens[i].in);
}

/* ---- counters ---- */

static struct rseq_counter *counter;
static intptr_t base, seen;

static void create_counter(void)
{
	counter = rseq_counter_create();
	check(counter);
}

static void add_five(void)
{
	rseq_counter_add(counter, 5);
}

static void add(void)
{
	rseq_counter_add(counter, in_handler ? 1000 : 5);
}

static void sum(void)
{
	intptr_t now = rseq_counter_sum(counter);

	if (!in_handler)
		seen = now;
}

static intptr_t added;

static void prepare_counter(char state, const struct deed *deed)
{
	if (state == MIXED)
		without_rseq(add_five);
	base = state == FIRST ? 0 : rseq_counter_sum(counter);
	added = deed->run == add ? 5 : 0;
	seen = base;
}

/* A handler adds 1000, or looks. */
static void judge_counter(void)
{
	intptr_t more = rseq_counter_sum(counter) - base - added;

	check(more == 0 || more == 1000 * (intptr_t)nr_acts);
	check(seen - base >= 0 && seen - base <= more && (seen - base) % 1000 == 0);
}

static const struct deed counter_deeds[] = {
	{ "add", add, true, false, false },
	{ "sum", sum, true, false, false },
};

/* ---- lists ---- */

static struct rseq_list *list;

static void create_list(void)
{
	list = rseq_list_create();
	check(list);
}

static void account_chain(struct rseq_list_node *node)
{
	struct rseq_list_node *next;

	for (int i = 0; node && i < NR_TOKENS; node = next, i++) {
		next = node->next;
		account(node);
	}
}

static void list_push(void)
{
	struct token *token = in_handler ? new_token() : tokens;

	if (token)
		rseq_list_push(list, &token->node);
}

static void list_push_chain(void)
{
	struct token *first = in_handler ? new_token() : tokens;
	struct token *last = in_handler ? new_token() : tokens + 1;

	if (!first || !last) {
		take_token(first);
		return;
	}
	first->node.next = &last->node;
	rseq_list_push_chain(list, &first->node, &last->node);
}

static void list_pop(void)
{
	account(rseq_list_pop(list));
}

/* What comes back to the head is not what was there. */
static void list_exchange(void)
{
	struct rseq_list_node *first = rseq_list_pop(list), *second = rseq_list_pop(list);

	account(second);
	if (first)
		rseq_list_push(list, first);
}

static void list_drain(void)
{
	account_chain(rseq_list_drain(list));
}

static void list_drain_cpu(void)
{
	account_chain(rseq_list_drain_cpu(list, (int)rseq_current_cpu()));
}

static void list_empty(void)
{
	rseq_list_empty(list);
}

static void push_token(void)
{
	struct token *token = new_token();

	if (token)
		rseq_list_push(list, &token->node);
}

static void push_two(void)
{
	push_token();
	push_token();
}

static void prepare_list(char state, const struct deed *deed)
{
	begin_tokens(deed->run == list_push ? 1 : deed->run == list_push_chain ? 2 : 0);
	if (state != FIRST) {
		push_token();
		take_token(rseq_list_pop(list));
	}
	if (state == CLOSED) {
		push_token();
		take_token(rseq_list_drain(list));
	}
	if (state == SOME || state == MIXED)
		push_two();
	if (state == MIXED)
		without_rseq(push_two);
}

static void judge_list(void)
{
	end_tokens();
	in_handler = true;
	account_chain(rseq_list_drain(list));
	in_handler = false;
	check_tokens();
	check(rseq_list_empty(list));
}

static const struct deed list_deeds[] = {
	{ "push", list_push, true, false, false },
	{ "push_chain", list_push_chain, true, false, true },
	{ "pop", list_pop, true, false, false },
	{ "exchange", list_exchange, true, true, false },
	{ "drain", list_drain, true, false, false },
	{ "drain_cpu", list_drain_cpu, true, false, true },
	{ "empty", list_empty, true, false, true },
};

/* ---- stacks ---- */

static struct rseq_stack *stack;

static void create_stack(void)
{
	stack = rseq_stack_create(CAPACITY);
	check(stack);
}

static void stack_push(void)
{
	struct token *token = in_handler ? new_token() : tokens;
	bool pushed;

	if (!token)
		return;
	pushed = !rseq_stack_push(stack, token);
	if (in_handler && !pushed)
		token->in = 0;
	else if (!in_handler && !pushed)
		nr_put = 0;
}

static void stack_pop(void)
{
	account(rseq_stack_pop(stack));
}

static void stack_push_batch(void)
{
	void *items[NR_MINE];
	size_t nr = 0, nr_pushed;

	for (; nr < NR_MINE; nr++) {
		items[nr] = in_handler ? new_token() : &tokens[nr];
		if (!items[nr])
			break;
	}
	nr_pushed = rseq_stack_push_batch(stack, items, nr);
	if (!in_handler)
		nr_put = nr_pushed;
	for (size_t i = nr_pushed; in_handler && i < nr; i++)
		((struct token *)items[i])->in = 0;
}

static void account_items(void **items, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		account(items[i]);
}

static void stack_pop_batch(void)
{
	void *items[2];

	account_items(items, rseq_stack_pop_batch(stack, items, 2));
}

static void stack_steal(void)
{
	void *items[2];

	account_items(items, rseq_stack_steal(stack, (int)rseq_current_cpu(), items, 2));
}

static void account_each(void *item, void *unused)
{
	(void)unused;
	account(item);
}

static void stack_drain(void)
{
	rseq_stack_drain(stack, account_each, NULL);
}

static void stack_set_capacity(void)
{
	const size_t capacity = in_handler ? (size_t)nr_acts % 2 + 1 : CAPACITY;

	check(!rseq_stack_set_capacity(stack, (int)rseq_current_cpu(), capacity));
}

static void stack_count(void)
{
	check(rseq_stack_count(stack, (int)rseq_current_cpu()) <= 2 * CAPACITY);
}

static void push_items(int nr)
{
	struct token *token;

	while (nr-- && (token = new_token()))
		if (rseq_stack_push(stack, token))
			token->in = 0;
}

static void push_two_items(void)
{
	push_items(2);
}

static void prepare_stack(char state, const struct deed *deed)
{
	void *stolen = NULL;

	begin_tokens(deed->run == stack_push ? 1 : deed->run == stack_push_batch ? NR_MINE : 0);
	if (state != FIRST) {
		check(!rseq_stack_set_capacity(stack, (int)rseq_current_cpu(), CAPACITY));
		push_items(1);
		take_token(rseq_stack_pop(stack));
	}
	if (state == CLOSED) {
		push_items(1);
		check(rseq_stack_steal(stack, (int)rseq_current_cpu(), &stolen, 1) == 1);
		take_token(stolen);
	}
	if (state == FULL)
		push_items(CAPACITY);
	if (state == SOME || state == MIXED)
		push_items(3);
	if (state == MIXED)
		without_rseq(push_two_items);
}

static void judge_stack(void)
{
	end_tokens();
	in_handler = true;
	rseq_stack_drain(stack, account_each, NULL);
	in_handler = false;
	check_tokens();
	check(!rseq_stack_count(stack, (int)rseq_current_cpu()));
}

static const struct deed stack_deeds[] = {
	{ "push", stack_push, true, false, false },
	{ "pop", stack_pop, true, false, false },
	{ "push_batch", stack_push_batch, true, false, true },
	{ "pop_batch", stack_pop_batch, true, false, false },
	{ "steal", stack_steal, true, false, false },
	{ "drain", stack_drain, false, false, true },
	{ "set_capacity", stack_set_capacity, true, false, true },
	{ "count", stack_count, true, false, true },
};

static const struct subject data_subjects[] = {
	{ "counter", "1em", create_counter, prepare_counter, judge_counter, DEEDS(counter_deeds),
	  false },
	{ "list", "1ecsm", create_list, prepare_list, judge_list, DEEDS(list_deeds),
	  false },
	{ "stack", "1ecsfm", create_stack, prepare_stack, judge_stack, DEEDS(stack_deeds),
	  false },
};

const struct subject *const subjects[] = {
	&data_subjects[0], &data_subjects[1], &data_subjects[2], &ring_subject,
	&overwritten_ring_subject, &lock_subject, &refcount_subject, &cache_subject,
	&thread_subject, &make_subject,
};

const size_t nr_subjects = sizeof(subjects) / sizeof(subjects[0]);
