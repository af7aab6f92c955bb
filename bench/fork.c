// SPDX-License-Identifier: GPL-2.0
/* fork, exit and wait of a process with many faulted VMAs. */

#include <sys/wait.h>

#include "bench.h"

#define TIMES	8

static long fork_exit_wait(long nr)
{
	const long start = bench_now();

	for (int i = 0; i < TIMES; i++) {
		const pid_t pid = fork();

		if (!pid)
			_exit(0);
		MUST(pid > 0 && waitpid(pid, NULL, 0) == pid);
	}
	return bench_now() - start;
}

int main(void)
{
	static const int sizes[] = { 10, 100, 1000, 5000 };
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		bench_map(sizes[i], 1);
		bench_touch(sizes[i], 0);
		snprintf(name, sizeof(name), "fork_%d", sizes[i]);
		bench_run(name, fork_exit_wait, sizes[i], TIMES);
	}
	return 0;
}
