/* SPDX-License-Identifier: MIT */
/*
 * ops.h: the operations of rseq/ops.h; their functions are in ops.c, their data in ops-data.c.
 */
#ifndef OPS_H
#define OPS_H

#include "data.h"

enum {
	LOAD_CBNE_STORE,
	LOAD_CBEQ_STORE_ADD_LOAD_STORE,
	LOAD_ADD_STORE,
	LOAD_ADD_LOAD_LOAD_ADD_STORE,
	LOAD_CBNE_LOAD_CBNE_STORE,
	LOAD_CBNE_STORE_STORE,
	LOAD_CBNE_MEMCPY_STORE,
	LOAD_CBNE_STORE_CONSTANT,	/* with operands that are constants: these */
	LOAD_ADD_STORE_CONSTANT,
	NR_OPS
};

#define SECOND_OLD	7
#define SECOND_NEW	9
#define ADDEND		16

extern const struct operation ops[NR_OPS];

/* In ops.c, which each mutant has its own of. */
extern const struct subject ops_subjects[];

#endif /* OPS_H */
