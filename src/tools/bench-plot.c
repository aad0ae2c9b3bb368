/* SPDX-License-Identifier: MIT */
/*
 * bench-plot.c: curves, drawn by gnuplot: one picture for each structure that scales, over the
 * number of threads, and one for the sum of a counter, over the number of CPUs.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COLUMNS	2

/* Looks where execvp() will. */
static bool have_gnuplot(void)
{
	const char *path = getenv("PATH");
	char program[PATH_MAX];

	while (path && *path) {
		size_t length = strcspn(path, ":");

		if (length && length < sizeof(program) - sizeof("/gnuplot")) {
			snprintf(program, sizeof(program), "%.*s/gnuplot", (int)length, path);
			if (!access(program, X_OK))
				return true;
		}
		path += length;
		path += *path == ':';
	}
	return false;
}

/* Asked before minutes are spent on the figures. Leaves a file that is there as it is. */
int bench_plot_possible(const char *path)
{
	int file;

	if (!have_gnuplot()) {
		fputs("rseqctl bench: --plot needs gnuplot, which is not installed\n", stderr);
		return -1;
	}
	file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (file < 0) {
		fprintf(stderr, "rseqctl bench: cannot write %s: %s\n", path, strerror(errno));
		return -1;
	}
	close(file);
	return 0;
}

/* All results of a benchmark stand together; of a sum, each number of CPUs is one of its own. */
static bool same_picture(const struct bench_result *left, const struct bench_result *right)
{
	return left->bench->variants == right->bench->variants &&
			!left->bench->cpus == !right->bench->cpus;
}

static unsigned int position(const struct bench_result *result)
{
	return result->bench->cpus ? result->bench->cpus : result->nr_threads;
}

/* In gnuplot's single quotes a quote is doubled; there is none in our names, nor may one come. */
static void write_quoted(FILE *script, const char *text)
{
	fputc('\'', script);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', script);
		fputc(*text, script);
	}
	fputc('\'', script);
}

static void write_data(FILE *script, const struct bench_result *first, size_t nr,
		unsigned int picture)
{
	fprintf(script, "$picture%u << END\n", picture);
	for (size_t i = 0; i < nr; i++) {
		fprintf(script, "%u", position(&first[i]));
		for (unsigned int j = 0; j < first->nr_variants; j++) {
			if (first[i].figures[j].missing)
				fputs(" nan", script);
			else
				fprintf(script, " %.6g", first[i].figures[j].median);
		}
		fputc('\n', script);
	}
	fputs("END\n", script);
}

static void write_picture(FILE *script, const struct bench_result *first, unsigned int picture)
{
	const char *area = first->bench->area;
	char title[128];

	snprintf(title, sizeof(title), "%.*s: ns of CPU time over threads",
		 (int)strcspn(area, ","), area);
	if (first->bench->cpus)
		snprintf(title, sizeof(title), "sum of a counter: ns over simulated CPUs");
	fputs("set title ", script);
	write_quoted(script, title);
	fputs("\nplot", script);
	for (unsigned int j = 0; j < first->nr_variants; j++) {
		fprintf(script, "%s $picture%u using 1:%u with linespoints lw 2 title ",
			j ? "," : "", picture, j + 2);
		write_quoted(script, first->bench->variants[j].name);
	}
	fputs("\n", script);
}

static void write_script(FILE *script, const struct bench_report *report)
{
	size_t starts[BENCH_MAX_COUNTS * 8], nr_pictures = 0;
	unsigned int lines;

	for (size_t i = 0; i < report->nr_curves; i++)
		if (!i || !same_picture(&report->curves[i - 1], &report->curves[i]))
			starts[nr_pictures++] = i;
	starts[nr_pictures] = report->nr_curves;
	for (size_t i = 0; i < nr_pictures; i++)
		write_data(script, &report->curves[starts[i]], starts[i + 1] - starts[i],
			   (unsigned int)i);
	lines = ((unsigned int)nr_pictures + COLUMNS - 1) / COLUMNS;
	fprintf(script, "set terminal svg size 1000,%u dynamic background rgb 'white' "
			"font 'sans,12'\n", 60 + 360 * lines);
	fprintf(script, "set multiplot layout %u,%u title ", lines, COLUMNS);
	write_quoted(script, report->machine.cpu);
	fputs("\nset logscale x 2\nset logscale y\nset grid\n"
	      "set key below left Left reverse noenhanced\n", script);
	for (size_t i = 0; i < nr_pictures; i++)
		write_picture(script, &report->curves[starts[i]], (unsigned int)i);
	fputs("unset multiplot\n", script);
}

static int run_gnuplot(int script, int output)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		dup2(script, STDIN_FILENO);
		dup2(output, STDOUT_FILENO);
		execlp("gnuplot", "gnuplot", "-", (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	errno = EIO;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

int bench_plot(const struct bench_report *report, const char *path)
{
	FILE *script = tmpfile();
	int output = -1, result = -1;

	if (script) {
		write_script(script, report);
		output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (output >= 0 && !fflush(script) && lseek(fileno(script), 0, SEEK_SET) == 0)
			result = run_gnuplot(fileno(script), output);
	}
	if (result)
		fprintf(stderr, "rseqctl bench: cannot draw %s: %s\n", path, strerror(errno));
	if (output >= 0)
		close(output);
	if (script)
		fclose(script);
	return result;
}
