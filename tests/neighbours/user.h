/* SPDX-License-Identifier: MIT */
/*
 * user.h: between the program and those who use the library in it: the program itself, plugins that
 * it loads, an auditor of the dynamic linker.
 */
#ifndef USER_H
#define USER_H

#define USER_MAX_THREADS	16

/* What the library says of the calling thread and the process; enums of rseq/info.h. */
struct user_info {
	int owner, reason, origin;
	unsigned int registered_length, length, other_definitions;
};

struct user {
	/* Makes one of each structure. Returns 0, or -1. */
	int (*start)(void);
	/*
	 * Uses them all, in thread index; no two threads have the same index at a time. From time
	 * to time calls disturb, unless it is NULL.
	 */
	void (*use)(int index, int rounds, void (*disturb)(void));
	/* Of the calling thread: 0, or the errno. */
	int (*register_thread)(void);
	int (*unregister_thread)(void);
	/* Ends the registration of the area that the library uses here, past the library. */
	void (*forget)(void);
	/* Writes over the area's cpu_id; the kernel kills for it where the length is over 32. */
	void (*spoil)(void);
	/* Before the user's code is unloaded. */
	void (*leave)(void);
	void (*describe)(struct user_info *info);
	/* When no thread uses the structures any more: checks what is in them, and frees them. */
	void (*finish)(void);
	/* How often something was not so, which has been said on the standard error stream. */
	int (*complaints)(void);
};

extern const struct user user;

#endif /* USER_H */
