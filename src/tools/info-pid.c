/* SPDX-License-Identifier: MIT */
/*
 * info-pid.c: `rseqctl info --pid`, the registrations of another process's threads.
 */
#include "rseqctl.h"
#include "info.h"
#include "json.h"
#include "info-pid.h"

#include <rseq/abi.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct process {
	pid_t pid;
	struct inspected_thread *threads;
	size_t nr_threads;
	size_t nr_silent;
	bool whole;			/* the report need not end early */
	struct address_space space;
};

/* Where an area lies. */
struct place {
	const char *owner;		/* none, libc, other or unknown */
	const char *mapping;		/* kind of the mapping, or NULL when not known */
	const char *path;		/* of the mapping, or NULL */
	bool in_tls;		/* lies where the thread pointer points to */
};

static bool failed(pid_t pid, const char *why)
{
	fprintf(stderr, "rseqctl info: process %d: %s\n", (int)pid, why);
	return false;
}

/* Reads the start of a file of a thread, without the newline at its end. */
static bool read_text(pid_t pid, pid_t tid, const char *file, char *text, size_t size)
{
	char path[96];
	size_t length = 0;
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, file);
	stream = fopen(path, "re");
	if (stream) {
		length = fread(text, 1, size - 1, stream);
		fclose(stream);
	}
	/* A name may hold newlines of its own. */
	if (length && text[length - 1] == '\n')
		length--;
	text[length] = '\0';
	return length > 0;
}

/* Whether a thread is there and runs, that is, has not ended while its process goes on. */
static bool thread_lives(pid_t pid, pid_t tid)
{
	char text[512], *state;

	if (!read_text(pid, tid, "stat", text, sizeof(text)))
		return false;
	state = strrchr(text, ')');
	return state && state[1] == ' ' && state[2] != 'Z' && state[2] != 'X';
}

/* The process that traces a thread already, or 0. */
static int tracer_of(pid_t pid, pid_t tid)
{
	char text[4096], *line;
	int tracer = 0;

	if (!read_text(pid, tid, "status", text, sizeof(text)))
		return 0;
	line = strstr(text, "\nTracerPid:");
	if (line)
		sscanf(line, " TracerPid: %d", &tracer);
	return tracer;
}

static bool refused(pid_t pid, pid_t tid, int error)
{
	char why[128];
	int tracer;

	switch (error) {
	case EIO:
	case EINVAL:
		return failed(pid, "this kernel does not tell how a thread is registered "
			      "(PTRACE_GET_RSEQ_CONFIGURATION, 5.13 and later)");
	case EPERM:
		tracer = tracer_of(pid, tid);
		if (tracer) {
			snprintf(why, sizeof(why), "thread %d is traced by process %d already",
				 (int)tid, tracer);
			return failed(pid, why);
		}
		return failed(pid, "no permission to trace it (see ptrace(2) on access modes)");
	default:
		snprintf(why, sizeof(why), "thread %d cannot be traced: %s", (int)tid,
			 strerror(error));
		return failed(pid, why);
	}
}

/* Adds a thread to the report. False if the report must end here; the reason is told. */
static bool add_thread(struct process *process, pid_t tid)
{
	struct inspected_thread *thread;
	int error;

	thread = realloc(process->threads, (process->nr_threads + 1) * sizeof(*thread));
	if (!thread)
		return failed(process->pid, strerror(errno));
	process->threads = thread;
	thread += process->nr_threads;
	memset(thread, 0, sizeof(*thread));
	thread->tid = tid;
	read_text(process->pid, tid, "comm", thread->comm, sizeof(thread->comm));
	error = tracer_inspect(thread);
	if (error && (error == ESRCH || !thread_lives(process->pid, tid)))
		return true;
	if (error)
		return refused(process->pid, tid, error);
	if (thread->state == THREAD_SILENT)
		process->nr_silent++;
	process->nr_threads++;
	return true;
}

static bool add_threads(struct process *process)
{
	char path[64];
	struct dirent *entry;
	bool more = true;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)process->pid);
	directory = opendir(path);
	if (!directory)
		return failed(process->pid, errno == ENOENT ? "no such process" : strerror(errno));
	while (more && (entry = readdir(directory)))
		if (isdigit((unsigned char)*entry->d_name))
			more = add_thread(process, (pid_t)atoi(entry->d_name));
	closedir(directory);
	if (more && !process->nr_threads)
		return failed(process->pid, "it has ended");
	return more;
}

static void *trace(void *argument)
{
	struct process *process = argument;

	process->whole = add_threads(process);
	return NULL;
}

/*
 * The tracer is a thread of its own: with its end, threads that did not stop are let go, before
 * this process waits for whoever reads the report. It inherits the signals that are blocked here.
 */
static void inspect(struct process *process)
{
	pthread_t tracer;
	int error;

	tracer_start();
	error = pthread_create(&tracer, NULL, trace, process);
	if (error)
		failed(process->pid, strerror(error));
	else
		pthread_join(tracer, NULL);
	tracer_stop();
}

static const char *kind_of(const struct mapping *mapping, const struct registers *registers)
{
	if (mapping->inode)
		return "file";
	if (!strcmp(mapping->path, "[heap]"))
		return "heap";
	if (!strcmp(mapping->path, "[stack]"))
		return "main_stack";
	if (registers->known && registers->stack_pointer >= mapping->start &&
	    registers->stack_pointer < mapping->end)
		return "thread_stack";
	return "anonymous";
}

static ptrdiff_t offset_of(const struct inspected_thread *thread)
{
	return (ptrdiff_t)((uintptr_t)thread->rseq.area - thread->registers.thread_pointer);
}

static void find_place(const struct process *process, const struct inspected_thread *thread,
		struct place *place)
{
	const struct address_space *space = &process->space;
	const struct mapping *mapping;

	place->owner = thread->state == THREAD_UNREGISTERED ? "none" : "unknown";
	place->mapping = place->path = NULL;
	place->in_tls = false;
	if (thread->state != THREAD_REGISTERED)
		return;
	if (thread->registers.known && space->libc_known)
		place->owner = space->libc_size && offset_of(thread) == space->libc_offset ?
				"libc" : "other";
	mapping = address_space_find(space, (uintptr_t)thread->rseq.area);
	if (!mapping)
		return;
	place->mapping = kind_of(mapping, &thread->registers);
	place->path = *mapping->path ? mapping->path : NULL;
	place->in_tls = thread->registers.known &&
			address_space_find(space, thread->registers.thread_pointer) == mapping;
}

static const char *mode_of(const struct inspected_thread *thread)
{
	if (thread->state != THREAD_REGISTERED)
		return "none";
	return thread->rseq.length > RSEQ_ABI_ORIG_SIZE ? "v2" : "legacy";
}

/* A name for a terminal, which must not be told to do something. */
static void print_name(FILE *stream, const char *name, int width)
{
	for (; *name; name++, width--)
		fputc(isprint((unsigned char)*name) ? *name : '?', stream);
	fprintf(stream, "%*s", width > 0 ? width : 0, "");
}

static void print_thread(const struct process *process, const struct inspected_thread *thread,
		FILE *stream)
{
	struct place place;

	find_place(process, thread, &place);
	fprintf(stream, "%8d  ", (int)thread->tid);
	print_name(stream, thread->comm, 16);
	if (thread->state == THREAD_SILENT) {
		fputs("  sleeps uninterruptibly in the kernel and cannot be asked\n", stream);
		return;
	}
	if (thread->state == THREAD_UNREGISTERED) {
		fputs("  not registered\n", stream);
		return;
	}
	fprintf(stream, "  %#-16" PRIx64 "  %6u  %#10x  %#5x  %-6s  %-7s", thread->rseq.area,
		thread->rseq.length, thread->rseq.signature, thread->rseq.flags, mode_of(thread),
		place.owner);
	if (place.in_tls)
		fprintf(stream, "  %+8td  ", offset_of(thread));
	else
		fprintf(stream, "  %8s  ", "-");
	print_name(stream, place.path ? place.path : place.mapping ? place.mapping : "?", 0);
	fputc('\n', stream);
}

static void print_process(const struct process *process, FILE *stream)
{
	fprintf(stream, "process %d: %zu thread%s\n", (int)process->pid, process->nr_threads,
		process->nr_threads == 1 ? "" : "s");
	fprintf(stream, "%8s  %-16s  %-16s  %6s  %10s  %5s  %-6s  %-7s  %8s  %s\n", "TID", "NAME",
		"AREA", "LENGTH", "SIGNATURE", "FLAGS", "MODE", "OWNER", "OFFSET", "MAPPING");
	for (size_t i = 0; i < process->nr_threads; i++)
		print_thread(process, &process->threads[i], stream);
}

static void json_thread(const struct process *process, const struct inspected_thread *thread,
		struct json *json)
{
	static const char *const states[] = {
		[THREAD_UNREGISTERED] = "unregistered",
		[THREAD_REGISTERED] = "registered",
		[THREAD_SILENT] = "silent",
	};
	struct place place;

	find_place(process, thread, &place);
	json_open_object(json, NULL);
	json_number(json, "tid", thread->tid);
	json_string(json, "comm", thread->comm);
	json_string(json, "state", states[thread->state]);
	json_number(json, "area", (int64_t)thread->rseq.area);
	json_number(json, "length", thread->rseq.length);
	json_number(json, "signature", thread->rseq.signature);
	json_number(json, "flags", thread->rseq.flags);
	json_string(json, "mode", mode_of(thread));
	json_string(json, "owner", place.owner);
	if (place.in_tls)
		json_number(json, "offset", offset_of(thread));
	else
		json_null(json, "offset");
	json_string(json, "mapping", place.mapping);
	json_string(json, "mapping_path", place.path);
	json_close_object(json);
}

static void json_process(const struct process *process, FILE *stream)
{
	struct json json;

	json_begin(&json, stream);
	json_open_object(&json, NULL);
	json_number(&json, "pid", process->pid);
	json_open_array(&json, "threads");
	for (size_t i = 0; i < process->nr_threads; i++)
		json_thread(process, &process->threads[i], &json);
	json_close_array(&json);
	json_close_object(&json);
	json_finish(&json);
}

int report_process(pid_t pid, bool json, FILE *stream)
{
	struct process process;

	memset(&process, 0, sizeof(process));
	process.pid = pid;
	inspect(&process);
	if (process.whole) {
		address_space_read(&process.space, pid);
		if (json)
			json_process(&process, stream);
		else
			print_process(&process, stream);
		address_space_free(&process.space);
	}
	free(process.threads);
	if (process.nr_silent)
		fprintf(stderr, "rseqctl info: process %d: %zu of its threads did not stop to be "
			"asked\n", (int)pid, process.nr_silent);
	return process.whole && !process.nr_silent ? RSEQCTL_OK : RSEQCTL_FAILED;
}
