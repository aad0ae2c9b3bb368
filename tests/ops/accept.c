/* SPDX-License-Identifier: MIT */
/*
 * All ways to name an ordering and a mode that programs use, each right. C and C++.
 */
#include <rseq/rseq.h>

typedef int function(int cpu);

static intptr_t v, v2;

/* Constant variables: the compiler knows them, the language does not call them constants. */
static const enum rseq_mo file_mo = RSEQ_MO_RELEASE;
static const enum rseq_percpu_mode file_mode = RSEQ_PERCPU_MM_CID;
static const struct {
	enum rseq_mo mo;
	enum rseq_percpu_mode mode;
} table[] = {
	{ RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID }, { RSEQ_MO_RELEASE, RSEQ_PERCPU_MM_CID },
};

extern function of_file, of_function, of_table, of_variable, of_expression, of_address, in_a_loop;
extern int of_parameters(enum rseq_mo mo, enum rseq_percpu_mode mode, int cpu);
extern int of_volatile(const volatile enum rseq_mo *mo, int cpu);

int of_file(int cpu)
{
	return rseq_load_cbne_store_store__ptr(file_mo, file_mode, &v, 1, &v2, 2, 3, cpu);
}

int of_function(int cpu)
{
	const enum rseq_mo mo = RSEQ_MO_RELAXED;
	const enum rseq_percpu_mode mode = RSEQ_PERCPU_CPU_ID;

	return rseq_load_add_store__ptr(mo, mode, &v, 1, cpu);
}

int of_table(int cpu)
{
	return rseq_load_add_store__ptr(table[0].mo, table[0].mode, &v, 1, cpu) +
	       rseq_load_cbne_store_store__ptr(table[cpu & 1].mo, table[1].mode, &v, 1, &v2, 2, 3,
					       cpu);
}

int of_variable(int cpu)
{
	enum rseq_mo mo = RSEQ_MO_RELAXED;
	enum rseq_percpu_mode mode = RSEQ_PERCPU_CPU_ID;

	if (cpu & 1)
		mode = RSEQ_PERCPU_MM_CID;
	return rseq_load_cbne_store__ptr(mo, mode, &v, 1, 2, cpu);
}

int of_expression(int cpu)
{
	return rseq_load_cbne_store_store__ptr(cpu ? RSEQ_MO_RELAXED : RSEQ_MO_RELEASE,
			cpu ? RSEQ_PERCPU_CPU_ID : RSEQ_PERCPU_MM_CID, &v, 1, &v2, 2, 3, cpu);
}

int of_parameters(enum rseq_mo mo, enum rseq_percpu_mode mode, int cpu)
{
	return rseq_load_cbne_store_store__ptr(mo, mode, &v, 1, &v2, 2, 3, cpu);
}

int of_volatile(const volatile enum rseq_mo *mo, int cpu)
{
	return rseq_load_cbne_store_store__ptr(*mo, RSEQ_PERCPU_CPU_ID, &v, 1, &v2, 2, 3, cpu);
}

/* Not only as a macro: operations are functions. */
int of_address(int cpu)
{
	int (*add)(enum rseq_mo, enum rseq_percpu_mode, intptr_t *, intptr_t, int) =
			rseq_load_add_store__ptr;

	return add(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v, 1, cpu) +
	       (rseq_load_add_store__ptr)(RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID, &v, 1, cpu);
}

int in_a_loop(int cpu)
{
	int mode;

	for (mode = RSEQ_PERCPU_CPU_ID; mode <= RSEQ_PERCPU_MM_CID; mode++)
		if (rseq_load_add_store__ptr(RSEQ_MO_RELAXED, (enum rseq_percpu_mode)mode, &v, 1,
					     cpu))
			return mode;
	return -1;
}

#ifdef __cplusplus

constexpr enum rseq_mo constexpr_mo = RSEQ_MO_RELEASE;

struct object {
	enum rseq_mo mo;
	enum rseq_percpu_mode mode;
	intptr_t word;

	int of_member(int cpu)
	{
		return rseq_load_cbne_store_store__ptr(mo, this->mode, &word, 1, &v2, 2, 3, cpu);
	}

	template <enum rseq_mo order>
	int of_argument(int cpu) const
	{
		return rseq_load_cbne_store_store__ptr(order, mode, &v, 1, &v2, 2, 3, cpu);
	}
};

template <typename Word, enum rseq_percpu_mode mode>
int of_template(Word *word, int cpu)
{
	return rseq_load_cbne_store_store__ptr(constexpr_mo, mode, word, 1, &v2, 2, 3, cpu);
}

/* Callers of C functions name the global scope. */
template <enum rseq_percpu_mode mode>
int of_global_scope(int cpu)
{
	intptr_t load;

	return ::rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, &v, 1, 2, cpu) +
	       ::rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED, mode, &v, 1, 0, &load,
							  cpu) +
	       ::rseq_load_add_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID, &v, 1, cpu) +
	       ::rseq_load_add_load_load_add_store__ptr(RSEQ_MO_RELAXED, mode, &v, 0, 1, cpu) +
	       ::rseq_load_cbne_load_cbne_store__ptr(RSEQ_MO_RELAXED, mode, &v, 1, &v2, 2, 3,
						     cpu) +
	       ::rseq_load_cbne_store_store__ptr(RSEQ_MO_RELEASE, mode, &v, 1, &v2, 2, 3, cpu) +
	       ::rseq_load_cbne_memcpy_store__ptr(RSEQ_MO_RELEASE, mode, &v, 1, &v2, &load,
						  sizeof(load), 3, cpu);
}

extern int of_cxx(object &object, const enum rseq_mo &mo, int cpu);

int of_cxx(object &object, const enum rseq_mo &mo, int cpu)
{
	auto lambda = [&](enum rseq_percpu_mode mode) {
		return rseq_load_cbne_store_store__ptr(mo, mode, &v, 1, &v2, 2, 3, cpu);
	};

	return lambda(RSEQ_PERCPU_CPU_ID) + object.of_member(cpu) +
	       object.of_argument<RSEQ_MO_RELAXED>(cpu) + object.of_argument<constexpr_mo>(cpu) +
	       of_template<intptr_t, RSEQ_PERCPU_CPU_ID>(&v, cpu) +
	       of_template<intptr_t, RSEQ_PERCPU_MM_CID>(&v, cpu) +
	       of_global_scope<RSEQ_PERCPU_CPU_ID>(cpu) +
	       of_global_scope<RSEQ_PERCPU_MM_CID>(cpu);
}

#endif /* __cplusplus */
