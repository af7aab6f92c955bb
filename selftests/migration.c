// SPDX-License-Identifier: GPL-2.0
/* Migration between nodes, and compaction, of pages that a family shares. */

#include "avl_test.h"

#define PAGES	64

static char *area;

FIXTURE(family)
{
	bool lazy;
	struct avl_tree tree;
};

static int check(struct avl_tree *t)
{
	return !avl_check(area, PAGES * psize(), 1);
}

/* Page id is the process's own; it writes the same there. */
static int write_own(struct avl_tree *t)
{
	avl_fill(area + t->id * psize(), psize(), 1 + t->id);
	return 0;
}

FIXTURE_SETUP(family)
{
	self->lazy = avl_setup();
	if (avl_nodes() < 2)
		SKIP(return, "needs two NUMA nodes");
	self->tree = (struct avl_tree){
		.depth = 3, .width = 3, .before = write_own, .after = check,
	};
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, avl_tree_start(&self->tree));
}

FIXTURE_TEARDOWN(family)
{
}

/* A page that one mapping is missed of cannot be moved. */
static void move_all(struct __test_metadata *_metadata, struct avl_tree *t)
{
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(PAGES, avl_move(0, area, PAGES * psize(), i % 2));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_tree_run(t, check));
}

TEST_F(family, nodes)
{
	move_all(_metadata, &self->tree);
	ASSERT_EQ(0, avl_tree_end(&self->tree));
}

/* By each process of the family: pages of its own too. */
TEST_F(family, by_each)
{
	const unsigned int size = avl_tree_size(&self->tree);

	for (unsigned int i = 0; i < size; i++) {
		ASSERT_EQ(PAGES, avl_move(self->tree.pids[i], area,
					  PAGES * psize(), i % 2));
	}
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(&self->tree, check));
	ASSERT_EQ(0, avl_tree_end(&self->tree));
}

static int move_area(struct avl_tree *t)
{
	char *to = avl_addr(1000 + t->id * PAGES);

	if (t->id % 2 && mremap(area, PAGES * psize(), PAGES * psize(),
				MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return -1;
	if (t->id % 2)
		area = to;
	return 0;
}

/* Where half of the processes have displaced VMAs. */
TEST_F(family, displaced)
{
	ASSERT_EQ(0, avl_tree_run(&self->tree, move_area));
	ASSERT_VERIFIED();
	move_all(_metadata, &self->tree);
	ASSERT_EQ(0, avl_tree_end(&self->tree));
}

static int split_area(struct avl_tree *t)
{
	for (unsigned int i = 0; i < PAGES; i += 2 + t->id % 5)
		if (mprotect(area + i * psize(), psize(), PROT_READ))
			return -1;
	return 0;
}

TEST_F(family, split)
{
	ASSERT_EQ(0, avl_tree_run(&self->tree, split_area));
	move_all(_metadata, &self->tree);
	ASSERT_EQ(0, avl_tree_end(&self->tree));
}

TEST_F(family, compaction)
{
	const long walks = avl_stat("walks");

	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, avl_write("/proc/sys/vm/compact_memory", "1"));
		ASSERT_VERIFIED();
		ASSERT_EQ(0, avl_tree_run(&self->tree, check));
	}
	if (self->lazy)
		ASSERT_LT(walks, avl_stat("walks"));
	ASSERT_EQ(0, avl_tree_end(&self->tree));
}

TEST_HARNESS_MAIN
