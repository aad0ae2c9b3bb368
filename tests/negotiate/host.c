/* SPDX-License-Identifier: MIT */
/*
 * host.c: a program that is not linked with the library and loads a plugin that is, when its
 * threads are running already.
 *
 *	host PLUGIN [register]
 *
 * With "register", the program defines an area of its own (area.c) and registers it in every other
 * thread before.
 */
#define _GNU_SOURCE

#include "names.h"
#include "plugin.h"

#include <asm/unistd.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NR_THREADS	6
#define NR_ADDS		100000
#define NR_ROUNDS	3

#if defined(__x86_64__)
# define SIGNATURE	0x53053053
#elif defined(__aarch64__)
# define SIGNATURE	0xd428bc00
#endif

#ifdef HOST_AREA
extern __thread char __rseq_abi[];
#endif

static bool registers;
static const struct plugin *loaded;
static pthread_barrier_t barrier;
static int complaints;
static int errors[NR_THREADS];

#define check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,	\
				#condition);					\
			complaints = 1;						\
		}								\
	} while (0)

static void register_own_area(void)
{
#ifdef HOST_AREA
	if (syscall(__NR_rseq, __rseq_abi, 32, 0, SIGNATURE))
		perror("the program cannot register");
#endif
}

/* Runs long enough to be interrupted with whatever descriptor is armed. */
static void spin(void)
{
	for (volatile int i = 0; i < 20000000; i = i + 1)
		;
	usleep(1000);
}

static void *work(void *argument)
{
	int index = *(int *)argument;

	if (registers && index % 2)
		register_own_area();
	for (int round = 0; round < NR_ROUNDS; round++) {
		pthread_barrier_wait(&barrier);		/* loaded */
		errors[index] = loaded->run(NR_ADDS, index % 3 != 0);
		loaded->leave();
		pthread_barrier_wait(&barrier);		/* to be closed */
		pthread_barrier_wait(&barrier);		/* closed */
		spin();
	}
	return NULL;
}

/* A thread that comes between two loads of the plugin. */
static void *pass(void *argument)
{
	spin();
	return argument;
}

static int find_library(struct dl_phdr_info *module, size_t size, void *found)
{
	(void)size;
	if (module->dlpi_name && strstr(module->dlpi_name, "librseq.so"))
		*(bool *)found = true;
	return 0;
}

static void print(const char *prefix)
{
	struct plugin_description seen;

	loaded->describe(&seen);
	printf("%sowner=%s\n", prefix, name_of_owner(seen.owner));
	printf("%sreason=%s\n", prefix, name_of_reason(seen.reason));
	printf("%sorigin=%s\n", prefix, name_of_origin(seen.origin));
	printf("%sarea_size=%u\n", prefix, seen.area_size);
	printf("%slength=%u\n", prefix, seen.length);
	printf("%sother_definitions=%u\n", prefix, seen.other_definitions);
}

static void run_round(const char *path, int round)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	bool library = false;
	pthread_t thread;

	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	loaded = dlsym(handle, "plugin");
	if (!loaded || loaded->start())
		exit(1);
	if (!round)
		print("before.");
	check(!loaded->run(0, 0));
	pthread_barrier_wait(&barrier);
	check(loaded->run(NR_ADDS, 0) == 0);
	loaded->leave();
	pthread_barrier_wait(&barrier);
	check(loaded->stop() == (long)NR_ADDS * (NR_THREADS + 1));
	if (round == NR_ROUNDS - 1)
		print("");
	loaded = NULL;
	check(!dlclose(handle));
	/* The plugin goes, if nobody else needs it; the library stays: it has threads' storage. */
	if (round == NR_ROUNDS - 1)
		printf("unloaded=%s\n", dlopen(path, RTLD_NOW | RTLD_NOLOAD) ? "no" : "yes");
	dl_iterate_phdr(find_library, &library);
	check(library);
	pthread_barrier_wait(&barrier);
	check(!pthread_create(&thread, NULL, pass, NULL) && !pthread_join(thread, NULL));
}

int main(int argc, char **argv)
{
	pthread_t threads[NR_THREADS];
	int indices[NR_THREADS];

	if (argc < 2)
		return 2;
	registers = argc > 2;
	pthread_barrier_init(&barrier, NULL, NR_THREADS + 1);
	for (int i = 0; i < NR_THREADS; i++) {
		indices[i] = i;
		if (pthread_create(&threads[i], NULL, work, &indices[i]))
			return 1;
	}
	for (int round = 0; round < NR_ROUNDS; round++)
		run_round(argv[1], round);
	for (int i = 0; i < NR_THREADS; i++) {
		check(!pthread_join(threads[i], NULL));
		printf("thread%d=%s\n", i, name_of_errno(errors[i]));
	}
	return complaints;
}
