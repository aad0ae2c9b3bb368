/* SPDX-License-Identifier: MIT */
/*
 * verify-flow.c: what is known at each store of a section, whichever way led there.
 *
 * A fact holds at an instruction if it holds on all paths from start_ip. Facts are followed
 * forward, and dropped where paths meet that disagree, until nothing changes.
 */
#include <stdlib.h>
#include <string.h>

#include "verify.h"

/*
 * Offset of the field rseq_cs in the area, and those of the id fields from it. node_id is none: it
 * is the same for many CPUs, and their threads do not exclude each other.
 */
#define OFFSET_RSEQ_CS	8
#define OFFSET_CPU_ID	(4 - 8)
#define OFFSET_MM_CID	(24 - 8)
#define ID_SIZE		4

/* Bytes of the area before and from its field rseq_cs on that belong to every kernel's area. */
#define AREA_BEFORE	8
#define AREA_AFTER	24

/* Numbers of the fields where they are chosen by these. */
#define FIELD_CPU_ID	1
#define FIELD_MM_CID	6

#define MAX_OPERANDS	64

/* What the processor's flags, or a tested register, were computed from. */
enum origin {
	ORIGIN_OTHER,
	ORIGIN_ID,			/* the id, somehow */
	ORIGIN_DIFFERENCE,		/* the id minus something: zero means equal */
};

/* Sets of 64 bits. The first has a bit for each enum truth, the next for each register, ... */
enum set {
	SET_TRUTHS,
	SET_ID,				/* computed from the id */
	SET_CPU_ID,			/* computed from the id, which is cpu_id */
	SET_DIFFERENCE,			/* computed from the id by subtraction */
	SET_DERIVED,			/* ... or loaded from where that points to */
	SET_WRITTEN,			/* written since the start */
	SET_APART,			/* not computed from the area's address */
	SET_LOADED,			/* the last for each operand: those that were loaded */
	NR_SETS
};

enum truth {
	ID_READ		= 1 << 0,	/* the id was loaded inside the section */
	ID_EQUAL	= 1 << 1,	/* it equals what it was compared with */
	ID_TESTED	= 1 << 2,	/* a branch on it was passed */
	REGISTERED	= 1 << 3,	/* a branch on cpu_id was passed, or the id is cpu_id */
	AREA_KEPT	= 1 << 4,	/* the area's address registers are as when it was armed */
	FLAGS_CPU_ID	= 1 << 5,	/* the processor's flags were computed from cpu_id */
	FLAGS_CHOICE	= 1 << 6,	/* ... tell whether the field that was chosen is cpu_id */
};

struct facts {
	bool reached;
	bool pending;			/* its instruction is on the list of those to follow */
	enum origin flags;
	uint64_t sets[NR_SETS];
	uint64_t stored;		/* operands that some path has written */
};

struct flow {
	struct verifier *verifier;
	struct critical_section *section;
	struct facts *before;		/* by instruction */
	size_t *pending;		/* a ring of as many as there are instructions */
	size_t first_pending, nr_pending;
	bool any_id;
	bool other_base;		/* the id is read through another register than arming's */
	struct memory_operand id_operand;	/* then: how */
	uint8_t choice;			/* the register that has the number of the id's field */
	struct memory_operand operands[MAX_OPERANDS];	/* distinct ones */
	size_t nr_operands;
};

/*
 * A field of the area whose offset is in a register, so that one section serves cpu_id and mm_cid.
 * It may be either, so that cpu_id alone, read beside it, tells whether the thread is registered;
 * but where the register was found to hold the number of cpu_id, the field does.
 */
static bool reads_chosen_id(const struct memory_operand *memory, const struct memory_operand *area)
{
	return memory->segment == area->segment && memory->base == area->base &&
		area->base != REGISTER_NONE && area->index == REGISTER_NONE &&
		memory->index != REGISTER_NONE && memory->size == ID_SIZE &&
		memory->displacement == area->displacement - OFFSET_RSEQ_CS;
}

static bool reads_area_id(const struct critical_section *section, const struct insn *insn)
{
	int64_t offset = offset_from(&insn->memory, &section->area);

	if (!section->armed)
		return false;
	if (!same_base(&insn->memory, &section->area))
		return reads_chosen_id(&insn->memory, &section->area);
	return offset == OFFSET_CPU_ID || offset == OFFSET_MM_CID;
}

static bool reads_id(const struct flow *flow, const struct insn *insn, const struct facts *facts)
{
	if (!(insn->flags & INSN_LOAD) || (insn->flags & INSN_STORE) ||
	    insn->memory.size != ID_SIZE)
		return false;
	if (flow->other_base)
		return same_base(&insn->memory, &flow->id_operand) &&
			insn->memory.displacement == flow->id_operand.displacement;
	return (facts->sets[SET_TRUTHS] & AREA_KEPT) && reads_area_id(flow->section, insn);
}

/*
 * Whether the flags, or a branch, tell if the register that chooses a field holds the number of
 * mm_cid, which may be 0 in an unregistered thread: some of its bits, and none of cpu_id's.
 */
static bool tests_choice(const struct flow *flow, const struct insn *insn)
{
	uint64_t bits = insn->constant;

	return (insn->flags & INSN_TESTS_BITS) && insn->destination == flow->choice &&
		(bits & FIELD_MM_CID) && !(bits & FIELD_CPU_ID);
}

/* Of an instruction that reads the id. Which one another base leads to is not known. */
static bool reads_cpu_id(const struct flow *flow, const struct insn *insn)
{
	if (flow->other_base)
		return true;
	return same_base(&insn->memory, &flow->section->area) &&
		offset_from(&insn->memory, &flow->section->area) == OFFSET_CPU_ID;
}

/*
 * Where nothing reads the id relative to the arming store's operand, a compiler may have put the
 * same area into two registers. Then a section's first load, of an id's size, passes for it.
 */
static void find_id(struct flow *flow)
{
	const struct insn *insn;
	size_t i;

	flow->choice = REGISTER_NONE;
	for (i = 0; i < flow->section->nr_insns; i++) {
		insn = &flow->section->insns[i];
		if (!(insn->flags & INSN_LOAD) || insn->memory.size != ID_SIZE ||
		    !reads_area_id(flow->section, insn))
			continue;
		flow->any_id = true;
		if (insn->memory.index != flow->section->area.index &&
		    insn->memory.factor == ID_SIZE)
			flow->choice = insn->memory.index;
	}
	for (i = 0; i < flow->section->nr_insns && !flow->any_id && flow->section->armed; i++) {
		insn = &flow->section->insns[i];
		if (insn->flags & INSN_STORE)
			return;
		if (!(insn->flags & INSN_LOAD))
			continue;
		if (insn->memory.size != ID_SIZE || same_base(&insn->memory, &flow->section->area))
			return;
		flow->any_id = flow->other_base = true;
		flow->id_operand = insn->memory;
		complain(flow->verifier, flow->section, CHECK_OTHER_BASE, insn->address,
			 "taken for the read of the id, though its base differs from arming's");
	}
}

/* Bit of an operand, which is remembered; 0 when there are too many. */
static uint64_t operand_bit(struct flow *flow, const struct memory_operand *memory)
{
	size_t i;

	for (i = 0; i < flow->nr_operands; i++)
		if (same_base(memory, &flow->operands[i]) &&
		    memory->displacement == flow->operands[i].displacement &&
		    memory->size == flow->operands[i].size)
			return UINT64_C(1) << i;
	if (i == MAX_OPERANDS)
		return 0;
	flow->operands[flow->nr_operands++] = *memory;
	return UINT64_C(1) << i;
}

/* Accesses add to what is known of memory; a changed register means another place. */
static void pass_memory(struct flow *flow, const struct insn *insn, struct facts *facts)
{
	uint64_t lost = 0;
	size_t i;

	if (insn->flags & INSN_LOAD)
		facts->sets[SET_LOADED] |= operand_bit(flow, &insn->memory);
	if (insn->flags & INSN_STORE)
		facts->stored |= operand_bit(flow, &insn->memory);
	for (i = 0; i < flow->nr_operands; i++)
		if (address_registers(&flow->operands[i]) & insn->writes)
			lost |= UINT64_C(1) << i;
	facts->sets[SET_LOADED] &= ~lost;
	facts->stored &= ~lost;
	if (insn->writes & address_registers(&flow->section->area))
		facts->sets[SET_TRUTHS] &= ~(uint64_t)AREA_KEPT;
	if (insn->writes & REGISTER_BIT(flow->choice))
		facts->sets[SET_TRUTHS] &= ~(uint64_t)(REGISTERED | FLAGS_CHOICE);
}

static void put(struct facts *facts, enum set set, uint64_t bits, bool in)
{
	facts->sets[set] = in ? facts->sets[set] | bits : facts->sets[set] & ~bits;
}

/*
 * Registers that the area's address is computed into. What a load brings has nothing to do with
 * the address that it takes; that, where it is stepped on, still has.
 */
static void pass_area(const struct insn *insn, struct facts *facts)
{
	uint64_t reads = insn->reads, writes = insn->writes;

	if (insn->flags & (INSN_LOAD | INSN_STORE)) {
		reads &= ~address_registers(&insn->memory);
		writes &= ~address_registers(&insn->memory);
	}
	if (insn->flags & INSN_LOAD)
		writes |= insn->writes & REGISTER_BIT(insn->destination);
	put(facts, SET_APART, writes,
	    (insn->flags & INSN_CLEARS) || !(reads & ~facts->sets[SET_APART]));
}

static void pass(struct flow *flow, const struct insn *insn, struct facts *facts)
{
	bool reads = reads_id(flow, insn, facts), clears = insn->flags & INSN_CLEARS;
	uint64_t values = insn->flags & INSN_LOAD ?
		insn->reads & ~address_registers(&insn->memory) : insn->reads;
	bool id = (reads || (values & facts->sets[SET_ID])) && !clears;
	bool cpu_id = ((reads && reads_cpu_id(flow, insn)) ||
		       (values & facts->sets[SET_CPU_ID])) && !clears;
	bool derived = (reads || (insn->reads & facts->sets[SET_DERIVED])) && !clears;
	bool difference = id && (insn->flags & INSN_DIFFERENCE);
	bool kept = (insn->flags & INSN_KEEPS_FLAGS) && facts->flags != ORIGIN_OTHER;
	bool flags_cpu_id = facts->sets[SET_TRUTHS] & FLAGS_CPU_ID;

	pass_memory(flow, insn, facts);
	pass_area(insn, facts);
	if (reads)
		put(facts, SET_TRUTHS, ID_READ, true);
	put(facts, SET_ID, insn->writes, id);
	put(facts, SET_CPU_ID, insn->writes, cpu_id);
	put(facts, SET_DIFFERENCE, insn->writes, difference);
	put(facts, SET_DERIVED, insn->writes, derived);
	put(facts, SET_WRITTEN, insn->writes, true);
	if (!(insn->flags & INSN_SETS_FLAGS))
		return;
	put(facts, SET_TRUTHS, FLAGS_CPU_ID, cpu_id || (kept && flags_cpu_id));
	put(facts, SET_TRUTHS, FLAGS_CHOICE, tests_choice(flow, insn));
	facts->flags = kept ? ORIGIN_ID : !id ? ORIGIN_OTHER : difference ? ORIGIN_DIFFERENCE :
		ORIGIN_ID;
	if (insn->flags & INSN_FLAGS_UNDEFINED)
		facts->flags = ORIGIN_OTHER;
}

/* Where the field is chosen: on one way from here it is cpu_id. */
static void learn_choice(const struct flow *flow, const struct insn *insn, struct facts *taken,
		struct facts *next)
{
	if (!(insn->flags & INSN_TESTS_FLAGS)) {
		if (tests_choice(flow, insn))
			put(insn->flags & INSN_IF_CLEAR ? taken : next, SET_TRUTHS, REGISTERED,
			    true);
	} else if (taken->sets[SET_TRUTHS] & FLAGS_CHOICE) {
		if (insn->condition == CONDITION_EQUAL)
			put(taken, SET_TRUTHS, REGISTERED, true);
		else if (insn->condition == CONDITION_NOT_EQUAL)
			put(next, SET_TRUTHS, REGISTERED, true);
	}
}

/* A conditional branch tells something of what it tests: facts of the taken and the other way. */
static void learn(const struct insn *insn, struct facts *taken, struct facts *next)
{
	enum origin origin = taken->flags;
	bool cpu_id = taken->sets[SET_TRUTHS] & FLAGS_CPU_ID;

	if (!(insn->flags & INSN_TESTS_FLAGS)) {
		origin = insn->reads & taken->sets[SET_DIFFERENCE] ? ORIGIN_DIFFERENCE :
			insn->reads & taken->sets[SET_ID] ? ORIGIN_ID : ORIGIN_OTHER;
		cpu_id = insn->reads & taken->sets[SET_CPU_ID];
	}
	if (origin == ORIGIN_OTHER)
		return;
	if (cpu_id) {
		taken->sets[SET_TRUTHS] |= REGISTERED;
		next->sets[SET_TRUTHS] |= REGISTERED;
	}
	if (origin == ORIGIN_DIFFERENCE && insn->condition == CONDITION_EQUAL) {
		taken->sets[SET_TRUTHS] |= ID_EQUAL;
	} else if (origin == ORIGIN_DIFFERENCE && insn->condition == CONDITION_NOT_EQUAL) {
		next->sets[SET_TRUTHS] |= ID_EQUAL;
	} else {
		taken->sets[SET_TRUTHS] |= ID_TESTED;
		next->sets[SET_TRUTHS] |= ID_TESTED;
	}
}

/* Returns: whether that changed what was known. */
static bool meet(struct facts *known, const struct facts *other)
{
	uint64_t lost = 0, gained;
	bool differ = known->flags != other->flags && known->flags != ORIGIN_OTHER;
	size_t i;

	if (!known->reached) {
		*known = *other;
		return true;
	}
	for (i = 0; i < NR_SETS; i++) {
		lost |= known->sets[i] & ~other->sets[i];
		known->sets[i] &= other->sets[i];
	}
	gained = other->stored & ~known->stored;
	known->stored |= gained;
	if (differ)
		known->flags = ORIGIN_OTHER;
	return lost || gained || differ;
}

static void add_pending(struct flow *flow, size_t index)
{
	if (flow->before[index].pending)
		return;
	flow->before[index].pending = true;
	flow->pending[(flow->first_pending + flow->nr_pending++) % flow->section->nr_insns] =
		index;
}

static size_t take_pending(struct flow *flow)
{
	size_t index = flow->pending[flow->first_pending];

	flow->first_pending = (flow->first_pending + 1) % flow->section->nr_insns;
	flow->nr_pending--;
	flow->before[index].pending = false;
	return index;
}

static void meet_at(struct flow *flow, uint64_t address, const struct facts *facts)
{
	struct critical_section *section = flow->section;
	const struct insn *insn = bsearch(&address, section->insns, section->nr_insns,
					  sizeof(*insn), compare_addresses);

	if (insn && meet(&flow->before[insn - section->insns], facts))
		add_pending(flow, (size_t)(insn - section->insns));
}

/* Follow one instruction, to those that what is known behind it is news for. */
static void follow(struct flow *flow, size_t index)
{
	const struct insn *insn = &flow->section->insns[index];
	struct facts next = flow->before[index], taken;
	bool branches = (insn->flags & INSN_BRANCH) && !(insn->flags & INSN_CALL);

	pass(flow, insn, &next);
	if (branches) {
		taken = next;
		if (insn->condition != CONDITION_ALWAYS) {
			learn(insn, &taken, &next);
			learn_choice(flow, insn, &taken, &next);
		}
		meet_at(flow, insn->target, &taken);
	}
	if ((branches && insn->condition == CONDITION_ALWAYS) || (insn->flags & INSN_RETURN) ||
	    ((insn->flags & INSN_INDIRECT) && !(insn->flags & INSN_CALL)))
		return;
	meet_at(flow, insn->address + insn->size, &next);
}

/* Whether any operand among bits shares bytes with memory. */
static bool overlaps_any(const struct flow *flow, uint64_t bits,
		const struct memory_operand *memory)
{
	const struct memory_operand *other;
	size_t i;

	for (i = 0; i < flow->nr_operands; i++) {
		other = &flow->operands[i];
		if ((bits >> i & 1) && same_base(other, memory) &&
		    offset_from(memory, other) < other->size &&
		    offset_from(other, memory) < memory->size)
			return true;
	}
	return false;
}

/* What the commit has to do with the id. */
static void check_guard(struct flow *flow, const struct insn *insn, const struct facts *facts)
{
	uint64_t truths = facts->sets[SET_TRUTHS];

	if (!(truths & ID_READ))
		return;
	if (!(truths & REGISTERED))
		complain(flow->verifier, flow->section, CHECK_UNREGISTERED_CID, insn->address,
			 "an unregistered thread has concurrency id 0: cpu_id was not tested");
	if (truths & ID_EQUAL)
		return;
	if (!(address_registers(&insn->memory) & facts->sets[SET_DERIVED]))
		complain(flow->verifier, flow->section, CHECK_UNGUARDED_COMMIT, insn->address,
			 "the commit depends on the id neither by a comparison for equality nor by"
			 " its address");
}

static void check_commit(struct flow *flow, const struct insn *insn, const struct facts *facts)
{
	struct verifier *verifier = flow->verifier;
	struct critical_section *section = flow->section;

	if (!facts->reached) {
		complain(verifier, section, CHECK_COMMIT_UNREACHABLE, insn->address,
			 "no path leads to the commit");
		return;
	}
	if (overlaps_any(flow, facts->stored, &insn->memory))
		complain(verifier, section, CHECK_TWO_COMMITS, insn->address,
			 "the word that the commit writes was written before");
	if (!(insn->flags & INSN_LOAD) &&
	    !overlaps_any(flow, facts->sets[SET_LOADED], &insn->memory))
		complain(verifier, section, CHECK_COMMIT_NOT_READ, insn->address,
			 "the word that the commit writes was not read inside the section");
	check_guard(flow, insn, facts);
}

/*
 * Whether what the commit does depends on the id by a comparison alone. Then stores before that
 * would be made on any CPU; where the id chooses the memory, it is enough that it was read.
 */
static bool compares_id(const struct flow *flow)
{
	const struct critical_section *section = flow->section;
	const struct insn *last = &section->insns[section->nr_insns - 1];
	const struct facts *facts = &flow->before[section->nr_insns - 1];

	return section->commit && (facts->sets[SET_TRUTHS] & ID_EQUAL) &&
		!(address_registers(&last->memory) & facts->sets[SET_DERIVED]);
}

/* Whether the id chooses what is stored to while it may be that of an unregistered thread. */
static bool is_unchecked_index(const struct insn *insn, const struct facts *facts)
{
	return !(facts->sets[SET_TRUTHS] & (ID_EQUAL | ID_TESTED)) &&
		(address_registers(&insn->memory) & facts->sets[SET_DERIVED]);
}

static void check_order(struct flow *flow)
{
	const struct critical_section *section = flow->section;
	bool compares = compares_id(flow);
	const struct facts *facts;
	size_t i;

	for (i = 0; i < section->nr_insns; i++) {
		facts = &flow->before[i];
		if (!(section->insns[i].flags & INSN_STORE) || !facts->reached)
			continue;
		if (!(facts->sets[SET_TRUTHS] & ID_READ))
			complain(flow->verifier, flow->section, CHECK_STORE_BEFORE_CHECK,
				 section->insns[i].address,
				 "a store that the read of the id does not precede");
		else if (compares && !(facts->sets[SET_TRUTHS] & ID_EQUAL))
			complain(flow->verifier, flow->section, CHECK_STORE_BEFORE_CHECK,
				 section->insns[i].address,
				 "a store that the comparison of the id does not precede");
		else if (is_unchecked_index(&section->insns[i], facts))
			complain(flow->verifier, flow->section, CHECK_UNCHECKED_INDEX,
				 section->insns[i].address,
				 "the id indexes memory that is stored to though no branch excluded"
				 " the negative id of an unregistered thread");
	}
}

/*
 * Whether the store may touch the area: relative to the registers that arming used, or by an
 * address that is computed from them inside, somehow.
 */
static bool stores_to_area(const struct flow *flow, const struct insn *insn,
		const struct facts *facts)
{
	const struct critical_section *section = flow->section;
	const struct memory_operand *memory = &insn->memory;
	int64_t offset = offset_from(memory, &section->area);

	if (!section->armed)
		return false;
	if ((facts->sets[SET_TRUTHS] & AREA_KEPT) && same_base(memory, &section->area))
		return offset > -AREA_BEFORE - (memory->size ? memory->size : 1) &&
			offset < AREA_AFTER;
	return address_registers(memory) & ~facts->sets[SET_APART];
}

static void check_area(struct flow *flow)
{
	struct critical_section *section = flow->section;
	const struct insn *insn;
	char text[MAX_TEXT];
	size_t i;

	for (i = 0; i < section->nr_insns; i++) {
		insn = &section->insns[i];
		if (!(insn->flags & INSN_STORE) || !flow->before[i].reached ||
		    !stores_to_area(flow, insn, &flow->before[i]))
			continue;
		decode_text(&flow->verifier->decoder, insn->address, text, sizeof(text));
		complain(flow->verifier, section, CHECK_AREA_WRITE, insn->address,
			 "a store into the rseq area: %s", text);
	}
}

/* What the section takes from before it must be there for another try. */
static void check_inputs(struct flow *flow)
{
	struct critical_section *section = flow->section;
	const struct insn *insn;
	uint64_t inputs = 0;
	char text[MAX_TEXT];
	size_t i;

	for (i = 0; i < section->nr_insns; i++) {
		insn = &section->insns[i];
		if (flow->before[i].reached && !(insn->flags & INSN_CLEARS))
			inputs |= insn->reads & ~flow->before[i].sets[SET_WRITTEN];
	}
	for (i = 0; i < section->nr_insns; i++) {
		insn = &section->insns[i];
		if (!(insn->writes & inputs) || !flow->before[i].reached)
			continue;
		decode_text(&flow->verifier->decoder, insn->address, text, sizeof(text));
		complain(flow->verifier, section, CHECK_MODIFIED_INPUT, insn->address,
			 "the section changes a register that it takes from before: %s", text);
		return;
	}
}

void verify_flow(struct verifier *verifier, struct critical_section *section)
{
	struct flow flow = { .verifier = verifier, .section = section };

	if (!section->complete)
		return;
	flow.pending = array_new(section->nr_insns, sizeof(*flow.pending));
	flow.before = array_new(section->nr_insns, sizeof(*flow.before));
	find_id(&flow);
	flow.before[0].reached = true;
	flow.before[0].sets[SET_TRUTHS] = AREA_KEPT;
	flow.before[0].sets[SET_APART] = ~address_registers(&section->area);
	add_pending(&flow, 0);
	while (flow.nr_pending)
		follow(&flow, take_pending(&flow));
	if (flow.any_id)
		check_order(&flow);
	else if (section->armed)
		complain(verifier, section, CHECK_NO_CPU_CHECK, section->start,
			 "neither cpu_id nor mm_cid is read inside the section");
	check_area(&flow);
	check_inputs(&flow);
	if (section->commit)
		check_commit(&flow, &section->insns[section->nr_insns - 1],
			     &flow.before[section->nr_insns - 1]);
	free(flow.pending);
	free(flow.before);
}
