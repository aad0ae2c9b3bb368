/* SPDX-License-Identifier: MIT */
/*
 * verify-report.c: names and weights of the checks, and how findings are printed.
 */
#define _GNU_SOURCE		/* vasprintf() */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

static const struct {
	const char *name, *purpose;
} profiles[NR_PROFILES] = {
	[PROFILE_DEFAULT] = { "default", "any program; tools' tables may be missing as a whole" },
	[PROFILE_STRICT] = { "strict", "as rseq/section.h makes them: all tables, no doubt" },
	[PROFILE_FOREIGN] = { "foreign", "without declared exits and preparatory stores" },
	[PROFILE_TCMALLOC] = { "tcmalloc", "foreign, a slab pointer for the id, nopl signature" },
};

/* For each profile, in the order of enum profile: V violation, N note, - not looked at. */
static const struct {
	const char *name;
	const char weights[NR_PROFILES + 1];
} checks[NR_CHECKS] = {
	[CHECK_BAD_VERSION]		= { "bad-version",		"VVVV" },
	[CHECK_BAD_FLAGS]		= { "bad-flags",		"VVVV" },
	[CHECK_MISALIGNED]		= { "misaligned-descriptor",	"VVNN" },
	[CHECK_UNRELOCATED]		= { "unrelocated",		"VVVV" },
	[CHECK_BAD_RANGE]		= { "bad-range",		"VVVV" },
	[CHECK_OVERLAP]			= { "overlap",			"VVVV" },
	[CHECK_ABORT_INSIDE]		= { "abort-inside",		"VVVV" },
	[CHECK_BAD_ABORT]		= { "bad-abort",		"VVVV" },
	[CHECK_BAD_SIGNATURE]		= { "bad-signature",		"VVVV" },
	[CHECK_SIGNATURE_ENCODING]	= { "signature-encoding",	"VVN-" },
	[CHECK_BAD_TABLE]		= { "bad-table",		"VVVV" },
	[CHECK_NO_PTR_ARRAY]		= { "no-ptr-array",		"NVNN" },
	[CHECK_PTR_MISSING]		= { "ptr-missing",		"VVVV" },
	[CHECK_PTR_DUPLICATE]		= { "ptr-duplicate",		"VVVV" },
	[CHECK_PTR_STRAY]		= { "ptr-stray",		"VVVV" },
	[CHECK_NO_EXIT_ARRAY]		= { "no-exit-array",		"NVNN" },
	[CHECK_UNRECORDED_EXIT]		= { "unrecorded-exit",		"VVNN" },
	[CHECK_STRAY_EXIT_POINT]	= { "stray-exit-point",		"VVNN" },
	[CHECK_STRAY_SCRATCH]		= { "stray-scratch",		"VVVV" },
	[CHECK_NO_ARMING]		= { "no-arming",		"VVVV" },
	[CHECK_ARMING_NOT_ADJACENT]	= { "arming-not-adjacent",	"VVVV" },
	[CHECK_WRONG_DESCRIPTOR]	= { "wrong-descriptor",		"VVVV" },
	[CHECK_BAD_BOUNDARY]		= { "bad-boundary",		"VVVV" },
	[CHECK_UNDECODABLE]		= { "undecodable",		"VVVV" },
	[CHECK_CALL_INSIDE]		= { "call-inside",		"VVVV" },
	[CHECK_SYSCALL_INSIDE]		= { "syscall-inside",		"VVVV" },
	[CHECK_RETURN_INSIDE]		= { "return-inside",		"VVVV" },
	[CHECK_INDIRECT_JUMP]		= { "indirect-jump",		"VVVV" },
	[CHECK_FORBIDDEN_INSTRUCTION]	= { "forbidden-instruction",	"VVVV" },
	[CHECK_STACK_WRITE]		= { "stack-write",		"VVVV" },
	[CHECK_AREA_WRITE]		= { "area-write",		"VVVV" },
	[CHECK_JUMP_IN]			= { "jump-in",			"VVVV" },
	[CHECK_ADDRESS_TAKEN]		= { "address-taken",		"VVNN" },
	[CHECK_MODIFIED_INPUT]		= { "modified-input",		"NV--" },
	[CHECK_NO_CPU_CHECK]		= { "no-cpu-check",		"VVV-" },
	[CHECK_OTHER_BASE]		= { "other-base",		"VVN-" },
	[CHECK_STORE_BEFORE_CHECK]	= { "store-before-check",	"VVV-" },
	[CHECK_UNGUARDED_COMMIT]	= { "unguarded-commit",		"VVV-" },
	[CHECK_UNCHECKED_INDEX]		= { "unchecked-index",		"NVN-" },
	[CHECK_UNREGISTERED_CID]	= { "unregistered-cid",		"NVN-" },
	[CHECK_NO_COMMIT]		= { "no-commit",		"VVVV" },
	[CHECK_COMMIT_NOT_LAST]		= { "commit-not-last",		"VVVV" },
	[CHECK_COMMIT_INTERRUPTIBLE]	= { "commit-interruptible",	"VVVV" },
	[CHECK_COMMIT_UNREACHABLE]	= { "commit-unreachable",	"VVVV" },
	[CHECK_COMMIT_NOT_READ]		= { "commit-not-read",		"NVNN" },
	[CHECK_NO_SCRATCH_TABLE]	= { "no-scratch-table",		"NVNN" },
	[CHECK_UNDECLARED_STORE]	= { "undeclared-store",		"VVNN" },
	[CHECK_TWO_COMMITS]		= { "two-commits",		"VVVV" },
};

int profile_by_name(const char *name, enum profile *profile)
{
	unsigned int i;

	for (i = 0; i < NR_PROFILES; i++) {
		if (strcmp(name, profiles[i].name))
			continue;
		*profile = (enum profile)i;
		return 0;
	}
	return -1;
}

void print_profiles(FILE *stream)
{
	unsigned int i;

	for (i = 0; i < NR_PROFILES; i++)
		fprintf(stream, "  %-10s %s\n", profiles[i].name, profiles[i].purpose);
}

void complain(struct verifier *verifier, struct critical_section *section, enum check check,
		uint64_t address, const char *format, ...)
{
	struct finding *finding;
	va_list arguments;

	if (verifier->profile == NR_PROFILES || checks[check].weights[verifier->profile] == '-')
		return;
	verifier->findings = array_add(verifier->findings, verifier->nr_findings,
				       sizeof(*verifier->findings));
	finding = &verifier->findings[verifier->nr_findings];
	finding->number = verifier->nr_findings++;
	finding->section = section ? (size_t)(section - verifier->sections) : WHOLE_FILE;
	finding->check = check;
	finding->violation = checks[check].weights[verifier->profile] == 'V';
	finding->address = address;
	va_start(arguments, format);
	if (vasprintf(&finding->message, format, arguments) < 0)
		finding->message = NULL;
	va_end(arguments);
	if (!finding->violation)
		return;
	verifier->nr_violations++;
	if (section)
		section->nr_violations++;
}

static int compare_findings(const void *a, const void *b)
{
	const struct finding *left = a, *right = b;

	if (left->section != right->section)
		return left->section < right->section ? -1 : 1;
	return (left->number > right->number) - (left->number < right->number);
}

void sort_findings(struct verifier *verifier)
{
	if (verifier->nr_findings)
		qsort(verifier->findings, verifier->nr_findings, sizeof(*verifier->findings),
		      compare_findings);
}

const struct finding *findings_of(const struct verifier *verifier, size_t section, size_t *nr)
{
	size_t low = 0, high = verifier->nr_findings, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (verifier->findings[middle].section < section)
			low = middle + 1;
		else
			high = middle;
	}
	for (*nr = 0; low + *nr < verifier->nr_findings; ++*nr)
		if (verifier->findings[low + *nr].section != section)
			break;
	return verifier->findings + low;
}

const char *check_name(enum check check)
{
	return checks[check].name;
}

const char *profile_name(enum profile profile)
{
	return profiles[profile].name;
}

const char *machine_name(const struct image *image)
{
	return image->machine == MACHINE_X86_64 ? "x86-64" : "aarch64";
}

const char *type_name(const struct image *image)
{
	return image->type == ET_REL ? "object" : image->type == ET_EXEC ? "executable" :
		image->pie ? "position-independent executable" : "shared library";
}

void format_place(const struct verifier *verifier, uint64_t address, char *text, size_t size)
{
	const struct image_symbol *symbol = image_symbol_at(&verifier->image, address);
	const struct image_section *section = image_section_at(&verifier->image, address);

	if (symbol)
		snprintf(text, size, "%s+0x%" PRIx64, symbol->name, address - symbol->address);
	else if (section)
		snprintf(text, size, "%s+0x%" PRIx64, section->name, address - section->address);
	else
		snprintf(text, size, "0x%" PRIx64, address);
}

static void print_finding(const struct verifier *verifier, const struct finding *finding,
		const char *place)
{
	char where[MAX_TEXT];

	format_place(verifier, finding->address, where, sizeof(where));
	printf("%s: %s%s%s: ", verifier->name, place, *place ? ": " : "",
	       finding->violation ? "error" : "note");
	if (finding->address)
		printf("at %s: ", where);
	printf("%s [%s]\n", finding->message ? finding->message : "", check_name(finding->check));
}

static void print_findings(const struct verifier *verifier, size_t section, const char *place)
{
	size_t i, nr;
	const struct finding *findings = findings_of(verifier, section, &nr);

	for (i = 0; i < nr; i++)
		print_finding(verifier, &findings[i], place);
}

static void print_section(const struct verifier *verifier, size_t index)
{
	const struct critical_section *section = &verifier->sections[index];
	char place[MAX_TEXT], text[MAX_TEXT];
	const char *file;
	int line;

	format_place(verifier, section->start, place, sizeof(place));
	printf("%s: %s: ", verifier->name, place);
	if (lines_find(verifier->lines, &verifier->image, section->start, &file, &line))
		printf("%s:%d: ", file, line);
	printf("%" PRIu64 " bytes, %zu instructions, ", section->length, section->nr_insns);
	if (section->commit) {
		decode_text(&verifier->decoder, section->commit, text, sizeof(text));
		printf("commit +0x%" PRIx64 " '%s', ", section->commit - section->start, text);
	} else {
		printf("no commit, ");
	}
	printf("%s\n", section->nr_violations ? "FAILED" : "ok");
	print_findings(verifier, index, place);
}

void print_text(const struct verifier *verifier, const char *error)
{
	size_t i;

	if (error) {
		/* Among the results, for the reader of a log, and never taken for one. */
		fflush(stdout);
		fprintf(stderr, "%s: cannot verify: %s\n", verifier->name, error);
		return;
	}
	for (i = 0; i < verifier->nr_sections; i++)
		print_section(verifier, i);
	print_findings(verifier, WHOLE_FILE, "");
	printf("%s: %s %s, %zu section%s, %zu violation%s%s%s\n", verifier->name,
	       machine_name(&verifier->image), type_name(&verifier->image), verifier->nr_sections,
	       verifier->nr_sections == 1 ? "" : "s", verifier->nr_violations,
	       verifier->nr_violations == 1 ? "" : "s", verifier->note ? ": " : "",
	       verifier->note ? verifier->note : "");
}
