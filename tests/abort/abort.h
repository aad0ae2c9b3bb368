/* SPDX-License-Identifier: MIT */
/*
 * abort.h: the two ways to interrupt all subjects, and what is common to them.
 */
#ifndef ABORT_H
#define ABORT_H

#include "data.h"
#include "report.h"

struct options {
	bool quick;			/* less, but each instruction of each section */
	bool brief;			/* even less: one conflict, with a migration */
	bool least;			/* that at each instruction once, for one of the inputs */
	bool first_only;		/* stop at the first violation */
	const char *only;		/* subjects with this in their names; NULL for all */
	int home, away;			/* two CPUs; the same one where there is no other */
};

extern struct options options;

/* Whether a subject is asked for, and can run here. */
bool is_wanted(const struct subject *subject);

/* Whether a conflict is to be tried; inside: in the middle of the section. */
bool is_tried(const struct subject *subject, const struct input *input,
		const struct conflict *conflict, bool inside);

/* With options.least, whether a subject needs no more at an instruction, and that it does not. */
bool is_done(const struct subject *subject, enum way way, uintptr_t pc);
void set_done(const struct subject *subject, enum way way, uintptr_t pc);

/* Whether it is one of the conflicts that the operation is tried with at every point. */
bool is_own(const struct subject *subject, const struct conflict *conflict);

/* Both return false where this way is not allowed, with the reason printed. */
bool walk_subjects(void);
bool inject_subjects(void);

#endif /* ABORT_H */
