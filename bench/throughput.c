// SPDX-License-Identifier: GPL-2.0
/*
 * How often can the children of one parent, all at once, map memory, touch it,
 * unmap it, and fork? The only figure that is a time.
 */

#include <string.h>
#include <sys/wait.h>

#include "bench.h"

#define INHERITED	200
#define MAPPED		16
#define SECONDS		5

static long *turns;

static void work(void)
{
	for (;;) {
		char *areas[MAPPED];
		pid_t pid;

		for (int i = 0; i < MAPPED; i++) {
			/* Every other one stays for itself. */
			areas[i] = mmap(NULL, 4 * psize(), READ_WRITE | (i % 2 ? PROT_EXEC : 0),
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			MUST(areas[i] != MAP_FAILED);
			*areas[i] = 1;
		}
		pid = fork();
		if (!pid)
			_exit(0);
		MUST(pid > 0 && waitpid(pid, NULL, 0) == pid);
		for (int i = 0; i < MAPPED; i++)
			MUST(!munmap(areas[i], 4 * psize()));
		__atomic_fetch_add(turns, 1, __ATOMIC_RELAXED);
	}
}

int main(void)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pid_t pids[cpus];
	long before, turned, start;

	turns = mmap(NULL, psize(), READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(turns != MAP_FAILED);
	bench_map(INHERITED, 1);
	bench_touch(INHERITED, 0);
	for (long i = 0; i < cpus; i++) {
		pids[i] = fork();
		MUST(pids[i] >= 0);
		if (!pids[i])
			work();
	}
	sleep(1);
	before = __atomic_load_n(turns, __ATOMIC_RELAXED);
	start = bench_now();
	sleep(SECONDS);
	turned = __atomic_load_n(turns, __ATOMIC_RELAXED) - before;
	bench_row("throughput", turned * 1e9 / (bench_now() - start), "turns/s");
	bench_kill(pids, cpus);
	return 0;
}
