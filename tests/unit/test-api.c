/* SPDX-License-Identifier: MIT */
/*
 * A program as users of librseq write it: everything that <rseq/rseq.h> promises, by that one
 * include. C and C++ (test-api-cxx.cc).
 */
#include <rseq/rseq.h>

static int failures;

#define check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,	\
				#condition);					\
			failures++;						\
		}								\
	} while (0)

#ifdef __cplusplus
# define SAME_TYPE(x, type)	std::is_same<rseq_unqual_scalar_typeof(x), type>::value
# define static_check(condition)	static_assert(condition, #condition)
#else
# define SAME_TYPE(x, type)							\
	__builtin_types_compatible_p(__typeof__((rseq_unqual_scalar_typeof(x) *)0), type *)
# define static_check(condition)	_Static_assert(condition, #condition)
#endif

/* Signatures: a pointer of the documented type takes the function. */
static int (*const register_thread)(void) = rseq_register_current_thread;
static int (*const unregister_thread)(void) = rseq_unregister_current_thread;
static bool (*const available)(unsigned int) = rseq_available;
static int32_t (*const fallback_cpu)(void) = rseq_fallback_current_cpu;
static int32_t (*const fallback_node)(void) = rseq_fallback_current_node;
static int (*const max_nr_cpus)(void) = rseq_get_max_nr_cpus;
static ptrdiff_t *const offset = &rseq_offset;
static const ptrdiff_t *const area_offset = &rseq_area_offset;
static unsigned int *const size = &rseq_size;
static unsigned int *const flags = &rseq_flags;

static void test_constants(void)
{
	static_check(RSEQ_MO_RELAXED == 0 && RSEQ_MO_CONSUME == 1 && RSEQ_MO_ACQUIRE == 2);
	static_check(RSEQ_MO_RELEASE == 3 && RSEQ_MO_ACQ_REL == 4 && RSEQ_MO_SEQ_CST == 5);
	static_check(RSEQ_PERCPU_CPU_ID == 0 && RSEQ_PERCPU_MM_CID == 1);
	static_check(RSEQ_AVAILABLE_QUERY_KERNEL == 0 && RSEQ_AVAILABLE_QUERY_LIBC == 1);
	static_check((int)RSEQ_ABI_CPU_ID_UNINITIALIZED == -1);
	static_check((int)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED == -2);
	static_check(RSEQ_ABI_FLAG_UNREGISTER == 1);
	static_check(RSEQ_ABI_CS_FLAG_NO_RESTART_ON_PREEMPT == 1);
	static_check(RSEQ_ABI_CS_FLAG_NO_RESTART_ON_SIGNAL == 2);
	static_check(RSEQ_ABI_CS_FLAG_NO_RESTART_ON_MIGRATE == 4);
	static_check(RSEQ_BITS_PER_LONG == 8 * sizeof(long));
#if defined(__x86_64__)
	static_check(RSEQ_SIG == 0x53053053 && __NR_rseq == 334 && RSEQ_ARCH_AMD64);
#elif defined(__AARCH64EL__)
	static_check(RSEQ_SIG == 0xd428bc00 && __NR_rseq == 293 && RSEQ_ARCH_AARCH64);
#endif
}

static void test_layout(void)
{
	struct rseq_abi_cs descriptor = { 0, 0, 0, 0, 0 };

	static_check(offsetof(struct rseq_abi, cpu_id_start) == 0);
	static_check(offsetof(struct rseq_abi, cpu_id) == 4);
	static_check(offsetof(struct rseq_abi, rseq_cs) == 8);
	static_check(offsetof(struct rseq_abi, rseq_cs.ptr64) == 8);
	static_check(offsetof(struct rseq_abi, rseq_cs.arch.ptr) == 8);
	static_check(offsetof(struct rseq_abi, flags) == 16);
	static_check(offsetof(struct rseq_abi, node_id) == 20);
	static_check(offsetof(struct rseq_abi, mm_cid) == 24);
	static_check(offsetof(struct rseq_abi, end) == 33);
	static_check(__alignof__(struct rseq_abi) == 32);
	static_check(__alignof__(struct rseq_abi_cs) == 32);
	static_check(sizeof(struct rseq_abi_cs) == 32);
	static_check(offsetof(struct rseq_abi_cs, start_ip) == 8);
	static_check(offsetof(struct rseq_abi_cs, post_commit_offset) == 16);
	static_check(offsetof(struct rseq_abi_cs, abort_ip) == 24);
	static_check(rseq_sizeof_field(struct rseq_abi, mm_cid) == 4);
	static_check(rseq_offsetofend(struct rseq_abi, mm_cid) == 28);
	check(descriptor.version == 0 && descriptor.flags == 0);
}

static void test_registration(void)
{
	const uint32_t nr_cpus = (uint32_t)max_nr_cpus();
	struct rseq_abi *area = rseq_get_abi();
	uint32_t node;

	check(*flags == 0);
	check((char *)area == (char *)rseq_thread_pointer() + *offset);
	check(*area_offset == *offset);
	if (!available(RSEQ_AVAILABLE_QUERY_LIBC)) {
		check(*size == 0);
		check((int32_t)area->cpu_id == RSEQ_ABI_CPU_ID_UNINITIALIZED);
		check(rseq_current_cpu_raw() == -1 && rseq_cpu_start() == 0);
		check(!rseq_node_id_available() && !rseq_mm_cid_available());
	}
	if (!available(RSEQ_AVAILABLE_QUERY_KERNEL)) {
		check(register_thread() == -1 && errno);
		printf("no rseq here: registration is not tried any further\n");
		return;
	}
	check(register_thread() == 0);
	check(*size >= 20);
	check(rseq_current_cpu_raw() >= 0);
	check(rseq_current_cpu() < nr_cpus);
	check(rseq_cpu_start() < nr_cpus);
	if (rseq_node_id_available()) {
		node = rseq_current_node_id();
		check(*size >= rseq_offsetofend(struct rseq_abi, node_id) && node < 1024);
	}
	if (rseq_mm_cid_available())
		check(rseq_current_mm_cid() < nr_cpus);
	rseq_clear_rseq_cs();
	check(area->rseq_cs.arch.ptr == 0);
	rseq_prepare_unload();
	check(area->rseq_cs.ptr64 == 0);
	check(unregister_thread() == 0);
}

static void test_fallbacks(void)
{
	check(fallback_cpu() >= 0 && fallback_cpu() < max_nr_cpus());
	check(fallback_node() >= 0);
	check((int)rseq_current_cpu() >= 0);
	check((int)rseq_current_node_id() >= 0);
	errno = 0;
	check(!available(77) && errno == EINVAL);
}

/* One round through memory of each type, as it is and qualified. */
#define test_scalar(type, one, two)						\
	do {									\
		type plain = one;						\
		volatile type is_volatile = one;				\
		const type is_const = one;					\
		const volatile type is_both = one;				\
										\
		static_check(SAME_TYPE(plain, type) && SAME_TYPE(is_volatile, type));	\
		static_check(SAME_TYPE(is_const, type) && SAME_TYPE(is_both, type));	\
		check(rseq_smp_load_acquire(&plain) == one);			\
		check(rseq_smp_load_acquire(&is_volatile) == one);		\
		check(rseq_smp_load_acquire(&is_const) == one);			\
		check(rseq_smp_load_acquire(&is_both) == one);			\
		check(RSEQ_READ_ONCE(plain) == one && RSEQ_READ_ONCE(is_both) == one);	\
		rseq_smp_store_release(&plain, two);				\
		rseq_smp_store_release(&is_volatile, two);			\
		check(plain == two && is_volatile == two);			\
		RSEQ_WRITE_ONCE(plain, one);					\
		RSEQ_WRITE_ONCE(is_volatile, one);				\
		check(plain == one && RSEQ_ACCESS_ONCE(is_volatile) == one);	\
		RSEQ_ACCESS_ONCE(plain) = two;					\
		check(plain == two);						\
	} while (0)

static void test_memory_access(void)
{
	typedef const char *text;
	typedef void *pointer;
	static const char first[] = "first", second[] = "second";
	static int object;

	test_scalar(bool, true, false);
	test_scalar(char, 'a', 'b');
	test_scalar(signed char, (signed char)-1, (signed char)1);
	test_scalar(unsigned char, (unsigned char)200, (unsigned char)100);
	test_scalar(short, (short)-30000, (short)30000);
	test_scalar(unsigned short, (unsigned short)60000, (unsigned short)1);
	test_scalar(int, -2000000000, 2000000000);
	test_scalar(unsigned int, 4000000000U, 1U);
	test_scalar(long, -1L, 1L);
	test_scalar(unsigned long, ~0UL, 1UL);
	test_scalar(int64_t, (int64_t)INT64_MIN, (int64_t)INT64_MAX);
	test_scalar(uint64_t, (uint64_t)UINT64_MAX, (uint64_t)1);
	test_scalar(intptr_t, (intptr_t)-5, (intptr_t)5);
	test_scalar(text, (text)first, (text)second);
	test_scalar(pointer, (pointer)&object, (pointer)NULL);

	rseq_barrier();
	rseq_smp_mb();
	rseq_smp_rmb();
	rseq_smp_wmb();
	rseq_smp_acquire__after_ctrl_dep();
}

static void test_helpers(void)
{
	int RSEQ_COMBINE_TOKENS(left_, right) = 3;

	check(left_right == 3);
	check(rseq_likely(left_right == 3) && !rseq_unlikely(left_right == 4));
	check(rseq_likely(left_right) == 1);
	rseq_log("a line of %s", "the log");
	if (rseq_unlikely(left_right != 3))
		rseq_bug("%d", left_right);
}

/* Publication as programs write it: data, then a flag that releases it. */
static int published_value;
static int is_published;

static void *publish(void *argument)
{
	RSEQ_WRITE_ONCE(published_value, 42);
	rseq_smp_store_release(&is_published, 1);
	return argument;
}

static void test_publication(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, publish, NULL)) {
		perror("pthread_create");
		exit(1);
	}
	while (!rseq_smp_load_acquire(&is_published))
		sched_yield();
	check(RSEQ_READ_ONCE(published_value) == 42);
	pthread_join(thread, NULL);
}

int main(void)
{
	/* The standard headers that come along. */
	sigset_t signals;

	assert(sigemptyset(&signals) == 0);
	test_constants();
	test_layout();
	test_registration();
	test_fallbacks();
	test_memory_access();
	test_helpers();
	test_publication();
	printf("%d failures\n", failures);
	return failures != 0;
}
