/* SPDX-License-Identifier: MIT */
/*
 * Runs the functions of two units and has the tables of their sections checked. The exit status is
 * 0 if all is right.
 */
#include "link-unit.h"

#define MAX_TRIES	10000

static int failures;

static void complain(const char *what, size_t number)
{
	printf("%s: %zu\n", what, number);
	failures++;
}

static size_t run_unit(link_function *const functions[], struct link_data *data)
{
	size_t nr = 0;

	for (; functions[nr]; nr++) {
		int tries = 0, result;

		do
			result = functions[nr](data, (int)rseq_cpu_start());
		while (result && ++tries < MAX_TRIES && rseq_thread_registered());
		if (rseq_thread_registered() && result)
			complain("function did not commit", nr);
		else if (!rseq_thread_registered() && result)
			data->v++;
	}
	return nr;
}

static void run_units(void)
{
	static struct link_data data;
	size_t nr;

	data.base = (intptr_t)&data.slot - 8;
	data.slot = (intptr_t)&data.v;
	data.head = data.links[0] = (intptr_t)&data.links[1];
	data.links[1] = (intptr_t)&data.links[0];
	rseq_register_current_thread();
	nr = run_unit(functions_of_unit1, &data);
	nr += run_unit(functions_of_unit2, &data);
	if (data.v != (intptr_t)nr)
		complain("functions that should have committed", nr);
	printf("%zu functions of two units\n", nr);
}

int main(void)
{
	run_units();
	if (check_tables)
		failures += check_tables();
	return failures ? 1 : 0;
}
