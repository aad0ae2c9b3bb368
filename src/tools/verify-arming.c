/* SPDX-License-Identifier: MIT */
/*
 * verify-arming.c: the store of the descriptor's address that ends where the section starts.
 */
#include <inttypes.h>

#include "verify.h"

/* How far before its store an address may be computed, in bytes of code. */
#define WINDOW	64

/* Registers whose values are known, and where the code begins that computes them. */
struct constants {
	uint64_t known;
	uint64_t values[64];
	uint64_t begins[64];
};

/* What a walk over straight code found. */
struct walk {
	bool reached;			/* an instruction starts where the walk should end */
	bool stores;			/* the last one before that stores a known 64-bit value */
	uint64_t stored, begin;		/* that, and where its computation begins */
	struct memory_operand place;
	uint64_t seen;			/* address behind a store of the wanted value, or 0 */
};

static void set_constant(struct constants *constants, uint8_t reg, uint64_t value, uint64_t begin)
{
	if (reg >= 64)
		return;
	constants->known |= REGISTER_BIT(reg);
	constants->values[reg] = value;
	constants->begins[reg] = begin;
}

/* Whether what stands behind the instruction is reached from elsewhere alone, or from a call. */
static bool breaks_off(const struct insn *insn)
{
	if (insn->flags & (INSN_CALL | INSN_RETURN | INSN_SYSCALL | INSN_INDIRECT))
		return true;
	return (insn->flags & INSN_BRANCH) && insn->condition == CONDITION_ALWAYS;
}

static bool is_absolute(const struct memory_operand *memory)
{
	return memory->segment == REGISTER_NONE && memory->base == REGISTER_NONE &&
		memory->index == REGISTER_NONE;
}

static void step(const struct verifier *verifier, struct constants *constants,
		const struct insn *insn)
{
	bool source_known = constants->known & REGISTER_BIT(insn->source);
	uint64_t source = source_known ? constants->values[insn->source] : 0, word;
	uint64_t begin = source_known ? constants->begins[insn->source] : 0;

	if (breaks_off(insn)) {
		constants->known = 0;
		return;
	}
	constants->known &= ~insn->writes;
	if (insn->flags & INSN_SETS_CONSTANT)
		set_constant(constants, insn->destination, insn->constant, insn->address);
	else if ((insn->flags & INSN_ADDS_CONSTANT) && source_known)
		set_constant(constants, insn->destination, source + insn->constant, begin);
	else if ((insn->flags & INSN_LOAD) && !(insn->flags & INSN_STORE) &&
		 insn->memory.size == 8 && is_absolute(&insn->memory) &&
		 (insn->writes & REGISTER_BIT(insn->destination)) &&
		 image_word(&verifier->image, (uint64_t)insn->memory.displacement, 8, &word))
		set_constant(constants, insn->destination, word, insn->address);
}

static bool stored_value(const struct constants *constants, const struct insn *insn,
		struct walk *result)
{
	if (!(insn->flags & INSN_STORE) || (insn->flags & INSN_LOAD) || insn->memory.size != 8)
		return false;
	result->stored = insn->constant;
	result->begin = insn->address;
	if (insn->flags & INSN_STORES_CONSTANT)
		return true;
	if (!(constants->known & REGISTER_BIT(insn->source)))
		return false;
	result->stored = constants->values[insn->source];
	result->begin = constants->begins[insn->source];
	return true;
}

static void walk(const struct verifier *verifier, struct constants *constants, uint64_t from,
		uint64_t to, uint64_t wanted, struct walk *result)
{
	struct insn insn;

	for (result->reached = false; from < to; from += insn.size) {
		if (!decode(&verifier->decoder, from, &insn) || !insn.size)
			return;
		result->stores = stored_value(constants, &insn, result);
		if (result->stores) {
			result->place = insn.memory;
			if (result->stored == wanted)
				result->seen = from + insn.size;
		}
		step(verifier, constants, &insn);
	}
	result->reached = from == to;
}

static struct walk walk_straight(const struct verifier *verifier, uint64_t from, uint64_t to,
		uint64_t wanted)
{
	struct constants constants = { 0 };
	struct walk found = { 0 };

	walk(verifier, &constants, from, to, wanted, &found);
	return found;
}

/* How far apart the addresses are at which instructions may begin. */
static uint64_t spacing(const struct verifier *verifier)
{
	return verifier->image.machine == MACHINE_AARCH64 ? 4 : 1;
}

/* Whether the way from distance bytes before a jump over its target to the start arms. */
static bool arms_from(const struct verifier *verifier, const struct critical_section *section,
		uint64_t jump, uint64_t target, uint64_t distance)
{
	struct constants constants = { 0 };
	struct walk found = { 0 };

	walk(verifier, &constants, jump - distance, jump, section->descriptor, &found);
	if (!found.reached)
		return false;
	walk(verifier, &constants, target, section->start, section->descriptor, &found);
	return found.reached && found.stores && found.stored == section->descriptor &&
		(!section->armed || (same_base(&found.place, &section->area) &&
				     found.place.displacement == section->area.displacement));
}

bool arms_on_way(const struct verifier *verifier, const struct critical_section *section,
		uint64_t jump, uint64_t target)
{
	uint64_t distance, step_size = spacing(verifier);

	for (distance = 0; distance <= WINDOW; distance += step_size)
		if (arms_from(verifier, section, jump, target, distance))
			return true;
	return false;
}

void verify_arming(struct verifier *verifier, struct critical_section *section)
{
	uint64_t distance, wanted = section->descriptor, wrong = 0, elsewhere = 0;
	uint64_t step_size = spacing(verifier);
	struct walk found;

	section->arming = section->start;
	/*
	 * Where instructions begin is unknown on x86-64, so try every address. A walk that begins
	 * inside an instruction soon falls into step; the farther away, the surer.
	 */
	for (distance = WINDOW; distance; distance -= step_size) {
		found = walk_straight(verifier, section->start - distance, section->start, wanted);
		if (found.reached && found.stores && found.stored == wanted) {
			section->armed = true;
			section->area = found.place;
			section->arming = found.begin;
			return;
		}
		if (found.reached && found.stores && section_of(verifier, found.stored))
			wrong = found.stored;
		if (found.seen)
			elsewhere = found.seen;
	}
	if (!elsewhere) {
		found = walk_straight(verifier, section->start, section_end(section), wanted);
		elsewhere = found.seen;
	}
	if (wrong)
		complain(verifier, section, CHECK_WRONG_DESCRIPTOR, section->start,
			 "the arming store takes another descriptor, 0x%" PRIx64, wrong);
	else if (elsewhere)
		complain(verifier, section, CHECK_ARMING_NOT_ADJACENT, elsewhere,
			 "the arming store ends here, not at start_ip 0x%" PRIx64, section->start);
	else
		complain(verifier, section, CHECK_NO_ARMING, section->start,
			 "no store of the descriptor's address before start_ip");
}
