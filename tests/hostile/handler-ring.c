/* SPDX-License-Identifier: MIT */
/*
 * handler-ring.c: rings that are interrupted. Records have numbers, and each is read once, refused
 * or lost.
 */
#define _GNU_SOURCE

#include "handler.h"

#include <rseq/ring.h>

#define MAX_RECORDS	100000
#define RECORD_WORDS	150

static struct rseq_ring *ring;
static unsigned int ring_flags;
static uint32_t nr_records, nr_refused, nr_read;
static unsigned char marks[MAX_RECORDS];
static ssize_t my_len;
static int my_result;

static void create_ring(void)
{
	ring = rseq_ring_create(4096, ring_flags);
	check(ring);
}

static void create_plain_ring(void)
{
	ring_flags = 0;
	create_ring();
}

static void create_overwritten_ring(void)
{
	ring_flags = RSEQ_RING_OVERWRITE | RSEQ_RING_TIMESTAMP;
	create_ring();
}

static uint32_t my_words[RECORD_WORDS], its_words[RECORD_WORDS];

/*
 * All words of a record are its number, but that those of an odd one have zeros between: whoever
 * takes these for the length of another record must come to an end.
 */
static uint32_t word_of(uint32_t number, size_t word)
{
	return number % 2 && word && word < RECORD_WORDS - 1 ? 0 : number;
}

static void fill(uint32_t *record, uint32_t number)
{
	for (size_t i = 0; i < RECORD_WORDS; i++)
		record[i] = word_of(number, i);
}

static int write_record(uint32_t number)
{
	fill(its_words, number);
	return rseq_ring_write(ring, its_words, sizeof(its_words));
}

static void ring_write(void)
{
	if (!in_handler)
		my_result = rseq_ring_write(ring, my_words, sizeof(my_words));
	else if (write_record(nr_records++))
		nr_refused++;
}

/* More than a ring has room for: it is other records that begin everywhere. */
static void ring_write_over(void)
{
	for (int i = 0; i < 8; i++)
		ring_write();
}

/* Returns the number, UINT32_MAX if there is none, or UINT32_MAX - 1 for what is no record. */
static uint32_t number_of(const uint32_t *record, ssize_t len)
{
	if (len <= 0)
		return UINT32_MAX;
	for (size_t i = 1; i < RECORD_WORDS; i++)
		if (record[i] != word_of(record[0], i))
			return UINT32_MAX - 1;
	return len == sizeof(my_words) ? record[0] : UINT32_MAX - 1;
}

static uint32_t read_record(void)
{
	uint32_t record[RECORD_WORDS];
	ssize_t len = rseq_ring_read(ring, (int)rseq_current_cpu(), record, sizeof(record));

	check(len >= 0 || (in_handler && errno == EBUSY));
	return number_of(record, len);
}

static void mark(uint32_t number)
{
	if (number == UINT32_MAX)
		return;
	check(number < nr_records && number < MAX_RECORDS && !marks[number]);
	if (number < MAX_RECORDS)
		marks[number]++;
	nr_read++;
}

static void ring_read(void)
{
	if (in_handler)
		mark(read_record());
	else
		my_len = rseq_ring_read(ring, (int)rseq_current_cpu(), my_words, sizeof(my_words));
}

static void ring_stat(void)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };

	check(!rseq_ring_stat(ring, (int)rseq_current_cpu(), &stat));
	check(stat.records >= stat.read + stat.lost);
}

static void write_two(void)
{
	for (int i = 0; i < 2; i++)
		if (write_record(nr_records++))
			nr_refused++;
}

static void prepare_ring(char state, const struct deed *deed)
{
	/* Where the head is makes a difference, and should be the same each time. */
	check(!rseq_ring_destroy(ring));
	create_ring();
	memset(marks, 0, nr_records);
	nr_records = nr_refused = nr_read = 0;
	write_two();
	mark(read_record());
	mark(read_record());
	my_len = 0;
	my_result = 0;
	if (state == SOME || state == MIXED)
		write_two();
	if (state == MIXED)
		without_rseq(write_two);
	for (int i = 0; state == FULL && i < 4; i++)
		write_two();
	if (deed->run == ring_write)
		fill(my_words, nr_records++);
}

static void judge_ring(void)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };
	uint32_t number;

	check(my_len >= 0);
	mark(number_of(my_words, my_len));
	nr_refused += !!my_result;
	while ((number = read_record()) != UINT32_MAX && number != UINT32_MAX - 1)
		mark(number);
	check(number == UINT32_MAX);
	check(!rseq_ring_stat(ring, (int)rseq_current_cpu(), &stat));
	check(stat.read == nr_read && stat.refused == nr_refused);
	check(stat.records == nr_records - nr_refused && stat.records == stat.read + stat.lost);
	check(ring_flags || !stat.lost);
}

static const struct deed ring_deeds[] = {
	{ "write", ring_write, true, false, false },
	{ "write over", ring_write_over, true, true, false },
	{ "read", ring_read, true, false, false },
	{ "stat", ring_stat, true, false, true },
};

const struct subject ring_subject = {
	"ring", "esfm", create_plain_ring, prepare_ring, judge_ring, DEEDS(ring_deeds), false
};

const struct subject overwritten_ring_subject = {
	"ring that overwrites", "esfm", create_overwritten_ring, prepare_ring, judge_ring,
	DEEDS(ring_deeds), false
};
