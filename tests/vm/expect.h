/* SPDX-License-Identifier: MIT */
/*
 * expect.h: how programs for virtual machines say what is not as it should be. They go on, and
 * nr_failures tells how they end.
 */
#ifndef EXPECT_H
#define EXPECT_H

#include <errno.h>
#include <stdio.h>

static int nr_failures;

#define EXPECT(condition)							\
	do {									\
		if (!(condition)) {						\
			printf("FAILED: line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
			nr_failures++;						\
		}								\
	} while (0)

#endif /* EXPECT_H */
