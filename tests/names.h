/* SPDX-License-Identifier: MIT */
/*
 * names.h: words for the library's numbers, as scripts compare them.
 */
#ifndef NAMES_H
#define NAMES_H

#include <errno.h>
#include <stddef.h>

static inline const char *name_of(int value, const char *const *names, int nr)
{
	return value >= 0 && value < nr ? names[value] : "unknown";
}

#define NAME_OF(value, names)	name_of(value, names, (int)(sizeof(names) / sizeof((names)[0])))

static inline const char *name_of_owner(int owner)
{
	static const char *const names[] = { "none", "libc", "librseq", "shared", "foreign" };

	return NAME_OF(owner, names);
}

static inline const char *name_of_reason(int reason)
{
	static const char *const names[] = {
		"none", "not-registered", "disabled", "kernel-bug", "no-syscall", "forbidden",
		"foreign", "vfork-child", "no-area", "refused", "overwritten",
	};

	return NAME_OF(reason, names);
}

static inline const char *name_of_origin(int origin)
{
	static const char *const names[] = { "none", "libc", "librseq", "interposed", "assumed" };

	return NAME_OF(origin, names);
}

static inline const char *name_of_mode(int mode)
{
	static const char *const names[] = { "none", "legacy", "v2" };

	return NAME_OF(mode, names);
}

/* "0" for none. */
static inline const char *name_of_errno(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ 0, "0" }, { ENOSYS, "ENOSYS" }, { EPERM, "EPERM" }, { EINVAL, "EINVAL" },
		{ EFAULT, "EFAULT" }, { EBUSY, "EBUSY" }, { ECHILD, "ECHILD" },
		{ EOPNOTSUPP, "EOPNOTSUPP" }, { EACCES, "EACCES" }, { ENOMEM, "ENOMEM" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].error == error)
			return names[i].name;
	return "other";
}

#endif /* NAMES_H */
