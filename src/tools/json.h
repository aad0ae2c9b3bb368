/* SPDX-License-Identifier: MIT */
/*
 * json.h: one JSON text, written as it goes, two blanks for each level.
 *
 * Every function takes the key of the value within an object, or NULL in an array and for the
 * outermost value. Errors are those of the stream.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *stream;
	unsigned int depth;
	bool first;		/* nothing stands before the next value in its container */
};

void json_begin(struct json *json, FILE *stream);
void json_finish(struct json *json);	/* the newline at the end */

void json_open_object(struct json *json, const char *key);
void json_close_object(struct json *json);
void json_open_array(struct json *json, const char *key);
void json_close_array(struct json *json);

/* A string: NULL becomes null, and what is not UTF-8 the replacement character. */
void json_string(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, int64_t value);
/* Six digits that count, and a point in every locale that rseqctl runs in; null if not finite. */
void json_real(struct json *json, const char *key, double value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

#endif /* JSON_H */
