// SPDX-License-Identifier: GPL-2.0
/* First faults: of a process, of VMAs, of VMAs next to others. */

#include "kselftest_harness.h"

#include "avl.h"

#define NR	100

FIXTURE(fault)
{
	bool lazy;
};

FIXTURE_SETUP(fault)
{
	self->lazy = avl_enabled();
	/* So that all that a look at the statistics touches is there. */
	avl_stat("vmas_lazy");
	avl_slab("anon_vma");
}

FIXTURE_TEARDOWN(fault)
{
}

/* Each VMA that takes its first fault is counted, and needs no anon_vma. */
TEST_F(fault, separate)
{
	const long lazy = avl_stat("vmas_lazy");
	const long eager = avl_stat("vmas_eager_total");
	const long anon_vmas = avl_stat("anon_vmas");
	const long slab = avl_slab("anon_vma");
	char *p[NR];

	for (int i = 0; i < NR; i++) {
		p[i] = avl_map(4 * i, 2);
		ASSERT_NE(MAP_FAILED, p[i]);
	}
	ASSERT_EQ(lazy, avl_stat("vmas_lazy"));
	for (int i = 0; i < NR; i++)
		avl_fill(p[i], 2 * psize(), i);

	if (self->lazy) {
		ASSERT_EQ(lazy + NR, avl_stat("vmas_lazy"));
		ASSERT_EQ(eager, avl_stat("vmas_eager_total"));
		ASSERT_EQ(anon_vmas, avl_stat("anon_vmas"));
		ASSERT_LT(avl_slab("anon_vma"), slab + NR);
	} else {
		ASSERT_EQ(lazy, avl_stat("vmas_lazy"));
		ASSERT_EQ(eager + NR, avl_stat("vmas_eager_total"));
	}
	for (int i = 0; i < NR; i++)
		ASSERT_TRUE(avl_check(p[i], 2 * psize(), i));
	ASSERT_VERIFIED();

	for (int i = 0; i < NR; i++)
		ASSERT_EQ(0, munmap(p[i], 2 * psize()));
	ASSERT_EQ(lazy, avl_stat("vmas_lazy"));
}

TEST_HARNESS_MAIN
