/* SPDX-License-Identifier: MIT */
/*
 * cache.c: what a cache does out of its sections. Objects are on the stack of a CPU, in a magazine
 * of the depot, with the allocator, or with users.
 */
#include "cache-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BYTES	(128 * 1024)
#define MIN_PER_CPU	4
#define MAX_PER_CPU	2048

/* Objects that go from a CPU to the allocator at a time. */
#define NR_RELEASED	64

struct cache {
	struct rseq_cache handle;	/* comes first */
	struct rseq_stack *stack;

	/*
	 * With RSEQ_CACHE_DEBUG, the sections work on this one, to which nobody ever pushes: its
	 * rows stay zero, and a try of anything fails. So debugging costs the others nothing.
	 */
	struct rseq_stack *decoy;

	char *name;
	size_t object_size;
	struct rseq_cache_attr attr;
	struct rseq_counter *created;
	struct rseq_counter *released;
	struct rseq_counter *overflows;
	struct rseq_counter *refills;
	struct depot depot;
	struct out_table out;
	uint64_t refused;		/* atomic */
};

static struct cache *cache_of(const struct rseq_cache *handle)
{
	return (struct cache *)(uintptr_t)handle;
}

static void *default_alloc(size_t size, size_t alignment, void *priv)
{
	void *object;
	int error;

	(void)priv;
	if (alignment <= _Alignof(max_align_t))
		return malloc(size);
	error = posix_memalign(&object, alignment, size);
	if (!error)
		return object;
	errno = error;
	return NULL;
}

static void default_free(void *object, size_t size, void *priv)
{
	(void)size;
	(void)priv;
	free(object);
}

/* What the caller's structure has beyond this library's must be zero. */
static int copy_attr(struct rseq_cache_attr *to, const struct rseq_cache_attr *from)
{
	size_t size = from->size < sizeof(*to) ? from->size : sizeof(*to);

	if (from->size < sizeof(from->size)) {
		errno = EINVAL;
		return -1;
	}
	for (size_t i = size; i < from->size; i++) {
		if (((const char *)from)[i]) {
			errno = E2BIG;
			return -1;
		}
	}
	memcpy(to, from, size);
	return 0;
}

static void set_defaults(struct rseq_cache_attr *attr, size_t object_size)
{
	if (!attr->alignment)
		attr->alignment = _Alignof(max_align_t);
	if (!attr->alloc) {
		attr->alloc = default_alloc;
		attr->free = default_free;
	}
	if (!attr->per_cpu) {
		attr->per_cpu = DEFAULT_BYTES / object_size;
		if (attr->per_cpu < MIN_PER_CPU)
			attr->per_cpu = MIN_PER_CPU;
		if (attr->per_cpu > MAX_PER_CPU)
			attr->per_cpu = MAX_PER_CPU;
	}
	if (!attr->batch)
		attr->batch = attr->per_cpu > 1 ? attr->per_cpu / 2 : 1;
	if (!attr->depot && __builtin_mul_overflow(attr->per_cpu, 4, &attr->depot))
		attr->depot = attr->per_cpu;
}

static bool is_valid(const struct rseq_cache_attr *attr, size_t object_size)
{
	return object_size && object_size <= PTRDIFF_MAX &&
		!(attr->alignment & (attr->alignment - 1)) && !attr->alloc == !attr->free &&
		!(attr->flags & ~(unsigned int)RSEQ_CACHE_DEBUG);
}

static void free_cache(struct cache *cache)
{
	rseq_stack_destroy(cache->stack);
	rseq_stack_destroy(cache->decoy);
	rseq_counter_destroy(cache->created);
	rseq_counter_destroy(cache->released);
	rseq_counter_destroy(cache->overflows);
	rseq_counter_destroy(cache->refills);
	rseq_depot_fini(&cache->depot);
	free(cache->out.slots);
	free(cache->name);
	free(cache);
}

static int make_parts(struct cache *cache, const char *name)
{
	const struct rseq_cache_attr *attr = &cache->attr;
	bool debug = attr->flags & RSEQ_CACHE_DEBUG;

	if (name) {
		cache->name = strdup(name);
		if (!cache->name)
			return -1;
	}
	cache->stack = rseq_stack_create_mode(attr->per_cpu, attr->mode);
	if (!cache->stack)
		return -1;
	if (debug) {
		cache->decoy = rseq_stack_create_mode(1, attr->mode);
		if (!cache->decoy)
			return -1;
	}
	cache->handle.fast = debug ? cache->decoy : cache->stack;
	cache->created = rseq_counter_create();
	cache->released = rseq_counter_create();
	cache->overflows = rseq_counter_create();
	cache->refills = rseq_counter_create();
	if (!cache->created || !cache->released || !cache->overflows || !cache->refills)
		return -1;
	return rseq_depot_init(&cache->depot, attr->depot, attr->batch);
}

struct rseq_cache *rseq_cache_create(const char *name, size_t object_size,
		const struct rseq_cache_attr *attr)
{
	struct rseq_cache_attr full = { .size = sizeof(full) };
	struct cache *cache;
	void *memory;
	int error;

	if (attr && copy_attr(&full, attr))
		return NULL;
	if (!is_valid(&full, object_size)) {
		errno = EINVAL;
		return NULL;
	}
	set_defaults(&full, object_size);
	if (full.batch > full.per_cpu) {
		errno = EINVAL;
		return NULL;
	}
	error = posix_memalign(&memory, _Alignof(struct cache), sizeof(*cache));
	if (error) {
		errno = error;
		return NULL;
	}
	cache = memset(memory, 0, sizeof(*cache));
	cache->object_size = object_size;
	cache->attr = full;
	if (!make_parts(cache, name))
		return &cache->handle;
	error = errno;
	free_cache(cache);
	errno = error;
	return NULL;
}

static void release_object(struct cache *cache, void *object)
{
	const struct rseq_cache_attr *attr = &cache->attr;
	int saved_errno = errno;

	if (attr->destruct)
		attr->destruct(object, attr->priv);
	attr->free(object, cache->object_size, attr->priv);
	rseq_counter_inc(cache->released);
	errno = saved_errno;
}

static void *create_object(struct cache *cache)
{
	const struct rseq_cache_attr *attr = &cache->attr;
	int saved_errno = errno;
	void *object;

	/* For an allocator that does not say why. */
	errno = ENOMEM;
	object = attr->alloc(cache->object_size, attr->alignment, attr->priv);
	if (!object)
		return NULL;
	if (attr->construct && attr->construct(object, attr->priv)) {
		saved_errno = errno;
		attr->free(object, cache->object_size, attr->priv);
		errno = saved_errno;
		return NULL;
	}
	rseq_counter_inc(cache->created);
	errno = saved_errno;
	return object;
}

/* Takes one object out of the depot, and fills this CPU's stack with those that come with it. */
static void *refill(struct cache *cache)
{
	struct magazine *magazine = rseq_depot_take_full(&cache->depot);
	size_t nr_pushed = 0;
	void *object;

	if (!magazine)
		return NULL;
	object = magazine->objects[--magazine->nr];
	if (magazine->nr)
		nr_pushed = rseq_stack_push_batch(cache->stack, magazine->objects, magazine->nr);
	magazine->nr -= (uint32_t)nr_pushed;
	if (magazine->nr && nr_pushed)
		memmove(magazine->objects, magazine->objects + nr_pushed,
			magazine->nr * sizeof(magazine->objects[0]));
	rseq_depot_put(&cache->depot, magazine);
	rseq_counter_inc(cache->refills);
	return object;
}

static void release_from_stack(struct cache *cache)
{
	size_t nr, left = cache->attr.batch;
	void *objects[NR_RELEASED];

	do {
		nr = rseq_stack_pop_batch(cache->stack, objects,
					  left < NR_RELEASED ? left : NR_RELEASED);
		for (size_t i = 0; i < nr; i++)
			release_object(cache, objects[i]);
		left -= nr;
	} while (nr && left);
}

/* Moves a batch of this CPU's objects to the depot, or if that is full to the allocator. */
static void make_room(struct cache *cache)
{
	struct magazine *magazine = rseq_depot_take_empty(&cache->depot);

	if (!magazine) {
		release_from_stack(cache);
		return;
	}
	magazine->nr = (uint32_t)rseq_stack_pop_batch(cache->stack, magazine->objects,
						      cache->depot.batch);
	if (magazine->nr)
		rseq_counter_inc(cache->overflows);
	rseq_depot_put(&cache->depot, magazine);
}

/* For a stack that was full. Others may fill the room that is made, but not for ever. */
static void put_object(struct cache *cache, void *object)
{
	for (int try = 0; try < RSEQ_MAX_TRIES; try++) {
		make_room(cache);
		if (!rseq_stack_push(cache->stack, object))
			return;
	}
	release_object(cache, object);
}

/*
 * What is done first, after a try that failed: the stack's slow functions want to hear of it, as
 * they count aborts. A try of the decoy says nothing.
 */
static void *pop_after_try(struct cache *cache)
{
	return cache->decoy ? rseq_stack_pop(cache->stack) : rseq_stack_pop_slow(cache->stack);
}

static int push_after_try(struct cache *cache, void *object)
{
	return cache->decoy ? rseq_stack_push(cache->stack, object) :
		rseq_stack_push_slow(cache->stack, object);
}

static bool is_refused(struct cache *cache, void *object)
{
	if (!(cache->attr.flags & RSEQ_CACHE_DEBUG) || rseq_out_remove(&cache->out, object))
		return false;
	__atomic_fetch_add(&cache->refused, 1, __ATOMIC_RELAXED);
	return true;
}

void *rseq_cache_alloc_slow(struct rseq_cache *handle)
{
	struct cache *cache = cache_of(handle);
	void *object = pop_after_try(cache);

	if (!object)
		object = refill(cache);
	if (!object)
		object = create_object(cache);
	if (object && cache->attr.flags & RSEQ_CACHE_DEBUG &&
	    rseq_out_add(&cache->out, object)) {
		if (rseq_stack_push(cache->stack, object))
			put_object(cache, object);
		errno = ENOMEM;
		return NULL;
	}
	return object;
}

int rseq_cache_free_slow(struct rseq_cache *handle, void *object)
{
	struct cache *cache = cache_of(handle);
	int saved_errno = errno;

	if (!object)
		return 0;
	if (is_refused(cache, object)) {
		errno = EINVAL;
		return -1;
	}
	if (push_after_try(cache, object))
		put_object(cache, object);
	errno = saved_errno;
	return 0;
}

/* No more than batch of them. The stack has no room: puts them where make_room() would. */
static void put_into_depot(struct cache *cache, void *const *objects, size_t nr)
{
	struct magazine *magazine = rseq_depot_take_empty(&cache->depot);

	if (!magazine) {
		for (size_t i = 0; i < nr; i++)
			release_object(cache, objects[i]);
		return;
	}
	memcpy(magazine->objects, objects, nr * sizeof(*objects));
	magazine->nr = (uint32_t)nr;
	rseq_depot_put(&cache->depot, magazine);
	rseq_counter_inc(cache->overflows);
}

static void put_objects(struct cache *cache, void *const *objects, size_t nr)
{
	size_t nr_put;

	for (; nr; objects += nr_put, nr -= nr_put) {
		nr_put = rseq_stack_push_batch(cache->stack, objects, nr);
		if (nr_put)
			continue;
		nr_put = nr < cache->depot.batch ? nr : cache->depot.batch;
		put_into_depot(cache, objects, nr_put);
	}
}

int rseq_cache_free_batch(struct rseq_cache *handle, void *const *objects, size_t nr)
{
	struct cache *cache = cache_of(handle);
	int saved_errno = errno;
	size_t first = 0;
	int result = 0;

	/* Each run of objects that are to be freed. */
	for (size_t i = 0; i < nr; i++) {
		bool refused = objects[i] && is_refused(cache, objects[i]);

		if (refused)
			result = -1;
		if (objects[i] && !refused)
			continue;
		put_objects(cache, objects + first, i - first);
		first = i + 1;
	}
	if (first < nr)
		put_objects(cache, objects + first, nr - first);
	errno = result ? EINVAL : saved_errno;
	return result;
}

static void release_each(void *object, void *cache)
{
	release_object(cache, object);
}

size_t rseq_cache_trim(struct rseq_cache *handle)
{
	struct cache *cache = cache_of(handle);
	int saved_errno = errno;
	size_t nr = 0;

	if (!cache) {
		errno = EINVAL;
		return 0;
	}
	/* As many as there can be, and not those that others put meanwhile for ever. */
	for (uint32_t i = 0; i < cache->depot.nr_magazines; i++) {
		struct magazine *magazine = rseq_depot_take_full(&cache->depot);

		if (!magazine)
			break;
		nr += magazine->nr;
		while (magazine->nr)
			release_object(cache, magazine->objects[--magazine->nr]);
		rseq_depot_put(&cache->depot, magazine);
	}
	errno = 0;
	nr += rseq_stack_drain(cache->stack, release_each, cache);
	if (errno != ENOSYS)
		errno = saved_errno;
	return nr;
}

static size_t count_on_cpus(const struct cache *cache)
{
	size_t nr = 0;

	for (int cpu = 0; cpu < rseq_get_max_nr_cpus(); cpu++)
		nr += rseq_stack_count(cache->stack, cpu);
	return nr;
}

int rseq_cache_destroy(struct rseq_cache *handle)
{
	struct cache *cache = cache_of(handle);
	int saved_errno = errno;

	if (!cache)
		return 0;
	rseq_cache_trim(handle);
	if (count_on_cpus(cache)) {
		errno = ENOSYS;
		return -1;
	}
	if (rseq_counter_sum(cache->created) != rseq_counter_sum(cache->released)) {
		errno = EBUSY;
		return -1;
	}
	free_cache(cache);
	errno = saved_errno;
	return 0;
}

static void look(const struct cache *cache, struct rseq_cache_stat *stat)
{
	size_t released = (size_t)rseq_counter_sum(cache->released), not_out;

	stat->name = cache->name;
	stat->object_size = cache->object_size;
	stat->per_cpu = cache->attr.per_cpu;
	stat->batch = cache->attr.batch;
	stat->depot = cache->depot.nr_magazines * cache->depot.batch;
	stat->on_cpus = count_on_cpus(cache);
	stat->in_depot = __atomic_load_n(&cache->depot.nr_objects, __ATOMIC_RELAXED);
	stat->created = (uint64_t)rseq_counter_sum(cache->created);
	stat->released = released;
	not_out = released + stat->on_cpus + stat->in_depot;
	stat->out = stat->created > not_out ? (size_t)stat->created - not_out : 0;
	stat->overflows = (uint64_t)rseq_counter_sum(cache->overflows);
	stat->refills = (uint64_t)rseq_counter_sum(cache->refills);
	stat->refused = __atomic_load_n(&cache->refused, __ATOMIC_RELAXED);
}

int rseq_cache_stat(const struct rseq_cache *cache, struct rseq_cache_stat *stat)
{
	struct rseq_cache_stat known = { 0 };

	if (!cache || !stat || stat->size < offsetof(struct rseq_cache_stat, created)) {
		errno = EINVAL;
		return -1;
	}
	look(cache_of(cache), &known);
	known.size = stat->size < sizeof(known) ? stat->size : sizeof(known);
	if (stat->size > known.size)
		memset((char *)stat + known.size, 0, stat->size - known.size);
	memcpy(stat, &known, known.size);
	return 0;
}
