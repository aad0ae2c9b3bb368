/* SPDX-License-Identifier: MIT */
/*
 * verify-x86.c: x86-64 instructions.
 *
 * Capstone finds lengths, operands and registers. Which operand is written is decided here: its
 * access flags call many stores (vector moves, setcc) loads.
 */
#include <stddef.h>

#include "verify-insn.h"

#define SEGMENT_CODE(reg)	((uint8_t)(reg))

/* Names of one register that capstone numbers apart. */
static const struct {
	uint16_t names[6];
	uint8_t number;
} general_registers[] = {
	{ { X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL, X86_REG_AH }, 0 },
	{ { X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH }, 1 },
	{ { X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH }, 2 },
	{ { X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL, X86_REG_BH }, 3 },
	{ { X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL }, REGISTER_SP },
	{ { X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL }, 5 },
	{ { X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL }, 6 },
	{ { X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL }, 7 },
};

static uint8_t register_number(unsigned int reg)
{
	static const unsigned int high[] = { X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B };
	static const unsigned int vector[] = { X86_REG_XMM0, X86_REG_YMM0, X86_REG_ZMM0 };
	size_t i, k;

	for (i = 0; i < sizeof(general_registers) / sizeof(general_registers[0]); i++)
		for (k = 0; k < 6 && general_registers[i].names[k]; k++)
			if (general_registers[i].names[k] == reg)
				return general_registers[i].number;
	for (i = 0; i < sizeof(high) / sizeof(high[0]); i++)
		if (reg >= high[i] && reg < high[i] + 8)
			return (uint8_t)(8 + reg - high[i]);
	for (i = 0; i < sizeof(vector) / sizeof(vector[0]); i++)
		if (reg >= vector[i] && reg < vector[i] + 32)
			return (uint8_t)(REGISTER_VECTOR + reg - vector[i]);
	return REGISTER_NONE;
}

static bool in_group(const cs_insn *decoded, uint8_t group)
{
	uint8_t i;

	for (i = 0; i < decoded->detail->groups_count; i++)
		if (decoded->detail->groups[i] == group)
			return true;
	return false;
}

/* Instructions whose first operand is memory that they do not write. */
static bool reads_first_operand(unsigned int id)
{
	switch (id) {
	case X86_INS_CMP: case X86_INS_TEST: case X86_INS_BT:
	case X86_INS_NOP: case X86_INS_LEA:
	case X86_INS_PREFETCH: case X86_INS_PREFETCHNTA: case X86_INS_PREFETCHT0:
	case X86_INS_PREFETCHT1: case X86_INS_PREFETCHT2: case X86_INS_PREFETCHW:
	case X86_INS_CLFLUSH: case X86_INS_CLFLUSHOPT: case X86_INS_CLWB:
	case X86_INS_PUSH: case X86_INS_CALL: case X86_INS_JMP:
	case X86_INS_MUL: case X86_INS_IMUL: case X86_INS_DIV: case X86_INS_IDIV:
	case X86_INS_SCASB: case X86_INS_SCASW: case X86_INS_SCASD: case X86_INS_SCASQ:
	case X86_INS_CMPSB: case X86_INS_CMPSW: case X86_INS_CMPSQ:
	case X86_INS_LDMXCSR:
		return true;
	default:
		return false;
	}
}

/* Things that make no sense in a section, or that would hide a store or a jump from us. */
static bool is_forbidden(unsigned int id)
{
	switch (id) {
	case X86_INS_UD0: case X86_INS_UD2: case X86_INS_UD2B:
	case X86_INS_HLT: case X86_INS_ENTER:
	case X86_INS_LCALL: case X86_INS_LJMP:
	case X86_INS_XBEGIN: case X86_INS_XEND: case X86_INS_XABORT:
	case X86_INS_MASKMOVDQU: case X86_INS_MASKMOVQ: case X86_INS_VMASKMOVDQU:
	case X86_INS_WRFSBASE: case X86_INS_WRGSBASE:
	case X86_INS_MONITOR: case X86_INS_MWAIT:
	case X86_INS_FXRSTOR: case X86_INS_FXRSTOR64:
	case X86_INS_XRSTOR: case X86_INS_XRSTOR64:
		return true;
	default:
		return false;
	}
}

/*
 * Stores in steps, between which an interrupt or a fault may come. Others are done as a whole or
 * not at all as far as their own thread can tell.
 */
static bool stores_in_steps(unsigned int id)
{
	switch (id) {
	case X86_INS_VPSCATTERDD: case X86_INS_VPSCATTERDQ:
	case X86_INS_VPSCATTERQD: case X86_INS_VPSCATTERQQ:
	case X86_INS_VSCATTERDPD: case X86_INS_VSCATTERDPS:
	case X86_INS_VSCATTERQPD: case X86_INS_VSCATTERQPS:
	case X86_INS_FNSAVE: case X86_INS_FNSTENV: case X86_INS_FBSTP:
	case X86_INS_FXSAVE: case X86_INS_FXSAVE64:
	case X86_INS_XSAVE: case X86_INS_XSAVE64:
	case X86_INS_XSAVEC: case X86_INS_XSAVEC64:
	case X86_INS_XSAVEOPT: case X86_INS_XSAVEOPT64:
		return true;
	default:
		return false;
	}
}

static void read_memory_operand(const cs_insn *decoded, const cs_x86_op *operand,
		struct insn *insn)
{
	struct memory_operand *memory = &insn->memory;

	memory->displacement = operand->mem.disp;
	memory->size = operand->size;
	memory->base = register_number(operand->mem.base);
	memory->index = register_number(operand->mem.index);
	memory->scale = memory->index == REGISTER_NONE ? 0 : (uint8_t)operand->mem.scale;
	memory->factor = memory->scale;
	memory->segment = REGISTER_NONE;
	if (operand->mem.segment == X86_REG_FS || operand->mem.segment == X86_REG_GS)
		memory->segment = SEGMENT_CODE(operand->mem.segment);
	if (operand->mem.base == X86_REG_RIP || operand->mem.base == X86_REG_EIP)
		memory->displacement = (int64_t)((uint64_t)operand->mem.disp + decoded->address +
						 decoded->size);
}

static void find_memory(const cs_insn *decoded, struct insn *insn)
{
	const cs_x86 *x86 = &decoded->detail->x86;
	const cs_x86_op *operand;
	uint8_t i;

	for (i = 0; i < x86->op_count; i++) {
		operand = &x86->operands[i];
		if (operand->type != X86_OP_MEM)
			continue;
		if (decoded->id == X86_INS_LEA || decoded->id == X86_INS_NOP) {
			read_memory_operand(decoded, operand, insn);
		} else if ((operand->access & CS_AC_WRITE) ||
			   (i == 0 && !reads_first_operand(decoded->id))) {
			read_memory_operand(decoded, operand, insn);
			insn->flags |= INSN_STORE;
			if (operand->access == (CS_AC_READ | CS_AC_WRITE) ||
			    decoded->id == X86_INS_CMPXCHG)
				insn->flags |= INSN_LOAD;
		} else {
			if (!(insn->flags & INSN_STORE))
				read_memory_operand(decoded, operand, insn);
			insn->flags |= INSN_LOAD;
		}
	}
}

static void find_registers(const struct decoder *decoder, const cs_insn *decoded,
		struct insn *insn)
{
	cs_regs reads, writes;
	uint8_t nr_reads = 0, nr_writes = 0, i;

	if (cs_regs_access(decoder->capstone, decoded, reads, &nr_reads, writes, &nr_writes))
		return;
	for (i = 0; i < nr_reads; i++)
		insn->reads |= REGISTER_BIT(register_number(reads[i]));
	for (i = 0; i < nr_writes; i++) {
		insn->writes |= REGISTER_BIT(register_number(writes[i]));
		if (writes[i] == X86_REG_EFLAGS)
			insn->flags |= INSN_SETS_FLAGS;
		if (writes[i] == X86_REG_FS || writes[i] == X86_REG_GS)
			insn->flags |= INSN_FORBIDDEN;
	}
	/* A multiplication leaves the sign undefined: a branch on it tells nothing. */
	if ((decoded->detail->x86.eflags & X86_EFLAGS_UNDEFINED_SF) ||
	    decoded->id == X86_INS_IMUL || decoded->id == X86_INS_MUL)
		insn->flags |= INSN_SETS_FLAGS | INSN_FLAGS_UNDEFINED;
	if (decoded->id == X86_INS_CMPXCHG) {
		insn->writes |= REGISTER_BIT(register_number(X86_REG_RAX));
		insn->flags |= INSN_SETS_FLAGS;
	}
}

static void find_branch(const cs_insn *decoded, struct insn *insn)
{
	const cs_x86 *x86 = &decoded->detail->x86;
	bool loops = decoded->id == X86_INS_LOOP || decoded->id == X86_INS_LOOPE ||
		decoded->id == X86_INS_LOOPNE;
	bool counts = loops || decoded->id == X86_INS_JRCXZ || decoded->id == X86_INS_JECXZ;

	if (in_group(decoded, X86_GRP_CALL))
		insn->flags |= INSN_CALL;
	else if (!in_group(decoded, X86_GRP_JUMP) && !loops)
		return;
	if (x86->op_count != 1 || x86->operands[0].type != X86_OP_IMM) {
		insn->flags |= INSN_INDIRECT;
		return;
	}
	insn->flags |= INSN_BRANCH;
	insn->target = (uint64_t)x86->operands[0].imm;
	if (insn->flags & INSN_CALL || decoded->id == X86_INS_JMP)
		return;
	insn->condition = decoded->id == X86_INS_JE ? CONDITION_EQUAL :
		decoded->id == X86_INS_JNE ? CONDITION_NOT_EQUAL : CONDITION_OTHER;
	if (!counts)
		insn->flags |= INSN_TESTS_FLAGS;
}

static bool operand_is_register(const cs_x86 *x86, uint8_t index, uint8_t *number)
{
	if (index >= x86->op_count || x86->operands[index].type != X86_OP_REG)
		return false;
	*number = register_number(x86->operands[index].reg);
	return *number != REGISTER_NONE;
}

static void find_constant(const cs_insn *decoded, struct insn *insn)
{
	const cs_x86 *x86 = &decoded->detail->x86;
	const cs_x86_op *second = x86->op_count == 2 ? &x86->operands[1] : NULL;
	bool immediate = second && second->type == X86_OP_IMM;

	if (!second)
		return;
	if (immediate)
		insn->constant = (uint64_t)second->imm;
	if (!operand_is_register(x86, 0, &insn->destination)) {
		operand_is_register(x86, 1, &insn->source);
		if (decoded->id == X86_INS_MOV && immediate)
			insn->flags |= INSN_STORES_CONSTANT;
		return;
	}
	if (operand_is_register(x86, 1, &insn->source) && x86->operands[0].size == 8 &&
	    decoded->id == X86_INS_MOV) {
		insn->flags |= INSN_ADDS_CONSTANT;
	} else if (decoded->id == X86_INS_LEA && insn->memory.index == REGISTER_NONE &&
		   x86->operands[0].size == 8) {
		insn->constant = (uint64_t)insn->memory.displacement;
		insn->source = insn->memory.base;
		insn->flags |= insn->source == REGISTER_NONE ? INSN_SETS_CONSTANT :
			INSN_ADDS_CONSTANT;
	} else if (immediate && (decoded->id == X86_INS_MOV || decoded->id == X86_INS_MOVABS)) {
		if (x86->operands[0].size == 4)
			insn->constant &= UINT32_MAX;
		insn->flags |= INSN_SETS_CONSTANT;
	}
}

static bool second_is_zero(const cs_x86 *x86)
{
	return x86->op_count == 2 && x86->operands[1].type == X86_OP_IMM && !x86->operands[1].imm;
}

static bool is_second_byte(x86_reg reg)
{
	return reg == X86_REG_AH || reg == X86_REG_BH || reg == X86_REG_CH || reg == X86_REG_DH;
}

static void find_meaning(const cs_insn *decoded, struct insn *insn)
{
	switch (decoded->id) {
	case X86_INS_SUB:
	case X86_INS_XOR:
	case X86_INS_CMP:
		if (insn->destination != REGISTER_NONE && insn->destination == insn->source)
			insn->flags |= INSN_CLEARS;
		/* Of a part of a register, the rest may differ. */
		if (!second_is_zero(&decoded->detail->x86) &&
		    decoded->detail->x86.operands[0].size >= 4)
			insn->flags |= INSN_DIFFERENCE;
		break;
	case X86_INS_TEST:
		/* Of the second byte of a register: not the bits that constant has. */
		if (insn->destination != REGISTER_NONE && insn->source == REGISTER_NONE &&
		    !is_second_byte(decoded->detail->x86.operands[0].reg))
			insn->flags |= INSN_TESTS_BITS;
		break;
	}
	if (in_group(decoded, X86_GRP_RET) || in_group(decoded, X86_GRP_IRET))
		insn->flags |= INSN_RETURN;
	if (in_group(decoded, X86_GRP_INT) || decoded->id == X86_INS_SYSENTER)
		insn->flags |= INSN_SYSCALL;
	if (insn->writes & REGISTER_BIT(REGISTER_SP))
		insn->flags |= INSN_STACK;
	if (is_forbidden(decoded->id) || in_group(decoded, X86_GRP_PRIVILEGE) ||
	    in_group(decoded, X86_GRP_VM) || in_group(decoded, X86_GRP_SGX))
		insn->flags |= INSN_FORBIDDEN;
	/* A string instruction that repeats counts in rcx. */
	if (stores_in_steps(decoded->id) ||
	    ((insn->flags & INSN_STORE) && decoded->detail->x86.prefix[0] &&
	     (insn->writes & REGISTER_BIT(register_number(X86_REG_RCX)))))
		insn->flags |= INSN_INTERRUPTIBLE;
}

bool x86_decode(const struct decoder *decoder, const unsigned char *bytes, uint64_t size,
		struct insn *insn)
{
	cs_insn *decoded = decoder->scratch;
	uint64_t address = insn->address;
	const uint8_t *code = bytes;
	size_t length = (size_t)size;

	if (!cs_disasm_iter(decoder->capstone, &code, &length, &address, decoded))
		return false;
	insn->size = (uint8_t)decoded->size;
	find_registers(decoder, decoded, insn);
	find_memory(decoded, insn);
	find_branch(decoded, insn);
	find_constant(decoded, insn);
	find_meaning(decoded, insn);
	return true;
}
