/* SPDX-License-Identifier: MIT */
/*
 * Every operation in a storm: 64 threads on few CPUs, migrated, signalled, preempted and fenced,
 * and their signal handlers, work on the same per-CPU data. Nothing may be lost, done twice or
 * seen half done. Says how many tries were aborted a second, so that a run that tests nothing
 * shows.
 *
 * LONG_BODIES: with sections that are long enough to be aborted often. STRESS_SECONDS is how long
 * each operation is tried in each mode and ordering, less than one by default.
 */
#define _GNU_SOURCE

#ifdef LONG_BODIES
# include "long-bodies.h"
#endif
#include "every-op.h"
#include "storm.h"
#include "support.h"

#include <time.h>

#define NR_THREADS	64
#define MAX_CPUS	2
#define DEFAULT_MS	400
#define MAX_SECONDS	86400
#define STEPS_PER_YIELD	64

#define NR_NODES	(4 * NR_THREADS)
#define NR_SLOTS	64
#define SLOT_BYTES	512

struct node {
	intptr_t next;
	int held;			/* atomic */
	int found;
};

/* What a CPU, or a concurrency id, has; all words are changed by operations alone. */
struct cell {
	intptr_t count, second, base, head;
	intptr_t *target;
	intptr_t at;
	intptr_t slots[NR_SLOTS];
	unsigned char records[NR_SLOTS][SLOT_BYTES];
} __attribute__((aligned(256)));

/* Tries of one operation: committed, aborted, begun on another CPU, with another value. */
struct tries {
	unsigned long committed, aborted, elsewhere, differed;
};

struct worker {
	unsigned int index;
	pthread_t thread;
	struct tries tries[2];		/* of two operations, where a step has two */
	struct tries in_handler[2];
	unsigned char record[SLOT_BYTES];
	unsigned char handlers_record[SLOT_BYTES];
};

/* One context of a worker: the thread itself, or its signal handler. */
struct context {
	struct tries *tries;
	unsigned char *record;
};

struct subject {
	const char *name, *second_name;
	bool ordered;			/* takes orderings */
	void (*step)(const struct context *context);
	bool (*check)(const struct tries *totals);
};

static struct cell *cells;
static struct node nodes[NR_NODES];
static int nr_cells;
static struct worker workers[NR_THREADS];
static struct storm *storm;
static const struct subject *subject;
static const struct ops *ops;
static bool stop;
static unsigned long records_seen, broken_records;
static __thread struct worker *self;

static int current_id(void)
{
	return ops->mode == RSEQ_PERCPU_CPU_ID ? (int)rseq_cpu_start() : (int)rseq_current_mm_cid();
}

/* Takes down what an operation answered. Returns whether it committed. */
static bool took(struct tries *tries, int result)
{
	if (!result)
		tries->committed++;
	else if (result > 0)
		tries->differed++;
	else if (!RSEQ_READ_ONCE(rseq_get_abi()->rseq_cs.arch.ptr))
		tries->aborted++;	/* the kernel has disarmed it */
	else
		tries->elsewhere++;
	return !result;
}

/* Moves a node from one list to another. */
static void step_list(const struct context *context)
{
	intptr_t taken = 0, head;
	struct node *node;
	int id = current_id();

	if (!took(&context->tries[1],
		  ops->take(&cells[id].head, 0, offsetof(struct node, next), &taken, id)))
		return;
	node = (struct node *)taken;
	if (__atomic_exchange_n(&node->held, 1, __ATOMIC_RELAXED))
		__atomic_fetch_add(&broken_records, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&node->held, 0, __ATOMIC_RELAXED);
	do {
		id = current_id();
		head = RSEQ_READ_ONCE(cells[id].head);
		RSEQ_WRITE_ONCE(node->next, head);
	} while (!took(&context->tries[0],
		       ops->store(&cells[id].head, head, (intptr_t)node, id)));
}

static bool check_list(const struct tries *totals)
{
	int found = 0;

	for (int id = 0; id < nr_cells; id++) {
		struct node *node = (struct node *)cells[id].head;

		for (; node; node = (struct node *)node->next) {
			if (node->found++)
				return false;
			found++;
		}
	}
	return found == NR_NODES && totals[0].committed == totals[1].committed;
}

static void step_add(const struct context *context)
{
	int id = current_id();

	took(&context->tries[0], ops->add(&cells[id].count, 3, id));
}

static void step_add_at(const struct context *context)
{
	int id = current_id();

	took(&context->tries[0],
	     ops->add_at(&cells[id].base, offsetof(struct cell, target), 3, id));
}

static uintptr_t sum_of(size_t offset)
{
	uintptr_t sum = 0;

	for (int id = 0; id < nr_cells; id++)
		sum += *(uintptr_t *)((char *)&cells[id] + offset);
	return sum;
}

static bool check_add(const struct tries *totals)
{
	return sum_of(offsetof(struct cell, count)) == 3 * totals[0].committed;
}

static bool check_add_at(const struct tries *totals)
{
	return sum_of(offsetof(struct cell, at)) == 3 * totals[0].committed;
}

/* The second word goes up by one before every sixteenth step of the first, or more often. */
static void step_store_if_both(const struct context *context)
{
	int id = current_id();
	intptr_t second = RSEQ_READ_ONCE(cells[id].second);
	intptr_t count = RSEQ_READ_ONCE(cells[id].count);

	if (second <= count / 16)
		took(&context->tries[1], ops->add(&cells[id].second, 1, id));
	else
		took(&context->tries[0],
		     ops->store_if_both(&cells[id].count, count, &cells[id].second, second,
					count + 1, id));
}

static bool check_store_if_both(const struct tries *totals)
{
	return sum_of(offsetof(struct cell, count)) == totals[0].committed &&
	       sum_of(offsetof(struct cell, second)) == totals[1].committed;
}

/* What belongs into the slot of a number. */
static intptr_t value_of(intptr_t number)
{
	return (intptr_t)((uintptr_t)number * 0x9e3779b97f4a7c15u + 1);
}

static void step_store_store(const struct context *context)
{
	int id = current_id();
	intptr_t count = RSEQ_READ_ONCE(cells[id].count);

	took(&context->tries[0], ops->store_store(&cells[id].count, count,
						  &cells[id].slots[count % NR_SLOTS],
						  value_of(count), count + 1, id));
}

/* Whether a record is whole, in its length, which it begins with, and all other bytes. */
static size_t length_of(intptr_t number)
{
	return 8 + (size_t)number * 7 % (SLOT_BYTES - 8);
}

static void fill_record(unsigned char *record, intptr_t number)
{
	memcpy(record, &number, sizeof(number));
	memset(record + sizeof(number), (int)number, length_of(number) - sizeof(number));
}

static void step_copy_store(const struct context *context)
{
	int id = current_id();
	intptr_t count = RSEQ_READ_ONCE(cells[id].count);

	fill_record(context->record, count);
	took(&context->tries[0], ops->copy_store(&cells[id].count, count,
						 cells[id].records[count % NR_SLOTS],
						 context->record, length_of(count), count + 1, id));
}

static bool slot_is_right(const struct cell *cell, intptr_t number)
{
	return RSEQ_READ_ONCE(cell->slots[number % NR_SLOTS]) == value_of(number);
}

static bool record_is_right(const struct cell *cell, intptr_t number)
{
	unsigned char expected[SLOT_BYTES];

	fill_record(expected, number);
	return !memcmp(cell->records[number % NR_SLOTS], expected, length_of(number));
}

static bool number_is_right(const struct cell *cell, intptr_t number)
{
	return subject->step == step_store_store ? slot_is_right(cell, number) :
			record_is_right(cell, number);
}

/* An aborted try may have written to the slot that comes next, over the oldest number. */
static bool check_numbers(const struct tries *totals)
{
	for (int id = 0; id < nr_cells; id++) {
		intptr_t count = cells[id].count;

		for (intptr_t i = count < NR_SLOTS ? 0 : count - NR_SLOTS + 1; i < count; i++)
			if (!number_is_right(&cells[id], i))
				return false;
	}
	return sum_of(offsetof(struct cell, count)) == totals[0].committed;
}

static const struct subject subjects[] = {
	{ "store", "take", false, step_list, check_list },
	{ "add", NULL, false, step_add, check_add },
	{ "add_at", NULL, false, step_add_at, check_add_at },
	{ "store_if_both", "add", false, step_store_if_both, check_store_if_both },
	{ "store_store", NULL, true, step_store_store, check_numbers },
	{ "copy_store", NULL, true, step_copy_store, check_numbers },
};

static void step_in_handler(void)
{
	struct context context = { self->in_handler, self->handlers_record };

	subject->step(&context);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct context context = { worker->tries, worker->record };

	self = worker;
	rseq_register_current_thread();
	storm_enter(storm, worker->index);
	for (unsigned int i = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		subject->step(&context);
		if (i % STEPS_PER_YIELD == 0)
			sched_yield();
	}
	storm_leave(storm, worker->index);
	return NULL;
}

static void reset(void)
{
	memset(cells, 0, (size_t)nr_cells * sizeof(cells[0]));
	memset(nodes, 0, sizeof(nodes));
	memset(workers, 0, sizeof(workers));
	for (int id = 0; id < nr_cells; id++) {
		cells[id].base = (intptr_t)&cells[id];
		cells[id].target = &cells[id].at;
	}
	for (int i = 0; i < NR_NODES; i++) {
		struct cell *cell = &cells[i % (nr_cells < MAX_CPUS ? nr_cells : MAX_CPUS)];

		nodes[i].next = cell->head;
		cell->head = (intptr_t)&nodes[i];
	}
	broken_records = records_seen = 0;
	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
}

/* Looks at the newest number of each cell while others come. */
static void watch(void)
{
	for (int id = 0; id < nr_cells; id++) {
		const struct cell *cell = &cells[id];
		intptr_t count = __atomic_load_n(&cell->count, __ATOMIC_ACQUIRE);
		bool right;

		if (!count)
			continue;
		right = number_is_right(cell, count - 1);
		rseq_smp_rmb();
		/* The slot's next number is not begun before this many. */
		if (RSEQ_READ_ONCE(cell->count) >= count + NR_SLOTS - 1)
			continue;
		records_seen++;
		if (!right)
			__atomic_fetch_add(&broken_records, 1, __ATOMIC_RELAXED);
	}
}

static void let_run(long milliseconds, bool watching)
{
	const struct timespec moment = { 0, 1000000 };
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += milliseconds / 1000;
	end.tv_nsec += milliseconds % 1000 * 1000000;
	do {
		nanosleep(&moment, NULL);
		if (watching)
			watch();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - end.tv_sec) * 1000000000 + now.tv_nsec - end.tv_nsec < 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
}

static void add_tries(struct tries *total, const struct tries *tries)
{
	total->committed += tries->committed;
	total->aborted += tries->aborted;
	total->elsewhere += tries->elsewhere;
	total->differed += tries->differed;
}

static void report(const char *name, const struct tries *total, unsigned long in_handlers,
		long milliseconds)
{
	const unsigned long ms = (unsigned long)milliseconds;

	printf("%-14s %-17s per second: %9lu committed, %6lu in handlers, %6lu aborted, "
	       "%6lu elsewhere, %6lu differed\n", name, ops->name, total->committed * 1000 / ms,
	       in_handlers * 1000 / ms, total->aborted * 1000 / ms, total->elsewhere * 1000 / ms,
	       total->differed * 1000 / ms);
}

/* One operation, in one mode and ordering. Returns whether all is right. */
static bool run_subject(long milliseconds)
{
	struct tries totals[2] = { { 0 } }, in_handlers[2] = { { 0 } };
	unsigned int nr = 0;
	bool right;

	reset();
	storm = storm_start(STORM_ALL, NR_THREADS, step_in_handler);
	if (!storm)
		return false;
	for (; nr < NR_THREADS; nr++) {
		workers[nr].index = nr;
		if (pthread_create(&workers[nr].thread, NULL, work, &workers[nr]))
			break;
	}
	/* Only a release lets another thread look. */
	let_run(milliseconds, subject->ordered && strstr(ops->name, "release"));
	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		for (int j = 0; j < 2; j++) {
			add_tries(&in_handlers[j], &workers[i].in_handler[j]);
			add_tries(&totals[j], &workers[i].tries[j]);
			add_tries(&totals[j], &workers[i].in_handler[j]);
		}
	}
	storm_stop(storm);
	report(subject->name, &totals[0], in_handlers[0].committed, milliseconds);
	if (subject->second_name)
		report(subject->second_name, &totals[1], in_handlers[1].committed, milliseconds);
	right = subject->check(totals) && !broken_records && totals[0].committed;
	if (!right)
		printf("wrong: %s, %s: %lu committed, %lu broken of %lu seen\n", subject->name,
		       ops->name, totals[0].committed, broken_records, records_seen);
	return right;
}

static long duration_ms(void)
{
	const char *text = getenv("STRESS_SECONDS");
	long seconds = text ? atol(text) : 0;

	return seconds < 1 ? DEFAULT_MS : seconds > MAX_SECONDS ? MAX_SECONDS * 1000 :
			seconds * 1000;
}

/* More CPUs than a few make collisions rare. */
static void keep_to_few_cpus(void)
{
	struct support_cpus cpus;

	support_find_cpus(&cpus);
	if (cpus.nr > MAX_CPUS)
		cpus.nr = MAX_CPUS;
	support_release(&cpus);
}

static int run(void)
{
	bool right = true;
	int runs = 0;

	keep_to_few_cpus();
	rseq_register_current_thread();
	nr_cells = rseq_get_max_nr_cpus();
	cells = aligned_alloc(__alignof__(cells[0]), (size_t)nr_cells * sizeof(cells[0]));
	if (!cells)
		return 1;
	for (ops = every_op; ops < every_op + OPS_NR; ops++) {
		const bool release = strstr(ops->name, "release");

		if (strstr(ops->name, "variables"))
			continue;
		if (ops->mode == RSEQ_PERCPU_CPU_ID ? !rseq_thread_registered() :
						      !rseq_mm_cid_available()) {
			printf("not tried: %s: this thread has no such id\n", ops->name);
			continue;
		}
		for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
			subject = &subjects[i];
			if (release && !subject->ordered)
				continue;
			right &= run_subject(duration_ms());
			runs++;
		}
	}
	free(cells);
	if (!runs) {
		printf("skipped: no operation can commit here: this thread has no rseq\n");
		return SUPPORT_SKIP;
	}
	return right ? 0 : 1;
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
