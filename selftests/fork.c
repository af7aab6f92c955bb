// SPDX-License-Identifier: GPL-2.0
/* Fork: deep and wide trees, forks that fail, forks while disabled. */

#include <errno.h>

#include "avl_test.h"

#define PAGES	16

static char *area;

static int check_area(struct avl_tree *t)
{
	return !avl_check(area, PAGES * psize(), 1);
}

/* Page 1 + id % 8 becomes the process's own, the others stay shared. */
static int write_own(struct avl_tree *t)
{
	avl_fill(area + (1 + t->id % 8) * psize(), psize(), 1000 + t->id);
	return !avl_check(area, psize(), 1) ||
		!avl_check(area + 9 * psize(), 7 * psize(), 10);
}

static int check_own(struct avl_tree *t)
{
	return !avl_check(area + (1 + t->id % 8) * psize(), psize(),
			  1000 + t->id) ||
		!avl_check(area, psize(), 1) ||
		!avl_check(area + 9 * psize(), 7 * psize(), 10);
}

/* Pages of all generations, found from each. */
static void test_tree(struct __test_metadata *_metadata, bool lazy,
		      struct avl_tree *t)
{
	const unsigned int children = avl_tree_size(t) - 1;
	static char answer[8192];

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	avl_mark();
	ASSERT_EQ(0, avl_tree_start(t));

	ASSERT_EQ(lazy ? children : 0, avl_since("contexts"));
	ASSERT_EQ(lazy ? children : 0, avl_since("forks"));
	ASSERT_EQ(lazy ? children : 0,
		  avl_since("anon_vmas") + avl_since("anchors_borrowed"));
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("vmas_eager_total"));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(t, check_area));

	/* Each process is found from each. */
	for (unsigned int i = 0; i <= children; i++) {
		ASSERT_EQ(0, avl_rmap_walk(t->pids[i], area, answer,
					   sizeof(answer)));
		ASSERT_NE(NULL, strstr(answer, lazy ? "anchor lazy" :
				       "anchor eager"));
		for (unsigned int j = 0; j <= children; j++)
			ASSERT_TRUE(avl_rmap_maps(answer, t->pids[j], area));
	}

	ASSERT_EQ(0, avl_tree_run(t, write_own));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(t, check_own));
	ASSERT_EQ(0, avl_tree_end(t));
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_VERIFIED();
}

TEST_F(vmas, deep)
{
	struct avl_tree tree = { .depth = 4, .width = 2 };

	test_tree(_metadata, self->lazy, &tree);
}

TEST_F(vmas, wide)
{
	struct avl_tree tree = { .depth = 1, .width = 64 };

	test_tree(_metadata, self->lazy, &tree);
}

static int fault_new(void *arg)
{
	avl_fill(area, psize(), 2);
	return 0;
}

static int check_new(void *arg)
{
	return !avl_check(area, psize(), 2);
}

/* A VMA whose first fault is after the fork, in both. */
TEST_F(vmas, unfaulted)
{
	struct avl_child child;

	area = avl_map(0, 1);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, avl_child_start(&child, NULL, check_new, NULL));
	avl_mark();
	ASSERT_EQ(0, avl_child_run(&child, fault_new));
	ASSERT_LAZY(1, "vmas_lazy");
	avl_fill(area, psize(), 3);
	ASSERT_LAZY(2, "vmas_lazy");
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_TRUE(avl_check(area, psize(), 3));
}

/* Forks that fail when most VMAs and their page tables are copied. */
TEST_F(vmas, fails)
{
	char *moved = avl_addr(200);
	int failures = 0;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_NE(MAP_FAILED, avl_map(100, PAGES));
	avl_fill(avl_addr(100), PAGES * psize(), 50);
	ASSERT_EQ(moved, mremap(avl_addr(100), PAGES * psize(), PAGES * psize(),
				MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	ASSERT_EQ(0, avl_commit_all());
	avl_mark();
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(EXIT_FAILURE);
		failures += pid == -1 && errno == ENOMEM;
	}
	avl_commit_default();
	ASSERT_EQ(10, failures);
	ASSERT_LAZY(10, "forks");
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_VERIFIED();
	ASSERT_TRUE(avl_check(area, PAGES * psize(), 1));
	ASSERT_TRUE(avl_check(moved, PAGES * psize(), 50));
}

/* What is lazy goes on, what is new is eager. */
TEST_F(vmas, disabled)
{
	struct avl_tree tree = { .depth = 2, .width = 2 };

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_NE(MAP_FAILED, avl_map(100, 1));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	avl_mark();
	ASSERT_EQ(0, avl_tree_start(&tree));
	ASSERT_LAZY(6, "contexts");
	avl_fill(avl_addr(100), psize(), 5);
	ASSERT_EQ(1, avl_since("vmas_eager_total"));
	ASSERT_EQ(0, avl_tree_run(&tree, write_own));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(&tree, check_own));
	ASSERT_EQ(0, avl_tree_end(&tree));
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
