// SPDX-License-Identifier: GPL-2.0
/* One rmap walk, of a page that one process has, or that many share. */

#include "bench.h"

#define PAGES	256
#define CHILDREN 100
#define WORKERS	1000
#define SAMPLE	100	/* of these: see bench_walk() */

static unsigned long pfns[PAGES];

static long walk(long nr)
{
	return bench_walk(pfns, nr);
}

static void measure(const char *name, long nr, char *(*page)(long i))
{
	bench_pfns(pfns, nr, page);
	bench_run(name, walk, nr, nr);
}

static void leaf_and_shared(void)
{
	pid_t pids[CHILDREN];

	bench_map(PAGES, 1);
	bench_touch(PAGES, 0);
	measure("walk_leaf", PAGES, bench_page);
	for (long i = 0; i < CHILDREN; i++) {
		pids[i] = bench_child(NULL, 0);
		if (i == 0)
			measure("walk_shared_1", PAGES, bench_page);
	}
	measure("walk_shared_100", PAGES, bench_page);
	bench_kill(pids, CHILDREN);
}

/*
 * Each worker writes to a page that it inherited, or to one of a VMA of its own,
 * and tells which page frame it is.
 */
static unsigned long *own;

static void work(long i)
{
	char *page = bench_page(i % PAGES);

	if (i % 2) {
		page = mmap(NULL, psize(), READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(page != MAP_FAILED);
	}
	*page = 2;
	own[i] = avl_pfn(page);
}

static void workers(void)
{
	static pid_t pids[WORKERS];

	own = mmap(NULL, WORKERS * sizeof(*own), READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(own != MAP_FAILED);
	bench_map(PAGES, 1);
	bench_touch(PAGES, 0);
	for (long i = 0; i < WORKERS; i++)
		pids[i] = bench_child(work, i);
	bench_check_pfns(own, WORKERS);
	for (long i = 0; i < SAMPLE; i++)	/* of both kinds */
		pfns[i] = own[i * (WORKERS / SAMPLE) + i % 2];
	bench_run("walk_worker", walk, SAMPLE, SAMPLE);
	bench_kill(pids, WORKERS);
}

int main(void)
{
	leaf_and_shared();
	workers();
	return 0;
}
