/* SPDX-License-Identifier: MIT */
/*
 * verify.c: rseqctl verify FILE...
 */
#include <ar.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rseqctl.h"
#include "verify.h"

#define MAX_NAME	4096

/* What was asked for, and what came out so far. */
struct session {
	enum profile profile;
	bool as_json;
	struct json json;
	size_t unreadable, sections, violations;
};

static void verify_sections(struct verifier *verifier)
{
	struct critical_section *section;
	size_t i;

	verify_tables(verifier);
	for (i = 0; i < verifier->nr_sections; i++) {
		section = &verifier->sections[i];
		if (!section->analysable)
			continue;
		verify_arming(verifier, section);
		verify_body(verifier, section);
		verify_flow(verifier, section);
	}
	verify_jumps(verifier);
	verify_declarations(verifier);
	sort_findings(verifier);
}

static void print_file(struct session *session, const struct verifier *verifier,
		const char *error)
{
	if (session->as_json)
		print_json(&session->json, verifier, error);
	else
		print_text(verifier, error);
	session->unreadable += error != NULL;
	session->sections += verifier->nr_sections;
	session->violations += verifier->nr_violations;
}

static void print_unreadable(struct session *session, const char *name, const char *error)
{
	struct verifier none = { .name = name, .profile = session->profile };

	print_file(session, &none, error);
}

static void close_verifier(struct verifier *verifier)
{
	size_t i;

	for (i = 0; i < verifier->nr_sections; i++)
		free(verifier->sections[i].insns);
	for (i = 0; i < verifier->nr_findings; i++)
		free(verifier->findings[i].message);
	free(verifier->descriptors);
	free(verifier->sections);
	free(verifier->ranges);
	free(verifier->exits);
	free(verifier->scratch);
	free(verifier->findings);
	lines_close(verifier->lines);
}

/* path is NULL for a member of an archive, whose lines are not looked up. */
static void verify_elf(struct session *session, Elf *elf, uint64_t size, const char *name,
		const char *path)
{
	struct verifier verifier = { .name = name, .profile = session->profile };
	const char *error = NULL;

	if (image_open(&verifier.image, elf, size)) {
		error = verifier.image.error;
	} else if (!image_has_section(&verifier.image, "__rseq_cs") &&
		   !image_has_section(&verifier.image, "__rseq_cs_ptr_array")) {
		verifier.note = "it has no __rseq_cs";
		if (verifier.image.lto)
			verifier.note = "it holds code for link-time optimisation: verify what is"
				" linked from it";
	} else if (image_load(&verifier.image)) {
		error = verifier.image.error;
	} else if (decoder_open(&verifier.decoder, &verifier.image)) {
		error = "capstone cannot decode this architecture";
	} else {
		if (path)
			verifier.lines = lines_open(path);
		verify_sections(&verifier);
	}
	print_file(session, &verifier, error);
	if (verifier.decoder.scratch)
		decoder_close(&verifier.decoder);
	close_verifier(&verifier);
	image_close(&verifier.image);
}

/* size is the archive's. What a damaged header hides is not passed over in silence. */
static void verify_archive(struct session *session, Elf *archive, int fd, uint64_t size,
		const char *path)
{
	Elf_Cmd command = ELF_C_READ;
	uint64_t end = SARMAG;
	char name[MAX_NAME];
	Elf_Arhdr *header;
	Elf *member;

	while ((member = elf_begin(fd, command, archive))) {
		header = elf_getarhdr(member);
		if (header)
			end = (uint64_t)elf_getbase(member) + (uint64_t)header->ar_size;
		/* The symbol table and the long names are members too. */
		if (header && header->ar_name && header->ar_name[0] != '/') {
			snprintf(name, sizeof(name), "%s(%s)", path, header->ar_name);
			verify_elf(session, member, (uint64_t)header->ar_size, name, NULL);
		}
		command = elf_next(member);
		elf_end(member);
	}
	/* Members begin at even addresses. */
	if (size > end + (end & 1))
		print_unreadable(session, path, "damaged archive: not all of it could be read");
}

static void verify_file(struct session *session, const char *path)
{
	/* A pipe is refused, rather than to wait for its other end. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	Elf *elf;

	if (fd < 0 || fstat(fd, &status)) {
		print_unreadable(session, path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	elf = S_ISREG(status.st_mode) ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	if (!elf)
		print_unreadable(session, path, "not an ELF file");
	else if (elf_kind(elf) == ELF_K_AR)
		verify_archive(session, elf, fd, (uint64_t)status.st_size, path);
	else
		verify_elf(session, elf, (uint64_t)status.st_size, path, path);
	elf_end(elf);
	close(fd);
}

static void print_usage(FILE *stream)
{
	fprintf(stream, "usage: rseqctl verify [--json] [--profile=NAME] FILE...\n\nprofiles:\n");
	print_profiles(stream);
}

/* Returns: -1, or the status to exit with. */
static int parse_options(struct session *session, int argc, char **argv)
{
	static const struct option names[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "profile", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 'j':
			session->as_json = true;
			break;
		case 'p':
			if (profile_by_name(optarg, &session->profile) == 0)
				break;
			fprintf(stderr, "rseqctl verify: no profile '%s'\n", optarg);
			return RSEQCTL_USAGE;
		case 'h':
			print_usage(stdout);
			return RSEQCTL_OK;
		default:
			print_usage(stderr);
			return RSEQCTL_USAGE;
		}
	}
	if (optind < argc)
		return -1;
	print_usage(stderr);
	return RSEQCTL_USAGE;
}

static void print_totals(struct session *session)
{
	json_close_array(&session->json);
	json_number(&session->json, "unreadable", (int64_t)session->unreadable);
	json_number(&session->json, "sections", (int64_t)session->sections);
	json_number(&session->json, "violations", (int64_t)session->violations);
	json_close_object(&session->json);
	json_finish(&session->json);
}

int rseqctl_verify(int argc, char **argv)
{
	struct session session = { .profile = PROFILE_DEFAULT };
	int status = parse_options(&session, argc, argv);

	if (status >= 0)
		return status;
	if (elf_version(EV_CURRENT) == EV_NONE) {
		fprintf(stderr, "rseqctl verify: libelf is too old\n");
		return RSEQCTL_USAGE;
	}
	if (session.as_json) {
		json_begin(&session.json, stdout);
		json_open_object(&session.json, NULL);
		json_open_array(&session.json, "files");
	}
	for (; optind < argc; optind++)
		verify_file(&session, argv[optind]);
	if (session.as_json)
		print_totals(&session);
	if (session.unreadable)
		return RSEQCTL_USAGE;
	return session.violations ? RSEQCTL_FAILED : RSEQCTL_OK;
}
