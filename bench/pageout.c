// SPDX-License-Identifier: GPL-2.0
/* MADV_PAGEOUT: an rmap walk to see who used the page, another one to unmap it. */

#include <string.h>

#include "bench.h"

#define PAGES	512

static long pageout(long vmas)
{
	const size_t size = PAGES / vmas * psize();
	long start, took;

	bench_map(vmas, PAGES / vmas);
	/* Pages of one value take no room in zram, and no compression. */
	for (long i = 0; i < vmas; i++)
		memset(bench_page(i), 0x5a, size);
	MUST(!avl_drain());
	bench_settle();
	start = bench_now();
	/* It says that there are gaps, but goes on. */
	MUST(!madvise(bench_page(0), bench_page(vmas) - bench_page(0), MADV_PAGEOUT) ||
	     errno == ENOMEM);
	took = bench_now() - start;
	for (long i = 0; i < vmas; i++)
		if (avl_swapped(bench_page(i), size) * psize() != size)
			ksft_exit_fail_msg("MADV_PAGEOUT left pages of VMA %ld\n", i);
	return took;
}

int main(void)
{
	bench_run("pageout_many", pageout, PAGES, PAGES);
	bench_run("pageout_one", pageout, 1, PAGES);
	return 0;
}
