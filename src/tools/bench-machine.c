/* SPDX-License-Identifier: MIT */
/*
 * bench-machine.c: what figures depend on.
 */
#define _GNU_SOURCE		/* getloadavg() */

#include "bench.h"

#include <rseq/info.h>
#include <rseq/thread.h>

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#ifdef __clang__
# define COMPILER	"clang " RSEQ_STRINGIFY(__clang_major__) "." \
			RSEQ_STRINGIFY(__clang_minor__) "." RSEQ_STRINGIFY(__clang_patchlevel__)
#else
# define COMPILER	"gcc " __VERSION__
#endif
#ifdef __OPTIMIZE__
# define OPTIMIZED	""
#else
# define OPTIMIZED	", not optimized"
#endif

double bench_load(void)
{
	double load;

	return getloadavg(&load, 1) == 1 ? load : -1;
}

/* x86-64 has a name of the model; aarch64 has numbers, of which these are what matters. */
static void describe_cpu(char *text, size_t size)
{
	FILE *stream = fopen("/proc/cpuinfo", "r");
	char line[512], implementer[32] = "", part[32] = "";

	snprintf(text, size, "unknown CPU");
	while (stream && fgets(line, sizeof(line), stream)) {
		char *value = strchr(line, ':');

		line[strcspn(line, "\n")] = '\0';
		if (!value || value[1] != ' ')
			continue;
		value += 2;
		if (!strncmp(line, "model name", 10)) {
			snprintf(text, size, "%s", value);
			break;
		}
		if (!strncmp(line, "CPU implementer", 15))
			snprintf(implementer, sizeof(implementer), "%.31s", value);
		if (!strncmp(line, "CPU part", 8)) {
			snprintf(part, sizeof(part), "%.31s", value);
			snprintf(text, size, "CPU implementer %s part %s", implementer, part);
			break;
		}
	}
	if (stream)
		fclose(stream);
}

static void describe_rseq(char *text, size_t size)
{
	struct rseq_info info = { .size = sizeof(info) };

	rseq_register_current_thread();
	if (rseq_get_info(&info))
		snprintf(text, size, "unknown");
	else if (info.owner == RSEQ_OWNER_NONE || info.owner == RSEQ_OWNER_FOREIGN)
		snprintf(text, size, "off: %s", rseq_reason_string(info.reason));
	else
		snprintf(text, size, "registered by %s, %u bytes, mode %s",
			 info.owner == RSEQ_OWNER_LIBC ? "libc" : "librseq",
			 info.registered_length, info.mode == RSEQ_MODE_V2 ? "v2" : "legacy");
}

void bench_describe(struct bench_machine *machine)
{
	struct utsname name;
	int written = -1;

	memset(machine, 0, sizeof(*machine));
	describe_cpu(machine->cpu, sizeof(machine->cpu));
	if (!uname(&name))
		written = snprintf(machine->kernel, sizeof(machine->kernel), "%s %s %s",
				   name.sysname, name.release, name.machine);
	if (written < 0)
		machine->kernel[0] = '\0';
	snprintf(machine->compiler, sizeof(machine->compiler), "%s%s", COMPILER, OPTIMIZED);
	describe_rseq(machine->rseq, sizeof(machine->rseq));
	machine->nr_cpus = (int)bench_nr_cpus();
	machine->nr_possible_cpus = rseq_get_max_nr_cpus();
	machine->load_before = bench_load();
	machine->load_after = machine->load_before;
}
