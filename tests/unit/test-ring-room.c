/* SPDX-License-Identifier: MIT */
/*
 * What a ring has room for, to the byte, and that it loses its oldest records and no others,
 * whether they are alike or not, wherever the data begin anew.
 */
#include "ring-support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SIZE	4096

/* All bytes of a ring hold records, but no try takes one for which an empty ring is too small. */
static void check_all_bytes(unsigned int flags)
{
	struct rseq_ring *ring = rseq_ring_create(SIZE, flags);
	const size_t words = flags & RSEQ_RING_TIMESTAMP ? 2 : 1;
	struct support_cpus cpus;
	size_t written, len, one;

	assert_non_null(ring);
	ring_stay(&cpus);
	for (int round = 0; round < 20; round++) {
		for (len = SIZE - 31; len < SIZE; len++) {
			if (words == 1)
				assert_true(rseq_ring_try_write(ring, ring_record, len) <=
					    RSEQ_RING_FULL);
			assert_int_equal(rseq_ring_write(ring, ring_record, len), -1);
			assert_int_equal(errno, EMSGSIZE);
		}
		for (written = 0; !rseq_ring_write(ring, ring_record, 8); written++)
			;
		assert_int_equal(errno, ENOSPC);
		assert_true(written >= SIZE / (8 * (words + 1 + !rseq_thread_registered())));
		for (; written; written--)
			assert_int_equal(ring_read_any(ring, NULL), 8);
		assert_int_equal(ring_read_any(ring, NULL), 0);
		/* The shortest kind leaves the most room; after the other, it is no multiple. */
		one = round % 2 ? 9 : 8;
		assert_int_equal(rseq_ring_write(ring, ring_record, one), 0);
		assert_int_equal(ring_read_any(ring, NULL), one);
	}
	assert_int_equal(support_release(&cpus), 0);
	rseq_ring_destroy(ring);
}

static void test_all_bytes(void **state)
{
	(void)state;
	rseq_register_current_thread();
	check_all_bytes(0);
	check_all_bytes(RSEQ_RING_TIMESTAMP);
	rseq_unregister_current_thread();
	ring_go_without_rseq();
	check_all_bytes(0);
	check_all_bytes(RSEQ_RING_TIMESTAMP);
}

/* Records of one length, nr of them at a time, then one of another, in a ring that overwrites. */
static void check_alike(size_t len, size_t other, unsigned int nr)
{
	struct rseq_ring *ring = rseq_ring_create(SIZE, RSEQ_RING_OVERWRITE);
	unsigned long written, bytes = 0, next;
	struct rseq_ring_stat stat;
	struct support_cpus cpus;

	assert_non_null(ring);
	ring_stay(&cpus);
	for (written = 0; bytes < 20 * SIZE; written++) {
		size_t this = written % (nr + 1) < nr ? len : other;

		ring_fill(written, this);
		assert_int_equal(rseq_ring_write(ring, ring_record, this), 0);
		bytes += this;
	}
	ring_stat_all(ring, &stat);
	assert_int_equal(stat.records, written);
	assert_int_equal(stat.bytes, bytes);
	assert_true(stat.lost > 0);
	for (next = stat.lost; next < written; next++) {
		size_t this = next % (nr + 1) < nr ? len : other;

		assert_int_equal(ring_read_any(ring, NULL), this);
		assert_true(ring_is(next, this));
	}
	assert_int_equal(ring_read_any(ring, NULL), 0);
	ring_stat_all(ring, &stat);
	assert_int_equal(stat.read + stat.lost, written);
	assert_int_equal(support_release(&cpus), 0);
	rseq_ring_destroy(ring);
}

static void test_alike(void **state)
{
	static const size_t lens[] = { 1, 8, 9, 64, 120, 127, 248, 400 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		check_alike(lens[i], lens[i], 1);
		check_alike(lens[i], lens[i] + 1, 1);
		check_alike(lens[i], 200, 3);
		check_alike(lens[i], 17, 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_all_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
