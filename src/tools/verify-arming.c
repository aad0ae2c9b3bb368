/* SPDX-License-Identifier: MIT */
/*
 * verify-arming.c: the store of the descriptor's address that ends where the section starts.
 */
#include <inttypes.h>
#include <string.h>

#include "verify.h"

/* How far before its store an address may be computed, in bytes of code. */
#define WINDOW	64

/* Registers whose values are known. */
struct constants {
	uint64_t known;
	uint64_t values[64];
};

/* What a walk over straight code found. */
struct walk {
	bool reached;			/* an instruction starts where the walk should end */
	bool stores;			/* the last one before that stores a known 64-bit value */
	uint64_t stored;
	struct memory_operand place;
	uint64_t seen;			/* address behind a store of the wanted value, or 0 */
};

static void set_constant(struct constants *constants, uint8_t reg, uint64_t value)
{
	if (reg >= 64)
		return;
	constants->known |= REGISTER_BIT(reg);
	constants->values[reg] = value;
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

	if (insn->flags & (INSN_CALL | INSN_RETURN | INSN_SYSCALL)) {
		constants->known = 0;
		return;
	}
	constants->known &= ~insn->writes;
	if (insn->flags & INSN_SETS_CONSTANT)
		set_constant(constants, insn->destination, insn->constant);
	else if ((insn->flags & INSN_ADDS_CONSTANT) && source_known)
		set_constant(constants, insn->destination, source + insn->constant);
	else if ((insn->flags & INSN_LOAD) && !(insn->flags & INSN_STORE) &&
		 insn->memory.size == 8 && is_absolute(&insn->memory) &&
		 (insn->writes & REGISTER_BIT(insn->destination)) &&
		 image_word(&verifier->image, (uint64_t)insn->memory.displacement, 8, &word))
		set_constant(constants, insn->destination, word);
}

static bool stored_value(const struct constants *constants, const struct insn *insn,
		uint64_t *value)
{
	if (!(insn->flags & INSN_STORE) || (insn->flags & INSN_LOAD) || insn->memory.size != 8)
		return false;
	if (insn->flags & INSN_STORES_CONSTANT) {
		*value = insn->constant;
		return true;
	}
	if (!(constants->known & REGISTER_BIT(insn->source)))
		return false;
	*value = constants->values[insn->source];
	return true;
}

static void walk(const struct verifier *verifier, uint64_t from, uint64_t to, uint64_t wanted,
		struct walk *result)
{
	struct constants constants = { 0 };
	struct insn insn;
	uint64_t value;

	memset(result, 0, sizeof(*result));
	for (; from < to; from += insn.size) {
		if (!decode(&verifier->decoder, from, &insn) || !insn.size)
			return;
		result->stores = stored_value(&constants, &insn, &value);
		if (result->stores) {
			result->stored = value;
			result->place = insn.memory;
			if (value == wanted)
				result->seen = from + insn.size;
		}
		step(verifier, &constants, &insn);
	}
	result->reached = from == to;
}

void verify_arming(struct verifier *verifier, struct critical_section *section)
{
	uint64_t distance, wanted = section->descriptor, wrong = 0, elsewhere = 0;
	uint64_t step_size = verifier->image.machine == MACHINE_AARCH64 ? 4 : 1;
	struct walk found;

	/*
	 * Where instructions begin is unknown on x86-64, so try every address. A walk that begins
	 * inside an instruction soon falls into step; the farther away, the surer.
	 */
	for (distance = WINDOW; distance; distance -= step_size) {
		walk(verifier, section->start - distance, section->start, wanted, &found);
		if (found.reached && found.stores && found.stored == wanted) {
			section->armed = true;
			section->area = found.place;
			return;
		}
		if (found.reached && found.stores && section_of(verifier, found.stored))
			wrong = found.stored;
		if (found.seen)
			elsewhere = found.seen;
	}
	if (!elsewhere) {
		walk(verifier, section->start, section_end(section), wanted, &found);
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
