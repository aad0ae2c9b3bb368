/* SPDX-License-Identifier: MIT */
/*
 * A process without rseq: because it is switched off or, in an emulator, because there is none. No
 * operation commits or changes anything, and counters are exact without sections.
 */
#include "every-op.h"
#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <limits.h>
#include <time.h>

#define NR_THREADS	8
#define NR_ROUNDS	20000
#define PERIOD_NS	200000L

static int failures;
static struct rseq_counter *counters[4];
static intptr_t signals_taken;

static void expect(bool right, const char *what)
{
	if (right)
		return;
	printf("failed: %s\n", what);
	__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
}

static void refuse(const struct ops *ops, int cpu)
{
	struct {
		intptr_t v, v2, base, slot, head;
		char dst[32], src[32];
	} data, before;

	memset(&data, 3, sizeof(data));
	data.base = (intptr_t)&data.slot;
	data.slot = data.head = (intptr_t)&data.v2;
	memcpy(&before, &data, sizeof(data));

	expect(ops->store(&data.v, data.v, 1, cpu) == -1, "store");
	expect(ops->store(&data.v, 1, 2, cpu) == -1, "store that differs");
	expect(ops->take(&data.head, 0, 0, &data.v, cpu) == -1, "take");
	expect(ops->add(&data.v, 1, cpu) == -1, "add");
	expect(ops->add_at(&data.base, 0, 1, cpu) == -1, "add_at");
	expect(ops->store_if_both(&data.v, data.v, &data.v2, data.v2, 1, cpu) == -1,
	       "store_if_both");
	expect(ops->store_store(&data.v, data.v, &data.v2, 1, 1, cpu) == -1, "store_store");
	expect(ops->copy_store(&data.v, data.v, data.dst, data.src, 32, 1, cpu) == -1,
	       "copy_store");
	expect(!memcmp(&before, &data, sizeof(data)), "nothing changes");
}

static void refuse_all(void)
{
	const int cpus[] = { 0, 1, -1, -2, INT_MAX, INT_MIN, (int)rseq_cpu_start(),
			     (int)rseq_current_cpu(), (int)rseq_current_mm_cid() };

	expect(!rseq_thread_registered(), "the thread is registered");
	for (int row = 0; row < OPS_NR; row++) {
		run_time_mode = every_op[row].mode;
		for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++)
			refuse(&every_op[row], cpus[i]);
	}
}

static void count_signal(int signal)
{
	(void)signal;
	rseq_counter_add(counters[3], 3);
	__atomic_fetch_add(&signals_taken, 1, __ATOMIC_RELAXED);
}

static void *count(void *argument)
{
	(void)argument;
	for (int i = 0; i < NR_ROUNDS; i++) {
		rseq_counter_inc(counters[0]);
		rseq_counter_dec(counters[1]);
		rseq_counter_add(counters[2], i);
		rseq_counter_add(counters[2], INTPTR_MIN);
		if (i % 4096 == 0)
			refuse_all();
	}
	return NULL;
}

static void start_signals(timer_t *timer)
{
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	const struct itimerspec often = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };

	expect(!sigaction(SIGRTMIN, &action, NULL), "sigaction");
	expect(!timer_create(CLOCK_MONOTONIC, &event, timer), "timer_create");
	expect(!timer_settime(*timer, 0, &often, NULL), "timer_settime");
}

static int run(void)
{
	const intptr_t adds = (intptr_t)NR_THREADS * NR_ROUNDS;
	struct rseq_info info = { .size = sizeof(info) };
	pthread_t threads[NR_THREADS];
	timer_t timer;

	for (int i = 0; i < 4; i++) {
		counters[i] = rseq_counter_create();
		if (!counters[i])
			return 1;
	}
	refuse_all();
	expect(rseq_register_current_thread() == -1, "a registration");
	expect(!rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL), "rseq is available");
	refuse_all();
	start_signals(&timer);
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, count, NULL))
			return 1;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	expect(!timer_delete(timer), "timer_delete");

	expect(rseq_counter_sum(counters[0]) == adds, "sum of inc");
	expect(rseq_counter_sum(counters[1]) == -adds, "sum of dec");
	expect(rseq_counter_sum(counters[2]) == adds * (NR_ROUNDS - 1) / 2, "sum of add");
	expect(rseq_counter_sum(counters[3]) == 3 * signals_taken, "sum of signal handlers");
	expect(!rseq_get_info(&info) && !info.aborts, "aborts of sections that do not run");
	printf("%jd adds, %jd signals: %s\n", (intmax_t)adds, (intmax_t)signals_taken,
	       rseq_reason_string(info.reason));
	return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	(void)argc;
	if (argv[1] || (emulator && *emulator) || !support_kernel_has_rseq())
		return run();
	setenv("LIBRSEQ_DISABLE", "1", 1);
	execl("/proc/self/exe", argv[0], "disabled", (char *)NULL);
	return 127;
}
