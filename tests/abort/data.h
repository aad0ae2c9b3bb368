/* SPDX-License-Identifier: MIT */
/*
 * data.h: what the operations work on, and a comparison with what they must make of it. All of it
 * is shared with the processes of the test.
 */
#ifndef DATA_H
#define DATA_H

#include "subjects.h"

#define MAX_IDS		16
#define MAX_STATE	2048		/* bytes of all regions of one id */

/* The regions of each known id, one behind the other. */
struct state {
	int nr;
	int id[MAX_IDS];
	unsigned char bytes[MAX_IDS][MAX_STATE];
};

/* Ids are below this. */
int data_nr_ids(void);

/* Memory that all processes share, zeroed; NULL with errno where there is none. */
void *data_shared(size_t bytes);

/* Makes pages shared that are mapped already, with what is in them. Returns 0, or -1 with errno. */
int data_share(void *address, size_t bytes);

/* Makes the data of a structure; before any fork. Returns 0, or -1 with errno. */
int data_init(const struct structure *structure);

/* From here on, data are those that a subject works on with an input. */
void data_of(const struct subject *subject, const struct input *input);

/*
 * The ids whose data count: of data_begin() on, those that a thread of this mode may have on these
 * two CPUs. data_know() adds one, and returns false where there is no room for it.
 */
bool data_begin(enum rseq_percpu_mode mode, int home_cpu, int away_cpu);
bool data_know(int id);
bool data_knows(int id);

/* What rseq_vector_bytes must be in the process that runs a subject with this input. */
unsigned int data_vector_bytes(const struct input *input);

/* Gives all known ids the state that every trial begins with. */
void data_reset(void);
void data_save(struct state *state);
void data_restore(const struct state *state);

/* The operands of this input for the data of id. */
void call_prepare(struct call *call, const struct operation *operation, const struct input *input,
		int id);

/* Does a conflict; NULL is none. */
bool conflict_run(const struct conflict *conflict, enum rseq_percpu_mode mode, int id, runner *run);

/* What an operation does, in plain C, as its documentation says it. */
int model_run(const struct operation *operation, enum rseq_percpu_mode mode, struct call *call);

/* The operation itself, of the same mode and the first of that kind, repeated when aborted. */
int real_run(const struct operation *operation, enum rseq_percpu_mode mode, struct call *call);

/* One run of a subject that was interrupted once. */
struct trial {
	const struct subject *subject;
	const struct input *input;
	const struct conflict *conflict;
	int home;			/* the id at the interruption, and that of the conflict */
	int final;			/* the id of the last try */
	bool before;			/* the operation was over before the conflict */
	int result;
	intptr_t output;
};

/* Whether the data show that the operation has committed, in the trial's home. */
bool data_committed(const struct subject *subject, const struct input *input, int home);

/*
 * Compares the data and the result with those of a sequential run. Returns whether they are the
 * same; else why is what differs. The data are not preserved. An operation that finds its row by
 * the concurrency id may have had another one than the thread has by now: then final becomes that.
 */
bool data_judge(struct trial *trial, char *why, size_t size);

#endif /* DATA_H */
