/* SPDX-License-Identifier: MIT */
/*
 * tracee.c: see tracee.h.
 */
#include "tracee.h"

#include "support.h"

#include <elf.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <time.h>

/* Nanoseconds of CPU time that the second thread uses at a time, and of a look at it. */
#define OCCUPIED_NS		50000000L
#define LOOK_NS			20000L

/* Seconds of its own CPU time that a run may take, and of waiting for it. */
#define MAX_CPU_SECONDS		5
#define MAX_SECONDS		300

struct tracee *tracee;

static pid_t pid;
static struct arch_regs idle;		/* at the trap that it begins with */
static uintptr_t break_address;		/* of the breakpoint that is set, or 0 */
static bool planted;			/* as a trap */

static void on_signal(int signal)
{
	(void)signal;
	tracee->handled++;
	tracee->handled_id = current_id(tracee->mode);
	tracee->handled_well = data_knows(tracee->handled_id) &&
			       conflict_run(tracee->conflict, tracee->mode, tracee->handled_id,
					    real_run);
}

static long thread_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (long)time.tv_sec * 1000000000L + time.tv_nsec;
}

/* Not everybody may; all of this works without, but waits for its turn on a busy machine. */
void set_priority(int priority)
{
	const struct sched_param parameters = { .sched_priority = priority };

	sched_setscheduler(0, SCHED_FIFO, &parameters);
}

static void *occupy(void *unused)
{
	long begin;

	(void)unused;
	set_priority(OCCUPANT_PRIORITY);
	for (;;) {
		while (!RSEQ_READ_ONCE(tracee->occupy))
			syscall(SYS_futex, &tracee->occupy, FUTEX_WAIT, 0, NULL, NULL, 0);
		RSEQ_WRITE_ONCE(tracee->occupied, true);
		begin = thread_ns();
		while (RSEQ_READ_ONCE(tracee->occupy) && thread_ns() - begin < OCCUPIED_NS)
			;
		RSEQ_WRITE_ONCE(tracee->occupy, 0);
		RSEQ_WRITE_ONCE(tracee->occupied, false);
	}
	return NULL;
}

/* Waits for as long as the other thread may take to get the CPU, but not for ever. */
static void wait_for_occupied(bool occupied)
{
	const struct timespec look = { 0, LOOK_NS };

	for (int i = 0; RSEQ_READ_ONCE(tracee->occupied) != occupied && i < 10000; i++)
		nanosleep(&look, NULL);
}

void tracee_occupy(void)
{
	RSEQ_WRITE_ONCE(tracee->occupy, 1);
	syscall(SYS_futex, &tracee->occupy, FUTEX_WAKE, 1, NULL, NULL, 0);
	wait_for_occupied(true);
}

void tracee_vacate(void)
{
	RSEQ_WRITE_ONCE(tracee->occupy, 0);
	wait_for_occupied(false);
}

/* Its registers at the trap are what every function starts from. */
static void run_tracee(void)
{
	pthread_t thread;

	set_priority(TRACEE_PRIORITY);
	tracee->occupy = 0;
	tracee->occupied = false;
	if (pthread_create(&thread, NULL, occupy, NULL))
		_exit(EAGAIN);
	signal(TRACEE_SIGNAL, on_signal);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(errno);
	arch_stop_here();
	_exit(EPERM);
}

static void move(pid_t thread, int cpu)
{
	if (support_move(thread, cpu))
		perror("sched_setaffinity");
}

int tracee_start(int cpu)
{
	int status;

	if (!tracee) {
		tracee = mmap(NULL, sizeof(*tracee), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (tracee == MAP_FAILED)
			return errno;
	}
	fflush(stdout);
	move(0, cpu);			/* inherited; and one CPU for both is five times faster */
	pid = fork();
	if (pid < 0)
		return errno;
	if (!pid)
		run_tracee();
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (!WIFSTOPPED(status))
		return ECHILD;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL)) {
		tracee_end();
		return EPERM;
	}
	tracee_regs(&idle);
	break_address = 0;
	return 0;
}

void tracee_end(void)
{
	int status;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) == pid || errno == EINTR)
		if (WIFEXITED(status) || WIFSIGNALED(status))
			break;
	pid = 0;
}

void tracee_move(int cpu)
{
	move(pid, cpu);
}

void tracee_set(const unsigned int *variable, unsigned int value)
{
	const struct iovec from = { &value, sizeof(value) };
	const struct iovec to = { (void *)(uintptr_t)variable, sizeof(value) };

	if (process_vm_writev(pid, &from, 1, &to, 1, 0) != sizeof(value))
		perror("process_vm_writev");
}

void tracee_begin(uintptr_t function)
{
	struct arch_regs regs = idle;

	arch_call(&regs, function, &tracee->call, tracee->stack + TRACEE_STACK - 64);
	tracee_set_regs(&regs);
	tracee_arm(0);
}

static double cpu_seconds(void)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		return 0;
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The caller's timer interrupts the wait every second. */
static bool wait_for_stop(int *status)
{
	double begin = 0;

	for (int seconds = 0; waitpid(pid, status, 0) != pid; seconds++) {
		if (errno != EINTR)
			return false;
		if (!seconds)
			begin = cpu_seconds();
		if (cpu_seconds() - begin > MAX_CPU_SECONDS || seconds > MAX_SECONDS)
			return false;
	}
	return true;
}

/* Signals of the terminal and the like are passed on. */
static bool is_fault(int signal)
{
	return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
	       signal == SIGSYS || signal == SIGABRT;
}

enum stop tracee_run(PTRACE_REQUEST request, int *signal)
{
	int status, send = *signal;

	for (;;) {
		if (ptrace(request, pid, NULL, (void *)(uintptr_t)send) || !wait_for_stop(&status))
			return STOP_STUCK;
		if (!WIFSTOPPED(status)) {
			*signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
			pid = 0;
			return STOP_DEAD;
		}
		send = *signal = WSTOPSIG(status);
		if (*signal == SIGTRAP)
			return STOP_TRAP;
		if (is_fault(*signal))
			return STOP_SIGNAL;
	}
}

static void transfer(PTRACE_REQUEST request, int set, void *data, size_t size)
{
	struct iovec vector = { data, size };

	if (ptrace(request, pid, set, &vector))
		perror("ptrace: registers");
}

void tracee_regs(struct arch_regs *regs)
{
	transfer(PTRACE_GETREGSET, NT_PRSTATUS, regs, sizeof(*regs));
}

void tracee_set_regs(const struct arch_regs *regs)
{
	struct arch_regs copy = *regs;

	transfer(PTRACE_SETREGSET, NT_PRSTATUS, &copy, sizeof(copy));
}

static int vector_set = ARCH_VECTOR_SET;

void tracee_vectors(struct arch_vectors *vectors)
{
	struct iovec vector = { vectors->byte, sizeof(vectors->byte) };

	if (ptrace(PTRACE_GETREGSET, pid, vector_set, &vector)) {
		vector_set = NT_PRFPREG;
		vector.iov_len = sizeof(vectors->byte);
		if (ptrace(PTRACE_GETREGSET, pid, vector_set, &vector))
			perror("ptrace: vector registers");
	}
	vectors->bytes = vector.iov_len;
}

/* The kernel writes to none of it. */
void tracee_set_vectors(const struct arch_vectors *vectors)
{
	transfer(PTRACE_SETREGSET, vector_set, (void *)(uintptr_t)vectors->byte, vectors->bytes);
}

/* The area is at the same address as the tracer's own, whose copy the tracee is. */
static uint64_t peek(size_t offset)
{
	return (uint64_t)ptrace(PTRACE_PEEKDATA, pid, (char *)rseq_get_abi() + offset, NULL);
}

uint64_t tracee_armed(void)
{
	return peek(offsetof(struct rseq_abi, rseq_cs));
}

void tracee_arm(uint64_t descriptor)
{
	if (ptrace(PTRACE_POKEDATA, pid,
		   (char *)rseq_get_abi() + offsetof(struct rseq_abi, rseq_cs),
		   descriptor))
		perror("ptrace: memory");
}

int tracee_id(enum rseq_percpu_mode mode)
{
	if (mode == RSEQ_PERCPU_CPU_ID)
		return (int)(peek(0) >> 32);
	return (int)(uint32_t)peek(offsetof(struct rseq_abi, mm_cid));
}

/* The code at an address, from there on as the tracer has it; with a trap or without. */
static void write_code(uintptr_t address, bool trap)
{
	uint64_t word;

	memcpy(&word, (const void *)address, sizeof(word));
	if (trap)
		memcpy(&word, arch_trap_insn, arch_trap_bytes);
	if (ptrace(PTRACE_POKETEXT, pid, address, word))
		perror("ptrace: code");
}

void tracee_plant_breakpoints(void)
{
	planted = true;
}

void tracee_break_at(uintptr_t address)
{
	if (address == break_address)
		return;
	if (!planted && !arch_break_at(pid, address)) {
		printf("no breakpoints (%s): traps are planted\n", strerror(errno));
		planted = true;
	}
	if (planted && break_address)
		write_code(break_address, false);
	if (planted && address)
		write_code(address, true);
	break_address = address;
}

bool tracee_at_breakpoint(const struct arch_regs *regs)
{
	uint64_t pc = arch_pc(regs);

	return break_address && (pc == break_address ||
				 (planted && pc == break_address + arch_trap_pc_offset));
}

/* Takes the trap away for the one instruction in the place of which it stands. */
void tracee_pass_breakpoint(void)
{
	struct arch_regs regs;
	int signal = 0;

	if (planted) {
		tracee_regs(&regs);
		arch_set_pc(&regs, break_address);
		tracee_set_regs(&regs);
		write_code(break_address, false);
		if (tracee_run(PTRACE_SINGLESTEP, &signal) == STOP_TRAP)
			write_code(break_address, true);
	} else if (arch_pass_breakpoint(pid)) {
		break_address = 0;
	}
}
