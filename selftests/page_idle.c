// SPDX-License-Identifier: GPL-2.0
/* Idle page tracking: who of those that map a page has touched it? */

#include <errno.h>
#include <fcntl.h>

#include "avl_family.h"

#define PAGES	8

FIXTURE_SETUP(family)
{
	self->lazy = avl_setup();
	self->tree = (struct avl_tree){ .depth = 3, .width = 2 };
	ASSERT_EQ(0, avl_family_start(&self->tree, avl_map(0, PAGES),
				      PAGES * psize(), variant->displaced));
	ASSERT_EQ(0, avl_drain());
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, avl_tree_end(&self->tree));
}

static int open_bitmap(void)
{
	return open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
}

static int set_idle(unsigned long pfn)
{
	const unsigned long bit = BIT_ULL(pfn % 64);
	const int fd = open_bitmap();
	const int done = pwrite(fd, &bit, sizeof(bit), pfn / 64 * 8);

	if (done != sizeof(bit))
		ksft_print_msg("page frame %#lx: %s\n", pfn, strerror(errno));
	close(fd);
	return done != sizeof(bit);
}

static bool is_idle(unsigned long pfn)
{
	const int fd = open_bitmap();
	unsigned long bits = 0;

	if (pread(fd, &bits, sizeof(bits), pfn / 64 * 8) != sizeof(bits))
		ksft_exit_fail_msg("cannot read the idle page bitmap\n");
	close(fd);
	return bits & BIT_ULL(pfn % 64);
}

TEST_FAMILY(each)
{
	struct avl_tree *t = &self->tree;
	const unsigned long pfn = avl_pfn(t->areas[0]);

	ASSERT_NE(-1UL, pfn);
	ASSERT_EQ(0, avl_tree_run(t, avl_family_touch));
	for (unsigned int id = 0; id < avl_tree_size(t); id++) {
		avl_mark();
		ASSERT_EQ(0, set_idle(pfn));
		ASSERT_TRUE(is_idle(pfn));
		if (self->lazy)
			ASSERT_LE(2 * avl_tree_size(t), avl_since("walk_vmas"));
		ASSERT_EQ(0, avl_tree_run_in(t, id, avl_family_touch));
		ASSERT_FALSE(is_idle(pfn));
	}
	ASSERT_EQ(pfn, avl_pfn(t->areas[0]));
	ASSERT_FAMILY();
}

/* A page that one process alone has. */
TEST_FAMILY(own)
{
	struct avl_tree *t = &self->tree;
	unsigned long pfn;

	avl_fill(t->areas[0], psize(), 1);
	ASSERT_EQ(0, avl_drain());
	pfn = avl_pfn(t->areas[0]);
	ASSERT_NE(-1UL, pfn);
	ASSERT_EQ(0, set_idle(pfn));
	for (unsigned int id = 1; id < avl_tree_size(t); id++) {
		ASSERT_EQ(0, avl_tree_run_in(t, id, avl_family_touch));
		ASSERT_TRUE(is_idle(pfn));
	}
	ASSERT_EQ(0, avl_family_touch(t));
	ASSERT_FALSE(is_idle(pfn));
	ASSERT_FAMILY();
}

TEST_HARNESS_MAIN
