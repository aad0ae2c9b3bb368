/* SPDX-License-Identifier: MIT */
/*
 * walk.c: stops a thread after every instruction of every subject, looks at its registers and has
 * it disturbed; see walk.h.
 */
#include "walk.h"

#include <stdio.h>
#include <string.h>

#define MAX_POINTS	2000		/* instructions that a subject runs */

/* A section tells the compiler which registers it changes. Here is what it may tell. */
static struct arch_set clobbers_of(const struct subject *subject)
{
	static const char *const common[] = { RSEQ_ASM_CLOBBERS };
	static const char *const of_copies[] = { RSEQ_ASM_COPY_CLOBBERS };
	static const char *const temporaries[] = { RSEQ_ASM_TEMPORARIES };
	struct arch_set set = { 0 };

	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		arch_add(&set, common[i]);
	for (size_t i = 0; i < sizeof(of_copies) / sizeof(of_copies[0]); i++)
		if (subject->operation->copies)
			arch_add(&set, of_copies[i]);
	for (size_t i = 0; i < sizeof(temporaries) / sizeof(temporaries[0]); i++)
		if (subject->operation->temporaries)
			arch_add(&set, temporaries[i]);
	return set;
}

/*
 * Which registers an asm statement returns something in, only the compiler knows; how many, the
 * subject. The first ones that the section changes are taken for these, whatever the input.
 */
static void look_at_registers(void)
{
	const struct point *point = &walk.point;
	const struct snapshot *begin = &walk.begin;
	struct arch_set may_change = clobbers_of(walk.subject);
	struct section *section;
	const char *name;

	if (!point->inside && !point->was_inside)
		return;
	section = section_find((uintptr_t)point->armed);
	if (section)
		may_change.general |= section->outputs.general;
	name = arch_difference(&begin->regs, &point->regs, &may_change);
	for (; name && section && section->nr_outputs < walk.subject->operation->outputs;
	     name = arch_difference(&begin->regs, &point->regs, &may_change)) {
		section->nr_outputs++;
		arch_add(&section->outputs, name);
		arch_add(&may_change, name);
	}
	if (!name)
		name = arch_vector_difference(&begin->vectors, &point->vectors, &may_change);
	if (name)
		walk_violation("the section changes %s, which it does not declare", name);
}

/* What came out of the walk itself, in which nothing was disturbed. */
static void judge_walk(void)
{
	struct trial trial = {
		.subject = walk.subject, .input = walk.input, .home = walk.home,
		.final = walk.home, .before = true, .result = arch_result(&walk.point.regs),
		.output = tracee->call.output,
	};
	const char *name = arch_call_difference(&walk.entry, &walk.point.regs,
						walk.subject->keeps_registers);
	const struct section *section = walk.point.armed ? section_find(walk.point.armed) : NULL;
	const char *fault = section ? section_fault(section) : NULL;
	char why[120];

	if (fault)
		walk_violation("%s", fault);
	if (name)
		walk_violation("the function does not preserve %s", name);
	if (!data_judge(&trial, why, sizeof(why)))
		walk_violation("not disturbed at all: %s", why);
}

/* Outside of sections the places around them matter most. */
static bool is_of_interest(void)
{
	const struct section *section = section_from(walk.subject, 0);
	uintptr_t pc = arch_pc(&walk.point.regs);

	if (!options.quick || walk.point.inside || !section)
		return true;
	for (; section; section = section_from(walk.subject, section->end))
		if (pc >= section->start - 32 && pc <= section->end + 8)
			return true;
	return false;
}

static void walk_input(void)
{
	const struct point *point = &walk.point;
	struct section *section;

	tracee_set(&rseq_vector_bytes, data_vector_bytes(walk.input));
	if (!walk_to(0))
		return;
	while (!walk_given_up() && walk.nr < MAX_POINTS) {
		look_at_registers();
		if (arch_returned(&point->regs)) {
			judge_walk();
			return;
		}
		if (is_of_interest() && !is_done(walk.subject, WALK, arch_pc(&point->regs))) {
			set_done(walk.subject, WALK, arch_pc(&point->regs));
			walk_disturb();
		}
		section = point->inside ? section_find((uintptr_t)point->armed) : NULL;
		if (section && !walk.lost)
			section_tried(section, WALK, arch_pc(&point->regs),
				      arch_insn_length((void *)arch_pc(&point->regs)));
		if (walk_given_up() || !walk_on())
			return;
	}
	if (walk.nr == MAX_POINTS)
		walk_violation("it does not return");
}

static bool start(void)
{
	int error = tracee_start(options.home);

	if (error)
		printf("ptrace is not allowed here: %s\n", strerror(error));
	return !error;
}

/* After a tracee was lost. One that did not end is enough. */
static bool start_anew(void)
{
	int error;

	tracee_end();
	if (walk.stuck)
		return false;
	error = tracee_start(options.home);
	if (error)
		walk_violation("the next process cannot be traced: %s", strerror(error));
	else
		walk.lost = false;
	return !error;
}

/* Returns whether the next subject can be tried. */
static bool walk_subject(void)
{
	const struct input *inputs = walk.subject->operation->inputs;
	size_t nr_inputs = walk.subject->operation->nr_inputs;

	for (size_t i = 0; i < nr_inputs; i++) {
		walk.input = &inputs[i];
		data_of(walk.subject, walk.input);
		if (options.quick && walk.input->redundant)
			continue;
		walk_input();
		if (walk.lost && !start_anew())
			return false;
		if (walk_given_up())
			break;
	}
	return !options.first_only || !report_first(WALK);
}

bool walk_subjects(void)
{
	bool more = true;

	if (!start())
		return false;
	report_head(WALK);
	for (walk.subject = subjects; more && walk.subject < subjects + nr_subjects;
	     walk.subject++) {
		if (!is_wanted(walk.subject))
			continue;
		more = walk_subject();
		report_subject(walk.subject, WALK);
	}
	tracee_end();
	printf("%lu times another thread took the mm_cid, %lu times the kernel gave a new one\n",
	       walk.displaced, walk.changed);
	return true;
}
