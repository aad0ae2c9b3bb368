/* SPDX-License-Identifier: MIT */
/*
 * bench-counter.c: counters, and the number of the CPU that tells their rows apart.
 */
#define _GNU_SOURCE		/* sched_getcpu() */

#include "bench.h"

#include <rseq/counter.h>

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Two words on lines of their own: the one that counts, and one that is only written to. */
struct words {
	intptr_t count __attribute__((aligned(BENCH_LINE)));
	intptr_t written __attribute__((aligned(BENCH_LINE)));
};

static __thread struct words own;

static struct {
	intptr_t count __attribute__((aligned(BENCH_LINE)));
	pthread_mutex_t mutex __attribute__((aligned(BENCH_LINE)));
} shared = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static int setup_counter(struct bench_run *run)
{
	run->state = rseq_counter_create();
	return run->state ? 0 : -1;
}

static void teardown_counter(struct bench_run *run)
{
	rseq_counter_destroy(run->state);
}

BENCH_BODY(rseq_add)
{
	struct rseq_counter *counter = run->state;

	BENCH_REPEAT(nr, rseq_counter_inc(counter);)
}
BENCH_LOOPS(rseq_add)

/* What a section does at least: one store that says which it is, one addition. */
BENCH_BODY(tls_store)
{
	struct words *words = BENCH_OWN(own);

	BENCH_REPEAT(nr, words->written = (intptr_t)run; words->count++; rseq_barrier();)
}
BENCH_LOOPS(tls_store)

BENCH_BODY(tls)
{
	struct words *words = BENCH_OWN(own);

	(void)run;
	BENCH_REPEAT(nr, words->count++; rseq_barrier();)
}
BENCH_LOOPS(tls)

BENCH_BODY(atomic)
{
	(void)run;
	BENCH_REPEAT(nr, __atomic_fetch_add(&shared.count, 1, __ATOMIC_RELAXED);)
}
BENCH_LOOPS(atomic)

BENCH_BODY(mutex)
{
	(void)run;
	BENCH_REPEAT(nr,
		pthread_mutex_lock(&shared.mutex);
		shared.count++;
		pthread_mutex_unlock(&shared.mutex);
	)
}
BENCH_LOOPS(mutex)

static const struct bench_variant adds[] = {
	BENCH_VARIANT("rseq_counter_inc", setup_counter, teardown_counter, rseq_add),
	BENCH_VARIANT("TLS increment and one store", NULL, NULL, tls_store),
	BENCH_VARIANT("TLS increment", NULL, NULL, tls),
	BENCH_VARIANT("atomic increment", NULL, NULL, atomic),
	BENCH_VARIANT("mutex", NULL, NULL, mutex),
	{ 0 },
};

/* A function of a shared object, called through a pointer as it is through a table of these. */
struct call {
	void *module;
	void (*count)(struct rseq_counter *counter);
	struct rseq_counter *counter;
};

static void close_call(struct bench_run *run)
{
	struct call *call = run->state;

	/* The module's descriptor may be what the kernel looks at next. */
	rseq_prepare_unload();
	rseq_counter_destroy(call->counter);
	if (call->module)
		dlclose(call->module);
	free(call);
}

static int open_call(struct bench_run *run, const char *function)
{
	struct call *call = calloc(1, sizeof(*call));
	char path[PATH_MAX];

	run->state = call;
	if (!call)
		return -1;
	run->missing = "rseqctl-bench-call.so is not there";
	if (!bench_module("rseqctl-bench-call", path, sizeof(path)))
		call->module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (call->module)
		*(void **)&call->count = dlsym(call->module, function);
	call->counter = rseq_counter_create();
	if (call->count && call->counter) {
		run->missing = NULL;
		return 0;
	}
	close_call(run);
	return -1;
}

static int open_counting(struct bench_run *run)
{
	return open_call(run, "rseqctl_bench_count");
}

static int open_counting_own(struct bench_run *run)
{
	return open_call(run, "rseqctl_bench_count_own");
}

static int open_nothing(struct bench_run *run)
{
	return open_call(run, "rseqctl_bench_nothing");
}

BENCH_BODY(call)
{
	const struct call *call = run->state;
	struct rseq_counter *counter = call->counter;
	void (*count)(struct rseq_counter *) = call->count;

	BENCH_REPEAT(nr, count(counter);)
}
BENCH_LOOPS(call)

static const struct bench_variant calls[] = {
	BENCH_VARIANT("rseq_counter_inc in a shared object", open_counting, close_call, call),
	BENCH_VARIANT("TLS increment there", open_counting_own, close_call, call),
	BENCH_VARIANT("nothing there", open_nothing, close_call, call),
	{ 0 },
};

BENCH_BODY(rseq_cpu)
{
	(void)run;
	BENCH_REPEAT(nr, BENCH_USE(rseq_current_cpu());)
}
BENCH_LOOPS(rseq_cpu)

static __thread int32_t tls_number = 1;

BENCH_BODY(tls_read)
{
	int32_t *number = BENCH_OWN(tls_number);

	(void)run;
	BENCH_REPEAT(nr, BENCH_USE(RSEQ_READ_ONCE(*number));)
}
BENCH_LOOPS(tls_read)

/* A thread without rseq has no such number, so that whoever reads one has to look. */
BENCH_BODY(tls_checked)
{
	int32_t *own = BENCH_OWN(tls_number);

	(void)run;
	BENCH_REPEAT(nr,
		int32_t number = RSEQ_READ_ONCE(*own);

		if (rseq_unlikely(number < 0))
			abort();
		BENCH_USE(number);
	)
}
BENCH_LOOPS(tls_checked)

BENCH_BODY(libc_cpu)
{
	(void)run;
	BENCH_REPEAT(nr, BENCH_USE(sched_getcpu());)
}
BENCH_LOOPS(libc_cpu)

BENCH_BODY(raw_cpu)
{
	(void)run;
	BENCH_REPEAT(nr, BENCH_USE(rseq_current_cpu_raw());)
}
BENCH_LOOPS(raw_cpu)

static const struct bench_variant cpus[] = {
	BENCH_VARIANT("rseq_current_cpu", NULL, NULL, rseq_cpu),
	BENCH_VARIANT("TLS read", NULL, NULL, tls_read),
	BENCH_VARIANT("TLS read, not negative", NULL, NULL, tls_checked),
	BENCH_VARIANT("rseq_current_cpu_raw", NULL, NULL, raw_cpu),
	BENCH_VARIANT("sched_getcpu", NULL, NULL, libc_cpu),
	{ 0 },
};

/* Each CPU has counted, so that each row is memory of its own. */
static int setup_sum(struct bench_run *run)
{
	int nr_cpus = rseq_get_max_nr_cpus();

	if (setup_counter(run))
		return -1;
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		char *word = (char *)run->state + (ptrdiff_t)cpu * RSEQ_PERCPU_STRIDE;

		*(volatile intptr_t *)word = 1;
	}
	return 0;
}

BENCH_BODY(rseq_sum)
{
	const struct rseq_counter *counter = run->state;

	for (; nr; nr--)
		BENCH_USE(rseq_counter_sum(counter));
}
BENCH_LOOPS(rseq_sum)

struct padded {
	intptr_t count __attribute__((aligned(BENCH_LINE / 2)));
};

static int setup_padded(struct bench_run *run)
{
	size_t size = (size_t)rseq_get_max_nr_cpus() * sizeof(struct padded);

	run->state = aligned_alloc(BENCH_LINE, (size + BENCH_LINE - 1) / BENCH_LINE * BENCH_LINE);
	if (!run->state)
		return -1;
	memset(run->state, 1, size);
	return 0;
}

static void teardown_padded(struct bench_run *run)
{
	free(run->state);
}

/* Unsigned, and with a bound that the compiler does not know. */
BENCH_BODY(padded_sum)
{
	const struct padded *words = run->state;
	int nr_cpus = rseq_get_max_nr_cpus();

	for (; nr; nr--) {
		uintptr_t sum = 0;

		for (int cpu = 0; cpu < nr_cpus; cpu++)
			sum += (uintptr_t)RSEQ_READ_ONCE(words[cpu].count);
		BENCH_USE(sum);
	}
}
BENCH_LOOPS(padded_sum)

static const struct bench_variant sums[] = {
	BENCH_VARIANT("rseq_counter_sum", setup_sum, teardown_counter, rseq_sum),
	BENCH_VARIANT("array, a line for each CPU", setup_padded, teardown_padded, padded_sum),
	{ 0 },
};

const struct bench bench_counter[] = {
	{ .name = "counter-add", .area = "counter add, inlined", .unit = "ns",
	  .max_ratio = 1.05, .variants = adds },
	{ .name = "counter-add-threads", .area = "counter add, 64 threads", .unit = "ns",
	  .threads = 64, .scales = true, .variants = adds },
	{ .name = "counter-call", .area = "counter add through a .so function", .unit = "ns",
	  .max_value = 1.6, .variants = calls },
	{ .name = "current-cpu", .area = "current CPU", .unit = "ns",
	  .max_value = 0.12, .variants = cpus },
	{ .name = "counter-sum", .area = "sum over this machine's CPUs", .unit = "ns",
	  .variants = sums },
	{ .name = "counter-sum-256", .area = "sum over 256 CPUs", .unit = "ns",
	  .max_value = 150, .cpus = 256, .variants = sums },
	{ 0 },
};
