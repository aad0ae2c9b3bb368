/* SPDX-License-Identifier: MIT */
/*
 * steps.c: a program that does what its command line says, a word at a time, in all of its threads:
 *
 *	start:N			N more threads begin
 *	end			all of them end
 *	load:NAME=PATH		a module is loaded; it has a user of the library, or the neighbour
 *	namespace:NAME=PATH	the same, with a libc of its own
 *	close:NAME		it is unloaded, when each thread has left it and it has been checked
 *	fill:PATTERN		modules PATTERN1.so and so on are loaded until there is no room
 *	refuse:PATH		a module is not loaded, for this reason
 *	namespaces:PATH		a module is loaded into new namespaces until that is refused
 *	use			all users use their structures, while the neighbour does its work
 *	touch:KEY, leave:KEY	what the neighbour makes of it; "touch" and "leave" in one thread
 *	touch-first:KEY		only are touch-first and leave-first
 *	register:KEY, unregister:KEY
 *	forget			somebody ends the registrations that users have
 *	spoil			somebody writes over cpu_id; users register, use, and unregister
 *	info:KEY		what the library says
 *	fork			a child goes on; its parent waits for it
 *
 * Results are printed as KEY.NAME=RESULT*THREADS,... for each NAME that is loaded; KEY@NAME leaves
 * the others out. Structures are checked in the end.
 */
#define _GNU_SOURCE

#include "neighbour.h"
#include "steps.h"

#include "names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool steps_failed;

static int rounds = 1500;

/* The words of one result of each thread. */
static char results[USER_MAX_THREADS][64];

/* Equal results are told once, with how many threads had them; in the order of the words. */
static void print_results(const char *key, const char *name)
{
	const char *separator = "=";

	qsort(results, (size_t)nr_threads, sizeof(results[0]),
	      (int (*)(const void *, const void *))strcmp);
	printf("%.*s.%s", (int)strcspn(key, "@"), key, name);
	for (int i = 0, next; i < nr_threads; i = next) {
		for (next = i; next < nr_threads && !strcmp(results[i], results[next]); next++)
			;
		printf("%s%s*%d", separator, results[i], next - i);
		separator = ",";
	}
	putchar('\n');
	fflush(stdout);
}

static const struct user *subject;
static struct user_info infos[USER_MAX_THREADS];

static void do_use(int index)
{
	for (int i = 0; i < nr_loaded; i++)
		if (loaded[i].user)
			loaded[i].user->use(index, rounds, has_neighbour() ?
					(void (*)(void))call_neighbour_touch : NULL);
}

static void do_info(int index)
{
	struct user_info *info = &infos[index];

	subject->describe(info);
	snprintf(results[index], sizeof(results[index]), "%s/%s/%u", name_of_owner(info->owner),
		 name_of_reason(info->reason), info->registered_length);
}

static void do_register(int index)
{
	strcpy(results[index], name_of_errno(subject->register_thread()));
}

static void do_unregister(int index)
{
	strcpy(results[index], name_of_errno(subject->unregister_thread()));
}

static void do_forget(int index)
{
	(void)index;
	subject->forget();
}

static void do_spoil(int index)
{
	for (int i = 0; i < 3; i++) {
		subject->spoil();
		check(!subject->register_thread());
		subject->use(index, rounds, NULL);
		check(!subject->unregister_thread());
	}
}

static void do_leave_user(int index)
{
	(void)index;
	subject->leave();
}

static void do_touch(int index)
{
	static const char *const names[] = { "absent", "fast", "slow", "intact", "spoilt" };

	strcpy(results[index], names[call_neighbour_touch()]);
}

static void do_leave(int index)
{
	strcpy(results[index], name_of_errno(call_neighbour_leave()));
}

static void do_touch_first(int index)
{
	strcpy(results[index], "skipped");
	if (!index)
		do_touch(index);
}

static void do_leave_first(int index)
{
	strcpy(results[index], "skipped");
	if (!index)
		do_leave(index);
}

static void print_process(const char *key, const char *name)
{
	printf("%s.%s.origin=%s\n", key, name, name_of_origin(infos[0].origin));
	printf("%s.%s.length=%u\n", key, name, infos[0].length);
	printf("%s.%s.others=%u\n", key, name, infos[0].other_definitions);
}

/* Of each user in turn, or of the one that the key names. */
static void run_and_print(void (*function)(int), const char *key)
{
	const char *only = key ? strchr(key, '@') : NULL;

	for (int i = 0; i < nr_loaded; i++) {
		subject = loaded[i].user;
		if (!subject || (only && strcmp(only + 1, loaded[i].name)))
			continue;
		threads_run(function);
		if (key)
			print_results(key, loaded[i].name);
		if (function == do_info)
			print_process(key, loaded[i].name);
	}
}

static void run_neighbour(void (*function)(int), const char *key)
{
	threads_run(function);
	print_results(key, "neighbour");
}

static void finish_user(const struct user *ending)
{
	ending->finish();
	check(!ending->complaints());
}

static void close_user(const char *name)
{
	for (int i = 0; i < nr_loaded; i++) {
		if (strcmp(loaded[i].name, name) || !loaded[i].user)
			continue;
		subject = loaded[i].user;
		finish_user(subject);
		threads_run(do_leave_user);
	}
	module_close(name);
}

/* The child has one thread, and all that the others had is in the structures or in their hands. */
static void go_on_in_child(void)
{
	pid_t child;
	int status = 0;

	fflush(stdout);
	child = fork();
	check(child >= 0);
	if (!child) {
		nr_threads = 1;
		return;
	}
	check(waitpid(child, &status, 0) == child);
	threads_end();
	exit(WIFEXITED(status) && !steps_failed ? WEXITSTATUS(status) : 1);
}

static bool take(const char *word, const char *step, const char **argument)
{
	size_t length = strlen(step);

	*argument = word + length;
	return !strncmp(word, step, length);
}

static bool run_step(const char *word)
{
	const char *argument;

	if (take(word, "start:", &argument))
		threads_start(atoi(argument));
	else if (take(word, "load:", &argument))
		module_load(argument, false);
	else if (take(word, "namespace:", &argument))
		module_load(argument, true);
	else if (take(word, "close:", &argument))
		close_user(argument);
	else if (take(word, "fill:", &argument))
		modules_fill(argument);
	else if (take(word, "refuse:", &argument))
		module_refuse(argument);
	else if (take(word, "namespaces:", &argument))
		modules_fill_namespaces(argument);
	else if (take(word, "touch:", &argument))
		run_neighbour(do_touch, argument);
	else if (take(word, "leave:", &argument))
		run_neighbour(do_leave, argument);
	else if (take(word, "touch-first:", &argument))
		run_neighbour(do_touch_first, argument);
	else if (take(word, "leave-first:", &argument))
		run_neighbour(do_leave_first, argument);
	else if (take(word, "register:", &argument))
		run_and_print(do_register, argument);
	else if (take(word, "unregister:", &argument))
		run_and_print(do_unregister, argument);
	else if (take(word, "info:", &argument))
		run_and_print(do_info, argument);
	else if (!strcmp(word, "forget"))
		run_and_print(do_forget, NULL);
	else if (!strcmp(word, "spoil"))
		run_and_print(do_spoil, NULL);
	else if (!strcmp(word, "use"))
		threads_run(do_use);
	else if (!strcmp(word, "end"))
		threads_end();
	else if (!strcmp(word, "fork"))
		go_on_in_child();
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	const char *adds = getenv("WORKER_ADDS");

	if (adds)
		rounds = atoi(adds);
	modules_begin();
	for (int i = 1; i < argc; i++) {
		if (run_step(argv[i]))
			continue;
		fprintf(stderr, "no such step: %s\n", argv[i]);
		return 2;
	}
	threads_end();
	for (int i = 0; i < nr_loaded; i++)
		if (loaded[i].user)
			finish_user(loaded[i].user);
	return steps_failed;
}
