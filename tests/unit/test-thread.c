/* SPDX-License-Identifier: MIT */
/*
 * A thread's registration, and what a thread reads of its area: with libc's registration and
 * without.
 */
#include "support.h"

#include <rseq/counter.h>
#include <rseq/info.h>
#include <rseq/list.h>

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define KEPT_ERRNO	4321

/* What this process is, found out past the library. */
static bool rseq_works;
static bool libc_owns;

static struct rseq_info info_of_thread(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	if (rseq_get_info(&info))
		info.size = 0;
	return info;
}

static void need_rseq(void)
{
	if (rseq_works)
		return;
	print_message("rseq does not work here: %s\n",
		      rseq_reason_string(info_of_thread().reason));
	skip();
}

/* Threads report what they saw; assertions belong to the main thread. */
static void in_thread(void *(*function)(void *), void *seen)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, seen), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* Comes first: nothing in this process has registered yet. */
static void test_before_registration(void **state)
{
	(void)state;
	assert_int_equal(rseq_flags, 0);
	assert_ptr_equal(rseq_get_abi(), (char *)rseq_thread_pointer() + rseq_offset);
	if (libc_owns) {
		assert_true(rseq_thread_registered());
		assert_true(rseq_size >= 20);
		return;
	}
	assert_int_equal(rseq_size, 0);
	assert_int_equal(rseq_current_cpu_raw(), RSEQ_ABI_CPU_ID_UNINITIALIZED);
	assert_int_equal(rseq_cpu_start(), 0);
	assert_false(rseq_thread_registered());
	assert_false(rseq_node_id_available());
	assert_false(rseq_mm_cid_available());
	assert_int_equal(rseq_current_mm_cid(), (uint32_t)-1);
	assert_true((int32_t)rseq_current_cpu() >= 0);
	assert_true((int32_t)rseq_current_node_id() >= 0);
	assert_int_equal(support_registered_length(rseq_get_abi()), 0);
}

static void test_query(void **state)
{
	(void)state;
	errno = KEPT_ERRNO;
	assert_int_equal(rseq_available(RSEQ_AVAILABLE_QUERY_LIBC), libc_owns);
	assert_int_equal(rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL), rseq_works);
	assert_int_equal(errno, KEPT_ERRNO);
	for (unsigned int query = 2; query; query <<= 1) {
		errno = 0;
		assert_false(rseq_available(query));
		assert_int_equal(errno, EINVAL);
	}
}

static void test_errors_without_rseq(void **state)
{
	struct rseq_info info;

	(void)state;
	if (rseq_works)
		return;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rseq_register_current_thread(), -1);
		assert_true(errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM);
	}
	assert_int_equal(rseq_unregister_current_thread(), -1);
	assert_int_equal(errno, EINVAL);
	info = info_of_thread();
	assert_int_equal(info.owner, RSEQ_OWNER_NONE);
	assert_true(info.reason != RSEQ_REASON_NONE);
	assert_int_equal(info.mode, RSEQ_MODE_NONE);
	assert_int_equal(info.features, 0);
	assert_false(rseq_thread_registered());
}

struct nesting {
	int registered[3];
	int unregistered[4];
	int last_errno;
	bool errno_kept;
	bool on_between[2];		/* still registered, one or two calls before the last */
	bool on_at_the_end;
	int32_t cpu_at_the_end;
	unsigned int length_at_the_end;
	struct rseq_info info;
	unsigned int kernels_length;
};

static void *nest(void *argument)
{
	struct nesting *seen = argument;

	errno = KEPT_ERRNO;
	for (int i = 0; i < 3; i++)
		seen->registered[i] = rseq_register_current_thread();
	seen->info = info_of_thread();
	seen->kernels_length = support_registered_length(rseq_get_abi());
	for (int i = 0; i < 3; i++) {
		seen->unregistered[i] = rseq_unregister_current_thread();
		if (i < 2)
			seen->on_between[i] = rseq_thread_registered();
	}
	seen->errno_kept = errno == KEPT_ERRNO;
	seen->on_at_the_end = rseq_thread_registered();
	seen->cpu_at_the_end = rseq_current_cpu_raw();
	seen->length_at_the_end = support_registered_length(rseq_get_abi());
	errno = KEPT_ERRNO;
	seen->unregistered[3] = rseq_unregister_current_thread();
	seen->last_errno = errno;
	return NULL;
}

static void check_nesting(const struct nesting *seen)
{
	for (int i = 0; i < 3; i++) {
		assert_int_equal(seen->registered[i], 0);
		assert_int_equal(seen->unregistered[i], 0);
	}
	assert_true(seen->errno_kept);
	assert_true(seen->on_between[0]);
	assert_true(seen->on_between[1]);
	assert_int_equal(seen->info.reason, RSEQ_REASON_NONE);
	assert_int_equal(seen->info.registered_length, seen->kernels_length);
	if (libc_owns) {
		assert_int_equal(seen->info.owner, RSEQ_OWNER_LIBC);
		assert_true(seen->on_at_the_end);
		assert_int_equal(seen->length_at_the_end, seen->kernels_length);
		assert_int_equal(seen->unregistered[3], 0);
		assert_int_equal(seen->last_errno, KEPT_ERRNO);
		return;
	}
	assert_int_equal(seen->info.owner, RSEQ_OWNER_LIBRSEQ);
	assert_false(seen->on_at_the_end);
	assert_int_equal(seen->cpu_at_the_end, RSEQ_ABI_CPU_ID_UNINITIALIZED);
	assert_int_equal(seen->length_at_the_end, 0);
	assert_int_equal(seen->unregistered[3], -1);
	assert_int_equal(seen->last_errno, EINVAL);
}

static void test_nesting(void **state)
{
	struct nesting here = { .last_errno = 0 }, in_another = { .last_errno = 0 };

	(void)state;
	need_rseq();
	nest(&here);
	check_nesting(&here);
	in_thread(nest, &in_another);
	check_nesting(&in_another);
	/* A second time around. */
	nest(&here);
	check_nesting(&here);
}

static void *unregister_only(void *seen)
{
	errno = KEPT_ERRNO;
	if (rseq_unregister_current_thread())
		*(int *)seen = errno;
	return NULL;
}

static void test_unregister_without_register(void **state)
{
	int seen = 0;

	(void)state;
	in_thread(unregister_only, &seen);
	assert_int_equal(seen, libc_owns ? 0 : EINVAL);
}

/* Somebody ends the registration behind the library's back: the library sees it, and can repair. */
static void test_unregistered_by_somebody(void **state)
{
	unsigned int length;

	(void)state;
	need_rseq();
	assert_int_equal(rseq_register_current_thread(), 0);
	length = support_registered_length(rseq_get_abi());
	assert_true(length >= 32);
	assert_int_equal(support_sys_rseq(rseq_get_abi(), length, RSEQ_ABI_FLAG_UNREGISTER,
					  RSEQ_SIG), 0);
	assert_false(rseq_thread_registered());
	assert_int_equal(info_of_thread().reason, RSEQ_REASON_NOT_REGISTERED);
	assert_int_equal(rseq_cpu_start(), 0);

	assert_int_equal(rseq_register_current_thread(), 0);
	assert_int_equal(support_registered_length(rseq_get_abi()), length);
	/* It is this library's now, on whose area ever. */
	assert_int_equal(info_of_thread().owner, RSEQ_OWNER_LIBRSEQ);
	assert_int_equal(info_of_thread().registered_length, length);
	assert_int_equal(rseq_unregister_current_thread(), 0);
	if (rseq_thread_registered())
		assert_int_equal(rseq_unregister_current_thread(), 0);
	assert_false(rseq_thread_registered());

	/* As it was at the start of this test. */
	if (libc_owns)
		assert_int_equal(support_sys_rseq(rseq_get_abi(), length, 0, RSEQ_SIG), 0);
}

static void test_pinned(void **state)
{
	const unsigned int max_nr_cpus = (unsigned int)rseq_get_max_nr_cpus();
	struct support_cpus cpus;

	(void)state;
	rseq_register_current_thread();
	support_find_cpus(&cpus);
	for (int i = 0; i < cpus.nr; i++) {
		unsigned int node = 0;

		assert_int_equal(support_move(0, cpus.cpu[i]), 0);
		assert_int_equal(rseq_current_cpu(), cpus.cpu[i]);
		assert_int_equal(rseq_fallback_current_cpu(), cpus.cpu[i]);
		assert_int_equal(syscall(SYS_getcpu, NULL, &node, NULL), 0);
		assert_int_equal(rseq_current_node_id(), node);
		assert_int_equal(rseq_fallback_current_node(), node);
		if (rseq_works) {
			assert_int_equal(rseq_current_cpu_raw(), cpus.cpu[i]);
			assert_int_equal(rseq_cpu_start(), cpus.cpu[i]);
		}
	}
	assert_int_equal(support_release(&cpus), 0);
	for (int i = 0; i < 1000; i++) {
		assert_true(rseq_current_cpu() < max_nr_cpus);
		assert_true(rseq_cpu_start() < max_nr_cpus);
		sched_yield();
	}
	rseq_unregister_current_thread();
}

/* A field is there if its end lies within the active feature size, and in no other case. */
static void test_fields(void **state)
{
	struct rseq_info info;

	(void)state;
	need_rseq();
	assert_int_equal(rseq_register_current_thread(), 0);
	info = info_of_thread();
	assert_int_equal(info.feature_size, rseq_size);
	assert_int_equal(rseq_node_id_available(), rseq_size >= 24);
	assert_int_equal(rseq_mm_cid_available(), rseq_size >= 28);
	assert_int_equal(!!(info.features & RSEQ_FEATURE_NODE_ID), rseq_size >= 24);
	assert_int_equal(!!(info.features & RSEQ_FEATURE_MM_CID), rseq_size >= 28);
	assert_true(info.features & RSEQ_FEATURE_CPU_ID);
	for (int i = 0; i < 1000; i++) {
		if (rseq_mm_cid_available())
			assert_true(rseq_current_mm_cid() < (unsigned int)rseq_get_max_nr_cpus());
		else
			assert_int_equal(rseq_current_mm_cid(), (uint32_t)-1);
		sched_yield();
	}
	rseq_unregister_current_thread();
}

struct areas {
	struct rseq_abi *inlined, *slow;
	void *expected;
};

static void *find_areas(void *argument)
{
	struct areas *seen = argument;

	seen->inlined = rseq_get_abi();
	seen->slow = rseq_get_abi_slow();
	seen->expected = (char *)rseq_thread_pointer() + rseq_offset;
	return NULL;
}

static void test_area(void **state)
{
	struct areas here, other;

	(void)state;
	find_areas(&here);
	in_thread(find_areas, &other);
	assert_ptr_equal(here.inlined, here.slow);
	assert_ptr_equal(here.inlined, here.expected);
	assert_ptr_equal(other.inlined, other.slow);
	assert_ptr_equal(other.inlined, other.expected);
	assert_ptr_not_equal(here.slow, other.slow);
	assert_int_equal((uintptr_t)here.slow % 32, 0);
	assert_int_equal((uintptr_t)other.slow % 32, 0);
}

/* The kernel may disarm a section at any interruption, so that arming is tried several times. */
static void test_clear_rseq_cs(void **state)
{
	struct rseq_counter *counter = rseq_counter_create();
	bool armed = false;

	(void)state;
	assert_non_null(counter);
	need_rseq();
	assert_int_equal(rseq_register_current_thread(), 0);
	for (int i = 0; i < 100000 && !armed; i++) {
		rseq_counter_inc(counter);
		armed = RSEQ_READ_ONCE(rseq_get_abi()->rseq_cs.arch.ptr) != 0;
	}
	assert_true(armed);
	rseq_counter_inc(counter);
	rseq_clear_rseq_cs();
	assert_int_equal(RSEQ_READ_ONCE(rseq_get_abi()->rseq_cs.arch.ptr), 0);
	rseq_counter_inc(counter);
	rseq_prepare_unload();
	assert_int_equal(RSEQ_READ_ONCE(rseq_get_abi()->rseq_cs.arch.ptr), 0);
	rseq_unregister_current_thread();
	rseq_counter_destroy(counter);
}

static void register_pair(int signal)
{
	int saved_errno = errno;

	(void)signal;
	if (!rseq_register_current_thread())
		rseq_unregister_current_thread();
	errno = saved_errno;
}

/* A handler that registers and unregisters may interrupt both at any instruction. */
static void test_pairs_in_signal_handler(void **state)
{
	struct sigaction action = { .sa_handler = register_pair, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	const long interval = 100000L * support_divisor();
	const struct itimerspec often = { { 0, interval }, { 0, interval } };
	const int rounds = support_rounds(100000);
	int failures = 0, left_over = 0, lost = 0;
	timer_t timer;

	(void)state;
	need_rseq();
	assert_int_equal(sigaction(SIGRTMIN, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	for (int i = 0; i < rounds; i++) {
		failures += rseq_register_current_thread() != 0;
		lost += !rseq_thread_registered();
		failures += rseq_unregister_current_thread() != 0;
		left_over += !libc_owns && rseq_thread_registered();
	}
	assert_int_equal(timer_delete(timer), 0);
	assert_int_equal(failures, 0);
	assert_int_equal(lost, 0);
	assert_int_equal(left_over, 0);
}

static void *register_often(void *seen)
{
	for (int i = 0; i < 100; i++) {
		support_go_without_rseq();
		*(int *)seen += rseq_register_current_thread() != 0;
		rseq_unregister_current_thread();
	}
	return NULL;
}

/* What a registration makes known to the process is looked at meanwhile: for the sanitizer. */
static void test_seen_by_others(void **state)
{
	int failures = 0;
	pthread_t thread;

	(void)state;
	need_rseq();
	assert_int_equal(pthread_create(&thread, NULL, register_often, &failures), 0);
	for (int i = 0; i < 100; i++) {
		struct rseq_list *list = rseq_list_create_mode(RSEQ_PERCPU_MM_CID);

		assert_non_null(list);
		rseq_list_destroy(list);
		assert_int_equal(info_of_thread().size, sizeof(struct rseq_info));
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(failures, 0);
}

static int run_group(void)
{
	const struct CMUnitTest thread[] = {
		cmocka_unit_test(test_before_registration),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_errors_without_rseq),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_unregister_without_register),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_area),
		cmocka_unit_test(test_clear_rseq_cs),
		cmocka_unit_test(test_pairs_in_signal_handler),
		cmocka_unit_test(test_unregistered_by_somebody),
		cmocka_unit_test(test_seen_by_others),
	};
	struct rseq_info info = info_of_thread();

	rseq_works = support_kernel_has_rseq() && info.area_origin != RSEQ_AREA_NONE;
	libc_owns = info.area_origin == RSEQ_AREA_LIBC;
	return cmocka_run_group_tests(thread, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
