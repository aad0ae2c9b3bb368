/* SPDX-License-Identifier: MIT */
/*
 * bench-child.c: processes that are measured from outside, or that measure under other
 * circumstances than this one's.
 */
#define _GNU_SOURCE		/* dladdr() */

#include "bench.h"

#include <rseq/thread.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Modules are beside the program before it is installed, and in a directory of their own then. */
int bench_module(const char *name, char *path, size_t size)
{
	static const char *const directories[] = { "", "../lib/librseq/", BENCH_MODULES "/" };
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (length < 0)
		return -1;
	program[length] = '\0';
	slash = strrchr(program, '/');
	if (!slash)
		return -1;
	slash[1] = '\0';
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		const char *base = directories[i][0] == '/' ? "" : program;
		int written = snprintf(path, size, "%s%s%s.so", base, directories[i], name);

		if (written > 0 && (size_t)written < size && !access(path, R_OK))
			return 0;
	}
	return -1;
}

int bench_library(char *path, size_t size)
{
	Dl_info library;

	/* In a program that is linked statically this names the program. */
	if (!dladdr((const void *)(uintptr_t)rseq_get_abi_slow, &library) || !library.dli_fname ||
	    !strstr(library.dli_fname, ".so"))
		return -1;
	return snprintf(path, size, "%s", library.dli_fname) < (int)size ? 0 : -1;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* The environment with another LD_PRELOAD, and one more variable or NULL. */
char **bench_environment(char *preload, char *variable)
{
	size_t nr = 0, kept = 1;
	char **environment;

	while (environ[nr])
		nr++;
	environment = calloc(nr + 3, sizeof(*environment));
	if (!environment)
		return NULL;
	environment[0] = preload;
	if (variable)
		environment[kept++] = variable;
	for (size_t i = 0; i < nr; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11))
			environment[kept++] = environ[i];
	return environment;
}

/* Runs this program with the arguments, in that environment, with its output in a pipe. */
static pid_t spawn_self(char **arguments, char **environment, int *output)
{
	posix_spawn_file_actions_t actions;
	int pipe_ends[2], error;
	pid_t pid;

	if (pipe(pipe_ends))
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
	posix_spawn_file_actions_addclose(&actions, pipe_ends[1]);
	error = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environment);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_ends[1]);
	if (error) {
		close(pipe_ends[0]);
		return -1;
	}
	*output = pipe_ends[0];
	return pid;
}

/* What print_raw() of bench.c writes. */
static bool read_figures(FILE *stream, struct bench_result *result)
{
	for (unsigned int i = 0; i < result->nr_variants; i++) {
		struct bench_figures *figures = &result->figures[i];

		if (fscanf(stream, "%lf %lf %lf", &figures->min, &figures->median,
			   &figures->ratio) != 3)
			return false;
	}
	return fscanf(stream, "%u", &result->rounds) == 1;
}

static const char *simulate(const struct bench *bench, const struct bench_effort *effort,
		struct bench_result *result)
{
	char module[PATH_MAX], preload[PATH_MAX + 16], cpus[48], rounds[16], sample[32];
	char words[][12] = { "rseqctl", "bench", "--raw", "--rounds", "--sample", "counter-sum" };
	char *arguments[] = { words[0], words[1], words[2], words[3], rounds, words[4], sample,
			      words[5], NULL };
	char **environment;
	bool complete;
	FILE *stream;
	int output;
	pid_t pid;

	if (bench_module("rseqctl-bench-plain", module, sizeof(module)))
		return "rseqctl-bench-plain.so is not there";
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", module);
	snprintf(cpus, sizeof(cpus), "RSEQCTL_BENCH_CPUS=%u", bench->cpus);
	snprintf(rounds, sizeof(rounds), "%u", effort->rounds);
	snprintf(sample, sizeof(sample), "%.0f", effort->sample);
	environment = bench_environment(preload, cpus);
	if (!environment)
		return "no memory";
	pid = spawn_self(arguments, environment, &output);
	free(environment);
	if (pid < 0)
		return "no process for so many CPUs can be made";
	stream = fdopen(output, "r");
	complete = stream && read_figures(stream, result);
	if (stream)
		fclose(stream);
	else
		close(output);
	return wait_for(pid) || !complete ? "the process for so many CPUs failed" : NULL;
}

/*
 * As bench_measure() for one thread, in a process where the library finds another number of
 * possible CPUs.
 */
void bench_simulate(const struct bench *bench, const struct bench_effort *effort,
		struct bench_result *result)
{
	const char *missing;

	memset(result, 0, sizeof(*result));
	result->bench = bench;
	result->nr_threads = 1;
	result->rounds = effort->rounds;
	while (bench->variants[result->nr_variants].name)
		result->nr_variants++;
	missing = simulate(bench, effort, result);
	for (unsigned int i = 0; missing && i < result->nr_variants; i++)
		result->figures[i].missing = missing;
}

static double resident_kib(void)
{
	FILE *stream = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	double kib = -1;

	/* Private pages only: what is shared with the parent was there before. */
	while (stream && fgets(line, sizeof(line), stream)) {
		double value;

		if (sscanf(line, "Private_Dirty: %lf kB", &value) == 1)
			kib = value;
	}
	if (stream)
		fclose(stream);
	return kib;
}

static double grow(struct bench_run *run, bool (*prepare)(struct bench_run *run),
		bool (*use)(struct bench_run *run))
{
	double before;

	if (prepare && !prepare(run))
		return -1;
	resident_kib();		/* what reading it takes is there after the first time */
	before = resident_kib();
	if (before < 0 || !use(run))
		return -1;
	return resident_kib() - before;
}

/* KiB of memory that a process becomes larger by when it does this, once it is prepared. */
double bench_memory(struct bench_run *run, bool (*prepare)(struct bench_run *run),
		bool (*use)(struct bench_run *run))
{
	double kib = -1;
	int ends[2];
	pid_t pid;

	if (pipe(ends))
		return -1;
	pid = fork();
	if (pid == 0) {
		kib = grow(run, prepare, use);
		_exit(write(ends[1], &kib, sizeof(kib)) != (ssize_t)sizeof(kib));
	}
	close(ends[1]);
	if (pid > 0 && (read(ends[0], &kib, sizeof(kib)) != (ssize_t)sizeof(kib) || wait_for(pid)))
		kib = -1;
	close(ends[0]);
	return kib;
}
