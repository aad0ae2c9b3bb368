/* SPDX-License-Identifier: MIT */
/*
 * json.c: writing JSON (RFC 8259).
 */
#include "json.h"

#include <inttypes.h>
#include <stddef.h>

/*
 * The number of bytes of the UTF-8 sequence that text starts with, or 0 if it is none: truncated,
 * over-long, a surrogate, or above U+10FFFF.
 */
static size_t utf8_length(const unsigned char *text)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, length;
	} rows[] = {
		{ 0x01, 0x7f, 0x00, 0xff, 1 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (text[0] < rows[i].first_low || text[0] > rows[i].first_high)
			continue;
		if (text[1] < rows[i].second_low || text[1] > rows[i].second_high)
			return 0;
		for (size_t byte = 2; byte < rows[i].length; byte++)
			if ((text[byte] & 0xc0) != 0x80)
				return 0;
		return rows[i].length;
	}
	return 0;
}

static void write_string(FILE *stream, const char *value)
{
	const unsigned char *text = (const unsigned char *)value;

	fputc('"', stream);
	while (*text) {
		size_t length = utf8_length(text);

		if (!length)
			fputs("\xef\xbf\xbd", stream);
		else if (*text < ' ' || *text == 0x7f)
			fprintf(stream, "\\u%04x", *text);
		else if (*text == '"' || *text == '\\')
			fprintf(stream, "\\%c", *text);
		else
			fwrite(text, 1, length, stream);
		text += length ? length : 1;
	}
	fputc('"', stream);
}

static void new_line(struct json *json)
{
	fprintf(json->stream, "\n%*s", (int)json->depth * 2, "");
}

static void start_value(struct json *json, const char *key)
{
	if (!json->first)
		fputc(',', json->stream);
	if (json->depth)
		new_line(json);
	json->first = false;
	if (!key)
		return;
	write_string(json->stream, key);
	fputs(": ", json->stream);
}

static void open_container(struct json *json, const char *key, char bracket)
{
	start_value(json, key);
	fputc(bracket, json->stream);
	json->depth++;
	json->first = true;
}

static void close_container(struct json *json, char bracket)
{
	json->depth--;
	if (!json->first)
		new_line(json);
	fputc(bracket, json->stream);
	json->first = false;
}

void json_begin(struct json *json, FILE *stream)
{
	json->stream = stream;
	json->depth = 0;
	json->first = true;
}

void json_finish(struct json *json)
{
	fputc('\n', json->stream);
}

void json_open_object(struct json *json, const char *key)
{
	open_container(json, key, '{');
}

void json_close_object(struct json *json)
{
	close_container(json, '}');
}

void json_open_array(struct json *json, const char *key)
{
	open_container(json, key, '[');
}

void json_close_array(struct json *json)
{
	close_container(json, ']');
}

void json_string(struct json *json, const char *key, const char *value)
{
	if (!value) {
		json_null(json, key);
		return;
	}
	start_value(json, key);
	write_string(json->stream, value);
}

void json_number(struct json *json, const char *key, int64_t value)
{
	start_value(json, key);
	fprintf(json->stream, "%" PRId64, value);
}

void json_real(struct json *json, const char *key, double value)
{
	/* Neither infinity nor what is not a number has a form; both compare as this does. */
	if (!(value - value == 0)) {
		json_null(json, key);
		return;
	}
	start_value(json, key);
	fprintf(json->stream, "%.6g", value);
}

void json_bool(struct json *json, const char *key, bool value)
{
	start_value(json, key);
	fputs(value ? "true" : "false", json->stream);
}

void json_null(struct json *json, const char *key)
{
	start_value(json, key);
	fputs("null", json->stream);
}
