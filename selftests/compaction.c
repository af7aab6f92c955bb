// SPDX-License-Identifier: GPL-2.0
/* Compaction of memory that a family shares. */

#include <sched.h>

#include "avl_family.h"

#define PAGES	2048
#define HOLES	4	/* free pages after each page of the family */

static unsigned long pfns[PAGES];

/* Free pages in per-CPU lists are no holes: a large number makes those short. */
static int limit_percpu_lists(const char *fraction)
{
	return avl_write("/proc/sys/vm/percpu_pagelist_high_fraction", fraction);
}

/* One page after the other, as they are probably in memory; others between. */
static char *map_with_holes(void)
{
	char *area = avl_map(0, PAGES), *holes = avl_map(10 * PAGES, HOLES * PAGES);

	if (area == MAP_FAILED || holes == MAP_FAILED)
		return MAP_FAILED;
	for (int i = 0; i < PAGES; i++) {
		area[i * psize()] = 1;
		for (int j = 0; j < HOLES; j++)
			holes[(HOLES * i + j) * psize()] = 1;
	}
	return munmap(holes, HOLES * PAGES * psize()) ? MAP_FAILED : area;
}

FIXTURE_SETUP(family)
{
	cpu_set_t cpu;

	self->lazy = avl_setup();
	/* All on one node. */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	ASSERT_EQ(0, limit_percpu_lists("1000000"));
	self->tree = (struct avl_tree){ .depth = 2, .width = 2 };
	ASSERT_EQ(0, avl_family_start(&self->tree, map_with_holes(),
				      PAGES * psize(), variant->displaced));
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, avl_tree_end(&self->tree));
	EXPECT_EQ(0, limit_percpu_lists("0"));
}

/* How many pages are elsewhere than they were the last time? */
static int moved(const struct avl_tree *t)
{
	int count = 0;

	for (int i = 0; i < PAGES; i++) {
		const unsigned long pfn = avl_pfn(t->areas[0] + i * psize());

		count += pfn != pfns[i];
		pfns[i] = pfn;
	}
	return count;
}

TEST_FAMILY(moved)
{
	struct avl_tree *t = &self->tree;

	moved(t);
	avl_mark();
	ASSERT_EQ(0, avl_write("/proc/sys/vm/compact_memory", "1"));
	ASSERT_LT(0, moved(t));
	if (self->lazy)
		ASSERT_LT(0, avl_since("walks"));
	for (int i = 0; i < PAGES; i += PAGES / 8)
		ASSERT_FAMILY_MAPPED(i * psize());
	ASSERT_FAMILY();
}

TEST_HARNESS_MAIN
