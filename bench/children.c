// SPDX-License-Identifier: GPL-2.0
/*
 * A parent with many VMAs, and children that each keep one of them, as servers
 * do that give each worker a part. Each page is mapped twice then, at most.
 */

#include "bench.h"

#define VMAS	1000
#define SAMPLE	100	/* of these: see bench_walk() */

static unsigned long pfns[VMAS];

static long walk(long nr)
{
	return bench_walk(pfns, nr);
}

static void keep_one(long i)
{
	MUST(!i || !munmap(bench_page(0), bench_page(i) - bench_page(0)));
	MUST(!munmap(bench_page(i + 1), bench_page(VMAS) - bench_page(i)));
}

int main(void)
{
	static const int steps[] = { 300, 1000 };
	static pid_t pids[1000];
	char name[32];
	long start, i = 0;

	bench_map(VMAS, 1);
	bench_touch(VMAS, 0);
	start = bench_now();
	for (size_t step = 0; step < ARRAY_SIZE(steps); step++) {
		for (; i < steps[step]; i++)
			pids[i] = bench_child(keep_one, i);
		if (!step)
			bench_row("children_fork", (double)(bench_now() - start) / i, "ns");

		bench_pfns(pfns, VMAS, bench_page);
		for (long j = 0; j < SAMPLE; j++)
			pfns[j] = pfns[j * (VMAS / SAMPLE)];
		snprintf(name, sizeof(name), "children_walk_%d", steps[step]);
		bench_run(name, walk, SAMPLE, SAMPLE);
	}
	bench_kill(pids, i);
	return 0;
}
