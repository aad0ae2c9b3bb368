/* SPDX-License-Identifier: MIT */
/*
 * rseq/utils.h: small helpers that programs written for librseq use. The library does not.
 */
#ifndef RSEQ_UTILS_H
#define RSEQ_UTILS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* Size of a structure's field, in bytes. */
#define rseq_sizeof_field(type, field)		(sizeof(((type *)0)->field))

/* Offset of the first byte behind a structure's field, in bytes. */
#define rseq_offsetofend(type, field)						\
	(offsetof(type, field) + rseq_sizeof_field(type, field))

/* One line to the standard error stream, with the place it came from. */
#define rseq_log(...)								\
	do {									\
		fprintf(stderr, "[%s:%d %s()] ", __FILE__, __LINE__, __func__);	\
		fprintf(stderr, __VA_ARGS__);					\
		fputc('\n', stderr);						\
	} while (0)

/* Like rseq_log(), then abort(). For a program's own invariants. */
#define rseq_bug(...)								\
	do {									\
		rseq_log(__VA_ARGS__);						\
		abort();							\
	} while (0)

#endif /* RSEQ_UTILS_H */
