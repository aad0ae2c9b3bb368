/* SPDX-License-Identifier: MIT */
/*
 * verify-body.c: what each instruction of a section may be, one by one.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "verify.h"

static void decode_body(struct verifier *verifier, struct critical_section *section)
{
	uint64_t address = section->start, end = section_end(section);
	struct insn insn;

	for (; address < end; address += insn.size) {
		if (!decode(&verifier->decoder, address, &insn) || !insn.size) {
			complain(verifier, section, CHECK_UNDECODABLE, address,
				 "no known instruction");
			return;
		}
		if (insn.size > end - address) {
			complain(verifier, section, CHECK_BAD_BOUNDARY, end,
				 "the end lies inside the instruction at 0x%" PRIx64, address);
			return;
		}
		section->insns = array_add(section->insns, section->nr_insns, sizeof(insn));
		section->insns[section->nr_insns++] = insn;
	}
	section->complete = true;
}

/* One rule for each kind of instruction that a section must not have. */
static const struct {
	uint32_t flags;
	enum check check;
	const char *what;
} forbidden[] = {
	{ INSN_CALL, CHECK_CALL_INSIDE, "a call" },
	{ INSN_RETURN, CHECK_RETURN_INSIDE, "a return" },
	{ INSN_SYSCALL, CHECK_SYSCALL_INSIDE, "a system call or trap" },
	{ INSN_INDIRECT, CHECK_INDIRECT_JUMP, "an indirect jump" },
	{ INSN_FORBIDDEN, CHECK_FORBIDDEN_INSTRUCTION, "an instruction with unseen effects" },
	{ INSN_STACK, CHECK_STACK_WRITE, "a change of the stack pointer" },
};

static void check_kind(struct verifier *verifier, struct critical_section *section,
		const struct insn *insn)
{
	char text[MAX_TEXT];
	size_t i;

	for (i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		if (!(insn->flags & forbidden[i].flags))
			continue;
		decode_text(&verifier->decoder, insn->address, text, sizeof(text));
		complain(verifier, section, forbidden[i].check, insn->address,
			 "%s inside the section: %s", forbidden[i].what, text);
		return;
	}
}

static bool on_boundary(const struct critical_section *section, uint64_t address)
{
	return bsearch(&address, section->insns, section->nr_insns, sizeof(*section->insns),
		       compare_addresses);
}

static void check_branch(struct verifier *verifier, struct critical_section *section,
		const struct insn *insn)
{
	uint64_t target = insn->target;
	bool recorded = use_exit_point(verifier, section->start, target);

	if (inside(section, target)) {
		if (section->complete && !on_boundary(section, target))
			complain(verifier, section, CHECK_BAD_BOUNDARY, insn->address,
				 "a jump into the middle of an instruction, to 0x%" PRIx64, target);
		return;
	}
	if (target == section_end(section) || target == section->abort)
		return;
	if (!image_executable(&verifier->image, target))
		complain(verifier, section, CHECK_UNRECORDED_EXIT, insn->address,
			 "an exit to 0x%" PRIx64 ", which is not executable code", target);
	else if (splits_insn(verifier, target))
		complain(verifier, section, CHECK_BAD_BOUNDARY, insn->address,
			 "an exit into the middle of an instruction, to 0x%" PRIx64, target);
	else if (!verifier->has_exits)
		verifier->needs_exits = true;
	else if (!recorded)
		complain(verifier, section, CHECK_UNRECORDED_EXIT, insn->address,
			 "an exit to 0x%" PRIx64 " that __rseq_exit_point_array does not record",
			 target);
}

static void check_store(struct verifier *verifier, struct critical_section *section,
		const struct insn *insn, bool last)
{
	bool declared = is_declared_scratch(verifier, insn->address);
	char text[MAX_TEXT];

	decode_text(&verifier->decoder, insn->address, text, sizeof(text));
	if (insn->memory.base == REGISTER_SP && (last || !declared))
		complain(verifier, section, CHECK_STACK_WRITE, insn->address,
			 "a store to the stack: %s", text);
	else if (!last && !verifier->has_scratch && !verifier->has_pointers)
		verifier->needs_scratch = true;
	else if (!last && !declared)
		complain(verifier, section, CHECK_UNDECLARED_STORE, insn->address,
			 "a store before the commit, not declared in __rseq_scratch: %s", text);
	else if (last && declared)
		complain(verifier, section, CHECK_COMMIT_NOT_LAST, insn->address,
			 "the last store is declared preparatory: %s", text);
}

static void check_commit(struct verifier *verifier, struct critical_section *section)
{
	const struct insn *last = &section->insns[section->nr_insns - 1];
	bool stores = false;
	char text[MAX_TEXT];
	size_t i;

	for (i = 0; i < section->nr_insns; i++)
		stores = stores || (section->insns[i].flags & INSN_STORE);
	decode_text(&verifier->decoder, last->address, text, sizeof(text));
	if (!stores)
		complain(verifier, section, CHECK_NO_COMMIT, last->address,
			 "no store inside the section; its last instruction is %s", text);
	else if (!(last->flags & INSN_STORE))
		complain(verifier, section, CHECK_COMMIT_NOT_LAST, last->address,
			 "the last instruction is no store: %s", text);
	else if (last->flags & INSN_INTERRUPTIBLE)
		complain(verifier, section, CHECK_COMMIT_INTERRUPTIBLE, last->address,
			 "the commit may be preempted half-way: %s", text);
	if (last->flags & INSN_STORE)
		section->commit = last->address;
}

void verify_body(struct verifier *verifier, struct critical_section *section)
{
	const struct insn *insn;
	size_t i;

	decode_body(verifier, section);
	for (i = 0; i < section->nr_insns; i++) {
		insn = &section->insns[i];
		check_kind(verifier, section, insn);
		if ((insn->flags & INSN_BRANCH) && !(insn->flags & INSN_CALL))
			check_branch(verifier, section, insn);
		if (insn->flags & INSN_STORE)
			check_store(verifier, section, insn,
				    section->complete && i == section->nr_insns - 1);
	}
	if (section->complete)
		check_commit(verifier, section);
}
