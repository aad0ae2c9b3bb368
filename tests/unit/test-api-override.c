/* SPDX-License-Identifier: MIT */
/*
 * A program that finds the area itself: RSEQ_GET_ABI_OVERRIDE. Everything inline goes through its
 * function, critical sections too.
 */
#define RSEQ_GET_ABI_OVERRIDE
#include <rseq/rseq.h>
#include <rseq/counter.h>

#define NR_ADDS	100000

static int failures;
static __thread unsigned long nr_calls;
static struct rseq_abi *pretended;

#define check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,	\
				#condition);					\
			failures++;						\
		}								\
	} while (0)

struct rseq_abi *rseq_get_abi(void)
{
	nr_calls++;
	if (pretended)
		return pretended;
	return (struct rseq_abi *)((char *)rseq_thread_pointer() + rseq_offset);
}

static void test_accessors(void)
{
	static struct rseq_abi area;

	pretended = &area;
	area.cpu_id = 5;
	check(rseq_current_cpu_raw() == 5);
	check(rseq_current_cpu() == 5);
	check(rseq_cpu_start() == 5);
	area.cpu_id = (uint32_t)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED;
	check(rseq_current_cpu_raw() == -2);
	check(rseq_cpu_start() == 0);
	check(rseq_current_cpu() < (uint32_t)rseq_get_max_nr_cpus());
	check(!rseq_thread_registered());
	check(!rseq_node_id_available());
	area.rseq_cs.arch.ptr = 1;
	rseq_clear_rseq_cs();
	check(area.rseq_cs.arch.ptr == 0);
	pretended = NULL;
	check(rseq_get_abi() == rseq_get_abi_slow());
}

static void *count(void *counter)
{
	unsigned long before = nr_calls;

	rseq_register_current_thread();
	for (int i = 0; i < NR_ADDS; i++)
		rseq_counter_inc((struct rseq_counter *)counter);
	return nr_calls > before ? counter : NULL;
}

static void test_sections(void)
{
	static struct rseq_abi unregistered;
	struct rseq_counter *counter = rseq_counter_create();
	pthread_t threads[4];
	void *result;

	check(counter);
	if (!counter)
		return;
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], NULL, count, counter)) {
			perror("pthread_create");
			exit(1);
		}
	}
	for (int i = 0; i < 4; i++) {
		check(!pthread_join(threads[i], &result));
		check(result == counter);
	}
	check(rseq_counter_sum(counter) == 4 * NR_ADDS);

	/* An area that nobody registered: the library counts some other way. */
	unregistered.cpu_id = (uint32_t)RSEQ_ABI_CPU_ID_UNINITIALIZED;
	pretended = &unregistered;
	rseq_counter_inc(counter);
	check(unregistered.rseq_cs.arch.ptr != 0);
	pretended = NULL;
	check(rseq_counter_sum(counter) == 4 * NR_ADDS + 1);
	rseq_counter_destroy(counter);
}

int main(void)
{
	test_accessors();
	test_sections();
	printf("%d failures\n", failures);
	return failures != 0;
}
