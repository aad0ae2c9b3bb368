/* SPDX-License-Identifier: MIT */
/*
 * histogram: how often each byte and each word occurs in files, counted by many threads.
 *
 * The threads share a counter for each byte and for each word. If that is an rseq_counter, no
 * increment waits for another CPU; -m all does the same work with shared atomics and with mutexes.
 * Every result is compared with that of a single thread over plain variables.
 *
 * A word is a run of MIN_LETTERS to MAX_LETTERS ASCII letters of either case. The first MAX_WORDS
 * different words have a counter each, all others have one together. All input is read into memory
 * first, so that every pass sees the same bytes and none waits for a disk.
 */
#define _XOPEN_SOURCE 700

#include <rseq/counter.h>
#include <rseq/info.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB		((size_t)1 << 20)
#define DEFAULT_LIMIT	256	/* MiB of input */
#define MIN_LETTERS	3
#define MAX_LETTERS	32
#define MAX_WORDS	((size_t)1 << 16)
#define SLOT_BITS	17	/* the hash table is at most half full */
#define NR_SLOTS	((size_t)1 << SLOT_BITS)
#define TOP		10	/* lines of a table */
#define MAX_ROUNDS	3	/* how often each mode has its turn */
#define MAX_SECONDS	20	/* after which no more rounds begin */

/* Counters have numbers: the bytes, the words that have no counter of their own, the others. */
enum { OTHER_WORDS = 256, FIRST_WORD = 257 };

/* In the order of their turns; MODE_PLAIN finds out what the others have to. */
enum mode { MODE_PLAIN, MODE_RSEQ, MODE_ATOMIC, MODE_MUTEX, NR_MODES };

static const char *const mode_name[NR_MODES] = { "plain", "rseq", "atomic", "mutex" };
static const char *const mode_is[NR_MODES] = {
	"a variable for each, and a single thread",
	"an rseq_counter for each",
	"an atomic for each, in a cache line of its own",
	"a variable and a mutex for each, in a cache line of their own",
};

/* A counter of any mode. The rivals at their best: none shares its cache line, or its mutex. */
struct counter {
	alignas(64) struct rseq_counter *percpu;
	_Atomic intptr_t atomic;
	intptr_t plain;
	pthread_mutex_t lock;	/* guards plain, in MODE_MUTEX */
};

/* A piece of a file. A word belongs to the chunk that its first letter is in. */
struct chunk {
	size_t begin, end, file_begin, file_end;
};

static struct {
	unsigned char *data;
	size_t used, size, limit;
	struct chunk *chunks;
	size_t nr_chunks, max_chunks, nr_files, nr_skipped;
	char skipped[PATH_MAX + 64];	/* the first one, and why */
} input = { .limit = DEFAULT_LIMIT * MIB };

static struct {
	uint32_t slots[NR_SLOTS];	/* numbers of counters, 0: empty */
	char words[MAX_WORDS][MAX_LETTERS + 1];	/* filled up with zeros */
	size_t nr_words;
} vocabulary;

static struct {
	unsigned int nr_threads, modes;	/* modes: bits */
	bool quiet, progress;
} options;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* A bar on the terminal, drawn at most ten times a second. */
static void progress(const char *what, size_t done, size_t total)
{
	static double last;
	size_t percent = done < total ? 100 * done / total : 100;

	if (!options.progress || now() - last < 0.1)
		return;
	last = now();
	fprintf(stderr, "\r%-8s [%-25.*s] %3zu%%", what, (int)percent / 4,
		"#########################", percent);
}

static void progress_end(void)
{
	if (options.progress)
		fputs("\r\033[K", stderr);
}

static _Noreturn __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...)
{
	va_list args;

	progress_end();
	va_start(args, format);
	fputs("histogram: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

/* realloc() for this program, which has nothing better to do without memory than to end. */
static void *grow(void *old, size_t nr, size_t item)
{
	void *new = nr > SIZE_MAX / item ? NULL : realloc(old, nr * item);

	if (!new)
		die(1, "no memory for %zu times %zu bytes", nr, item);
	return new;
}

/* ---- reading the input ---- */

static void skip(const char *path, const char *reason)
{
	if (!input.nr_skipped++)
		snprintf(input.skipped, sizeof(input.skipped), "%s: %s", path, reason);
}

static void add_file(size_t begin, size_t end)
{
	struct chunk chunk = { begin, end, begin, end };

	input.nr_files++;
	for (; chunk.begin < end; chunk.begin = chunk.end) {
		chunk.end = end - chunk.begin > MIB ? chunk.begin + MIB : end;
		if (input.nr_chunks == input.max_chunks) {
			input.max_chunks += 1024 + input.max_chunks / 2;
			input.chunks = grow(input.chunks, input.max_chunks, sizeof(chunk));
		}
		input.chunks[input.nr_chunks++] = chunk;
	}
}

static void read_file(const char *path)
{
	/* What was a file a moment ago may be a pipe by now: do not wait for its writer. */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	size_t begin = input.used;
	ssize_t n = fd;

	while (n >= 0 && input.used < input.limit) {
		if (input.used == input.size) {
			input.size += input.limit / 16;	/* so that it ends at the limit */
			input.data = grow(input.data, input.size, 1);
		}
		n = read(fd, input.data + input.used, input.size - input.used);
		if (n <= 0)
			break;
		input.used += (size_t)n;
	}
	if (n < 0) {
		skip(path, strerror(errno));
		input.used = begin;
	} else {
		add_file(begin, input.used);
	}
	if (fd >= 0)
		close(fd);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *where)
{
	if (type == FTW_F && S_ISREG(st->st_mode))
		read_file(path);
	else if (type == FTW_DNR || type == FTW_NS)
		skip(path, "cannot be read");
	else if (type != FTW_D && where->level == 0)
		skip(path, "neither a regular file nor a folder");
	progress("reading", input.used, input.limit);
	return input.used == input.limit;	/* not 0 ends the walk */
}

static void read_input(char **paths)
{
	struct stat st;

	for (; *paths && input.used < input.limit; paths++) {
		if (lstat(*paths, &st))
			die(1, "%s: %s", *paths, strerror(errno));
		if (nftw(*paths, visit, 32, FTW_PHYS) < 0)
			skip(*paths, strerror(errno));	/* a part of it; folders come and go */
	}
	progress_end();
	if (!input.nr_files && input.nr_skipped)
		die(1, "nothing to count: %s", input.skipped);
}

/* ---- counting ---- */

/* All that the modes differ in. */
static inline void count(enum mode mode, struct counter *counter)
{
	if (mode == MODE_RSEQ) {
		rseq_counter_inc(counter->percpu);
	} else if (mode == MODE_ATOMIC) {
		atomic_fetch_add_explicit(&counter->atomic, 1, memory_order_relaxed);
	} else if (mode == MODE_MUTEX) {
		pthread_mutex_lock(&counter->lock);
		counter->plain++;
		pthread_mutex_unlock(&counter->lock);
	} else {
		counter->plain++;
	}
}

static inline bool is_letter(unsigned char c)
{
	return (unsigned int)(c | 0x20) - 'a' < 26;
}

/*
 * The number of a word's counter. The first pass, which runs alone, learns the words, so that it
 * does not depend on the speed of threads which of them have one.
 */
static size_t word_number(const unsigned char *text, size_t letters, bool learn)
{
	char word[MAX_LETTERS + 1] = "";
	size_t number, slot, i;
	uint32_t hash = 0;

	for (i = 0; i < letters; i++) {
		word[i] = (char)(text[i] | 0x20);
		hash = hash * 31 + (text[i] | 0x20U);
	}
	slot = (hash * UINT32_C(0x9e3779b1)) >> (32 - SLOT_BITS);
	for (; (number = vocabulary.slots[slot]); slot = (slot + 1) % NR_SLOTS) {
		if (!memcmp(vocabulary.words[number - FIRST_WORD], word, sizeof(word)))
			return number;
	}
	if (!learn || vocabulary.nr_words == MAX_WORDS)
		return OTHER_WORDS;
	number = FIRST_WORD + vocabulary.nr_words;
	memcpy(vocabulary.words[vocabulary.nr_words++], word, sizeof(word));
	vocabulary.slots[slot] = (uint32_t)number;
	return number;
}

static inline void count_word(enum mode mode, struct counter *counters, const unsigned char *end,
			      size_t letters)
{
	if (letters >= MIN_LETTERS && letters <= MAX_LETTERS)
		count(mode, &counters[word_number(end - letters, letters, mode == MODE_PLAIN)]);
}

/* Inlined once for each mode, so that the loop around the increments is the same in all. */
__attribute__((always_inline))
static inline void scan(enum mode mode, struct counter *counters, const struct chunk *chunk)
{
	const unsigned char *p = input.data + chunk->begin;
	const unsigned char *end = input.data + chunk->end;
	const unsigned char *file_end = input.data + chunk->file_end;
	size_t letters = 0;

	if (chunk->begin > chunk->file_begin && is_letter(p[-1]))
		letters = MAX_LETTERS + 1;	/* this run belongs to the chunk before */
	for (; p < end; p++) {
		count(mode, &counters[*p]);
		if (is_letter(*p)) {
			letters++;
		} else if (letters) {
			count_word(mode, counters, p, letters);
			letters = 0;
		}
	}
	while (letters && letters <= MAX_LETTERS && p < file_end && is_letter(*p)) {
		p++;
		letters++;
	}
	count_word(mode, counters, p, letters);
}

static void count_chunk(enum mode mode, struct counter *counters, const struct chunk *chunk)
{
	if (mode == MODE_RSEQ)
		scan(MODE_RSEQ, counters, chunk);
	else if (mode == MODE_ATOMIC)
		scan(MODE_ATOMIC, counters, chunk);
	else if (mode == MODE_MUTEX)
		scan(MODE_MUTEX, counters, chunk);
	else
		scan(MODE_PLAIN, counters, chunk);
}

/* ---- passes over the input ---- */

struct pass {
	enum mode mode;
	struct counter *counters;
	size_t nr;			/* of counters */
	double seconds[MAX_ROUNDS];	/* least first */
	int rounds;
	_Atomic size_t next;		/* the chunk to do */
	_Atomic unsigned int without_rseq;	/* threads, ... */
	_Atomic int reason;		/* ... and why, for one of them */
};

static struct pass passes[NR_MODES];

static void counters_create(struct pass *pass)
{
	size_t nr = FIRST_WORD + (pass->mode == MODE_PLAIN ? MAX_WORDS : vocabulary.nr_words);
	struct counter *counters = aligned_alloc(alignof(struct counter), nr * sizeof(*counters));
	size_t i;

	if (!counters)
		die(1, "no memory for %zu counters", nr);
	for (i = 0; i < nr; i++) {
		counters[i].percpu = pass->mode == MODE_RSEQ ? rseq_counter_create() : NULL;
		if (pass->mode == MODE_RSEQ && !counters[i].percpu)
			die(1, "rseq_counter_create: %s", strerror(errno));
		atomic_init(&counters[i].atomic, 0);
		counters[i].plain = 0;
		pthread_mutex_init(&counters[i].lock, NULL);
	}
	pass->counters = counters;
	pass->nr = nr;
}

static void counters_destroy(struct pass *pass)
{
	size_t i;

	for (i = 0; i < pass->nr; i++) {
		rseq_counter_destroy(pass->counters[i].percpu);
		pthread_mutex_destroy(&pass->counters[i].lock);
	}
	free(pass->counters);
}

static void note_rseq(struct pass *pass)
{
	struct rseq_info info = { .size = sizeof(info) };

	rseq_get_info(&info);
	if (info.reason != RSEQ_REASON_NONE) {
		atomic_fetch_add(&pass->without_rseq, 1);
		atomic_store(&pass->reason, info.reason);
	}
}

/* Nothing to register here: the first increment sees to it, or does without where it must. */
static bool do_chunk(struct pass *pass)
{
	size_t i = atomic_fetch_add(&pass->next, 1);
	struct chunk chunk;

	if (i >= input.nr_chunks) {
		note_rseq(pass);
		return false;
	}
	chunk = input.chunks[i];
	if (pass->mode == MODE_PLAIN)	/* a whole file or nothing: it sees no seams */
		chunk.end = chunk.begin == chunk.file_begin ? chunk.file_end : chunk.begin;
	count_chunk(pass->mode, pass->counters, &chunk);
	return true;
}

static void *work(void *pass)
{
	while (do_chunk(pass))
		;
	return NULL;
}

/* Ends the program unless every counter stands where that of the plain pass does. */
static void check(const struct pass *pass)
{
	const struct counter *plain = passes[MODE_PLAIN].counters, *counter;
	intptr_t value;
	size_t i;

	for (i = 0; i < pass->nr; i++) {
		counter = &pass->counters[i];
		value = pass->mode == MODE_RSEQ ? rseq_counter_sum(counter->percpu) :
			pass->mode == MODE_ATOMIC ? atomic_load(&counter->atomic) : counter->plain;
		if (value != plain[i].plain)
			die(1, "%s: counter %zu stands at %jd, one thread counted %jd",
			    mode_name[pass->mode], i, (intmax_t)value, (intmax_t)plain[i].plain);
	}
}

/* This thread is one of nr_threads, and the one that draws. */
static void run_pass(struct pass *pass)
{
	unsigned int nr_threads = pass->mode == MODE_PLAIN ? 1 : options.nr_threads, i;
	pthread_t *threads = grow(NULL, nr_threads, sizeof(*threads));
	double begin, seconds;
	int error, round;

	if (!pass->nr)
		counters_create(pass);
	atomic_store(&pass->next, 0);
	atomic_store(&pass->without_rseq, 0);
	begin = now();
	for (i = 1; i < nr_threads; i++) {
		error = pthread_create(&threads[i], NULL, work, pass);
		if (error)
			die(1, "thread %u of %u: %s", i + 1, nr_threads, strerror(error));
	}
	while (do_chunk(pass))
		progress(mode_name[pass->mode], atomic_load(&pass->next), input.nr_chunks);
	for (i = 1; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	seconds = now() - begin;
	for (round = pass->rounds++; round && pass->seconds[round - 1] > seconds; round--)
		pass->seconds[round] = pass->seconds[round - 1];
	pass->seconds[round] = seconds;
	progress_end();
	free(threads);
	check(pass);
}

static double total(const struct counter *plain, size_t first, size_t end)
{
	double sum = 0;

	while (first < end)
		sum += (double)plain[first++].plain;
	return sum;
}

/* The greatest counts from first up to end, falling. */
static void print_top(const char *what, const struct counter *plain, size_t first, size_t end)
{
	double percent = total(plain, first, end) / 100;
	size_t top[TOP + 1], i;
	int place, found = 0;

	for (i = first; i < end; i++) {
		for (place = found; place && plain[i].plain > plain[top[place - 1]].plain; place--)
			top[place] = top[place - 1];
		top[place] = i;
		found += plain[i].plain && found < TOP;
	}

	printf("\n%12s %6s  %s\n", "times", "%", what);
	for (place = 0; place < found; place++) {
		i = top[place];
		printf("%12jd %6.2f  ", (intmax_t)plain[i].plain, (double)plain[i].plain / percent);
		if (i >= FIRST_WORD)
			printf("%s\n", vocabulary.words[i - FIRST_WORD]);
		else
			printf("0x%02zx %c\n", i, i > ' ' && i <= '~' ? (int)i : ' ');
	}
}

static void print_result(void)
{
	size_t nr = FIRST_WORD + vocabulary.nr_words;
	const struct counter *plain = passes[MODE_PLAIN].counters;
	const struct pass *rseq = &passes[MODE_RSEQ], *pass;
	const struct pass *base = rseq->nr ? rseq : &passes[MODE_PLAIN];
	const int median = base->rounds / 2;
	double increments = total(plain, 0, nr), seconds;

	printf("%zu files, %zu bytes%s\n", input.nr_files, input.used,
	       input.used == input.limit ? ", which is the limit (-l)" : "");
	if (!input.used)
		return;
	print_top("byte", plain, 0, OTHER_WORDS);
	print_top("word", plain, FIRST_WORD, nr);
	printf("\n%.0f words: %zu different ones, and %jd that found no counter of their own\n",
	       total(plain, OTHER_WORDS, nr), nr - FIRST_WORD, (intmax_t)plain[OTHER_WORDS].plain);
	printf("%.0f increments by %u threads; all %zu counters stand where one thread's do\n",
	       increments, options.nr_threads, nr);
	if (rseq->nr)
		printf("rseq on %u threads%s%s\n", options.nr_threads - rseq->without_rseq,
		       rseq->without_rseq ? ", off on the others: " : "",
		       rseq->without_rseq ? rseq_reason_string(rseq->reason) : "");

	printf("\nmedians of %d rounds, in which the modes took turns:\n"
	       "%-7s %8s %6s %8s %7s  time/%-6s  %s\n", base->rounds, "mode", "seconds", "MB/s",
	       "M incr/s", "ns/incr", mode_name[base->mode], "counters");
	for (pass = passes; pass < &passes[NR_MODES]; pass++) {
		if (!pass->nr)
			continue;
		seconds = pass->seconds[median];
		printf("%-7s %8.3f %6.0f %8.1f %7.2f  %11.2f  %s\n", mode_name[pass->mode],
		       seconds, (double)input.used / seconds * 1e-6, increments / seconds * 1e-6,
		       seconds / increments * 1e9, seconds / base->seconds[median],
		       mode_is[pass->mode]);
	}
}

static unsigned int parse_number(int option, const char *text, unsigned int max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < 1 || n > max)
		die(2, "-%c wants a number from 1 to %u, not '%s'", option, max, text);
	return (unsigned int)n;
}

static unsigned int parse_modes(const char *text)
{
	unsigned int mode, found = 0;

	for (mode = MODE_RSEQ; mode < NR_MODES; mode++) {
		if (!strcmp(text, "all") || !strcmp(text, mode_name[mode]))
			found |= 1U << mode;
	}
	if (!found)
		die(2, "-m wants rseq, atomic, mutex or all, not '%s'", text);
	return found | 1U << MODE_PLAIN;
}

static void parse_options(int argc, char **argv)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	int option;

	options.nr_threads = online > 0 ? (unsigned int)online : 1;
	options.modes = parse_modes(mode_name[MODE_RSEQ]);
	opterr = 0;
	while ((option = getopt(argc, argv, "j:m:l:q")) != -1) {
		if (option == 'j')
			options.nr_threads = parse_number('j', optarg, 1 << 16);
		else if (option == 'm')
			options.modes = parse_modes(optarg);
		else if (option == 'l')
			input.limit = parse_number('l', optarg, 1 << 20) * MIB;
		else if (option == 'q')
			options.quiet = true;
		else
			die(2, "no option -%c, or no value for it", optopt);
	}
	if (optind == argc)
		die(2, "usage: %s PATH...",
		    "histogram [-j THREADS] [-m rseq|atomic|mutex|all] [-l MIB] [-q]");
	options.progress = !options.quiet && isatty(STDERR_FILENO);
}

int main(int argc, char **argv)
{
	struct pass *pass;
	double begin;
	int rounds;
	size_t i;

	parse_options(argc, argv);
	read_input(argv + optind);

	begin = now();
	for (rounds = 0; rounds < MAX_ROUNDS && now() - begin < MAX_SECONDS; rounds++) {
		for (pass = passes; pass < &passes[NR_MODES]; pass++) {
			pass->mode = (enum mode)(pass - passes);
			if (options.modes & 1U << pass->mode)
				run_pass(pass);
		}
	}
	for (i = 0; i < passes[MODE_PLAIN].nr; i++)
		passes[MODE_PLAIN].counters[i].plain /= rounds;
	if (!options.quiet)
		print_result();

	for (pass = passes; pass < &passes[NR_MODES]; pass++)
		counters_destroy(pass);
	free(input.data);
	free(input.chunks);
	if (input.nr_skipped)
		fprintf(stderr, "histogram: skipped %zu, the first: %s\n", input.nr_skipped,
			input.skipped);
	if (fflush(stdout) || ferror(stdout))
		die(1, "cannot write the result: %s", strerror(errno));
	return 0;
}
