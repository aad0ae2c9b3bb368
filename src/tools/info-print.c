/* SPDX-License-Identifier: MIT */
/*
 * info-print.c: a report on this process, for people and as JSON. The names are the same in both,
 * and stable.
 */
#include "info.h"
#include "json.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define NR(array)	(sizeof(array) / sizeof((array)[0]))

#define LABEL_WIDTH	24
#define LINE_WIDTH	80

struct bit_name {
	unsigned int bit;
	const char *name;
};

static const char *const owners[] = {
	[RSEQ_OWNER_NONE] = "none",
	[RSEQ_OWNER_LIBC] = "libc",
	[RSEQ_OWNER_LIBRSEQ] = "librseq",
	[RSEQ_OWNER_SHARED] = "shared",
	[RSEQ_OWNER_FOREIGN] = "foreign",
};

static const char *const reasons[] = {
	[RSEQ_REASON_NONE] = "none",
	[RSEQ_REASON_NOT_REGISTERED] = "not_registered",
	[RSEQ_REASON_DISABLED] = "disabled",
	[RSEQ_REASON_KERNEL_BUG] = "kernel_bug",
	[RSEQ_REASON_NO_SYSCALL] = "no_syscall",
	[RSEQ_REASON_FORBIDDEN] = "forbidden",
	[RSEQ_REASON_FOREIGN] = "foreign",
	[RSEQ_REASON_VFORK_CHILD] = "vfork_child",
	[RSEQ_REASON_NO_AREA] = "no_area",
	[RSEQ_REASON_REFUSED] = "refused",
	[RSEQ_REASON_OVERWRITTEN] = "overwritten",
};

static const char *const origins[] = {
	[RSEQ_AREA_NONE] = "none",
	[RSEQ_AREA_LIBC] = "libc",
	[RSEQ_AREA_LIBRSEQ] = "librseq",
	[RSEQ_AREA_INTERPOSED] = "interposed",
	[RSEQ_AREA_ASSUMED] = "assumed",
};

static const char *const modes[] = {
	[RSEQ_MODE_NONE] = "none",
	[RSEQ_MODE_LEGACY] = "legacy",
	[RSEQ_MODE_V2] = "v2",
};

static const struct bit_name fields[] = {
	{ RSEQ_FEATURE_CPU_ID, "cpu_id" },
	{ RSEQ_FEATURE_NODE_ID, "node_id" },
	{ RSEQ_FEATURE_MM_CID, "mm_cid" },
	{ RSEQ_FEATURE_SLICE, "slice" },
};

/* Commands of membarrier(2) by their bits. */
static const struct bit_name commands[] = {
	{ 1 << 0, "global" },
	{ 1 << 1, "global_expedited" },
	{ 1 << 2, "register_global_expedited" },
	{ 1 << 3, "private_expedited" },
	{ 1 << 4, "register_private_expedited" },
	{ 1 << 5, "private_expedited_sync_core" },
	{ 1 << 6, "register_private_expedited_sync_core" },
	{ 1 << 7, "private_expedited_rseq" },
	{ 1 << 8, "register_private_expedited_rseq" },
	{ 1 << 9, "get_registrations" },
};

static const struct {
	unsigned int bug;
	const char *name, *effect, *effect_text;
} bugs[] = {
	{ RSEQ_KERNEL_BUG_CLONE_VM, "clone_vm", "refused", "rseq is refused" },
	{ RSEQ_KERNEL_BUG_STALE_CPU_ID, "stale_cpu_id", "refused", "rseq is refused" },
	{ RSEQ_KERNEL_BUG_KVM, "kvm", "told", "matters to threads that run guests" },
	{ RSEQ_KERNEL_BUG_MEMBARRIER, "membarrier", "no_fence", "membarrier fences are not used" },
	{ RSEQ_KERNEL_BUG_ARM64_ABORT, "arm64_abort", "refused", "rseq is refused" },
	{ RSEQ_KERNEL_BUG_MM_CID, "mm_cid", "no_mm_cid", "mm_cid is not used" },
};

static const struct {
	const char *name, *text;
} slices[] = {
	[SLICE_AVAILABLE] = { "available", "available to V2 registrations" },
	[SLICE_OFF] = { "off", "not compiled into this kernel, or turned off at boot" },
	[SLICE_NOT_IN_KERNEL] = { "not_in_kernel", "not in this kernel (7.0 and later)" },
	[SLICE_UNKNOWN] = { "unknown", "unknown" },
};

static const char *name_of(const char *const *names, size_t nr_names, int value)
{
	return value >= 0 && (size_t)value < nr_names ? names[value] : "unknown";
}

static void row(FILE *stream, const char *label, const char *format, ...)
		__attribute__((format(printf, 3, 4)));

static void row(FILE *stream, const char *label, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stream, "  %-*s", LABEL_WIDTH, label);
	vfprintf(stream, format, arguments);
	fputc('\n', stream);
	va_end(arguments);
}

/*
 * A row of the names of all bits that are set, over as many lines as they take. That a command can
 * be registered for goes without saying.
 */
static void names_row(FILE *stream, const char *label, unsigned int bits,
		const struct bit_name *names, size_t nr_names)
{
	size_t column = 0;

	fprintf(stream, "  %-*s", LABEL_WIDTH, label);
	for (size_t i = 0; i < nr_names; i++) {
		size_t length = strlen(names[i].name) + 1;

		if (!(bits & names[i].bit) || !strncmp(names[i].name, "register_", 9))
			continue;
		if (column + length > LINE_WIDTH - LABEL_WIDTH) {
			fprintf(stream, "\n  %*s", LABEL_WIDTH, "");
			column = 0;
		}
		fprintf(stream, "%s%s", column ? " " : "", names[i].name);
		column += length;
	}
	fputs(column ? "\n" : "none\n", stream);
}

static void print_thread(const struct report *report, FILE *stream)
{
	const struct rseq_info *info = &report->rseq;

	fputs("this thread\n", stream);
	row(stream, "owner", "%s", name_of(owners, NR(owners), info->owner));
	if (info->reason)
		row(stream, "reason", "%s", name_of(reasons, NR(reasons), info->reason));
	if (report->register_error)
		row(stream, "registering", "failed: %s (errno %d)",
		    strerror(report->register_error), report->register_error);
	if (info->registered_length)
		row(stream, "registered length", "%u bytes, mode %s", info->registered_length,
		    name_of(modes, NR(modes), info->mode));
	row(stream, "feature size", "%u bytes", info->feature_size);
	names_row(stream, "fields", info->features, fields, NR(fields));
}

static void print_area(const struct rseq_info *info, FILE *stream)
{
	fputs("area\n", stream);
	row(stream, "origin", "%s", name_of(origins, NR(origins), info->area_origin));
	if (info->area_origin != RSEQ_AREA_NONE) {
		row(stream, "offset", "%+td bytes from the thread pointer", info->area_offset);
		row(stream, "size", "%u bytes, aligned to %u", info->area_size, info->area_align);
		row(stream, "length to register", "%u bytes", info->length);
	}
	if (info->area_module)
		row(stream, "defined in", "%s",
		    *info->area_module ? info->area_module : "the program");
	row(stream, "other definitions", "%u of __rseq_abi", info->other_definitions);
}

static void print_libc(const struct report *report, FILE *stream)
{
	const struct rseq_info *info = &report->rseq;

	fputs("libc\n", stream);
	row(stream, "name", "%s %s", report->libc_name,
	    report->libc_version ? report->libc_version : "(version not known)");
	if (info->libc_symbols)
		row(stream, "rseq", "__rseq_size %u, __rseq_offset %+td", info->libc_size,
		    info->libc_offset);
	else
		row(stream, "rseq", "no __rseq_size: it registers no thread");
}

static void print_bugs(const struct rseq_info *info, FILE *stream)
{
	if (!info->kernel_bugs)
		row(stream, "known bugs", "none");
	for (size_t i = 0; i < NR(bugs); i++) {
		if (!(info->kernel_bugs & bugs[i].bug))
			continue;
		row(stream, "known bug", "%s", bugs[i].name);
		row(stream, "", "%s", rseq_kernel_bug_string(bugs[i].bug));
		row(stream, "", "effect: %s", info->kernel_trusted ?
		    "none, LIBRSEQ_KERNEL_TRUSTED is set" : bugs[i].effect_text);
	}
}

static void print_membarrier(const struct membarrier_answers *answers, FILE *stream)
{
	if (answers->query_error)
		row(stream, "membarrier", "%s", strerror(answers->query_error));
	else
		names_row(stream, "membarrier", (unsigned int)answers->commands, commands,
			  NR(commands));
	if (answers->register_error)
		row(stream, "membarrier for rseq", "no: %s", strerror(answers->register_error));
	else if (answers->command_error)
		row(stream, "membarrier for rseq", "registers, but not for one CPU: %s",
		    strerror(answers->command_error));
	else
		row(stream, "membarrier for rseq", "works, for one CPU too");
}

static void print_kernel(const struct report *report, FILE *stream)
{
	const struct rseq_info *info = &report->rseq;
	const unsigned int *version = info->kernel_version;

	fputs("kernel\n", stream);
	row(stream, "release", "%s %s", report->kernel.release, report->kernel.machine);
	row(stream, "version for known bugs", "%u.%u.%u", version[0], version[1], version[2]);
	print_bugs(info, stream);
	if (info->kernel_feature_size)
		row(stream, "rseq", "feature size %u, alignment %u", info->kernel_feature_size,
		    info->kernel_align);
	else
		row(stream, "rseq", "tells no feature size (6.3 and later)");
	if (report->slice_error)
		row(stream, "slice extension", "%s: %s", slices[report->slice].text,
		    strerror(report->slice_error));
	else
		row(stream, "slice extension", "%s", slices[report->slice].text);
	print_membarrier(&report->membarrier, stream);
}

static void print_cpus(FILE *stream, const char *label, const struct cpu_list *list)
{
	if (list->count)
		row(stream, label, "%d (%s)", list->count, list->text);
	else
		row(stream, label, "not known");
}

void report_print(const struct report *report, FILE *stream)
{
	const struct rseq_info *info = &report->rseq;

	fprintf(stream, "librseq %s: %s\n", PACKAGE_VERSION, rseq_reason_string(info->reason));
	print_thread(report, stream);
	print_area(info, stream);
	print_libc(report, stream);
	print_kernel(report, stream);
	fputs("machine\n", stream);
	print_cpus(stream, "possible CPUs", &report->possible);
	print_cpus(stream, "online CPUs", &report->online);
	row(stream, "rows of per-CPU data", "%d", info->max_nr_cpus);
	fputs("environment\n", stream);
	row(stream, "LIBRSEQ_DISABLE", "%s", info->disabled ? "set" : "not set");
	row(stream, "LIBRSEQ_KERNEL_TRUSTED", "%s", info->kernel_trusted ? "set" : "not set");
}

static void json_names(struct json *json, const char *key, unsigned int bits,
		const struct bit_name *names, size_t nr_names)
{
	json_open_array(json, key);
	for (size_t i = 0; i < nr_names; i++)
		if (bits & names[i].bit)
			json_string(json, NULL, names[i].name);
	json_close_array(json);
}

static void json_thread(struct json *json, const struct report *report)
{
	const struct rseq_info *info = &report->rseq;

	json_open_object(json, "thread");
	json_string(json, "owner", name_of(owners, NR(owners), info->owner));
	json_string(json, "reason", name_of(reasons, NR(reasons), info->reason));
	json_string(json, "reason_text", rseq_reason_string(info->reason));
	json_bool(json, "register_tried", report->register_tried);
	json_number(json, "register_errno", report->register_error);
	json_string(json, "register_error",
		    report->register_error ? strerror(report->register_error) : NULL);
	json_string(json, "mode", name_of(modes, NR(modes), info->mode));
	json_number(json, "registered_length", info->registered_length);
	json_number(json, "feature_size", info->feature_size);
	json_names(json, "fields", info->features, fields, NR(fields));
	json_close_object(json);
}

static void json_area(struct json *json, const struct rseq_info *info)
{
	json_open_object(json, "area");
	json_string(json, "origin", name_of(origins, NR(origins), info->area_origin));
	json_number(json, "offset", info->area_offset);
	json_number(json, "size", info->area_size);
	json_number(json, "align", info->area_align);
	json_number(json, "length", info->length);
	json_string(json, "module", info->area_module);
	json_number(json, "other_definitions", info->other_definitions);
	json_close_object(json);
}

static void json_libc(struct json *json, const struct report *report)
{
	const struct rseq_info *info = &report->rseq;

	json_open_object(json, "libc");
	json_string(json, "name", report->libc_name);
	json_string(json, "version", report->libc_version);
	json_bool(json, "rseq_symbols", info->libc_symbols);
	json_number(json, "rseq_size", info->libc_size);
	json_number(json, "rseq_offset", info->libc_offset);
	json_close_object(json);
}

static void json_bugs(struct json *json, const struct rseq_info *info)
{
	json_open_array(json, "bugs");
	for (size_t i = 0; i < NR(bugs); i++) {
		if (!(info->kernel_bugs & bugs[i].bug))
			continue;
		json_open_object(json, NULL);
		json_string(json, "id", bugs[i].name);
		json_string(json, "text", rseq_kernel_bug_string(bugs[i].bug));
		json_string(json, "effect", info->kernel_trusted ? "none" : bugs[i].effect);
		json_close_object(json);
	}
	json_close_array(json);
}

static void json_kernel(struct json *json, const struct report *report)
{
	const struct rseq_info *info = &report->rseq;
	char version[64];

	snprintf(version, sizeof(version), "%u.%u.%u", info->kernel_version[0],
		 info->kernel_version[1], info->kernel_version[2]);
	json_open_object(json, "kernel");
	json_string(json, "release", report->kernel.release);
	json_string(json, "build", report->kernel.version);
	json_string(json, "machine", report->kernel.machine);
	json_string(json, "bug_version", version);
	json_bugs(json, info);
	json_number(json, "feature_size", info->kernel_feature_size);
	json_number(json, "align", info->kernel_align);
	json_string(json, "slice_extension", slices[report->slice].name);
	json_number(json, "slice_extension_errno", report->slice_error);
	json_close_object(json);
}

static void json_membarrier(struct json *json, const struct membarrier_answers *answers)
{
	json_open_object(json, "membarrier");
	json_names(json, "query", (unsigned int)answers->commands, commands, NR(commands));
	json_number(json, "query_errno", answers->query_error);
	json_bool(json, "rseq", !answers->register_error);
	json_number(json, "rseq_errno", answers->register_error);
	json_bool(json, "rseq_one_cpu", !answers->command_error);
	json_number(json, "rseq_one_cpu_errno", answers->command_error);
	json_close_object(json);
}

static void json_cpus(struct json *json, const struct report *report)
{
	json_open_object(json, "cpus");
	json_number(json, "max_nr_cpus", report->rseq.max_nr_cpus);
	json_number(json, "possible", report->possible.count);
	json_string(json, "possible_list", report->possible.text);
	json_number(json, "online", report->online.count);
	json_string(json, "online_list", report->online.text);
	json_close_object(json);
}

void report_print_json(const struct report *report, FILE *stream)
{
	struct json json;

	json_begin(&json, stream);
	json_open_object(&json, NULL);
	json_string(&json, "version", PACKAGE_VERSION);
	json_thread(&json, report);
	json_area(&json, &report->rseq);
	json_libc(&json, report);
	json_kernel(&json, report);
	json_membarrier(&json, &report->membarrier);
	json_cpus(&json, report);
	json_open_object(&json, "environment");
	json_bool(&json, "librseq_disable", report->rseq.disabled);
	json_bool(&json, "librseq_kernel_trusted", report->rseq.kernel_trusted);
	json_close_object(&json);
	json_close_object(&json);
	json_finish(&json);
}
