/* SPDX-License-Identifier: MIT */
/*
 * Sections whose labels are more than 1 MiB away. PADDING: because that much lies between a section
 * and what follows its failure; otherwise because the compiler makes cold code of it, which the
 * linker puts elsewhere. Needs neither the library nor a kernel with rseq. Exit status 0 if every
 * way out of every section leads to where it should.
 */
#define _GNU_SOURCE
#ifndef RSEQ_GET_ABI_OVERRIDE
# define RSEQ_GET_ABI_OVERRIDE
#endif

#include "every-op.h"
#include "fault.h"

#include <sys/mman.h>

/* A constant, so that only sections, and no code around them, branch over the padding. */
#define CPU	5

enum answer { COMMITTED = 10, DIFFERED, ABORTED };

static struct rseq_abi area;
unsigned int rseq_size = sizeof(area);

struct rseq_abi *rseq_get_abi(void)
{
	return &area;
}

static intptr_t v, v2, load;
static char buffer[64];

#ifdef PADDING
# define PAD()		__asm__ __volatile__("b	.Lbehind_%=\n\t.skip 0x110000\n.Lbehind_%=:" : :)
#else
# define PAD()		rseq_barrier()
#endif

__attribute__((cold, noinline)) static enum answer differed(void)
{
	rseq_barrier();
	return DIFFERED;
}

__attribute__((cold, noinline)) static enum answer aborted(void)
{
	rseq_barrier();
	return ABORTED;
}

#define FAR(name, operation)								\
__attribute__((noinline)) static enum answer hot_##name(intptr_t *word)			\
{											\
	int result = operation;								\
											\
	if (rseq_unlikely(result > 0))							\
		return differed();							\
	if (rseq_unlikely(result < 0))							\
		return aborted();							\
	PAD();										\
	return COMMITTED;								\
}

#define FAR_IN_MODE(mode)								\
	FAR(store_##mode, store_##mode(word, 1, 2, CPU))				\
	FAR(take_##mode, take_##mode(word, 0, 0, &load, CPU))				\
	FAR(add_##mode, add_##mode(word, 1, CPU))					\
	FAR(add_at_##mode, add_at_##mode(word, 0, 1, CPU))				\
	FAR(store_if_both_##mode, store_if_both_##mode(word, 1, &v2, 2, 3, CPU))	\
	FAR(store_store_##mode, store_store_##mode##_release(word, 1, &v2, 2, 3, CPU))	\
	FAR(copy_store_##mode, copy_store_##mode(word, 1, buffer, buffer + 32, 32, 2, CPU))

/* With what it commits, and with what it differs. */
#define TABLE_OF_MODE(mode)								\
	{ hot_store_##mode, 1, 99, true },						\
	{ hot_take_##mode, (intptr_t)&load, 0, true },					\
	{ hot_add_##mode, 1, 0, false },						\
	{ hot_add_at_##mode, (intptr_t)&load, 0, false },				\
	{ hot_store_if_both_##mode, 1, 99, true },					\
	{ hot_store_store_##mode, 1, 99, true },					\
	{ hot_copy_store_##mode, 1, 99, true },

FAR_IN_MODE(cpu_id)
#ifndef PADDING
FAR_IN_MODE(mm_cid)
#endif

static const struct function {
	enum answer (*run)(intptr_t *word);
	intptr_t commits, differs;
	bool can_differ;
} functions[] = {
	TABLE_OF_MODE(cpu_id)
#ifndef PADDING
	TABLE_OF_MODE(mm_cid)
#endif
};

static int failures;

static void expect(enum answer expected, const struct function *function, intptr_t *word,
		const char *what)
{
	enum answer answer = function->run(word);

	if (answer == expected)
		return;
	printf("function %d: %d instead of %d: %s\n", (int)(function - functions), answer, expected,
	       what);
	failures++;
}

static void move_to(uint32_t cpu)
{
	area.cpu_id = area.mm_cid = cpu;
}

int main(void)
{
	const struct function *end = functions + sizeof(functions) / sizeof(functions[0]);
	intptr_t *no_access = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (no_access == MAP_FAILED || catch_faults())
		return 1;
	fault_is_ours = true;
	for (const struct function *function = functions; function < end; function++) {
		/* Points to itself, which is right for pointers of any depth. */
		load = (intptr_t)&load;
		v2 = 2;
		v = function->commits;
		move_to(CPU);
		expect(COMMITTED, function, &v, "on its CPU");
		expect(ABORTED, function, no_access, "without access");
		v = function->differs;
		if (function->can_differ)
			expect(DIFFERED, function, &v, "another value");
		move_to(CPU + 1);
		expect(ABORTED, function, &v, "on another CPU");
	}
	return failures ? 1 : 0;
}
