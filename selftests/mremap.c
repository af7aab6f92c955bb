// SPDX-License-Identifier: GPL-2.0
/* mremap() of anonymous memory: who is displaced, and is it all there? */

#include "avl_test.h"

#define PAGES	8

static char *move(int from, int pages, int to, int flags)
{
	return mremap(avl_addr(from), pages * psize(), pages * psize(),
		      MREMAP_MAYMOVE | MREMAP_FIXED | flags, avl_addr(to));
}

static int check(void *arg)
{
	return !avl_check(arg, PAGES * psize(), 1);
}

static char *map_filled(int page)
{
	char *p = avl_map(page, PAGES);

	if (p != MAP_FAILED)
		avl_fill(p, PAGES * psize(), 1);
	return p;
}

TEST_F(vmas, there_and_back)
{
	char answer[1024];

	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(100), move(0, PAGES, 100, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, check(avl_addr(100)));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_rmap_walk(getpid(), avl_addr(103), answer,
				   sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), avl_addr(103)));

	ASSERT_EQ(avl_addr(200), move(100, PAGES, 200, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_VERIFIED();
	ASSERT_EQ(avl_addr(0), move(200, PAGES, 0, 0));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, check(avl_addr(0)));
	ASSERT_VERIFIED();
}

/* Memory that has no pages yet has no place that it comes from. */
TEST_F(vmas, unfaulted)
{
	ASSERT_NE(MAP_FAILED, avl_map(0, PAGES));
	ASSERT_EQ(avl_addr(100), move(0, PAGES, 100, 0));
	avl_fill(avl_addr(100), PAGES * psize(), 1);
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, check(avl_addr(100)));
}

/* New pages of a displaced VMA. */
TEST_F(vmas, faulted_later)
{
	ASSERT_NE(MAP_FAILED, avl_map(0, PAGES));
	avl_fill(avl_addr(0), psize(), 1);
	ASSERT_EQ(avl_addr(100), move(0, PAGES, 100, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	avl_fill(avl_addr(101), (PAGES - 1) * psize(), 2);
	ASSERT_EQ(0, check(avl_addr(100)));
	ASSERT_VERIFIED();
}

TEST_F(vmas, part)
{
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(100), move(2, 3, 100, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_LAZY(3, "vmas_lazy");
	ASSERT_TRUE(avl_check(avl_addr(0), 2 * psize(), 1));
	ASSERT_TRUE(avl_check(avl_addr(100), 3 * psize(), 3));
	ASSERT_TRUE(avl_check(avl_addr(5), 3 * psize(), 6));
	ASSERT_VERIFIED();
	/* It becomes one with its old neighbours. */
	ASSERT_EQ(avl_addr(2), move(100, 3, 2, 0));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_EQ(1, avl_vmas(avl_addr(0), PAGES * psize()));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, check(avl_addr(0)));
	ASSERT_VERIFIED();
}

/* Three VMAs in one call, with gaps. */
TEST_F(vmas, several)
{
	for (int i = 0; i < 3; i++) {
		ASSERT_NE(MAP_FAILED, avl_map(4 * i, 2));
		avl_fill(avl_addr(4 * i), 2 * psize(), 4 * i);
	}
	avl_mark();
	ASSERT_EQ(avl_addr(100), move(0, 12, 100, 0)) {
		TH_LOG("moving several VMAs: %s", strerror(errno));
	}
	ASSERT_EQ(0, avl_vmas(avl_addr(0), 12 * psize()));
	ASSERT_EQ(3, avl_vmas(avl_addr(100), 12 * psize()));
	ASSERT_LAZY(3, "vmas_displaced");
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	for (int i = 0; i < 3; i++) {
		ASSERT_TRUE(avl_check(avl_addr(100 + 4 * i), 2 * psize(),
				      4 * i));
	}
	ASSERT_VERIFIED();
}

/* Over mappings that have pages themselves. */
TEST_F(vmas, fixed)
{
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_NE(MAP_FAILED, avl_map(100, 2 * PAGES));
	avl_fill(avl_addr(100), 2 * PAGES * psize(), 50);
	ASSERT_EQ(avl_addr(104), move(0, PAGES, 104, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_LAZY(3, "vmas_lazy");
	ASSERT_EQ(0, check(avl_addr(104)));
	ASSERT_TRUE(avl_check(avl_addr(100), 4 * psize(), 50));
	ASSERT_TRUE(avl_check(avl_addr(112), 4 * psize(), 62));
	ASSERT_VERIFIED();
}

/* The old VMA stays, without pages. */
TEST_F(vmas, dontunmap)
{
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(100), move(0, PAGES, 100, MREMAP_DONTUNMAP));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_EQ(0, check(avl_addr(100)));
	ASSERT_EQ(1, avl_vmas(avl_addr(0), PAGES * psize()));
	ASSERT_EQ(0, *(char *)avl_addr(0));
	ASSERT_VERIFIED();
	avl_fill(avl_addr(0), PAGES * psize(), 30);
	ASSERT_LAZY(2, "vmas_lazy");
	ASSERT_EQ(0, check(avl_addr(100)));
	ASSERT_TRUE(avl_check(avl_addr(0), PAGES * psize(), 30));
	ASSERT_VERIFIED();
	/* And the other way round. */
	ASSERT_EQ(avl_addr(0), move(100, PAGES, 0, MREMAP_DONTUNMAP));
	ASSERT_EQ(0, check(avl_addr(0)));
	ASSERT_VERIFIED();
}

TEST_F(vmas, shrink)
{
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(0), mremap(avl_addr(0), PAGES * psize(), psize(),
				      0));
	ASSERT_VERIFIED();
	ASSERT_EQ(avl_addr(100), move(0, 1, 100, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_TRUE(avl_check(avl_addr(100), psize(), 1));
	/* To another place and smaller at once. */
	ASSERT_NE(MAP_FAILED, map_filled(200));
	ASSERT_EQ(avl_addr(300), mremap(avl_addr(200), PAGES * psize(),
					2 * psize(),
					MREMAP_MAYMOVE | MREMAP_FIXED,
					avl_addr(300)));
	ASSERT_LAZY(2, "vmas_displaced");
	ASSERT_TRUE(avl_check(avl_addr(300), 2 * psize(), 1));
	ASSERT_VERIFIED();
}

/* In place, for natural and displaced VMAs. */
TEST_F(vmas, grow)
{
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_NE(MAP_FAILED, map_filled(50));
	ASSERT_EQ(avl_addr(100), move(50, PAGES, 100, 0));
	avl_mark();
	for (int page = 0; page <= 100; page += 100) {
		char *p = avl_addr(page);

		ASSERT_EQ(p, mremap(p, PAGES * psize(), 2 * PAGES * psize(),
				    0));
		avl_fill(p + PAGES * psize(), PAGES * psize(), 1 + PAGES);
		ASSERT_TRUE(avl_check(p, 2 * PAGES * psize(), 1));
	}
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_VERIFIED();
}

/* A neighbour is in the way. */
TEST_F(vmas, grow_maymove)
{
	char *p;

	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_NE(MAP_FAILED, mmap(avl_addr(PAGES), psize(), PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS |
				   MAP_FIXED_NOREPLACE, -1, 0));
	ASSERT_EQ(MAP_FAILED, mremap(avl_addr(0), PAGES * psize(),
				     2 * PAGES * psize(), 0));
	p = mremap(avl_addr(0), PAGES * psize(), 2 * PAGES * psize(),
		   MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_LAZY(1, "vmas_displaced");
	avl_fill(p + PAGES * psize(), PAGES * psize(), 1 + PAGES);
	ASSERT_TRUE(avl_check(p, 2 * PAGES * psize(), 1));
	ASSERT_VERIFIED();
}

static int move_and_back(void *arg)
{
	for (int i = 0; i < 4; i++)
		if (move(0, PAGES, 100, 0) != avl_addr(100) ||
		    check(avl_addr(100)) ||
		    move(100, PAGES, 0, 0) != avl_addr(0))
			return -1;
	return check(avl_addr(0));
}

static int move_away(void *arg)
{
	return move(0, PAGES, 100, 0) != avl_addr(100);
}

/* A child moves what its parent, and its own child, map too. */
TEST_F(vmas, child)
{
	struct avl_child children[2];
	char answer[1024];

	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(0, avl_child_start(&children[0], NULL, check, avl_addr(0)));
	ASSERT_EQ(0, avl_child_start(&children[1], NULL, check,
				     avl_addr(100)));
	avl_mark();
	ASSERT_EQ(0, avl_child_run(&children[0], move_and_back));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_run(&children[1], move_away));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_VERIFIED();

	ASSERT_EQ(0, avl_rmap_walk(getpid(), avl_addr(0), answer,
				   sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), avl_addr(0)));
	ASSERT_TRUE(avl_rmap_maps(answer, children[0].pid, avl_addr(0)));
	ASSERT_TRUE(avl_rmap_maps(answer, children[1].pid, avl_addr(100)));
	ASSERT_EQ(0, avl_child_end(&children[0]));
	ASSERT_EQ(0, avl_child_end(&children[1]));
	/* Of each child the stack. */
	ASSERT_LAZY(-2, "vmas_displaced");
}

/* Children of a process with a displaced VMA. */
TEST_F(vmas, inherited)
{
	struct avl_child child;

	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(0, move_away(NULL));
	avl_mark();
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, avl_addr(100)));
	/* This one and, since exec, the stack. */
	ASSERT_LAZY(2, "vmas_displaced");
	ASSERT_VERIFIED();
	ASSERT_EQ(avl_addr(0), move(100, PAGES, 0, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, check(avl_addr(0)));
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_LAZY(-1, "vmas_displaced");
}

/* Another mapping where the pages come from. */
TEST_F(vmas, reused_place)
{
	struct avl_child child;

	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(0, move_away(NULL));
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_LAZY(2, "vmas_lazy");
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, avl_addr(100)));
	ASSERT_VERIFIED();
	avl_mark();
	ASSERT_EQ(avl_addr(200), move(0, PAGES, 200, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, check(avl_addr(100)));
	ASSERT_EQ(0, check(avl_addr(200)));
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Moved by less than its length it is where its own pages were: still visited once. */
TEST_F(vmas, overlap)
{
	char answer[1024];

	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(100), move(0, PAGES, 100, 0));
	ASSERT_EQ(avl_addr(1), move(100, PAGES, 1, 0));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_EQ(0, check(avl_addr(1)));
	ASSERT_EQ(0, avl_rmap_walk(getpid(), avl_addr(2), answer, sizeof(answer)));
	ASSERT_NE(NULL, strstr(answer, "\nmappings 1 visits 1\n")) {
		TH_LOG("%s", answer);
	}
	ASSERT_VERIFIED();
}

/* Displaced by the same distance, neighbours are one. */
TEST_F(vmas, merge)
{
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(100), move(0, PAGES / 2, 100, 0));
	ASSERT_EQ(avl_addr(100 + PAGES / 2), move(PAGES / 2, PAGES / 2,
						  100 + PAGES / 2, 0));
	ASSERT_EQ(1, avl_vmas(avl_addr(100), PAGES * psize()));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, check(avl_addr(100)));
	ASSERT_VERIFIED();
	/* By another one, they are not. */
	ASSERT_NE(MAP_FAILED, map_filled(0));
	ASSERT_EQ(avl_addr(100 + PAGES), move(0, PAGES, 100 + PAGES, 0));
	ASSERT_EQ(2, avl_vmas(avl_addr(100), 2 * PAGES * psize()));
	ASSERT_LAZY(2, "vmas_displaced");
	ASSERT_VERIFIED();
}

/* Page offsets that are no addresses, up to the last one there is. */
TEST_F(vmas, last_offset)
{
	/* Steps of half the address space, above where anything else is. */
	const unsigned long last_offset = -1UL / psize(), step = (1UL << 55) / psize();
	char *p = (char *)(1UL << 48);
	unsigned long offset = (unsigned long)p / psize();
	char answer[1024];

	if (mmap(p, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_NORESERVE | MAP_FIXED, -1, 0) != p)
		SKIP(return, "needs addresses of 57 bits: 5-level page tables");
	avl_fill(p, psize(), 1);
	while (offset < last_offset) {
		const unsigned long n = last_offset - offset < step ? last_offset - offset : step;

		ASSERT_EQ(p, mremap(p, psize(), (n + 1) * psize(), 0));
		avl_fill(p + n * psize(), psize(), 1);
		ASSERT_EQ(0, munmap(p, n * psize()));
		ASSERT_EQ(p, mremap(p + n * psize(), psize(), psize(),
				    MREMAP_MAYMOVE | MREMAP_FIXED, p));
		offset += n;
	}
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_EQ(0, avl_rmap_walk(getpid(), p, answer, sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), p));
	ASSERT_EQ(0, madvise(p, psize(), MADV_PAGEOUT));
	ASSERT_TRUE(avl_check(p, psize(), 1));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
