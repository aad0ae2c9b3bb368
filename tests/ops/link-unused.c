/* SPDX-License-Identifier: MIT */
/*
 * A unit of the program that link.sh makes, no function of which is called: with
 * -ffunction-sections and --gc-sections a linker throws it away. C and C++.
 */
#include "every-op.h"
#include "link-unit.h"

RSEQ_BEGIN_DECLS
link_function unused_add, unused_copy, unused_store_store;
RSEQ_END_DECLS

int unused_add(struct link_data *data, int cpu)
{
	return add_cpu_id(&data->v, 1, cpu);
}

int unused_copy(struct link_data *data, int cpu)
{
	return copy_store_cpu_id(&data->v, 0, data->dst, data->src, sizeof(data->dst), 1, cpu);
}

int unused_store_store(struct link_data *data, int cpu)
{
	return store_store_mm_cid_release(&data->v, 0, &data->v2, 1, 1, cpu);
}
