/* SPDX-License-Identifier: MIT */
/*
 * Helpers of the headers that need no library: this program is linked with and without it.
 */
#include <rseq/rseq.h>

#include <string.h>
#if __has_include(<sys/rseq.h>)
# include <sys/rseq.h>
#endif

static int failures;

#define check(condition)							\
	do {									\
		if (!(condition)) {						\
			rseq_log("not so: %s", #condition);			\
			failures++;						\
		}								\
	} while (0)

struct fields {
	char first;
	int second;
	double third[3];
};

enum color { RED, GREEN };

/* Stores a value into a variable of a type with release, and loads it with acquire. */
#define TRY_SCALAR(type, value)							\
	do {									\
		type variable = (type)0;					\
		volatile type moving = (type)0;					\
		const type fixed = value;					\
		const volatile type fixed_moving = value;			\
										\
		rseq_smp_store_release(&variable, value);			\
		check(rseq_smp_load_acquire(&variable) == value);		\
		rseq_smp_store_release(&moving, value);				\
		check(rseq_smp_load_acquire(&moving) == value);			\
		check(rseq_smp_load_acquire(&fixed) == value);			\
		check(rseq_smp_load_acquire(&fixed_moving) == value);		\
		RSEQ_WRITE_ONCE(variable, (type)0);				\
		check(RSEQ_READ_ONCE(variable) == (type)0);			\
		RSEQ_ACCESS_ONCE(variable) = value;				\
		check(RSEQ_ACCESS_ONCE(variable) == value);			\
	} while (0)

static void try_scalars(void)
{
	static int target;

	TRY_SCALAR(bool, true);
	TRY_SCALAR(char, 'x');
	TRY_SCALAR(signed char, -3);
	TRY_SCALAR(unsigned char, 200);
	TRY_SCALAR(short, -3000);
	TRY_SCALAR(unsigned short, 60000);
	TRY_SCALAR(int, -100000);
	TRY_SCALAR(unsigned int, 4000000000U);
	TRY_SCALAR(long, -5000000000L);
	TRY_SCALAR(unsigned long, 0xfedcba9876543210UL);
	TRY_SCALAR(long long, -5000000000LL);
	TRY_SCALAR(uint64_t, 0x0123456789abcdefU);
	TRY_SCALAR(intptr_t, -1);
	TRY_SCALAR(enum color, GREEN);
	{
		int *pointer = NULL, *volatile moving = NULL;
		const int *to_const = NULL;
		void *untyped = NULL;

		rseq_smp_store_release(&pointer, &target);
		check(rseq_smp_load_acquire(&pointer) == &target);
		rseq_smp_store_release(&moving, &target);
		check(rseq_smp_load_acquire(&moving) == &target);
		rseq_smp_store_release(&to_const, &target);
		check(rseq_smp_load_acquire(&to_const) == &target);
		rseq_smp_store_release(&untyped, (void *)&target);
		check(rseq_smp_load_acquire(&untyped) == &target);
		rseq_smp_store_release(&pointer, NULL);
		check(!rseq_smp_load_acquire(&pointer));
	}
}

/* Message passing in all ways; the writer runs first, so that the message must be there. */
static intptr_t payload, flag;

static void *write_payload(void *unused)
{
	payload = 1;
	rseq_smp_wmb();
	RSEQ_WRITE_ONCE(flag, 1);
	rseq_smp_mb();
	return unused;
}

static void try_barriers(void)
{
	pthread_t writer;

	if (pthread_create(&writer, NULL, write_payload, NULL)) {
		perror("pthread_create");
		failures++;
		return;
	}
	while (!RSEQ_READ_ONCE(flag))
		rseq_barrier();
	rseq_smp_rmb();
	check(payload == 1);
	rseq_smp_acquire__after_ctrl_dep();
	check(payload == 1);
	check(!pthread_join(writer, NULL));
}

static void try_macros(void)
{
	int one = 1, RSEQ_COMBINE_TOKENS(com, bined) = 2;
	const volatile long wide = 3;
	rseq_unqual_scalar_typeof(wide) copy = wide;

	copy++;
	check(copy == 4 && sizeof(copy) == sizeof(long));
	check(combined == 2);
	check(rseq_likely(one) == 1 && rseq_unlikely(!one) == 0 && rseq_likely(one + 41));
	check(RSEQ_BITS_PER_LONG == 8 * sizeof(long));
	check(rseq_sizeof_field(struct fields, third) == 3 * sizeof(double));
	check(rseq_offsetofend(struct fields, first) == 1);
	check(rseq_offsetofend(struct fields, third) == sizeof(struct fields));
	if (failures)
		rseq_bug("%d failures", failures);
}

static void try_constants(void)
{
	check(RSEQ_SIG != 0);
#if defined(__x86_64__)
	check(RSEQ_ARCH_AMD64);
#elif defined(__aarch64__)
	check(RSEQ_ARCH_AARCH64);
#endif
	check(__NR_rseq > 0 && RSEQ_ABI_FLAG_UNREGISTER == 1);
	check(RSEQ_ABI_CS_FLAG_NO_RESTART_ON_PREEMPT == 1);
	check(RSEQ_ABI_CS_FLAG_NO_RESTART_ON_SIGNAL == 2);
	check(RSEQ_ABI_CS_FLAG_NO_RESTART_ON_MIGRATE == 4);
	check(sizeof(struct rseq_abi_cs) == 32);
	check(rseq_offsetofend(struct rseq_abi, mm_cid) <= offsetof(struct rseq_abi, end));
	check(rseq_thread_pointer() == rseq_thread_pointer());
}

int main(void)
{
	try_scalars();
	try_barriers();
	try_macros();
	try_constants();
	printf("without the library's functions, %d failures\n", failures);
	return failures != 0;
}
