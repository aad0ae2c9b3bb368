/* SPDX-License-Identifier: MIT */
/*
 * percpu.c: a pool for each size class of rows, made when it is first needed and kept for ever.
 */
#include "percpu.h"

#include <rseq/fence.h>
#include <rseq/ops.h>

#include <errno.h>
#include <limits.h>
#include <stddef.h>

#define MIN_ORDER	3
#define MAX_ORDER	15

static struct rseq_mempool *pools[MAX_ORDER + 1];	/* atomic */

#define FOUR(x)		x, x, x, x

static pthread_mutex_t locks[] = {
	FOUR(FOUR(PTHREAD_MUTEX_INITIALIZER)),
};
#define NR_LOCKS	(sizeof(locks) / sizeof(locks[0]))

/* Signals as they were before fork() took all locks; only who holds these looks at it. */
static sigset_t signals_before_fork;

/* How often handlers of this thread's fork() were called; see rseq_watch_fork(). */
static rseq_static_tls __thread unsigned int nr_forks;

static void block_signals(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, before);
}

static void before_fork(void)
{
	sigset_t before;

	if (nr_forks++)
		return;
	block_signals(&before);
	for (size_t i = 0; i < NR_LOCKS; i++)
		pthread_mutex_lock(&locks[i]);
	signals_before_fork = before;
}

static void after_fork(void)
{
	sigset_t before = signals_before_fork;

	if (--nr_forks)
		return;
	for (size_t i = 0; i < NR_LOCKS; i++)
		pthread_mutex_unlock(&locks[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static pthread_mutex_t *lock_of(const void *object)
{
	return &locks[((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15ULL >> 60];
}

_Static_assert(NR_LOCKS == 16, "four bits choose a lock");

void rseq_fallback_lock(const void *object, sigset_t *signals)
{
	block_signals(signals);
	pthread_mutex_lock(lock_of(object));
}

void rseq_fallback_unlock(const void *object, const sigset_t *signals)
{
	pthread_mutex_unlock(lock_of(object));
	pthread_sigmask(SIG_SETMASK, signals, NULL);
}

/* Two threads may make a pool for the same size class; the second is thrown away, empty. */
static struct rseq_mempool *pool_of(int order)
{
	struct rseq_mempool *pool = __atomic_load_n(&pools[order], __ATOMIC_ACQUIRE), *other = NULL;
	int nr_cpus = rseq_get_max_nr_cpus();
	const struct rseq_mempool_attr attr = {
		.stride = RSEQ_PERCPU_STRIDE,
		.row_len = RSEQ_PERCPU_STRIDE,
		.max_nr_cpus = 2 * nr_cpus,
		.policy = RSEQ_MEMPOOL_POPULATE_COW_ZERO,
		/* Whose sections would have threads registered that make or free something. */
		.without_magazines = true,
	};

	if (pool)
		return pool;
	if (nr_cpus > RSEQ_PERCPU_MAX_NR_CPUS) {
		errno = ENOMEM;
		return NULL;
	}
	pool = rseq_mempool_create("librseq", (size_t)1 << order, &attr);
	if (pool && !__atomic_compare_exchange_n(&pools[order], &other, pool, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		rseq_mempool_destroy(pool);
		pool = other;
	}
	return pool;
}

void *rseq_percpu_zalloc(size_t len)
{
	static pid_t watch;
	struct rseq_mempool *pool;
	int order = MIN_ORDER;

	while (order <= MAX_ORDER && (size_t)1 << order < len)
		order++;
	if (order > MAX_ORDER) {
		errno = EINVAL;
		return NULL;
	}
	pool = pool_of(order);
	/* After the pools' own handlers, so that fork() takes these locks before theirs. */
	if (!pool || rseq_watch_fork(&watch, before_fork, after_fork, after_fork))
		return NULL;
	return (void *)rseq_mempool_percpu_zmalloc(pool);
}

void rseq_percpu_free(void *rows)
{
	if (rows)
		rseq_mempool_free_item(rseq_range_of(rows, RSEQ_PERCPU_STRIDE), rows);
}

int rseq_percpu_fallback_cpu(void)
{
	int saved_errno = errno;
	int cpu = rseq_fallback_current_cpu();

	errno = saved_errno;
	return cpu >= 0 && cpu < rseq_get_max_nr_cpus() ? cpu : 0;
}

int rseq_percpu_set_id(uintptr_t *id, enum rseq_percpu_mode mode)
{
	unsigned int features;

	rseq_init_once();
	features = rseq_active_feature_size(rseq_process_length());
	if (mode != RSEQ_PERCPU_CPU_ID && mode != RSEQ_PERCPU_MM_CID) {
		errno = EINVAL;
		return -1;
	}
	*id = RSEQ_ID_CPU_ID;
	if (mode == RSEQ_PERCPU_MM_CID && features >= offsetof(struct rseq_abi, slice_ctrl))
		*id = RSEQ_ID_MM_CID;
	return 0;
}

void rseq_count_abort(void)
{
	__atomic_fetch_add(&rseq_abort_count, 1, __ATOMIC_RELAXED);
}

enum rseq_retry rseq_percpu_retry(const struct rseq_rows *rows, size_t gate)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(rows);
	uintptr_t *at, state;
	int row;

	if (!rseq_thread_registered())
		return rseq_thread_register_lazily() ? RSEQ_RETRY_OPENED : RSEQ_RETRY_NEVER;
	row = rseq_rows_current(rows);
	at = (uintptr_t *)((char *)rseq_percpu_row(rows->first, row) + gate);
	state = __atomic_load_n(at, __ATOMIC_ACQUIRE);
	if (state == RSEQ_GATE_CLOSED)
		return RSEQ_RETRY_CLOSED;
	if (state != RSEQ_GATE_RELEASED)
		return RSEQ_RETRY_ABORTED;
	if (rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, (intptr_t *)at, (intptr_t)state, 0,
				      row) < 0)
		return RSEQ_RETRY_ABORTED;
	/* It may have been released another time, by whom this thread is behind now, too. */
	rseq_smp_rmb();
	return RSEQ_RETRY_OPENED;
}

int rseq_percpu_set(const struct rseq_rows *rows, int id, uintptr_t *word, uintptr_t value)
{
	enum rseq_percpu_mode mode = rseq_rows_mode(rows);
	intptr_t now = (intptr_t)RSEQ_READ_ONCE(*word);

	return rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, (intptr_t *)word, now,
					 (intptr_t)value, id);
}

int rseq_percpu_fence(const struct rseq_rows *rows, int row)
{
	return row >= 0 && rseq_rows_by_cpu(rows) ? rseq_fence_cpu(row) : rseq_fence_all();
}
