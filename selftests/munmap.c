// SPDX-License-Identifier: GPL-2.0
/* munmap() of a whole VMA, of its start, its end, its middle, of several. */

#include "avl_test.h"

#define PAGES	16

static char *area;

static int check(void *arg)
{
	return !avl_check(area, PAGES * psize(), 1);
}

/* What is unmapped of the area, and how many VMAs are left. */
struct part {
	int first;
	int pages;
	int left;
};

FIXTURE_VARIANT(part)
{
	struct part part;
};

FIXTURE(part)
{
	bool lazy;
};

FIXTURE_SETUP(part)
{
	self->lazy = avl_setup();
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	avl_mark();
}

FIXTURE_TEARDOWN(part)
{
}

FIXTURE_VARIANT_ADD(part, whole) { { 0, PAGES, 0 } };
FIXTURE_VARIANT_ADD(part, start) { { 0, 5, 1 } };
FIXTURE_VARIANT_ADD(part, end) { { 10, 6, 1 } };
FIXTURE_VARIANT_ADD(part, hole) { { 4, 7, 2 } };

static void unmap(struct __test_metadata *_metadata, const struct part *part)
{
	const int end = part->first + part->pages;

	ASSERT_EQ(0, munmap(area + part->first * psize(),
			    part->pages * psize()));
	ASSERT_EQ(part->left, avl_vmas(area, PAGES * psize()));
	ASSERT_TRUE(avl_check(area, part->first * psize(), 1));
	ASSERT_TRUE(avl_check(area + end * psize(), (PAGES - end) * psize(),
			      1 + end));
	ASSERT_VERIFIED();
}

TEST_F(part, alone)
{
	const struct part *part = &variant->part;

	unmap(_metadata, part);
	ASSERT_LAZY(part->left - 1, "vmas_lazy");
	ASSERT_LAZY(1, "vmas_detached_total");
	/* New memory in the hole. */
	ASSERT_NE(MAP_FAILED, avl_map(part->first, part->pages));
	avl_fill(area + part->first * psize(), part->pages * psize(),
		 1 + part->first);
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

/* The parent unmaps what its child maps. */
TEST_F(part, parent)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	unmap(_metadata, &variant->part);
	ASSERT_EQ(0, avl_child_end(&child));
}

static int unmap_part(void *arg)
{
	const struct part *part = arg;

	return munmap(area + part->first * psize(), part->pages * psize());
}

/* The child unmaps what its parent and its own child map. */
TEST_F(part, child)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_start(&child, NULL, unmap_part,
				     (void *)&variant->part));
	ASSERT_EQ(0, avl_child_run(&child, unmap_part));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, check(NULL));
	ASSERT_EQ(0, avl_child_end(&child));
}

/* A displaced VMA stays visible by its chain. */
TEST_F(part, displaced)
{
	const struct part *part = &variant->part;
	char *moved = mremap(area, PAGES * psize(), PAGES * psize(),
			     MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(100));

	ASSERT_EQ(avl_addr(100), moved);
	area = moved;
	avl_mark();
	unmap(_metadata, part);
	ASSERT_LAZY(part->left - 1, "vmas_displaced");
	ASSERT_LAZY(part->left - 1, "vmas_lazy");
	ASSERT_EQ(0, avl_since("vmas_detached_total"));
}

/* Several at once, the first and the last in part. */
TEST_F(vmas, several)
{
	struct avl_child child;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	for (int i = 2; i < PAGES; i += 4)
		ASSERT_EQ(0, mprotect(area + i * psize(), 2 * psize(),
				      PROT_READ));
	ASSERT_EQ(PAGES / 2, avl_vmas(area, PAGES * psize()));
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	avl_mark();
	ASSERT_EQ(0, munmap(area + psize(), (PAGES - 2) * psize()));
	ASSERT_LAZY(PAGES / 2, "vmas_detached_total");
	ASSERT_LAZY(2 - PAGES / 2, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_TRUE(avl_check(area, psize(), 1));
	ASSERT_EQ(0, avl_child_end(&child));
}

TEST_HARNESS_MAIN
