/* SPDX-License-Identifier: MIT */
/*
 * Both units of the program that link.sh makes; UNIT is the number of one. They define the same
 * functions: static ones, weak ones and, in C++, inline functions and templates, of which the
 * linker keeps one copy each.
 */
#include "every-op.h"
#include "link-unit.h"

#include <rseq/counter.h>

static __attribute__((noinline)) int static_add(struct link_data *data, int cpu)
{
	return add_cpu_id(&data->v, 1, cpu);
}

static __attribute__((noinline)) int static_copy(struct link_data *data, int cpu)
{
	return copy_store_cpu_id(&data->v, data->v, data->dst, data->src, sizeof(data->dst),
				 data->v + 1, cpu);
}

RSEQ_BEGIN_DECLS

link_function weak_store_store, weak_add_at, cold_add;

__attribute__((weak, noinline)) int weak_store_store(struct link_data *data, int cpu)
{
	return store_store_cpu_id_release(&data->v, data->v, &data->v2, data->v, data->v + 1, cpu);
}

__attribute__((weak, noinline)) int weak_add_at(struct link_data *data, int cpu)
{
	return add_at_cpu_id(&data->base, 8, 1, cpu);
}

/* Never taken, in a section of its own: code may be far away. */
__attribute__((weak, noinline, cold)) int cold_add(struct link_data *data, int cpu)
{
	return add_cpu_id(&data->v, 1, cpu);
}

RSEQ_END_DECLS

#ifdef __cplusplus

inline __attribute__((noinline)) int inline_store(struct link_data *data, int cpu)
{
	return store_cpu_id(&data->v, data->v, data->v + 1, cpu);
}

inline __attribute__((noinline)) int inline_copy(struct link_data *data, int cpu)
{
	return copy_store_cpu_id_release(&data->v, data->v, data->dst, data->src,
					 sizeof(data->dst), data->v + 1, cpu);
}

template <typename Type>
__attribute__((noinline)) int template_add(Type *data, int cpu)
{
	return rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &data->v, 1, cpu);
}

/* The constants are the template's arguments. */
template <enum rseq_mo mo, enum rseq_percpu_mode mode>
struct template_ops {
	static __attribute__((noinline)) int store_store(struct link_data *data, int cpu)
	{
		return rseq_load_cbne_store_store__ptr(mo, mode, &data->v, data->v, &data->v2,
						       data->v, data->v + 1, cpu);
	}

	static int call_of_lambda(struct link_data *data, int cpu)
	{
		auto both = [=]() {
			return rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode,
					&data->v, data->v, &data->v2, data->v2, data->v + 1, cpu);
		};

		return both();
	}
};

#endif /* __cplusplus */
static int take(struct link_data *data, int cpu)
{
	int result = take_cpu_id(&data->head, 0, 0, &data->load, cpu);

	data->v += !result;
	return result;
}

static int count(struct link_data *data, int cpu)
{
	static struct rseq_counter *counter;

	(void)cpu;
	if (!counter)
		counter = rseq_counter_create();
	rseq_counter_inc(counter);
	data->v++;
	return 0;
}

RSEQ_BEGIN_DECLS
link_function *const RSEQ_COMBINE_TOKENS(functions_of_unit, UNIT)[] = {
	static_add, static_copy, weak_store_store, weak_add_at, cold_add, take, count,
#ifdef __cplusplus
	inline_store, inline_copy, template_add<struct link_data>,
	template_ops<RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID>::store_store,
	template_ops<RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID>::store_store,
	template_ops<RSEQ_MO_RELEASE, RSEQ_PERCPU_CPU_ID>::call_of_lambda,
#endif
	NULL,
};
RSEQ_END_DECLS
