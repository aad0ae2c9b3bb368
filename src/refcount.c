/* SPDX-License-Identifier: MIT */
/*
 * refcount.c: what a reference count does out of its section.
 *
 * Threads without rseq, and all threads once the count is not per CPU, add to the atomic word. That
 * has a bias until the rows are in it, so that no sum of puts brings it to zero before; and by its
 * bias one atomic look tells whether tryget comes before kill.
 */
#include "percpu.h"

#include <rseq/fence.h>
#include <rseq/refcount.h>

#include <errno.h>
#include <stdlib.h>

/* States. Sections by CPU keep off in all but the first, those by mm_cid in all but the second. */
#define PER_CPU		0U
#define PER_CID		RSEQ_REFCOUNT_PER_CID
#define ATOMIC		2U	/* for want of fences: nobody called kill */
#define KILLING		3U	/* sections may be under way still */
#define STAYED		4U	/* the same, as the fence has failed */
#define KILLED		5U	/* the rows are in the atomic word, or will be at once */

struct rseq_refcount *rseq_refcount_create(void (*release)(void *arg), void *arg)
{
	return rseq_refcount_create_mode(release, arg, RSEQ_PERCPU_CPU_ID);
}

struct rseq_refcount *rseq_refcount_create_mode(void (*release)(void *arg), void *arg,
		enum rseq_percpu_mode mode)
{
	struct rseq_refcount *ref;
	struct rseq_rows rows;

	if (!release) {
		errno = EINVAL;
		return NULL;
	}
	if (rseq_percpu_set_id(&rows.id, mode))
		return NULL;
	ref = aligned_alloc(_Alignof(struct rseq_refcount), sizeof(*ref));
	if (!ref)
		return NULL;
	*ref = (struct rseq_refcount) {
		.state = !rseq_fence_has_membarrier() ? ATOMIC :
			 rseq_rows_by_cpu(&rows) ? PER_CPU : PER_CID,
		.rows = rseq_percpu_zalloc(sizeof(intptr_t)),
		.release = release,
		.arg = arg,
		.count = RSEQ_REFCOUNT_BIAS + 1,
	};
	if (!ref->rows) {
		free(ref);
		return NULL;
	}
	/* Sections, inlined behind it by a linker, do not tell the compiler what they read. */
	rseq_smp_wmb();
	return ref;
}

void rseq_refcount_destroy(struct rseq_refcount *ref)
{
	int saved_errno = errno;

	if (!ref)
		return;
	rseq_percpu_free(ref->rows);
	free(ref);
	errno = saved_errno;
}

static uintptr_t state_of(const struct rseq_refcount *ref)
{
	return __atomic_load_n(&ref->state, __ATOMIC_ACQUIRE);
}

/* Whether sections of that state may add. */
static bool is_counted_by(const struct rseq_refcount *ref, uintptr_t state)
{
	return state <= PER_CID && state_of(ref) == state;
}

/* Whether it was added in a section. Not static, so that a test finds it. */
bool rseq_refcount_add_again(struct rseq_refcount *ref, intptr_t count) rseq_hidden;

__attribute__((noinline))
bool rseq_refcount_add_again(struct rseq_refcount *ref, intptr_t count)
{
	const uintptr_t state = state_of(ref);
	bool tried = state == PER_CPU;		/* by the caller */

	for (int try = 0; try < RSEQ_MAX_TRIES && is_counted_by(ref, state); try++, tried = true) {
		if (tried && rseq_thread_registered())
			rseq_count_abort();
		else if (tried && !rseq_thread_register_lazily())
			return false;
		if (state == PER_CPU ? rseq_refcount_try_add(ref, count) :
		    rseq_refcount_try_add_cid(ref, count))
			return true;
	}
	return false;
}

/* Who has brought the count to zero is alone with it: it is for release to destroy it. */
static void add_atomically(struct rseq_refcount *ref, intptr_t count)
{
	void (*release)(void *arg) = ref->release;
	void *arg = ref->arg;

	if (!__atomic_add_fetch(&ref->count, count, __ATOMIC_ACQ_REL))
		release(arg);
}

void rseq_refcount_get_slow(struct rseq_refcount *ref)
{
	if (!rseq_refcount_add_again(ref, 1))
		__atomic_fetch_add(&ref->count, 1, __ATOMIC_RELAXED);
}

void rseq_refcount_put_slow(struct rseq_refcount *ref)
{
	if (!rseq_refcount_add_again(ref, -1))
		add_atomically(ref, -1);
}

bool rseq_refcount_tryget_slow(struct rseq_refcount *ref)
{
	intptr_t count;

	if (rseq_refcount_add_again(ref, 1))
		return true;
	count = __atomic_load_n(&ref->count, __ATOMIC_ACQUIRE);
	do {
		/* The bias is that much more than there can be references. */
		if (count < RSEQ_REFCOUNT_BIAS / 2)
			return false;
	} while (!__atomic_compare_exchange_n(&ref->count, &count, count + 1, true,
					      __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE));
	return true;
}

/* Makes the state killing. Returns what it was before, which may be killing or killed already. */
static uintptr_t begin_to_kill(struct rseq_refcount *ref)
{
	uintptr_t state = state_of(ref);

	while (state != KILLING && state != KILLED &&
	       !__atomic_compare_exchange_n(&ref->state, &state, KILLING, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_ACQUIRE))
		;
	return state;
}

static intptr_t sum_of_rows(const struct rseq_refcount *ref)
{
	uintptr_t sum = 0;

	for (int row = 0; row < rseq_get_max_nr_cpus(); row++) {
		const intptr_t *word = rseq_percpu_row(ref->rows, row);

		sum += (uintptr_t)__atomic_load_n(word, __ATOMIC_RELAXED);
	}
	return (intptr_t)sum;
}

int rseq_refcount_kill(struct rseq_refcount *ref)
{
	uintptr_t before;

	if (!ref) {
		errno = EINVAL;
		return -1;
	}
	before = begin_to_kill(ref);
	if (before == KILLING || before == KILLED) {
		errno = EALREADY;
		return -1;
	}
	if (before != ATOMIC && rseq_fence_all()) {
		__atomic_store_n(&ref->state, STAYED, __ATOMIC_RELEASE);
		return -1;
	}
	rseq_sanitize_acquire(&ref->release);
	__atomic_store_n(&ref->state, KILLED, __ATOMIC_RELEASE);
	add_atomically(ref, sum_of_rows(ref) - RSEQ_REFCOUNT_BIAS - 1);
	return 0;
}
