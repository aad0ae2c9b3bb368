/* SPDX-License-Identifier: MIT */
/*
 * data.h: what the operations work on, and what they must make of it.
 *
 * Each id has a word, which is the word that a real counter has for it, and a row. The word points
 * to a node of the row, so that every operation can work on it: it is the head of a list, a pointer
 * to a pointer, and a number that nodes are counted with. All of it is shared with the processes of
 * the test.
 */
#ifndef DATA_H
#define DATA_H

#include "subjects.h"

#define NR_NODES	8
#define NR_LISTED	4		/* nodes in the list at first */
#define COPY_BYTES	256
#define MAX_IDS		16

/* Nodes that are put in front of the list: by the subject, and by conflicting operations. */
enum { NEW_NODE = NR_LISTED, STORED_NODE, DOUBLE_NODE, OTHER_NODE };

struct node {
	intptr_t next;
	intptr_t *count;
};

_Static_assert(sizeof(struct node) == ADDEND, "an addition leads to the next node");

struct row {
	intptr_t second;		/* operand v2, and v of operations with constants */
	intptr_t loaded;		/* where an operation puts what it loaded */
	intptr_t conflict_loaded;	/* where a conflicting one does */
	intptr_t counts[NR_NODES];
	struct node nodes[NR_NODES];
	char copy[COPY_BYTES];
};

/* The word and the row of each known id. */
struct state {
	int nr;
	int id[MAX_IDS];
	intptr_t word[MAX_IDS];
	struct row row[MAX_IDS];
};

/* Operands that an operation is tried with. */
struct input {
	const char *name;
	int expect;			/* number of a node, -1 for NULL */
	intptr_t expect2;
	bool second;			/* v is row.second, and operands are numbers */
	size_t len;
	bool thorough;			/* try all conflicts */
	bool redundant;			/* others reach the same instructions */
};

/* What another thread, or a signal handler, does in the middle of an operation. */
enum conflict {
	CONFLICT_NONE,
	CONFLICT_STORE,			/* one of each operation of the library */
	CONFLICT_POP,
	CONFLICT_ADD,
	CONFLICT_ADD_AT,
	CONFLICT_DOUBLE,
	CONFLICT_STORE_STORE,
	CONFLICT_COPY,
	CONFLICT_COUNTER,
	CONFLICT_SECOND,		/* row.second alone */
	CONFLICT_ABA,			/* pop, pop, push the first one back */
	NR_CONFLICTS
};

extern const char *const conflict_names[NR_CONFLICTS];

/* Runs one operation. Returns what the operation returns. */
typedef int runner(enum operation operation, enum rseq_percpu_mode mode, struct call *call);

/* Makes the data; before any fork. Returns 0, or -1 with errno. */
int data_init(void);

/* The ids whose data count: at first none. Returns false where there is no room for one more. */
void data_forget(void);
bool data_know(int id);
bool data_knows(int id);

/* Gives all known ids the state that every trial begins with. */
void data_reset(void);
void data_save(struct state *state);
void data_restore(const struct state *state);

/* The inputs of a subject; returns their number. */
size_t inputs_of(const struct subject *subject, const struct input **inputs);

/* The operands of this input for the data of id. */
void call_prepare(struct call *call, enum operation operation, const struct input *input, int id);

/* The conflict that is the subject's own operation. */
enum conflict own_conflict(const struct subject *subject);

/* Whether a conflict can be had with the real operations of this mode. */
bool conflict_applies(enum conflict conflict, enum rseq_percpu_mode mode);

/*
 * Does the conflict to the data of id. Returns false if an operation found another id, which that
 * of model_run never does.
 */
bool conflict_run(enum conflict conflict, enum rseq_percpu_mode mode, int id, runner *run);

/* What an operation does, in plain C, as its documentation says it. */
int model_run(enum operation operation, enum rseq_percpu_mode mode, struct call *call);

/* The operation itself, of the same mode and relaxed, repeated when it is aborted. */
int real_run(enum operation operation, enum rseq_percpu_mode mode, struct call *call);

/* One run of a subject that was interrupted once. */
struct trial {
	const struct subject *subject;
	const struct input *input;
	enum conflict conflict;
	int home;			/* the id at the interruption, and that of the conflict */
	int final;			/* the id of the last try */
	bool before;			/* the operation was over before the conflict */
	int result;
};

/* Whether the data show that the operation has committed, in the trial's home. */
bool data_committed(const struct subject *subject, const struct input *input, int home);

/*
 * Compares the data and the result with those of a sequential run. Returns whether they are the
 * same; else why is what differs. The data are not preserved.
 */
bool data_judge(const struct trial *trial, char *why, size_t size);

#endif /* DATA_H */
