// SPDX-License-Identifier: GPL-2.0
/* DAMON on physical addresses: sees, moves, pages out what a family shares. */

#include "avl_family.h"

#define PAGES		8
#define ADMIN		"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT		ADMIN "0/contexts/0/"

FIXTURE_SETUP(family)
{
	self->lazy = avl_setup();
	ASSERT_LE(2, avl_nodes());
	self->tree = (struct avl_tree){ .depth = 3, .width = 2 };
	ASSERT_EQ(0, avl_family_start(&self->tree, avl_map(0, PAGES),
				      PAGES * psize(), variant->displaced));
	ASSERT_EQ(0, avl_drain());
	ASSERT_EQ(0, write_sysfs(ADMIN "nr_kdamonds", 1));
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, write_sysfs(ADMIN "nr_kdamonds", 0));
	EXPECT_EQ(0, avl_tree_end(&self->tree));
}

/* Does an action to the first page when it was accessed at least so often. */
static void kdamond_on(struct __test_metadata *_metadata, struct avl_tree *t,
		       const char *action, int accesses)
{
	const unsigned long address = avl_pfn(t->areas[0]) * psize();
	const struct {
		const char *file;
		unsigned long value;
	} settings[] = {
		{ "monitoring_attrs/intervals/sample_us", 1000 },
		{ "monitoring_attrs/intervals/aggr_us", 10000 },
		{ "targets/nr_targets", 1 },
		{ "targets/0/regions/nr_regions", 1 },
		{ "targets/0/regions/0/start", address },
		{ "targets/0/regions/0/end", address + psize() },
		{ "schemes/nr_schemes", 1 },
		{ "schemes/0/target_nid", 1 },
		{ "schemes/0/access_pattern/sz/max", ~0UL },
		{ "schemes/0/access_pattern/nr_accesses/min", accesses },
		{ "schemes/0/access_pattern/nr_accesses/max", ~0U },
		{ "schemes/0/access_pattern/age/max", ~0U },
	};

	ASSERT_EQ(0, write_sysfs(ADMIN "0/contexts/nr_contexts", 1));
	ASSERT_EQ(0, avl_write(CONTEXT "operations", "paddr"));
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char path[256];

		snprintf(path, sizeof(path), CONTEXT "%s", settings[i].file);
		ASSERT_EQ(0, write_sysfs(path, settings[i].value)) {
			TH_LOG("%s", path);
		}
	}
	ASSERT_EQ(0, avl_write(CONTEXT "schemes/0/action", action));
	avl_mark();
	ASSERT_EQ(0, avl_write(ADMIN "0/state", "on"));
}

static void kdamond_off(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, avl_write(ADMIN "0/state", "off"));
}

/* Until the page is at another place, for this process. */
static int touch_until_moved(struct avl_tree *t)
{
	const unsigned long pfn = avl_pfn(avl_family_area(t));
	int err = 0;

	while (!err && avl_pfn(avl_family_area(t)) == pfn)
		err = avl_family_touch(t);
	return err;
}

/* A page that one of the family accesses goes to another node, for all. */
TEST_FAMILY(accessed)
{
	struct avl_tree *t = &self->tree;

	for (unsigned int id = 0; id < avl_tree_size(t); id++) {
		ASSERT_EQ(1, avl_move(0, t->areas[0], psize(), 0));
		kdamond_on(_metadata, t, "migrate_hot", 1);
		ASSERT_EQ(0, avl_tree_run_in(t, id, touch_until_moved));
		kdamond_off(_metadata);
		if (self->lazy)
			ASSERT_LT(0, avl_since("walks"));
		ASSERT_FAMILY_MAPPED(0);
		ASSERT_FAMILY();
	}
}

/* A page that nobody accesses is paged out, for all. */
static int resident(struct avl_tree *t)
{
	return 1 - avl_swapped(avl_family_area(t), psize());
}

TEST_FAMILY(paged_out)
{
	kdamond_on(_metadata, &self->tree, "pageout", 0);
	while (avl_tree_run(&self->tree, resident))
		;
	kdamond_off(_metadata);
	ASSERT_FAMILY();
}

TEST_HARNESS_MAIN
