// SPDX-License-Identifier: GPL-2.0
/* Memory that children get empty (MADV_WIPEONFORK) or not at all (DONTFORK). */

#include "kselftest_harness.h"

#include "avl.h"

#define PAGES	8

static char *area;

FIXTURE(wipe)
{
	bool lazy;
	struct avl_child child;
	long usual;
	long usual_displaced;
};

FIXTURE_VARIANT(wipe)
{
	bool displaced;
};

FIXTURE_VARIANT_ADD(wipe, natural) { .displaced = false };
FIXTURE_VARIANT_ADD(wipe, displaced) { .displaced = true };

/* How many lazy VMAs does a child get that inherits all? */
FIXTURE_SETUP(wipe)
{
	self->lazy = avl_setup();
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	if (variant->displaced) {
		area = mremap(area, PAGES * psize(), PAGES * psize(),
			      MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(100));
		ASSERT_EQ(avl_addr(100), area);
	}
	avl_mark();
	ASSERT_EQ(0, avl_child_start(&self->child, NULL, NULL, NULL));
	self->usual = avl_since("vmas_lazy");
	self->usual_displaced = avl_since("vmas_displaced");
	ASSERT_EQ(0, avl_child_end(&self->child));
	avl_mark();
}

FIXTURE_TEARDOWN(wipe)
{
}

static int check(void *arg)
{
	return !avl_check(area, PAGES * psize(), 1);
}

/* Fills what is empty. */
static int fill(void *arg)
{
	for (size_t i = 0; i < PAGES * psize(); i++)
		if (area[i])
			return -1;
	avl_fill(area, PAGES * psize(), 1);
	return check(NULL);
}

/* Unmaps the middle and maps it again: VMAs are split and merged. */
static int remap_middle(void *arg)
{
	char *middle = area + 2 * psize();

	if (munmap(middle, psize()) ||
	    mmap(middle, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != middle)
		return -1;
	avl_fill(middle, psize(), 3);
	return check(NULL);
}

TEST_F(wipe, empty)
{
	ASSERT_EQ(0, madvise(area, PAGES * psize(), MADV_WIPEONFORK));
	ASSERT_EQ(0, avl_child_start(&self->child, NULL, check, NULL));
	ASSERT_LAZY(self->usual - 1, "vmas_lazy");
	ASSERT_LAZY(self->usual_displaced - variant->displaced,
		    "vmas_displaced");
	ASSERT_VERIFIED();
	/* The child's pages are where they belong, even if the parent's are not. */
	ASSERT_EQ(0, avl_child_run(&self->child, fill));
	ASSERT_LAZY(self->usual, "vmas_lazy");
	ASSERT_LAZY(self->usual_displaced - variant->displaced,
		    "vmas_displaced");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_run(&self->child, remap_middle));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, check(NULL));
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(PAGES, avl_move(self->child.pid, area,
					  PAGES * psize(), i));
	ASSERT_EQ(0, avl_child_end(&self->child));

	ASSERT_EQ(0, madvise(area, PAGES * psize(), MADV_KEEPONFORK));
	avl_mark();
	ASSERT_EQ(0, avl_child_start(&self->child, NULL, check, NULL));
	ASSERT_LAZY(self->usual, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&self->child));
}

static int map_and_fill(void *arg)
{
	if (mmap(area, PAGES * psize(), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
	    area)
		return -1;
	return fill(NULL);
}

TEST_F(wipe, not_inherited)
{
	char answer[1024];

	ASSERT_EQ(0, madvise(area, PAGES * psize(), MADV_DONTFORK));
	ASSERT_EQ(0, avl_child_start(&self->child, NULL, check, NULL));
	ASSERT_LAZY(self->usual - 1, "vmas_lazy");
	ASSERT_VERIFIED();
	/* The same place, but other pages. */
	ASSERT_EQ(0, avl_child_run(&self->child, map_and_fill));
	ASSERT_LAZY(self->usual, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_rmap_walk(getpid(), area, answer,
				   sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), area));
	ASSERT_FALSE(avl_rmap_maps(answer, self->child.pid, area));
	ASSERT_EQ(0, check(NULL));
	ASSERT_EQ(0, avl_child_end(&self->child));
}

TEST_HARNESS_MAIN
