/* SPDX-License-Identifier: MIT */
/*
 * modules.c: users of the library, and a neighbour, in the program and in what it loads.
 */
#define _GNU_SOURCE

#include "neighbour.h"
#include "steps.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#pragma weak user
#pragma weak neighbour_touch
#pragma weak neighbour_leave

struct loaded loaded[MAX_LOADED];
int nr_loaded;

static int (*touch)(void), (*leave)(void);

bool has_neighbour(void)
{
	return touch;
}

int call_neighbour_touch(void)
{
	return touch ? touch() : 0;
}

int call_neighbour_leave(void)
{
	return leave ? leave() : 0;
}

static void use_neighbour(void *touch_symbol, void *leave_symbol)
{
	if (!touch_symbol)
		return;
	*(void **)&touch = touch_symbol;
	*(void **)&leave = leave_symbol;
}

static void add(void *handle, const char *name, const struct user *found)
{
	struct loaded *new = &loaded[nr_loaded++];

	if (found && found->start()) {
		fprintf(stderr, "%s cannot start\n", name);
		exit(1);
	}
	new->handle = handle;
	new->user = found;
	snprintf(new->name, sizeof(new->name), "%s", name);
}

/* What the program consists of, or was preloaded. */
void modules_begin(void)
{
	const struct user *own = &user;

	__asm__ ("" : "+r" (own));
	if (own)
		add(NULL, "program", own);
	use_neighbour(dlsym(RTLD_DEFAULT, "neighbour_touch"),
		      dlsym(RTLD_DEFAULT, "neighbour_leave"));
	if (!touch && neighbour_touch) {
		touch = neighbour_touch;
		leave = neighbour_leave;
	}
}

void module_load(const char *name_and_path, bool in_namespace)
{
	const char *path = strchr(name_and_path, '=');
	char name[32];
	void *handle;

	check(path && nr_loaded < MAX_LOADED);
	snprintf(name, sizeof(name), "%.*s", (int)(path - name_and_path), name_and_path);
	path++;
	handle = in_namespace ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL) :
			dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	use_neighbour(dlsym(handle, "neighbour_touch"), dlsym(handle, "neighbour_leave"));
	add(handle, name, dlsym(handle, "user"));
}

void module_close(const char *name)
{
	for (int i = 0; i < nr_loaded; i++) {
		if (strcmp(loaded[i].name, name))
			continue;
		check(!dlclose(loaded[i].handle));
		loaded[i] = loaded[--nr_loaded];
		return;
	}
	fprintf(stderr, "%s is not loaded\n", name);
	steps_failed = true;
}

/*
 * Loads one module after the other, PATTERN with a number from 1 on, until the dynamic linker
 * cannot. It says why, and all that is loaded works on.
 */
void modules_fill(const char *pattern)
{
	char path[4096], name[32];
	void *handle;
	int nr = 0;

	for (;;) {
		snprintf(path, sizeof(path), "%s%d.so", pattern, nr + 1);
		if (access(path, R_OK) || nr_loaded == MAX_LOADED) {
			fprintf(stderr, "nothing was refused until %s\n", path);
			exit(1);
		}
		handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (!handle)
			break;
		snprintf(name, sizeof(name), "fill%d", ++nr);
		add(handle, name, dlsym(handle, "user"));
	}
	check(strstr(dlerror(), "static TLS"));
	printf("filled=%s\n", nr ? "some" : "none");
}

void module_refuse(const char *path)
{
	check(!dlopen(path, RTLD_NOW | RTLD_LOCAL) && strstr(dlerror(), "static TLS"));
}

void modules_fill_namespaces(const char *path)
{
	char name[32];
	void *handle;
	int nr = 0;

	while ((handle = dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL))) {
		snprintf(name, sizeof(name), "namespace%d", ++nr);
		add(handle, name, dlsym(handle, "user"));
	}
	fprintf(stderr, "after %d: %s\n", nr, dlerror());
	printf("filled=%s\n", nr ? "some" : "none");
}
