/* SPDX-License-Identifier: MIT */
/*
 * report.c: see report.h. All of it is shared with the processes that are interrupted.
 */
#include "abort.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"

#define MAX_SECTIONS	512
#define PRINTED		5		/* violations of a subject that are printed */

struct tally {
	unsigned long points, aborts, violations;
};

static struct report {
	struct tally tally[NR_WAYS][MAX_SUBJECTS];
	char first[NR_WAYS][400];
	int nr_sections;
	struct section sections[MAX_SECTIONS];
} *report;

static const char *const way_names[NR_WAYS] = { "ptrace", "in-process" };

/* The linker's names for the begin and the end of the program's descriptors. */
extern const struct rseq_abi_cs __start___rseq_cs[] __attribute__((weak));
extern const struct rseq_abi_cs __stop___rseq_cs[] __attribute__((weak));

static struct section *section_add(const struct rseq_abi_cs *descriptor, bool own)
{
	struct section *section = &report->sections[report->nr_sections];

	if (report->nr_sections == MAX_SECTIONS || descriptor->post_commit_offset > SECTION_BYTES)
		return NULL;
	section->descriptor = (uintptr_t)descriptor;
	section->start = descriptor->start_ip;
	section->end = section->start + descriptor->post_commit_offset;
	section->abort = descriptor->abort_ip;
	section->own = own;
	report->nr_sections++;
	return section;
}

/* The last section that a thread began stays armed until the kernel looks at it. */
static int find_section(const struct subject *subject)
{
	struct section *section;
	struct call call;
	uint64_t armed = 0;
	int id;

	data_of(subject, subject->operation->inputs);
	for (int try = 0; try < 1000 && !armed; try++) {
		id = current_id(subject->mode);
		if (!data_begin(subject->mode, id, id) || !data_know(id))
			return -1;
		call_prepare(&call, subject->operation, subject->operation->inputs, id);
		rseq_clear_rseq_cs();
		subject->function(&call);
		armed = RSEQ_READ_ONCE(rseq_get_abi()->rseq_cs.ptr64);
	}
	section = section_find((uintptr_t)armed);
	if (!armed || !section) {
		errno = ENOENT;
		return -1;
	}
	section->subject = subject;
	return 0;
}

int report_init(void)
{
	const struct rseq_abi_cs *descriptor = __start___rseq_cs;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (report == MAP_FAILED)
		return -1;
	for (; descriptor < __stop___rseq_cs; descriptor++)
		if (!section_add(descriptor, true))
			return -1;
	for (size_t i = 0; i < nr_subjects; i++)
		if (!subjects[i].code && is_wanted(&subjects[i]) && find_section(&subjects[i]))
			return -1;
	return 0;
}

struct section *section_find(uintptr_t descriptor)
{
	for (int i = 0; i < report->nr_sections; i++)
		if (report->sections[i].descriptor == descriptor)
			return &report->sections[i];
	return section_add((const struct rseq_abi_cs *)descriptor, false);
}

/* The subject in whose code a section is: the first of those that begin closest before it. */
static const struct subject *subject_of(const struct section *section)
{
	const struct subject *closest = section->subject;

	for (size_t i = 0; i < nr_subjects && !section->subject; i++)
		if (subjects[i].code && subjects[i].code <= section->start &&
		    (!closest || closest->code < subjects[i].code))
			closest = &subjects[i];
	return closest;
}

/* Several subjects may have the same code. */
static bool belongs_to(const struct section *section, const struct subject *subject)
{
	const struct subject *closest = subject_of(section);

	return closest == subject || (closest && closest->code && closest->code == subject->code);
}

struct section *section_from(const struct subject *subject, uintptr_t address)
{
	struct section *first = NULL;

	for (int i = 0; i < report->nr_sections; i++) {
		struct section *section = &report->sections[i];

		if (section->own && section->start >= address && belongs_to(section, subject) &&
		    (!first || section->start < first->start))
			first = section;
	}
	return first;
}

const char *section_fault(const struct section *section)
{
	const struct rseq_abi_cs *descriptor = (const void *)section->descriptor;
	uint32_t signature;

	if (descriptor->version)
		return "the descriptor's version is not 0";
	if (descriptor->flags)
		return "the descriptor has flags";
	if (section->abort >= section->start && section->abort < section->end)
		return "the abort address is inside of the section";
	memcpy(&signature, (const char *)section->abort - sizeof(signature), sizeof(signature));
	return signature == RSEQ_SIG ? NULL : "the signature is wrong";
}

void section_tried(struct section *section, enum way way, uintptr_t pc, size_t bytes)
{
	for (uintptr_t at = pc; at < pc + bytes && at < section->end; at++)
		section->tried[way][at - section->start] = true;
}

static struct tally *tally_of(const struct subject *subject, enum way way)
{
	return &report->tally[way][subject - subjects];
}

void report_point(const struct subject *subject, enum way way, bool aborted)
{
	tally_of(subject, way)->points++;
	tally_of(subject, way)->aborts += aborted;
}

unsigned long report_violations(const struct subject *subject, enum way way)
{
	return tally_of(subject, way)->violations;
}

void report_violation(const struct subject *subject, enum way way, const char *format, ...)
{
	char text[sizeof(report->first[0])];
	va_list arguments;
	int length;

	length = snprintf(text, sizeof(text), "%s: ", subject->name);
	va_start(arguments, format);
	vsnprintf(text + length, sizeof(text) - (size_t)length, format, arguments);
	va_end(arguments);
	if (!report->first[way][0])
		strcpy(report->first[way], text);
	if (tally_of(subject, way)->violations++ < PRINTED && !mutant) {
		printf("VIOLATION (%s): %s\n", way_names[way], text);
		fflush(stdout);
	}
}

const char *report_first(enum way way)
{
	return report->first[way][0] ? report->first[way] : NULL;
}

void report_head(enum way way)
{
	printf("%-54s %8s %8s %8s %10s\n", way == WALK ? "stopped with ptrace:" :
	       "stopped by traps in the code:", "bytes", "points", "aborts", "violations");
}

static size_t nr_tried(const struct section *section, enum way way)
{
	size_t nr = 0;

	for (uintptr_t at = section->start; at < section->end; at++)
		nr += section->tried[way][at - section->start];
	return nr;
}

void report_subject(const struct subject *subject, enum way way)
{
	const struct section *section = section_from(subject, 0);
	const struct tally *tally = tally_of(subject, way);
	size_t all = 0, tried = 0;
	char bytes[20];

	for (; section; section = section_from(subject, section->end)) {
		all += section->end - section->start;
		tried += nr_tried(section, way);
	}
	snprintf(bytes, sizeof(bytes), "%zu/%zu", tried, all);
	printf("%-54s %8s %8lu %8lu %10lu\n", subject->name, bytes, tally->points, tally->aborts,
	       tally->violations);
	fflush(stdout);
}

/* Without optimisation a compiler keeps sections that are never reached. */
#ifdef __OPTIMIZE__
# define ALL_ARE_REACHED	true
#else
# define ALL_ARE_REACHED	false
#endif

/* Whether a subject that it may be a part of cannot run here. */
static bool may_lack(const struct section *section)
{
	for (size_t i = 0; i < nr_subjects && !rseq_mm_cid_available(); i++)
		if (subjects[i].mode == RSEQ_PERCPU_MM_CID && belongs_to(section, &subjects[i]))
			return true;
	return false;
}

/*
 * A processor without the widest registers does not reach the copy through them, nor the two
 * instructions that lead to it and away.
 */
static void excuse_extensions(struct section *section, enum way way)
{
	uintptr_t at, before = section->start, last = 0;
	size_t length, nr = 0;

	for (at = section->start; at < section->end; before = at, at += length) {
		length = arch_insn_length((void *)at);
		if (!length)
			return;
		if (arch_insn_is_extension((void *)at) && !nr++)
			last = before;
		if (arch_insn_is_extension((void *)before) || arch_insn_is_extension((void *)at))
			for (; last < at + length; last++)
				section->tried[way][last - section->start] = true;
	}
	if (nr)
		printf("rseq_vector_bytes is %u: wide copies were not tried (%s)\n",
		       rseq_vector_bytes, way_names[way]);
}

/* Where there is no mm_cid, rows that are asked to go by it go by CPU. */
static void excuse_cid(struct section *section, enum way way)
{
	size_t length, first, bytes;

	for (uintptr_t at = section->start; at < section->end; at += length) {
		length = arch_insn_length((void *)at);
		if (!length)
			return;
		if (!arch_insn_asks_for_cid((void *)at, &first, &bytes))
			continue;
		for (first += at - section->start; bytes; first++, bytes--)
			section->tried[way][first] = true;
	}
}

/* Prints what of a section was not tried. Returns whether all was, or need not be. */
static bool tried_all(const struct section *section, enum way way)
{
	const struct subject *subject = subject_of(section);
	size_t bytes = section->end - section->start, tried = nr_tried(section, way);
	size_t first = 0;

	if (tried == bytes)
		return true;
	if (!tried && (!ALL_ARE_REACHED || may_lack(section)))
		return true;
	while (section->tried[way][first])
		first++;
	printf("NOT TRIED (%s): %zu bytes of the section at %#jx, near %s, from byte %zu on\n",
	       way_names[way], bytes - tried, (uintmax_t)section->start,
	       subject ? subject->name : "no subject", first);
	return false;
}

bool report_totals(enum way way, bool partial)
{
	struct tally total = { 0 };
	int left_out = 0, own = 0;

	for (size_t i = 0; i < nr_subjects; i++) {
		const struct tally *tally = &report->tally[way][i];

		total.points += tally->points;
		total.aborts += tally->aborts;
		total.violations += tally->violations;
	}
	for (int i = 0; i < report->nr_sections && !partial; i++) {
		struct section *section = &report->sections[i];

		if (rseq_vector_bytes <= 16 && nr_tried(section, way))
			excuse_extensions(section, way);
		if (!rseq_mm_cid_available() && nr_tried(section, way))
			excuse_cid(section, way);
		own += section->own;
		left_out += section->own && !tried_all(section, way);
	}
	printf("%s: %d sections, %lu points, %lu aborts, %lu violations, "
	       "%d sections not tried in full\n",
	       way_names[way], own, total.points, total.aborts, total.violations, left_out);
	fflush(stdout);
	return !total.violations && !left_out;
}
