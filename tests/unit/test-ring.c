/* SPDX-License-Identifier: MIT */
/*
 * Rings: records of all lengths at all offsets, full and overwritten rings, order and numbers,
 * timestamps, threads that go from one way of writing to the other. With and without rseq.
 */
#define _GNU_SOURCE

#include "ring-support.h"

#include <sys/resource.h>

#include <stdarg.h>
#include <setjmp.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define NO_LIMIT	99

static const unsigned int all_flags[] = {
	0, RSEQ_RING_OVERWRITE, RSEQ_RING_TIMESTAMP, RSEQ_RING_OVERWRITE | RSEQ_RING_TIMESTAMP,
};

static struct rseq_ring *create(size_t bytes, unsigned int flags)
{
	struct rseq_ring *ring = rseq_ring_create(bytes, flags);

	assert_non_null(ring);
	return ring;
}

static void expect_error(long result, int error)
{
	assert_int_equal(result, -1);
	assert_int_equal(errno, error);
	errno = KEPT_ERRNO;
}

static void test_arguments(void **state)
{
	struct rseq_ring_stat stat = { .size = sizeof(stat) };
	struct rseq_ring *ring = create(4096, 0);
	const int nr_cpus = rseq_get_max_nr_cpus();
	char byte = 0;

	(void)state;
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_ring_destroy(NULL), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_null(rseq_ring_create(0, 0));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_ring_create(((size_t)1 << 30) + 1, 0));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_ring_create(4096, 4));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(rseq_ring_create_mode(4096, 0, (enum rseq_percpu_mode)2));
	assert_int_equal(errno, EINVAL);

	expect_error(rseq_ring_read(NULL, 0, &byte, 1), EINVAL);
	expect_error(rseq_ring_read(ring, -1, &byte, 1), EINVAL);
	expect_error(rseq_ring_read(ring, nr_cpus, &byte, 1), EINVAL);
	expect_error(rseq_ring_read(ring, 0, NULL, 1), EINVAL);
	expect_error(rseq_ring_stat(NULL, 0, &stat), EINVAL);
	expect_error(rseq_ring_stat(ring, 0, NULL), EINVAL);
	expect_error(rseq_ring_stat(ring, -1, &stat), EINVAL);
	expect_error(rseq_ring_stat(ring, nr_cpus, &stat), EINVAL);
	stat.size = offsetof(struct rseq_ring_stat, records);
	expect_error(rseq_ring_stat(ring, 0, &stat), EINVAL);
	expect_error(rseq_ring_write(ring, &byte, 0), EINVAL);
	expect_error(rseq_ring_write(ring, &byte, SIZE_MAX), EMSGSIZE);
	expect_error(rseq_ring_write_slow(ring, &byte, 0, RSEQ_RING_FULL), EINVAL);
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		assert_int_equal(rseq_ring_read(ring, cpu, NULL, 0), 0);
		assert_int_equal(rseq_ring_read(ring, cpu, &byte, 1), 0);
	}
	assert_int_equal(errno, KEPT_ERRNO);
	rseq_ring_destroy(ring);
	assert_int_equal(errno, KEPT_ERRNO);
}

/* Fields that the caller does not know stay, those that the library does not know are 0. */
static void test_stat_size(void **state)
{
	struct {
		struct rseq_ring_stat known;
		uint64_t unknown;
	} more = { { .size = sizeof(more) }, 99 };
	struct rseq_ring_stat less = {
		.size = offsetof(struct rseq_ring_stat, bytes), .bytes = 98,
	};
	struct rseq_ring *ring = create(4096, 0);
	struct support_cpus cpus;
	int cpu = ring_stay(&cpus);

	(void)state;
	assert_int_equal(rseq_ring_write(ring, "abc", 3), 0);
	assert_int_equal(rseq_ring_stat(ring, cpu, &more.known), 0);
	assert_int_equal(more.known.size, sizeof(more.known));
	assert_int_equal(more.known.records, 1);
	assert_int_equal(more.known.bytes, 3);
	assert_int_equal(more.unknown, 0);
	assert_int_equal(rseq_ring_stat(ring, cpu, &less), 0);
	assert_int_equal(less.records, 1);
	assert_int_equal(less.bytes, 98);
	assert_int_equal(support_release(&cpus), 0);
	rseq_ring_destroy(ring);
}

/* Every length; three at a time, so that they begin and wrap around everywhere. */
static void check_lengths(struct rseq_ring *ring, size_t from, size_t to, size_t by)
{
	unsigned long written = 0, seen = 0;

	for (size_t len = from; len <= to; len += by) {
		for (int i = 0; i < 3; i++) {
			ring_fill(written, len);
			assert_int_equal(rseq_ring_write(ring, ring_record, len), 0);
			written++;
		}
		for (int i = 0; i < 3; i++) {
			assert_int_equal(ring_read_any(ring, NULL), len);
			assert_true(ring_is(seen, len));
			seen++;
		}
		assert_int_equal(ring_read_any(ring, NULL), 0);
	}
}

/* Of a ring of 4 KiB, and of one that holds the longest record. */
static void check_limits(unsigned int flags)
{
	struct rseq_ring *small = create(1, flags);
	struct rseq_ring *large = create(65537, flags);

	check_lengths(small, 1, 1200, 1);
	for (int i = 0; i < 20; i++) {
		ring_fill((unsigned long)i, 4096 - 32);
		assert_int_equal(rseq_ring_write(small, ring_record, 4096 - 32), 0);
		expect_error(rseq_ring_write(small, ring_record, 4096 - 31), EMSGSIZE);
		assert_int_equal(ring_read_any(small, NULL), 4096 - 32);
		assert_true(ring_is((unsigned long)i, 4096 - 32));
	}
	check_lengths(large, 1, 40000, 997);
	for (int i = 0; i < 5; i++) {
		ring_fill((unsigned long)i, RSEQ_RING_MAX_RECORD);
		assert_int_equal(rseq_ring_write(large, ring_record, RSEQ_RING_MAX_RECORD), 0);
		expect_error(rseq_ring_write(large, ring_record, RSEQ_RING_MAX_RECORD + 1),
			     EMSGSIZE);
		assert_int_equal(ring_read_any(large, NULL), RSEQ_RING_MAX_RECORD);
		assert_true(ring_is((unsigned long)i, RSEQ_RING_MAX_RECORD));
	}
	assert_int_equal(ring_read_any(large, NULL), 0);
	rseq_ring_destroy(small);
	rseq_ring_destroy(large);
}

/* A record that is too long for the reader stays, with those behind it. */
static void check_short_buffer(unsigned int flags)
{
	struct rseq_ring *ring = create(4096, flags);
	char buf[8] = "";
	int found = -1;

	assert_int_equal(rseq_ring_write(ring, "0123456", 8), 0);
	assert_int_equal(rseq_ring_write(ring, "x", 1), 0);
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++) {
		if (!rseq_ring_read(ring, cpu, buf, 7))
			continue;
		found = cpu;
		errno = 0;
		expect_error(rseq_ring_read(ring, cpu, buf, 7), EMSGSIZE);
		expect_error(rseq_ring_read(ring, cpu, NULL, 0), EMSGSIZE);
		assert_int_equal(rseq_ring_read(ring, cpu, buf, 8), 8);
		assert_string_equal(buf, "0123456");
		assert_int_equal(rseq_ring_read(ring, cpu, buf, 1), 1);
		assert_int_equal(buf[0], 'x');
		assert_int_equal(rseq_ring_read(ring, cpu, buf, 8), 0);
	}
	assert_true(found >= 0);
	rseq_ring_destroy(ring);
}

/* Refuses records when it is full, and counts them; takes one for one that is read. */
static void check_full(unsigned int flags)
{
	struct rseq_ring *ring = create(8192, flags);
	const size_t len = 100, most = 8192 / (100 + 12), least = 8192 / (100 + 28);
	unsigned long written = 0, seen = 0, bytes = 0;
	struct rseq_ring_stat stat;

	for (int round = 0; round < 5; round++) {
		for (ring_fill(written, len); !rseq_ring_write(ring, ring_record, len);
		     ring_fill(written, len)) {
			written++;
			bytes += len;
		}
		assert_int_equal(errno, ENOSPC);
		expect_error(rseq_ring_write(ring, ring_record, len), ENOSPC);
		assert_true(written - seen >= least && written - seen <= most);
		for (int i = 0; i < round * 20; i++) {
			assert_int_equal(ring_read_any(ring, NULL), len);
			assert_true(ring_is(seen, len));
			seen++;
			ring_fill(written, len);
			assert_int_equal(rseq_ring_write(ring, ring_record, len), 0);
			written++;
			bytes += len;
			expect_error(rseq_ring_write(ring, ring_record, len), ENOSPC);
		}
		ring_stat_all(ring, &stat);
		assert_int_equal(stat.records, written);
		assert_int_equal(stat.bytes, bytes);
		assert_int_equal(stat.read, seen);
		assert_int_equal(stat.lost, 0);
		/* Two when the ring was filled, and one after each record that was exchanged. */
		assert_int_equal(stat.refused, 2 * (round + 1) + 10 * round * (round + 1));
		while (ring_read_any(ring, NULL) > 0) {
			assert_true(ring_is(seen, len));
			seen++;
		}
		assert_int_equal(written, seen);
	}
	rseq_ring_destroy(ring);
}

/* The newest records are there, the others are counted. */
static void check_overwritten(unsigned int flags, unsigned long nr)
{
	const size_t size = 16384;
	struct rseq_ring *ring = create(size, flags | RSEQ_RING_OVERWRITE);
	struct rseq_ring_stat stat;
	unsigned long written = 0, seen = 0, lost = 0, kept;

	for (int round = 0; round < 4; round++) {
		unsigned long bytes = 0;

		for (unsigned long i = 0; i < nr; i++, written++) {
			ring_fill(written, ring_len(written));
			assert_int_equal(rseq_ring_write(ring, ring_record, ring_len(written)), 0);
		}
		ring_stat_all(ring, &stat);
		assert_int_equal(stat.records, written);
		assert_int_equal(stat.read, seen);
		assert_true(stat.lost >= lost);
		assert_int_equal(stat.refused, 0);
		lost = stat.lost;
		for (kept = seen + lost; kept < written; kept++) {
			assert_int_equal(ring_read_any(ring, NULL), ring_len(kept));
			assert_true(ring_is(kept, ring_len(kept)));
			bytes += ring_len(kept) + 32;
			seen++;
		}
		assert_int_equal(ring_read_any(ring, NULL), 0);
		if (lost)
			assert_true(bytes >= size * 7 / 8 - RING_LONGEST - 32);
		ring_stat_all(ring, &stat);
		assert_int_equal(stat.read, seen);
		assert_int_equal(stat.lost, lost);
		assert_int_equal(seen + lost, written);
	}
	rseq_ring_destroy(ring);
}

/* Times lie between what the clock said before and after, and do not go back. */
static void check_times(void)
{
	struct rseq_ring *ring = create(65536, RSEQ_RING_TIMESTAMP);
	uint64_t time = 1, last = 0, before[50], after[50];

	for (int i = 0; i < 50; i++) {
		before[i] = ring_now();
		assert_int_equal(rseq_ring_write(ring, "time", 5), 0);
		after[i] = ring_now();
	}
	for (int i = 0; i < 50; i++, last = time) {
		assert_int_equal(ring_read_any(ring, &time), 5);
		assert_true(time >= before[i] && time <= after[i] && time >= last);
	}
	rseq_ring_destroy(ring);
	ring = create(4096, 0);
	assert_int_equal(rseq_ring_write(ring, "none", 5), 0);
	assert_int_equal(ring_read_any(ring, &time), 5);
	assert_int_equal(time, 0);
	rseq_ring_destroy(ring);
}

static void check_all(void)
{
	struct support_cpus cpus;

	ring_stay(&cpus);
	for (int f = 0; f < 4; f++) {
		check_limits(all_flags[f]);
		check_short_buffer(all_flags[f]);
	}
	check_full(0);
	check_full(RSEQ_RING_TIMESTAMP);
	check_overwritten(0, 3000);
	check_overwritten(0, 17);
	check_overwritten(RSEQ_RING_TIMESTAMP, 3000);
	check_times();
	assert_int_equal(support_release(&cpus), 0);
}

static void test_with_rseq(void **state)
{
	(void)state;
	rseq_register_current_thread();
	check_all();
	rseq_unregister_current_thread();
}

static void *check_all_without(void *argument)
{
	(void)argument;
	ring_go_without_rseq();
	check_all();
	return NULL;
}

static void in_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_without_rseq(void **state)
{
	(void)state;
	in_thread(check_all_without, NULL);
}

/*
 * A thread that loses rseq and gets it again, at all kinds of intervals. Its records come in order;
 * in a ring that overwrites, those that are left.
 */
static void *check_changes(void *argument)
{
	void *area = rseq_get_abi();
	const unsigned int flags = *(const unsigned int *)argument;
	unsigned int length;
	struct support_cpus cpus;
	struct rseq_ring *ring;
	unsigned long written = 0, seen = 0, next = 0;
	bool registered = false;
	uint64_t number;

	ring_stay(&cpus);
	ring = create(4096, flags);
	rseq_register_current_thread();
	length = support_registered_length(area);
	rseq_unregister_current_thread();
	ring_go_without_rseq();
	for (unsigned int turn = 1; turn < 20000; turn++) {
		if (length && turn * 2654435761U >> 29 == 0) {
			support_sys_rseq(area, length, registered ? RSEQ_ABI_FLAG_UNREGISTER : 0,
					 RSEQ_SIG);
			registered = !registered;
		}
		if (turn * 2246822519U >> 31) {
			if (!rseq_ring_write(ring, &written, sizeof(written)))
				written++;
			else
				assert_int_equal(errno, ENOSPC);
		} else if (ring_read_any(ring, NULL) > 0) {
			memcpy(&number, ring_buffer, sizeof(number));
			assert_true(number >= next);
			if (!(flags & RSEQ_RING_OVERWRITE))
				assert_int_equal(number, next);
			next = number + 1;
			seen++;
		}
	}
	while (ring_read_any(ring, NULL) > 0) {
		memcpy(&number, ring_buffer, sizeof(number));
		assert_true(number >= next);
		next = number + 1;
		seen++;
	}
	assert_int_equal(next, written);
	if (!(flags & RSEQ_RING_OVERWRITE))
		assert_int_equal(seen, written);
	if (length && !registered)
		support_sys_rseq(area, length, 0, RSEQ_SIG);
	rseq_ring_destroy(ring);
	return NULL;
}

static void test_changing_ways(void **state)
{
	unsigned int flags[] = { 0, RSEQ_RING_OVERWRITE };

	(void)state;
	in_thread(check_changes, &flags[0]);
	in_thread(check_changes, &flags[1]);
}

/*
 * Whichever concurrency id a thread has meanwhile, each record is found under one of them, and
 * under each they come in order.
 */
static void test_mm_cid(void **state)
{
	struct rseq_ring *ring = rseq_ring_create_mode(1 << 18, 0, RSEQ_PERCPU_MM_CID);
	unsigned long nr = 0, written = 0;

	(void)state;
	assert_non_null(ring);
	rseq_register_current_thread();
	for (; written < 400; written++) {
		ring_fill(written, ring_len(written));
		assert_int_equal(rseq_ring_write(ring, ring_record, ring_len(written)), 0);
	}
	for (int id = 0; id < rseq_get_max_nr_cpus(); id++) {
		unsigned long number = 0;
		ssize_t len;

		while ((len = rseq_ring_read(ring, id, ring_buffer, sizeof(ring_buffer))) > 0) {
			while (number < written &&
			       ((size_t)len != ring_len(number) || !ring_is(number, (size_t)len)))
				number++;
			assert_true(number < written);
			number++;
			nr++;
		}
		assert_int_equal(len, 0);
	}
	assert_int_equal(nr, written);
	rseq_unregister_current_thread();
	rseq_ring_destroy(ring);
}

/* Records of every CPU are found under its number. */
static void test_all_cpus(void **state)
{
	struct rseq_ring *ring = create(4096, 0);
	struct support_cpus cpus;

	(void)state;
	support_find_cpus(&cpus);
	for (int c = 0; c < cpus.nr; c++) {
		assert_int_equal(support_move(0, cpus.cpu[c]), 0);
		assert_int_equal(rseq_ring_write(ring, &cpus.cpu[c], sizeof(int)), 0);
	}
	for (int c = 0; c < cpus.nr; c++) {
		int found = -1;

		assert_int_equal(rseq_ring_read(ring, cpus.cpu[c], &found, sizeof(found)),
				 sizeof(found));
		assert_int_equal(found, cpus.cpu[c]);
	}
	assert_int_equal(ring_read_any(ring, NULL), 0);
	assert_int_equal(support_release(&cpus), 0);
	rseq_ring_destroy(ring);
}

/* In a child: no more address space than there is. Returns 0, or the number of a failed check. */
static int exhaust(void)
{
	const struct rlimit none = { 0, RLIM_INFINITY };
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct rseq_ring *ring;

	if (setrlimit(RLIMIT_AS, &none))
		return 1;
	if (mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return NO_LIMIT;
	for (int i = 0; i < 1000; i++) {
		errno = 0;
		if (rseq_ring_create(1 << 20, 0) || errno != ENOMEM)
			return 2;
	}
	if (setrlimit(RLIMIT_AS, &all))
		return 3;
	ring = rseq_ring_create(1 << 20, 0);
	if (!ring || rseq_ring_write(ring, "x", 1))
		return 4;
	return 0;
}

static void test_no_memory(void **state)
{
	pid_t child;
	int status = 0;

	(void)state;
	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer needs address space itself\n");
		skip();
	}
	child = fork();
	if (!child)
		_exit(exhaust());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_LIMIT) {
		print_message("limits are not kept here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* What a CPU's first try finds, and one that comes too late, and one that does not fit. */
static void test_tries(void **state)
{
	struct rseq_ring *ring = create(4096, RSEQ_RING_TIMESTAMP), *plain = create(4096, 0);
	const uintptr_t after = RSEQ_RING_FULL;
	struct support_cpus cpus;
	uint64_t time = 0, now;
	int tries = 0;

	(void)state;
	ring_stay(&cpus);
	rseq_register_current_thread();
	if (rseq_thread_registered()) {
		while (rseq_ring_try_write(plain, "abc", 3) == RSEQ_RING_ABORTED && ++tries < 100)
			;
		assert_int_equal(ring_read_any(plain, NULL), 0);
		assert_int_equal(rseq_ring_write_slow(plain, "abc", 3, RSEQ_RING_FULL), 0);
		assert_int_equal(rseq_ring_write(ring, "abc", 3), 0);
		for (int i = 0; i < 100; i++)
			assert_true(rseq_ring_try_write(ring, "abc", 3) <= RSEQ_RING_FULL);
		now = ring_now();
		for (tries = 0; tries < 100; tries++)
			if (rseq_ring_try_write_stamped(ring, "def", 3, now) > after)
				break;
		for (int i = 0; i < 100; i++)
			assert_int_equal(rseq_ring_try_write_stamped(ring, "ghi", 3, now - 1),
					 RSEQ_RING_ABORTED);
		assert_int_equal(ring_read_any(plain, NULL), 3);
		assert_int_equal(ring_read_any(plain, NULL), 0);
		assert_int_equal(ring_read_any(ring, &time), 3);
		assert_true(time && time <= now);
		assert_int_equal(ring_read_any(ring, &time), 3);
		assert_int_equal(time, now);
		assert_memory_equal(ring_buffer, "def", 3);
	} else {
		assert_int_equal(rseq_ring_try_write(plain, "abc", 3), RSEQ_RING_ABORTED);
	}
	assert_int_equal(ring_read_any(ring, &time), 0);
	rseq_unregister_current_thread();
	assert_int_equal(support_release(&cpus), 0);
	rseq_ring_destroy(plain);
	rseq_ring_destroy(ring);
}

/* A large ring costs the pages that were written to; reading costs none. */
static void test_memory(void **state)
{
	struct rseq_ring *ring = create(1 << 20, 0);
	const struct rseq_ring_row *row;
	struct support_cpus cpus;
	int cpu = ring_stay(&cpus);
	long kib;

	(void)state;
	rseq_register_current_thread();
	for (int i = 0; i < 100; i++)
		assert_int_equal(rseq_ring_write(ring, ring_record, 64), 0);
	while (ring_read_any(ring, NULL) > 0)
		;
	row = (const void *)(rseq_rows_of(ring).first + (size_t)cpu * RSEQ_PERCPU_STRIDE);
	kib = row->payload ? ring_resident_kib((uintptr_t)row->payload) : -1;
	rseq_unregister_current_thread();
	assert_int_equal(support_release(&cpus), 0);
	rseq_ring_destroy(ring);
	if (kib < 0) {
		print_message("this thread has no rseq, or /proc/self/smaps cannot be read\n");
		skip();
	}
	print_message("%ld KiB\n", kib);
	/* 7200 bytes, and a page more where one try went the other way. */
	assert_true(kib > 0 && kib <= 4 * sysconf(_SC_PAGESIZE) / 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_stat_size),
		cmocka_unit_test(test_tries),
		cmocka_unit_test(test_with_rseq),
		cmocka_unit_test(test_without_rseq),
		cmocka_unit_test(test_changing_ways),
		cmocka_unit_test(test_all_cpus),
		cmocka_unit_test(test_mm_cid),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
