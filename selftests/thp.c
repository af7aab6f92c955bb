// SPDX-License-Identifier: GPL-2.0
/* Huge pages that are shared, split, collapsed, moved and swapped out. */

#include <linux/mman.h>

#include "avl_family.h"

#define HUGE	read_pmd_pagesize()
#define PAGES	(HUGE / psize())

FIXTURE_SETUP(family)
{
	char *area = avl_map(0, PAGES);

	self->lazy = avl_setup();
	self->tree = (struct avl_tree){ .depth = 1, .width = 3 };
	ASSERT_EQ(0, avl_memcg_enter());
	ASSERT_EQ(0, madvise(area, HUGE, MADV_HUGEPAGE));
	ASSERT_EQ(0, avl_family_start(&self->tree, area, HUGE,
				      variant->displaced));
	ASSERT_TRUE(check_huge_anon(area, HUGE, 1, HUGE));
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, avl_tree_end(&self->tree));
	avl_memcg_leave();
}

static int not_huge(struct avl_tree *t)
{
	return !check_huge_anon(avl_family_area(t), t->size, 1, HUGE);
}

static int huge(struct avl_tree *t)
{
	return !check_huge_anon(avl_family_area(t), t->size, 0, HUGE);
}

/* The order of the folio at an address of this process, -1 on failure. */
static int order_at(const char *p)
{
	char answer[8192];
	int order;

	if (avl_rmap_walk(getpid(), p, answer, sizeof(answer)) ||
	    sscanf(answer, "folio anon order %d", &order) != 1)
		return -1;
	return order;
}

/* The page tables of each process, not the folios. */
static int split_tables(struct avl_tree *t)
{
	char *area = avl_family_area(t);

	return mprotect(area + psize(), (t->id + 1) * psize(), PROT_READ) ||
		mprotect(area + HUGE / 2, HUGE / 4, PROT_READ) ||
		mprotect(area + HUGE / 2, HUGE / 4, PROT_READ | PROT_WRITE) ||
		huge(t);
}

TEST_FAMILY(split_tables)
{
	ASSERT_EQ(0, avl_tree_run(&self->tree, not_huge));
	ASSERT_FAMILY_MAPPED(0);
	ASSERT_EQ(0, avl_tree_run(&self->tree, split_tables));
	ASSERT_FAMILY_MAPPED(0);
	ASSERT_FAMILY();
	ASSERT_EQ(sz2ord(HUGE, psize()), order_at(self->tree.areas[0]));
}

/* The folios, which all of the family map. */
static void split(struct __test_metadata *_metadata, struct avl_tree *t,
		  int order)
{
	char question[64];

	snprintf(question, sizeof(question), "%d,0x%lx,0x%lx,%d", getpid(),
		 (long)t->areas[0], (long)t->areas[0] + t->size, order);
	ASSERT_EQ(0, avl_write("/sys/kernel/debug/split_huge_pages", question));
	ASSERT_EQ(order, order_at(t->areas[0]));
	ASSERT_EQ(order, order_at(t->areas[0] + t->size - 1));
}

TEST_FAMILY(split)
{
	avl_mark();
	split(_metadata, &self->tree, 4);
	if (self->lazy)
		ASSERT_LT(0, avl_since("walks"));
	ASSERT_FAMILY();
	split(_metadata, &self->tree, 0);
	ASSERT_FAMILY_MAPPED(psize());
	ASSERT_FAMILY();
}

static int collapse(struct avl_tree *t)
{
	return madvise(avl_family_area(t), t->size, MADV_COLLAPSE) ||
		not_huge(t);
}

/* Each process gets huge pages of its own, of pages that all shared. */
TEST_FAMILY(collapse)
{
	split(_metadata, &self->tree, 0);
	for (unsigned int id = 0; id < avl_tree_size(&self->tree); id++) {
		ASSERT_EQ(0, avl_tree_run_in(&self->tree, id, collapse));
		ASSERT_VERIFIED();
	}
	ASSERT_FAMILY();
	ASSERT_EQ(0, avl_tree_run(&self->tree, avl_family_write));
	ASSERT_FAMILY();
}

/* Writes to one page split the page table, and copy. */
TEST_FAMILY(write)
{
	ASSERT_EQ(0, avl_tree_run(&self->tree, avl_family_write));
	ASSERT_FAMILY();
	split(_metadata, &self->tree, 0);
	ASSERT_FAMILY();
}

TEST_FAMILY(migrate)
{
	struct avl_tree *t = &self->tree;

	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(1, avl_move(0, t->areas[0], psize(), i % 2));
		ASSERT_VERIFIED();
	}
	ASSERT_FAMILY_MAPPED(0);
	ASSERT_FAMILY();
}

static int resident(struct avl_tree *t)
{
	return t->size / psize() - avl_swapped(avl_family_area(t), t->size);
}

TEST_FAMILY(swap)
{
	while (avl_tree_run(&self->tree, resident))
		ASSERT_EQ(0, avl_memcg_reclaim());
	ASSERT_FAMILY();
	ASSERT_EQ(0, avl_tree_run(&self->tree, collapse));
	ASSERT_FAMILY();
}

static int drop_rest(struct avl_tree *t)
{
	const size_t kept = t->size / 4;
	const size_t rest = t->size - kept;

	t->size = kept;
	return munmap(avl_family_area(t) + kept, rest) || avl_family_check(t);
}

static int punch(struct avl_tree *t)
{
	return munmap(avl_family_area(t) + HUGE / 4, HUGE / 4);
}

static int refill(struct avl_tree *t)
{
	char *hole = avl_family_area(t) + HUGE / 4;

	if (mmap(hole, HUGE / 4, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != hole)
		return -errno;
	avl_fill(hole, HUGE / 4, 1 + PAGES / 4);
	return 0;
}

/* What is behind a hole in a huge page is found as well. */
TEST_FAMILY(hole)
{
	struct avl_tree *t = &self->tree;

	for (unsigned int id = 0; id < avl_tree_size(t); id++) {
		ASSERT_EQ(0, avl_tree_run_in(t, id, punch));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_tree_run(t, refill));
	ASSERT_FAMILY();
}

/* The pages that nobody needs are given back when memory is scarce. */
TEST_FAMILY(partly_unmapped)
{
	struct avl_tree *t = &self->tree;

	for (unsigned int id = avl_tree_size(t); id--;) {
		ASSERT_EQ(0, avl_tree_run_in(t, id, drop_rest));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_memcg_reclaim());
	ASSERT_FAMILY();
}

TEST_HARNESS_MAIN
