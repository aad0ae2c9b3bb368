/* SPDX-License-Identifier: MIT */
/*
 * Threads that come and go, ten thousand of them: no memory, no mapping and no registration stays
 * behind, whether they unregister or not, once or too often, or use structures in the destructors
 * of their thread-specific data, in all rounds that libc makes, after they have unregistered.
 */
#define _GNU_SOURCE

#include "works.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <malloc.h>
#include <pthread.h>

#define NR_CYCLES	10000
#define NR_AT_ONCE	8
#define NR_WARM		256		/* until libc has what it keeps */
#define SLACK		65536		/* bytes of memory that may come and go */

enum end { SILENT, UNREGISTERED, TWICE, OFTEN, UNBALANCED, NR_ENDS };

static struct works *works;
static struct rseq_counter *ended;
static pthread_key_t key;

/* The kernel's view of the calling thread is that of a new one. */
static void check_begin(bool libc_registers)
{
	check(rseq_thread_registered() == libc_registers);
	check(!support_registered_length(rseq_get_abi()) == !libc_registers);
}

/* libc calls it again as long as there is a value, four times by default. */
static void destruct(void *value)
{
	int left = (int)(intptr_t)value;

	works_round(works);
	rseq_counter_inc(ended);
	if (left % 2)
		rseq_unregister_current_thread();
	else
		rseq_register_current_thread();
	works_round(works);
	if (left > 1)
		pthread_setspecific(key, (void *)(intptr_t)(left - 1));
}

static bool libc_registers;

static void end_in_some_way(enum end end, bool registered)
{
	const int expected = registered || libc_registers ? 0 : -1;

	switch (end) {
	case UNREGISTERED:
		check(rseq_unregister_current_thread() == expected);
		break;
	case TWICE:
		check(rseq_unregister_current_thread() == expected);
		check(rseq_unregister_current_thread() == (libc_registers ? 0 : -1));
		break;
	case OFTEN:
		for (int i = 0; i < 5; i++)
			rseq_unregister_current_thread();
		break;
	case UNBALANCED:
		for (int i = 0; i < 5; i++)
			rseq_register_current_thread();
		break;
	default:
		break;
	}
}

static void *cycle(void *argument)
{
	int number = (int)(intptr_t)argument;
	bool registered;

	check_begin(libc_registers);
	registered = number % 2 && !rseq_register_current_thread();
	/* Registered by a structure: for good. */
	if (number % 3 == 0)
		works_round(works);
	if (number % 3 && registered)
		check(rseq_thread_registered());
	if (number % 3 && (registered || !(number % 2)))
		end_in_some_way((enum end)(number % NR_ENDS), registered);
	pthread_setspecific(key, (void *)(intptr_t)(1 + number % PTHREAD_DESTRUCTOR_ITERATIONS));
	works_round(works);
	return NULL;
}

static void run_threads(int first, int nr)
{
	pthread_t threads[NR_AT_ONCE];

	for (int i = 0; i < nr; i += NR_AT_ONCE) {
		for (int j = 0; j < NR_AT_ONCE; j++)
			check(!pthread_create(&threads[j], NULL, cycle,
					      (void *)(intptr_t)(first + i + j)));
		for (int j = 0; j < NR_AT_ONCE; j++)
			check(!pthread_join(threads[j], NULL));
	}
}

struct size {
	long mappings, bytes, blocks;
};

static struct size measure(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	struct size size = { 0, 0, 0 };
	long pages = 0;
	int c;

	while (file && (c = getc(file)) != EOF)
		size.mappings += c == '\n';
	if (file)
		fclose(file);
	file = fopen("/proc/self/statm", "r");
	check(file && fscanf(file, "%ld", &pages) == 1);
	if (file)
		fclose(file);
	size.bytes = pages * sysconf(_SC_PAGESIZE);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
	if (!SUPPORT_SANITIZED)
		size.blocks = (long)mallinfo2().uordblks;
#endif
	return size;
}

static int run(char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");
	bool is_measured = !SUPPORT_SANITIZED && !(emulator && *emulator);
	struct rseq_info info = { .size = sizeof(info) };
	struct size before, after;
	intptr_t expected = 0;

	(void)argv;
	check(!rseq_get_info(&info));
	libc_registers = info.owner == RSEQ_OWNER_LIBC;
	works = works_create(RSEQ_PERCPU_CPU_ID);
	ended = rseq_counter_create();
	check(works && ended && !pthread_key_create(&key, destruct));
	if (!works || !ended)
		return 1;
	run_threads(0, NR_WARM);
	before = measure();
	run_threads(NR_WARM, NR_CYCLES);
	after = measure();
	printf("%ld mappings, %ld KiB, %ld bytes of malloc(); %d threads later %ld, %ld, %ld\n",
	       before.mappings, before.bytes / 1024, before.blocks, NR_CYCLES, after.mappings,
	       after.bytes / 1024, after.blocks);
	if (is_measured) {
		check(after.mappings <= before.mappings + 1);
		check(after.bytes <= before.bytes + SLACK);
		check(after.blocks <= before.blocks + 4096);
	}
	for (int i = 0; i < NR_WARM + NR_CYCLES; i++)
		expected += 1 + i % PTHREAD_DESTRUCTOR_ITERATIONS;
	check(rseq_counter_sum(ended) == expected);
	works_settle(works, 0);
	works_destroy(works, 0);
	rseq_counter_destroy(ended);
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	return works_run_all_ways(argv, run);
}
