/* SPDX-License-Identifier: MIT */
/*
 * The operation that copies: every length and alignment, and not one byte beside. C and C++.
 */
#include "ops-support.h"

#include <sys/mman.h>

/* All lengths up to this, then one that is long. */
#define MAX_SHORT	300
#define LONG		4096
#define NR_LENGTHS	(MAX_SHORT + 2)
#define NR_ALIGNMENTS	16

/* Untouched bytes on both sides of what is copied. */
#define GUARD		80
#define BYTES		(GUARD + NR_ALIGNMENTS + LONG + GUARD)

static unsigned char source[BYTES] __attribute__((aligned(64)));
static unsigned char source_before[BYTES];
static unsigned char target[BYTES] __attribute__((aligned(64)));

static size_t length_of(int i)
{
	return i > MAX_SHORT ? (size_t)LONG : (size_t)i;
}

static void fill_source(void)
{
	uint32_t random = 1;

	for (size_t i = 0; i < BYTES; i++) {
		random = random * 1103515245 + 12345;
		source[i] = (unsigned char)(random >> 16);
	}
	memcpy(source_before, source, BYTES);
}

static bool all_are(const unsigned char *bytes, size_t length, unsigned char value)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* One copy, and all that it may not do. Returns what went wrong, or NULL. */
static const char *try_copy(const struct ops *ops, size_t length, int to, int from)
{
	unsigned char guard = (unsigned char)~source[GUARD];
	size_t end = GUARD + (size_t)to + length;
	intptr_t v = 1;
	int result;

	memset(target, guard, end + GUARD);
	DO(result, ops->copy_store(&v, 1, target + GUARD + to, source + GUARD + from, length, 2,
				   ops_id(ops)));
	if (result || v != 2)
		return "not committed";
	if (memcmp(target + GUARD + to, source_before + GUARD + from, length))
		return "copied wrong";
	if (!all_are(target, (size_t)(GUARD + to), guard))
		return "wrote before the destination";
	if (!all_are(target + end, GUARD, guard))
		return "wrote past the destination";
	DO(result, ops->copy_store(&v, 1, target + GUARD + to, source, length, 3, ops_id(ops)));
	if (result != 1 || v != 2)
		return "committed where it should not";
	if (memcmp(target + GUARD + to, source_before + GUARD + from, length))
		return "copied without a commit";
	return NULL;
}

static void test_lengths_and_alignments(void **state)
{
	const char *wrong;

	(void)state;
	fill_source();
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < NR_LENGTHS * NR_ALIGNMENTS * NR_ALIGNMENTS; i++) {
			int from = i % NR_ALIGNMENTS, to = i / NR_ALIGNMENTS % NR_ALIGNMENTS;
			size_t length = length_of(i / (NR_ALIGNMENTS * NR_ALIGNMENTS));

			wrong = try_copy(ops, length, to, from);
			if (wrong)
				print_error("%s: %zu bytes from %d to %d: %s\n", ops->name, length,
					    from, to, wrong);
			assert_null(wrong);
		}
		assert_memory_equal(source, source_before, BYTES);
	}
}

/* Both ends of a mapping with no access around it: a byte too far is a SIGSEGV. */
static unsigned char *map_alone(size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *map = (unsigned char *)mmap(NULL, length + 2 * page, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map + page, length, PROT_READ | PROT_WRITE))
		return NULL;
	return map + page;
}

static void test_no_access_outside(void **state)
{
	const size_t bytes = 65536;
	unsigned char *from = map_alone(bytes), *to = map_alone(bytes);
	intptr_t v;
	int result;

	(void)state;
	fill_source();
	assert_non_null(from);
	assert_non_null(to);
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < NR_LENGTHS * 4; i++) {
			size_t length = length_of(i / 4);
			unsigned char *src = i & 1 ? from + bytes - length : from;
			unsigned char *dst = i & 2 ? to + bytes - length : to;

			memcpy(src, source, length);
			memset(dst, ~source[0], length);
			v = 1;
			DO(result, ops->copy_store(&v, 1, dst, src, length, 2, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_memory_equal(dst, source, length);
			assert_memory_equal(src, source, length);
		}
	}
}

/* Nothing is copied, wherever to. */
static void test_length_zero(void **state)
{
	intptr_t v = 1;
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		DO(result, ops->copy_store(&v, 1, NULL, NULL, 0, 1, ops_id(ops)));
		assert_int_equal(result, 0);
		DO(result, ops->copy_store(&v, 1, (void *)1, &v, 0, 1, ops_id(ops)));
		assert_int_equal(result, 0);
		assert_true(v == 1);
	}
}

/* The word and what is copied lie side by side, as in a ring with its record count. */
static void test_neighbours(void **state)
{
	struct {
		unsigned char src[24];
		intptr_t v;
		unsigned char dst[24];
	} row;
	int result;

	(void)state;
	fill_source();
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (size_t length = 0; length <= sizeof(row.src); length++) {
			memcpy(row.src, source, sizeof(row.src));
			memset(row.dst, 0, sizeof(row.dst));
			row.v = 7;
			DO(result, ops->copy_store(&row.v, 7, row.dst,
						   row.src + sizeof(row.src) - length, length,
						   -7, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(row.v == -7);
			assert_memory_equal(row.dst, source + sizeof(row.src) - length, length);
			assert_memory_equal(row.src, source, sizeof(row.src));
		}
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_lengths_and_alignments, ops_pin),
		cmocka_unit_test(test_no_access_outside),
		cmocka_unit_test(test_length_zero),
		cmocka_unit_test(test_neighbours),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (rseq_vector_bytes <= 16)
		return failed;
	support_set_vector_bytes(16);
	return failed + cmocka_run_group_tests_name("through 16 bytes", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return ops_main(argv, run);
}
