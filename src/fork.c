/* SPDX-License-Identifier: MIT */
/*
 * fork.c: handlers of fork(), which take memory that may not be to be had.
 */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define DONE	(-1)

/*
 * pthread_once() would do, if it could be told of a failure. A child of fork() does not wait for
 * the thread of its parent that was about to do this.
 */
int rseq_watch_fork(pid_t *state, void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	pid_t seen = __atomic_load_n(state, __ATOMIC_ACQUIRE), self;
	int error;

	if (seen == DONE)
		return 0;
	self = getpid();
	while (seen == self || !__atomic_compare_exchange_n(state, &seen, self, false,
							    __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
		if (seen == DONE)
			return 0;
		if (seen == self)
			sched_yield();
		seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
	}
	error = pthread_atfork(prepare, parent, child);
	__atomic_store_n(state, error ? 0 : DONE, __ATOMIC_RELEASE);
	if (!error)
		return 0;
	errno = error;
	return -1;
}
