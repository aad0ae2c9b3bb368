/* SPDX-License-Identifier: MIT */
/*
 * data.c: shared data, the states that trials begin with, and a comparison with what a sequential
 * run makes of them.
 */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_CONCURRENT	4

/* Shared with all processes. */
static struct known {
	int nr;
	int id[MAX_IDS];
} *known;

#define NARROW_BYTES	16		/* what all processors have */

static unsigned int vector_bytes;
static const struct structure *current;
static const struct input *current_input;

int data_nr_ids(void)
{
	return rseq_get_max_nr_cpus();
}

static void *map_shared(void *where, size_t bytes)
{
	void *map = mmap(where, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0),
			 -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

void *data_shared(size_t bytes)
{
	return map_shared(NULL, bytes);
}

int data_share(void *address, size_t bytes)
{
	size_t mask = (size_t)sysconf(_SC_PAGESIZE) - 1;
	char *pages = (char *)((uintptr_t)address & ~mask), *content;

	bytes = ((uintptr_t)address + bytes - (uintptr_t)pages + mask) & ~mask;
	content = malloc(bytes);
	if (!content)
		return -1;
	memcpy(content, pages, bytes);
	if (!map_shared(pages, bytes)) {
		free(content);
		return -1;
	}
	memcpy(pages, content, bytes);
	free(content);
	return 0;
}

static size_t region_bytes(const struct region *region)
{
	return region->nr * region->element;
}

static char *region_at(const struct region *region, int id)
{
	return region->base + (size_t)id * region->stride;
}

int data_init(const struct structure *structure)
{
	size_t bytes = 0;

	vector_bytes = rseq_vector_bytes;
	if (!known)
		known = data_shared(sizeof(*known));
	if (!known || structure->init())
		return -1;
	for (size_t i = 0; i < structure->nr_regions; i++)
		bytes += region_bytes(&structure->regions[i]);
	if (bytes <= MAX_STATE)
		return 0;
	errno = E2BIG;
	return -1;
}

unsigned int data_vector_bytes(const struct input *input)
{
	return input->narrow ? NARROW_BYTES : vector_bytes;
}

void data_of(const struct subject *subject, const struct input *input)
{
	current = subject->structure;
	current_input = input;
}

bool data_knows(int id)
{
	for (int i = 0; i < known->nr; i++)
		if (known->id[i] == id)
			return true;
	return false;
}

bool data_know(int id)
{
	if (data_knows(id))
		return true;
	if (id < 0 || id >= data_nr_ids() || known->nr == MAX_IDS)
		return false;
	known->id[known->nr++] = id;
	current->reset(id, current_input);
	return true;
}

/* Two threads have concurrency ids below two, but for those of threads that have just ended. */
bool data_begin(enum rseq_percpu_mode mode, int home_cpu, int away_cpu)
{
	known->nr = 0;
	if (mode == RSEQ_PERCPU_CPU_ID)
		return data_know(home_cpu) && data_know(away_cpu);
	for (int id = 0; id < MAX_CONCURRENT && id < data_nr_ids(); id++)
		if (!data_know(id))
			return false;
	return true;
}

void data_reset(void)
{
	for (int i = 0; i < known->nr; i++)
		current->reset(known->id[i], current_input);
}

static void tidy_all(void)
{
	for (int i = 0; i < known->nr && current->tidy; i++)
		current->tidy(known->id[i]);
}

/* ---- states ---- */

void data_save(struct state *state)
{
	const struct region *end = current->regions + current->nr_regions;

	state->nr = known->nr;
	for (int i = 0; i < known->nr; i++) {
		unsigned char *bytes = state->bytes[i];

		state->id[i] = known->id[i];
		for (const struct region *region = current->regions; region < end; region++) {
			memcpy(bytes, region_at(region, known->id[i]), region_bytes(region));
			bytes += region_bytes(region);
		}
	}
}

/* An id that became known since keeps the state that it began with. */
void data_restore(const struct state *state)
{
	const struct region *end = current->regions + current->nr_regions;

	data_reset();
	for (int i = 0; i < state->nr; i++) {
		const unsigned char *bytes = state->bytes[i];

		for (const struct region *region = current->regions; region < end; region++) {
			memcpy(region_at(region, state->id[i]), bytes, region_bytes(region));
			bytes += region_bytes(region);
		}
	}
}

/* Where two states of the same ids differ. */
struct difference {
	const struct region *region;
	size_t at;			/* bytes of the region */
	const unsigned char *first, *second;	/* the region in both */
};

/*
 * Finds one in the data of an id, if there is one, but for those that scratch may write to: if the
 * id was tried, or they are those of all ids.
 */
static bool differs(const struct state *first, const struct state *second, int i,
		const struct call *scratch, bool tried, struct difference *difference)
{
	const struct region *region = current->regions, *end = region + current->nr_regions;
	const unsigned char *a = first->bytes[i], *b = second->bytes[i];

	for (; region < end; region++) {
		size_t bytes = region_bytes(region), begin = bytes, skipped = 0;
		uintptr_t offset;

		if (scratch && (tried || !region->stride)) {
			offset = (uintptr_t)scratch->scratch -
				 (uintptr_t)region_at(region, first->id[i]);
			if (offset < bytes) {
				begin = offset;
				skipped = scratch->scratch_bytes;
			}
		}
		for (size_t at = 0; at < bytes; at++) {
			if (a[at] == b[at] || at - begin < skipped)
				continue;
			*difference = (struct difference){ region, at, a, b };
			return true;
		}
		a += bytes;
		b += bytes;
	}
	return false;
}

/* ---- runs ---- */

void call_prepare(struct call *call, const struct operation *operation, const struct input *input,
		int id)
{
	memset(call, 0, sizeof(*call));
	call->id = id;
	call->tries_left = 3;
	operation->prepare(call, input, id);
}

bool conflict_run(const struct conflict *conflict, enum rseq_percpu_mode mode, int id, runner *run)
{
	return !conflict || conflict->run(mode, id, run);
}

int model_run(const struct operation *operation, enum rseq_percpu_mode mode, struct call *call)
{
	(void)mode;
	return operation->model(call);
}

int real_run(const struct operation *operation, enum rseq_percpu_mode mode, struct call *call)
{
	const struct subject *subject = subjects;
	int result = -1;

	while (subject->operation != operation || subject->mode != mode)
		if (++subject == subjects + nr_subjects)
			return -1;
	for (int tries = 0; result < 0 && tries < 1000; tries++) {
		if (current_id(mode) != call->id)
			return -1;
		call->tries_left = 3;
		result = subject->function(call);
	}
	return result;
}

/* ---- the judge ---- */

bool data_committed(const struct subject *subject, const struct input *input, int home)
{
	static struct state now, initial;
	struct difference difference;
	struct call call;

	data_save(&now);
	data_reset();
	data_save(&initial);
	call_prepare(&call, subject->operation, input, home);
	data_restore(&now);
	for (int i = 0; i < now.nr; i++)
		if (now.id[i] == home)
			return differs(&now, &initial, i, &call, true, &difference);
	return false;
}

/* A word as people read it: what it points to, or its number. */
static const char *describe(const struct state *state, intptr_t word, char *text, size_t size)
{
	const struct region *end = current->regions + current->nr_regions;

	for (int i = 0; i < state->nr; i++) {
		for (const struct region *region = current->regions; region < end; region++) {
			uintptr_t offset = (uintptr_t)word -
					   (uintptr_t)region_at(region, state->id[i]);

			if (offset >= region_bytes(region))
				continue;
			snprintf(text, size, "%s %zu of id %d", region->name,
				 offset / region->element, state->id[i]);
			return text;
		}
	}
	snprintf(text, size, "%jd", (intmax_t)word);
	return text;
}

static void explain(const struct state *state, int i, const struct difference *difference,
		char *why, size_t size)
{
	const struct region *region = difference->region;
	size_t element = difference->at / region->element;
	size_t at = difference->at % region->element, bytes = 1;
	intptr_t is = 0, should = 0;
	char is_text[40], should_text[40];

	if (region->element >= sizeof(intptr_t)) {
		bytes = sizeof(intptr_t);
		at -= at % bytes;
	}
	memcpy(&is, difference->first + element * region->element + at, bytes);
	memcpy(&should, difference->second + element * region->element + at, bytes);
	snprintf(why, size, "%s %zu, byte %zu, of id %d is %s, should be %s", region->name,
		 element, at, state->id[i], describe(state, is, is_text, sizeof(is_text)),
		 describe(state, should, should_text, sizeof(should_text)));
}

/* Runs both one after the other, which leaves the data as they should be. */
static int run_sequentially(const struct trial *trial, struct call *call)
{
	const struct subject *subject = trial->subject;
	int id = trial->before ? trial->home : trial->final, result;

	data_reset();
	if (!trial->before)
		conflict_run(trial->conflict, subject->mode, trial->home, model_run);
	call_prepare(call, subject->operation, trial->input, id);
	result = model_run(subject->operation, subject->mode, call);
	if (trial->before)
		conflict_run(trial->conflict, subject->mode, trial->home, model_run);
	return result;
}

static bool judge(const struct trial *trial, const struct state *data, char *why, size_t size)
{
	static struct state should;
	const struct subject *subject = trial->subject;
	struct difference difference;
	struct call call;
	int result;

	result = run_sequentially(trial, &call);
	tidy_all();
	data_save(&should);
	if (trial->result != result) {
		snprintf(why, size, "the result is %d, should be %d", trial->result, result);
		return false;
	}
	if (trial->output != call.output) {
		snprintf(why, size, "it returns %#jx, should return %#jx",
			 (uintmax_t)trial->output, (uintmax_t)call.output);
		return false;
	}
	for (int i = 0; i < data->nr; i++) {
		int id = data->id[i];
		bool tried = id == trial->home || id == trial->final;
		bool settled = trial->before || (id == trial->final && !result);

		call_prepare(&call, subject->operation, trial->input, id);
		if (differs(data, &should, i, settled ? NULL : &call, tried, &difference)) {
			explain(data, i, &difference, why, size);
			return false;
		}
	}
	return true;
}

bool data_judge(struct trial *trial, char *why, size_t size)
{
	static struct state data;
	struct trial other = *trial;

	tidy_all();
	data_save(&data);
	if (judge(trial, &data, why, size))
		return true;
	if (trial->before || trial->subject->operation->takes_id ||
	    trial->subject->mode == RSEQ_PERCPU_CPU_ID)
		return false;
	for (int i = 0; i < data.nr; i++) {
		char ignored[120];

		other.final = data.id[i];
		if (other.final != trial->final && judge(&other, &data, ignored, sizeof(ignored))) {
			trial->final = other.final;
			return true;
		}
	}
	return false;
}
