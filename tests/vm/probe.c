/* SPDX-License-Identifier: MIT */
/*
 * probe.c: whether rseq works on this machine, in a second or two.
 *
 * usage: probe works	  threads are registered, and every preempted section is aborted
 *	  probe refused	  the library refuses rseq because of a kernel bug, and counters are exact
 *	  probe broken	  the bug shows: a section commits although its thread was preempted in it
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define NR_THREADS	4
#define NR_ADDS		4000000
#define SIGNAL_PERIOD	1200000		/* nanoseconds */

#define NR_ROUNDS	20
#define REST		2000000		/* nanoseconds */
#define MAX_TURNS	100000000L

#define NR_SLOW_ADDS	5000
#define NR_SLOW_TURNS	2000

static int nr_failures;

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	printf("FAILED: %s\n", what);
	nr_failures++;
}

static void rest(long nanoseconds)
{
	const struct timespec time = { 0, nanoseconds };

	nanosleep(&time, NULL);
}

static struct rseq_info info_now(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	rseq_get_info(&info);
	return info;
}

static void print_info(void)
{
	const struct rseq_info info = info_now();

	printf("owner %d, reason %d (%s)\n", info.owner, info.reason,
	       rseq_reason_string(info.reason));
	printf("mode %d, registered length %u, feature size %u, features %#x\n", info.mode,
	       info.registered_length, info.feature_size, info.features);
	printf("area: origin %d, size %u, align %u, offset %td, length %u\n", info.area_origin,
	       info.area_size, info.area_align, info.area_offset, info.length);
	printf("libc: symbols %d, size %u, offset %td\n", info.libc_symbols, info.libc_size,
	       info.libc_offset);
	printf("kernel: version %u.%u.%u, bugs %#x, trusted %d, feature size %u, align %u\n",
	       info.kernel_version[0], info.kernel_version[1], info.kernel_version[2],
	       info.kernel_bugs, info.kernel_trusted, info.kernel_feature_size, info.kernel_align);
	printf("max_nr_cpus %d\n", info.max_nr_cpus);
}

/*
 * Counters: some threads to a CPU, and signals.
 */
static struct rseq_counter *counter, *handled;
static struct support_cpus cpus;
static unsigned int nr_running;		/* atomic */

static void on_signal(int signal)
{
	(void)signal;
	rseq_counter_inc(handled);
}

static void *add(void *argument)
{
	int index = (int)(intptr_t)argument;

	support_move(0, cpus.cpu[index % (cpus.nr < 2 ? cpus.nr : 2)]);
	for (int i = 0; i < NR_ADDS; i++)
		rseq_counter_inc(counter);
	__atomic_fetch_sub(&nr_running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void check_counters(bool broken)
{
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	const uint64_t aborts = info_now().aborts;
	pthread_t threads[NR_THREADS];
	int nr_signals = 0;

	counter = rseq_counter_create();
	handled = rseq_counter_create();
	sigaction(SIGUSR1, &action, NULL);
	nr_running = NR_THREADS;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, add, (void *)(intptr_t)i);
	while (__atomic_load_n(&nr_running, __ATOMIC_ACQUIRE)) {
		rest(SIGNAL_PERIOD);
		if (!pthread_kill(threads[nr_signals % NR_THREADS], SIGUSR1))
			nr_signals++;
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("counter: %ld lost of %ld, %d signals, %lu aborts\n",
	       (long)NR_THREADS * NR_ADDS - (long)rseq_counter_sum(counter),
	       (long)NR_THREADS * NR_ADDS, nr_signals,
	       (unsigned long)(info_now().aborts - aborts));
	if (!broken)
		expect(rseq_counter_sum(counter) == (intptr_t)NR_THREADS * NR_ADDS,
		       "counters are exact");
	expect(rseq_counter_sum(handled) <= nr_signals, "handlers count once");
}

/*
 * A section that holds a number in a register for so many turns, or until a flag is set, before it
 * commits the number that follows.
 */
#ifdef __x86_64__
# define WAIT									\
	"movq	%[turns], %%rcx\n"						\
	".Lprobe_wait_%=:\n\t"							\
	"cmpq	$0, " RSEQ_ASM_AT("flag") "\n\t"				\
	"jne	.Lprobe_add_%=\n\t"						\
	"subq	$1, %%rcx\n\t"							\
	"jnz	.Lprobe_wait_%=\n"						\
	".Lprobe_add_%=:\n\t"							\
	"addq	$1, %%rax\n\t"
# define WAIT_CLOBBERS	"rcx", "memory"
#else
# define WAIT									\
	"mov	x15, %[turns]\n"						\
	".Lprobe_wait_%=:\n\t"							\
	"ldr	x14, " RSEQ_ASM_AT("flag") "\n\t"				\
	"cbnz	x14, .Lprobe_add_%=\n\t"					\
	"subs	x15, x15, 1\n\t"						\
	"b.ne	.Lprobe_wait_%=\n"						\
	".Lprobe_add_%=:\n\t"							\
	"add	x17, x17, 1\n\t"
# define WAIT_CLOBBERS	"x14", "x15", "memory"
#endif

static __attribute__((noinline)) bool increment_slowly(volatile intptr_t *number,
		volatile intptr_t *flag, long turns)
{
	__asm__ __volatile__ goto (
		RSEQ_SECTION_BEGIN
		RSEQ_ASM_CHECK_REGISTERED("failed")
		RSEQ_ASM_LOAD(RSEQ_ASM_AT("number"))
		WAIT
		RSEQ_ASM_STORE_LOADED(RSEQ_ASM_AT("number"))
		RSEQ_SECTION_END
		RSEQ_SECTION_EXITS(RSEQ_SECTION_EXIT("failed"))
		RSEQ_SECTION_ABORT("probe", "failed")
		: /* none */
		: RSEQ_SECTION_OPERANDS(offsetof(struct rseq_abi, cpu_id)),
		  [number] "r" (number), [flag] "r" (flag), [turns] "r" (turns)
		: RSEQ_ASM_CLOBBERS, WAIT_CLOBBERS
		: failed);
	return true;
failed:
	return false;
}

/*
 * Two threads on one CPU. The second can change the number, and then the flag, only if it preempts
 * the first in its section.
 */
static volatile intptr_t number, changed;
static sem_t start, finished;

static void *preempt(void *argument)
{
	(void)argument;
	support_move(0, cpus.cpu[0]);
	for (int round = 0; round < NR_ROUNDS; round++) {
		sem_wait(&start);
		rest(REST);
		number++;
		changed = 1;
		sem_post(&finished);
	}
	return NULL;
}

static void check_preemption(bool broken)
{
	int nr_aborted = 0, nr_lost = 0, nr_undisturbed = 0;
	pthread_t thread;

	support_move(0, cpus.cpu[0]);
	sem_init(&start, 0, 0);
	sem_init(&finished, 0, 0);
	pthread_create(&thread, NULL, preempt, NULL);
	for (int round = 0; round < NR_ROUNDS; round++) {
		bool committed;

		number = changed = 0;
		sem_post(&start);
		committed = increment_slowly(&number, &changed, MAX_TURNS);
		sem_wait(&finished);
		if (!committed)
			nr_aborted++;
		else if (number == 1)
			nr_lost++;
		else
			nr_undisturbed++;
	}
	pthread_join(thread, NULL);
	support_release(&cpus);
	printf("preempted sections: %d aborted, %d committed and so lost an increment; %d were not"
	       " preempted\n", nr_aborted, nr_lost, nr_undisturbed);
	if (broken) {
		puts(nr_lost ? "bug exposed" : "bug not exposed");
		expect(nr_lost > 0, "a preempted section commits on this kernel");
		return;
	}
	expect(nr_aborted > 0, "some section was preempted");
	expect(!nr_lost, "no preempted section commits");
}

/* The same without a plan: some threads to a CPU, of which each preempts the others. */
struct slow_row {
	volatile intptr_t number;
	char padding[256 - sizeof(intptr_t)];
};

static struct slow_row slow_rows[2];
static unsigned long nr_slow_aborts;	/* atomic */

static void *add_slowly(void *argument)
{
	static volatile intptr_t never;
	struct slow_row *row = &slow_rows[(intptr_t)argument % 2];

	if (rseq_register_current_thread())
		return NULL;
	support_move(0, cpus.cpu[(intptr_t)argument % 2 % cpus.nr]);
	for (int i = 0; i < NR_SLOW_ADDS; i++)
		while (!increment_slowly(&row->number, &never, NR_SLOW_TURNS))
			__atomic_fetch_add(&nr_slow_aborts, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void check_slow_sections(bool broken)
{
	const long total = (long)NR_THREADS * NR_SLOW_ADDS;
	pthread_t threads[NR_THREADS];
	long lost = total;

	for (int i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, add_slowly, (void *)(intptr_t)i);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	lost -= slow_rows[0].number + slow_rows[1].number;
	printf("slow sections: %ld lost of %ld, %lu aborts\n", lost, total, nr_slow_aborts);
	if (broken)
		expect(lost > 0, "increments are lost on this kernel");
	else
		expect(!lost, "slow sections are exact");
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "works";
	const bool broken = !strcmp(how, "broken");
	struct rseq_info info;

	setvbuf(stdout, NULL, _IOLBF, 0);
	support_find_cpus(&cpus);
	rseq_register_current_thread();
	print_info();
	info = info_now();
	if (!strcmp(how, "refused")) {
		expect(info.reason == RSEQ_REASON_KERNEL_BUG, "refused for a kernel bug");
		expect(info.owner == RSEQ_OWNER_NONE && !rseq_thread_registered(),
		       "no rseq in this thread");
		check_counters(false);
		return nr_failures > 0;
	}
	expect(info.reason == RSEQ_REASON_NONE && rseq_thread_registered(), "registered");
	if (rseq_thread_registered()) {
		check_preemption(broken);
		check_slow_sections(broken);
	}
	check_counters(broken);
	return nr_failures > 0;
}
