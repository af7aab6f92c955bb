/* SPDX-License-Identifier: GPL-2.0 */
#ifndef AVL_FAMILY_H
#define AVL_FAMILY_H

#include "kselftest_harness.h"

#include "avl.h"

/*
 * A family of processes that share pages, where they were first mapped, or
 * elsewhere in every other process. FIXTURE_SETUP() is left to the test.
 */
FIXTURE(family)
{
	bool lazy;
	struct avl_tree tree;
};

FIXTURE_VARIANT(family)
{
	bool displaced;
};

FIXTURE_VARIANT_ADD(family, natural)
{
	.displaced = false,
};

FIXTURE_VARIANT_ADD(family, displaced)
{
	.displaced = true,
};

/* Walks of all pages in all processes, perhaps on an emulated machine. */
#define TEST_FAMILY(name)	TEST_F_TIMEOUT(family, name, 120)

/* A walk from a page of all finds all. */
#define ASSERT_FAMILY_MAPPED(offset)					\
	ASSERT_EQ(avl_tree_size(&self->tree),				\
		  avl_family_mapped(&self->tree, offset))

/* The memory of all processes is as it was, and found. */
#define ASSERT_FAMILY()							\
do {									\
	ASSERT_EQ(0, avl_tree_run(&self->tree, avl_family_check));	\
	ASSERT_VERIFIED();						\
} while (0)

#endif /* AVL_FAMILY_H */
