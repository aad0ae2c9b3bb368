/* SPDX-License-Identifier: MIT */
/*
 * data.c: shared data, the states that trials begin with, and a comparison with what a sequential
 * run makes of them. The operations in plain C are in model.c.
 */
#include "data.h"

#include <rseq/counter.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Shared with all processes: what they know, and what they copy. */
static struct known {
	int nr;
	int id[MAX_IDS];
	char source[2][COPY_BYTES];
} *known;

static struct row *rows;
static struct rseq_counter *counter;
static int nr_ids;

static intptr_t *word_of(int id)
{
	return (intptr_t *)((uintptr_t)counter + (uintptr_t)id * RSEQ_PERCPU_STRIDE);
}

static intptr_t node_of(int id, int node)
{
	return node < 0 ? 0 : (intptr_t)&rows[id].nodes[node];
}

static void *map_shared(void *where, size_t bytes)
{
	void *map = mmap(where, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0),
			 -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

/* Puts a shared page with the same content in the place of the one that a word is on. */
static int share(void *word)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	char *page = (char *)((uintptr_t)word & ~(bytes - 1));
	char *content = malloc(bytes);

	if (!content)
		return -1;
	memcpy(content, page, bytes);
	if (!map_shared(page, bytes)) {
		free(content);
		return -1;
	}
	memcpy(page, content, bytes);
	free(content);
	return 0;
}

int data_init(void)
{
	nr_ids = rseq_get_max_nr_cpus();
	counter = rseq_counter_create();
	rows = map_shared(NULL, (size_t)nr_ids * sizeof(*rows));
	known = map_shared(NULL, sizeof(*known));
	if (!counter || !rows || !known)
		return -1;
	for (int id = 0; id < nr_ids; id++)
		if (share(word_of(id)))
			return -1;
	for (size_t i = 0; i < COPY_BYTES; i++) {
		known->source[0][i] = (char)(i % 61 + 'A');
		known->source[1][i] = (char)(i % 59 + 2);
	}
	return 0;
}

void data_forget(void)
{
	known->nr = 0;
}

bool data_knows(int id)
{
	for (int i = 0; i < known->nr; i++)
		if (known->id[i] == id)
			return true;
	return false;
}

static void reset(int id)
{
	struct row *row = &rows[id];

	memset(row, 0, sizeof(*row));
	row->second = SECOND_OLD;
	row->loaded = -1;
	row->conflict_loaded = -1;
	for (int i = 0; i < NR_NODES; i++) {
		row->counts[i] = 1000 * id + 100 * i;
		row->nodes[i].count = &row->counts[i];
	}
	for (int i = 0; i + 1 < NR_LISTED; i++)
		row->nodes[i].next = node_of(id, i + 1);
	row->nodes[NEW_NODE].next = node_of(id, 0);
	memset(row->copy, '.', sizeof(row->copy));
	*word_of(id) = node_of(id, 0);
}

bool data_know(int id)
{
	if (data_knows(id))
		return true;
	if (id < 0 || id >= nr_ids || known->nr == MAX_IDS)
		return false;
	known->id[known->nr++] = id;
	reset(id);
	return true;
}

void data_reset(void)
{
	for (int i = 0; i < known->nr; i++)
		reset(known->id[i]);
}

void data_save(struct state *state)
{
	state->nr = known->nr;
	for (int i = 0; i < known->nr; i++) {
		state->id[i] = known->id[i];
		state->word[i] = *word_of(known->id[i]);
		state->row[i] = rows[known->id[i]];
	}
}

/* An id that became known since keeps the state that it began with. */
void data_restore(const struct state *state)
{
	data_reset();
	for (int i = 0; i < state->nr; i++) {
		*word_of(state->id[i]) = state->word[i];
		rows[state->id[i]] = state->row[i];
	}
}

/* Copies begin at odd addresses, too, but for those that are long. */
void call_prepare(struct call *call, enum operation operation, const struct input *input, int id)
{
	struct row *row = &rows[id];

	memset(call, 0, sizeof(*call));
	call->v = word_of(id);
	call->v2 = &row->second;
	call->load = &row->loaded;
	call->expect = node_of(id, input->expect);
	call->expect2 = input->expect2;
	call->newv = node_of(id, NEW_NODE);
	call->newv2 = SECOND_NEW;
	call->count = ADDEND;
	call->offset = operation == LOAD_ADD_LOAD_LOAD_ADD_STORE ?
			offsetof(struct node, count) : offsetof(struct node, next);
	if (input->second) {
		call->v = &row->second;
		call->expect = SECOND_OLD;
		call->newv = SECOND_NEW;
	}
	call->src = known->source[0] + input->len % 5;
	call->dst = row->copy + 16 + input->len % 3;
	call->len = input->len;
	call->counter = counter;
	call->id = id;
	call->tries_left = 3;
}

static int store(enum rseq_percpu_mode mode, int id, intptr_t *v, intptr_t newv, runner *run)
{
	const struct input input = { .expect = 0 };
	struct call call;

	call_prepare(&call, LOAD_CBNE_STORE, &input, id);
	call.v = v;
	call.expect = *v;
	call.newv = newv;
	return run(LOAD_CBNE_STORE, mode, &call);
}

/* In front of the list. */
static int push(enum rseq_percpu_mode mode, int id, intptr_t node, runner *run)
{
	((struct node *)node)->next = *word_of(id);
	return store(mode, id, word_of(id), node, run);
}

static int pop(enum rseq_percpu_mode mode, int id, runner *run)
{
	const struct input input = { .expect = -1 };
	struct call call;

	call_prepare(&call, LOAD_CBEQ_STORE_ADD_LOAD_STORE, &input, id);
	call.load = &rows[id].conflict_loaded;
	return run(LOAD_CBEQ_STORE_ADD_LOAD_STORE, mode, &call);
}

/* All others, with operands that suit the data as they are. */
static int operate(enum operation operation, enum rseq_percpu_mode mode, int id, int node,
		runner *run)
{
	const struct input input = { .len = 40 };
	struct call call;

	call_prepare(&call, operation, &input, id);
	call.expect = *call.v;
	call.expect2 = *call.v2;
	call.newv = node_of(id, node);
	call.newv2 = SECOND_NEW + 2;
	call.src = known->source[1];
	return run(operation, mode, &call);
}

static int swap_neighbours(enum rseq_percpu_mode mode, int id, runner *run)
{
	intptr_t first = *word_of(id);
	int result = pop(mode, id, run);

	if (result)
		return result;
	result = pop(mode, id, run);
	if (result < 0)
		return result;
	return push(mode, id, first, run);
}

bool conflict_run(enum conflict conflict, enum rseq_percpu_mode mode, int id, runner *run)
{
	switch (conflict) {
	case CONFLICT_STORE:
		return push(mode, id, node_of(id, STORED_NODE), run) >= 0;
	case CONFLICT_POP:
		return pop(mode, id, run) >= 0;
	case CONFLICT_ADD:
		return operate(LOAD_ADD_STORE, mode, id, 0, run) >= 0;
	case CONFLICT_ADD_AT:
		return operate(LOAD_ADD_LOAD_LOAD_ADD_STORE, mode, id, 0, run) >= 0;
	case CONFLICT_DOUBLE:
		return operate(LOAD_CBNE_LOAD_CBNE_STORE, mode, id, DOUBLE_NODE, run) >= 0;
	case CONFLICT_STORE_STORE:
		return operate(LOAD_CBNE_STORE_STORE, mode, id, OTHER_NODE, run) >= 0;
	case CONFLICT_COPY:
		return operate(LOAD_CBNE_MEMCPY_STORE, mode, id, DOUBLE_NODE, run) >= 0;
	case CONFLICT_COUNTER:
		return operate(COUNTER_ADD, mode, id, 0, run) >= 0;
	case CONFLICT_SECOND:
		return store(mode, id, &rows[id].second, SECOND_NEW + 2, run) >= 0;
	case CONFLICT_ABA:
		return swap_neighbours(mode, id, run) >= 0;
	default:
		return true;
	}
}

/*
 * Bytes of a row that an aborted try may have written to: those of an operation's scratch stores.
 */
static void scratch_of(const struct subject *subject, const struct input *input, size_t *begin,
		size_t *end)
{
	struct call call;

	*begin = *end = 0;
	call_prepare(&call, subject->operation, input, 0);
	switch (subject->operation) {
	case LOAD_CBEQ_STORE_ADD_LOAD_STORE:
		*begin = offsetof(struct row, loaded);
		*end = *begin + sizeof(intptr_t);
		break;
	case LOAD_CBNE_STORE_STORE:
		*begin = offsetof(struct row, second);
		*end = *begin + sizeof(intptr_t);
		break;
	case LOAD_CBNE_MEMCPY_STORE:
		*begin = (size_t)(call.dst - (char *)rows);
		*end = *begin + call.len;
		break;
	default:
		break;
	}
}

bool data_committed(const struct subject *subject, const struct input *input, int home)
{
	struct state now, initial;
	size_t begin, end;
	bool same = true;

	scratch_of(subject, input, &begin, &end);
	data_save(&now);
	data_reset();
	data_save(&initial);
	data_restore(&now);
	for (int i = 0; i < now.nr; i++) {
		const char *row = (const char *)&now.row[i], *old = (const char *)&initial.row[i];

		if (now.id[i] != home)
			continue;
		same = now.word[i] == initial.word[i] && !memcmp(row, old, begin) &&
		       !memcmp(row + end, old + end, sizeof(struct row) - end);
	}
	return !same;
}

/* A word as people read it: the name of what it points to, or its number. */
static const char *describe(intptr_t word, char *text, size_t size)
{
	uintptr_t offset = (uintptr_t)word - (uintptr_t)rows;
	size_t id = offset / sizeof(*rows), in_row = offset % sizeof(*rows);

	if (id < (size_t)nr_ids && in_row >= offsetof(struct row, nodes) &&
	    in_row < offsetof(struct row, nodes) + sizeof(rows->nodes))
		snprintf(text, size, "node %zu of id %zu",
			 (in_row - offsetof(struct row, nodes)) / sizeof(struct node), id);
	else
		snprintf(text, size, "%jd", (intmax_t)word);
	return text;
}

static void explain(const char *what, int id, intptr_t is, intptr_t should, char *why, size_t size)
{
	char is_text[40], should_text[40];

	snprintf(why, size, "%s of id %d is %s, should be %s", what, id,
		 describe(is, is_text, sizeof(is_text)),
		 describe(should, should_text, sizeof(should_text)));
}

/* Compares two rows but for the bytes from skip to skip_end. */
static bool same_row(const struct row *is, const struct row *should, int id, size_t skip,
		size_t skip_end, char *why, size_t size)
{
	const char *a = (const char *)is, *b = (const char *)should;
	intptr_t is_word, should_word;
	char what[40];

	for (size_t at = 0; at < sizeof(*is); at++) {
		if (a[at] == b[at] || (at >= skip && at < skip_end))
			continue;
		if (at >= offsetof(struct row, copy)) {
			snprintf(what, sizeof(what), "byte %zu of the copy",
				 at - offsetof(struct row, copy));
			explain(what, id, a[at], b[at], why, size);
			return false;
		}
		at -= at % sizeof(intptr_t);
		memcpy(&is_word, a + at, sizeof(is_word));
		memcpy(&should_word, b + at, sizeof(should_word));
		snprintf(what, sizeof(what), "word %zu of the row", at / sizeof(intptr_t));
		explain(what, id, is_word, should_word, why, size);
		return false;
	}
	return true;
}

/* The result of running both one after the other, which leaves the data as they should be. */
static int run_sequentially(const struct trial *trial)
{
	const struct subject *subject = trial->subject;
	int id = trial->before ? trial->home : trial->final, result;
	struct call call;

	data_reset();
	if (!trial->before)
		conflict_run(trial->conflict, subject->mode, trial->home, model_run);
	call_prepare(&call, subject->operation, trial->input, id);
	result = model_run(subject->operation, subject->mode, &call);
	if (trial->before)
		conflict_run(trial->conflict, subject->mode, trial->home, model_run);
	return result;
}

bool data_judge(const struct trial *trial, char *why, size_t size)
{
	struct state is, should;
	size_t skip, skip_end;
	int result;

	data_save(&is);
	result = run_sequentially(trial);
	data_save(&should);
	if (trial->result != result) {
		snprintf(why, size, "the result is %d, should be %d", trial->result, result);
		return false;
	}
	for (int i = 0; i < is.nr; i++) {
		int id = is.id[i];
		bool tried = id == trial->home || id == trial->final;
		bool settled = trial->before || (id == trial->final && !result);

		scratch_of(trial->subject, trial->input, &skip, &skip_end);
		if (!tried || settled)
			skip_end = skip;
		if (is.word[i] != should.word[i]) {
			explain("the word", id, is.word[i], should.word[i], why, size);
			return false;
		}
		if (!same_row(&is.row[i], &should.row[i], id, skip, skip_end, why, size))
			return false;
	}
	return true;
}
