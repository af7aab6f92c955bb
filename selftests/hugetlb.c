// SPDX-License-Identifier: GPL-2.0
/* hugetlb stays eager. */

#include <errno.h>

#include "kselftest_harness.h"

#include "avl.h"

#define HUGE	read_pmd_pagesize()
#define PAGES	(HUGE / psize())
#define NR	2
#define POOL	"/proc/sys/vm/nr_hugepages"

FIXTURE(hugetlb)
{
	bool lazy;
	char *p;
};

static char *map(unsigned long page)
{
	return mmap(avl_addr(page), NR * HUGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		    MAP_FIXED_NOREPLACE, -1, 0);
}

FIXTURE_SETUP(hugetlb)
{
	self->lazy = avl_setup();
	ASSERT_EQ(0, write_sysfs(POOL, 8 * NR));
	self->p = map(0);
	ASSERT_NE(MAP_FAILED, self->p);
	avl_mark();
	avl_fill(self->p, NR * HUGE, 1);
	ASSERT_EQ(1, avl_since("vmas_eager_total"));
	ASSERT_EQ(0, avl_since("vmas_lazy_total"));
}

FIXTURE_TEARDOWN(hugetlb)
{
	write_sysfs(POOL, 0);
}

static int check(void *arg)
{
	return !avl_check(arg, NR * HUGE, 1);
}

static int write_and_check(void *arg)
{
	avl_fill(arg, HUGE, 50);
	return !avl_check(arg, HUGE, 50) ||
		!avl_check((char *)arg + HUGE, HUGE, 1 + PAGES);
}

TEST_F(hugetlb, fork)
{
	struct avl_child children[2];
	char answer[256];

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, avl_child_start(&children[i], NULL, NULL, self->p));
	ASSERT_EQ(0, avl_child_run(&children[0], write_and_check));
	ASSERT_EQ(0, avl_child_run(&children[1], check));
	ASSERT_EQ(0, check(self->p));
	ASSERT_EQ(-EFAULT, avl_rmap_walk(getpid(), self->p, answer,
					 sizeof(answer)));
	ASSERT_VERIFIED();
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, avl_child_end(&children[i]));
	ASSERT_EQ(0, check(self->p));
}

/* Split, moved, unmapped. */
TEST_F(hugetlb, geometry)
{
	char *to = avl_addr(100 * PAGES);

	ASSERT_EQ(0, mprotect(self->p, HUGE, PROT_READ));
	ASSERT_EQ(2, avl_vmas(self->p, NR * HUGE));
	ASSERT_EQ(0, check(self->p));
	ASSERT_EQ(to, mremap(self->p + HUGE, HUGE, HUGE,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_TRUE(avl_check(to, HUGE, 1 + PAGES));
	ASSERT_EQ(0, munmap(self->p, HUGE));
	ASSERT_EQ(0, avl_since("vmas_lazy_total"));
	ASSERT_VERIFIED();
}

/* Both nodes have huge pages, as the pool is spread. */
TEST_F(hugetlb, migrate)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_start(&child, NULL, check, self->p));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(1, avl_move(0, self->p, psize(), i % 2));
	ASSERT_EQ(0, avl_child_run(&child, check));
	ASSERT_EQ(0, check(self->p));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

static int replace(void *arg)
{
	if (munmap(arg, NR * HUGE) || map(200 * PAGES) != arg)
		return -1;
	avl_fill(arg, NR * HUGE, 1);
	return 0;
}

/* Where a walk looks for small pages, a relative has huge ones. */
TEST_F(hugetlb, same_place)
{
	char *small = avl_map(200 * PAGES, NR * PAGES);
	char *moved = avl_addr(300 * PAGES);
	struct avl_child child;

	ASSERT_NE(MAP_FAILED, small);
	avl_fill(small, NR * HUGE, 1);
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, small));
	ASSERT_EQ(0, avl_child_run(&child, replace));
	ASSERT_VERIFIED();
	avl_mark();
	ASSERT_EQ(moved, mremap(small, NR * HUGE, NR * HUGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_EQ(small, map(200 * PAGES));
	avl_fill(small, NR * HUGE, 1);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(8, avl_move(0, moved, 8 * psize(), i % 2));
	ASSERT_EQ(0, check(moved));
	ASSERT_EQ(0, check(small));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

TEST_HARNESS_MAIN
