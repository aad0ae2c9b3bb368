/* SPDX-License-Identifier: MIT */
/*
 * The operations on words: what each commits, when it does not, with values of every size and kind
 * of operand. C and C++.
 */
#include "ops-support.h"

#include <time.h>

static const intptr_t values[] = {
	0, 1, -1, 127, 128, 4095, 4096, INT32_MAX, INT32_MIN, (intptr_t)INT32_MAX + 1,
	(intptr_t)INT32_MIN - 1, UINT32_MAX, (intptr_t)UINT32_MAX + 1, INTPTR_MAX, INTPTR_MIN,
};

#define NR_VALUES	ARRAY_SIZE(values)

static intptr_t sum(intptr_t a, intptr_t b)
{
	return (intptr_t)((uintptr_t)a + (uintptr_t)b);
}

static intptr_t flip(intptr_t value, int bit)
{
	return (intptr_t)((uintptr_t)value ^ (uintptr_t)1 << bit);
}

static void test_store(void **state)
{
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < NR_VALUES * NR_VALUES; i++) {
			intptr_t expect = values[i / NR_VALUES], newv = values[i % NR_VALUES];
			intptr_t v = expect;

			DO(result, ops->store(&v, expect, newv, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(v == newv);
			for (int bit = 0; bit < RSEQ_BITS_PER_LONG; bit += 7) {
				v = flip(expect, bit);
				DO(result, ops->store(&v, expect, newv, ops_id(ops)));
				assert_int_equal(result, 1);
				assert_true(v == flip(expect, bit));
			}
		}
	}
}

/* The list of which v is the head; each element has its link at an offset. */
struct element {
	char before[160];
	intptr_t next;
	char after[160];
};

static void test_take(void **state)
{
	struct element first, second;
	/* *v points offset bytes before the link. */
	const long offsets[] = { 0, 8, 160, -8, -160, 4096, -4096 };
	intptr_t v, load;
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < ARRAY_SIZE(offsets); i++) {
			first.next = (intptr_t)&second.next - offsets[i];
			second.next = 0;
			v = (intptr_t)&first.next - offsets[i];
			load = 99;

			DO(result, ops->take(&v, 0, offsets[i], &load, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(load == (intptr_t)&first.next - offsets[i]);
			assert_true(v == first.next);
			DO(result, ops->take(&v, 0, offsets[i], &load, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(load == first.next);
			assert_true(v == 0);

			/* Empty: nothing is read through the pointer, and nothing is changed. */
			load = 99;
			DO(result, ops->take(&v, 0, offsets[i], &load, ops_id(ops)));
			assert_int_equal(result, 1);
			assert_true(load == 99);
			assert_true(v == 0);
		}
		for (int i = 0; i < NR_VALUES; i++) {
			v = values[i];
			DO(result, ops->take(&v, values[i], 0, &load, ops_id(ops)));
			assert_int_equal(result, 1);
			assert_true(v == values[i]);
			assert_true(load == 99);
		}
	}
}

static void test_add(void **state)
{
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < NR_VALUES * NR_VALUES; i++) {
			intptr_t before = values[i / NR_VALUES], count = values[i % NR_VALUES];
			intptr_t v = before;

			DO(result, ops->add(&v, count, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(v == sum(before, count));
		}
	}
}

static void test_add_at(void **state)
{
	const long offsets[] = { 0, 8, 128, -8, -128, 4096, INT32_MIN, (long)INT32_MAX + 9 };
	intptr_t target, slot, base;
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < ARRAY_SIZE(offsets) * NR_VALUES; i++) {
			long offset = offsets[i / NR_VALUES];
			intptr_t inc = values[i % NR_VALUES];

			base = (intptr_t)&slot - offset;
			slot = (intptr_t)&target;
			target = values[i % 5];
			DO(result, ops->add_at(&base, offset, inc, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(target == sum(values[i % 5], inc));
			assert_true(slot == (intptr_t)&target);
			assert_true(base == (intptr_t)&slot - offset);
		}
	}
}

static void test_store_if_both(void **state)
{
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < NR_VALUES * NR_VALUES; i++) {
			intptr_t expect = values[i / NR_VALUES], expect2 = values[i % NR_VALUES];
			intptr_t newv = values[i % 7], v = expect, v2 = expect2;

			DO(result, ops->store_if_both(&v, expect, &v2, expect2, newv,
						      ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(v == newv && v2 == expect2);

			v = flip(expect, i % 64);
			DO(result, ops->store_if_both(&v, expect, &v2, expect2, newv,
						      ops_id(ops)));
			assert_int_equal(result, 1);
			assert_true(v == flip(expect, i % 64) && v2 == expect2);

			v = expect;
			v2 = flip(expect2, i % 64);
			DO(result, ops->store_if_both(&v, expect, &v2, expect2, newv,
						      ops_id(ops)));
			assert_int_equal(result, 1);
			assert_true(v == expect && v2 == flip(expect2, i % 64));
		}
	}
}

static void test_store_store(void **state)
{
	int result;

	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		for (int i = 0; i < NR_VALUES * NR_VALUES; i++) {
			intptr_t expect = values[i / NR_VALUES], newv = values[i % NR_VALUES];
			intptr_t newv2 = values[i % 7], v = expect, v2 = 99;

			DO(result, ops->store_store(&v, expect, &v2, newv2, newv, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(v == newv && v2 == newv2);

			v = flip(expect, i % 64);
			v2 = 99;
			DO(result, ops->store_store(&v, expect, &v2, newv2, newv, ops_id(ops)));
			assert_int_equal(result, 1);
			assert_true(v == flip(expect, i % 64) && v2 == 99);

			/* One word for both: the commit comes last. */
			v = expect;
			DO(result, ops->store_store(&v, expect, &v, newv2, newv, ops_id(ops)));
			assert_int_equal(result, 0);
			assert_true(v == newv);
		}
	}
}

/* Operands that the compiler knows: some fit an instruction, some do not. */
#define TRY_CONSTANT(k)									\
	do {										\
		const enum rseq_percpu_mode mode = RSEQ_PERCPU_CPU_ID;			\
		intptr_t v = (k), v2 = (k), p = (intptr_t)&v2, load = 5;		\
		int result;								\
											\
		DO(result, rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, &v, (k), ~(k),	\
						     (int)rseq_cpu_start()));		\
		assert_int_equal(result, 0);						\
		assert_true(v == ~(k));							\
		DO(result, rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED, mode,	\
				&v, ~(k), (k), &load, (int)rseq_cpu_start()));		\
		assert_int_equal(result, 1);						\
		assert_true(v == ~(k) && load == 5);					\
		DO(result, rseq_load_add_store__ptr(RSEQ_MO_RELAXED, mode, &v, (k),	\
						    (int)rseq_cpu_start()));		\
		assert_int_equal(result, 0);						\
		assert_true(v == -1);							\
		v = sum((intptr_t)&p, -(k));						\
		DO(result, rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, mode,	\
				&v, (k), ~(k), (int)rseq_cpu_start()));			\
		assert_int_equal(result, 0);						\
		assert_true(v2 == -1);							\
		DO(result, rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, &v2,	\
				-1, &load, 5, (k), (int)rseq_cpu_start()));		\
		assert_int_equal(result, 0);						\
		assert_true(v2 == (k));							\
		DO(result, rseq_load_cbne_store_store__ptr(RSEQ_MO_RELEASE, mode, &v2, (k),	\
				&v, (k), ~(k), (int)rseq_cpu_start()));			\
		assert_int_equal(result, 0);						\
		assert_true(v2 == ~(k) && v == (k));					\
		DO(result, rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELAXED, mode, &v2, ~(k),	\
				&load, &v, sizeof(v), (k), (int)rseq_cpu_start()));	\
		assert_int_equal(result, 0);						\
		assert_true(v2 == (k) && load == (k));					\
	} while (0)

static void test_small_constants(void **state)
{
	(void)state;
	ops_next(NULL);
	TRY_CONSTANT((intptr_t)0);
	TRY_CONSTANT((intptr_t)1);
	TRY_CONSTANT((intptr_t)-1);
	TRY_CONSTANT((intptr_t)4095);
	TRY_CONSTANT((intptr_t)4096);
	TRY_CONSTANT((intptr_t)-4097);
	TRY_CONSTANT((intptr_t)0xfff000);
	TRY_CONSTANT((intptr_t)INT32_MAX);
	TRY_CONSTANT((intptr_t)INT32_MIN);
}

static void test_large_constants(void **state)
{
	(void)state;
	ops_next(NULL);
	TRY_CONSTANT((intptr_t)INT32_MAX + 1);
	TRY_CONSTANT((intptr_t)INT32_MIN - 1);
	TRY_CONSTANT((intptr_t)UINT32_MAX);
	TRY_CONSTANT((intptr_t)0x123456789abcdef0);
	TRY_CONSTANT(INTPTR_MAX);
	TRY_CONSTANT(INTPTR_MIN + 1);
	/* Addresses, the values of which the linker knows. */
	TRY_CONSTANT((intptr_t)&values[1]);
	TRY_CONSTANT((intptr_t)&test_small_constants);
}

/* Memory of all operations, in a state in which each would commit. */
struct memory {
	intptr_t v, head, link, load, base, slot, target, v2;
	char dst[100], src[100];
};

/* Each operation once, with this cpu. Returns how many did not answer -1 or changed something. */
static int count_not_refused(const struct ops *ops, int cpu)
{
	struct memory memory, before;
	int failures = 0;

	memset(&memory, 5, sizeof(memory));
	memory.head = (intptr_t)&memory.link;
	memory.base = (intptr_t)&memory.slot;
	memory.slot = (intptr_t)&memory.target;
	memset(memory.src, 6, sizeof(memory.src));
	memcpy(&before, &memory, sizeof(before));

	failures += ops->store(&memory.v, memory.v, 1, cpu) != -1;
	failures += ops->store(&memory.v, 1, 1, cpu) != -1;
	failures += ops->take(&memory.head, 0, 0, &memory.load, cpu) != -1;
	failures += ops->take(&memory.head, memory.head, 0, &memory.load, cpu) != -1;
	failures += ops->add(&memory.v, 1, cpu) != -1;
	failures += ops->add_at(&memory.base, 0, 1, cpu) != -1;
	failures += ops->store_if_both(&memory.v, memory.v, &memory.v2, memory.v2, 1, cpu) != -1;
	failures += ops->store_store(&memory.v, memory.v, &memory.v2, 1, 1, cpu) != -1;
	failures += ops->copy_store(&memory.v, memory.v, memory.dst, memory.src, 100, 1, cpu) != -1;
	failures += memcmp(&before, &memory, sizeof(before)) != 0;
	if (failures)
		print_message("%s, cpu %d: %d\n", ops->name, cpu, failures);
	return failures;
}

/* In any thread. */
static int count_not_refused_unregistered(void)
{
	const int cpus[] = { 0, 1, -1, -2, -3, INT_MAX, INT_MIN, (int)rseq_cpu_start(),
			     (int)rseq_current_cpu(), (int)rseq_current_mm_cid(),
			     (int)RSEQ_READ_ONCE(rseq_get_abi()->cpu_id) };
	int failures = 0;

	for (int row = 0; row < OPS_NR; row++) {
		run_time_mode = every_op[row].mode;
		for (int i = 0; i < ARRAY_SIZE(cpus); i++)
			failures += count_not_refused(&every_op[row], cpus[i]);
	}
	return failures;
}

/* Comes first: with libc's registration off, no thread has registered. */
static void test_before_registration(void **state)
{
	(void)state;
	if (rseq_thread_registered())
		return;
	assert_int_equal(count_not_refused_unregistered(), 0);
}

struct seen {
	bool registered;
	int failures;
};

static void *run_unregistered(void *argument)
{
	struct seen *seen = (struct seen *)argument;
	unsigned int length = areas_are_made_up ? 0 : support_registered_length(rseq_get_abi());

	if (length)
		support_sys_rseq(rseq_get_abi(), length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	seen->registered = rseq_thread_registered();
	seen->failures = count_not_refused_unregistered();
	return NULL;
}

/* rseq_size says that there are fields, since another thread has them. */
static void test_unregistered_thread(void **state)
{
	struct seen seen = { true, -1 };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, run_unregistered, &seen), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(seen.registered);
	assert_int_equal(seen.failures, 0);
}

static void test_wrong_cpu(void **state)
{
	(void)state;
	for (const struct ops *ops = NULL; (ops = ops_next(ops));) {
		int here = ops_id(ops);
		const int others[] = { here + 1, here + 64, here + 65536, here ^ INT_MIN, -1, -2,
				       INT_MAX, INT_MIN, ~here };

		for (int i = 0; i < ARRAY_SIZE(others); i++)
			assert_int_equal(count_not_refused(ops, others[i]), 0);
	}
}

/* A kernel or thread without mm_cid reads 0 there, which is an id elsewhere. */
static void test_without_mm_cid(void **state)
{
	unsigned int size = rseq_size;
	int failures = 0;

	(void)state;
	for (int row = 0; row < OPS_NR; row++) {
		const struct ops *ops = &every_op[row];

		if (ops->mode != RSEQ_PERCPU_MM_CID)
			continue;
		run_time_mode = ops->mode;
		for (unsigned int i = 0; i < offsetof(struct rseq_abi, slice_ctrl); i += 4) {
			rseq_size = i;
			failures += count_not_refused(ops, 0);
			failures += count_not_refused(ops, (int)rseq_get_abi()->mm_cid);
		}
		rseq_size = (unsigned int)-1;
		failures += count_not_refused(ops, 0);
	}
	rseq_size = size;
	assert_int_equal(failures, 0);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_registration),
		cmocka_unit_test_setup(test_store, ops_pin),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_add_at),
		cmocka_unit_test(test_store_if_both),
		cmocka_unit_test(test_store_store),
		cmocka_unit_test(test_small_constants),
		cmocka_unit_test(test_large_constants),
		cmocka_unit_test(test_wrong_cpu),
		cmocka_unit_test(test_unregistered_thread),
		cmocka_unit_test(test_without_mm_cid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return ops_main(argv, run);
}
