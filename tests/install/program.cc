/* SPDX-License-Identifier: MIT */
/*
 * A C++ program over the installed headers: counts in two threads and reads the sum.
 */
#include <rseq/counter.h>
#include <rseq/info.h>
#include <rseq/rseq.h>

#include <cstdio>
#include <thread>

int main()
{
	const int each = 100000;
	struct rseq_counter *counter = rseq_counter_create();

	if (!counter) {
		std::perror("rseq_counter_create");
		return 1;
	}
	auto count = [counter] {
		for (int i = 0; i < each; i++)
			rseq_counter_inc(counter);
	};
	std::thread other(count);
	count();
	other.join();

	intptr_t sum = rseq_counter_sum(counter);
	rseq_counter_destroy(counter);
	std::printf("counted %jd of %d\n", static_cast<intmax_t>(sum), 2 * each);
	return sum != 2 * each;
}
