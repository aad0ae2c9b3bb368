/* SPDX-License-Identifier: MIT */
/*
 * disturb.c: disturbs a thread at a point, lets the kernel decide what becomes of its critical
 * section, and judges that; see walk.h.
 */
#include "walk.h"

#include <stdio.h>
#include <sys/ptrace.h>

#define MAX_TRIES	200		/* of an operation that is not disturbed any more */
#define MAX_MISMATCHES	3		/* runs that look as if a wrong mm_cid was gone by */

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

	/* The handler of a signal has left its own. */
	if (walk.disturbance != SIGNALLED && armed)
		walk_violation("aborted with rseq_cs still %#jx", (uintmax_t)armed);
	tracee_pass_breakpoint();
}

/* From here to the function's return. aborts counts how often it was aborted on the way. */
static bool run_to_return(int signal, int *result, int *aborts)
{
	struct arch_regs regs;
	const char *name;

	for (;; signal = 0) {
		if (!walk_run(PTRACE_CONT, signal))
			return false;
		tracee_regs(&regs);
		if (arch_returned(&regs))
			break;
		if (!tracee_at_breakpoint(&regs)) {
			walk_violation("stopped at %#jx", (uintmax_t)arch_pc(&regs));
			walk.lost = true;
			return false;
		}
		look_at_abort();
		if (++*aborts == MAX_TRIES) {
			walk_violation("aborted %d times", *aborts);
			return false;
		}
	}
	*result = arch_result(&regs);
	name = arch_call_difference(&walk.entry, &regs, walk.subject->keeps_registers);
	if (name)
		walk_violation("the function does not preserve %s", name);
	if (tracee->call.modified)
		walk_violation("a register that the section only reads has changed");
	return true;
}

/* Tries anew, with a new id, as a caller does. */
static bool retry(int *result)
{
	int ignored = 0, id;

	for (int try = 0; *result < 0; try++) {
		id = tracee_id(walk.subject->mode);
		if (!data_know(id) || try == MAX_TRIES) {
			walk_violation("%d tries came to nothing, the last for id %d", try, id);
			return false;
		}
		call_prepare(&tracee->call, walk.subject->operation, walk.input, id);
		tracee_begin((uintptr_t)walk.subject->function);
		if (!run_to_return(0, result, &ignored))
			return false;
	}
	return true;
}

/* Of the data, and of the ids, which should be what they were. */
static enum outcome judge(struct trial *trial)
{
	int id = tracee_id(walk.subject->mode);
	char why[120];

	trial->output = tracee->call.output;
	trial->before = walk.point.committed || (walk.point.decided && trial->result == 1);
	trial->final = walk.subject->operation->takes_id ? tracee->call.id : id;
	walk.displaced += walk.disturbance == DISPLACED;
	walk.changed += walk.disturbance == DISPLACED && trial->final != trial->home;
	if (walk.disturbance == SIGNALLED &&
	    (tracee->handled != 1 || !tracee->handled_well || tracee->handled_id != walk.home))
		return SPOILT;
	if (!data_judge(trial, why, sizeof(why))) {
		walk_violation("%s", why);
		return BAD;
	}
	if (trial->before || trial->final == id)
		return GOOD;
	if (walk.subject->mode == RSEQ_PERCPU_MM_CID)
		return MISMATCH;
	walk_violation("for CPU %d, on CPU %d", trial->final, id);
	return BAD;
}

static enum outcome disturb_once(void)
{
	const struct point *point = &walk.point;
	struct trial trial = {
		.subject = walk.subject, .input = walk.input, .conflict = walk.conflict,
		.home = walk.home,
	};
	int signal = walk.disturbance == SIGNALLED ? TRACEE_SIGNAL : 0, aborts = 0;

	walk_return();
	tracee_arm(point->armed);
	tracee_break_at(point->armed ? point->descriptor->abort_ip : 0);
	tracee->conflict = walk.conflict;
	tracee->mode = walk.subject->mode;
	tracee->handled = 0;
	if (walk.disturbance != SIGNALLED)
		conflict_run(walk.conflict, walk.subject->mode, walk.home, model_run);
	if (walk.disturbance == DISPLACED)
		tracee_occupy();
	if (walk.disturbance == MIGRATED || walk.disturbance == DISPLACED)
		walk_move(options.away);
	if (!run_to_return(signal, &trial.result, &aborts))
		return BAD;
	report_point(walk.subject, WALK, point->inside && aborts);
	if (point->inside && !aborts)
		walk_violation("the section was not aborted");
	/* The handler has sections of its own, which may be aborted, too. */
	if (point->decided && aborts && walk.disturbance != SIGNALLED)
		walk_violation("aborted after it has left the section");
	if (!retry(&trial.result))
		return BAD;
	return judge(&trial);
}

/*
 * A kernel that preempts the thread between its commit and its return may give it another mm_cid
 * then, which looks like a section that does not compare it. It hardly happens a second time.
 */
static void disturb(enum disturbance disturbance, const struct conflict *conflict)
{
	int repetitions = 0, mismatches = 0;
	enum outcome outcome = SPOILT;

	if (walk_given_up())
		return;
	walk.disturbance = disturbance;
	walk.conflict = conflict;
	while (outcome != BAD && (outcome != GOOD || mismatches)) {
		outcome = disturb_once();
		if (disturbance == DISPLACED)
			tracee_vacate();
		mismatches += outcome == MISMATCH;
		if (mismatches == MAX_MISMATCHES)
			walk_violation("it has committed for another id than its own");
		else if (++repetitions == MAX_REPETITIONS && !mismatches)
			walk_violation("it never had one id from begin to end");
		if (mismatches == MAX_MISMATCHES || repetitions == MAX_REPETITIONS)
			break;
		if (outcome > BAD && !walk_to(walk.nr))
			break;
	}
}

void walk_disturb(void)
{
	const struct conflict *conflict = walk.subject->structure->conflicts;
	const struct conflict *end = conflict + walk.subject->structure->nr_conflicts;
	const bool moves = options.away != options.home;

	disturb(PREEMPTED, NULL);
	for (; conflict < end; conflict++) {
		if (!is_tried(walk.subject, walk.input, conflict, walk.point.inside))
			continue;
		if (!options.brief || !moves)
			disturb(CONFLICTED, conflict);
		if (moves)
			disturb(MIGRATED, conflict);
		if (moves && !options.brief && is_own(walk.subject, conflict) &&
		    walk.subject->mode == RSEQ_PERCPU_MM_CID && walk.input->thorough)
			disturb(DISPLACED, conflict);
		if (!options.brief)
			disturb(SIGNALLED, conflict);
	}
	walk.disturbance = PREEMPTED;
	walk.conflict = NULL;
}
