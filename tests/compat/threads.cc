/* SPDX-License-Identifier: MIT */
/*
 * librseq as C++ programs use it: operations and pools in templates, classes and lambdas, called
 * with the global scope named, on typed per-CPU pointers.
 */
#include "check.h"

#include <rseq/mempool.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{

/* Registers a thread as long as it lives. */
class registration
{
public:
	registration() : registered(!::rseq_register_current_thread()) {}
	~registration()
	{
		if (registered)
			::rseq_unregister_current_thread();
	}
	registration(const registration &) = delete;
	registration &operator=(const registration &) = delete;
	const bool registered;
};

/* An operation, until it is not aborted. */
template <typename Operation> int until_done(Operation operation)
{
	int result;

	do
		result = operation(static_cast<int>(::rseq_cpu_start()));
	while (rseq_unlikely(result < 0));
	return result;
}

template <typename T> class percpu
{
public:
	explicit percpu(const std::string &name, const T &initial = T())
		: pool(::rseq_mempool_create(name.c_str(), sizeof(T), nullptr))
	{
		if (!pool)
			throw std::runtime_error(name);
		T copy = initial;
		item = static_cast<T __rseq_percpu *>(
			::rseq_mempool_percpu_malloc_init(pool, &copy, sizeof(copy)));
		if (!item) {
			::rseq_mempool_destroy(pool);
			throw std::bad_alloc();
		}
	}
	~percpu()
	{
		rseq_mempool_percpu_free(item);
		check(!::rseq_mempool_destroy(pool));
	}
	percpu(const percpu &) = delete;
	percpu &operator=(const percpu &) = delete;

	T &operator[](int cpu) { return *rseq_percpu_ptr(item, cpu); }
	const T &operator[](int cpu) const { return *rseq_percpu_ptr(item, cpu); }
	int size() const { return ::rseq_mempool_get_max_nr_cpus(pool); }

private:
	struct rseq_mempool *pool;
	T __rseq_percpu *item;
};

struct counter {
	intptr_t value;

	template <rseq_percpu_mode mode> int add(intptr_t count, int cpu)
	{
		return ::rseq_load_add_store__ptr(RSEQ_MO_RELAXED, mode, &value, count, cpu);
	}
};

struct node {
	intptr_t data;
	node *next;
};

/* A list of each CPU; every operation of it is one of the library's. */
class node_list
{
public:
	node_list() : heads("heads") {}
	void push(node *added)
	{
		until_done([this, added](int cpu) {
			intptr_t *head = head_of(cpu), first = RSEQ_READ_ONCE(*head);
			intptr_t word = reinterpret_cast<intptr_t>(added);

			added->next = reinterpret_cast<node *>(first);
			return ::rseq_load_cbne_store__ptr(RSEQ_MO_RELAXED, RSEQ_PERCPU_CPU_ID,
					head, first, word, cpu) ? -1 : 0;
		});
	}
	node *pop()
	{
		intptr_t first = 0;
		auto try_pop = [this, &first](int cpu) {
			return ::rseq_load_cbeq_store_add_load_store__ptr(RSEQ_MO_RELAXED,
					RSEQ_PERCPU_CPU_ID, head_of(cpu), 0,
					static_cast<long>(offsetof(node, next)), &first, cpu);
		};

		return until_done(try_pop) ? nullptr : reinterpret_cast<node *>(first);
	}
	int size() const { return heads.size(); }
	node *operator[](int cpu) const { return heads[cpu]; }

private:
	intptr_t *head_of(int cpu) { return reinterpret_cast<intptr_t *>(&heads[cpu]); }
	percpu<node *> heads;
};

const int nr_threads = 16, nr_turns = 2000;
const size_t nr_nodes = 50;

void count()
{
	percpu<counter> counters("counters", counter{ 1 });
	intptr_t without_rseq = 0, sum = 0;
	std::vector<std::thread> threads;

	for (int i = 0; i < nr_threads; i++) {
		threads.emplace_back([&] {
			registration here;

			auto add = [&](int cpu) {
				return counters[cpu].add<RSEQ_PERCPU_CPU_ID>(3, cpu);
			};

			for (int turn = 0; turn < nr_turns; turn++) {
				if (here.registered)
					until_done(add);
				else
					__atomic_fetch_add(&without_rseq, 3, __ATOMIC_RELAXED);
			}
		});
	}
	for (auto &thread : threads)
		thread.join();
	for (int cpu = 0; cpu < counters.size(); cpu++)
		sum += counters[cpu].value - 1;
	check(sum + without_rseq == 3 * nr_threads * nr_turns);
}

void shuffle_nodes()
{
	std::vector<node> nodes(nr_nodes);
	std::vector<std::thread> threads;
	intptr_t sum = 0;
	node_list list;

	for (size_t i = 0; i < nr_nodes; i++) {
		nodes[i].data = static_cast<intptr_t>(i + 1);
		list.push(&nodes[i]);
	}
	for (int i = 0; i < nr_threads; i++) {
		threads.emplace_back([&list] {
			registration here;

			for (int turn = 0; turn < nr_turns; turn++)
				if (node *popped = list.pop())
					list.push(popped);
		});
	}
	for (auto &thread : threads)
		thread.join();
	for (int cpu = 0; cpu < list.size(); cpu++)
		for (const node *each = list[cpu]; each; each = each->next)
			sum += each->data;
	check(sum == static_cast<intptr_t>(nr_nodes * (nr_nodes + 1) / 2));
}

/* An attribute and a set as owned objects; the callback is a lambda that captures nothing. */
void own_pools()
{
	std::unique_ptr<rseq_mempool_attr, void (*)(rseq_mempool_attr *)>
		attr(rseq_mempool_attr_create(), rseq_mempool_attr_destroy);
	std::unique_ptr<rseq_mempool_set, int (*)(rseq_mempool_set *)>
		set(rseq_mempool_set_create(), rseq_mempool_set_destroy);
	int nr_rows = 0;

	check(attr && set);
	check(!rseq_mempool_attr_set_percpu(attr.get(), 0, 4));
	check(!rseq_mempool_attr_set_init(attr.get(), [](void *rows, void *, size_t, int) {
		++*static_cast<int *>(rows);
		return 0;
	}, &nr_rows));
	for (size_t len = 8; len <= 64; len *= 2)
		check(!rseq_mempool_set_add_pool(set.get(),
				rseq_mempool_create(nullptr, len, attr.get())));
	check(nr_rows == 16);

	auto *const text = static_cast<char (*)[8]>(rseq_mempool_set_percpu_malloc_init(set.get(),
			const_cast<char *>("initial"), 8));
	for (int cpu = 0; cpu < 4; cpu++)
		check(!memcmp(rseq_percpu_ptr(text, cpu), "initial", 8));
	rseq_mempool_percpu_free(text);
}

} /* namespace */

int main()
{
	registration here;

	keep_to_few_cpus();
	count();
	if (here.registered)
		shuffle_nodes();
	own_pools();
	return finish();
}
