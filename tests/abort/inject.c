/* SPDX-License-Identifier: MIT */
/*
 * inject.c: interrupts a thread before every instruction of every section without a tracer, by a
 * trap in its own code. The kernel aborts a section for the sake of the trap's signal, whose
 * handler is the other thread.
 *
 * The handler cannot hide the section from the kernel, so that each instruction needs a run of its
 * own, and it sees no registers but those of the abort.
 */
#include "abort.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "arch.h"
#include "support.h"

enum disturbance {
	SIGNALLED,			/* the handler does nothing */
	CONFLICTED,			/* it works on the data in plain C */
	NESTED,				/* it does so with the library's operations */
	MIGRATED,			/* so in plain C, and moves the thread to another CPU */
	NR_DISTURBANCES
};

static const char *const disturbance_names[NR_DISTURBANCES] = {
	"signalled", "signalled", "nested", "signalled and migrated"
};

#define MAX_CPU_SECONDS	30		/* of one subject */
#define MAX_TRIES	200
#define MAX_REPETITIONS	100
#define MAX_VIOLATIONS	20

static struct injection {
	const struct subject *subject;
	const struct input *input;
	struct section *section;
	unsigned char *trap;		/* where it is planted, or NULL */
	unsigned char insn[4];		/* what was there */
	enum disturbance disturbance;
	const struct conflict *conflict;	/* NULL for none */
	struct call call;

	/* what the handler found */
	bool hit;
	uintptr_t pc;
	bool committed;
	int home;
	bool well;			/* the conflict could be had */
} now;

__attribute__((format(printf, 1, 2)))
static void violation(const char *format, ...)
{
	va_list arguments;
	char what[200];

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	report_violation(now.subject, INJECT, "%s, %+td of the section, %s, %s: %s",
			 now.input->name,
			 (ptrdiff_t)((uintptr_t)now.trap - now.section->start),
			 disturbance_names[now.disturbance],
			 now.conflict ? now.conflict->name : "nothing", what);
}

static bool given_up(void)
{
	return report_violations(now.subject, INJECT) >= (options.first_only ? 1 : MAX_VIOLATIONS);
}

/* ---- traps ---- */

static void write_code(unsigned char *code, const unsigned char *bytes)
{
	memcpy(code, bytes, arch_trap_bytes);
	__builtin___clear_cache((char *)code, (char *)code + arch_trap_bytes);
}

static void plant(void)
{
	memcpy(now.insn, now.trap, arch_trap_bytes);
	write_code(now.trap, arch_trap_insn);
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
	(void)info;
	if (now.hit) {
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
		return;
	}
	now.hit = true;
	now.pc = arch_context_pc(context, (uintptr_t)now.trap);
	write_code(now.trap, now.insn);
	if (now.pc == (uintptr_t)now.trap)
		arch_set_context_pc(context, now.pc);
	now.home = current_id(now.subject->mode);
	now.well = now.home == now.call.id && data_knows(now.home);
	now.committed = data_committed(now.subject, now.input, now.call.id);
	if (now.well)
		now.well = conflict_run(now.conflict, now.subject->mode, now.home,
					now.disturbance == NESTED ? real_run : model_run);
	if (now.disturbance == MIGRATED)
		support_move(0, options.away);
}

static uintptr_t first_code(void)
{
	return now.subject->code ? now.subject->code : now.section->start;
}

/* Makes the code of the subject writable, to the end of its last section. */
static int open_code(void)
{
	uintptr_t mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
	uintptr_t begin = first_code() & ~mask, end = begin;

	for (const struct section *section = section_from(now.subject, 0); section;
	     section = section_from(now.subject, end))
		end = section->end;
	return mprotect((void *)begin, end + 16 - begin, PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* ---- one run ---- */

enum outcome { GOOD, BAD, SPOILT, NOT_REACHED };

/*
 * A thread that was stopped outside of the section, and came to nothing by a comparison, may have
 * made it before or afterwards. (Whether it was in the section the kernel has cleared away.)
 */
static bool judge_order(struct trial *trial, char *why, size_t size)
{
	struct state state;

	if (!trial->before && trial->result == 1 && now.pc == (uintptr_t)now.trap) {
		data_save(&state);
		trial->before = true;
		if (data_judge(trial, why, size))
			return true;
		trial->before = false;
		data_restore(&state);
	}
	return data_judge(trial, why, size);
}

static enum outcome judge(struct trial *trial)
{
	uintptr_t trapped = (uintptr_t)now.trap + arch_trap_pc_offset;
	bool inside = trapped >= now.section->start && trapped < now.section->end;
	uintptr_t should = inside ? now.section->abort : (uintptr_t)now.trap;
	int id = current_id(now.subject->mode);
	char why[120];

	report_point(now.subject, INJECT, now.pc != (uintptr_t)now.trap);
	if (now.pc != should) {
		violation("the handler returns to %#jx, should return to %#jx", (uintmax_t)now.pc,
			  (uintmax_t)should);
		return BAD;
	}
	if (now.call.modified) {
		violation("a register that the section only reads has changed");
		return BAD;
	}
	trial->before = now.committed;
	trial->output = now.call.output;
	trial->final = now.subject->operation->takes_id ? now.call.id : id;
	if (!judge_order(trial, why, sizeof(why))) {
		violation("%s", why);
		return BAD;
	}
	if (trial->before || trial->final == id)
		return GOOD;
	if (now.subject->mode == RSEQ_PERCPU_MM_CID)
		return SPOILT;
	violation("for CPU %d, on CPU %d", trial->final, id);
	return BAD;
}

/* How often this thread was taken off its CPU. */
static long nr_switches(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nvcsw + usage.ru_nivcsw;
}

static enum outcome disturb_once(void)
{
	struct trial trial = {
		.subject = now.subject, .input = now.input, .conflict = now.conflict, .result = -1,
	};
	long switches;

	support_move(0, options.home);
	data_begin(now.subject->mode, options.home, options.away);
	trial.home = current_id(now.subject->mode);
	now.hit = false;
	now.well = false;
	plant();
	switches = nr_switches();
	for (int try = 0; trial.result < 0; try++) {
		int id = current_id(now.subject->mode);

		if (!data_know(id) || try == MAX_TRIES) {
			violation("%d tries came to nothing, the last for id %d", try, id);
			return BAD;
		}
		call_prepare(&now.call, now.subject->operation, now.input, id);
		trial.result = now.subject->function(&now.call);
	}
	if (!now.hit) {
		write_code(now.trap, now.insn);
		/* A section that was aborted before may have left the work to others. */
		return nr_switches() == switches ? NOT_REACHED : SPOILT;
	}
	if (!now.well || now.home != trial.home)
		return SPOILT;
	return judge(&trial);
}

/* Returns whether the trap was reached. */
static bool disturb(enum disturbance disturbance, const struct conflict *conflict)
{
	int repetitions = 0;
	enum outcome outcome;

	if (given_up())
		return false;
	now.disturbance = disturbance;
	now.conflict = conflict;
	do
		outcome = disturb_once();
	while (outcome == SPOILT && ++repetitions < MAX_REPETITIONS);
	if (outcome == SPOILT)
		violation("it never went from begin to end with one id, or undisturbed");
	return outcome != NOT_REACHED;
}

static bool disturb_in_all_ways(bool inside)
{
	const struct conflict *conflict = now.subject->structure->conflicts;
	const struct conflict *end = conflict + now.subject->structure->nr_conflicts;
	const bool moves = options.away != options.home;

	if (!disturb(SIGNALLED, NULL))
		return false;
	for (; conflict < end; conflict++) {
		if (!is_tried(now.subject, now.input, conflict, inside))
			continue;
		if (!options.brief || !moves)
			disturb(CONFLICTED, conflict);
		if (!options.brief)
			disturb(NESTED, conflict);
		if (moves)
			disturb(MIGRATED, conflict);
	}
	return true;
}

/* ---- subjects ---- */

/* To the first instruction behind the section. */
static void disturb_from(uintptr_t pc)
{
	size_t length;

	for (; pc <= now.section->end && !given_up(); pc += length) {
		bool inside = pc >= now.section->start && pc < now.section->end;

		now.trap = (unsigned char *)pc;
		length = arch_insn_length(now.trap);
		if (!length) {
			violation("an instruction is not known");
			return;
		}
		if (is_done(now.subject, INJECT, pc) || !disturb_in_all_ways(inside))
			continue;
		set_done(now.subject, INJECT, pc);
		if (inside && !given_up())
			section_tried(now.section, INJECT, pc, length);
	}
}

/* Most subjects have one section; without optimisation, more. */
static void disturb_input(void)
{
	uintptr_t begin = first_code();

	while (now.section) {
		disturb_from(begin);
		begin = now.section->end;
		now.section = section_from(now.subject, begin);
	}
}

static void disturb_subject(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	struct rlimit limit = { MAX_CPU_SECONDS, MAX_CPU_SECONDS + 1 };
	const struct input *inputs = now.subject->operation->inputs;
	size_t nr_inputs = now.subject->operation->nr_inputs;

	setrlimit(RLIMIT_CPU, &limit);
	sigaction(SIGTRAP, &action, NULL);
	if (open_code()) {
		printf("code cannot be made writable here: %s\n", strerror(errno));
		fflush(stdout);
		_exit(SUPPORT_SKIP);
	}
	for (size_t i = 0; i < nr_inputs; i++) {
		now.input = &inputs[i];
		data_of(now.subject, now.input);
		support_set_vector_bytes(data_vector_bytes(now.input));
		now.section = section_from(now.subject, 0);
		if (!options.quick || !now.input->redundant)
			disturb_input();
	}
	fflush(stdout);
	_exit(0);
}

/* Each subject in a process of its own, which it may ruin. */
bool inject_subjects(void)
{
	int status;
	pid_t child;

	report_head(INJECT);
	for (size_t i = 0; i < nr_subjects; i++) {
		now.subject = &subjects[i];
		now.section = section_from(now.subject, 0);
		if (!is_wanted(now.subject) || !now.section)
			continue;
		fflush(stdout);
		child = fork();
		if (!child)
			disturb_subject();
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == SUPPORT_SKIP)
			return false;
		if (child < 0 || !WIFEXITED(status))
			report_violation(now.subject, INJECT, "ended by signal %d (%s)",
					 WTERMSIG(status), strsignal(WTERMSIG(status)));
		else if (section_fault(now.section))
			report_violation(now.subject, INJECT, "%s", section_fault(now.section));
		report_subject(now.subject, INJECT);
		if (child > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
			break;
		if (options.first_only && report_first(INJECT))
			break;
	}
	return true;
}
