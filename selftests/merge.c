// SPDX-License-Identifier: GPL-2.0
/* VMAs that become one, wholly or in part. */

#include "avl_test.h"

#define PAGES	12

static char *area;

static int protect(int first, int pages, int prot)
{
	return mprotect(area + first * psize(), pages * psize(), prot);
}

static int back_and_forth(void *arg)
{
	for (int i = 0; i < 10; i++) {
		if (protect(4, 4, PROT_READ) || protect(0, 2, PROT_NONE) ||
		    protect(0, PAGES, PROT_READ | PROT_WRITE))
			return -1;
	}
	return !avl_check(area, PAGES * psize(), 1);
}

static int check_merged(void *arg)
{
	return avl_vmas(area, PAGES * psize()) != 1 ||
		!avl_check(area, PAGES * psize(), 1);
}

static int check(void *arg)
{
	return !avl_check(area, PAGES * psize(), 1);
}

TEST_F(vmas, mprotect)
{
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, protect(4, 4, PROT_READ));
	ASSERT_LAZY(3, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, protect(4, 4, PROT_READ | PROT_WRITE));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, back_and_forth(NULL));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, check_merged(NULL));
	ASSERT_VERIFIED();
}

/* Lazy VMAs of a child merge again, eager ones do not. */
TEST_F(vmas, child)
{
	struct avl_child child;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, protect(4, 4, PROT_READ));
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	ASSERT_VERIFIED();
	avl_mark();
	ASSERT_EQ(0, avl_child_run(&child, back_and_forth));
	ASSERT_LAZY(-2, "vmas_lazy");
	if (self->lazy)
		ASSERT_EQ(0, avl_child_run(&child, check_merged));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, back_and_forth(NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Only one of two has anonymous pages: before, or after the other one. */
TEST_F(vmas, unfaulted)
{
	for (int faulted = 0; faulted < 2; faulted++) {
		area = avl_map(100 * faulted, PAGES);
		ASSERT_NE(MAP_FAILED, area);
		avl_mark();
		ASSERT_EQ(0, protect(PAGES / 2, PAGES / 2, PROT_NONE));
		if (faulted)
			ASSERT_EQ(0, protect(0, PAGES / 2, PROT_READ));
		ASSERT_EQ(0, protect(faulted * PAGES / 2, PAGES / 2,
				     PROT_READ | PROT_WRITE));
		avl_fill(area + faulted * PAGES / 2 * psize(),
			 PAGES / 2 * psize(), 1 + faulted * PAGES / 2);
		ASSERT_LAZY(1, "vmas_lazy");
		ASSERT_EQ(0, protect(0, PAGES, PROT_READ | PROT_WRITE));
		ASSERT_LAZY(1, "vmas_lazy");
		ASSERT_EQ(1, avl_vmas(area, PAGES * psize()));
		ASSERT_VERIFIED();
		avl_fill(area, PAGES * psize(), 1);
		ASSERT_LAZY(1, "vmas_lazy");
		ASSERT_EQ(0, check_merged(NULL));
		ASSERT_VERIFIED();
	}
}

/* The border between two VMAs moves to and fro. */
TEST_F(vmas, border)
{
	struct avl_child child;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, protect(PAGES / 2, PAGES / 2, PROT_READ));
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	avl_mark();
	for (int border = PAGES / 2; border > 1; border--) {
		ASSERT_EQ(0, protect(border - 1, 1, PROT_READ));
		ASSERT_EQ(2, avl_vmas(area, PAGES * psize()));
		ASSERT_VERIFIED();
	}
	for (int border = 1; border < PAGES - 1; border++) {
		ASSERT_EQ(0, protect(border, 1, PROT_READ | PROT_WRITE));
		ASSERT_EQ(2, avl_vmas(area, PAGES * psize()));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_EQ(0, check(NULL));
	ASSERT_EQ(0, avl_child_end(&child));
}

/* A new mapping fills the gap between two: lazy ones share an anon_vma. */
TEST_F(vmas, gap)
{
	area = avl_map(0, 4);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_NE(MAP_FAILED, avl_map(8, 4));
	avl_fill(area, 4 * psize(), 1);
	avl_fill(area + 8 * psize(), 4 * psize(), 9);
	ASSERT_LAZY(2, "vmas_lazy");
	ASSERT_NE(MAP_FAILED, avl_map(4, 4));
	ASSERT_EQ(self->lazy ? 1 : 2, avl_vmas(area, PAGES * psize()));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_VERIFIED();
	avl_fill(area + 4 * psize(), 4 * psize(), 5);
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

/* A lazy VMA and an eager one do not become one. */
TEST_F(vmas, mixed)
{
	const char *other = self->lazy ? "0" : "1";

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, madvise(area + 4 * psize(), 4 * psize(), MADV_DONTDUMP));
	avl_fill(area, 4 * psize(), 1);
	ASSERT_EQ(0, avl_set_parameter("enabled", other));
	avl_fill(area + 4 * psize(), 4 * psize(), 5);
	avl_fill(area + 8 * psize(), 4 * psize(), 9);
	ASSERT_EQ(self->lazy ? 1 : 2, avl_since("vmas_lazy"));
	ASSERT_EQ(0, madvise(area, PAGES * psize(), MADV_DODUMP));
	/* Eager ones do not become one either: each has its own anon_vma. */
	ASSERT_EQ(self->lazy ? 3 : 2, avl_vmas(area, PAGES * psize()));
	ASSERT_EQ(1, avl_since("vmas_lazy"));
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

/* An eager VMA stays one with those it could merge with. */
TEST_F(vmas, eager_neighbour)
{
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(0, protect(PAGES / 2, PAGES / 2, PROT_NONE));
	avl_fill(area, PAGES / 2 * psize(), 1);
	ASSERT_EQ(1, avl_since("vmas_eager_total"));
	ASSERT_EQ(0, avl_set_parameter("enabled", "1"));
	ASSERT_EQ(0, protect(PAGES / 2, PAGES / 2,
			     PROT_READ | PROT_WRITE | PROT_EXEC));
	/* Far away: gives the process a context, if it has none yet. */
	ASSERT_NE(MAP_FAILED, avl_map(1000, 1));
	avl_fill(avl_addr(1000), psize(), 1);
	ASSERT_EQ(1, avl_since("vmas_lazy"));
	avl_fill(area + PAGES / 2 * psize(), PAGES / 2 * psize(),
		 1 + PAGES / 2);
	ASSERT_EQ(2, avl_since("vmas_eager_total"));
	ASSERT_EQ(1, avl_since("vmas_lazy"));
	ASSERT_EQ(0, protect(0, PAGES, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, check_merged(NULL));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
