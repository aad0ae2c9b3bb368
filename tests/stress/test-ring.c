/* SPDX-License-Identifier: MIT */
/*
 * Rings in a storm: threads write numbered records, some without rseq, some going from one way to
 * the other, all disturbed in every way, and their signal handlers write as well; readers read
 * meanwhile. Every record that is read must be whole and in order, and every one that was written
 * be read or counted as lost. Says how many sections were aborted, so that a run that tests nothing
 * shows.
 *
 * STRESS_SECONDS is how long it runs in all, 3 by default.
 */
#define _GNU_SOURCE

#include "storm.h"
#include "support.h"

#include <rseq/info.h>
#include <rseq/ring.h>

#include <time.h>

#define NR_WRITERS	16
#define NR_READERS	2
#define NR_SOURCES	(2 * NR_WRITERS)	/* the writers, and their signal handlers */
#define MAX_CPUS	2
#define MAX_SECONDS	86400
#define RING_BYTES	8192
#define LONGEST		600

struct config {
	const char *name;
	unsigned int flags;
	enum rseq_percpu_mode mode;
};

static const struct config configs[] = {
	{ "refuses, cpu_id", 0, RSEQ_PERCPU_CPU_ID },
	{ "overwrites, cpu_id", RSEQ_RING_OVERWRITE, RSEQ_PERCPU_CPU_ID },
	{ "refuses, mm_cid, times", RSEQ_RING_TIMESTAMP, RSEQ_PERCPU_MM_CID },
	{ "overwrites, mm_cid, times", RSEQ_RING_OVERWRITE | RSEQ_RING_TIMESTAMP,
	  RSEQ_PERCPU_MM_CID },
};
#define NR_CONFIGS	(sizeof(configs) / sizeof(configs[0]))

/* A record: these, and bytes that follow from them, up to a length that follows from them. */
struct record {
	uint32_t source, check;
	uint64_t number;
	unsigned char bytes[LONGEST];
};
#define HEADER	offsetof(struct record, bytes)

/* What one source of records has written; number is that of the next. */
struct source {
	uint64_t number, refused;
	struct record record;
};

static struct rseq_ring *ring;
static const struct config *config;
static struct storm *storm;
static struct source sources[NR_SOURCES];
static int nr_ids;
static bool stop;
static unsigned long nr_read, nr_wrong, nr_busy;	/* atomic */
static __thread struct source *handlers_source;

/* By id and source, the number that comes next at the earliest; of whoever reads that id. */
static uint64_t (*next_number)[NR_SOURCES];

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void count(unsigned long *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static uint32_t check_of(uint32_t source, uint64_t number)
{
	return (uint32_t)((number * 64 + source) * 0x9e3779b97f4a7c15u >> 32);
}

static size_t length_of(uint32_t check)
{
	return HEADER + (check & 3 ? check % 64 : check % LONGEST);
}

static void write_one(struct source *source)
{
	struct record *record = &source->record;

	record->source = (uint32_t)(source - sources);
	record->number = source->number;
	record->check = check_of(record->source, record->number);
	memset(record->bytes, (int)(record->check >> 8), length_of(record->check) - HEADER);
	if (!rseq_ring_write(ring, record, length_of(record->check)))
		source->number++;
	else if (errno == ENOSPC && !(config->flags & RSEQ_RING_OVERWRITE))
		source->refused++;
	else
		count(&nr_wrong);
}

static void write_in_handler(void)
{
	if (handlers_source)
		write_one(handlers_source);
}

/* A signal in between finds the thread in the one state or in the other. */
static void change(void *area, unsigned int length)
{
	if (length)
		support_sys_rseq(area, length, rseq_thread_registered() ? RSEQ_ABI_FLAG_UNREGISTER
									 : 0, RSEQ_SIG);
}

static void *keep_writing(void *argument)
{
	const unsigned int index = *(unsigned int *)argument;
	void *area = rseq_get_abi();
	unsigned int length;

	rseq_register_current_thread();
	length = support_registered_length(area);
	if (index % 4 >= 2) {
		rseq_unregister_current_thread();
		support_go_without_rseq();
	}
	handlers_source = &sources[NR_WRITERS + index];
	storm_enter(storm, index);
	for (unsigned int i = 1; !stopped(); i++) {
		write_one(&sources[index]);
		if (index % 4 == 2 && i % 32 == 0)
			change(area, length);
		if (i % 64 == 0)
			sched_yield();
	}
	storm_leave(storm, index);
	return NULL;
}

static bool is_whole(const struct record *record, size_t len)
{
	if (len < HEADER || record->source >= NR_SOURCES ||
	    record->check != check_of(record->source, record->number) ||
	    len != length_of(record->check))
		return false;
	for (size_t i = 0; i < len - HEADER; i++)
		if (record->bytes[i] != (unsigned char)(record->check >> 8))
			return false;
	return true;
}

/* Called by one thread at a time for each id. */
static void check_record(const struct record *record, size_t len, int id)
{
	count(&nr_read);
	if (!is_whole(record, len)) {
		count(&nr_wrong);
		return;
	}
	if (record->number < next_number[id][record->source])
		count(&nr_wrong);
	next_number[id][record->source] = record->number + 1;
}

/*
 * Each reader has ids of its own, and now and then tries that of another one, which is busy at
 * times, with a buffer that takes no record.
 */
static bool read_some(int reader)
{
	struct record record;
	bool found = false;

	for (int id = 0; id < nr_ids; id++) {
		ssize_t len = 1;

		if (id % NR_READERS != reader) {
			len = rseq_ring_read(ring, id, NULL, 0);
			if (len < 0 && errno != EMSGSIZE && errno != EBUSY)
				count(&nr_wrong);
			continue;
		}
		for (int i = 0; i < 100 && len; i++) {
			len = rseq_ring_read(ring, id, &record, sizeof(record));
			if (len > 0)
				check_record(&record, (size_t)len, id);
			else if (len < 0)
				count(errno == EBUSY ? &nr_busy : &nr_wrong);
			found |= len;
		}
	}
	return found;
}

static void *keep_reading(void *argument)
{
	const int reader = *(int *)argument;
	const struct timespec moment = { 0, 1000 };

	while (!stopped())
		if (!read_some(reader))
			nanosleep(&moment, NULL);
	return NULL;
}

/* All threads are over. Returns whether every record is accounted for. */
static bool check_totals(long milliseconds, uint64_t aborts)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };
	uint64_t written = 0, refused = 0, records = 0, lost = 0, known_refused = 0, known_read = 0;
	struct rseq_info info = { .size = sizeof(info) };

	for (int reader = 0; reader < NR_READERS; reader++)
		while (read_some(reader))
			;
	for (int i = 0; i < NR_SOURCES; i++) {
		written += sources[i].number;
		refused += sources[i].refused;
	}
	for (int id = 0; id < nr_ids; id++) {
		rseq_ring_stat(ring, id, &stat);
		records += stat.records;
		lost += stat.lost;
		known_read += stat.read;
		known_refused += stat.refused;
	}
	rseq_get_info(&info);
	printf("%-26s %ld ms: %8lu written, %8lu read, %8lu lost, %8lu refused; %6lu aborted, "
	       "%lu busy\n", config->name, milliseconds, (unsigned long)written, nr_read,
	       (unsigned long)lost, (unsigned long)refused,
	       (unsigned long)(info.aborts - aborts), nr_busy);
	if (!nr_wrong && records == written && known_refused == refused && known_read == nr_read &&
	    nr_read + lost == written && written)
		return true;
	printf("wrong: %lu records; %lu written, %lu known; %lu read, %lu known; %lu lost; "
	       "%lu refused, %lu known\n", nr_wrong, (unsigned long)written,
	       (unsigned long)records, nr_read, (unsigned long)known_read, (unsigned long)lost,
	       (unsigned long)refused, (unsigned long)known_refused);
	return false;
}

static bool run_config(long milliseconds)
{
	static unsigned int indices[NR_WRITERS];
	static int reader_indices[NR_READERS];
	pthread_t threads[NR_WRITERS + NR_READERS];
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	struct rseq_info info = { .size = sizeof(info) };
	int nr = 0;
	bool right;

	memset(sources, 0, sizeof(sources));
	memset(next_number, 0, (size_t)nr_ids * sizeof(next_number[0]));
	nr_read = nr_wrong = nr_busy = 0;
	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	ring = rseq_ring_create_mode(RING_BYTES, config->flags, config->mode);
	storm = storm_start(STORM_ALL, NR_WRITERS, write_in_handler);
	if (!ring || !storm)
		return false;
	rseq_get_info(&info);
	for (int i = 0; i < NR_READERS; i++) {
		reader_indices[i] = i;
		nr += !pthread_create(&threads[nr], NULL, keep_reading, &reader_indices[i]);
	}
	for (unsigned int i = 0; i < NR_WRITERS; i++) {
		indices[i] = i;
		nr += !pthread_create(&threads[nr], NULL, keep_writing, &indices[i]);
	}
	while (nanosleep(&time, &time) && errno == EINTR)
		;
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	while (nr)
		pthread_join(threads[--nr], NULL);
	storm_stop(storm);
	right = check_totals(milliseconds, info.aborts);
	rseq_ring_destroy(ring);
	return right;
}

static long duration_ms(void)
{
	const char *text = getenv("STRESS_SECONDS");
	long seconds = text ? atol(text) : 0;

	return (seconds < 1 ? 3 : seconds > MAX_SECONDS ? MAX_SECONDS : seconds) * 1000;
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

	keep_to_few_cpus();
	nr_ids = rseq_get_max_nr_cpus();
	next_number = calloc((size_t)nr_ids, sizeof(next_number[0]));
	if (!next_number)
		return 1;
	for (config = configs; config < configs + NR_CONFIGS; config++)
		right &= run_config(duration_ms() / (long)NR_CONFIGS);
	free(next_number);
	return right ? 0 : 1;
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run);
}
