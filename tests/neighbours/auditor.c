/* SPDX-License-Identifier: MIT */
/*
 * auditor.c: an auditor of the dynamic linker that uses the library, in a namespace of its own,
 * before the program has run any code, and when it has ended.
 */
#define _GNU_SOURCE

#include "user.h"

#include "names.h"

#include <link.h>
#include <stdio.h>
#include <unistd.h>

#define ROUNDS	500

unsigned int la_version(unsigned int version)
{
	return version;
}

static void say(const char *when)
{
	struct user_info info;

	user.describe(&info);
	dprintf(1, "auditor.%s.owner=%s\nauditor.%s.reason=%s\nauditor.%s.registered_length=%u\n",
		when, name_of_owner(info.owner), when, name_of_reason(info.reason), when,
		info.registered_length);
}

void la_preinit(uintptr_t *cookie)
{
	(void)cookie;
	say("before");
	if (user.start())
		dprintf(1, "auditor.failed=start\n");
	user.use(0, ROUNDS, NULL);
	say("started");
}

__attribute__((destructor)) static void end(void)
{
	user.use(0, ROUNDS, NULL);
	user.finish();
	say("end");
	dprintf(1, "auditor.complaints=%d\n", user.complaints());
}
