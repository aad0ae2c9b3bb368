/* SPDX-License-Identifier: MIT */
/*
 * subjects.c: the data structures whose sections are interrupted; see subjects.h. A mutant has the
 * operations alone, and so has the program that finds its area itself.
 */
#include "data.h"

static const struct structure *const structures[] = {
	&ops_structure,
#if !defined(MUTANT) && !defined(RSEQ_GET_ABI_OVERRIDE)
	&counter_structure,
	&list_structure,
	&lock_structure,
	&mempool_structure,
	&refcount_structure,
	&ring_structure,
	&stack_structure,
#endif
};

struct subject subjects[MAX_SUBJECTS];
size_t nr_subjects;

int subjects_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(structures); i++) {
		const struct structure *structure = structures[i];
		const struct subject *subject = structure->subjects;

		if (data_init(structure))
			return -1;
		for (; subject->name; subject++) {
			if (nr_subjects == MAX_SUBJECTS)
				return -1;
			subjects[nr_subjects] = *subject;
			subjects[nr_subjects++].structure = structure;
		}
	}
	return 0;
}
