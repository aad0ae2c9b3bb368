/* SPDX-License-Identifier: MIT */
/*
 * What the operations return, and what they leave alone: committed, a comparison that says no, and
 * a number that is not that of this thread's CPU; and in a thread without rseq.
 */
#include "check.h"

/* The last one is not there on every architecture. */
#ifdef rseq_arch_has_load_add_load_load_add_store
# define NR_OPERATIONS	7
#else
# define NR_OPERATIONS	6
#endif

/* Another number than this thread's, whatever CPU it runs on. */
#define NO_CPU		(1 << 20)

struct words {
	intptr_t v, v2, load, *counter, aside;
	struct words *self;
};

static void reset(struct words *words)
{
	memset(words, 0, sizeof(*words));
	words->v = 5;
	words->v2 = 6;
	words->counter = &words->aside;
	words->self = words;
}

/* Each operation, so that it commits, or its comparisons say no. */
static int operate(int operation, enum rseq_percpu_mode mode, struct words *w, bool no, int cpu)
{
	intptr_t expect = no ? 4 : 5, source = 9;

	switch (operation) {
	case 0:
		return rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, &w->v, expect, 9, cpu);
	case 1:
		/* What v points to, at an offset. */
		w->v = (intptr_t)w;
		return rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED, mode, &w->v,
				no ? (intptr_t)w : 0, (long)offsetof(struct words, v2), &w->load,
				cpu);
	case 2:
		return rseq_load_add_store__ptr(RSEQ_MO_RELAXED, mode, &w->v, 4, cpu);
	case 3:
		return rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, &w->v, 5,
				&w->v2, no ? 7 : 6, 9, cpu);
	case 4:
		return rseq_load_cbne_store_store__ptr(RSEQ_MO_RELEASE, mode, &w->v, expect,
				&w->load, 9, 9, cpu);
	case 5:
		return rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, mode, &w->v, expect,
				&w->load, &source, sizeof(source), 9, cpu);
	default:
#ifdef rseq_arch_has_load_add_load_load_add_store
		return rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, mode,
				(intptr_t *)&w->self, (long)offsetof(struct words, counter), 9,
				cpu);
#else
		return -1;
#endif
	}
}

/* What each operation commits to. */
static void check_committed(int operation, const struct words *w)
{
	check(w->v == (operation == 1 ? 6 : operation == 6 ? 5 : 9));
	check(w->v2 == 6);
	if (operation == 1)
		check(w->load == (intptr_t)w);
	if (operation == 4 || operation == 5)
		check(w->load == 9);
	check(w->aside == (operation == 6 ? 9 : 0));
}

/* The first word is the one that commits. */
static void check_unchanged(int operation, const struct words *w)
{
	check(w->v == (operation == 1 ? (intptr_t)w : 5));
	check(w->v2 == 6 && w->aside == 0);
}

static bool compares(int operation)
{
	return operation != 2 && operation != 6;
}

static void try_operation(int operation, enum rseq_percpu_mode mode)
{
	struct words words;
	int result;

	/* An aborted try is repeated, and there are few. */
	do {
		reset(&words);
		result = operate(operation, mode, &words, false, start_cpu(mode));
	} while (result == -1);
	check(result == 0);
	check_committed(operation, &words);

	do {
		reset(&words);
		result = operate(operation, mode, &words, true, start_cpu(mode));
	} while (result == -1);
	check(result == compares(operation));
	if (compares(operation))
		check_unchanged(operation, &words);
	for (int i = 0; i < 1000; i++) {
		reset(&words);
		check(operate(operation, mode, &words, false, i % 2 ? NO_CPU : -1) == -1);
		check_unchanged(operation, &words);
	}
}

/* Any number is wrong where there is none, and those that are read from the area most of all. */
static void try_without_rseq(int operation)
{
	const int cpus[] = { 0, -1, -2, 1, NO_CPU, (int)rseq_cpu_start(), rseq_current_cpu_raw() };

	for (int mode = 0; mode < 2; mode++) {
		for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
			struct words words;

			reset(&words);
			check(operate(operation, (enum rseq_percpu_mode)mode, &words, false,
				      cpus[i]) == -1);
			check_unchanged(operation, &words);
		}
	}
}

static void *try_all(void *unused)
{
	bool registered;

	(void)unused;
	if (rseq_current_cpu_raw() < 0)
		for (int i = 0; i < NR_OPERATIONS; i++)
			try_without_rseq(i);
	registered = enter_thread();
	for (int m = 0; registered && m < nr_modes(); m++)
		for (int i = 0; i < NR_OPERATIONS; i++)
			try_operation(i, (enum rseq_percpu_mode)m);
	leave_thread(registered);
	if (rseq_current_cpu_raw() < 0)
		for (int i = 0; i < NR_OPERATIONS; i++)
			try_without_rseq(i);
	return NULL;
}

int main(void)
{
	try_all(NULL);
	run_threads(8, try_all);
	return finish();
}
