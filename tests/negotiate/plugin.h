/* SPDX-License-Identifier: MIT */
/*
 * plugin.h: between the plugin and the program that loads it.
 */
#ifndef PLUGIN_H
#define PLUGIN_H

struct plugin_description {
	int owner, reason, origin, cpu_id;
	unsigned int area_size, length, other_definitions;
};

struct plugin {
	/* Returns 0, or -1. */
	int (*start)(void);
	/* In any thread: adds, and registers before if asked to. Returns 0 or register's errno. */
	int (*run)(int adds, int with_call);
	/* In each thread that ran, before the plugin is closed. */
	void (*leave)(void);
	/* Returns the sum of all adds. */
	long (*stop)(void);
	void (*describe)(struct plugin_description *description);
};

extern const struct plugin plugin;

#endif /* PLUGIN_H */
