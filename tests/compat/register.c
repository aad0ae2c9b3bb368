/* SPDX-License-Identifier: MIT */
/*
 * Registration: in every thread, nested, in threads that come late, and again after it ended.
 */
#include "check.h"

#define NR_NESTED	5

static bool libc_owns, possible;
static bool late_may_start;

/* What a thread sees that is not registered. */
static void check_unregistered(void)
{
	check(rseq_current_cpu_raw() == RSEQ_ABI_CPU_ID_UNINITIALIZED ||
	      rseq_current_cpu_raw() == RSEQ_ABI_CPU_ID_REGISTRATION_FAILED);
	check(rseq_cpu_start() < (uint32_t)rseq_get_max_nr_cpus());
	check(rseq_current_cpu() < (uint32_t)rseq_get_max_nr_cpus());
	check(!rseq_node_id_available() && !rseq_mm_cid_available());
	check((int32_t)rseq_current_node_id() >= 0);
}

static void check_registered(void)
{
	uint32_t nr_cpus = (uint32_t)rseq_get_max_nr_cpus();

	check(rseq_size >= 20 && rseq_flags == 0);
	check(rseq_current_cpu_raw() >= 0 && rseq_current_cpu_raw() < (int32_t)nr_cpus);
	check(rseq_cpu_start() < nr_cpus && rseq_current_cpu() < nr_cpus);
	check((char *)rseq_get_abi() == (char *)rseq_thread_pointer() + rseq_offset);
	check(rseq_get_abi()->cpu_id_start < nr_cpus);
	if (rseq_node_id_available())
		check(rseq_size >= rseq_offsetofend(struct rseq_abi, node_id));
	if (rseq_mm_cid_available()) {
		check(rseq_size >= rseq_offsetofend(struct rseq_abi, mm_cid));
		check(rseq_current_mm_cid() < nr_cpus);
	}
	rseq_clear_rseq_cs();
	check(rseq_get_abi()->rseq_cs.arch.ptr == 0);
}

static void before_registration(void)
{
	libc_owns = rseq_available(RSEQ_AVAILABLE_QUERY_LIBC);
	possible = rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL);
	check(possible || !libc_owns);
	errno = 0;
	check(!rseq_available(77) && errno == EINVAL);
	if (libc_owns) {
		check_registered();
		return;
	}
	check(rseq_size == 0 && rseq_flags == 0);
	check(rseq_cpu_start() == 0);
	if (possible)
		check((int32_t)rseq_get_abi()->cpu_id == RSEQ_ABI_CPU_ID_UNINITIALIZED);
	check_unregistered();
}

static void refused(void)
{
	errno = 0;
	check(rseq_register_current_thread() == -1 && errno != 0);
	check_unregistered();
	errno = 0;
	check(rseq_unregister_current_thread() == -1 && errno != 0);
}

/* Several libraries of one program register and unregister, each for itself. */
static void nest(void)
{
	for (int i = 0; i < NR_NESTED; i++) {
		check(rseq_register_current_thread() == 0);
		check_registered();
	}
	for (int i = 0; i < NR_NESTED; i++) {
		check_registered();
		check(rseq_unregister_current_thread() == 0);
	}
	if (libc_owns) {
		check_registered();
		check(rseq_unregister_current_thread() == 0);
		return;
	}
	check(rseq_current_cpu_raw() == RSEQ_ABI_CPU_ID_UNINITIALIZED);
	errno = 0;
	check(rseq_unregister_current_thread() == -1 && errno == EINVAL);
}

static void *be_a_thread(void *number)
{
	if (!libc_owns)
		check_unregistered();
	if (!possible) {
		refused();
		return NULL;
	}
	nest();
	nest();
	check(rseq_register_current_thread() == 0);
	check_registered();
	/* Some end as they are. */
	if ((intptr_t)number % 2)
		check(rseq_unregister_current_thread() == 0);
	return NULL;
}

static void *come_late(void *unused)
{
	(void)unused;
	while (!rseq_smp_load_acquire(&late_may_start))
		sched_yield();
	return be_a_thread(NULL);
}

int main(void)
{
	pthread_t late;

	check(rseq_get_max_nr_cpus() >= 1);
	check(rseq_fallback_current_cpu() >= 0);
	check(rseq_fallback_current_node() >= 0);
	check(!pthread_create(&late, NULL, come_late, NULL));
	before_registration();
	be_a_thread((void *)1);
	run_threads(MAX_THREADS, be_a_thread);
	rseq_smp_store_release(&late_may_start, true);
	check(!pthread_join(late, NULL));
	run_threads(MAX_THREADS, be_a_thread);
	rseq_prepare_unload();
	return finish();
}
