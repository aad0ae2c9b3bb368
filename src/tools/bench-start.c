/* SPDX-License-Identifier: MIT */
/*
 * bench-start.c: how long a program takes that starts and ends at once, with the library loaded
 * into it. What loads it is LD_PRELOAD, so that the program is the same; what it is compared to is
 * another shared object with a constructor, since loading any costs something.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM		"/bin/true"
#define NR_STARTS	8

/* The environment in which the program is started. */
struct preload {
	char variable[PATH_MAX + 16];
	char **environment;
};

static int prepare(struct bench_run *run, int (*find)(char *path, size_t size))
{
	char path[PATH_MAX];
	struct preload *preload;

	if (find && find(path, sizeof(path))) {
		run->missing = "no shared object to load";
		return -1;
	}
	if (access(PROGRAM, X_OK)) {
		run->missing = PROGRAM " is not there";
		return -1;
	}
	preload = calloc(1, sizeof(*preload));
	if (!preload)
		return -1;
	snprintf(preload->variable, sizeof(preload->variable), "LD_PRELOAD=%s", find ? path : "");
	preload->environment = bench_environment(preload->variable, NULL);
	if (!preload->environment) {
		free(preload);
		return -1;
	}
	run->state = preload;
	return 0;
}

static int find_plain(char *path, size_t size)
{
	return bench_module("rseqctl-bench-plain", path, size);
}

static int prepare_library(struct bench_run *run)
{
	return prepare(run, bench_library);
}

static int prepare_plain(struct bench_run *run)
{
	return prepare(run, find_plain);
}

static int prepare_none(struct bench_run *run)
{
	return prepare(run, NULL);
}

static void finish(struct bench_run *run)
{
	struct preload *preload = run->state;

	free(preload->environment);
	free(preload);
}

/* The fastest of a few, in microseconds: a start is disturbed easily. */
static double start(struct bench_run *run)
{
	char name[] = PROGRAM, *arguments[] = { name, NULL };
	const struct preload *preload = run->state;
	double fastest = -1;

	for (int i = 0; i < NR_STARTS; i++) {
		double before = bench_now(), taken;
		int status;
		pid_t pid;

		if (posix_spawn(&pid, PROGRAM, NULL, NULL, arguments, preload->environment))
			return -1;
		while (waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				return -1;
		taken = bench_now() - before;
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			return -1;
		if (fastest < 0 || taken < fastest)
			fastest = taken;
	}
	return fastest / 1000;
}

static const struct bench_variant starts[] = {
	{ .name = "/bin/true with librseq.so", .setup = prepare_library, .teardown = finish,
	  .measure = start },
	{ .name = "with a plain .so", .setup = prepare_plain, .teardown = finish,
	  .measure = start },
	{ .name = "with neither", .setup = prepare_none, .teardown = finish, .measure = start },
	{ 0 },
};

const struct bench bench_start[] = {
	{ .name = "start", .area = "start-up of a program", .unit = "us", .max_ratio = 1.02,
	  .adds = true, .variants = starts },
	{ 0 },
};
