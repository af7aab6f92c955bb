// SPDX-License-Identifier: GPL-2.0
/* mmap(MAP_FIXED) over mappings. */

#include "avl_test.h"

#define PAGES	16

static char *area;

static int check(void *arg)
{
	return !avl_check(area, PAGES * psize(), 1);
}

static char *map_over(int page, int pages, int prot, int flags)
{
	return mmap(area + page * psize(), pages * psize(), prot,
		    flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static bool is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

FIXTURE_VARIANT(over)
{
	int page;
	int pages;
	int flags;
};

FIXTURE(over)
{
	bool lazy;
	struct avl_child child;
};

/* Three VMAs, shared with a child. */
FIXTURE_SETUP(over)
{
	self->lazy = avl_setup();
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, mprotect(area + 4 * psize(), 8 * psize(), PROT_READ));
	ASSERT_EQ(0, avl_child_start(&self->child, NULL, check, NULL));
	avl_mark();
}

FIXTURE_TEARDOWN(over)
{
	EXPECT_EQ(0, avl_child_end(&self->child));
}

FIXTURE_VARIANT_ADD(over, all) { .page = 0, .pages = PAGES, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(over, one) { .page = 4, .pages = 8, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(over, part) { .page = 6, .pages = 4, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(over, border) { .page = 2, .pages = 5, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(over, borders) { .page = 2, .pages = 13, .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(over, shared) { .page = 2, .pages = 13, .flags = MAP_SHARED };

TEST_F(over, mapped)
{
	const int end = variant->page + variant->pages;
	const char *p = map_over(variant->page, variant->pages,
				 PROT_READ | PROT_WRITE, variant->flags);

	ASSERT_EQ(area + variant->page * psize(), p);
	ASSERT_VERIFIED();
	ASSERT_TRUE(is_zero(p, variant->pages * psize()));
	ASSERT_TRUE(avl_check(area, variant->page * psize(), 1));
	ASSERT_TRUE(avl_check(area + end * psize(), (PAGES - end) * psize(),
			      1 + end));
	avl_fill((char *)p, variant->pages * psize(), 1 + variant->page);
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, munmap(area, PAGES * psize()));
	ASSERT_LAZY(-3, "vmas_lazy");
	ASSERT_VERIFIED();
}

/* A file over anonymous memory, anonymous memory over pages of a file. */
TEST_F(vmas, file)
{
	int fd = memfd_create("map_fixed", MFD_CLOEXEC);
	struct avl_child child;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, PAGES * psize()));
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(area, mmap(area, PAGES * psize(), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_FIXED, fd, 0));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_TRUE(is_zero(area, PAGES * psize()));
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	ASSERT_EQ(area + psize(), map_over(1, 2, PROT_READ, MAP_PRIVATE));
	ASSERT_TRUE(is_zero(area + psize(), 2 * psize()));
	ASSERT_VERIFIED();
	ASSERT_TRUE(avl_check(area + 3 * psize(), (PAGES - 3) * psize(), 4));
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Again and again, at the same place. */
TEST_F(over, again)
{
	for (int i = 0; i < 20; i++) {
		ASSERT_NE(MAP_FAILED, map_over(variant->page, variant->pages,
					       PROT_READ | PROT_WRITE,
					       variant->flags));
		avl_fill(area + variant->page * psize(),
			 variant->pages * psize(), 1 + variant->page);
		ASSERT_EQ(0, check(NULL));
	}
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
