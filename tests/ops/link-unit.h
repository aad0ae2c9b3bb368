/* SPDX-License-Identifier: MIT */
/*
 * link-unit.h: what the units of the program that link.sh makes have in common.
 */
#ifndef LINK_UNIT_H
#define LINK_UNIT_H

#include <rseq/rseq.h>

/* What the functions of a unit change; every one of them adds one to v when it commits. */
struct link_data {
	intptr_t v, v2, base, slot, head, load;
	intptr_t links[2];
	char src[200], dst[200];
};

/* Returns what its operation did. */
typedef int link_function(struct link_data *data, int cpu);

RSEQ_BEGIN_DECLS
/* The functions of a unit, up to a NULL. */
extern link_function *const functions_of_unit1[], *const functions_of_unit2[];

/*
 * Returns how much is wrong with the tables of the module that this function is a part of. Missing
 * where the tables are not to be looked at.
 */
__attribute__((weak)) int check_tables(void);
RSEQ_END_DECLS

#endif /* LINK_UNIT_H */
