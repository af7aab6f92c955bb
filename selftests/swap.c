// SPDX-License-Identifier: GPL-2.0
/* Swap of pages of one process, and of pages that a family shares. */

#include "avl_family.h"

#define PAGES	32

FIXTURE_SETUP(family)
{
	char swaps[1024];

	self->lazy = avl_setup();
	ASSERT_LT(0, avl_read("/proc/swaps", swaps, sizeof(swaps)));
	ASSERT_NE(NULL, strchr(swaps, '/')) {
		TH_LOG("no swap");
	}
	self->tree = (struct avl_tree){ .depth = 2, .width = 2 };
	ASSERT_EQ(0, avl_memcg_enter());
	ASSERT_EQ(0, avl_family_start(&self->tree, avl_map(0, PAGES),
				      PAGES * psize(), variant->displaced));
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, avl_tree_end(&self->tree));
	avl_memcg_leave();
}

/* How many pages are not swapped out? */
static int resident(struct avl_tree *t)
{
	return PAGES - avl_swapped(avl_family_area(t), t->size);
}

/* Reclaims until no process has a page of the area any more. */
static void swap_out(struct __test_metadata *_metadata, struct avl_tree *t)
{
	while (avl_tree_run(t, resident))
		ASSERT_EQ(0, avl_memcg_reclaim());
	ASSERT_VERIFIED();
}

/* Each process starts elsewhere, and writes every third page. */
static int swap_in(struct avl_tree *t)
{
	for (unsigned int i = t->id; i < t->id + PAGES; i++) {
		char *page = avl_family_area(t) + i % PAGES * psize();

		if (i % 3)
			FORCE_READ(*page);
		else
			avl_fill(page, psize(), 1 + i % PAGES);
	}
	return avl_family_check(t);
}

TEST_FAMILY(all)
{
	for (int i = 0; i < 2; i++) {
		swap_out(_metadata, &self->tree);
		ASSERT_EQ(0, avl_tree_run(&self->tree, swap_in));
		ASSERT_VERIFIED();
	}
	if (self->lazy)
		ASSERT_LT(0, avl_since("walks"));
}

/* One process swaps pages in that are swapped out for the others. */
TEST_FAMILY(each)
{
	struct avl_tree *t = &self->tree;

	for (unsigned int id = 0; id < avl_tree_size(t); id += 3) {
		swap_out(_metadata, t);
		ASSERT_EQ(0, avl_tree_run_in(t, id, swap_in));
		ASSERT_EQ(0, avl_tree_run_in(t, (id + 1) % avl_tree_size(t), resident));
		ASSERT_VERIFIED();
	}
	ASSERT_FAMILY();
}

/* The child of a process that is swapped out. */
TEST_FAMILY(forked)
{
	struct avl_child child;

	swap_out(_metadata, &self->tree);
	ASSERT_EQ(0, avl_child_start(&child, NULL, (void *)avl_family_check,
				     &self->tree));
	ASSERT_EQ(0, avl_child_run(&child, (void *)resident));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_FAMILY();
}

TEST_HARNESS_MAIN
