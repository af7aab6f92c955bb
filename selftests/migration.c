// SPDX-License-Identifier: GPL-2.0
/* Migration between nodes of pages that a family shares. */

#include "avl_family.h"

#define PAGES	64

FIXTURE_SETUP(family)
{
	self->lazy = avl_setup();
	ASSERT_LE(2, avl_nodes());
	self->tree = (struct avl_tree){ .depth = 3, .width = 2 };
	ASSERT_EQ(0, avl_family_start(&self->tree, avl_map(0, PAGES),
				      PAGES * psize(), variant->displaced));
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, avl_tree_end(&self->tree));
}

/* A page that one mapping is missed of cannot be moved. */
static void move_all(struct __test_metadata *_metadata, struct avl_tree *t)
{
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(PAGES, avl_move(0, t->areas[0], t->size, i % 2));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_tree_run(t, avl_family_check));
}

TEST_FAMILY(shared)
{
	ASSERT_FAMILY_MAPPED(0);
	move_all(_metadata, &self->tree);
	ASSERT_FAMILY_MAPPED(0);
	if (self->lazy)
		ASSERT_LT(0, avl_since("walks"));
}

/* By each process of the family, which has a page of its own. */
TEST_FAMILY(by_each)
{
	struct avl_tree *t = &self->tree;

	ASSERT_EQ(0, avl_tree_run(t, avl_family_write));
	for (unsigned int i = 0; i < avl_tree_size(t); i++) {
		ASSERT_EQ(PAGES, avl_move(t->pids[i], t->areas[i], t->size,
					  i % 2));
	}
	ASSERT_FAMILY();
	move_all(_metadata, t);
}

static int split_area(struct avl_tree *t)
{
	for (unsigned int i = 0; i < PAGES; i += 2 + t->id % 5)
		if (mprotect(avl_family_area(t) + i * psize(), psize(),
			     PROT_READ))
			return -1;
	return 0;
}

TEST_FAMILY(split)
{
	ASSERT_EQ(0, avl_tree_run(&self->tree, split_area));
	move_all(_metadata, &self->tree);
}

TEST_HARNESS_MAIN
