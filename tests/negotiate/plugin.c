/* SPDX-License-Identifier: MIT */
/*
 * plugin.c: what a program loads at run time that knows nothing of rseq. The plugin has critical
 * sections of its own, by the library's headers, and is linked with the library.
 */
#include "plugin.h"

#include <rseq/counter.h>
#include <rseq/info.h>
#include <rseq/rseq.h>

static struct rseq_counter *counter;

static int start(void)
{
	counter = rseq_counter_create();
	return counter ? 0 : -1;
}

static int run(int adds, int with_call)
{
	int error = with_call && rseq_register_current_thread() ? errno : 0;

	for (int i = 0; i < adds; i++)
		rseq_counter_inc(counter);
	if (with_call && !error && rseq_unregister_current_thread())
		return -1;
	return error;
}

/* The thread's last section was this plugin's, whose memory goes away. */
static void leave(void)
{
	rseq_prepare_unload();
}

static long stop(void)
{
	long sum = rseq_counter_sum(counter);

	rseq_counter_destroy(counter);
	return sum;
}

static void describe(struct plugin_description *description)
{
	struct rseq_info info = { .size = sizeof(info) };

	if (rseq_get_info(&info))
		abort();
	description->owner = info.owner;
	description->reason = info.reason;
	description->origin = info.area_origin;
	description->area_size = info.area_size;
	description->length = info.length;
	description->other_definitions = info.other_definitions;
	description->cpu_id = rseq_current_cpu_raw();
}

const struct plugin plugin = { start, run, leave, stop, describe };
