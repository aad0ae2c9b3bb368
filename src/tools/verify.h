/* SPDX-License-Identifier: MIT */
/*
 * verify.h: the critical sections of one file, and what is wrong with them.
 */
#ifndef VERIFY_H
#define VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "json.h"
#include "verify-image.h"
#include "verify-insn.h"

/* Each has a stable name that users match on; see verify-report.c and rseqctl(1). */
enum check {
	/* the descriptor */
	CHECK_BAD_VERSION,
	CHECK_BAD_FLAGS,
	CHECK_MISALIGNED,
	CHECK_UNRELOCATED,
	CHECK_BAD_RANGE,
	CHECK_OVERLAP,
	CHECK_ABORT_INSIDE,
	CHECK_BAD_ABORT,
	CHECK_BAD_SIGNATURE,
	CHECK_SIGNATURE_ENCODING,
	/* the tables for tools */
	CHECK_BAD_TABLE,
	CHECK_NO_PTR_ARRAY,
	CHECK_PTR_MISSING,
	CHECK_PTR_DUPLICATE,
	CHECK_PTR_STRAY,
	CHECK_NO_EXIT_ARRAY,
	CHECK_UNRECORDED_EXIT,
	CHECK_STRAY_EXIT_POINT,
	CHECK_STRAY_SCRATCH,
	/* arming */
	CHECK_NO_ARMING,
	CHECK_ARMING_NOT_ADJACENT,
	CHECK_WRONG_DESCRIPTOR,
	/* instructions */
	CHECK_BAD_BOUNDARY,
	CHECK_UNDECODABLE,
	CHECK_CALL_INSIDE,
	CHECK_SYSCALL_INSIDE,
	CHECK_RETURN_INSIDE,
	CHECK_INDIRECT_JUMP,
	CHECK_FORBIDDEN_INSTRUCTION,
	CHECK_STACK_WRITE,
	CHECK_AREA_WRITE,
	CHECK_JUMP_IN,
	CHECK_ADDRESS_TAKEN,
	CHECK_MODIFIED_INPUT,
	/* the id */
	CHECK_NO_CPU_CHECK,
	CHECK_OTHER_BASE,
	CHECK_STORE_BEFORE_CHECK,
	CHECK_UNGUARDED_COMMIT,
	CHECK_UNCHECKED_INDEX,
	CHECK_UNREGISTERED_CID,
	/* the commit */
	CHECK_NO_COMMIT,
	CHECK_COMMIT_NOT_LAST,
	CHECK_COMMIT_INTERRUPTIBLE,
	CHECK_COMMIT_UNREACHABLE,
	CHECK_COMMIT_NOT_READ,
	CHECK_NO_SCRATCH_TABLE,
	CHECK_UNDECLARED_STORE,
	CHECK_TWO_COMMITS,
	NR_CHECKS
};

enum profile {
	PROFILE_DEFAULT,
	PROFILE_STRICT,
	PROFILE_FOREIGN,
	PROFILE_TCMALLOC,
	NR_PROFILES
};

struct critical_section {
	uint64_t descriptor;
	uint64_t start, length, abort;
	bool analysable;		/* the range is code, and no other section's */
	unsigned int nr_pointers;	/* to it, from __rseq_cs_ptr_array */
	struct insn *insns;		/* start to end, as far as they decode */
	size_t nr_insns;
	bool complete;			/* insns reach exactly to the end */
	bool armed;			/* area is known */
	struct memory_operand area;	/* the arming store's: the area's field rseq_cs */
	uint64_t arming;		/* where the code begins that arms; start if nothing does */
	uint64_t commit;		/* address of the last instruction, if it is a store */
	size_t nr_violations;
};

struct exit_point {
	uint64_t start, target;
	bool used;
};

struct scratch_store {
	uint64_t address;
	bool used;
};

#define WHOLE_FILE	SIZE_MAX

struct finding {
	size_t section;			/* index, or WHOLE_FILE */
	size_t number;			/* in the order of complaints */
	enum check check;
	bool violation;			/* else a note */
	uint64_t address;
	char *message;
};

struct verifier {
	const char *name;		/* of the file, for people */
	enum profile profile;
	struct image image;
	struct decoder decoder;
	struct line_table *lines;	/* NULL without debug information */
	const char *note;		/* why there is nothing to verify */
	uint64_t *descriptors;		/* where the tables say that they are */
	size_t nr_descriptors;
	struct critical_section *sections;	/* by descriptor */
	size_t nr_sections;
	struct critical_section **ranges;	/* those analysable, by start */
	size_t nr_ranges;
	bool has_pointers, has_exits, has_scratch;	/* whether the file has these tables */
	bool needs_exits, needs_scratch;		/* whether it would need them */
	struct exit_point *exits;		/* by start and target */
	size_t nr_exits;
	struct scratch_store *scratch;	/* by address */
	size_t nr_scratch;
	struct finding *findings;	/* by section and number once sort_findings() was called */
	size_t nr_findings;
	size_t nr_violations;
};

static inline bool inside(const struct critical_section *section, uint64_t address)
{
	return address - section->start < section->length;
}

static inline uint64_t section_end(const struct critical_section *section)
{
	return section->start + section->length;
}

/*
 * Steps, in this order. Each reports what it finds.
 */
/* Read the tables; check descriptors, signatures and the tables' agreement. */
void verify_tables(struct verifier *verifier);
/* Find the store that arms the section. */
void verify_arming(struct verifier *verifier, struct critical_section *section);
/* Returns: whether code that jumps to target arms the section before or behind the jump. */
bool arms_on_way(const struct verifier *verifier, const struct critical_section *section,
		uint64_t jump, uint64_t target);
/* Check every instruction by itself, and the exits. */
void verify_body(struct verifier *verifier, struct critical_section *section);
/* Check what is known of the id, and of memory, on all paths to each store. */
void verify_flow(struct verifier *verifier, struct critical_section *section);
/* Check the code outside for jumps into sections, and that nothing can jump there unseen. */
void verify_jumps(struct verifier *verifier);
/* Check that all that the tables declare was met. */
void verify_declarations(struct verifier *verifier);

/* Returns: whether address is known to lie inside an instruction. */
bool splits_insn(const struct verifier *verifier, uint64_t address);
/* Returns: the analysable section whose range holds address, or NULL. */
struct critical_section *section_around(const struct verifier *verifier, uint64_t address);
/* Returns: the analysable section with the lowest start above address, or NULL. */
struct critical_section *section_behind(const struct verifier *verifier, uint64_t address);
/* Returns: the section with this descriptor, or NULL. */
struct critical_section *section_of(const struct verifier *verifier, uint64_t descriptor);

/* Whether the exit is recorded; then it counts as met. */
bool use_exit_point(struct verifier *verifier, uint64_t start, uint64_t target);
/* Whether the store at address was declared preparatory. */
bool is_declared_scratch(struct verifier *verifier, uint64_t address);

/* Record a finding, unless the profile leaves the check out. section may be NULL. */
__attribute__((format(printf, 5, 6)))
void complain(struct verifier *verifier, struct critical_section *section, enum check check,
		uint64_t address, const char *format, ...);
void sort_findings(struct verifier *verifier);
/* Returns: the first of nr findings of a section, or of WHOLE_FILE. */
const struct finding *findings_of(const struct verifier *verifier, size_t section, size_t *nr);
/* Returns: 0, or -1 if there is no profile of that name. */
int profile_by_name(const char *name, enum profile *profile);
void print_profiles(FILE *stream);

const char *check_name(enum check check);
const char *profile_name(enum profile profile);
const char *machine_name(const struct image *image);
const char *type_name(const struct image *image);

/* Room for a place or an instruction; longer ones are cut. */
#define MAX_TEXT	512

/* An address by the names that there are: symbol+0xoffset, or .text+0xoffset. */
void format_place(const struct verifier *verifier, uint64_t address, char *text, size_t size);

/* Print what was found in one file; error is set if it could not be verified. */
void print_text(const struct verifier *verifier, const char *error);
void print_json(struct json *json, const struct verifier *verifier, const char *error);

/* Source lines; without libdw there are none. */
struct line_table *lines_open(const char *path);
void lines_close(struct line_table *lines);
/* Returns: whether a source line is known for an address of the image. */
bool lines_find(const struct line_table *lines, const struct image *image, uint64_t address,
		const char **file, int *line);

#endif /* VERIFY_H */
