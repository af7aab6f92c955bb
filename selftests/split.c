// SPDX-License-Identifier: GPL-2.0
/* VMAs that are split: natural ones, moved ones, in a parent and its children. */

#include "avl_test.h"

#define PAGES	9

static char *area;

/* Makes three VMAs of one. */
static int split(void *arg)
{
	return mprotect(area + 3 * psize(), 3 * psize(), PROT_READ);
}

static int check(void *arg)
{
	return avl_vmas(area, PAGES * psize()) != 3 ||
		!avl_check(area, PAGES * psize(), 1);
}

static int write_parts(void *arg)
{
	avl_fill(area, psize(), 1);
	avl_fill(area + 8 * psize(), psize(), 9);
	return check(arg);
}

TEST_F(vmas, natural)
{
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, split(NULL));
	ASSERT_LAZY(3, "vmas_lazy");
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, write_parts(NULL));
	ASSERT_VERIFIED();
}

/* Each part of a displaced VMA has a chain. */
TEST_F(vmas, displaced)
{
	char *old = avl_map(0, PAGES);

	ASSERT_NE(MAP_FAILED, old);
	avl_fill(old, PAGES * psize(), 1);
	area = mremap(old, PAGES * psize(), PAGES * psize(),
		      MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(100));
	ASSERT_EQ(avl_addr(100), area);
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_EQ(0, split(NULL));
	ASSERT_LAZY(3, "vmas_displaced");
	ASSERT_LAZY(3, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, write_parts(NULL));
	ASSERT_EQ(0, munmap(area, PAGES * psize()));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
}

/* The page tables of both are searched for pages that both map. */
TEST_F(vmas, family)
{
	struct avl_child before, after;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, avl_child_start(&before, NULL, check, NULL));
	avl_mark();
	ASSERT_EQ(0, avl_child_run(&before, split));
	ASSERT_LAZY(2, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, split(NULL));
	ASSERT_LAZY(4, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_start(&after, NULL, check, NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_run(&after, write_parts));
	ASSERT_EQ(0, write_parts(NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&before));
	ASSERT_EQ(0, avl_child_end(&after));
}

/* A VMA per page. */
TEST_F(vmas, pages)
{
	const int pages = 100;

	area = avl_map(0, pages);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, pages * psize(), 1);
	avl_mark();
	for (int i = 1; i < pages; i += 2)
		ASSERT_EQ(0, madvise(area + i * psize(), psize(),
				     MADV_DONTDUMP));
	ASSERT_EQ(pages, avl_vmas(area, pages * psize()));
	ASSERT_LAZY(pages - 1, "vmas_lazy");
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_TRUE(avl_check(area, pages * psize(), 1));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
