/* SPDX-License-Identifier: MIT */
/*
 * ring.c: the sections of rseq/ring.h, on rings of the test's own.
 */
#include "function.h"

#include <rseq/ring.h>

#include <string.h>

/* 0 for a record that is written, 1 without room; where it ends is what was returned. */
BODY int outcome(struct call *call, uintptr_t end)
{
	if (end == RSEQ_RING_ABORTED)
		return -1;
	if (end == RSEQ_RING_FULL)
		return 1;
	call->output = (intptr_t)end;
	return 0;
}

END_OF_SUBJECTS

static struct rseq_ring *rings[2];	/* by mode */

/* One function serves both modes, as one section does, all of whose ways are to be tried. */
BODY enum rseq_percpu_mode mode_of(const struct call *call)
{
	return call->object == rings[RSEQ_PERCPU_MM_CID] ? RSEQ_PERCPU_MM_CID : RSEQ_PERCPU_CPU_ID;
}

/*
 * The copy changes vector registers, too, which gcc does not preserve in functions that preserve
 * all. Values that live over the operation stand in for that.
 */
OUTER_SUBJECT(ring_try_write)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_ring *object = call->object;
	const char *src = call->src;
	size_t len = call->len;
	intptr_t *v2 = call->v2, *load = call->load, newv = call->newv, newv2 = call->newv2;
	int result;

	do
		result = outcome(call, rseq_ring_try_write(object, src, len));
	while (once_more(call, mode, result));
	call->modified = CHANGED(object) || CHANGED(src) || CHANGED(len) || CHANGED(v2) ||
			 CHANGED(load) || CHANGED(newv) || CHANGED(newv2);
	return result;
}

OUTER_SUBJECT(ring_try_write_stamped)
{
	enum rseq_percpu_mode mode = mode_of(call);
	struct rseq_ring *object = call->object;
	const char *src = call->src;
	size_t len = call->len;
	intptr_t *v2 = call->v2, *load = call->load, newv = call->newv, count = call->count;
	int result;

	do
		result = outcome(call, rseq_ring_try_write_stamped(object, src, len,
								   (uint64_t)count));
	while (once_more(call, mode, result));
	call->modified = CHANGED(object) || CHANGED(src) || CHANGED(len) || CHANGED(v2) ||
			 CHANGED(load) || CHANGED(newv) || CHANGED(count);
	return result;
}

/* ---- the data: a row for each id, with what it points to ---- */

#define SIZE		256		/* of a ring, in bytes */
#define SLACK		256		/* what its last record may take behind that */
#define TIME		1000
#define LONGEST		200

struct row {
	struct rseq_ring_row writer;
	char data[SIZE + SLACK];
};

enum { BEGIN, MIDDLE, STRADDLING, ALMOST_FULL, FULL, NR_STATES };

/* A state, in a ring with timestamps. */
#define STAMPED		NR_STATES

/*
 * Where the head is in each state, and how much room there is. What an aborted try has left lies
 * where what comes next is written.
 */
static const struct {
	uintptr_t head, room;
} states[NR_STATES] = {
	[BEGIN] = { 0, SIZE },
	[MIDDLE] = { SIZE + 64, SIZE },
	[STRADDLING] = { 5 * SIZE + 80, SIZE },
	[ALMOST_FULL] = { 2 * SIZE - 24, 40 },
	[FULL] = { 32, 8 },
};

static char *rows;
static char (*sources)[LONGEST + 8];

/* Not the newest time, which a try may write before it commits. */
static struct region regions[] = {
	{ .name = "the row's word", .stride = RSEQ_PERCPU_STRIDE, .nr = 5,
	  .element = sizeof(uintptr_t) },
	{ .name = "the data", .stride = RSEQ_PERCPU_STRIDE, .nr = SIZE + SLACK, .element = 1 },
};

static struct row *row_of(int id)
{
	return (struct row *)(void *)(rows + (size_t)id * RSEQ_PERCPU_STRIDE);
}

static bool is_stamped(int id)
{
	return row_of(id)->writer.payload == row_of(id)->data + 16;
}

/* A ring of the other kind has no limit there, or it would be written to. */
static uintptr_t *limit_of(int id)
{
	struct rseq_ring_row *writer = &row_of(id)->writer;

	return is_stamped(id) ? &writer->stamped_limit : &writer->limit;
}

static int init(void)
{
	rows = data_shared((size_t)data_nr_ids() * RSEQ_PERCPU_STRIDE);
	sources = data_shared(2 * sizeof(*sources));
	if (!rows || !sources)
		return -1;
	/* Handles, see rseq/section.h. */
	rings[RSEQ_PERCPU_CPU_ID] = (struct rseq_ring *)(void *)(rows + RSEQ_ID_CPU_ID);
	rings[RSEQ_PERCPU_MM_CID] = (struct rseq_ring *)(void *)(rows + RSEQ_ID_MM_CID);
	for (size_t i = 0; i < sizeof(*sources); i++) {
		sources[0][i] = (char)(i % 61 + 'A');
		sources[1][i] = (char)(i % 59 + 2);
	}
	regions[0].base = rows;
	regions[1].base = rows + offsetof(struct row, data);
	return 0;
}

static void reset(int id, const struct input *input)
{
	const int state = input->state % NR_STATES;
	struct row *row = row_of(id);

	memset(&row->writer, 0, sizeof(row->writer));
	row->writer.head = states[state].head;
	row->writer.payload = row->data + (input->state / NR_STATES ? 16 : 8);
	row->writer.mask = SIZE - 1;
	*limit_of(id) = states[state].head + states[state].room;
	row->writer.newest = TIME;
	memset(row->data, '.', sizeof(row->data));
}

/* ---- the operations, and what they do ---- */

/* All paths of the copy are reached by some, all states by some. */
#define RECORD(length, in)	{ .name = "len " #length ", " #in, .len = (length), .state = (in) }
#define INPUTS(kind)										\
	{ .name = "len 40", .len = 40, .state = MIDDLE + (kind), .thorough = true },		\
	{ .name = "len 191, straddling", .len = 191, .state = STRADDLING + (kind),		\
	  .thorough = true },									\
	{ .name = "len 191, narrow", .len = 191, .state = STRADDLING + (kind),			\
	  .narrow = true },									\
	{ .name = "almost full", .len = 8, .state = ALMOST_FULL + (kind), .thorough = true },	\
	{ .name = "full", .len = 1, .state = FULL + (kind), .thorough = true },			\
	RECORD(1, BEGIN + (kind)), RECORD(3, STRADDLING + (kind)), RECORD(5, BEGIN + (kind)),	\
	RECORD(12, MIDDLE + (kind)), RECORD(24, BEGIN + (kind)), RECORD(80, BEGIN + (kind)),	\
	RECORD(129, MIDDLE + (kind)), RECORD(64, BEGIN + (kind))

static const struct input plain_inputs[] = { INPUTS(0) }, stamped_inputs[] = { INPUTS(STAMPED) };

/* By mode. */
static const struct operation write_operations[2], stamped_operations[2];

static void prepare(struct call *call, const struct input *input, int id, size_t words,
		enum rseq_percpu_mode mode)
{
	const uintptr_t head = states[input->state % NR_STATES].head;

	call->object = rings[mode];
	call->src = sources[0] + input->len % 5;
	call->len = input->len;
	call->count = TIME;
	call->scratch = row_of(id)->data + (head & (SIZE - 1));
	call->scratch_bytes = words * 8 + input->len;
}

#define DEFINE_PREPARE(name, words, mode)						\
	static void name(struct call *call, const struct input *input, int id)		\
	{										\
		prepare(call, input, id, words, mode);					\
	}

DEFINE_PREPARE(prepare_by_cpu, 1, RSEQ_PERCPU_CPU_ID)
DEFINE_PREPARE(prepare_by_cid, 1, RSEQ_PERCPU_MM_CID)
DEFINE_PREPARE(prepare_stamped_by_cpu, 2, RSEQ_PERCPU_CPU_ID)
DEFINE_PREPARE(prepare_stamped_by_cid, 2, RSEQ_PERCPU_MM_CID)

static int write_model(struct call *call, size_t words)
{
	struct row *row = row_of(call->id);
	const uintptr_t end = row->writer.head + RSEQ_RING_NEED(call->len, words);
	char *record = row->data + (row->writer.head & (SIZE - 1)) + 8 * words;

	if (end > (words > 1 ? row->writer.stamped_limit : row->writer.limit))
		return 1;
	if (words > 1)
		memcpy(record - 16, &call->count, 8);
	memcpy(record - 8, &call->len, 8);
	memcpy(record, call->src, call->len);
	row->writer.head = end;
	call->output = (intptr_t)end;
	return 0;
}

static int model(struct call *call)
{
	return write_model(call, 1);
}

static int model_stamped(struct call *call)
{
	return write_model(call, 2);
}

/* ---- what others do meanwhile ---- */

enum { WRITE, WRITE_LONG, GIVE_ROOM, TAKE_ROOM, BACK };

/* A record of the same kind, without bytes that are not used. */
static bool write_other(size_t len, enum rseq_percpu_mode mode, int id, runner *run)
{
	const struct operation *operation = is_stamped(id) ? &stamped_operations[mode] :
			&write_operations[mode];
	struct call call;

	call_prepare(&call, operation, operation->inputs, id);
	call.src = sources[1];
	call.len = len;
	return run(operation, mode, &call) >= 0;
}

static bool run_write(enum rseq_percpu_mode mode, int id, runner *run)
{
	return write_other(16, mode, id, run);
}

static bool run_write_long(enum rseq_percpu_mode mode, int id, runner *run)
{
	return write_other(152, mode, id, run);
}

/* A writer that found that records were read; and what no writer does, but shows the order. */
static bool run_give_room(enum rseq_percpu_mode mode, int id, runner *run)
{
	(void)mode;
	(void)run;
	RSEQ_WRITE_ONCE(*limit_of(id), row_of(id)->writer.head + SIZE);
	return true;
}

static bool run_take_room(enum rseq_percpu_mode mode, int id, runner *run)
{
	(void)mode;
	(void)run;
	RSEQ_WRITE_ONCE(*limit_of(id), row_of(id)->writer.head);
	return true;
}

/* Back to the same head, with other bytes behind it. */
static bool run_back(enum rseq_percpu_mode mode, int id, runner *run)
{
	struct row *row = row_of(id);
	const uintptr_t head = row->writer.head;

	if (!write_other(16, mode, id, run))
		return false;
	RSEQ_WRITE_ONCE(row->writer.head, head);
	return true;
}

static const struct conflict conflicts[] = {
	[WRITE] = { "ring_write", .run = run_write },
	[WRITE_LONG] = { "ring_write, long", .run = run_write_long },
	[GIVE_ROOM] = { "more room", .run = run_give_room },
	[TAKE_ROOM] = { "no room", .run = run_take_room },
	[BACK] = { "ring_write, and back", .restores = true, .run = run_back },
};

/* ---- all of it ---- */

#define OPERATION(values, prepares, does)						\
	{ .copies = true, .outputs = 3, .own = 1U << WRITE | 1U << TAKE_ROOM,		\
	  .inputs = (values), .nr_inputs = ARRAY_SIZE(values), .prepare = (prepares),	\
	  .model = (does) }

static const struct operation write_operations[2] = {
	[RSEQ_PERCPU_CPU_ID] = OPERATION(plain_inputs, prepare_by_cpu, model),
	[RSEQ_PERCPU_MM_CID] = OPERATION(plain_inputs, prepare_by_cid, model),
};
static const struct operation stamped_operations[2] = {
	[RSEQ_PERCPU_CPU_ID] = OPERATION(stamped_inputs, prepare_stamped_by_cpu, model_stamped),
	[RSEQ_PERCPU_MM_CID] = OPERATION(stamped_inputs, prepare_stamped_by_cid, model_stamped),
};

#define ENTRY(operation, mode, operations)						\
	{ #operation " " #mode, &operations[RSEQ_PERCPU_##mode], RSEQ_PERCPU_##mode, false,	\
	  FUNCTION_AND_CODE(operation), NULL }

static const struct subject ring_subjects[] = {
	ENTRY(ring_try_write, CPU_ID, write_operations),
	ENTRY(ring_try_write, MM_CID, write_operations),
	ENTRY(ring_try_write_stamped, CPU_ID, stamped_operations),
	ENTRY(ring_try_write_stamped, MM_CID, stamped_operations),
	{ 0 },
};

const struct structure ring_structure = {
	.name = "ring", .init = init, .reset = reset,
	.regions = regions, .nr_regions = ARRAY_SIZE(regions),
	.conflicts = conflicts, .nr_conflicts = ARRAY_SIZE(conflicts),
	.subjects = ring_subjects,
};
