/* SPDX-License-Identifier: MIT */
/*
 * worker.c: the program, its output, and the scenario that only looks.
 */
#define _GNU_SOURCE

#include "names.h"
#include "worker.h"

#include <rseq/list.h>

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/auxv.h>

#define NR_THREADS	8
#define ABSENT		4095U		/* in fields that are not there; a row far away */

int worker_adds = 20000;
static int complaints;

void worker_complain(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	__atomic_fetch_add(&complaints, 1, __ATOMIC_RELAXED);
}

int worker_complaints(void)
{
	return __atomic_load_n(&complaints, __ATOMIC_RELAXED);
}

void worker_print(const char *key, const char *format, ...)
{
	va_list arguments;

	printf("%s=", key);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

/* Whatever the library says, the kernel must agree, and nothing may be promised beyond it. */
static void check_info(const struct rseq_info *info)
{
	bool registered = rseq_thread_registered();

	check(info->size == sizeof(*info));
	check((info->reason == RSEQ_REASON_NONE) ==
	      (info->owner == RSEQ_OWNER_LIBC || info->owner == RSEQ_OWNER_LIBRSEQ ||
	       info->owner == RSEQ_OWNER_SHARED));
	if (info->reason == RSEQ_REASON_VFORK_CHILD)
		return;
	check(registered == (info->reason == RSEQ_REASON_NONE));
	if (!registered) {
		check(!info->registered_length && !info->feature_size && !info->features);
		check(info->mode == RSEQ_MODE_NONE);
		check(!rseq_node_id_available() && !rseq_mm_cid_available());
		return;
	}
	if (info->registered_length) {
		check(support_is_registered(rseq_get_abi(), info->registered_length));
		check(info->mode == (info->registered_length > 32 ? RSEQ_MODE_V2 :
				     RSEQ_MODE_LEGACY));
		check(info->feature_size <= info->registered_length);
	}
	check(info->feature_size <= (info->kernel_feature_size ? info->kernel_feature_size : 20));
	check(!(info->features & RSEQ_FEATURE_NODE_ID) == (info->feature_size < 24));
	check(!(info->features & RSEQ_FEATURE_MM_CID) == (info->feature_size < 28));
	check(rseq_size <= info->feature_size || info->owner == RSEQ_OWNER_SHARED);
}

struct rseq_info worker_info(void)
{
	struct rseq_info info = { .size = sizeof(info) };

	check(rseq_get_info(&info) == 0);
	check_info(&info);
	return info;
}

static void print_prefixed(const char *prefix, const char *key, const char *value)
{
	char whole[64];

	snprintf(whole, sizeof(whole), "%s%s", prefix, key);
	worker_print(whole, "%s", value);
}

static void print_number(const char *prefix, const char *key, unsigned int value)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", value);
	print_prefixed(prefix, key, number);
}

void worker_print_info(const char *prefix)
{
	struct rseq_info info = worker_info();

	print_prefixed(prefix, "owner", name_of_owner(info.owner));
	print_prefixed(prefix, "reason", name_of_reason(info.reason));
	print_prefixed(prefix, "mode", name_of_mode(info.mode));
	print_prefixed(prefix, "origin", name_of_origin(info.area_origin));
	print_number(prefix, "registered_length", info.registered_length);
	print_number(prefix, "feature_size", info.feature_size);
	print_number(prefix, "rseq_size", rseq_size);
	print_number(prefix, "length", info.length);
	print_number(prefix, "area_size", info.area_size);
	print_number(prefix, "area_align", info.area_align);
	print_number(prefix, "other_definitions", info.other_definitions);
	print_number(prefix, "kernel_bugs", info.kernel_bugs);
	print_prefixed(prefix, "node_id", rseq_node_id_available() ? "yes" : "no");
	print_prefixed(prefix, "mm_cid", rseq_mm_cid_available() ? "yes" : "no");
}

void worker_in_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, argument)) {
		perror("pthread_create");
		exit(1);
	}
	check(!pthread_join(thread, NULL));
}

void worker_wait(pid_t child)
{
	int status = 0;

	check(child > 0 && waitpid(child, &status, 0) == child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

struct counting {
	struct rseq_counter *counter;
	bool with_call;
	bool registered;
	unsigned int length;
};

/* A neighbour that is loaded into the process may disturb the threads that count. */
static void (*disturb)(struct rseq_abi *area);

static void *count(void *argument)
{
	struct counting *counting = argument;
	int error = counting->with_call ? worker_error(rseq_register_current_thread()) : 0;
	struct rseq_info info;

	for (int i = 0; i < worker_adds; i++) {
		rseq_counter_add(counting->counter, 3);
		if (disturb && i % 64 == 0) {
			disturb(rseq_get_abi());
			check(rseq_cpu_start() < (unsigned int)rseq_get_max_nr_cpus());
		}
	}
	info = worker_info();
	counting->registered = rseq_thread_registered();
	counting->length = info.registered_length;
	check(!counting->with_call || (error == 0) == counting->registered ||
	      info.owner == RSEQ_OWNER_FOREIGN);
	if (counting->with_call && !error)
		check(rseq_unregister_current_thread() == 0);
	return NULL;
}

int worker_count(int nr)
{
	struct rseq_counter *counter = rseq_counter_create();
	struct counting countings[64];
	pthread_t threads[64];
	unsigned int length = 0;
	int registered = 0;

	check(counter && nr <= 64);
	if (!counter || nr > 64)
		return 0;
	for (int i = 0; i < nr; i++) {
		countings[i] = (struct counting){ .counter = counter, .with_call = i % 2 };
		if (pthread_create(&threads[i], NULL, count, &countings[i])) {
			perror("pthread_create");
			exit(1);
		}
	}
	for (int i = 0; i < worker_adds; i++)
		rseq_counter_dec(counter);
	for (int i = 0; i < nr; i++) {
		check(!pthread_join(threads[i], NULL));
		registered += countings[i].registered;
		/* One length for the whole process. */
		if (!length)
			length = countings[i].length;
		check(!countings[i].length || countings[i].length == length);
	}
	check(rseq_counter_sum(counter) == (intptr_t)worker_adds * (3 * nr - 1));
	rseq_counter_destroy(counter);
	worker_print("thread_length", "%u", length);
	return registered;
}

static void check_nodes_and_cpus(void)
{
	struct support_cpus cpus;
	unsigned int node;

	support_find_cpus(&cpus);
	check(support_move(0, cpus.cpu[cpus.nr - 1]) == 0);
	check((int)rseq_current_cpu() == cpus.cpu[cpus.nr - 1]);
	if (!syscall(SYS_getcpu, NULL, &node, NULL))
		check(rseq_current_node_id() == node);
	if (!rseq_mm_cid_available())
		check(rseq_current_mm_cid() == (uint32_t)-1);
	check(support_release(&cpus) == 0);
}

/*
 * In fields that this kernel does not keep there may be anything: nobody believes it. With more
 * than 32 bytes the kernel keeps what a known bug hides, and kills who writes there.
 */
static void check_absent_fields(void)
{
	struct rseq_list *list = rseq_list_create_mode(RSEQ_PERCPU_MM_CID);
	struct rseq_abi *area = rseq_get_abi();
	struct rseq_list_node node;

	check(list);
	if (!list || worker_info().registered_length > RSEQ_ABI_ORIG_SIZE) {
		rseq_list_destroy(list);
		return;
	}
	/* A real kernel below this one may keep them. */
	for (int i = 0; i < 100; i++) {
		if (!rseq_node_id_available())
			RSEQ_WRITE_ONCE(area->node_id, ABSENT);
		check(rseq_current_node_id() != ABSENT);
		if (!rseq_mm_cid_available())
			RSEQ_WRITE_ONCE(area->mm_cid, ABSENT);
		check(rseq_current_mm_cid() != ABSENT);
		rseq_list_push(list, &node);
		check(rseq_list_drain(list) == &node);
	}
	rseq_list_destroy(list);
}

void worker_report(const char *argument)
{
	int error;

	(void)argument;
	worker_print_info("before.");
	worker_print("before.cpu", "%d", rseq_current_cpu_raw());
	worker_print("available", "%d", rseq_available(RSEQ_AVAILABLE_QUERY_KERNEL));
	error = worker_error(rseq_register_current_thread());
	worker_print("register", "%s", name_of_errno(error));
	worker_print_info("");
	check_nodes_and_cpus();
	check_absent_fields();
	worker_print("threads_registered", "%d", worker_count(NR_THREADS));
	/* Nested, and undone as often. */
	check(worker_error(rseq_register_current_thread()) == error);
	if (!error)
		check(rseq_unregister_current_thread() == 0);
	error = worker_error(rseq_unregister_current_thread());
	worker_print("unregister", "%s", name_of_errno(error));
	error = worker_error(rseq_unregister_current_thread());
	worker_print("unregister_again", "%s", name_of_errno(error));
	worker_print_info("after.");
	worker_count(2);
}

extern const unsigned int __rseq_size __attribute__((weak));

/* The circumstances, found out past the library. */
static void report_facts(const char *argument)
{
	const unsigned int *size = &__rseq_size;

	(void)argument;
	__asm__ ("" : "+r" (size));
	if (!size)
		size = dlsym(RTLD_DEFAULT, "__rseq_size");
	worker_print("libc_size", "%u", size ? *size : 0);
	worker_print("kernel", "%d", support_kernel_has_rseq());
	worker_print("kernel_feature_size", "%lu", getauxval(27));
	worker_print("kernel_align", "%lu", getauxval(28));
	worker_print("secure", "%lu", getauxval(AT_SECURE));
}

static const struct {
	const char *name;
	void (*function)(const char *argument);
} scenarios[] = {
	{ "facts", report_facts },
	{ "report", worker_report },
	{ "late-filter", worker_late_filter },
	{ "foreign", worker_foreign },
	{ "shared", worker_shared },
	{ "exit-order", worker_exit_order },
	{ "fork", worker_fork },
	{ "vfork", worker_vfork },
	{ "clone", worker_clone },
	{ "spawn", worker_spawn },
	{ "exec", worker_exec },
};

int main(int argc, char **argv)
{
	const char *adds = getenv("WORKER_ADDS");

	if (adds)
		worker_adds = atoi(adds);
	*(void **)&disturb = dlsym(RTLD_DEFAULT, "neighbour_disturb");
	for (size_t i = 0; argc > 1 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (!strcmp(argv[1], scenarios[i].name)) {
			scenarios[i].function(argv[2]);
			return worker_complaints() != 0;
		}
	}
	fprintf(stderr, "usage: %s SCENARIO [ARGUMENT]\n", argv[0]);
	return 2;
}
