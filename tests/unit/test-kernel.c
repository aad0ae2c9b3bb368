/* SPDX-License-Identifier: MIT */
/*
 * Which release a uname tells of, and which bugs a release has.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#define CLONE_VM	RSEQ_KERNEL_BUG_CLONE_VM
#define STALE		RSEQ_KERNEL_BUG_STALE_CPU_ID
#define KVM		RSEQ_KERNEL_BUG_KVM
#define MEMBARRIER	RSEQ_KERNEL_BUG_MEMBARRIER
#define ARM64		RSEQ_KERNEL_BUG_ARM64_ABORT
#define MM_CID		RSEQ_KERNEL_BUG_MM_CID

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

struct uname_case {
	const char *release;
	const char *version;
	unsigned int expected[3];
};

static void check_uname(const struct uname_case *c)
{
	unsigned int version[3] = { 77, 77, 77 };
	struct utsname name;

	memset(&name, 0, sizeof(name));
	snprintf(name.release, sizeof(name.release), "%s", c->release);
	snprintf(name.version, sizeof(name.version), "%s", c->version);
	rseq_kernel_version(&name, version);
	if (memcmp(version, c->expected, sizeof(version)))
		fail_msg("%s, %s: %u.%u.%u", c->release, c->version, version[0], version[1],
			 version[2]);
}

static void test_releases(void **state)
{
	static const struct uname_case cases[] = {
		/* mainline and stable */
		{ "6.12.54", "#1 SMP PREEMPT_DYNAMIC Mon Oct 20 09:08:01 UTC 2025", { 6, 12, 54 } },
		{ "6.18.0-rc3", "#1 SMP", { 6, 18, 0 } },
		{ "6.18-rc3", "#1 SMP", { 6, 18, 0 } },
		{ "7.0", "", { 7, 0, 0 } },
		{ "4.19.325+", "#1", { 4, 19, 325 } },
		{ "5.4.291-local.12", "#2", { 5, 4, 291 } },
		/* Debian: the release stays, the version tells */
		{ "6.1.0-50-cloud-amd64",
		  "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-1 (2026-04-01)", { 6, 1, 170 } },
		{ "5.10.0-32-amd64", "#1 SMP Debian 5.10.223-1 (2024-08-10)", { 5, 10, 223 } },
		{ "6.12.95+deb12-cloud-amd64",
		  "#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1~bpo12+1 (2026-06-30)", { 6, 12, 95 } },
		/* RHEL: a release number of long ago with later repairs */
		{ "5.14.0-503.11.1.el9_5.x86_64", "#1 SMP PREEMPT_DYNAMIC Tue Nov 12 09:26:13 EST",
		  { 5, 14, 0 } },
		{ "4.18.0-553.el8_10.x86_64", "#1 SMP Fri May 10 15:19:13 EDT 2024", { 4, 18, 0 } },
		/* other vendors */
		{ "6.8.0-1021-aws", "#23-NotUbuntu SMP", { 6, 8, 0 } },
		{ "5.15.167.4-microsoft-standard-WSL2", "#1 SMP Tue Nov 5", { 5, 15, 167 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_uname(&cases[i]);
}

/* What another series, or an older release, is called does not count. */
static void test_misleading_versions(void **state)
{
	static const struct uname_case cases[] = {
		{ "6.1.0-1", "#1 Debian 6.12.170-1", { 6, 1, 0 } },
		{ "6.1.0-1", "#1 Debian 5.1.170-1", { 6, 1, 0 } },
		{ "6.1.180", "#1 Debian 6.1.170-1", { 6, 1, 180 } },
		{ "6.1.0-1", "#1 Debian sid", { 6, 1, 0 } },
		{ "6.1.0-1", "#1 Debian ", { 6, 1, 0 } },
		{ "6.1.0-1", "#1 Debian", { 6, 1, 0 } },
		{ "6.1.0-1", "#1 Debian 6.1", { 6, 1, 0 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_uname(&cases[i]);
}

static void test_garbage(void **state)
{
	static const struct uname_case cases[] = {
		{ "", "", { 0, 0, 0 } },
		{ "linux", "", { 0, 0, 0 } },
		{ "-6.1", "", { 0, 0, 0 } },
		{ "v6.1.2", "", { 0, 0, 0 } },
		{ "6", "", { 6, 0, 0 } },
		{ "6.", "", { 6, 0, 0 } },
		{ "6.x.3", "", { 6, 0, 0 } },
		{ "6.1.", "", { 6, 1, 0 } },
		{ "6.1.2.3.4", "", { 6, 1, 2 } },
	};
	struct utsname name;
	unsigned int version[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_uname(&cases[i]);

	/* Numbers as long as the field stay numbers, and are no release with a known bug. */
	memset(&name, 0, sizeof(name));
	memset(name.release, '9', sizeof(name.release) - 1);
	rseq_kernel_version(&name, version);
	assert_true(version[0] >= 100000 && version[1] == 0 && version[2] == 0);
	assert_int_equal(rseq_kernel_bugs(version, true), 0);
}

/* This machine's own release begins with the numbers that are read from it. */
static void test_this_kernel(void **state)
{
	unsigned int version[3];
	struct utsname name;
	char start[64];

	(void)state;
	assert_int_equal(uname(&name), 0);
	rseq_kernel_version(&name, version);
	snprintf(start, sizeof(start), "%u.%u", version[0], version[1]);
	assert_memory_equal(name.release, start, strlen(start));
	assert_true(version[0] >= 3);
}

static void test_ubuntu(void **state)
{
	const struct uname_case with_stable_number = {
		"5.4.291-216-generic", "#236-Ubuntu SMP Fri Apr 11 19:53:21 UTC 2025", { 5, 4, 291 }
	};
	const struct uname_case series_only = {
		"5.4.0-216-generic", "#236-Ubuntu SMP Fri Apr 11 19:53:21 UTC 2025", { 5, 4, 0 }
	};

	(void)state;
	check_uname(&with_stable_number);
	if (!access("/proc/version_signature", R_OK)) {
		print_message("an Ubuntu kernel's own signature would be read: not tested here\n");
		skip();
	}
	check_uname(&series_only);
}

/* What a release is known for, on x86-64, and in addition on arm64. */
struct release_bugs {
	unsigned int version[3];
	unsigned int bugs;
	unsigned int arm64;
};

static void check_bugs(const struct release_bugs *c)
{
	unsigned int x86 = rseq_kernel_bugs(c->version, false);
	unsigned int arm64 = rseq_kernel_bugs(c->version, true);

	if (x86 != c->bugs || arm64 != (c->bugs | c->arm64))
		fail_msg("%u.%u.%u: %#x, on arm64 %#x", c->version[0], c->version[1],
			 c->version[2], x86, arm64);
}

/* The last release before each limit, and the first behind it. */
static void test_every_boundary(void **state)
{
	static const struct release_bugs cases[] = {
		{ { 0, 0, 0 }, 0, 0 },
		{ { 4, 17, 19 }, 0, 0 },
		{ { 4, 17, 999 }, 0, 0 },
		{ { 4, 18, 0 }, CLONE_VM | STALE | KVM, 0 },
		{ { 4, 19, 133 }, CLONE_VM | STALE | KVM, 0 },
		{ { 4, 19, 134 }, CLONE_VM | KVM, 0 },
		{ { 4, 19, 255 }, CLONE_VM | KVM, 0 },
		{ { 4, 19, 325 }, CLONE_VM | KVM, 0 },
		{ { 4, 20, 0 }, CLONE_VM | STALE | KVM, 0 },
		{ { 5, 3, 18 }, CLONE_VM | STALE | KVM, 0 },
		{ { 5, 4, 17 }, CLONE_VM | STALE | KVM, 0 },
		{ { 5, 4, 18 }, STALE | KVM, 0 },
		{ { 5, 4, 52 }, STALE | KVM, 0 },
		{ { 5, 4, 53 }, KVM, 0 },
		{ { 5, 4, 302 }, KVM, 0 },
		{ { 5, 5, 0 }, STALE | KVM, 0 },
		{ { 5, 7, 9 }, STALE | KVM, 0 },
		{ { 5, 7, 10 }, KVM, 0 },
		{ { 5, 8, 0 }, KVM, 0 },
		{ { 5, 9, 16 }, KVM, 0 },
		{ { 5, 10, 0 }, KVM | MEMBARRIER, 0 },
		{ { 5, 14, 8 }, KVM | MEMBARRIER, 0 },
		{ { 5, 14, 9 }, MEMBARRIER, 0 },
		{ { 5, 15, 0 }, MEMBARRIER, 0 },
		{ { 5, 15, 999 }, MEMBARRIER, 0 },
		{ { 6, 1, 156 }, MEMBARRIER, 0 },
		{ { 6, 1, 157 }, 0, 0 },
		{ { 6, 1, 300 }, 0, 0 },
		{ { 6, 2, 0 }, MEMBARRIER, 0 },
		{ { 6, 6, 300 }, MEMBARRIER, 0 },
		{ { 6, 12, 53 }, MEMBARRIER, 0 },
		{ { 6, 12, 54 }, 0, 0 },
		{ { 6, 13, 0 }, MEMBARRIER, 0 },
		{ { 6, 17, 99 }, MEMBARRIER, 0 },
		{ { 6, 18, 0 }, 0, 0 },
		{ { 6, 18, 999 }, 0, 0 },
		{ { 6, 19, 0 }, MM_CID, ARM64 },
		{ { 7, 0, 13 }, MM_CID, ARM64 },
		{ { 7, 0, 14 }, MM_CID, 0 },
		{ { 7, 1, 2 }, MM_CID, 0 },
		{ { 7, 1, 3 }, 0, 0 },
		{ { 7, 2, 0 }, 0, 0 },
		{ { 8, 0, 0 }, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_bugs(&cases[i]);
}

/* A stable number over 255 does not reach into the next series. */
static void test_long_stable_series(void **state)
{
	static const struct release_bugs cases[] = {
		{ { 6, 1, 256 }, 0, 0 },
		{ { 6, 1, 511 }, 0, 0 },
		{ { 5, 4, 256 }, KVM, 0 },
		{ { 5, 9, 256 }, KVM, 0 },
		{ { 7, 0, 300 }, MM_CID, 0 },
		{ { 4, 17, 256 }, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_bugs(&cases[i]);
}

/* Those that make every section wrong refuse rseq, alone and together with any other. */
static void test_which_refuse(void **state)
{
	const unsigned int refusing = CLONE_VM | STALE | ARM64;

	(void)state;
	for (unsigned int bugs = 0; bugs < 64; bugs++)
		assert_int_equal(rseq_kernel_bugs_refuse(bugs), (bugs & refusing) != 0);
}

static void test_strings(void **state)
{
	const char *seen[6];

	(void)state;
	for (int bit = 0; bit < 32; bit++) {
		const char *sentence = rseq_kernel_bug_string(1U << bit);

		if (bit >= 6) {
			assert_null(sentence);
			continue;
		}
		assert_non_null(sentence);
		assert_true(strlen(sentence) > 10);
		for (int before = 0; before < bit; before++)
			assert_string_not_equal(sentence, seen[before]);
		seen[bit] = sentence;
	}
	assert_null(rseq_kernel_bug_string(0));
	assert_null(rseq_kernel_bug_string(CLONE_VM | STALE));
	assert_null(rseq_kernel_bug_string(~0U));
}

int main(void)
{
	const struct CMUnitTest kernel[] = {
		cmocka_unit_test(test_releases),
		cmocka_unit_test(test_misleading_versions),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_this_kernel),
		cmocka_unit_test(test_ubuntu),
		cmocka_unit_test(test_every_boundary),
		cmocka_unit_test(test_long_stable_series),
		cmocka_unit_test(test_which_refuse),
		cmocka_unit_test(test_strings),
	};

	return cmocka_run_group_tests(kernel, NULL, NULL);
}
