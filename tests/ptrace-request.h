/* SPDX-License-Identifier: MIT */
/*
 * ptrace-request.h: the type of ptrace()'s first argument. glibc has an enumeration, to which no
 * compiler likes other integers to be converted.
 */
#ifndef PTRACE_REQUEST_H
#define PTRACE_REQUEST_H

#include <sys/ptrace.h>

#ifdef __GLIBC__
# define PTRACE_REQUEST	enum __ptrace_request
#else
# define PTRACE_REQUEST	int
#endif

#endif /* PTRACE_REQUEST_H */
