/* SPDX-License-Identifier: MIT */
/*
 * fuzz.c: runs a command on damaged copies of a file. Usage: fuzz FILE COPIES COMMAND...
 *
 * The copy's name is added to the command. Each copy is made from a number, so a failure can be
 * repeated; the copy that caused it is kept. Whatever the command answers, it must exit by itself,
 * with status 0, 1 or 2.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX	120
#define MAX_CHANGES	8
#define MAX_ARGUMENTS	16

struct file {
	unsigned char *bytes;
	size_t size;
};

static uint64_t state;

/* xorshift64* */
static uint64_t number_below(uint64_t limit)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * UINT64_C(2685821657736338717) >> 16) % limit;
}

static void die(const char *what)
{
	perror(what);
	exit(99);
}

static struct file read_file(const char *name)
{
	FILE *stream = fopen(name, "rb");
	struct file file = { NULL, 0 };
	struct stat status;

	if (!stream || fstat(fileno(stream), &status) || !status.st_size)
		die(name);
	file.size = (size_t)status.st_size;
	file.bytes = malloc(file.size);
	if (!file.bytes || fread(file.bytes, 1, file.size, stream) != file.size)
		die(name);
	fclose(stream);
	return file;
}

static void write_file(const char *name, const struct file *file, size_t size)
{
	FILE *stream = fopen(name, "wb");

	if (!stream || fwrite(file->bytes, 1, size, stream) != size || fclose(stream))
		die(name);
}

/* Half of the places are in the ELF header or the section headers, which decide over the rest. */
static size_t choose_place(const struct file *file)
{
	uint64_t headers = 0, offset;
	size_t i;

	for (i = 0; file->size >= 64 && i < 8; i++)
		headers |= (uint64_t)file->bytes[40 + i] << (8 * i);
	offset = number_below(4);
	if (offset == 0)
		return (size_t)number_below(file->size < 64 ? file->size : 64);
	if (offset == 1 && headers < file->size)
		return (size_t)(headers + number_below(file->size - headers));
	return (size_t)number_below(file->size);
}

static void damage(const struct file *original, struct file *copy)
{
	static const unsigned char extremes[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	uint64_t changes = 1 + number_below(MAX_CHANGES);
	size_t place;

	memcpy(copy->bytes, original->bytes, original->size);
	while (changes--) {
		place = choose_place(original);
		switch (number_below(3)) {
		case 0:
			copy->bytes[place] ^= (unsigned char)(1 << number_below(8));
			break;
		case 1:
			copy->bytes[place] = extremes[number_below(sizeof(extremes))];
			break;
		default:
			copy->bytes[place] = (unsigned char)number_below(256);
		}
	}
	copy->size = number_below(16) ? original->size : (size_t)number_below(original->size);
}

/* Returns: what waitpid() says of the command. */
static int run(char **command)
{
	int status, null;
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child) {
		if (waitpid(child, &status, 0) != child)
			die("waitpid");
		return status;
	}
	null = open("/dev/null", O_WRONLY);
	if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
		_exit(98);
	alarm(SECONDS_MAX);
	/* What a sanitizer finds must not look like an answer. */
	setenv("ASAN_OPTIONS", "exitcode=97:detect_leaks=0:allocator_may_return_null=1", 0);
	setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=97", 0);
	execvp(command[0], command);
	_exit(98);
}

int main(int argc, char **argv)
{
	char *command[MAX_ARGUMENTS + 2], name[4096];
	unsigned long copies, i, answers[3] = { 0, 0, 0 };
	struct file original, copy;
	int status;

	if (argc < 4 || argc - 3 > MAX_ARGUMENTS)
		return 2;
	original = read_file(argv[1]);
	copy = original;
	copy.bytes = malloc(original.size);
	copies = strtoul(argv[2], NULL, 10);
	if (!copy.bytes)
		die("malloc");
	memcpy(command, argv + 3, (size_t)(argc - 3) * sizeof(*command));
	for (i = 0; i < copies; i++) {
		snprintf(name, sizeof(name), "%s.%lu", argv[1], i);
		state = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
		damage(&original, &copy);
		write_file(name, &copy, copy.size);
		command[argc - 3] = name;
		command[argc - 2] = NULL;
		status = run(command);
		if (!WIFEXITED(status) || WEXITSTATUS(status) > 2) {
			printf("FAILED: %s: wait status 0x%x\n", name, (unsigned int)status);
			return 1;
		}
		answers[WEXITSTATUS(status)]++;
		remove(name);
	}
	printf("%s: %lu copies: %lu accepted, %lu rejected, %lu unreadable\n", argv[1], copies,
	       answers[0], answers[1], answers[2]);
	return 0;
}
