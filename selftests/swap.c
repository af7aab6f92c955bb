// SPDX-License-Identifier: GPL-2.0
/* Swap of pages of one process and of pages that a family shares. */

#include "avl_test.h"

#define PAGES	64
#define CGROUP	"/sys/fs/cgroup/anon_vma_lazy_swap"

static char *area;

static int check(struct avl_tree *t)
{
	return !avl_check(area, PAGES * psize(), 1);
}

static int swapped(struct avl_tree *t)
{
	return avl_swapped(area, PAGES * psize()) != PAGES;
}

/* Swaps in each page, every third by a write of what is there. */
static int touch(struct avl_tree *t)
{
	for (unsigned int i = t->id; i < t->id + PAGES; i++) {
		char *page = area + i % PAGES * psize();

		if (i % 3)
			FORCE_READ(*page);
		else
			avl_fill(page, psize(), 1 + i % PAGES);
	}
	return check(t);
}

FIXTURE(family)
{
	bool lazy;
	struct avl_tree tree;
};

FIXTURE_SETUP(family)
{
	char swaps[1024];

	self->lazy = avl_setup();
	ASSERT_LT(0, avl_read("/proc/swaps", swaps, sizeof(swaps)));
	if (!strchr(strchr(swaps, '\n'), '/'))
		SKIP(return, "needs swap");
	self->tree = (struct avl_tree){ .depth = 2, .width = 3, .after = check };
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
}

FIXTURE_TEARDOWN(family)
{
}

static int page_out(struct avl_tree *t)
{
	return madvise(area, PAGES * psize(), MADV_PAGEOUT);
}

/* Reclaims pages that are mapped by several too, as far as it goes. */
static int reclaim(void)
{
	char pid[16];
	int err;

	avl_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(CGROUP, 0700);
	snprintf(pid, sizeof(pid), "%d", getpid());
	err = avl_write(CGROUP "/cgroup.procs", pid);
	return err;
}

TEST_F(family, alone)
{
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, page_out(NULL));
		ASSERT_EQ(0, swapped(NULL));
		ASSERT_VERIFIED();
		ASSERT_EQ(0, touch(&self->tree));
		ASSERT_VERIFIED();
	}
}

/* Children have copies of swap entries, and fault them in one after another. */
TEST_F(family, swapped_before_fork)
{
	ASSERT_EQ(0, page_out(NULL));
	ASSERT_EQ(0, swapped(NULL));
	ASSERT_EQ(0, avl_tree_start(&self->tree));
	ASSERT_EQ(0, avl_tree_run(&self->tree, swapped));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(&self->tree, touch));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_end(&self->tree));
	ASSERT_EQ(0, check(NULL));
}

TEST_HARNESS_MAIN
