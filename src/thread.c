/* SPDX-License-Identifier: MIT */
/*
 * thread.c: registration of the calling thread.
 */
#include "internal.h"

#include <rseq/section.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * What this library did in a thread. A signal handler may run any function here, so that it is
 * changed with signals blocked.
 */
struct rseq_thread {
	unsigned int count;		/* calls of register without their unregister */
	unsigned int length;		/* registered length, bytes; 0: not by a call of ours */
	int owner;			/* LIBRSEQ or SHARED while length is set */
	int reason;			/* why the last registration failed */
	bool tried;			/* structures do not register this thread any more */
	bool over;			/* nobody does: this library's destructor has run */
};

static rseq_static_tls __thread struct rseq_thread thread;

static int sys_rseq(struct rseq_abi *area, unsigned int length, int flags, unsigned int signature)
{
	return (int)syscall(__NR_rseq, area, length, flags, signature);
}

/*
 * Whether the caller runs on another thread's storage: the child of vfork(), or of a bare
 * clone(CLONE_VM). libc keeps the id of the thread that the storage belongs to, and tells it as
 * part of the thread's CPU clock.
 */
bool rseq_thread_is_borrowed(void)
{
	clockid_t clock;

	if (pthread_getcpuclockid(pthread_self(), &clock))
		return false;
	return (pid_t)~((int)clock >> 3) != (pid_t)syscall(SYS_gettid);
}

/* In a thread whose area is registered. */
static bool is_libcs(void)
{
	return rseq_process.area_origin == RSEQ_AREA_LIBC && !thread.length;
}

static bool libc_owns_thread(void)
{
	return is_libcs() && rseq_thread_registered();
}

static int fail(int reason, int error)
{
	thread.reason = reason;
	errno = error;
	return -1;
}

/* Reason and errno for what the kernel, or a filter before it, answered to a registration. */
static int fail_with_answer(int answer)
{
	switch (answer) {
	case ENOSYS:
		return fail(RSEQ_REASON_NO_SYSCALL, answer);
	case EPERM:
	case EACCES:
		return fail(RSEQ_REASON_FORBIDDEN, answer);
	case EINVAL:
		/* Length 32 at an aligned address is refused for one reason alone. */
		return fail(RSEQ_REASON_FOREIGN, EBUSY);
	default:
		return fail(RSEQ_REASON_REFUSED, answer);
	}
}

/*
 * The first thread to register makes the features known. Fields that only a later thread has are
 * told by its own rseq_info.
 */
static void registered(unsigned int length, int owner)
{
	unsigned int none = 0;

	thread.length = length;
	thread.owner = owner;
	thread.reason = RSEQ_REASON_NONE;
	__atomic_compare_exchange_n(&rseq_size, &none, rseq_active_feature_size(length), false,
			__ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* A process in which no thread has the V2 length does without it from then on. */
static void adopt_length(unsigned int length)
{
	if (length > RSEQ_ABI_ORIG_SIZE)
		__atomic_store_n(&rseq_process.v2_registered, true, __ATOMIC_RELAXED);
	else if (!__atomic_load_n(&rseq_process.v2_registered, __ATOMIC_RELAXED))
		__atomic_store_n(&rseq_process.length, length, __ATOMIC_RELAXED);
}

/*
 * One system call, or two where the V2 length is refused: by a kernel that does not take it, or
 * because another module registered the same area with 32 bytes, which shows as EBUSY then.
 */
static int register_area(struct rseq_abi *area)
{
	unsigned int length = rseq_process_length();

	/* A descriptor of a module that is gone must not be found armed. */
	rseq_clear_rseq_cs();
	for (;;) {
		int error = sys_rseq(area, length, 0, RSEQ_SIG) ? errno : 0;

		/* A kernel has written the CPU's number before it returns; a filter has not. */
		if (!error && !rseq_thread_registered())
			return fail(RSEQ_REASON_NO_SYSCALL, ENOSYS);
		/* Whoever wrote over cpu_id did not take the registration. */
		if (error == EBUSY && (thread.length == length ||
				       rseq_process.area_origin == RSEQ_AREA_LIBC))
			return 0;
		/* Who answers EBUSY, and the area looks unregistered, is no kernel. */
		if (!error || (error == EBUSY && rseq_thread_registered())) {
			adopt_length(length);
			registered(length, error ? RSEQ_OWNER_SHARED : RSEQ_OWNER_LIBRSEQ);
			return 0;
		}
		if (error != EINVAL || length <= RSEQ_ABI_ORIG_SIZE ||
		    rseq_process.area_origin == RSEQ_AREA_LIBC)
			return fail_with_answer(error);
		length = RSEQ_ABI_ORIG_SIZE;
	}
}

static int with_signals_blocked(int (*change)(void))
{
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	result = change();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

#ifdef __GLIBC__
/* A thread's storage stays until the kernel has told that the thread is gone. */
void rseq_thread_init(void)
{
}

static bool prepare_end(void)
{
	return true;
}
#else
/*
 * musl unmaps a detached thread's storage before the thread makes its last system call. The kernel
 * must not know the area any more then: it kills a process where it cannot write one. Hence a
 * destructor, which ends the registration for good.
 */
static pthread_key_t key;
static bool have_key;

static int end_for_good(void)
{
	thread.over = true;
	thread.tried = true;
	thread.count = 0;
	if (!thread.length || thread.owner != RSEQ_OWNER_LIBRSEQ)
		return 0;
	rseq_clear_rseq_cs();
	sys_rseq(rseq_get_abi_slow(), thread.length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG);
	thread.length = 0;
	thread.reason = RSEQ_REASON_NOT_REGISTERED;
	return 0;
}

static void end_with_thread(void *value)
{
	(void)value;
	with_signals_blocked(end_for_good);
}

void rseq_thread_init(void)
{
	have_key = !pthread_key_create(&key, end_with_thread);
}

static bool prepare_end(void)
{
	return !thread.over && have_key && !pthread_setspecific(key, &thread);
}
#endif

static int begin_registration(void)
{
	if (thread.count == UINT_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	if (!(thread.length && rseq_thread_registered())) {
		if (!prepare_end())
			return fail(RSEQ_REASON_NOT_REGISTERED, EAGAIN);
		if (register_area(rseq_get_abi_slow()))
			return -1;
	}
	thread.count++;
	return 0;
}

static int end_registration(void)
{
	unsigned int length = thread.length;

	if (!thread.count) {
		errno = EINVAL;
		return -1;
	}
	if (--thread.count)
		return 0;
	thread.length = 0;
	thread.reason = RSEQ_REASON_NOT_REGISTERED;
	thread.tried = true;
	if (!length || thread.owner == RSEQ_OWNER_SHARED)
		return 0;
	rseq_clear_rseq_cs();
	if (!sys_rseq(rseq_get_abi_slow(), length, RSEQ_ABI_FLAG_UNREGISTER, RSEQ_SIG))
		return 0;
	/* Refused, as by a filter that came late: the thread is registered as before. */
	if (rseq_thread_registered())
		thread.length = length;
	return -1;
}

/* How begin_registration() or begin_lazily() goes, in a thread that may be registered. */
static int register_by(int (*begin)(void))
{
	int saved_errno = errno;

	rseq_init_once();
	if (rseq_process.off)
		return fail(rseq_process.off, EOPNOTSUPP);
	if (libc_owns_thread())
		return 0;
	if (rseq_thread_is_borrowed()) {
		errno = ECHILD;
		return -1;
	}
	if (with_signals_blocked(begin))
		return -1;
	errno = saved_errno;
	return 0;
}

int rseq_register_current_thread(void)
{
	return register_by(begin_registration);
}

int rseq_unregister_current_thread(void)
{
	int saved_errno = errno;

	rseq_init_once();
	if (!rseq_process.off && libc_owns_thread())
		return 0;
	if (rseq_thread_is_borrowed()) {
		errno = ECHILD;
		return -1;
	}
	if (with_signals_blocked(end_registration))
		return -1;
	errno = saved_errno;
	return 0;
}

/*
 * A thread that is registered, but for somebody who wrote over cpu_id, has its call: one more would
 * keep the registration when the user ends it. The kernel may repair cpu_id at any time.
 */
static int begin_lazily(void)
{
	unsigned int count = thread.count;

	if (begin_registration())
		return -1;
	if (count || !thread.length)
		thread.count = count;
	return 0;
}

/*
 * For the slow paths of structures: registers a thread that nobody has tried to register. The
 * registration lasts as long as the thread.
 */
bool rseq_thread_register_lazily(void)
{
	int saved_errno = errno;
	bool success;

	if (rseq_thread_registered())
		return true;
	if (rseq_process.off || thread.tried)
		return false;
	success = !register_by(begin_lazily);
	if (!success) {
		thread.tried = errno != ECHILD;
	} else if (!rseq_thread_registered()) {
		/* Not before the kernel repairs cpu_id. */
		success = false;
		thread.tried = true;
	}
	errno = saved_errno;
	return success;
}

bool rseq_available(unsigned int query)
{
	int saved_errno = errno;
	bool available;

	rseq_init_once();
	switch (query) {
	case RSEQ_AVAILABLE_QUERY_KERNEL:
		if (rseq_process.off)
			return false;
		if (rseq_thread_registered())
			return true;
		/* No such flags: EINVAL is the answer of a kernel that knows the call. */
		available = sys_rseq(NULL, 0, -1, 0) && errno == EINVAL;
		errno = saved_errno;
		return available;
	case RSEQ_AVAILABLE_QUERY_LIBC:
		return !rseq_process.off && rseq_process.libc_size;
	default:
		errno = EINVAL;
		return false;
	}
}

__attribute__((noinline))
struct rseq_abi *rseq_get_abi_slow(void)
{
	rseq_barrier();
	return rseq_get_abi();
}

int32_t rseq_fallback_current_cpu(void)
{
	return sched_getcpu();
}

int32_t rseq_fallback_current_node(void)
{
	unsigned int node;

	if (syscall(SYS_getcpu, NULL, &node, NULL))
		return -1;
	rseq_sanitize_written(&node, sizeof(node));
	return (int32_t)node;
}

/*
 * EPERM if the area is registered with this length in this thread, EINVAL if not: the kernel checks
 * area and length of an unregistration before its signature, and refuses this one anyhow. A filter
 * may answer anything.
 */
static int ask_for_length(unsigned int length)
{
	return sys_rseq(rseq_get_abi(), length, RSEQ_ABI_FLAG_UNREGISTER,
			~(unsigned int)RSEQ_SIG) ? errno : 0;
}

/* The length with which the area is registered in this thread, by whomever, or 0. */
static unsigned int probe_length(void)
{
	const unsigned int lengths[] = {
		RSEQ_ABI_ORIG_SIZE, rseq_process_length(),
	};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		if (ask_for_length(lengths[i]) == EPERM)
			return lengths[i];
	return 0;
}

/*
 * Why a thread is not registered, as far as this library goes, or its area says that it is not.
 * What is known from a registration that failed may have changed: the kernel looks for another
 * registration before it refuses an address of its own.
 */
static int reason_of_unregistered(void)
{
	struct rseq_abi *nowhere = (struct rseq_abi *)(UINTPTR_MAX - 4095);
	int answer = sys_rseq(nowhere, RSEQ_ABI_ORIG_SIZE, 0, RSEQ_SIG) ? errno : 0;

	if (answer == EINVAL)
		return probe_length() ? RSEQ_REASON_OVERWRITTEN : RSEQ_REASON_FOREIGN;
	if (!thread.reason || (answer == EFAULT && thread.reason == RSEQ_REASON_FOREIGN))
		return RSEQ_REASON_NOT_REGISTERED;
	return thread.reason;
}

/* Of a thread whose area is registered. */
static void find_owner(struct rseq_info *info)
{
	unsigned int length;

	if (is_libcs()) {
		info->owner = RSEQ_OWNER_LIBC;
		info->registered_length = rseq_process_length();
	} else if (thread.length) {
		info->owner = thread.owner;
		info->registered_length = thread.length;
	}
	if (info->owner && ask_for_length(info->registered_length) != EINVAL)
		return;
	/* Another module registered the area, perhaps after it ended a registration before. */
	length = probe_length();
	if (info->owner && !length)
		return;
	info->owner = RSEQ_OWNER_SHARED;
	info->registered_length = length;
}

static unsigned int features(unsigned int size)
{
	unsigned int bits = RSEQ_FEATURE_CPU_ID;

	if (size >= offsetof(struct rseq_abi, mm_cid))
		bits |= RSEQ_FEATURE_NODE_ID;
	if (size >= offsetof(struct rseq_abi, slice_ctrl))
		bits |= RSEQ_FEATURE_MM_CID;
	if (size > offsetof(struct rseq_abi, reserved) &&
	    (RSEQ_READ_ONCE(rseq_get_abi()->flags) & RSEQ_ABI_CS_FLAG_SLICE_EXT_AVAILABLE))
		bits |= RSEQ_FEATURE_SLICE;
	return bits;
}

static void describe_registration(struct rseq_info *info)
{
	find_owner(info);
	if (info->owner == RSEQ_OWNER_LIBC)
		info->feature_size = RSEQ_READ_ONCE(rseq_size);
	else if (info->registered_length)
		info->feature_size = rseq_active_feature_size(info->registered_length);
	if (info->registered_length)
		info->mode = info->registered_length > RSEQ_ABI_ORIG_SIZE ?
				RSEQ_MODE_V2 : RSEQ_MODE_LEGACY;
	info->features = features(info->feature_size);
}

void rseq_thread_info(struct rseq_info *info)
{
	if (rseq_process.off)
		info->reason = rseq_process.off;
	else if (rseq_thread_is_borrowed())
		info->reason = RSEQ_REASON_VFORK_CHILD;
	else if (!rseq_thread_registered())
		info->reason = reason_of_unregistered();
	if (info->reason == RSEQ_REASON_FOREIGN)
		info->owner = RSEQ_OWNER_FOREIGN;
	else if (info->reason == RSEQ_REASON_NONE || info->reason == RSEQ_REASON_OVERWRITTEN)
		describe_registration(info);
}
