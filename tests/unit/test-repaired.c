/* SPDX-License-Identifier: MIT */
/*
 * Somebody writes over cpu_id. A structure finds the thread unregistered and has it registered, and
 * meanwhile the kernel repairs cpu_id: that must not count as a call of the user's, who ends the
 * registration with the one call that is missing.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/counter.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static struct support_cpus cpus;
static bool migrates, repaired;

/* The library blocks signals while it registers a thread, and comes here, not to libc. */
RSEQ_API int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	if (migrates && how == SIG_SETMASK) {
		for (int i = 0; i < cpus.nr && i < 2; i++)
			support_move(0, cpus.cpu[i]);
		support_release(&cpus);
		repaired = rseq_thread_registered();
	}
	return syscall(SYS_rt_sigprocmask, how, set, old, 8) ? errno : 0;
}

static void test_repaired(void **state)
{
	struct rseq_counter *counter = rseq_counter_create();
	bool libc_owns;

	(void)state;
	assert_non_null(counter);
	support_find_cpus(&cpus);
	libc_owns = rseq_thread_registered();
	if (rseq_register_current_thread()) {
		print_message("rseq does not work here\n");
		skip();
	}

	RSEQ_WRITE_ONCE(rseq_get_abi()->cpu_id, (uint32_t)RSEQ_ABI_CPU_ID_REGISTRATION_FAILED);
	migrates = true;
	rseq_counter_add(counter, 3);
	migrates = false;
	if (!repaired) {
		print_message("this kernel repaired nothing while the thread migrated\n");
		skip();
	}
	assert_int_equal(rseq_counter_sum(counter), 3);

	assert_int_equal(rseq_unregister_current_thread(), 0);
	assert_int_equal(rseq_thread_registered(), libc_owns);
	assert_int_equal(!!support_registered_length(rseq_get_abi()), libc_owns);
	rseq_counter_destroy(counter);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_repaired) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	(void)argc;
	return support_run_both_ways(argv, run_group);
}
