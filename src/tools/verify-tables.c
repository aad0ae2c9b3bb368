/* SPDX-License-Identifier: MIT */
/*
 * verify-tables.c: the tables of descriptors, pointers, exit points and preparatory stores.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

#define DESCRIPTOR_SIZE		32
#define SIGNATURE_SIZE		4
/* No section of sense is longer; a damaged file may say so. */
#define MAX_LENGTH		65536
/* Longest way from the abort label to the branch that leaves the stub. */
#define MAX_STUB_INSNS		32

static uint32_t signature_of(const struct image *image)
{
	return image->machine == MACHINE_X86_64 ? 0x53053053 : 0xd428bc00;
}

static void add_descriptor(struct verifier *verifier, uint64_t address)
{
	const struct image_section *table = image_section_at(&verifier->image, address);
	struct critical_section *section;
	uint64_t version, flags;

	verifier->sections = array_add(verifier->sections, verifier->nr_sections,
				       sizeof(*verifier->sections));
	section = &verifier->sections[verifier->nr_sections++];
	memset(section, 0, sizeof(*section));
	section->descriptor = address;
	image_word(&verifier->image, address, 4, &version);
	image_word(&verifier->image, address + 4, 4, &flags);
	image_word(&verifier->image, address + 8, 8, &section->start);
	image_word(&verifier->image, address + 16, 8, &section->length);
	image_word(&verifier->image, address + 24, 8, &section->abort);
	if (version)
		complain(verifier, section, CHECK_BAD_VERSION, address,
			 "the descriptor's version is %" PRIu64 ", not 0", version);
	if (flags)
		complain(verifier, section, CHECK_BAD_FLAGS, address,
			 "the descriptor's flags are 0x%" PRIx64 ", not 0", flags);
	if (table && !table->loaded)
		complain(verifier, section, CHECK_BAD_TABLE, address,
			 "the descriptor is not loaded with the program");
	/* Where an object's sections will be is not known, but for this much. */
	if (address % DESCRIPTOR_SIZE ||
	    (verifier->image.type == ET_REL && table && table->alignment < DESCRIPTOR_SIZE))
		complain(verifier, section, CHECK_MISALIGNED, address,
			 "the descriptor is not aligned to %d bytes", DESCRIPTOR_SIZE);
	if (verifier->image.type == ET_DYN && (!image_is_relocated(&verifier->image, address + 8) ||
					       !image_is_relocated(&verifier->image, address + 24)))
		complain(verifier, section, CHECK_UNRELOCATED, address,
			 "no relocation adjusts the descriptor's addresses at load");
}

/* A descriptor may be anywhere in the program, if __rseq_cs_ptr_array says where. */
static void note_descriptor(struct verifier *verifier, uint64_t address)
{
	verifier->descriptors = array_add(verifier->descriptors, verifier->nr_descriptors,
					  sizeof(*verifier->descriptors));
	verifier->descriptors[verifier->nr_descriptors++] = address;
}

static void follow_pointer(struct verifier *verifier, uint64_t address)
{
	const struct image_section *section;
	uint64_t pointer, start;

	image_word(&verifier->image, address, 8, &pointer);
	section = image_section_at(&verifier->image, pointer);
	/* What begins with no code is taken for no descriptor, so that the pointer is stray. */
	if (section && section->loaded && strcmp(section->name, "__rseq_cs") != 0 &&
	    image_bytes(&verifier->image, pointer, DESCRIPTOR_SIZE) &&
	    image_word(&verifier->image, pointer + 8, 8, &start) &&
	    image_executable(&verifier->image, start))
		note_descriptor(verifier, pointer);
}

static void add_descriptors(struct verifier *verifier)
{
	const uint64_t *descriptors = verifier->descriptors;
	size_t i, nr = verifier->nr_descriptors;

	if (nr)
		qsort(verifier->descriptors, nr, sizeof(*descriptors), compare_addresses);
	for (i = 0; i < nr; i++)
		if (!i || descriptors[i] != descriptors[i - 1])
			add_descriptor(verifier, descriptors[i]);
}

/* Call add for each entry of all sections of that name. Returns: how many sections there are. */
static size_t for_each_entry(struct verifier *verifier, const char *name, unsigned int size,
		void (*add)(struct verifier *verifier, uint64_t address))
{
	const struct image_section *table;
	size_t i, found = 0;
	uint64_t offset;

	for (i = 0; i < verifier->image.nr_sections; i++) {
		table = &verifier->image.sections[i];
		if (strcmp(table->name, name))
			continue;
		found++;
		for (offset = 0; table->bytes && table->size - offset >= size; offset += size)
			add(verifier, table->address + offset);
	}
	return found;
}

static void check_entries(struct verifier *verifier, const char *name, unsigned int size)
{
	const struct image_section *table;
	size_t i;

	for (i = 0; i < verifier->image.nr_sections; i++) {
		table = &verifier->image.sections[i];
		if (!strcmp(table->name, name) &&
		    (table->size % size || (table->size && !table->bytes)))
			complain(verifier, NULL, CHECK_BAD_TABLE, table->address,
				 "%s does not consist of entries of %u bytes", name, size);
	}
}

static void add_exit(struct verifier *verifier, uint64_t address)
{
	struct exit_point *exit_point;

	verifier->exits = array_add(verifier->exits, verifier->nr_exits, sizeof(*verifier->exits));
	exit_point = &verifier->exits[verifier->nr_exits++];
	memset(exit_point, 0, sizeof(*exit_point));
	image_word(&verifier->image, address, 8, &exit_point->start);
	image_word(&verifier->image, address + 8, 8, &exit_point->target);
}

static int compare_exits(const void *a, const void *b)
{
	const struct exit_point *left = a, *right = b;

	if (left->start != right->start)
		return left->start < right->start ? -1 : 1;
	return (left->target > right->target) - (left->target < right->target);
}

bool use_exit_point(struct verifier *verifier, uint64_t start, uint64_t target)
{
	const struct exit_point wanted = { .start = start, .target = target };
	struct exit_point *found = NULL, *end = verifier->exits + verifier->nr_exits;

	if (verifier->nr_exits)
		found = bsearch(&wanted, verifier->exits, verifier->nr_exits, sizeof(wanted),
				compare_exits);
	if (!found)
		return false;
	while (found > verifier->exits && !compare_exits(found - 1, &wanted))
		found--;
	for (; found < end && !compare_exits(found, &wanted); found++)
		found->used = true;
	return true;
}

static void add_scratch(struct verifier *verifier, uint64_t address)
{
	struct scratch_store *store;
	uint64_t declared;

	image_word(&verifier->image, address, 8, &declared);
	/* The linker clears what concerns a section that it dropped. */
	if (!declared)
		return;
	verifier->scratch = array_add(verifier->scratch, verifier->nr_scratch,
				      sizeof(*verifier->scratch));
	store = &verifier->scratch[verifier->nr_scratch++];
	memset(store, 0, sizeof(*store));
	store->address = declared;
}

struct critical_section *section_of(const struct verifier *verifier, uint64_t descriptor)
{
	return verifier->nr_sections ?
		bsearch(&descriptor, verifier->sections, verifier->nr_sections,
			sizeof(*verifier->sections), compare_addresses) : NULL;
}

static void count_pointer(struct verifier *verifier, uint64_t address)
{
	struct critical_section *section;
	uint64_t pointer;

	image_word(&verifier->image, address, 8, &pointer);
	section = section_of(verifier, pointer);
	if (!section)
		complain(verifier, NULL, CHECK_PTR_STRAY, address,
			 "__rseq_cs_ptr_array points to 0x%" PRIx64 ", which is no descriptor",
			 pointer);
	else if (++section->nr_pointers == 2)
		complain(verifier, section, CHECK_PTR_DUPLICATE, address,
			 "__rseq_cs_ptr_array has the descriptor more than once");
}

static void check_pointers(struct verifier *verifier)
{
	size_t i;

	verifier->has_pointers = for_each_entry(verifier, "__rseq_cs_ptr_array", 8,
						count_pointer);
	if (!verifier->has_pointers && verifier->nr_sections)
		complain(verifier, NULL, CHECK_NO_PTR_ARRAY, 0,
			 "no __rseq_cs_ptr_array: tools cannot find the descriptors");
	for (i = 0; i < verifier->nr_sections; i++)
		if (verifier->has_pointers && !verifier->sections[i].nr_pointers)
			complain(verifier, &verifier->sections[i], CHECK_PTR_MISSING,
				 verifier->sections[i].descriptor,
				 "__rseq_cs_ptr_array lacks the descriptor");
}

static void check_range(struct verifier *verifier, struct critical_section *section)
{
	uint64_t end = section_end(section);

	if (!section->length)
		complain(verifier, section, CHECK_BAD_RANGE, section->start, "the range is empty");
	else if (end < section->start || !image_executable(&verifier->image, section->start) ||
		 !image_bytes(&verifier->image, section->start, section->length))
		complain(verifier, section, CHECK_BAD_RANGE, section->start,
			 "0x%" PRIx64 " to 0x%" PRIx64 " is not executable code", section->start,
			 end);
	else if (section->length > MAX_LENGTH)
		complain(verifier, section, CHECK_BAD_RANGE, section->start,
			 "%" PRIu64 " bytes are too long for a section", section->length);
	else
		section->analysable = true;
}

static int compare_starts(const void *a, const void *b)
{
	const struct critical_section *const *left = a, *const *right = b;

	return compare_addresses(&(*left)->start, &(*right)->start);
}

/* Sort the ranges, and leave out those that overlap an earlier one. */
static void check_overlaps(struct verifier *verifier)
{
	struct critical_section **ranges, *last = NULL;
	size_t i, nr = 0;

	ranges = array_new(verifier->nr_sections, sizeof(*ranges));
	for (i = 0; i < verifier->nr_sections; i++)
		if (verifier->sections[i].analysable)
			ranges[nr++] = &verifier->sections[i];
	qsort(ranges, nr, sizeof(*ranges), compare_starts);
	for (i = 0; i < nr; i++) {
		if (last && inside(last, ranges[i]->start)) {
			ranges[i]->analysable = false;
			complain(verifier, ranges[i], CHECK_OVERLAP, ranges[i]->start,
				 "the range overlaps that of the descriptor at 0x%" PRIx64,
				 last->descriptor);
			continue;
		}
		last = ranges[i];
		ranges[verifier->nr_ranges++] = last;
	}
	verifier->ranges = ranges;
}

/* How many of the ranges start at address or below. */
static size_t count_ranges_to(const struct verifier *verifier, uint64_t address)
{
	size_t low = 0, high = verifier->nr_ranges, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (verifier->ranges[middle]->start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct critical_section *section_around(const struct verifier *verifier, uint64_t address)
{
	size_t nr = count_ranges_to(verifier, address);

	return nr && inside(verifier->ranges[nr - 1], address) ? verifier->ranges[nr - 1] : NULL;
}

struct critical_section *section_behind(const struct verifier *verifier, uint64_t address)
{
	size_t nr = count_ranges_to(verifier, address);

	return nr < verifier->nr_ranges ? verifier->ranges[nr] : NULL;
}

static void check_abort_outside(struct verifier *verifier, struct critical_section *section)
{
	if (inside(section, section->abort))
		complain(verifier, section, CHECK_ABORT_INSIDE, section->abort,
			 "abort_ip lies inside the section's own range");
	else if (section_around(verifier, section->abort))
		complain(verifier, section, CHECK_ABORT_INSIDE, section->abort,
			 "abort_ip lies inside another section's range");
}

static void check_signature(struct verifier *verifier, struct critical_section *section)
{
	uint64_t signature, wanted = signature_of(&verifier->image);
	const unsigned char *opcode;

	if (!image_word(&verifier->image, section->abort - SIGNATURE_SIZE, SIGNATURE_SIZE,
			&signature) || signature != wanted) {
		complain(verifier, section, CHECK_BAD_SIGNATURE, section->abort - SIGNATURE_SIZE,
			 "the signature before abort_ip is 0x%08" PRIx64 ", not 0x%08" PRIx64,
			 signature, wanted);
		return;
	}
	if (verifier->image.machine != MACHINE_X86_64)
		return;
	opcode = image_bytes(&verifier->image, section->abort - 7, 3);
	if (!opcode || opcode[0] != 0x0f || opcode[1] != 0xb9 || opcode[2] != 0x3d)
		complain(verifier, section, CHECK_SIGNATURE_ENCODING, section->abort - 7,
			 "the signature is not the operand of an undefined instruction (0f b9 3d)");
}

/* What the kernel leads to must be code, up to a branch that leaves it. */
static void check_abort_code(struct verifier *verifier, struct critical_section *section)
{
	uint64_t address = section->abort;
	struct insn insn;
	size_t i;

	if (!image_executable(&verifier->image, address)) {
		complain(verifier, section, CHECK_BAD_ABORT, address,
			 "abort_ip is not in executable code");
		return;
	}
	for (i = 0; i < MAX_STUB_INSNS; i++, address += insn.size) {
		if (!decode(&verifier->decoder, address, &insn)) {
			complain(verifier, section, CHECK_BAD_ABORT, address,
				 "the code after abort_ip does not decode");
			return;
		}
		if ((insn.flags & INSN_RETURN) || (insn.flags & INSN_INDIRECT) ||
		    ((insn.flags & INSN_BRANCH) && insn.condition == CONDITION_ALWAYS))
			return;
	}
}

void verify_tables(struct verifier *verifier)
{
	struct critical_section *section;
	size_t i;

	check_entries(verifier, "__rseq_cs", DESCRIPTOR_SIZE);
	check_entries(verifier, "__rseq_cs_ptr_array", 8);
	check_entries(verifier, "__rseq_exit_point_array", 16);
	check_entries(verifier, "__rseq_scratch", 8);
	for_each_entry(verifier, "__rseq_cs", DESCRIPTOR_SIZE, note_descriptor);
	for_each_entry(verifier, "__rseq_cs_ptr_array", 8, follow_pointer);
	add_descriptors(verifier);
	verifier->has_exits = for_each_entry(verifier, "__rseq_exit_point_array", 16, add_exit);
	verifier->has_scratch = for_each_entry(verifier, "__rseq_scratch", 8, add_scratch);
	if (verifier->nr_exits)
		qsort(verifier->exits, verifier->nr_exits, sizeof(*verifier->exits),
		      compare_exits);
	if (verifier->nr_scratch)
		qsort(verifier->scratch, verifier->nr_scratch, sizeof(*verifier->scratch),
		      compare_addresses);
	check_pointers(verifier);
	for (i = 0; i < verifier->nr_sections; i++)
		check_range(verifier, &verifier->sections[i]);
	check_overlaps(verifier);
	for (i = 0; i < verifier->nr_sections; i++) {
		section = &verifier->sections[i];
		check_abort_outside(verifier, section);
		check_abort_code(verifier, section);
		check_signature(verifier, section);
	}
}

bool is_declared_scratch(struct verifier *verifier, uint64_t address)
{
	struct scratch_store *store = NULL;

	if (verifier->nr_scratch)
		store = bsearch(&address, verifier->scratch, verifier->nr_scratch,
				sizeof(*verifier->scratch), compare_addresses);
	if (store)
		store->used = true;
	return store;
}

void verify_declarations(struct verifier *verifier)
{
	struct critical_section *section;
	size_t i, k;

	if (verifier->needs_exits)
		complain(verifier, NULL, CHECK_NO_EXIT_ARRAY, 0,
			 "no __rseq_exit_point_array: tools do not see where sections exit");
	if (verifier->needs_scratch)
		complain(verifier, NULL, CHECK_NO_SCRATCH_TABLE, 0,
			 "no __rseq_scratch and no other table: stores before a commit are"
			 " taken for preparatory");
	for (i = 0; i < verifier->nr_exits; i++) {
		if (verifier->exits[i].used)
			continue;
		section = NULL;
		for (k = 0; k < verifier->nr_sections; k++)
			if (verifier->sections[k].start == verifier->exits[i].start)
				section = &verifier->sections[k];
		/* Nothing is known of the branches of a section that does not decode. */
		if (section && !section->complete)
			continue;
		complain(verifier, section, CHECK_STRAY_EXIT_POINT, verifier->exits[i].target,
			 "no branch of the section at 0x%" PRIx64 " leaves to this exit point",
			 verifier->exits[i].start);
	}
	for (i = 0; i < verifier->nr_scratch; i++)
		if (!verifier->scratch[i].used)
			complain(verifier, NULL, CHECK_STRAY_SCRATCH, verifier->scratch[i].address,
				 "__rseq_scratch declares what is no store of a section");
}
