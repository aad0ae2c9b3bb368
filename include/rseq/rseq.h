/* SPDX-License-Identifier: MIT */
/*
 * rseq/rseq.h: the librseq-compatible core in one include. Programs written for librseq rely on
 * the standard headers that it brings along.
 */
#ifndef RSEQ_RSEQ_H
#define RSEQ_RSEQ_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <rseq/abi.h>
#include <rseq/compiler.h>
#include <rseq/thread-pointer.h>
#include <rseq/thread.h>
#include <rseq/section.h>
#include <rseq/ops.h>
#include <rseq/utils.h>

#endif /* RSEQ_RSEQ_H */
