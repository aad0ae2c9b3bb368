/* SPDX-License-Identifier: MIT */
/*
 * bench.h: what the files of `rseqctl bench` share.
 *
 * A benchmark compares several ways of doing the same thing: this library's, which comes first, a
 * yardstick, which comes second, and any number of others. In each round all of them run one after
 * another for a few milliseconds, so that what disturbs the machine disturbs them alike.
 */
#ifndef BENCH_H
#define BENCH_H

#include <rseq/compiler.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Each loop exists this many times, shifted against the lines of the instruction cache. */
#define BENCH_ALIGNMENTS	4

#define BENCH_MAX_VARIANTS	8
#define BENCH_MAX_ROUNDS	256
#define BENCH_MAX_THREADS	1024
#define BENCH_MAX_COUNTS	16

/* Fits every cache line, and what is fetched along with it. */
#define BENCH_LINE		128

struct bench;
struct bench_run;

/* Does nr operations, a multiple of 64, on the calling thread. */
typedef void bench_loop(struct bench_run *run, uint64_t nr);

struct bench_variant {
	const char *name;
	/* 0, or -1 with run->missing: why this cannot run here. Both may be NULL. */
	int (*setup)(struct bench_run *run);
	void (*teardown)(struct bench_run *run);
	bench_loop *loops[BENCH_ALIGNMENTS];
	/* In place of loops: one in rseqctl-bench-peers.so. state is not for setup and teardown. */
	const char *peer;
	/*
	 * In place of loops, or to run the peer's: measures once. A value in the benchmark's unit,
	 * or a negative one.
	 */
	double (*measure)(struct bench_run *run);
};

/* One variant in use. */
struct bench_run {
	const struct bench *bench;
	const struct bench_variant *variant;
	unsigned int nr_threads;
	void *state;			/* of setup and teardown */
	const char *missing;
};

struct bench {
	const char *name;
	const char *area;		/* for people */
	const char *unit;		/* of all values: ns, us or KiB */
	/* What is aimed at, by the median ratio, by the value or by both; 0 for neither. */
	double max_ratio, max_value;
	bool against_all;		/* the ratio to each variant counts, not the yardstick's */
	unsigned int threads;		/* 0: one, bound to a CPU */
	unsigned int cpus;		/* that there seem to be; 0: as many as there are */
	unsigned int cpus_of_pool;	/* that a pool has rows for; 0: as many as there are */
	unsigned int bytes;		/* of what is copied or allocated, where that matters */
	bool scales;			/* threads may be any number */
	bool unbound;			/* a single thread is not bound to a CPU */
	bool whole;			/* the whole process's CPU time counts, not the loops' */
	bool adds;			/* what it takes more than others is told as well */
	bool once;			/* the value is the same in each round */
	const struct bench_variant *variants;	/* up to one without a name */
};

/* The benchmarks of each file, up to one without a name. */
extern const struct bench bench_cache[], bench_counter[], bench_list[], bench_lock[];
extern const struct bench bench_mempool[], bench_ops[], bench_refcount[], bench_ring[];
extern const struct bench bench_stack[], bench_start[], bench_fence[], bench_urcu[];
extern const struct bench *const bench_areas[];	/* all of these, up to NULL */

/* How long to measure. */
struct bench_effort {
	unsigned int rounds, thread_rounds;
	double sample, thread_sample;	/* ns that a variant runs for in a round */
};

struct bench_figures {
	const char *missing;	/* why there are none, or NULL */
	double min, median;	/* of all rounds, in the benchmark's unit */
	double ratio;		/* median over the rounds of this library's value to this one's */
	struct {		/* the difference of the two: of all rounds, half are in between */
		double median, low, high;
	} added;
};

struct bench_result {
	const struct bench *bench;
	unsigned int nr_variants, nr_threads, rounds;
	struct bench_figures figures[BENCH_MAX_VARIANTS];
	uint64_t aborts;	/* of sections, while this library's variant ran */
	int64_t preemptions;	/* of the thread, if there was one */
};

/* What a run was asked for, and what it has found. */
struct bench_report {
	struct bench_effort effort;
	struct bench_result *results;	/* the table */
	size_t nr_results;
	struct bench_result *curves;	/* for the plot: by number of threads, and of CPUs */
	size_t nr_curves;
	struct bench_machine {
		char cpu[128], kernel[256], compiler[128], rseq[128];
		int nr_cpus, nr_possible_cpus;
		double load_before, load_after;
		bool bound;		/* single threads were bound to a CPU */
	} machine;
};

/* bench-run.c */
void bench_measure(const struct bench *bench, unsigned int nr_threads,
		const struct bench_effort *effort, struct bench_result *result);
double bench_now(void);		/* ns of the monotonic clock */
double bench_cpu_time(void);	/* ns that the thread has used */
double bench_process_time(void);	/* and all threads */
double bench_median(double *values, size_t nr);
int bench_bind(void);		/* the thread to the CPU that it runs on: 0 or -1 */

/* bench-threads.c: ns of CPU time per operation, or negative with run->missing */
double bench_run_threads(struct bench_run *run, bench_loop *loop, uint64_t nr, double *elapsed);
unsigned int bench_nr_cpus(void);	/* that this process may use */

/* bench-child.c: processes that are measured, or do the measuring */
void bench_simulate(const struct bench *bench, const struct bench_effort *effort,
		struct bench_result *result);
double bench_memory(struct bench_run *run, bool (*prepare)(struct bench_run *run),
		bool (*use)(struct bench_run *run));
char **bench_environment(char *preload, char *variable);
int bench_module(const char *name, char *path, size_t size);	/* finds a shared object */
int bench_library(char *path, size_t size);			/* finds this library */

/* bench-peer.c: loops of other libraries */
int bench_peer_setup(struct bench_run *run);
void bench_peer_teardown(struct bench_run *run);
void bench_peer_loop(struct bench_run *run, uint64_t nr);

/* bench-machine.c */
void bench_describe(struct bench_machine *machine);
double bench_load(void);

/* bench-print.c */
int bench_format_target(const struct bench *bench, char *text, size_t size);
const char *bench_verdict(const struct bench_result *result);
void bench_print_text(const struct bench_report *report, FILE *stream);
void bench_print_markdown(const struct bench_report *report, FILE *stream);
void bench_print_list(const struct bench *const *chosen, size_t nr, FILE *stream);

/* bench-json.c */
void bench_print_json(const struct bench_report *report, FILE *stream);
void bench_list_json(const struct bench *const *chosen, size_t nr, FILE *stream);

/* bench-plot.c: 0, or -1 with a line on the standard error stream */
int bench_plot_possible(const char *path);
int bench_plot(const struct bench_report *report, const char *path);

/*
 * The loops of a variant: name_body(run, nr) four times, each behind another number of instructions
 * that do nothing. The empty statement keeps a compiler from merging them.
 */
#ifdef __x86_64__
# define BENCH_SHIFT_1	16
# define BENCH_SHIFT_2	32
# define BENCH_SHIFT_3	48
#else
# define BENCH_SHIFT_1	4
# define BENCH_SHIFT_2	8
# define BENCH_SHIFT_3	12
#endif

#define BENCH_LOOP(name, number, shift)						\
	__attribute__((noinline, aligned(64), patchable_function_entry(shift)))	\
	static void name##_##number(struct bench_run *run, uint64_t nr)		\
	{									\
		__asm__ __volatile__("" : : "i" (number));			\
		name##_body(run, nr);						\
	}

#define BENCH_LOOPS(name)							\
	BENCH_LOOP(name, 0, 0)							\
	BENCH_LOOP(name, 1, BENCH_SHIFT_1)					\
	BENCH_LOOP(name, 2, BENCH_SHIFT_2)					\
	BENCH_LOOP(name, 3, BENCH_SHIFT_3)

#define BENCH_VARIANT(variant, set_up, tear_down, loop)				\
	{									\
		.name = variant, .setup = set_up, .teardown = tear_down,	\
		.loops = { loop##_0, loop##_1, loop##_2, loop##_3 },		\
	}

/* A body that repeats statements, eight times a turn: what a turn costs is hidden behind them. */
#define BENCH_REPEAT(nr, ...)							\
	for (uint64_t bench_left = (nr); bench_left; bench_left -= 8) {		\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
		{ __VA_ARGS__ }							\
	}

#define BENCH_BODY(name)							\
	RSEQ_INLINE void name##_body(struct bench_run *run, uint64_t nr)

/* Makes the compiler compute a value that nobody needs, or forget what it knows of one. */
#define BENCH_USE(value)	__asm__ __volatile__("" : : "r" (value))
#define BENCH_HIDE(value)	__asm__ __volatile__("" : "+r" (value))

/*
 * The address of a thread-local variable in a register. Yardsticks use it: on some processors a
 * load from an absolute offset to the segment register waits many times longer for the store before
 * it, and compilers use either.
 */
#define BENCH_OWN(variable)							\
	__extension__ ({							\
		__typeof__(&(variable)) bench_own = &(variable);		\
										\
		BENCH_HIDE(bench_own);						\
		bench_own;							\
	})

#endif /* BENCH_H */
