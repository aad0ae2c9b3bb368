/* SPDX-License-Identifier: MIT */
/*
 * early.c: a program that uses the library before main(): in a constructor of the first priority
 * that programs have, or, with EARLY_PREINIT, even before those of its libraries. It prints what
 * the thread is, for comparison with what it is in main().
 */
#include "names.h"

#include <rseq/counter.h>
#include <rseq/info.h>

#include <stdio.h>

#define NR_ADDS		1000

static struct rseq_counter *counter;
static bool was_registered;

static void add(void)
{
	for (int i = 0; counter && i < NR_ADDS; i++)
		rseq_counter_inc(counter);
}

static void begin(void)
{
#ifndef EARLY_PREINIT
	was_registered = rseq_thread_registered();
#endif
	counter = rseq_counter_create();
	add();
}

#ifdef EARLY_PREINIT
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = begin;
#else
__attribute__((constructor(101))) static void construct(void)
{
	begin();
}
#endif

int main(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	add();
	rseq_get_info(&info);
	printf("before.registered=%s\n", was_registered ? "yes" : "no");
	printf("owner=%s\nreason=%s\n", name_of_owner(info.owner), name_of_reason(info.reason));
	printf("sum=%ld\n", counter ? (long)rseq_counter_sum(counter) : -1L);
	return 0;
}
