/* SPDX-License-Identifier: MIT */
/*
 * area.c: somebody else's __rseq_abi, in a program or in a library to be loaded before others.
 * Built in many ways:
 *
 *	-DAREA_SIZE=bytes -DAREA_ALIGN=bytes
 *	-DAREA_ATTRIBUTES=weak		how the symbol is bound
 *	-DAREA_STARTS_AT=number		cpu_id of a new thread, -1 where none is given
 *	-DAREA_REGISTERS=length		a constructor registers the area of the initial thread
 *	-DAREA_SCRIBBLES		cpu_id_start gets a value of the neighbour's own, now and
 *					then, as one allocator does it
 */
#include <asm/unistd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef AREA_ATTRIBUTES
# define AREA_ATTRIBUTES
#endif

#ifndef AREA_STARTS_AT
# define AREA_STARTS_AT	-1
#endif

#if defined(__x86_64__)
# define SIGNATURE	0x53053053
#elif defined(__aarch64__)
# define SIGNATURE	0xd428bc00
#endif

/* cpu_id_start and cpu_id as an unregistered thread has them. */
struct area {
	uint32_t words[AREA_SIZE / 4];
};

extern __thread struct area __rseq_abi;
__attribute__((aligned(AREA_ALIGN), AREA_ATTRIBUTES))
__thread struct area __rseq_abi = { { 0, (uint32_t)AREA_STARTS_AT } };

#ifdef AREA_REGISTERS
__attribute__((constructor)) static void register_area(void)
{
	if (!syscall(__NR_rseq, &__rseq_abi, AREA_REGISTERS, 0, SIGNATURE))
		return;
	perror("the neighbour cannot register");
	abort();
}
#endif

#ifdef AREA_SCRIBBLES
/* Called by the worker with the area that it uses, which may well be libc's. */
void neighbour_disturb(void *area);
void neighbour_disturb(void *area)
{
	const uint32_t tag = 0x80001234;

	if (area == (void *)&__rseq_abi)
		memcpy(area, &tag, sizeof(tag));
}
#endif
