/* SPDX-License-Identifier: MIT */
/*
 * ops-support.h: what the tests of the operations share. They are C and C++, and may be compiled
 * with RSEQ_GET_ABI_OVERRIDE: then they run a second time on an area that the kernel knows nothing
 * about, so that every instruction of an operation is tried also where there is no rseq.
 */
#ifndef OPS_SUPPORT_H
#define OPS_SUPPORT_H

#include "every-op.h"
#include "support.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

/* Tries of an operation that the kernel aborts: nothing goes on that would abort so many. */
#define MAX_TRIES	10000

#define ARRAY_SIZE(array)	((int)(sizeof(array) / sizeof((array)[0])))

/* DO(result, an operation on ops_id(...)) tries again when it is aborted. */
#define DO(result, operation)								\
	do {										\
		int tries = 0;								\
											\
		do										\
			(result) = (operation);						\
		while ((result) < 0 && ++tries < MAX_TRIES);				\
	} while (0)

#ifdef RSEQ_GET_ABI_OVERRIDE

static struct rseq_abi made_up_area, nobodys_area;
static bool areas_are_made_up;
static __thread bool has_area;

struct rseq_abi *rseq_get_abi(void)
{
	if (!areas_are_made_up)
		return rseq_get_abi_slow();
	return has_area ? &made_up_area : &nobodys_area;
}

/* Looks to the operations as if this thread, and no other, were registered. */
static inline void ops_make_up_areas(void)
{
	nobodys_area.cpu_id = (uint32_t)RSEQ_ABI_CPU_ID_UNINITIALIZED;
	made_up_area.cpu_id = 3;
	made_up_area.mm_cid = 5;
	rseq_size = offsetof(struct rseq_abi, slice_ctrl);
	has_area = true;
	areas_are_made_up = true;
}

#else

static const bool areas_are_made_up = false;

#endif

/* The value that an operation's cpu argument must have to commit now. */
static inline int ops_id(const struct ops *ops)
{
	return ops->mode == RSEQ_PERCPU_CPU_ID ? (int)rseq_cpu_start() :
			(int)rseq_current_mm_cid();
}

static inline bool ops_can_run(const struct ops *ops)
{
	return ops->mode == RSEQ_PERCPU_CPU_ID ? rseq_thread_registered() :
			rseq_mm_cid_available();
}

/*
 * The rows of every_op that can commit in this thread, one a call; NULL after the last. Skips the
 * test if there is none.
 */
static inline const struct ops *ops_next(const struct ops *ops)
{
	const struct ops *end = every_op + OPS_NR;
	bool first = !ops;

	for (ops = first ? every_op : ops + 1; ops < end; ops++) {
		if (ops_can_run(ops)) {
			run_time_mode = ops->mode;
			return ops;
		}
	}
	if (first) {
		print_message("no operation can commit here: this thread has no rseq\n");
		skip();
	}
	return NULL;
}

/* Both CPU modes want a thread that stays where it is. */
static inline int ops_pin(void **state)
{
	struct support_cpus cpus;

	(void)state;
	support_find_cpus(&cpus);
	support_move(0, cpus.cpu[0]);
	rseq_register_current_thread();
	return 0;
}

static int (*ops_run)(void);

static inline int ops_run_on_both(void)
{
	int status = ops_run();

#ifdef RSEQ_GET_ABI_OVERRIDE
	if (!status) {
		printf("in an area that the kernel does not know\n");
		ops_make_up_areas();
		status = ops_run();
	}
#endif
	return status;
}

static inline int ops_main(char **argv, int (*run)(void))
{
	ops_run = run;
	return support_run_both_ways(argv, ops_run_on_both);
}

#endif /* OPS_SUPPORT_H */
