// SPDX-License-Identifier: GPL-2.0
/* KSM: pages that are merged, inherited, written, migrated and swapped out. */

#include "kselftest_harness.h"

#include "avl.h"

#define NR	16
#define COPIES	3
#define PAGES	(COPIES * NR)
#define SIZE	(NR * psize())

FIXTURE(ksm)
{
	bool lazy;
	char *area;
};

/* Page i of each copy has the same contents. */
static int check(void *area)
{
	for (int i = 0; i < COPIES; i++)
		if (!avl_check((char *)area + i * SIZE, SIZE, 1))
			return -1;
	return 0;
}

FIXTURE_SETUP(ksm)
{
	self->lazy = avl_setup();
	ASSERT_EQ(0, avl_memcg_enter());
	self->area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, self->area);
	for (int i = 0; i < COPIES; i++)
		avl_fill(self->area + i * SIZE, SIZE, 1);
	ASSERT_EQ(0, madvise(self->area, PAGES * psize(), MADV_MERGEABLE));
	ASSERT_EQ(0, avl_ksm_merge(PAGES));
}

FIXTURE_TEARDOWN(ksm)
{
	EXPECT_EQ(0, ksm_stop());
	avl_memcg_leave();
}

/* All is found, KSM pages as well. Their number is returned. */
static long verified(struct __test_metadata *_metadata)
{
	static struct avl_verify verify;

	ASSERT_EQ(0, avl_verify(&verify));
	ASSERT_EQ(0, verify.missed) {
		TH_LOG("verify:\n%s", verify.text);
	}
	ASSERT_EQ(0, verify.ksm_missed);
	return verify.ksm;
}

/* A page of each copy is written and merged no more. */
static int write_some(void *area)
{
	for (int i = 0; i < COPIES; i++)
		avl_fill((char *)area + i * SIZE + i * psize(), psize(), 1 + i);
	return check(area);
}

TEST_F(ksm, merged)
{
	char answer[2048];

	ASSERT_EQ(PAGES, verified(_metadata));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, avl_rmap_walk(getpid(), self->area, answer,
				   sizeof(answer)));
	ASSERT_NE(NULL, strstr(answer, "folio ksm"));
	for (int i = 0; i < COPIES; i++)
		ASSERT_TRUE(avl_rmap_maps(answer, getpid(),
					  self->area + i * SIZE));
	ASSERT_EQ(0, write_some(self->area));
	ASSERT_EQ(PAGES - COPIES, verified(_metadata));
}

TEST_F(ksm, family)
{
	struct avl_child children[3];
	char answer[4000];

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, avl_child_start(&children[i], NULL, check,
					     self->area));
	ASSERT_EQ(4 * PAGES, verified(_metadata));
	ASSERT_EQ(0, avl_rmap_walk(children[0].pid, self->area, answer,
				   sizeof(answer)));
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(avl_rmap_maps(answer, children[i].pid,
					  self->area + i * SIZE));
	ASSERT_EQ(0, avl_child_run(&children[0], write_some));
	ASSERT_EQ(4 * PAGES - COPIES, verified(_metadata));
	/* What the child has written is merged again. */
	ASSERT_EQ(0, avl_ksm_merge(4 * PAGES));
	ASSERT_EQ(4 * PAGES, verified(_metadata));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, avl_child_end(&children[i]));
	ASSERT_EQ(0, check(self->area));
}

/* A page that one mapping is missed of cannot be moved. */
TEST_F(ksm, migrate)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_start(&child, NULL, check, self->area));
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(NR, avl_move(0, self->area, SIZE, i % 2));
		ASSERT_EQ(2 * PAGES, verified(_metadata));
	}
	ASSERT_EQ(0, avl_child_run(&child, check));
	ASSERT_EQ(0, check(self->area));
	ASSERT_EQ(0, avl_child_end(&child));
}

static int resident(void *area)
{
	return PAGES - avl_swapped(area, PAGES * psize());
}

TEST_F(ksm, swap)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_start(&child, NULL, check, self->area));
	while (resident(self->area) || avl_child_run(&child, resident))
		ASSERT_EQ(0, avl_memcg_reclaim());
	ASSERT_EQ(0, verified(_metadata));
	/* One copy only: its pages are in the swap cache now, and mapped. */
	ASSERT_TRUE(avl_check(self->area, SIZE, 1));
	verified(_metadata);
	ASSERT_EQ(0, check(self->area));
	ASSERT_EQ(0, avl_child_run(&child, check));
	verified(_metadata);
	ASSERT_EQ(0, avl_child_end(&child));
}

/* mremap() gives back what was merged. */
TEST_F(ksm, moved)
{
	char *to = avl_addr(100 * PAGES);

	ASSERT_EQ(to, mremap(self->area, PAGES * psize(), PAGES * psize(),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	self->area = to;
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_EQ(0, check(to));
	verified(_metadata);
	ASSERT_EQ(0, avl_ksm_merge(PAGES));
	ASSERT_EQ(PAGES, verified(_metadata));
	ASSERT_EQ(0, check(to));
}

TEST_HARNESS_MAIN
