/* SPDX-License-Identifier: MIT */
/*
 * neighbour.c: stands in for an allocator with per-CPU caches that does without this library, as
 * google/tcmalloc does up to 2025. It has an __rseq_abi of 32 bytes, which it registers in each
 * thread that allocates, unless that has a CPU number already; it never unregisters; and it keeps
 * a pointer in the 8 bytes around the beginning of the area, the upper half of which is
 * cpu_id_start. That the kernel writes over it tells the allocator that the thread may have moved.
 *
 *	-DNEIGHBOUR_PRIVATE	nobody else knows the area
 *	-DNEIGHBOUR_MALLOC	malloc() is the allocator's: it is there before everybody
 */
#include "neighbour.h"

#include <asm/unistd.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define AREA_LENGTH	32
#define TAG		((uint64_t)1 << 63)

#if defined(__x86_64__)
# define SIGNATURE	0x53053053
#elif defined(__aarch64__)
# define SIGNATURE	0xd428bc00
#endif

enum { UNINITIALISED = -1, UNSUPPORTED = -2 };

struct area {
	uint32_t cpu_id_start, cpu_id;
	uint64_t rseq_cs;
	uint32_t rest[4];
};

/* The pointer ends 4 bytes within the area. */
struct storage {
	char before[32];
	struct area area;
};

__attribute__((aligned(64), tls_model("initial-exec")))
__thread struct storage neighbour_storage = { .area.cpu_id = (uint32_t)UNINITIALISED };

#ifdef NEIGHBOUR_PRIVATE
static struct area *find_area(void)
{
	return &neighbour_storage.area;
}
#else
/* The second half of the storage, under the name that everybody knows. */
__asm__ (
	".globl __rseq_abi\n"
	".type __rseq_abi, %tls_object\n"
	".size __rseq_abi, 32\n"
	".set __rseq_abi, neighbour_storage + 32\n"
);
extern __attribute__((tls_model("initial-exec"))) __thread struct area __rseq_abi;

/* May well be another module's: that is what a name is for. */
static struct area *find_area(void)
{
	return &__rseq_abi;
}
#endif

static void cache_pointer(struct area *area)
{
	const uint64_t pointer = TAG | 0x123456789;

	if (area == &neighbour_storage.area)
		memcpy((char *)&neighbour_storage + offsetof(struct storage, area) - 4, &pointer,
		       sizeof(pointer));
	else
		area->cpu_id_start = pointer >> 32;
}

int neighbour_touch(void)
{
	struct area *area = find_area();
	int saved_errno = errno, error = 0;

	if ((int32_t)area->cpu_id == UNINITIALISED &&
	    syscall(__NR_rseq, area, AREA_LENGTH, 0, SIGNATURE))
		error = errno;
	errno = saved_errno;
	if (error)
		area->cpu_id = (uint32_t)UNSUPPORTED;
	if ((int32_t)area->cpu_id < 0)
		return NEIGHBOUR_SLOW;
	cache_pointer(area);
	return NEIGHBOUR_FAST;
}

int neighbour_leave(void)
{
	struct area *area = find_area();

	area->rseq_cs = 0;
	return syscall(__NR_rseq, area, AREA_LENGTH, 1, SIGNATURE) ? errno : 0;
}

#ifdef NEIGHBOUR_MALLOC
extern void *__libc_malloc(size_t size);

void *malloc(size_t size)
{
	neighbour_touch();
	return __libc_malloc(size);
}
#endif
