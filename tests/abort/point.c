/* SPDX-License-Identifier: MIT */
/*
 * point.c: goes from point to point; see walk.h.
 */
#include "walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>

#define MAX_VIOLATIONS	20		/* of one subject; then it is left alone */

struct walk walk;

static int cpu_of_tracee = -1;

static const char *const disturbance_names[NR_DISTURBANCES] = {
	"preempted", "preempted", "migrated", "displaced", "signalled"
};

void walk_violation(const char *format, ...)
{
	const struct point *point = &walk.point;
	uintptr_t pc = arch_pc(&point->regs);
	char what[200], where[80] = "outside of a section";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (point->armed)
		snprintf(where, sizeof(where), "%s, %s%+td of the section",
			 point->inside ? "inside" : "armed",
			 point->committed ? "committed, " : "",
			 (ptrdiff_t)(pc - point->descriptor->start_ip));
	report_violation(walk.subject, WALK, "%s, point %zu (%s), %s, %s: %s", walk.input->name,
			 walk.nr, where, disturbance_names[walk.disturbance],
			 walk.conflict ? walk.conflict->name : "nothing", what);
}

bool walk_given_up(void)
{
	unsigned long violations = report_violations(walk.subject, WALK);

	return walk.lost || violations >= (options.first_only ? 1 : MAX_VIOLATIONS);
}

void walk_move(int cpu)
{
	if (cpu_of_tracee != cpu)
		tracee_move(cpu);
	cpu_of_tracee = cpu;
}

bool walk_run(PTRACE_REQUEST request, int signal)
{
	enum stop stop = tracee_run(request, &signal);

	if (stop == STOP_TRAP)
		return true;
	walk.lost = true;
	walk.stuck = stop == STOP_STUCK;
	if (walk.stuck)
		walk_violation("it does not end");
	else
		walk_violation("%s by signal %d (%s)", stop == STOP_DEAD ? "ended" : "stopped",
			       signal, strsignal(signal));
	return false;
}

static unsigned char *stack_top(void)
{
	return tracee->stack + TRACEE_STACK;
}

static unsigned char *stack_bottom(const struct arch_regs *regs)
{
	return (unsigned char *)arch_sp(regs) - ARCH_RED_ZONE;
}

/* Everything of the thread but what the area holds; that is in point.armed. */
static bool take_point(void)
{
	struct point *point = &walk.point;
	uint64_t offset;

	tracee_regs(&point->regs);
	tracee_vectors(&point->vectors);
	data_save(&point->data);
	point->call = tracee->call;
	point->committed = data_committed(walk.subject, walk.input, walk.home);
	point->descriptor = (const struct rseq_abi_cs *)(uintptr_t)point->armed;
	point->was_inside = point->inside;
	point->inside = false;
	if (point->armed) {
		offset = arch_pc(&point->regs) - point->descriptor->start_ip;
		point->inside = offset < point->descriptor->post_commit_offset;
	}
	walk.entered |= point->inside;
	point->decided = walk.entered && !point->inside;
	point->stack_bytes = (size_t)(stack_top() - stack_bottom(&point->regs));
	if (point->stack_bytes > MAX_STACK) {
		walk.lost = true;
		walk_violation("%zu bytes of stack", point->stack_bytes);
		return false;
	}
	memcpy(point->stack, stack_bottom(&point->regs), point->stack_bytes);
	memmove(walk.history, walk.history + 1, sizeof(walk.history) - sizeof(walk.history[0]));
	walk.history[ARCH_ARMING] = (struct snapshot){ point->regs, point->vectors };
	if (point->inside && arch_pc(&point->regs) == point->descriptor->start_ip)
		walk.begin = walk.history[0];
	return true;
}

void walk_return(void)
{
	const struct point *point = &walk.point;

	walk_move(options.home);
	tracee->call = point->call;
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
		tracee_break_at(pc + bytes);
		if (!walk_run(PTRACE_CONT, 0))
			return false;
		tracee_break_at(0);
	} else if (!walk_run(PTRACE_SINGLESTEP, 0)) {
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
	cpu_of_tracee = -1;
	walk_move(options.home);
	tracee_begin((uintptr_t)arch_trap);
	if (!walk_run(PTRACE_CONT, 0))
		return false;
	walk.home = tracee_id(walk.subject->mode);
	return data_begin(walk.subject->mode, options.home, options.away) && data_know(walk.home);
}

/* The thread's id may have changed on the way: then from the start again. */
bool walk_to(size_t nr)
{
	for (int repetitions = 0; repetitions < MAX_REPETITIONS; repetitions++) {
		if (!settle())
			return false;
		data_reset();
		call_prepare(&tracee->call, walk.subject->operation, walk.input, walk.home);
		tracee_begin((uintptr_t)walk.subject->function);
		walk.point.armed = 0;
		walk.point.inside = false;
		walk.entered = false;
		for (walk.nr = 0;; walk.nr++) {
			if (!take_point())
				return false;
			if (walk.nr == 0)
				walk.entry = walk.point.regs;
			if (walk.nr == nr)
				return true;
			if (!step())
				return false;
			if (tracee_id(walk.subject->mode) != walk.home)
				break;
		}
	}
	walk_violation("it never kept its id");
	return false;
}

bool walk_on(void)
{
	const struct point *point = &walk.point;
	const unsigned char *insn = (const unsigned char *)arch_pc(&point->regs);
	size_t length = arch_insn_length(insn);
	uint64_t next;

	walk_return();
	if (!step())
		return false;
	if (tracee_id(walk.subject->mode) != walk.home)
		return walk_to(walk.nr + 1);
	next = (uintptr_t)insn + length;
	walk.nr++;
	if (!take_point())
		return false;
	if (arch_pc(&point->regs) != next && !arch_insn_jumps(insn) &&
	    !arch_unsteppable_bytes(insn)) {
		walk_violation("an instruction of %ju bytes is taken for one of %zu",
			  (uintmax_t)(arch_pc(&point->regs) - (uintptr_t)insn), length);
		return false;
	}
	return true;
}
