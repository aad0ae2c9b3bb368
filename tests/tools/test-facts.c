/* SPDX-License-Identifier: MIT */
/*
 * test-facts: finds out without the library what `rseqctl info --json` has to say, and writes it
 * as test-json does.
 */
#define _GNU_SOURCE	/* RTLD_DEFAULT */

#include "support.h"

#include <dlfcn.h>
#include <stdalign.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#define FEATURE_SIZE	27	/* AT_RSEQ_FEATURE_SIZE */
#define ALIGN		28	/* AT_RSEQ_ALIGN */
#define SLICE_SIZE	33
#define MAX_LENGTH	256

#define REGISTER_RSEQ	(1 << 8)	/* of membarrier(2) */

static alignas(256) char own_area[MAX_LENGTH];

static void *libc_area(void)
{
	const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	const unsigned int *size = dlsym(RTLD_DEFAULT, "__rseq_size");

	printf("libc.rseq_symbols=%s\n", offset && size ? "true" : "false");
	printf("libc.rseq_size=%u\n", offset && size ? *size : 0);
	return offset && size ? (char *)__builtin_thread_pointer() + *offset : NULL;
}

static const char *slice_extension(void *area, unsigned int length)
{
	unsigned int size = (unsigned int)getauxval(FEATURE_SIZE);

	if (size < SLICE_SIZE)
		return "not_in_kernel";
	if (length && support_sys_rseq(area, length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG))
		return "unknown";
	if (size > MAX_LENGTH || support_sys_rseq(own_area, size, 0, RSEQ_SIG))
		return "unknown";
	return ((struct rseq_abi *)own_area)->flags & RSEQ_ABI_CS_FLAG_SLICE_EXT_AVAILABLE ?
			"available" : "off";
}

int main(void)
{
	void *area = libc_area();
	unsigned int length = area ? support_registered_length(area) : 0;
	struct utsname name;

	if (length) {
		printf("thread.owner=libc\n");
		printf("thread.reason=none\n");
		printf("thread.registered_length=%u\n", length);
		printf("thread.mode=%s\n", length > 32 ? "v2" : "legacy");
		printf("thread.fields.0=cpu_id\n");
	}
	printf("kernel.feature_size=%lu\n", getauxval(FEATURE_SIZE));
	printf("kernel.align=%lu\n", getauxval(ALIGN));
	if (!uname(&name)) {
		printf("kernel.release=%s\n", name.release);
		printf("kernel.build=%s\n", name.version);
		printf("kernel.machine=%s\n", name.machine);
	}
	printf("kernel.slice_extension=%s\n", slice_extension(area, length));
	printf("membarrier.rseq=%s\n", syscall(SYS_membarrier, REGISTER_RSEQ, 0, 0) ? "false" :
	       "true");
	printf("cpus.online=%ld\n", sysconf(_SC_NPROCESSORS_ONLN));
	return 0;
}
