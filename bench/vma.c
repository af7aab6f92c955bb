// SPDX-License-Identifier: GPL-2.0
/* First fault, munmap, mprotect and mremap of VMAs. */

#include "bench.h"

/*
 * The first page of each VMA costs more than its second one. Both are in page
 * tables that are there: the first VMA of each table is touched before.
 */
static long first_touch(long nr)
{
	const long per_table = psize() / sizeof(long) / 4;
	long start, middle;

	bench_map(nr, 3);
	for (long i = 0; i < nr; i += per_table)
		bench_page(i)[0] = 1;
	bench_settle();
	start = bench_now();
	bench_touch(nr, 0);
	middle = bench_now();
	bench_touch(nr, 1);
	return middle - start - (bench_now() - middle);
}

static long munmap_one_call(long nr)
{
	long start;

	bench_map(nr, 1);
	bench_touch(nr, 0);
	bench_settle();
	start = bench_now();
	MUST(!munmap(bench_page(0), bench_page(nr) - bench_page(0)));
	return bench_now() - start;
}

static long munmap_one_by_one(long nr)
{
	long start;

	bench_map(nr, 1);
	bench_touch(nr, 0);
	bench_settle();
	start = bench_now();
	for (long i = 0; i < nr; i++)
		MUST(!munmap(bench_page(i), psize()));
	return bench_now() - start;
}

/* Half of a VMA of two faulted pages. */
static long mprotect_pair(long nr)
{
	long start;

	bench_map(1, 2);
	bench_touch(1, 0);
	bench_touch(1, 1);
	bench_settle();
	start = bench_now();
	for (long i = 0; i < nr; i++) {
		MUST(!mprotect(bench_page(0) + psize(), psize(), PROT_READ));
		MUST(!mprotect(bench_page(0) + psize(), psize(), READ_WRITE));
	}
	return bench_now() - start;
}

/* To a place where there is a page table. */
static long mremap_move(long nr)
{
	long start;

	bench_map(2 * nr + 1, 4);
	bench_touch(2 * nr + 1, 0);
	for (long page = 1; page < 4; page++)
		bench_touch(nr, page);
	bench_settle();
	start = bench_now();
	for (long i = 0; i < nr; i++)
		MUST(mremap(bench_page(i), 4 * psize(), 4 * psize(), MREMAP_MAYMOVE | MREMAP_FIXED,
			    bench_page(nr + 1 + i)) != MAP_FAILED);
	return bench_now() - start;
}

int main(void)
{
	bench_run("touch", first_touch, 250, 250);
	bench_run("munmap_one_call", munmap_one_call, 1000, 1000);
	bench_run("munmap_one_by_one", munmap_one_by_one, 1000, 1000);
	bench_run("mprotect", mprotect_pair, 1000, 1000);
	bench_run("mremap", mremap_move, 1000, 1000);
	return 0;
}
