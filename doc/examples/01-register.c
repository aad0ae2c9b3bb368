/* SPDX-License-Identifier: MIT */
/*
 * 01-register: each thread registers, tells who registered it and on which CPU it is, and
 * unregisters.
 *
 * A registration that fails is no reason to end: rseq_current_cpu() then asks the kernel, and the
 * per-CPU structures do without rseq.
 */
#include <rseq/info.h>
#include <rseq/thread.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NR_THREADS 4

static const char *owner_name(int owner)
{
	switch (owner) {
	case RSEQ_OWNER_LIBC:
		return "libc";
	case RSEQ_OWNER_LIBRSEQ:
		return "librseq";
	case RSEQ_OWNER_SHARED:
		return "another library, for all that use its area";
	case RSEQ_OWNER_FOREIGN:
		return "another library, for itself";
	default:
		return "nobody";
	}
}

static void *run(void *name)
{
	struct rseq_info info = { .size = sizeof(info) };
	int result = rseq_register_current_thread();
	int error = errno;

	rseq_get_info(&info);
	printf("%s: on CPU %u, registered by %s\n", (const char *)name, rseq_current_cpu(),
	       owner_name(info.owner));
	if (result) {
		printf("%s: %s (%s)\n", (const char *)name, rseq_reason_string(info.reason),
		       strerror(error));
		return NULL;
	}

	/* Critical sections, per-CPU structures and rseq_current_cpu_raw() work from here ... */

	/* ... to here. For each registration that succeeded, one call. */
	if (rseq_unregister_current_thread())
		printf("%s: cannot unregister: %s\n", (const char *)name, strerror(errno));
	return NULL;
}

int main(void)
{
	pthread_t threads[NR_THREADS];
	char names[NR_THREADS][16];
	int i, error;

	for (i = 0; i < NR_THREADS; i++) {
		snprintf(names[i], sizeof(names[i]), "thread %d", i);
		error = pthread_create(&threads[i], NULL, run, names[i]);
		if (error) {
			fprintf(stderr, "01-register: %s: %s\n", names[i], strerror(error));
			return 1;
		}
	}
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
