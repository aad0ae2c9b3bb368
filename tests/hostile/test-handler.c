/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers between any two instructions of whole operations, slow paths included, that work
 * on the same structure. A tracer steps through an operation once, to learn its instructions: it
 * takes the descriptor of a section out of the thread's area after each step, so that the kernel
 * lets the section go on. Then the operation is run once for each instruction and handler, with a
 * breakpoint there, and once with the handler after every instruction, where no section commits.
 */
#define _GNU_SOURCE

#include "arch.h"
#include "handler.h"

#include <rseq/info.h>

#include <elf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define MAX_POINTS	20000
#define MAX_STEPS	1000000
#define MAX_HITS	4		/* of one instruction in a loop; the rest is like these */
#define MAX_ACTS	200		/* of a handler, in one run */
#define MAX_TRIES	3		/* of a point; a section may be aborted on the way */
#define ALT_BYTES	65536

/* Told by the tracer, and asked by it. */
static struct shared {
	const struct subject *subject;
	const struct deed *deed, *handler;
	char state;
	bool storm;
	bool stop;			/* in the end of the handler */
	int complaints;
	int handled;
} *shared;

static struct {
	uintptr_t pc;
	int hit;			/* how often it was executed before */
} points[MAX_POINTS];
static int nr_points;

static int nr_handled;			/* in the tracee */
static pid_t tracee;
extern const char __executable_start[];

static bool lost;
static uintptr_t interrupted_at;
static unsigned long nr_runs, nr_storms, nr_missed, nr_skipped;

/* ---- the thread that is interrupted ---- */

static void on_signal(int signal)
{
	int saved_errno = errno;

	(void)signal;
	nr_handled++;
	in_handler = true;
	/* A reader may start over for as long as others write. */
	if (shared->handler && nr_acts < MAX_ACTS) {
		nr_acts++;
		shared->handler->run();
	}
	in_handler = false;
	errno = saved_errno;
	if (shared->stop)
		arch_stop_here();
}

static void be_interrupted(void)
{
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	static unsigned char alternate[ALT_BYTES];
	const stack_t alternate_stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	sigset_t mask;

	check(!sigaltstack(&alternate_stack, NULL) && !sigaction(SIGUSR1, &action, NULL));
	shared->subject->create();
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(SUPPORT_SKIP);
	for (;;) {
		arch_stop_here();
		nr_handled = nr_acts = 0;
		shared->subject->prepare(shared->state, shared->deed);
		errno = 4321;
		arch_stop_here();
		shared->deed->run();
		arch_stop_here();
		shared->handled = nr_handled;
		check(!sigprocmask(SIG_BLOCK, NULL, &mask) && !sigismember(&mask, SIGUSR1));
		shared->subject->judge();
		shared->complaints = works_complaints();
	}
}

/* ---- the tracer ---- */

static void violation(const char *what, uintptr_t pc)
{
	fprintf(stderr, "%s, %s, state %c, handler %s%s: %s (%#jx)\n", shared->subject->name,
		shared->deed->name, shared->state,
		shared->handler ? shared->handler->name : "none", shared->storm ? ", storm" : "",
		what, pc ? (uintmax_t)(pc - (uintptr_t)__executable_start) : 0);
	works_complain(__FILE__, __LINE__, what);
}

static void get_regs(struct arch_regs *regs)
{
	struct iovec vector = { regs, sizeof(*regs) };

	if (ptrace(PTRACE_GETREGSET, tracee, NT_PRSTATUS, &vector))
		memset(regs, 0, sizeof(*regs));
}

static uintptr_t get_pc(void)
{
	struct arch_regs regs;

	get_regs(&regs);
	return arch_pc(&regs);
}

/* The area is at the same address as the tracer's own, whose copy the tracee is. */
static char *armed_word(void)
{
	return (char *)rseq_get_abi() + offsetof(struct rseq_abi, rseq_cs);
}

/* So that the kernel lets a section go on; and back again, so that it does not any more. */
static long descriptor;

static void disarm(void)
{
	long armed = ptrace(PTRACE_PEEKDATA, tracee, armed_word(), NULL);

	if (!armed)
		return;
	descriptor = armed;
	ptrace(PTRACE_POKEDATA, tracee, armed_word(), 0);
}

static void arm(void)
{
	if (descriptor && !ptrace(PTRACE_PEEKDATA, tracee, armed_word(), NULL))
		ptrace(PTRACE_POKEDATA, tracee, armed_word(), descriptor);
}

/* Returns whether it stopped at a trap. A signal that was blocked when it was sent comes later. */
static bool go_on(unsigned int request, int signal)
{
	int status = 0;

	while (!lost) {
		if (ptrace(request, tracee, NULL, (void *)(uintptr_t)signal) ||
		    waitpid(tracee, &status, 0) != tracee)
			break;
		if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
			return true;
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGUSR1)
			break;
		signal = SIGUSR1;
	}
	if (!lost)
		violation(WIFSTOPPED(status) ? strsignal(WSTOPSIG(status)) : "it has ended",
			  WIFSTOPPED(status) ? get_pc() : 0);
	lost = true;
	return false;
}

static bool is_trap(uintptr_t pc)
{
	return !memcmp((void *)pc, arch_trap_insn, arch_trap_bytes);
}

/* From a trap that the thread has run into. */
static void leave_trap(void)
{
	struct arch_regs regs;
	struct iovec vector = { &regs, sizeof(regs) };

	if (arch_trap_pc_offset)
		return;
	get_regs(&regs);
	arch_set_pc(&regs, arch_pc(&regs) + arch_trap_bytes);
	ptrace(PTRACE_SETREGSET, tracee, NT_PRSTATUS, &vector);
}

static bool run_to_trap(void)
{
	leave_trap();
	return go_on(PTRACE_CONT, 0);
}

/* The code there, with a trap in its place or without; from there on as the tracer has it. */
static void plant(uintptr_t pc, bool trap)
{
	unsigned long word;

	memcpy(&word, (const void *)pc, sizeof(word));
	if (trap)
		memcpy(&word, arch_trap_insn, arch_trap_bytes);
	if (ptrace(PTRACE_POKETEXT, tracee, pc, word))
		violation("no trap can be planted", pc);
}

/* Runs to a trap that is planted, which is much faster than a breakpoint of the machine. */
static bool run_to(uintptr_t pc)
{
	struct arch_regs regs;
	struct iovec vector = { &regs, sizeof(regs) };

	plant(pc, true);
	if (!go_on(PTRACE_CONT, 0))
		return false;
	plant(pc, false);
	get_regs(&regs);
	if (arch_pc(&regs) != pc + arch_trap_pc_offset)
		return false;
	arch_set_pc(&regs, pc);
	return !ptrace(PTRACE_SETREGSET, tracee, NT_PRSTATUS, &vector);
}

/* By one instruction, or by some that cannot be done one by one. */
static bool step(int signal)
{
	const size_t bytes = signal ? 0 : arch_unsteppable_bytes((void *)get_pc());

	if (!bytes)
		return go_on(PTRACE_SINGLESTEP, signal);
	return run_to(get_pc() + bytes);
}

static void end_tracee(void)
{
	if (tracee <= 0)
		return;
	kill(tracee, SIGKILL);
	while (waitpid(tracee, NULL, __WALL) < 0 && errno == EINTR)
		;
	tracee = 0;
}

static bool start_tracee(void)
{
	int status;

	end_tracee();
	lost = false;
	tracee = fork();
	if (!tracee)
		be_interrupted();
	if (tracee < 0 || waitpid(tracee, &status, 0) != tracee || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, tracee, NULL, PTRACE_O_EXITKILL)) {
		lost = true;
		return false;
	}
	return true;
}

/* To where the deed begins. */
static bool begin(const struct deed *handler, bool storm)
{
	if ((lost || shared->state == FIRST) && !start_tracee())
		return false;
	shared->handler = handler;
	shared->storm = storm;
	if (!run_to_trap())
		return false;
	leave_trap();
	return true;
}

/* From its end, to where the next one can begin. */
static bool end(int least, int most)
{
	const int before = shared->complaints;

	if (!run_to_trap())
		return false;
	if (shared->complaints != before)
		violation("the outcome is wrong", interrupted_at);
	if (shared->handled < least || shared->handled > most)
		violation("the handler was called too often, or not at all", interrupted_at);
	if (works_complaints())
		lost = true;
	return !lost;
}

/* How often this instruction was seen before. */
static int count_hit(uintptr_t pc)
{
	static struct {
		uintptr_t pc;
		int hits;
	} seen[4 * MAX_POINTS];
	size_t slot = pc % (4 * MAX_POINTS);

	if (!pc) {
		memset(seen, 0, sizeof(seen));
		return 0;
	}
	while (seen[slot].pc && seen[slot].pc != pc)
		slot = (slot + 1) % (4 * MAX_POINTS);
	seen[slot].pc = pc;
	return seen[slot].hits++;
}

/* What is only done the first time is what the state FIRST is for. */
static bool run_once(void)
{
	return shared->state == FIRST ||
	       (begin(NULL, false) && go_on(PTRACE_CONT, 0) && end(0, 0));
}

/* Learns the instructions of the deed. */
static bool trace(void)
{
	uintptr_t pc;

	nr_points = 0;
	count_hit(0);
	if (!begin(NULL, false))
		return false;
	for (pc = get_pc(); !is_trap(pc); pc = get_pc()) {
		int hit = count_hit(pc);

		if (nr_points == MAX_POINTS) {
			violation("it does not end", pc);
			return false;
		}
		if (hit < MAX_HITS) {
			points[nr_points].pc = pc;
			points[nr_points++].hit = hit;
		}
		if (!step(0))
			return false;
		disarm();
	}
	return go_on(PTRACE_CONT, 0) && end(0, 0);
}

/* Runs to a point. False if it came to its end instead, or was lost. */
static bool run_to_point(int point)
{
	const uintptr_t pc = points[point].pc;

	descriptor = 0;
	for (int hit = 0;; hit++) {
		if ((get_pc() != pc || hit) && !run_to(pc))
			return false;
		if (hit == points[point].hit) {
			arm();
			return true;
		}
		disarm();
		if (!step(0))
			return false;
		disarm();
	}
}

/* Returns false if the point was not reached. */
static bool interrupt_at(int point, const struct deed *handler)
{
	if (!begin(handler, false))
		return true;
	if (!run_to_point(point)) {
		end(0, 0);
		return false;
	}
	nr_runs++;
	interrupted_at = points[point].pc;
	if (go_on(PTRACE_CONT, SIGUSR1))
		end(1, 1);
	interrupted_at = 0;
	return true;
}

/*
 * From the begin of the handler to where it has returned to: that is the last step. Where that is
 * made, it is found by steps the first time.
 */
static bool run_handler(uint64_t sp)
{
	static uintptr_t last_pc;
	uintptr_t pc;
	struct arch_regs regs;

	shared->stop = !last_pc;
	if (!last_pc) {
		if (!go_on(PTRACE_CONT, 0))
			return false;
		leave_trap();
		shared->stop = false;
	} else if (!run_to(last_pc)) {
		return false;
	}
	do {
		pc = get_pc();
		if (!step(0))
			return false;
		get_regs(&regs);
	} while (arch_sp(&regs) != sp);
	last_pc = pc;
	return true;
}

/* A handler after each instruction; a signal that is blocked comes later. */
static void storm(const struct deed *handler)
{
	bool pending = false, after_handler = false;
	struct arch_regs regs;
	uint64_t sp;

	if (!begin(handler, true))
		return;
	for (int i = 0; get_regs(&regs), !is_trap(arch_pc(&regs)); i++) {
		const bool send = !pending && !after_handler;

		if (i == MAX_STEPS) {
			violation("it does not end", arch_pc(&regs));
			lost = true;
			return;
		}
		sp = arch_sp(&regs);
		if (!step(send ? SIGUSR1 : 0))
			return;
		pending |= send;
		after_handler = get_pc() == (uintptr_t)on_signal;
		if (after_handler && !run_handler(sp))
			return;
		pending &= !after_handler;
	}
	nr_storms++;
	if (go_on(PTRACE_CONT, 0))
		end(1, INT_MAX);
}

static bool is_tried(const struct deed *deed, const struct deed *handler)
{
	if (!handler->in_handlers)
		return false;
	if (deed->sometimes && !deed->in_handlers)
		return handler == shared->subject->deeds;
	return deed == handler || (!deed->sometimes && !handler->sometimes);
}

static void interrupt_by(const struct deed *handler)
{
	for (int point = 0; point < nr_points && !lost; point++) {
		bool reached = false;

		for (int try = 0; try < MAX_TRIES && !reached; try++)
			reached = interrupt_at(point, handler);
		nr_missed += !reached;
	}
	if (!lost)
		storm(handler);
}

static void try_deed(void)
{
	const struct deed *deeds = shared->subject->deeds;
	unsigned long runs = nr_runs;

	nr_missed = 0;
	if (shared->deed->only_in_handlers || !run_once() || !trace())
		return;
	for (size_t i = 0; i < shared->subject->nr_deeds && !lost; i++)
		if (is_tried(shared->deed, &deeds[i]))
			interrupt_by(&deeds[i]);
	printf("%-20s %c %-12s %5d instructions, %6lu runs, %lu points not reached\n",
	       shared->subject->name, shared->state, shared->deed->name, nr_points,
	       nr_runs - runs, nr_missed);
	nr_skipped += shared->subject->varies ? 0 : nr_missed;
	fflush(stdout);
}

/*
 * Once a thread is registered it does not matter by whom. Where none is, there is one kind of
 * threads.
 */
static bool is_of_interest(char state)
{
	struct rseq_info info = { .size = sizeof(info) };

	if (rseq_get_info(&info) || info.reason == RSEQ_REASON_DISABLED)
		return state != MIXED && state != FIRST;
	return info.owner == RSEQ_OWNER_LIBC || state == FIRST ||
	       shared->subject == &thread_subject;
}

static void try_subject(void)
{
	for (const char *state = shared->subject->states; *state && !lost; state++) {
		if (!is_of_interest(*state))
			continue;
		shared->state = *state;
		start_tracee();
		for (size_t i = 0; i < shared->subject->nr_deeds && !lost; i++) {
			shared->deed = &shared->subject->deeds[i];
			if (*state != FIRST || !i)
				try_deed();
		}
	}
	end_tracee();
}

static int run(char **argv)
{
	struct support_cpus cpus;

	(void)argv;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	support_find_cpus(&cpus);
	check(!support_move(0, cpus.cpu[0]));	/* both on one are five times faster */
	shared->subject = subjects[0];
	if (!start_tracee()) {
		printf("skipped: a process may not be traced here\n");
		return SUPPORT_SKIP;
	}
	for (size_t i = 0; i < nr_subjects && !works_complaints(); i++) {
		shared->subject = subjects[i];
		if (!argv[1] || strstr(shared->subject->name, argv[1]))
			try_subject();
	}
	printf("%lu runs with a signal, %lu with one after each instruction\n", nr_runs, nr_storms);
	check(nr_runs > 0 && nr_storms > 0);
	/* Another thread, or the machine, may interrupt as well. */
	check(nr_skipped * 100 <= nr_runs);
	return 0;
}

int main(int argc, char **argv)
{
	const char *emulator = getenv("RSEQ_EMULATOR");

	(void)argc;
	if (emulator && *emulator) {
		printf("skipped: an emulator does not trace\n");
		return SUPPORT_SKIP;
	}
	return works_run_all_ways(argv, run);
}
