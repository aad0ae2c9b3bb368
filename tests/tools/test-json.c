/* SPDX-License-Identifier: MIT */
/*
 * test-json: reads one JSON text (RFC 8259) and writes a line for each value, "path=value", with
 * strings as they stand between their quotes. Exit status 1 for what is no JSON, or if an object
 * has a key twice.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT	((size_t)1 << 20)
#define MAX_PATH	256
#define MAX_DEPTH	16
#define MAX_PATHS	4096

static char text[MAX_TEXT + 1];
static const char *at = text;

static char path[MAX_PATH];
static char *paths[MAX_PATHS];
static size_t nr_paths;

static void fail(const char *what)
{
	fprintf(stderr, "no JSON: %s at byte %zu\n", what, (size_t)(at - text));
	exit(1);
}

static void skip_blanks(void)
{
	at += strspn(at, " \t\r\n");
}

static void expect(char wanted)
{
	if (*at != wanted)
		fail("another character expected");
	at++;
}

static size_t continuation_bytes(unsigned char first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xc2 && first < 0xe0)
		return 1;
	if (first >= 0xe0 && first < 0xf0)
		return 2;
	if (first >= 0xf0 && first < 0xf5)
		return 3;
	fail("not UTF-8");
	return 0;
}

static void skip_escape(void)
{
	if (*at == 'u') {
		for (int digit = 1; digit <= 4; digit++)
			if (!isxdigit((unsigned char)at[digit]))
				fail("bad escape");
		at += 5;
		return;
	}
	if (!*at || !strchr("\"\\/bfnrt", *at))
		fail("bad escape");
	at++;
}

/* Moves behind a string and tells where it is. */
static int string(const char **start)
{
	expect('"');
	*start = at;
	while (*at != '"') {
		size_t more = continuation_bytes((unsigned char)*at);

		if ((unsigned char)*at < ' ')
			fail("control character in a string");
		if (*at++ == '\\')
			skip_escape();
		for (; more; more--)
			if (((unsigned char)*at++ & 0xc0) != 0x80)
				fail("not UTF-8");
	}
	return (int)(at++ - *start);
}

static void digits(void)
{
	if (!isdigit((unsigned char)*at))
		fail("digit expected");
	while (isdigit((unsigned char)*at))
		at++;
}

static int number(const char **start)
{
	*start = at;
	if (*at == '-')
		at++;
	if (*at == '0')
		at++;
	else
		digits();
	if (*at == '.') {
		at++;
		digits();
	}
	if (*at == 'e' || *at == 'E') {
		at++;
		if (*at == '+' || *at == '-')
			at++;
		digits();
	}
	return (int)(at - *start);
}

static int word(const char **start)
{
	static const char *const words[] = { "true", "false", "null" };

	*start = at;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strncmp(at, words[i], strlen(words[i]))) {
			at += strlen(words[i]);
			return (int)strlen(words[i]);
		}
	}
	fail("value expected");
	return 0;
}

static void value(int depth);

/* Appends a name to the path and tells where to cut it off again. */
static char *enter(const char *name, int length)
{
	char *end = path + strlen(path);

	snprintf(end, sizeof(path) - (size_t)(end - path), "%s%.*s", *path ? "." : "", length,
		 name);
	for (size_t i = 0; i < nr_paths; i++)
		if (!strcmp(paths[i], path))
			fail("key stands twice");
	if (nr_paths == MAX_PATHS)
		fail("too many values");
	paths[nr_paths++] = strdup(path);
	return end;
}

static void container(int depth, char close)
{
	int nr_values = 0;

	if (!depth)
		fail("too deep");
	at++;
	skip_blanks();
	while (*at != close) {
		char index[16], *end;
		const char *name = index;
		int length = snprintf(index, sizeof(index), "%d", nr_values);

		if (nr_values++)
			expect(',');
		skip_blanks();
		if (close == '}') {
			length = string(&name);
			skip_blanks();
			expect(':');
		}
		end = enter(name, length);
		value(depth - 1);
		*end = '\0';
		skip_blanks();
	}
	at++;
	if (!nr_values)
		printf("%s=%s\n", path, close == '}' ? "{}" : "[]");
}

static void value(int depth)
{
	const char *start = at;
	int length;

	skip_blanks();
	if (*at == '{' || *at == '[') {
		container(depth, *at == '{' ? '}' : ']');
		return;
	}
	if (*at == '"')
		length = string(&start);
	else if (*at == '-' || isdigit((unsigned char)*at))
		length = number(&start);
	else
		length = word(&start);
	printf("%s=%.*s\n", path, length, start);
}

int main(void)
{
	size_t length = fread(text, 1, MAX_TEXT, stdin);

	if (strlen(text) != length || length == MAX_TEXT)
		fail("a zero byte, or too long");
	value(MAX_DEPTH);
	skip_blanks();
	if (*at)
		fail("something after the value");
	for (size_t i = 0; i < nr_paths; i++)
		free(paths[i]);
	return 0;
}
