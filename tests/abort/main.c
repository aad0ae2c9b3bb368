/* SPDX-License-Identifier: MIT */
/*
 * main.c: aborts every critical section of the library after every instruction.
 *
 *	test-abort [-qb1] [-p | -t] [NAME]
 *
 *	-q	quick: fewer conflicting operations, fewer operands, few places outside of sections;
 *		-qq: one conflicting operation at each instruction, on another CPU if there is one;
 *		-qqq: so with one of the operands that lead there, not with all
 *	-b	breakpoints are planted in the code: an emulated machine's own are slow
 *	-p	with ptrace only; -t with traps in the code only
 *	-1	once, whether libc has registered this thread or not; else twice, as two programs,
 *		with libc's registration and, by GLIBC_TUNABLES, without
 *	NAME	only subjects with this in their names
 *
 * Exit status 0: no violation, and no instruction was left out; 77: rseq cannot be had here. A
 * mutant (see mutants.h) exits with 0 when a violation was found.
 */
#include "abort.h"

#include <rseq/info.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/utsname.h>

#include "support.h"
#include "tracee.h"

struct options options;

bool is_wanted(const struct subject *subject)
{
	if (subject->mode == RSEQ_PERCPU_MM_CID && !rseq_mm_cid_available())
		return false;
	return !options.only || strstr(subject->name, options.only);
}

bool is_own(const struct subject *subject, const struct conflict *conflict)
{
	return subject->operation->own >> (conflict - subject->structure->conflicts) & 1;
}

static bool is_first_own(const struct subject *subject, const struct conflict *conflict)
{
	for (const struct conflict *c = subject->structure->conflicts; c < conflict; c++)
		if (is_own(subject, c))
			return false;
	return is_own(subject, conflict);
}

/*
 * Outside of sections what matters is whether the operation was over; its own kind shows that, and
 * the one kind that brings back what was there.
 */
bool is_tried(const struct subject *subject, const struct input *input,
		const struct conflict *conflict, bool inside)
{
	bool few = options.quick || !inside;

	if (conflict->by_cpu && subject->mode != RSEQ_PERCPU_CPU_ID)
		return false;
	if (options.brief)
		return is_first_own(subject, conflict);
	if (is_own(subject, conflict))
		return true;
	return input->thorough && (!few || conflict->restores);
}

/* Places in the code of one subject at a time. */
static struct {
	const struct subject *subject;
	enum way way;
	size_t nr;
	uintptr_t pcs[1000];
} done;

bool is_done(const struct subject *subject, enum way way, uintptr_t pc)
{
	if (!options.least || done.subject != subject || done.way != way)
		return false;
	for (size_t i = 0; i < done.nr; i++)
		if (done.pcs[i] == pc)
			return true;
	return false;
}

void set_done(const struct subject *subject, enum way way, uintptr_t pc)
{
	if (done.subject != subject || done.way != way)
		done.nr = 0;
	done.subject = subject;
	done.way = way;
	if (done.nr < sizeof(done.pcs) / sizeof(done.pcs[0]))
		done.pcs[done.nr++] = pc;
}

static void on_tick(int signal)
{
	(void)signal;
}

/* Interrupts waits; children do not inherit it. */
static void start_ticks(void)
{
	const struct sigaction action = { .sa_handler = on_tick };
	const struct itimerval second = { { 1, 0 }, { 1, 0 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &second, NULL);
}

static void find_cpus(void)
{
	static struct support_cpus cpus;

	support_find_cpus(&cpus);
	options.home = cpus.cpu[0];
	options.away = cpus.cpu[cpus.nr > 1 ? 1 : 0];
}

static void describe(void)
{
	static const char *const owners[] = { "nobody", "libc", "this library", "another module",
		"another module" };
	struct rseq_info info = { .size = sizeof(info) };
	struct utsname name;

	if (uname(&name) || rseq_get_info(&info))
		return;
	printf("%s, Linux %s, registered by %s with %u bytes, CPU %d", ARCH_NAME, name.release,
	       owners[info.owner], info.registered_length, options.home);
	if (options.away != options.home)
		printf(" and CPU %d\n", options.away);
	else
		printf(" alone: no migrations\n");
	if (!rseq_mm_cid_available())
		printf("mm_cid is not available: operations that go by it are left out\n");
}

static bool is_possible(void)
{
	return !rseq_register_current_thread();
}

/* Returns 0, or the exit status with the reason printed. */
static int prepare(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	if (rseq_register_current_thread()) {
		rseq_get_info(&info);
		printf("skipped: %s\n", rseq_reason_string(info.reason));
		return SUPPORT_SKIP;
	}
	find_cpus();
	describe();
	if (subjects_init() || report_init()) {
		printf("memory or room is missing: %s\n", strerror(errno));
		return 1;
	}
	start_ticks();
	set_priority(TRACER_PRIORITY);
	return 0;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int test(bool with_ptrace, bool with_traps)
{
	double begin = seconds();
	bool good = true, walked = false, injected = false;

	if (with_ptrace && walk_subjects()) {
		walked = true;
		good &= report_totals(WALK, options.only);
		printf("%.1f s\n", seconds() - begin);
	}
	begin = seconds();
	if (with_traps && inject_subjects()) {
		injected = true;
		good &= report_totals(INJECT, options.only);
		printf("%.1f s\n", seconds() - begin);
	}
	if (!walked && !injected) {
		printf("skipped: nothing of it is allowed here\n");
		return SUPPORT_SKIP;
	}
	return good ? 0 : 1;
}

static int test_mutant(void)
{
	const char *walked, *injected;

	options.first_only = options.quick = true;
	walk_subjects();
	inject_subjects();
	walked = report_first(WALK);
	injected = report_first(INJECT);
	printf("mutant %d: %s\n", mutant, mutant_name);
	printf("  ptrace:     %s\n", walked ? walked : "not caught");
	printf("  in-process: %s\n", injected ? injected : "not caught");
	return walked || injected ? 0 : 1;
}

/* Runs this program anew. Returns its exit status, or -1. */
static int run_anew(char **argv, const char *tunables)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		setenv("GLIBC_TUNABLES", tunables, 1);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return -1;
	return WEXITSTATUS(status);
}

static int run_both_ways(char **argv)
{
	static const char *const tunables[] = { "glibc.pthread.rseq=1", "glibc.pthread.rseq=0" };
	int worst = 0;

	for (size_t i = 0; i < sizeof(tunables) / sizeof(tunables[0]); i++) {
		int status;

		printf("GLIBC_TUNABLES=%s\n", tunables[i]);
		status = run_anew(argv, tunables[i]);
		if (status < 0) {
			printf("it cannot be run anew, or was ended\n");
			return 1;
		}
		if (status > worst)
			worst = status;
		printf("\n");
	}
	return worst;
}

int main(int argc, char **argv)
{
	const char *tunables = getenv("GLIBC_TUNABLES");
	bool with_ptrace = true, with_traps = true;
	bool once = mutant || (tunables && strstr(tunables, "glibc.pthread.rseq"));
	int option, status;

	while ((option = getopt(argc, argv, "qbpt1")) != -1) {
		switch (option) {
		case 'q':
			options.least = options.brief;
			options.brief = options.quick;
			options.quick = true;
			break;
		case 'b':
			tracee_plant_breakpoints();
			break;
		case 'p':
			with_traps = false;
			break;
		case 't':
			with_ptrace = false;
			break;
		case '1':
			once = true;
			break;
		default:
			return 2;
		}
	}
	options.only = argv[optind];
	if (!once && is_possible())
		return run_both_ways(argv);
	status = prepare();
	if (status)
		return status;
	return mutant ? test_mutant() : test(with_ptrace, with_traps);
}
