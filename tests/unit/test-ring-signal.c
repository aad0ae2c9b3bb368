/* SPDX-License-Identifier: MIT */
/*
 * Rings whose reader or writer is interrupted in the middle of the copy: it touches memory that is
 * not there, and the handler of that signal reads, writes, overwrites the ring or lets another
 * thread fork(), and then puts the memory there.
 */
#define _GNU_SOURCE

#include "ring-support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321

static struct rseq_ring *ring;
static struct support_cpus cpus;
static int cpu;

/* A page that faults, once; before it another one, so that a copy can come as far as this. */
static char *page;
static void (*in_handler)(void);
static volatile int nr_faults;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);

	(void)context;
	if ((char *)info->si_addr < page || (char *)info->si_addr >= page + size) {
		struct sigaction action = { .sa_handler = SIG_DFL };

		sigaction(signal, &action, NULL);
		return;
	}
	nr_faults++;
	in_handler();
	mprotect(page, size, PROT_READ | PROT_WRITE);
}

static void prepare_fault(void (*function)(void))
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	page = pages + size;
	/* What a writer finds there. */
	memset(page - 8, 'x', 16);
	assert_int_equal(mprotect(page, size, PROT_NONE), 0);
	in_handler = function;
	nr_faults = 0;
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
}

static void end_fault(void)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);

	assert_int_equal(nr_faults, 1);
	assert_int_equal(munmap(page - size, 2 * size), 0);
}

static void begin(size_t bytes, unsigned int flags)
{
	cpu = ring_stay(&cpus);
	rseq_register_current_thread();
	ring = rseq_ring_create(bytes, flags);
	assert_non_null(ring);
	errno = KEPT_ERRNO;
}

static void end(void)
{
	assert_int_equal(errno, KEPT_ERRNO);
	rseq_ring_destroy(ring);
	rseq_unregister_current_thread();
	assert_int_equal(support_release(&cpus), 0);
}

static void write_number(uint64_t number)
{
	const uint64_t record[2] = { number, ~number };

	assert_int_equal(rseq_ring_write(ring, record, sizeof(record)), 0);
}

/* The number of the next record, which is whole; or -1 if there is none. */
static int64_t read_number(void *buf)
{
	uint64_t record[2];
	ssize_t len = rseq_ring_read(ring, cpu, buf, sizeof(record));

	if (!len)
		return -1;
	assert_int_equal(len, sizeof(record));
	memcpy(record, buf, sizeof(record));
	assert_int_equal(record[0], ~record[1]);
	return (int64_t)record[0];
}

/* What a handler found, told when it is over. */
static int handler_error;
static ssize_t handler_result;

static void read_and_write_in_handler(void)
{
	const uint64_t record[2] = { 2, ~(uint64_t)2 };
	char buf[16];

	errno = 0;
	handler_result = rseq_ring_read(ring, cpu, buf, sizeof(buf));
	handler_error = errno;
	if (rseq_ring_write(ring, record, sizeof(record)))
		handler_result = 0;
	errno = 0;
	if (!rseq_ring_destroy(ring) || errno != EBUSY)
		handler_result = 1;
	errno = KEPT_ERRNO;
}

/* Within a read, its CPU cannot be read, and can be written to; the ring cannot be destroyed. */
static void test_handler_in_read(void **state)
{
	char buf[16];

	(void)state;
	begin(4096, 0);
	write_number(0);
	write_number(1);
	prepare_fault(read_and_write_in_handler);
	assert_int_equal(read_number(page - 8), 0);
	assert_int_equal(handler_result, -1);
	assert_int_equal(handler_error, EBUSY);
	assert_int_equal(read_number(buf), 1);
	assert_int_equal(read_number(buf), 2);
	assert_int_equal(read_number(buf), -1);
	end_fault();
	end();
}

/* A reader is overtaken in the middle of its copy: it returns a later record, whole. */
#define NR_OVERWRITTEN	1000

static void overwrite_in_handler(void)
{
	for (uint64_t i = 1; i < NR_OVERWRITTEN; i++) {
		const uint64_t record[2] = { i, ~i };

		if (rseq_ring_write(ring, record, sizeof(record)))
			nr_faults = -1;
	}
}

static void check_overtaken_reader(unsigned int flags)
{
	struct rseq_ring_stat stat;
	int64_t number, next;
	char buf[16];

	begin(4096, RSEQ_RING_OVERWRITE | flags);
	write_number(0);
	prepare_fault(overwrite_in_handler);
	number = read_number(page - 8);
	assert_true(number > NR_OVERWRITTEN - 4096 / 24);
	for (next = number + 1; next < NR_OVERWRITTEN; next++)
		assert_int_equal(read_number(buf), next);
	assert_int_equal(read_number(buf), -1);
	ring_stat_all(ring, &stat);
	assert_int_equal(stat.records, NR_OVERWRITTEN);
	assert_int_equal(stat.lost, number);
	assert_int_equal(stat.read, NR_OVERWRITTEN - number);
	end_fault();
	end();
}

static void test_overtaken_reader(void **state)
{
	(void)state;
	check_overtaken_reader(0);
	check_overtaken_reader(RSEQ_RING_TIMESTAMP);
}

static void *check_overtaken_without(void *argument)
{
	ring_go_without_rseq();
	test_overtaken_reader(argument);
	test_handler_in_read(argument);
	return NULL;
}

static void test_without_rseq(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, check_overtaken_without, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* A writer is interrupted in the middle of its copy: what the handler writes comes before it. */
static void write_in_handler(void)
{
	const uint64_t number = 0, record[2] = { number, ~number };

	if (rseq_ring_write(ring, record, sizeof(record)))
		nr_faults = -1;
}

static void check_handler_in_write(unsigned int flags, void (*function)(void), int64_t before)
{
	char buf[16];

	begin(4096, flags);
	if (!rseq_thread_registered()) {
		print_message("without rseq a record is copied with all signals blocked\n");
		rseq_ring_destroy(ring);
		assert_int_equal(support_release(&cpus), 0);
		skip();
	}
	prepare_fault(function);
	assert_int_equal(rseq_ring_write(ring, page - 8, 16), 0);
	if (!(flags & RSEQ_RING_OVERWRITE)) {
		assert_int_equal(read_number(buf), before);
	} else {
		for (int64_t number = 0; number < before; number = read_number(buf))
			assert_true(number >= 0);
	}
	assert_int_equal(rseq_ring_read(ring, cpu, buf, sizeof(buf)), sizeof(buf));
	for (int i = 0; i < 16; i++)
		assert_int_equal(buf[i], 'x');
	assert_int_equal(read_number(buf), -1);
	end_fault();
	end();
}

static void test_handler_in_write(void **state)
{
	(void)state;
	check_handler_in_write(0, write_in_handler, 0);
	check_handler_in_write(RSEQ_RING_TIMESTAMP, write_in_handler, 0);
	check_handler_in_write(RSEQ_RING_OVERWRITE, overwrite_in_handler, NR_OVERWRITTEN - 1);
}

/* A child has copies of its own, of what was there and was not read. */
static int check_child(void)
{
	struct rseq_ring_stat stat;
	uint64_t record[2] = { 3, ~(uint64_t)3 };

	for (uint64_t i = 1; i < 3; i++)
		if (rseq_ring_read(ring, cpu, record, sizeof(record)) != sizeof(record) ||
		    record[0] != i || record[1] != ~i)
			return 1;
	if (rseq_ring_read(ring, cpu, record, sizeof(record)))
		return 2;
	for (int i = 0; i < 1000; i++)
		if (rseq_ring_write(ring, record, sizeof(record)) ||
		    ring_read_any(ring, NULL) != sizeof(record))
			return 3;
	ring_stat_all(ring, &stat);
	return stat.read == 1003 && stat.records == 1003 ? 0 : 4;
}

static int run_child(void)
{
	pid_t child = fork();
	int status = 0;

	if (!child)
		_exit(check_child());
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_fork(void **state)
{
	uint64_t record[2];

	(void)state;
	begin(4096, 0);
	for (uint64_t i = 0; i < 3; i++)
		write_number(i);
	assert_int_equal(read_number(record), 0);
	assert_int_equal(run_child(), 0);
	write_number(3);
	for (int64_t i = 1; i < 4; i++)
		assert_int_equal(read_number(record), i);
	assert_int_equal(read_number(record), -1);
	end();
}

/* fork() while another thread is in the middle of a read: the child does not wait for it. */
static int to_forker[2], from_forker[2];
static volatile int child_result;

static void *fork_when_told(void *argument)
{
	char byte;

	(void)argument;
	if (read(to_forker[0], &byte, 1) != 1)
		return NULL;
	child_result = run_child();
	if (write(from_forker[1], &byte, 1) != 1)
		abort();
	return NULL;
}

static void let_fork(void)
{
	char byte = 0;

	if (write(to_forker[1], &byte, 1) != 1 || read(from_forker[0], &byte, 1) != 1)
		nr_faults = -1;
}

static void test_fork_during_read(void **state)
{
	pthread_t thread;
	uint64_t record[2];

	(void)state;
	begin(4096, 0);
	assert_int_equal(pipe(to_forker), 0);
	assert_int_equal(pipe(from_forker), 0);
	assert_int_equal(pthread_create(&thread, NULL, fork_when_told, NULL), 0);
	for (uint64_t i = 0; i < 3; i++)
		write_number(i);
	assert_int_equal(read_number(record), 0);
	prepare_fault(let_fork);
	child_result = -2;
	assert_int_equal(read_number(page - 8), 1);
	assert_int_equal(child_result, 0);
	assert_int_equal(read_number(record), 2);
	assert_int_equal(read_number(record), -1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (int i = 0; i < 2; i++) {
		close(to_forker[i]);
		close(from_forker[i]);
	}
	end_fault();
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handler_in_read),
		cmocka_unit_test(test_overtaken_reader),
		cmocka_unit_test(test_without_rseq),
		cmocka_unit_test(test_handler_in_write),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_fork_during_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
