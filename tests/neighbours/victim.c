/* SPDX-License-Identifier: MIT */
/*
 * victim.c: a module whose thread-local storage is where that of an unloaded one was. To be touched
 * as a neighbour: it looks whether anybody wrote there.
 */
#include "neighbour.h"

#include <stdint.h>

#define NR_WORDS	24

static __attribute__((aligned(64), tls_model("initial-exec"))) __thread uint64_t storage[NR_WORDS];

int neighbour_touch(void)
{
	volatile uint64_t *words = storage;

	for (int i = 0; i < NR_WORDS; i++)
		if (words[i])
			return NEIGHBOUR_SPOILT;
	return NEIGHBOUR_INTACT;
}

int neighbour_leave(void)
{
	return 0;
}
