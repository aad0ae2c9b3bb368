/* SPDX-License-Identifier: MIT */
/*
 * rseq_get_info(): its sizes, and that what it says is what the process, libc and the kernel say
 * by themselves.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321
#define NR_REASONS	(RSEQ_REASON_OVERWRITTEN + 1)

/* Byte that the library must not touch, or must overwrite. */
#define MARK		0xa5

/* A later release's structure: more fields at the end. */
struct grown_info {
	struct rseq_info known;
	unsigned char later[64];
};

static void test_invalid(void **state)
{
	struct rseq_info info;
	const size_t too_small = offsetof(struct rseq_info, reason) - 1;

	(void)state;
	errno = 0;
	assert_int_equal(rseq_get_info(NULL), -1);
	assert_int_equal(errno, EINVAL);
	for (size_t size = 0; size <= too_small; size++) {
		struct rseq_info before;

		memset(&info, MARK, sizeof(info));
		info.size = size;
		before = info;
		errno = 0;
		assert_int_equal(rseq_get_info(&info), -1);
		assert_int_equal(errno, EINVAL);
		assert_memory_equal(&info, &before, sizeof(info));
	}
}

static void get(struct rseq_info *info)
{
	memset(info, MARK, sizeof(*info));
	info->size = sizeof(*info);
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_get_info(info), 0);
	assert_int_equal(errno, KEPT_ERRNO);
	assert_int_equal(info->size, sizeof(*info));
}

/* A program built with an older header: what lies behind its structure is its own. */
static void test_older_structure(void **state)
{
	struct rseq_info full, partial;

	(void)state;
	get(&full);
	for (size_t size = offsetof(struct rseq_info, reason); size < sizeof(full); size++) {
		memset(&partial, MARK, sizeof(partial));
		partial.size = size;
		assert_int_equal(rseq_get_info(&partial), 0);
		assert_int_equal(partial.size, size);
		assert_memory_equal((char *)&partial + sizeof(size_t),
				    (char *)&full + sizeof(size_t), size - sizeof(size_t));
		for (size_t i = size; i < sizeof(partial); i++)
			assert_int_equal(((unsigned char *)&partial)[i], MARK);
	}
}

/* A program built with a newer header: fields that this library does not know are 0. */
static void test_newer_structure(void **state)
{
	struct grown_info grown;
	struct rseq_info full;

	(void)state;
	get(&full);
	memset(&grown, MARK, sizeof(grown));
	grown.known.size = sizeof(grown);
	assert_int_equal(rseq_get_info(&grown.known), 0);
	assert_int_equal(grown.known.size, sizeof(full));
	assert_memory_equal(&grown.known, &full, sizeof(full));
	for (size_t i = 0; i < sizeof(grown.later); i++)
		assert_int_equal(grown.later[i], 0);
}

static void test_kernel_fields(void **state)
{
	const char *trusted = getenv("LIBRSEQ_KERNEL_TRUSTED");
	struct rseq_info info;
	struct utsname name;
	unsigned int major = 0, minor = 0;

	(void)state;
	get(&info);
	assert_int_equal(info.kernel_feature_size, getauxval(27));
	assert_int_equal(info.kernel_align, getauxval(28));
	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	assert_int_equal(info.kernel_version[0], major);
	assert_int_equal(info.kernel_version[1], minor);
	assert_int_equal(info.kernel_trusted, trusted && *trusted && strcmp(trusted, "0"));
	assert_int_equal(info.max_nr_cpus, rseq_get_max_nr_cpus());
	assert_int_equal(info.disabled, 0);
	for (unsigned int bit = 0; bit < 32; bit++)
		if (info.kernel_bugs >> bit & 1)
			assert_non_null(rseq_kernel_bug_string(1U << bit));
}

/* A static program finds libc's symbols without a dynamic linker. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

static void test_libc_fields(void **state)
{
	const ptrdiff_t *offset = &__rseq_offset;
	const unsigned int *size = &__rseq_size;
	struct rseq_info info;

	(void)state;
	__asm__ ("" : "+r" (offset), "+r" (size));
	if (!offset)
		offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	if (!size)
		size = dlsym(RTLD_DEFAULT, "__rseq_size");
	get(&info);
	assert_int_equal(info.libc_symbols, offset && size);
	if (!info.libc_symbols)
		return;
	assert_int_equal(info.libc_size, *size);
	assert_int_equal(info.libc_offset, *offset);
	if (info.area_origin == RSEQ_AREA_LIBC)
		assert_int_equal(info.area_offset, *offset);
	else
		assert_int_not_equal(info.area_offset, *offset);
	/* libc comes first, unless nobody may. */
	if (info.area_origin != RSEQ_AREA_NONE)
		assert_int_equal(info.area_origin == RSEQ_AREA_LIBC, *size != 0);
}

static unsigned int min(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

static void test_area_fields(void **state)
{
	struct rseq_info info;

	(void)state;
	get(&info);
	assert_int_equal(info.area_offset, rseq_offset);
	if (info.area_origin == RSEQ_AREA_NONE) {
		assert_int_equal(info.area_size, 0);
		assert_int_equal(info.length, 0);
		assert_null(info.area_module);
		return;
	}
	assert_true(info.area_size >= 32);
	assert_true(info.area_align >= 32);
	assert_int_equal((uintptr_t)rseq_get_abi() % min(info.area_align, 4096), 0);
	assert_true(info.length >= 32 && info.length <= info.area_size);
	assert_int_equal(info.other_definitions, 0);
	if (info.area_origin == RSEQ_AREA_LIBC) {
		assert_string_equal(info.area_module, "libc");
		return;
	}
	assert_int_equal(info.area_origin, RSEQ_AREA_LIBRSEQ);
	assert_int_equal(info.area_size, sizeof(struct rseq_abi));
	assert_int_equal(info.area_align, 64);
	assert_non_null(info.area_module);
	/* "" for the program: the library may be a part of it. */
	assert_true(!*info.area_module || strstr(info.area_module, "librseq"));
}

static void check_unregistered(const struct rseq_info *info)
{
	assert_int_equal(info->owner, RSEQ_OWNER_NONE);
	assert_int_not_equal(info->reason, RSEQ_REASON_NONE);
	assert_int_equal(info->mode, RSEQ_MODE_NONE);
	assert_int_equal(info->registered_length, 0);
	assert_int_equal(info->feature_size, 0);
	assert_int_equal(info->features, 0);
}

static void test_thread_fields(void **state)
{
	struct rseq_info before, info, after;

	(void)state;
	get(&before);
	if (!rseq_thread_registered()) {
		check_unregistered(&before);
		if (support_kernel_has_rseq() && before.area_origin != RSEQ_AREA_NONE)
			assert_int_equal(before.reason, RSEQ_REASON_NOT_REGISTERED);
	}
	if (rseq_register_current_thread()) {
		get(&info);
		check_unregistered(&info);
		print_message("rseq does not work here: %s\n", rseq_reason_string(info.reason));
		skip();
	}
	get(&info);
	assert_int_equal(info.owner, info.area_origin == RSEQ_AREA_LIBC ? RSEQ_OWNER_LIBC :
			 RSEQ_OWNER_LIBRSEQ);
	assert_int_equal(info.reason, RSEQ_REASON_NONE);
	assert_int_equal(info.registered_length, info.length);
	assert_true(support_is_registered(rseq_get_abi(), info.registered_length));
	assert_int_equal(info.mode, info.registered_length > 32 ? RSEQ_MODE_V2 :
			 RSEQ_MODE_LEGACY);
	assert_int_equal(info.feature_size, rseq_size);
	assert_true(info.feature_size >= 20 && info.feature_size <= info.registered_length);
	if (info.kernel_feature_size)
		assert_true(info.feature_size <= info.kernel_feature_size);
	else
		assert_int_equal(info.feature_size, 20);
	assert_int_equal(rseq_unregister_current_thread(), 0);
	get(&after);
	assert_int_equal(after.owner, before.owner);
	if (after.owner == RSEQ_OWNER_NONE)
		check_unregistered(&after);
}

/* Nothing but the kernel makes it right again: what is wrong afterwards was so throughout. */
static bool is_overwritten(struct rseq_info *info)
{
	uint32_t *cpu_id = &rseq_get_abi()->cpu_id;

	RSEQ_WRITE_ONCE(*cpu_id, (uint32_t)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED);
	get(info);
	return RSEQ_READ_ONCE(*cpu_id) == (uint32_t)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED;
}

/* Where somebody writes over cpu_id, the thread is registered as before, and has no rseq. */
static void test_overwritten(void **state)
{
	struct rseq_info before, info;
	struct support_cpus cpus;
	int tries = 100000;

	(void)state;
	rseq_register_current_thread();
	get(&before);
	if (before.reason != RSEQ_REASON_NONE || before.registered_length != 32) {
		rseq_unregister_current_thread();
		print_message("it is not registered, or the kernel ends who does so\n");
		skip();
	}
	while (!is_overwritten(&info) && --tries)
		;
	if (!tries) {
		print_message("this kernel makes it right at once\n");
		skip();
	}
	assert_int_equal(info.reason, RSEQ_REASON_OVERWRITTEN);
	info.reason = RSEQ_REASON_NONE;
	assert_memory_equal(&info, &before, offsetof(struct rseq_info, aborts));
	support_find_cpus(&cpus);
	for (int i = 0; i < cpus.nr && i < 2; i++)
		support_move(0, cpus.cpu[i]);
	support_release(&cpus);
	if (rseq_thread_registered()) {
		get(&info);
		assert_memory_equal(&info, &before, offsetof(struct rseq_info, aborts));
	}
	/* It is over, whatever its area says. */
	support_sys_rseq(rseq_get_abi(), 32, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	RSEQ_WRITE_ONCE(rseq_get_abi()->cpu_id, (uint32_t)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED);
	get(&info);
	check_unregistered(&info);
	assert_int_equal(support_sys_rseq(rseq_get_abi(), 32, 0, RSEQ_SIG), 0);
	rseq_unregister_current_thread();
}

static void *get_in_thread(void *info)
{
	((struct rseq_info *)info)->size = sizeof(struct rseq_info);
	return rseq_get_info(info) ? NULL : info;
}

/* What is told of the thread is this thread's, what is told of the process is every thread's. */
static void test_another_thread(void **state)
{
	struct rseq_info here, there;
	pthread_t thread;
	void *result;

	(void)state;
	rseq_register_current_thread();
	get(&here);
	assert_int_equal(pthread_create(&thread, NULL, get_in_thread, &there), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &there);
	if (here.owner == RSEQ_OWNER_LIBRSEQ)
		check_unregistered(&there);
	else
		assert_int_equal(here.owner, there.owner);
	assert_memory_equal(&here.area_origin, &there.area_origin,
			    offsetof(struct rseq_info, aborts) -
			    offsetof(struct rseq_info, area_origin));
	rseq_unregister_current_thread();
}

/* A thread with rseq comes to the slow path when its section was aborted, and for nothing else. */
static void test_aborts(void **state)
{
	struct rseq_counter *counter = rseq_counter_create();
	struct rseq_info before, with, without;

	(void)state;
	assert_non_null(counter);
	rseq_register_current_thread();
	get(&before);
	if (before.reason != RSEQ_REASON_NONE) {
		rseq_counter_destroy(counter);
		print_message("rseq does not work here: %s\n", rseq_reason_string(before.reason));
		skip();
	}
	for (int i = 0; i < 10; i++)
		rseq_counter_add_slow(counter, 1);
	get(&with);
	assert_true(with.aborts >= before.aborts + 10);
	assert_true(with.aborts < before.aborts + 1000);

	assert_int_equal(support_sys_rseq(rseq_get_abi(), before.registered_length,
					  RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG), 0);
	rseq_register_current_thread();
	rseq_unregister_current_thread();
	if (rseq_thread_registered())
		rseq_unregister_current_thread();
	assert_false(rseq_thread_registered());
	get(&with);
	for (int i = 0; i < 10; i++)
		rseq_counter_add_slow(counter, 1);
	get(&without);
	assert_int_equal(without.aborts, with.aborts);
	assert_int_equal(rseq_counter_sum(counter), 20);
	rseq_counter_destroy(counter);
}

static void test_reason_strings(void **state)
{
	const char *unknown = rseq_reason_string(NR_REASONS);
	static const int no_reasons[] = { -1, NR_REASONS, 1000, INT_MAX, INT_MIN };

	(void)state;
	assert_non_null(unknown);
	for (int reason = 0; reason < NR_REASONS; reason++) {
		const char *sentence = rseq_reason_string(reason);

		assert_non_null(sentence);
		assert_string_not_equal(sentence, unknown);
		assert_ptr_equal(sentence, rseq_reason_string(reason));
		for (int other = 0; other < reason; other++)
			assert_string_not_equal(sentence, rseq_reason_string(other));
	}
	for (size_t i = 0; i < sizeof(no_reasons) / sizeof(no_reasons[0]); i++)
		assert_string_equal(rseq_reason_string(no_reasons[i]), unknown);
}

static int run_group(void)
{
	const struct CMUnitTest info[] = {
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_older_structure),
		cmocka_unit_test(test_newer_structure),
		cmocka_unit_test(test_kernel_fields),
		cmocka_unit_test(test_libc_fields),
		cmocka_unit_test(test_area_fields),
		cmocka_unit_test(test_thread_fields),
		cmocka_unit_test(test_another_thread),
		cmocka_unit_test(test_overwritten),
		cmocka_unit_test(test_reason_strings),
		cmocka_unit_test(test_aborts),
	};

	return cmocka_run_group_tests(info, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
