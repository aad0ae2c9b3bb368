/* SPDX-License-Identifier: MIT */
/*
 * walk.c: stops a thread after every instruction of every subject, disturbs it, and lets the kernel
 * decide what becomes of its critical section.
 *
 * A thread that is stopped in an armed section is aborted when it goes on. So the tracer takes the
 * descriptor out of the thread's area after each step, and the kernel lets the section go on. At
 * the point of interest it puts the descriptor back. Registers, stack and data of the point are
 * restored afterwards for the next disturbance, and then for the next step.
 */
#include "abort.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>

#include "tracee.h"

enum disturbance {
	PREEMPTED,			/* stopped and resumed on the same CPU */
	CONFLICTED,			/* meanwhile another thread works on the data */
	MIGRATED,			/* and the thread is moved to another CPU */
	DISPLACED,			/* and another thread takes the thread's concurrency id */
	SIGNALLED,			/* a signal handler works on the data */
	NR_DISTURBANCES
};

static const char *const disturbance_names[NR_DISTURBANCES] = {
	"preempted", "preempted", "migrated", "displaced", "signalled"
};

#define MAX_STACK	16384		/* bytes of stack that a subject uses */
#define MAX_POINTS	2000		/* instructions that one runs */
#define MAX_TRIES	200		/* of an operation that is not disturbed any more */
#define MAX_REPETITIONS	100		/* of a run that the kernel spoils by another mm_cid */
#define MAX_MISMATCHES	3		/* of them, those that look as if the section did it */
#define MAX_VIOLATIONS	20		/* of one subject; then it is left alone */

/* A thread between two instructions. */
struct point {
	struct arch_regs regs;
	struct arch_vectors vectors;
	struct state data;
	uint64_t armed;			/* the descriptor that was taken out of its area, or 0 */
	const struct rseq_abi_cs *descriptor;	/* the same */
	bool inside;			/* of its section */
	bool committed;			/* the data say so */
	bool decided;			/* it has left a section */
	size_t stack_bytes;
	unsigned char stack[MAX_STACK];
};

/* Registers at the last few points, to find those at the begin of a section's code. */
struct snapshot {
	struct arch_regs regs;
	struct arch_vectors vectors;
};

static struct walk {
	const struct subject *subject;
	const struct input *input;
	int home;			/* id, not CPU, of the first try */
	struct arch_regs entry;
	struct point point;
	size_t nr;			/* of the point */
	struct snapshot history[ARCH_ARMING + 1];	/* the newest last */
	struct snapshot begin;		/* of the section */
	bool was_inside;
	bool has_breakpoints, no_breakpoints;	/* here, anywhere */
	bool lost;			/* the tracee is gone */

	/* the disturbance under way */
	enum disturbance disturbance;
	enum conflict conflict;
	int cpu;			/* where the tracee is, or has to be */

	unsigned long displaced, changed;	/* runs, and those in which the id changed */
} walk;

__attribute__((format(printf, 1, 2)))
static void violation(const char *format, ...)
{
	const struct point *point = &walk.point;
	uintptr_t pc = arch_pc(&point->regs);
	char what[200], where[80] = "outside of a section";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (point->inside)
		snprintf(where, sizeof(where), "%s+%zu of the section",
			 point->committed ? "committed, " : "",
			 (size_t)(pc - point->descriptor->start_ip));
	else if (point->armed)
		snprintf(where, sizeof(where), "armed, %s%+td of the section",
			 point->committed ? "committed, " : "",
			 (ptrdiff_t)(pc - point->descriptor->start_ip));
	report_violation(walk.subject, WALK, "%s, point %zu (%s), %s, %s: %s", walk.input->name,
			 walk.nr,
			 where, disturbance_names[walk.disturbance], conflict_names[walk.conflict],
			 what);
}

static bool given_up(void)
{
	unsigned long violations = report_violations(walk.subject, WALK);

	return walk.lost || violations >= (options.first_only ? 1 : MAX_VIOLATIONS);
}

static void move(int cpu)
{
	if (walk.cpu != cpu)
		tracee_move(cpu);
	walk.cpu = cpu;
}

/* Lets it go on; a violation is reported if it does not stop at a trap. */
static bool run(unsigned int request, int signal)
{
	enum stop stop = tracee_run(request, &signal);

	if (stop == STOP_TRAP)
		return true;
	walk.lost = true;
	if (stop == STOP_STUCK)
		violation("it does not end");
	else
		violation("%s by signal %d (%s)", stop == STOP_DEAD ? "ended" : "stopped", signal,
			  strsignal(signal));
	return false;
}

/* ---- points ---- */

static unsigned char *stack_top(void)
{
	return tracee->stack + TRACEE_STACK;
}

static unsigned char *stack_bottom(const struct arch_regs *regs)
{
	return (unsigned char *)(uintptr_t)arch_sp(regs) - ARCH_RED_ZONE;
}

/* Everything of the thread but what the area holds; that is in point.armed. */
static bool take_point(void)
{
	struct point *point = &walk.point;
	uint64_t offset;

	tracee_regs(&point->regs);
	tracee_vectors(&point->vectors);
	data_save(&point->data);
	point->committed = data_committed(walk.subject, walk.input, walk.home);
	point->descriptor = (const struct rseq_abi_cs *)(uintptr_t)point->armed;
	point->inside = false;
	if (point->armed) {
		offset = arch_pc(&point->regs) - point->descriptor->start_ip;
		point->inside = offset < point->descriptor->post_commit_offset;
	}
	walk.was_inside |= point->inside;
	point->decided = walk.was_inside && !point->inside;
	point->stack_bytes = (size_t)(stack_top() - stack_bottom(&point->regs));
	if (point->stack_bytes > MAX_STACK) {
		walk.lost = true;
		violation("%zu bytes of stack", point->stack_bytes);
		return false;
	}
	memcpy(point->stack, stack_bottom(&point->regs), point->stack_bytes);
	memmove(walk.history, walk.history + 1, sizeof(walk.history) - sizeof(walk.history[0]));
	walk.history[ARCH_ARMING] = (struct snapshot){ point->regs, point->vectors };
	return true;
}

static void return_to_point(void)
{
	const struct point *point = &walk.point;

	move(options.home);
	call_prepare(&tracee->call, walk.subject->operation, walk.input, walk.home);
	data_restore(&point->data);
	memcpy(stack_bottom(&point->regs), point->stack, point->stack_bytes);
	tracee_set_regs(&point->regs);
	tracee_set_vectors(&point->vectors);
	tracee_arm(0);
}

/* One instruction. The kernel finds no descriptor, at its end neither. */
static bool step(void)
{
	uintptr_t pc = arch_pc(&walk.point.regs);
	size_t bytes = arch_unsteppable_bytes((const unsigned char *)pc);
	uint64_t armed;

	if (bytes) {
		if (!tracee_break_at(pc + bytes) || !run(PTRACE_CONT, 0))
			return false;
		tracee_pass_breakpoint();
	} else if (!run(PTRACE_SINGLESTEP, 0)) {
		return false;
	}
	armed = tracee_armed();
	if (armed) {
		walk.point.armed = armed;
		tracee_arm(0);
	}
	return true;
}

/* Brings it to its CPU, and lets the kernel tell it so. */
static bool settle(void)
{
	walk.cpu = -1;
	move(options.home);
	tracee_begin((uintptr_t)arch_trap);
	if (!run(PTRACE_CONT, 0))
		return false;
	walk.home = tracee_id(walk.subject->mode);
	data_forget();
	return data_know(walk.home);
}

/* Goes to a point; the thread's id may have changed on the way: then from the start again. */
static bool go_to(size_t nr)
{
	for (int repetitions = 0; repetitions < MAX_REPETITIONS; repetitions++) {
		if (!settle())
			return false;
		data_reset();
		call_prepare(&tracee->call, walk.subject->operation, walk.input, walk.home);
		tracee_begin((uintptr_t)walk.subject->function);
		walk.point.armed = 0;
		walk.was_inside = false;
		for (walk.nr = 0;; walk.nr++) {
			if (!take_point())
				return false;
			if (walk.nr == 0)
				walk.entry = walk.point.regs;
			if (walk.nr == nr)
				return true;
			if (!step())
				return false;
			if (walk.subject->takes_id && tracee_id(walk.subject->mode) != walk.home)
				break;
		}
	}
	violation("it never kept its id");
	return false;
}

/* ---- what is looked at while stepping ---- */

/* A section tells the compiler which registers it changes. Here is what it may tell. */
static struct arch_set clobbers_of(const struct subject *subject)
{
	static const char *const common[] = { RSEQ_ASM_CLOBBERS };
	static const char *const of_copies[] = { RSEQ_ASM_COPY_CLOBBERS };
	struct arch_set set = { 0 };

	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		arch_add(&set, common[i]);
	for (size_t i = 0; i < sizeof(of_copies) / sizeof(of_copies[0]); i++)
		if (subject->operation == LOAD_CBNE_MEMCPY_STORE)
			arch_add(&set, of_copies[i]);
	return set;
}

static void look_at_registers(bool was_inside)
{
	const struct point *point = &walk.point;
	struct arch_set clobbers = clobbers_of(walk.subject);
	const char *name;

	if (point->inside && arch_pc(&point->regs) == point->descriptor->start_ip)
		walk.begin = walk.history[0];
	if (!point->inside && !was_inside)
		return;
	name = arch_difference(&walk.begin.regs, &point->regs, &clobbers);
	if (!name)
		name = arch_vector_difference(&walk.begin.vectors, &point->vectors, &clobbers);
	if (name)
		violation("the section changes %s, which it does not declare", name);
}

/* The kernel's own view of a descriptor, some of which newer kernels keep to themselves. */
static void look_at_descriptor(void)
{
	const struct rseq_abi_cs *descriptor = walk.point.descriptor;
	uint32_t signature;

	if (!descriptor)
		return;
	memcpy(&signature, (const char *)(uintptr_t)descriptor->abort_ip - sizeof(signature),
	       sizeof(signature));
	if (descriptor->version || descriptor->flags)
		violation("the descriptor has version %u and flags %u", descriptor->version,
			  descriptor->flags);
	else if (descriptor->abort_ip - descriptor->start_ip < descriptor->post_commit_offset)
		violation("the abort address is inside of the section");
	else if (signature != RSEQ_SIG)
		violation("the signature is %#x", signature);
}

/* ---- disturbances ---- */

enum outcome {
	GOOD,
	BAD,
	SPOILT,				/* the thread's mm_cid has changed on the way */
	MISMATCH			/* the same, or the section went by a wrong one */
};

/* At the breakpoint on the abort address, where the kernel leads an aborted section. */
static void look_at_abort(void)
{
	uint64_t armed = tracee_armed();

	if (walk.disturbance != SIGNALLED && armed)
		violation("aborted with rseq_cs still %#jx", (uintmax_t)armed);
	tracee_pass_breakpoint();
}

/* From here to the function's return. aborts is how often it was aborted, if that can be told. */
static bool run_to_return(int signal, int *result, int *aborts)
{
	const struct point *point = &walk.point;
	struct arch_regs regs;
	const char *name;

	for (;; signal = 0) {
		if (!run(PTRACE_CONT, signal))
			return false;
		tracee_regs(&regs);
		if (arch_returned(&regs))
			break;
		if (!walk.has_breakpoints || !point->armed ||
		    arch_pc(&regs) != point->descriptor->abort_ip) {
			violation("stopped at %#jx", (uintmax_t)arch_pc(&regs));
			walk.lost = true;
			return false;
		}
		look_at_abort();
		if (++*aborts == MAX_TRIES) {
			violation("aborted %d times", *aborts);
			return false;
		}
	}
	*result = arch_result(&regs);
	if (!walk.has_breakpoints)
		*aborts = *result < 0 || tracee->call.tries_left < 3;
	name = arch_call_difference(&walk.entry, &regs, walk.subject->keeps_registers);
	if (name)
		violation("the function does not preserve %s", name);
	if (tracee->call.modified)
		violation("a register that the section only reads has changed");
	return true;
}

/* Tries anew, with a new id, as a caller does. */
static bool retry(int *result)
{
	int ignored = 0, id;

	for (int try = 0; *result < 0; try++) {
		id = tracee_id(walk.subject->mode);
		if (!data_know(id) || try == MAX_TRIES) {
			violation("%d tries came to nothing, the last for id %d", try, id);
			return false;
		}
		call_prepare(&tracee->call, walk.subject->operation, walk.input, id);
		tracee_begin((uintptr_t)walk.subject->function);
		if (!run_to_return(0, result, &ignored))
			return false;
	}
	return true;
}

/* Prepares the trial for the judge. Returns whether the ids are what they should be. */
static enum outcome compare_ids(struct trial *trial)
{
	int id = tracee_id(walk.subject->mode);

	trial->final = walk.subject->takes_id ? tracee->call.id : id;
	if (walk.disturbance == SIGNALLED &&
	    (tracee->handled != 1 || !tracee->handled_well || tracee->handled_id != walk.home))
		return SPOILT;
	if (trial->before || trial->final == id)
		return GOOD;
	if (walk.subject->mode == RSEQ_PERCPU_MM_CID)
		return MISMATCH;
	violation("for CPU %d, on CPU %d", trial->final, id);
	return BAD;
}

static enum outcome disturb_once(void)
{
	const struct point *point = &walk.point;
	struct trial trial = {
		.subject = walk.subject, .input = walk.input, .conflict = walk.conflict,
		.home = walk.home,
	};
	enum outcome outcome;
	int signal = walk.disturbance == SIGNALLED ? TRACEE_SIGNAL : 0, aborts = 0;
	char why[120];

	return_to_point();
	tracee_arm(point->armed);
	walk.has_breakpoints = tracee_break_at(point->armed ? point->descriptor->abort_ip : 0);
	walk.no_breakpoints |= !walk.has_breakpoints;
	tracee->conflict = walk.conflict;
	tracee->mode = walk.subject->mode;
	tracee->handled = 0;
	if (walk.disturbance != SIGNALLED)
		conflict_run(walk.conflict, walk.subject->mode, walk.home, model_run);
	if (walk.disturbance == DISPLACED)
		tracee_occupy();
	if (walk.disturbance == MIGRATED || walk.disturbance == DISPLACED)
		move(options.away);
	if (!run_to_return(signal, &trial.result, &aborts))
		return BAD;
	report_point(walk.subject, WALK, point->inside && aborts);
	if (point->inside && !aborts && walk.has_breakpoints)
		violation("the section was not aborted");
	/* The handler has sections of its own, which may be aborted, too. */
	if (point->decided && aborts && walk.disturbance != SIGNALLED)
		violation("aborted after it has left the section");
	if (!retry(&trial.result))
		return BAD;
	trial.before = point->committed || (point->decided && trial.result == 1);
	outcome = compare_ids(&trial);
	walk.displaced += walk.disturbance == DISPLACED;
	walk.changed += walk.disturbance == DISPLACED && trial.final != trial.home;
	if (outcome == GOOD && !data_judge(&trial, why, sizeof(why))) {
		violation("%s", why);
		return BAD;
	}
	return outcome;
}

/*
 * A kernel that preempts the thread between its commit and its return may give it another mm_cid
 * then, which looks like a section that does not compare it. It hardly happens a second time.
 */
static void disturb(enum disturbance disturbance, enum conflict conflict)
{
	int repetitions = 0, mismatches = 0;
	enum outcome outcome = SPOILT;

	if (given_up())
		return;
	walk.disturbance = disturbance;
	walk.conflict = conflict;
	while (outcome != BAD && (outcome != GOOD || mismatches)) {
		outcome = disturb_once();
		if (disturbance == DISPLACED)
			tracee_vacate();
		mismatches += outcome == MISMATCH;
		if (mismatches == MAX_MISMATCHES)
			violation("it has committed for another id than its own");
		else if (++repetitions == MAX_REPETITIONS && !mismatches)
			violation("it never had one id from begin to end");
		if (mismatches == MAX_MISMATCHES || repetitions == MAX_REPETITIONS)
			break;
		if (outcome > BAD && !go_to(walk.nr))
			break;
	}
}

static void disturb_in_all_ways(void)
{
	enum conflict conflict, own = own_conflict(walk.subject);

	disturb(PREEMPTED, CONFLICT_NONE);
	for (conflict = CONFLICT_NONE + 1; conflict < NR_CONFLICTS; conflict++) {
		if (!is_tried(walk.subject, walk.input, conflict, walk.point.inside))
			continue;
		disturb(CONFLICTED, conflict);
		if (options.away != options.home)
			disturb(MIGRATED, conflict);
		if (options.away != options.home && conflict == own &&
		    walk.subject->mode == RSEQ_PERCPU_MM_CID && walk.input->thorough)
			disturb(DISPLACED, conflict);
		disturb(SIGNALLED, conflict);
	}
	walk.disturbance = PREEMPTED;
	walk.conflict = CONFLICT_NONE;
}

/* ---- walks ---- */

/* The next point; nothing has disturbed the thread since the last one. */
static bool go_on(void)
{
	const struct point *point = &walk.point;
	const unsigned char *insn = (const unsigned char *)(uintptr_t)arch_pc(&point->regs);
	size_t length = arch_insn_length(insn);
	uint64_t next;

	return_to_point();
	if (!step())
		return false;
	if (walk.subject->takes_id && tracee_id(walk.subject->mode) != walk.home)
		return go_to(walk.nr + 1);
	next = (uint64_t)(uintptr_t)insn + length;
	walk.nr++;
	if (!take_point())
		return false;
	if (arch_pc(&point->regs) != next && !arch_insn_jumps(insn) &&
	    !arch_unsteppable_bytes(insn)) {
		violation("an instruction of %ju bytes is taken for one of %zu",
			  (uintmax_t)(arch_pc(&point->regs) - (uintptr_t)insn), length);
		return false;
	}
	return true;
}

/* What came out of the walk itself, in which nothing was disturbed. */
static void judge_walk(void)
{
	struct trial trial = {
		.subject = walk.subject, .input = walk.input, .home = walk.home,
		.final = walk.home, .before = true, .result = arch_result(&walk.point.regs),
	};
	const char *name = arch_call_difference(&walk.entry, &walk.point.regs,
						walk.subject->keeps_registers);
	char why[120];

	look_at_descriptor();
	if (name)
		violation("the function does not preserve %s", name);
	if (!data_judge(&trial, why, sizeof(why)))
		violation("not disturbed at all: %s", why);
}

/* Outside of sections the places around them matter most. */
static bool is_of_interest(void)
{
	const struct section *section = section_of(walk.subject);
	uintptr_t pc = arch_pc(&walk.point.regs);

	return !options.quick || !section ||
	       (pc >= section->start - 32 && pc <= section->end + 8);
}

static void walk_input(void)
{
	const struct point *point = &walk.point;
	struct section *section;
	bool was_inside = false;

	if (!go_to(0))
		return;
	while (!given_up() && walk.nr < MAX_POINTS) {
		look_at_registers(was_inside);
		if (arch_returned(&point->regs)) {
			judge_walk();
			return;
		}
		if (is_of_interest())
			disturb_in_all_ways();
		section = point->inside ? section_find((uintptr_t)point->armed) : NULL;
		if (section && !walk.lost)
			section_tried(section, WALK, arch_pc(&point->regs),
				      arch_insn_length((void *)(uintptr_t)arch_pc(&point->regs)));
		was_inside = point->inside;
		if (given_up() || !go_on())
			return;
	}
	if (walk.nr == MAX_POINTS)
		violation("it does not return");
}

static bool start(void)
{
	int error = tracee_start(options.home);

	if (error)
		printf("ptrace is not allowed here: %s\n", strerror(error));
	return !error;
}

bool walk_subjects(void)
{
	const struct input *inputs;
	size_t nr_inputs;

	if (!start())
		return false;
	report_head(WALK);
	for (walk.subject = subjects; walk.subject < subjects + nr_subjects; walk.subject++) {
		if (!is_wanted(walk.subject))
			continue;
		nr_inputs = inputs_of(walk.subject, &inputs);
		for (size_t i = 0; i < nr_inputs; i++) {
			walk.input = &inputs[i];
			if (options.quick && walk.input->redundant)
				continue;
			walk_input();
			if (walk.lost) {
				tracee_end();
				walk.lost = false;
				if (!start())
					return false;
			}
			if (given_up())
				break;
		}
		report_subject(walk.subject, WALK);
		if (options.first_only && report_first(WALK))
			break;
	}
	tracee_end();
	printf("%lu times another thread took the mm_cid, %lu times the kernel gave a new one\n",
	       walk.displaced, walk.changed);
	if (walk.no_breakpoints)
		printf("there are no breakpoints here: aborts were not looked at\n");
	return true;
}
