/* SPDX-License-Identifier: MIT */
/*
 * internal.h: what the library's own files share.
 */
#ifndef RSEQ_INTERNAL_H
#define RSEQ_INTERNAL_H

#include <rseq/abi.h>
#include <rseq/compiler.h>
#include <rseq/info.h>
#include <rseq/thread.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define rseq_hidden	__attribute__((visibility("hidden")))
#define rseq_static_tls	__attribute__((tls_model("initial-exec")))

/* Bytes of this library's own area, and their alignment. */
#define RSEQ_OWN_AREA_SIZE	64U

/* Bytes of AT_RSEQ_FEATURE_SIZE with node_id and without mm_cid. */
#define RSEQ_FEATURE_SIZE_NODE_ID	24U

/* Decided once, before main(), and constant from then on, but for length. */
struct rseq_process {
	bool initialised;
	bool disabled;			/* LIBRSEQ_DISABLE */
	bool trusted;			/* LIBRSEQ_KERNEL_TRUSTED */
	int off;			/* enum rseq_reason: why no thread gets rseq, or NONE */

	unsigned int kernel_feature_size;	/* as in the auxiliary vector */
	unsigned int kernel_align;
	unsigned int kernel_version[3];
	unsigned int kernel_bugs;

	bool libc_symbols;
	unsigned int libc_size;
	ptrdiff_t libc_offset;

	int area_origin;
	unsigned int area_size;
	unsigned int area_align;
	const char *area_module;
	unsigned int other_definitions;

	/*
	 * What this library registers. Falls from the V2 length to 32 if the kernel refuses it;
	 * atomic.
	 */
	unsigned int length;
	bool v2_registered;		/* some thread has the V2 length; atomic */
};

extern struct rseq_process rseq_process rseq_hidden;

/* init.c */
void rseq_init(void) rseq_hidden;
unsigned int rseq_active_feature_size(unsigned int length) rseq_hidden;

/* What this library registers, for now; see above. */
static inline unsigned int rseq_process_length(void)
{
	return __atomic_load_n(&rseq_process.length, __ATOMIC_RELAXED);
}

static inline void rseq_init_once(void)
{
	if (rseq_unlikely(!rseq_process.initialised))
		rseq_init();
}

/* kernel.c: the release numbers in a uname, and the bugs that a release has */
struct utsname;
void rseq_kernel_version(const struct utsname *name, unsigned int version[3]) rseq_hidden;
unsigned int rseq_kernel_bugs(const unsigned int version[3], bool arm64) rseq_hidden;
bool rseq_kernel_bugs_refuse(unsigned int bugs) rseq_hidden;

/* symbol.c: who defines __rseq_abi */
struct rseq_symbol {
	int origin;			/* enum rseq_area_origin */
	unsigned int size;
	unsigned int align;
	const char *module;
	unsigned int other_definitions;
	uintptr_t address;		/* in the calling thread */
};

void rseq_find_symbol(struct rseq_symbol *symbol) rseq_hidden;
uintptr_t rseq_private_area(void) rseq_hidden;

/* vector.c */
void rseq_vector_init(void) rseq_hidden;

/* fence.c: whether fences work without a visit to the CPUs, which a cpuset may forbid */
bool rseq_fence_has_membarrier(void) rseq_hidden;

/*
 * cpus.c: reads a list as "0-3,8-11", which may end with a newline. Returns its greatest number
 * plus one, 0 for what is no such list; says in *found, unless that is NULL, whether cpu is in it.
 */
int rseq_read_cpu_list(int file, int cpu, bool *found) rseq_hidden;

/*
 * fork.c: to be called before a handler of fork() is needed, by any threads; *state is 0 at first.
 * In the child of a process where another thread was in here, handlers may be there twice: then a
 * fork() calls each of them once more before it, and as often behind it.
 * 0, or -1 with errno ENOMEM: then fork() is not safe, and who called must not go on. (glibc 2.36
 * has forgotten all handlers then, and takes none any more.)
 */
int rseq_watch_fork(pid_t *state, void (*prepare)(void), void (*parent)(void), void (*child)(void))
	rseq_hidden;

/* thread.c */
void rseq_thread_init(void) rseq_hidden;
bool rseq_thread_register_lazily(void) rseq_hidden;
bool rseq_thread_is_borrowed(void) rseq_hidden;
void rseq_thread_info(struct rseq_info *info) rseq_hidden;

/*
 * Mappings that hold pointers of programs. LeakSanitizer, where it is part of the process, looks
 * for these in memory of malloc() alone, unless it is told of more.
 */
extern void __lsan_register_root_region(const void *begin, size_t len) __attribute__((weak));
extern void __lsan_unregister_root_region(const void *begin, size_t len) __attribute__((weak));

static inline void rseq_show_pointers(const void *map, size_t len)
{
	if (__lsan_register_root_region)
		__lsan_register_root_region(map, len);
}

/* Before it is unmapped. */
static inline void rseq_hide_pointers(const void *map, size_t len)
{
	if (__lsan_unregister_root_region)
		__lsan_unregister_root_region(map, len);
}

/* Aborts of the structures' sections, counted in their slow paths; atomic. */
extern uint64_t rseq_abort_count rseq_hidden;

#endif /* RSEQ_INTERNAL_H */
