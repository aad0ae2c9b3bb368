/* SPDX-License-Identifier: MIT */
/*
 * What each structure takes when one CPU uses it, with 2 and with 1024 possible CPUs: bytes, not
 * pages, and not for CPUs that do nothing. A thousand of each are made and used, so that what
 * structures share does not hide what they take themselves. By CPU, and by mm_cid, which a process
 * with one thread has one of.
 *
 * The number of CPUs is simulated: this program's open() has the library read a list of its own,
 * which its fstatfs() says is the kernel's.
 */
#define _GNU_SOURCE

#include "support.h"

#include <rseq/cache.h>
#include <rseq/counter.h>
#include <rseq/list.h>
#include <rseq/lock.h>
#include <rseq/refcount.h>
#include <rseq/ring.h>
#include <rseq/stack.h>

#if WITH_URCU
# include <rseq/urcu.h>
#endif

#include <fcntl.h>
#include <stdarg.h>
#include <sys/vfs.h>

#define NR		1000
#define POSSIBLE	"/sys/devices/system/cpu/possible"

/* Of malloc() for each block, and pages that one size class begins and ends in. */
#define MALLOC_BYTES	16
#define SHARED_KIB	96

/* Other libcs than glibc have size classes for large blocks, too, four to a power of two. */
#ifdef __GLIBC__
# define MALLOC_UNUSED(bytes)	0
#else
# define MALLOC_UNUSED(bytes)	((bytes) / 4)
#endif

/* What CPUs' parts are told apart by. */
static enum rseq_percpu_mode mode;

static struct rseq_list_node node;
static void *items[4];

static void *new_counter(void)
{
	return rseq_counter_create();
}

static void use_counter(void *counter)
{
	rseq_counter_inc(counter);
	rseq_counter_sum(counter);
}

static void *new_list(void)
{
	return rseq_list_create_mode(mode);
}

static void use_list(void *list)
{
	rseq_list_push(list, &node);
	rseq_list_pop(list);
	rseq_list_drain(list);
}

static void *new_stack(void)
{
	return rseq_stack_create_mode(4, mode);
}

static void use_stack(void *stack)
{
	rseq_stack_push(stack, items);
	rseq_stack_count(stack, 0);
	rseq_stack_pop(stack);
}

static void *new_lock(void)
{
	return rseq_lock_create_mode(mode);
}

static void use_lock(void *lock)
{
	rseq_lock_release(lock, rseq_lock_acquire(lock));
}

static void release_nothing(void *arg)
{
	(void)arg;
}

static void *new_refcount(void)
{
	return rseq_refcount_create_mode(release_nothing, NULL, mode);
}

static void use_refcount(void *refcount)
{
	rseq_refcount_get(refcount);
	rseq_refcount_put(refcount);
}

static void *new_ring(void)
{
	return rseq_ring_create_mode(4096, 0, mode);
}

static void use_ring(void *ring)
{
	char record[16] = "";

	rseq_ring_write(ring, record, sizeof(record));
	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		rseq_ring_read(ring, cpu, record, sizeof(record));
}

static void *new_cache(void)
{
	const struct rseq_cache_attr attr = {
		.size = sizeof(attr), .per_cpu = 4, .depot = 4, .mode = mode,
	};

	return rseq_cache_create(NULL, 48, &attr);
}

static void use_cache(void *cache)
{
	rseq_cache_free(cache, rseq_cache_alloc(cache));
}

#if WITH_URCU
#define BATCH	4

/* No grace period: liburcu's own threads and queues have memory, too. */
static void call_at_once(struct rcu_head *head, void (*function)(struct rcu_head *head))
{
	function(head);
}

static int never(void)
{
	return 0;
}

static void do_nothing(void)
{
}

static const struct rcu_flavor_struct no_flavor = {
	.read_ongoing = never,
	.update_call_rcu = call_at_once,
	.update_synchronize_rcu = do_nothing,
	.barrier = do_nothing,
};

static void *new_deferral(void)
{
	static struct rseq_cache *cache;
	const struct rseq_cache_rcu_attr attr = {
		.size = sizeof(attr), .batch = BATCH, .mode = mode,
	};

	if (!cache)
		cache = rseq_cache_create(NULL, 48, NULL);
	return cache ? rseq_cache_rcu_create_flavor(cache, &attr, &no_flavor) : NULL;
}

static void use_deferral(void *argument)
{
	struct rseq_cache_rcu *rcu = argument;

	for (int i = 0; i <= BATCH; i++)
		rseq_cache_free_rcu(rcu, rseq_cache_alloc(rcu->cache));
	rseq_cache_rcu_barrier(rcu);
}
#endif

/* Of a stack: its row that no CPU uses, and itself. */
#define STACK_BYTES(row)	((row) + 64)

/* Of a cache: its stack, itself, and its depot. */
#define CACHE_BYTES(row, nr_batches, batch)						\
	(STACK_BYTES(row) + 448 + (nr_batches) * (16 + 8 * (batch)) + MALLOC_BYTES)

/* As the headers say it. */
static const struct structure {
	const char *name;
	void *(*create)(void);
	void (*use)(void *);
	size_t row_bytes;		/* for the CPU that uses it */
	size_t bytes;			/* for the structure itself, and what it holds */
	size_t possible_bytes;		/* for each possible CPU, too */
} structures[] = {
	{ "counter", new_counter, use_counter, 8, 4, 0 },
	{ "list", new_list, use_list, 16, 48 + MALLOC_BYTES + 4, 0 },
	{ "stack", new_stack, use_stack, 64, STACK_BYTES(64), 0 },
	{ "lock", new_lock, use_lock, 16, 48 + MALLOC_BYTES + 4, 0 },
	{ "refcount", new_refcount, use_refcount, 8, 128 + 64 + MALLOC_BYTES + 4, 0 },
	{ "ring", new_ring, use_ring, 256 + 4096, 256 + 128 + MALLOC_BYTES + 4, 4 },
	{ "cache", new_cache, use_cache, 64 + 32, CACHE_BYTES(64, 2, 2) + 48 + MALLOC_BYTES, 0 },
#if WITH_URCU
	{ "deferral", new_deferral, use_deferral, 64 + 256 + 32,
	  80 + MALLOC_BYTES + STACK_BYTES(64) + CACHE_BYTES(256, 8, 8) +
	  32 + 8 * BATCH + MALLOC_BYTES, 0 },
#endif
};

#define NR_STRUCTURES	(sizeof(structures) / sizeof(structures[0]))

/* The library's open(), which the dynamic linker finds here first. */
int open(const char *path, int flags, ...)
{
	const char *list = getenv("TEST_POSSIBLE");
	mode_t mode = 0;
	va_list arguments;

	if (list && !strcmp(path, POSSIBLE))
		path = list;
	va_start(arguments, flags);
	if (flags & O_CREAT)
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int fstatfs(int file, struct statfs *status)
{
	(void)file;
	memset(status, 0, sizeof(*status));
	status->f_type = 0x62656572;	/* SYSFS_MAGIC of include/uapi/linux/magic.h */
	return 0;
}

/* Returns whether it takes what it may. */
static bool measure(const struct structure *structure)
{
	const size_t nr_cpus = (size_t)rseq_get_max_nr_cpus();
	const size_t block = structure->bytes + nr_cpus * structure->possible_bytes;
	const size_t bytes = NR * (structure->row_bytes + block + MALLOC_UNUSED(block));
	const long most = (long)bytes / 1024 + SHARED_KIB;
	long before, after;

	/* What is there once for all of them. */
	structure->use(structure->create());
	before = support_resident() / 1024;
	for (int i = 0; i < NR; i++) {
		void *made = structure->create();

		if (!made) {
			printf("%s: %s\n", structure->name, strerror(errno));
			return false;
		}
		structure->use(made);
	}
	after = support_resident() / 1024;
	printf("%4d CPUs, by %-6s %d of %-8s %6ld KiB, at most %ld\n", rseq_get_max_nr_cpus(),
	       mode == RSEQ_PERCPU_MM_CID ? "mm_cid" : "CPU", NR, structure->name, after - before,
	       most);
	return after - before <= most;
}

static int measure_all(void)
{
	struct support_cpus cpus;
	int wrong = 0;

	if (support_resident() < 0) {
		printf("skipped: /proc/self/smaps_rollup cannot be read\n");
		return SUPPORT_SKIP;
	}
	support_find_cpus(&cpus);
	support_move(0, cpus.cpu[0]);
	rseq_register_current_thread();
	for (size_t i = 0; i < 2 * NR_STRUCTURES; i++) {
		mode = i < NR_STRUCTURES ? RSEQ_PERCPU_CPU_ID : RSEQ_PERCPU_MM_CID;
		wrong |= !measure(&structures[i % NR_STRUCTURES]);
	}
	return wrong;
}

/* In a new program, which learns the number of CPUs anew. */
static int with_cpus(char **argv, const char *list)
{
	char path[] = "/tmp/possible.XXXXXX";
	int file = mkstemp(path), status = 1;
	pid_t child;

	if (file < 0 || write(file, list, strlen(list)) != (ssize_t)strlen(list))
		return 1;
	close(file);
	fflush(stdout);
	child = fork();
	if (!child) {
		setenv("TEST_POSSIBLE", path, 1);
		execl("/proc/self/exe", argv[0], list, (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		status = 1;
	unlink(path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");
	int few, many;

	if (argc > 1)
		return measure_all();
	if (SUPPORT_SANITIZED || (emulator && *emulator)) {
		printf("skipped: a sanitizer or an emulator has memory of its own\n");
		return SUPPORT_SKIP;
	}
	few = with_cpus(argv, "0-1\n");
	many = with_cpus(argv, "0-1023\n");
	return few > many ? few : many;
}
