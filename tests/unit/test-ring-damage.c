/* SPDX-License-Identifier: MIT */
/*
 * Somebody writes over a ring's memory. A read says so, whichever word of a record is spoilt, and
 * ends.
 */
#define _GNU_SOURCE

#include "ring-internal.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "child.h"

#define SECONDS		60
#define SIZE		4096
#define BAD_WORD	0x4141414141414141

static const char record[] = "a record";

/* The first record of one of the parts. */
static char *find_record(const struct rseq_ring *ring)
{
	for (int i = 0; i < 2 * rseq_get_max_nr_cpus(); i++) {
		const struct part part = part_of(ring_of(ring), i);

		if (!memcmp(part.data + part.header, record, sizeof(record)))
			return part.data + part.header;
	}
	return NULL;
}

/* Spoils a word so many bytes before a record. Returns whether a read finds that. */
static int read_spoilt(size_t before)
{
	struct rseq_ring *ring = rseq_ring_create(SIZE, 0);
	char buffer[SIZE], *at;
	int nr_errors = 0;

	if (!ring || rseq_ring_write(ring, record, sizeof(record)))
		return 1;
	at = find_record(ring);
	if (!at)
		return 2;
	*(volatile uintptr_t *)(void *)(at - before) = BAD_WORD;
	alarm(SECONDS);
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		if (rseq_ring_read(ring, cpu, buffer, sizeof(buffer)) < 0 && errno == EIO)
			nr_errors++;
	return nr_errors == 1 ? 0 : 3;
}

static int spoil_length(void)
{
	return read_spoilt(8);
}

static int spoil_length_without_rseq(void)
{
	support_go_without_rseq();
	return read_spoilt(8);
}

static int spoil_position(void)
{
	support_go_without_rseq();
	return read_spoilt(16);
}

static void test_length(void **state)
{
	(void)state;
	assert_int_equal(in_child(spoil_length), 0);
	assert_int_equal(in_child(spoil_length_without_rseq), 0);
}

/* Of the other part of the CPU's records. */
static void test_position(void **state)
{
	(void)state;
	assert_int_equal(in_child(spoil_position), 0);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_position),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
