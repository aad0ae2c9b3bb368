/* SPDX-License-Identifier: MIT */
/*
 * fake-kernel: runs a program, and all that it starts, as if another kernel were below it.
 *
 *	fake-kernel [OPTION]... PROGRAM [ARGUMENT]...
 *	-f BYTES, -a BYTES	AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN; "none" for a kernel without
 *	-l [WHO:]LENGTH		the greatest length that rseq() takes from WHO: "first", calls for
 *				the same area as a program's first, which are libc's where libc
 *				registers; "later", all others; "all", unless given
 *	-e [WHO:]ERRNO		rseq() answers with this number to WHO
 *	-r RELEASE, -v VERSION	what uname() tells
 *	-o FILE			a line for each call: what, length, and the result
 *
 * The program is traced. Its rseq() calls are judged by the length and alignment rules of such a
 * kernel; what passes is done by the real one with length 32, whatever the program asked for, so
 * that every kernel will do. Exit status: the program's; 77 where tracing is not permitted; or 1 if
 * a thread freed the area that it had registered, which a kernel may punish with SIGSEGV.
 */
#define _GNU_SOURCE

#include "fake-kernel.h"

#include <rseq/abi.h>

#include <elf.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AT_RSEQ_FEATURE_SIZE
# define AT_RSEQ_FEATURE_SIZE	27
# define AT_RSEQ_ALIGN		28
#endif

#define NOT_TRACED	77
#define MAX_TASKS	4096
#define KEEP		-1L		/* of a number: as the real kernel has it */

struct answers {
	unsigned long greatest_length;
	int error;
};

static struct {
	long feature_size, align;	/* 0: none */
	struct answers first, later;
	const char *release, *version;
	FILE *log;
} fake = {
	.feature_size = KEEP, .align = KEEP,
	.first = { .greatest_length = ~0UL }, .later = { .greatest_length = ~0UL },
};

static bool area_was_freed;

/* A traced thread. */
struct task {
	pid_t tid;			/* 0: the place is free */
	bool announced;			/* its creator's event has come */
	bool stopped_at_start;
	unsigned int length;		/* registered, as this kernel has it; 0: not */
	unsigned long area;
	bool called;			/* it, or its creators in this program, called rseq() */
	unsigned long first;		/* then: the first call's area, from the thread pointer */
	bool in_call;			/* stopped at the entry of one that passes */
	struct call call;
};

static struct task tasks[MAX_TASKS];

static struct task *find_task(pid_t tid)
{
	struct task *unused = NULL;

	for (int i = 0; i < MAX_TASKS; i++) {
		if (tasks[i].tid == tid)
			return &tasks[i];
		if (!tasks[i].tid && !unused)
			unused = &tasks[i];
	}
	if (!unused) {
		fprintf(stderr, "fake-kernel: too many threads\n");
		exit(1);
	}
	*unused = (struct task){ .tid = tid };
	return unused;
}

static unsigned long peek(pid_t tid, unsigned long address)
{
	return (unsigned long)ptrace(PTRACE_PEEKDATA, tid, address, NULL);
}

static void poke(pid_t tid, unsigned long address, unsigned long word)
{
	if (ptrace(PTRACE_POKEDATA, tid, address, word)) {
		perror("fake-kernel: PTRACE_POKEDATA");
		exit(1);
	}
}

/* Where the auxiliary vector of a program begins that has not run yet. */
static unsigned long find_auxv(pid_t tid)
{
	unsigned long at = arch_stack_pointer(tid);

	at += 8 * (peek(tid, at) + 2);		/* argc, argv, NULL */
	while (peek(tid, at))
		at += 8;			/* environment */
	return at + 8;
}

/*
 * Gives an entry another value, or takes it away. One that is not there takes the place of an entry
 * that programs can do without.
 */
static void set_auxv(pid_t tid, unsigned long auxv, unsigned long type, unsigned long instead,
		long value)
{
	unsigned long at = 0, spare = 0, seen;

	if (value == KEEP)
		return;
	for (; (seen = peek(tid, auxv)) != AT_NULL; auxv += 16) {
		if (seen == type)
			at = auxv;
		else if (seen == instead)
			spare = auxv;
	}
	if (!value) {
		if (at)
			poke(tid, at, AT_IGNORE);
		return;
	}
	if (!at)
		at = spare;
	if (!at) {
		fprintf(stderr, "fake-kernel: no room in the auxiliary vector\n");
		exit(1);
	}
	poke(tid, at, type);
	poke(tid, at + 8, (unsigned long)value);
}

static void on_exec(struct task *task)
{
	unsigned long auxv = find_auxv(task->tid);

	task->length = 0;
	task->called = false;
	task->in_call = false;
	set_auxv(task->tid, auxv, AT_RSEQ_FEATURE_SIZE, AT_FLAGS, fake.feature_size);
	set_auxv(task->tid, auxv, AT_RSEQ_ALIGN, AT_CLKTCK, fake.align);
}

static unsigned long or_real(long number, unsigned long type)
{
	return number == KEEP ? getauxval(type) : (unsigned long)number;
}

/* The rules of kernel/rseq.c for a thread that is not registered: 0 or an errno. */
static int judge_registration(const struct call *call, unsigned long greatest_length)
{
	unsigned long area = call->arguments[0], length = (unsigned int)call->arguments[1];
	unsigned long feature_size = or_real(fake.feature_size, AT_RSEQ_FEATURE_SIZE);
	unsigned long align = or_real(fake.align, AT_RSEQ_ALIGN);

	if (length == RSEQ_ABI_ORIG_SIZE)
		return area % 32 ? EINVAL : 0;
	if (length < RSEQ_ABI_ORIG_SIZE || length > greatest_length || !feature_size)
		return EINVAL;
	return length < feature_size || area % (align ? align : 32) ? EINVAL : 0;
}

static bool is_for_an_area(const struct call *call)
{
	return !((int)call->arguments[2] & ~RSEQ_ABI_FLAG_UNREGISTER);
}

static const struct answers *find_answers(struct task *task, const struct call *call)
{
	unsigned long offset;

	if (!is_for_an_area(call))
		return &fake.later;
	offset = call->arguments[0] - arch_thread_pointer(task->tid);
	if (!task->called)
		task->first = offset;
	task->called = true;
	return offset == task->first ? &fake.first : &fake.later;
}

static int judge(struct task *task, const struct call *call)
{
	unsigned int length = (unsigned int)call->arguments[1];
	const struct answers *answers = find_answers(task, call);

	if (answers->error)
		return answers->error;
	if (!is_for_an_area(call))
		return 0;		/* the real kernel knows */
	if (task->length)
		return length == task->length ? 0 : EINVAL;
	if (call->arguments[2])
		return EINVAL;
	return judge_registration(call, answers->greatest_length);
}

static void log_call(const struct call *call, int error)
{
	if (!fake.log || !is_for_an_area(call))
		return;
	/* Nobody means to register the kernel's memory. */
	if ((long)call->arguments[0] < 0)
		return;
	fprintf(fake.log, "%s %u %d\n", call->arguments[2] ? "unregister" : "register",
		(unsigned int)call->arguments[1], error);
	fflush(fake.log);
}

static void check_memory(const struct task *task, const struct call *call)
{
	if (!task->length || task->area - call->arguments[0] >= call->arguments[1])
		return;
	fprintf(stderr, "fake-kernel: thread %d frees its registered area\n", (int)task->tid);
	area_was_freed = true;
}

/* Returns how the thread goes on: to the end of the call, or with its answer at once. */
static PTRACE_REQUEST on_call(struct task *task)
{
	int error;

	arch_get_call(task->tid, &task->call);
	if (task->call.number == SYS_munmap) {
		check_memory(task, &task->call);
		return PTRACE_CONT;
	}
	if (task->call.number == SYS_rseq) {
		error = judge(task, &task->call);
		if (error) {
			log_call(&task->call, error);
			arch_answer_call(task->tid, -error);
			return PTRACE_CONT;
		}
		if (task->length || !((int)task->call.arguments[2] & RSEQ_ABI_FLAG_UNREGISTER))
			arch_set_argument(task->tid, 1, RSEQ_ABI_ORIG_SIZE);
	}
	task->in_call = true;
	return PTRACE_SYSCALL;
}

static void write_text(pid_t tid, unsigned long address, const char *text)
{
	char words[64] = "";

	snprintf(words, sizeof(words), "%s", text);
	for (size_t i = 0; i < sizeof(words); i += sizeof(unsigned long)) {
		unsigned long word;

		memcpy(&word, words + i, sizeof(word));
		poke(tid, address + i, word);
	}
}

static void on_call_end(struct task *task)
{
	const struct call *call = &task->call;
	long result = arch_result(task->tid);

	task->in_call = false;
	if (call->number == SYS_uname) {
		if (fake.release)
			write_text(task->tid, call->arguments[0] +
				   offsetof(struct utsname, release), fake.release);
		if (fake.version)
			write_text(task->tid, call->arguments[0] +
				   offsetof(struct utsname, version), fake.version);
		return;
	}
	arch_set_argument(task->tid, 1, call->arguments[1]);
	log_call(call, (int)-result);
	if (result)
		return;
	task->length = call->arguments[2] ? 0 : (unsigned int)call->arguments[1];
	task->area = call->arguments[0];
}

/* A thread starts without a registration, the child of fork() with its parent's. */
static void on_creation(const struct task *creator, bool is_fork)
{
	unsigned long tid = 0;
	struct task *task;

	if (ptrace(PTRACE_GETEVENTMSG, creator->tid, NULL, &tid))
		return;
	task = find_task((pid_t)tid);
	task->announced = true;
	task->called = creator->called;
	task->first = creator->first;
	task->length = is_fork ? creator->length : 0;
	task->area = creator->area;
	if (task->stopped_at_start)
		ptrace(PTRACE_CONT, task->tid, NULL, NULL);
}

static void on_stop(pid_t tid, int status)
{
	PTRACE_REQUEST how = PTRACE_CONT;
	struct task *task = find_task(tid);
	int signal = WSTOPSIG(status), event = status >> 16;

	if (signal == (SIGTRAP | 0x80)) {
		on_call_end(task);
		signal = 0;
	} else if (event) {
		signal = 0;
		if (event == PTRACE_EVENT_EXEC)
			on_exec(task);
		else if (event == PTRACE_EVENT_SECCOMP)
			how = on_call(task);
		else
			on_creation(task, event == PTRACE_EVENT_FORK);
	} else if (signal == SIGSTOP && !task->stopped_at_start) {
		task->stopped_at_start = true;
		if (!task->announced)
			return;			/* until its creator's event has come */
		signal = 0;
	}
	if (task->in_call)
		how = PTRACE_SYSCALL;
	ptrace(how, tid, NULL, (long)signal);
}

/* Returns the exit status of the program. */
static int trace(pid_t program)
{
	int status, result = 1;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid < 0)
			continue;
		if (WIFSTOPPED(status)) {
			on_stop(tid, status);
			continue;
		}
		find_task(tid)->tid = 0;
		if (tid == program)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	return result;
}

static int trap_calls(void)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rseq, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_uname, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
	};
	const struct sock_fprog program = {
		.len = sizeof(instructions) / sizeof(instructions[0]),
		.filter = instructions,
	};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void run_program(char **arguments)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) {
		printf("skipped: tracing is not permitted: %s\n", strerror(errno));
		exit(NOT_TRACED);
	}
	raise(SIGSTOP);
	if (trap_calls()) {
		printf("skipped: seccomp filters are not permitted: %s\n", strerror(errno));
		exit(NOT_TRACED);
	}
	execvp(arguments[0], arguments);
	perror(arguments[0]);
	exit(127);
}

/* Of [WHO:]NUMBER; sets where this is to go, twice the same if to one place only. */
static unsigned long parse_answer(const char *text, struct answers *answers[2])
{
	const char *colon = strchr(text, ':');

	answers[0] = !strncmp(text, "later:", 6) ? &fake.later : &fake.first;
	answers[1] = !strncmp(text, "first:", 6) ? &fake.first : &fake.later;
	return strtoul(colon ? colon + 1 : text, NULL, 10);
}

static void parse_length(const char *text)
{
	struct answers *answers[2];
	unsigned long length = parse_answer(text, answers);

	answers[0]->greatest_length = answers[1]->greatest_length = length;
}

static void parse_error(const char *text)
{
	struct answers *answers[2];
	unsigned long error = parse_answer(text, answers);

	answers[0]->error = answers[1]->error = (int)error;
}

static bool parse_options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "+f:a:l:e:r:v:o:")) != -1) {
		if (option == 'f')
			fake.feature_size = atol(optarg);
		else if (option == 'a')
			fake.align = atol(optarg);
		else if (option == 'l')
			parse_length(optarg);
		else if (option == 'e')
			parse_error(optarg);
		else if (option == 'r')
			fake.release = optarg;
		else if (option == 'v')
			fake.version = optarg;
		else if (option == 'o')
			fake.log = fopen(optarg, "we");
		else
			return false;
	}
	return optind < argc;
}

int main(int argc, char **argv)
{
	const unsigned long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD |
			PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE |
			PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
	struct task *task;
	pid_t program;
	int status;

	if (!parse_options(argc, argv)) {
		fprintf(stderr, "usage: see the comment at the top of fake-kernel.c\n");
		return 2;
	}
	program = fork();
	if (!program)
		run_program(argv + optind);
	if (program < 0 || waitpid(program, &status, 0) != program)
		return 1;
	if (!WIFSTOPPED(status))
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	task = find_task(program);
	task->announced = true;
	task->stopped_at_start = true;
	if (ptrace(PTRACE_SETOPTIONS, program, NULL, options) ||
	    ptrace(PTRACE_CONT, program, NULL, NULL)) {
		printf("skipped: tracing is not permitted: %s\n", strerror(errno));
		kill(program, SIGKILL);
		return NOT_TRACED;
	}
	status = trace(program);
	return status ? status : area_was_freed;
}
