/* SPDX-License-Identifier: MIT */
/*
 * init.c: what this process does about rseq, decided before main().
 *
 * Everybody else sees rseq_area_offset as the constant that it is once the constructor below has
 * run, so that compilers keep it in a register; here it is written.
 */
#define rseq_area_offset	rseq_area_offset_of_others
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#ifndef AT_RSEQ_FEATURE_SIZE
# define AT_RSEQ_FEATURE_SIZE	27	/* include/uapi/linux/auxvec.h, 6.3 */
# define AT_RSEQ_ALIGN		28
#endif

struct rseq_process rseq_process;

#undef rseq_area_offset
RSEQ_API ptrdiff_t rseq_area_offset;
RSEQ_API ptrdiff_t rseq_offset;
RSEQ_API unsigned int rseq_size = (unsigned int)-1;
RSEQ_API unsigned int rseq_flags;

uint64_t rseq_abort_count;

/*
 * Symbols of libc. A static program has them without a dynamic linker to ask; a program linked
 * with an older libc has no reference, and the dynamic linker of a newer one knows them.
 */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

static void read_libc(void)
{
	const ptrdiff_t *offset = &__rseq_offset;
	const unsigned int *size = &__rseq_size;

	__asm__ ("" : "+r" (offset), "+r" (size));
	if (!offset || !size) {
		offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
		size = dlsym(RTLD_DEFAULT, "__rseq_size");
	}
	if (!offset || !size)
		return;
	rseq_process.libc_symbols = true;
	rseq_process.libc_offset = *offset;
	rseq_process.libc_size = *size;
}

/*
 * Tells the headers' code. In a copy of this library within another module these variables may be
 * those of a copy that comes first, which has decided, and which sections rely on since.
 */
static void publish(uintptr_t area, unsigned int size)
{
	if (rseq_size != (unsigned int)-1)
		return;
	rseq_offset = (ptrdiff_t)(area - (uintptr_t)rseq_thread_pointer());
	rseq_area_offset = rseq_offset;
	rseq_size = size;
}

static bool switched_on(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value && strcmp(value, "0");
}

static void read_kernel(void)
{
	struct utsname name;

	rseq_process.kernel_feature_size = (unsigned int)getauxval(AT_RSEQ_FEATURE_SIZE);
	rseq_process.kernel_align = (unsigned int)getauxval(AT_RSEQ_ALIGN);
	if (uname(&name))
		return;
	rseq_kernel_version(&name, rseq_process.kernel_version);
#ifdef __aarch64__
	rseq_process.kernel_bugs = rseq_kernel_bugs(rseq_process.kernel_version, true);
#else
	rseq_process.kernel_bugs = rseq_kernel_bugs(rseq_process.kernel_version, false);
#endif
}

/* Fields of a feature size that may be used on this kernel. */
static unsigned int without_buggy_fields(unsigned int size)
{
	bool mm_cid_bug = rseq_process.kernel_bugs & RSEQ_KERNEL_BUG_MM_CID;

	if (mm_cid_bug && !rseq_process.trusted && size > RSEQ_FEATURE_SIZE_NODE_ID)
		return RSEQ_FEATURE_SIZE_NODE_ID;
	return size;
}

/*
 * Bytes of the area that the kernel keeps for a thread registered with this length. A kernel
 * without the auxiliary vector entry has the first release's fields.
 */
unsigned int rseq_active_feature_size(unsigned int length)
{
	unsigned int size = rseq_process.kernel_feature_size;

	if (size < RSEQ_ABI_ORIG_FEATURE_SIZE)
		size = RSEQ_ABI_ORIG_FEATURE_SIZE;
	return without_buggy_fields(size < length ? size : length);
}

/*
 * Sizes 20 and 32 of __rseq_size stand for an allocation of 32 bytes, whatever the kernel keeps
 * there (glibc 2.35 to 2.40); others are feature sizes (2.41).
 */
static void use_libc(void)
{
	unsigned int size = rseq_process.libc_size;
	bool allocation = size == RSEQ_ABI_ORIG_FEATURE_SIZE || size == RSEQ_ABI_ORIG_SIZE;
	unsigned int active = allocation ? rseq_active_feature_size(RSEQ_ABI_ORIG_SIZE) :
			without_buggy_fields(size);

	rseq_process.area_origin = RSEQ_AREA_LIBC;
	rseq_process.area_size = size > RSEQ_ABI_ORIG_SIZE ? size : RSEQ_ABI_ORIG_SIZE;
	rseq_process.area_align = size > RSEQ_ABI_ORIG_SIZE ? rseq_process.kernel_align :
			RSEQ_ABI_ORIG_SIZE;
	rseq_process.area_module = "libc";
	rseq_process.length = rseq_process.area_size;
	publish((uintptr_t)rseq_thread_pointer() + (uintptr_t)rseq_process.libc_offset, active);
}

/*
 * Length 32 is what every module knows: it alone can be shared. The V2 length is for a process in
 * which nobody else has an area, on a kernel whose fields need it (7.0).
 */
static unsigned int choose_length(const struct rseq_symbol *symbol)
{
	unsigned int length = rseq_process.kernel_feature_size;

	if (symbol->origin != RSEQ_AREA_LIBRSEQ || symbol->other_definitions)
		return RSEQ_ABI_ORIG_SIZE;
	if (length <= RSEQ_ABI_ORIG_SIZE || length > symbol->size)
		return RSEQ_ABI_ORIG_SIZE;
	if (!rseq_process.kernel_align || rseq_process.kernel_align > symbol->align)
		return RSEQ_ABI_ORIG_SIZE;
	return length;
}

static void turn_off(int reason)
{
	rseq_process.off = reason;
	rseq_process.area_origin = RSEQ_AREA_NONE;
	rseq_process.area_size = 0;
	rseq_process.area_align = 0;
	rseq_process.area_module = NULL;
	rseq_process.length = 0;
	publish(rseq_private_area(), 0);
}

static void use_symbol(void)
{
	struct rseq_symbol symbol;

	rseq_find_symbol(&symbol);
	rseq_process.other_definitions = symbol.other_definitions;
	rseq_process.area_origin = symbol.origin;
	rseq_process.area_size = symbol.size;
	rseq_process.area_align = symbol.align;
	rseq_process.area_module = symbol.module;
	rseq_process.length = choose_length(&symbol);
	if (rseq_process.length > RSEQ_ABI_ORIG_SIZE)
		symbol.address = rseq_private_area();
	if (symbol.align < RSEQ_ABI_ORIG_SIZE) {
		turn_off(RSEQ_REASON_NO_AREA);
		return;
	}
	publish(symbol.address, 0);
	/* The copy that came first has a private area, which it registers with the V2 length. */
	if (rseq_process.kernel_feature_size > RSEQ_ABI_ORIG_SIZE &&
	    (uintptr_t)rseq_thread_pointer() + (uintptr_t)rseq_offset != symbol.address)
		rseq_process.length = rseq_process.kernel_feature_size;
}

/*
 * Runs before the constructors of the program and of the libraries that use this one. Those of a
 * program that this library is linked into come in the order of their priorities, of which 101 is
 * the first that programs have.
 */
__attribute__((section(".init_array.00100"), used))
static void (*run_first)(void) = rseq_init;

void rseq_init(void)
{
	int saved_errno = errno;

	if (rseq_process.initialised)
		return;
	rseq_process.disabled = switched_on("LIBRSEQ_DISABLE");
	rseq_process.trusted = switched_on("LIBRSEQ_KERNEL_TRUSTED");
	rseq_vector_init();
	read_kernel();
	read_libc();
	if (rseq_process.disabled)
		turn_off(RSEQ_REASON_DISABLED);
	else if (rseq_kernel_bugs_refuse(rseq_process.kernel_bugs) && !rseq_process.trusted)
		turn_off(RSEQ_REASON_KERNEL_BUG);
	else if (rseq_process.libc_size)
		use_libc();
	else
		use_symbol();
	rseq_thread_init();
	rseq_process.initialised = true;
	errno = saved_errno;
}
