/* SPDX-License-Identifier: MIT */
/*
 * Looks at the tables of critical sections of the program or library that this is a part of, as a
 * tool would. A program without this file has no reference to them.
 */
#include "link-unit.h"

#include <string.h>

/* How many sections there are at least. */
#define MIN_SECTIONS	10

/* The linker defines these for a section whose name is an identifier. */
#define TABLE(type, section)								\
	extern const type __start_##section[] __attribute__((weak, visibility("hidden")));	\
	extern const type __stop_##section[] __attribute__((weak, visibility("hidden")))

struct exit_point {
	uint64_t start_ip, target;
};

RSEQ_BEGIN_DECLS
TABLE(struct rseq_abi_cs, __rseq_cs);
TABLE(uint64_t, __rseq_cs_ptr_array);
TABLE(struct exit_point, __rseq_exit_point_array);
TABLE(unsigned char, __rseq_failure);
RSEQ_END_DECLS

#define NR_OF(section)	((size_t)(__stop_##section - __start_##section))

static int failures;

static void complain(const char *what, size_t number)
{
	printf("section %zu: %s\n", number, what);
	failures++;
}

static bool is_within(uint64_t address, const struct rseq_abi_cs *section)
{
	return address - section->start_ip < section->post_commit_offset;
}

static void check_descriptor(size_t number)
{
	const struct rseq_abi_cs *section = &__start___rseq_cs[number];
	uint64_t failure = (uintptr_t)__start___rseq_failure;
	uint32_t signature;
	size_t pointers = 0, exits = 0;

	if (section->version || section->flags)
		complain("version or flags not 0", number);
	if (!section->post_commit_offset || section->post_commit_offset > 4096)
		complain("strange length", number);
	if (section->abort_ip - failure > (uintptr_t)__stop___rseq_failure - failure ||
	    section->abort_ip - failure < sizeof(signature))
		complain("abort stub outside of its ELF section", number);
	else if (memcpy(&signature, (const char *)(uintptr_t)section->abort_ip - 4, 4),
		 signature != (uint32_t)RSEQ_SIG)
		complain("no signature before the abort stub", number);
	if (is_within(section->abort_ip, section))
		complain("abort stub within the section", number);
	for (size_t i = 0; i < NR_OF(__rseq_cs); i++)
		if (i != number && is_within(section->start_ip, &__start___rseq_cs[i]))
			complain("section within another", number);
	for (size_t i = 0; i < NR_OF(__rseq_cs_ptr_array); i++)
		pointers += __start___rseq_cs_ptr_array[i] == (uintptr_t)section;
	if (pointers != 1)
		complain("not in the pointer table once", number);
	for (size_t i = 0; i < NR_OF(__rseq_exit_point_array); i++) {
		const struct exit_point *point = &__start___rseq_exit_point_array[i];

		if (point->start_ip != section->start_ip)
			continue;
		exits++;
		if (is_within(point->target, section))
			complain("exit into the section itself", number);
	}
	if (exits != 1 && exits != 2)
		complain("neither one exit nor two", number);
}

int check_tables(void)
{
	size_t nr = NR_OF(__rseq_cs), exits = 0;

	if ((uintptr_t)__start___rseq_cs % 32)
		complain("the first descriptor is not aligned", 0);
	if (nr != NR_OF(__rseq_cs_ptr_array))
		complain("number of pointers to descriptors", NR_OF(__rseq_cs_ptr_array));
	for (size_t i = 0; i < nr; i++)
		check_descriptor(i);
	for (size_t i = 0; i < NR_OF(__rseq_exit_point_array); i++)
		for (size_t j = 0; j < nr; j++)
			exits += __start___rseq_exit_point_array[i].start_ip ==
					__start___rseq_cs[j].start_ip;
	if (exits != NR_OF(__rseq_exit_point_array))
		complain("exit points that belong to none", NR_OF(__rseq_exit_point_array) - exits);
	printf("%zu sections, %zu exits\n", nr, exits);
	if (nr < MIN_SECTIONS)
		complain("fewer than there must be", nr);
	return failures;
}
