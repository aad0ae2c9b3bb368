/* SPDX-License-Identifier: MIT */
/*
 * verify-json.c: what was found in a file, as JSON.
 */
#include <inttypes.h>
#include <stdio.h>

#include "verify.h"

/* Addresses take all 64 bits, which not every reader of JSON has in a number. */
static void print_address(struct json *json, const char *key, uint64_t address)
{
	char text[2 * sizeof(address) + sizeof("0x")];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	json_string(json, key, text);
}

static void print_findings(struct json *json, const struct verifier *verifier, size_t section)
{
	size_t i, nr;
	const struct finding *finding = findings_of(verifier, section, &nr);
	char place[MAX_TEXT];

	json_open_array(json, "findings");
	for (i = 0; i < nr; i++, finding++) {
		format_place(verifier, finding->address, place, sizeof(place));
		json_open_object(json, NULL);
		json_string(json, "check", check_name(finding->check));
		json_string(json, "severity", finding->violation ? "error" : "note");
		print_address(json, "address", finding->address);
		json_string(json, "place", place);
		json_string(json, "message", finding->message);
		json_close_object(json);
	}
	json_close_array(json);
}

static void print_section(struct json *json, const struct verifier *verifier, size_t index)
{
	const struct critical_section *section = &verifier->sections[index];
	char text[MAX_TEXT];
	const char *file;
	int line;

	json_open_object(json, NULL);
	format_place(verifier, section->start, text, sizeof(text));
	json_string(json, "place", text);
	if (lines_find(verifier->lines, &verifier->image, section->start, &file, &line)) {
		json_string(json, "file", file);
		json_number(json, "line", line);
	}
	print_address(json, "descriptor", section->descriptor);
	print_address(json, "start_ip", section->start);
	print_address(json, "abort_ip", section->abort);
	json_number(json, "bytes", (int64_t)section->length);
	json_number(json, "instructions", (int64_t)section->nr_insns);
	if (section->commit) {
		decode_text(&verifier->decoder, section->commit, text, sizeof(text));
		print_address(json, "commit", section->commit);
		json_string(json, "commit_text", text);
	}
	json_string(json, "verdict", section->nr_violations ? "failed" : "ok");
	print_findings(json, verifier, index);
	json_close_object(json);
}

void print_json(struct json *json, const struct verifier *verifier, const char *error)
{
	size_t i;

	json_open_object(json, NULL);
	json_string(json, "file", verifier->name);
	if (error) {
		json_string(json, "error", error);
		json_close_object(json);
		return;
	}
	json_string(json, "machine", machine_name(&verifier->image));
	json_string(json, "type", type_name(&verifier->image));
	json_string(json, "profile", profile_name(verifier->profile));
	json_number(json, "violations", (int64_t)verifier->nr_violations);
	if (verifier->note)
		json_string(json, "note", verifier->note);
	print_findings(json, verifier, WHOLE_FILE);
	json_open_array(json, "sections");
	for (i = 0; i < verifier->nr_sections; i++)
		print_section(json, verifier, i);
	json_close_array(json);
	json_close_object(json);
}
