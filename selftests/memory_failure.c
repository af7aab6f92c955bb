// SPDX-License-Identifier: GPL-2.0
/* Memory failure: all who map a page lose it, or get another one. */

#include <errno.h>
#include <linux/mman.h>

#include "avl_family.h"

#define PAGES	8
#define BAD	3
#define EARLY	"/proc/sys/vm/memory_failure_early_kill"

/* Where the page was that the kernel told this process of. */
static void *told;

static void handler(int sig, siginfo_t *info, void *context)
{
	told = info->si_addr;
}

/* All processes are told of a failure, not only those that touch the page. */
FIXTURE_SETUP(family)
{
	struct sigaction action = { .sa_sigaction = handler,
				    .sa_flags = SA_SIGINFO | SA_RESTART };

	self->lazy = avl_setup();
	self->tree = (struct avl_tree){ .depth = 3, .width = 2 };
	ASSERT_EQ(0, sigaction(SIGBUS, &action, NULL));
	ASSERT_EQ(0, avl_write(EARLY, "1"));
	ASSERT_EQ(0, avl_family_start(&self->tree, avl_map(0, PAGES),
				      PAGES * psize(), variant->displaced));
}

FIXTURE_TEARDOWN(family)
{
	EXPECT_EQ(0, avl_write(EARLY, "0"));
	EXPECT_EQ(0, avl_tree_end(&self->tree));
}

static long poisoned(void)
{
	static struct avl_verify verify;

	return avl_verify(&verify) ? -1 : verify.hwpoison;
}

/* Is this process told where it had the page, which is replaced then? */
static int told_of_page(struct avl_tree *t)
{
	char *page = avl_family_area(t) + BAD * psize();

	if (told != page)
		return -1;
	if (mmap(page, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
		return -1;
	avl_fill(page, psize(), 1 + BAD);
	return avl_family_check(t);
}

/* For a KSM page, it may be told where another one had it; on stock as well. */
static int told_of_ksm_page(struct avl_tree *t)
{
	char *page = avl_family_area(t) + BAD * psize();

	if (((char *)told - page) % (long)t->size)
		return -1;
	told = page;
	return told_of_page(t);
}

/* Poisons a page that is mapped by all, and looks what happened to them. */
static void poison(struct __test_metadata *_metadata, struct avl_tree *t,
		   int (*told_of)(struct avl_tree *t))
{
	char *page = t->areas[0] + BAD * psize();
	const unsigned long pfn = avl_pfn(page);
	const unsigned int size = avl_tree_size(t);
	const long before = poisoned();
	char answer[8192];

	ASSERT_EQ(0, madvise(page, psize(), MADV_HWPOISON));
	ASSERT_EQ(before + size, poisoned());
	ASSERT_EQ(0, avl_rmap_walk(t->pids[0], page, answer, sizeof(answer)));
	for (unsigned int i = 0; i < size; i++)
		ASSERT_TRUE(avl_rmap_shows(answer, t->pids[i],
					   t->areas[i] + BAD * psize(),
					   "hwpoison")) TH_LOG("%s", answer);
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(t, told_of));
	ASSERT_EQ(before, poisoned());
	ASSERT_EQ(0, unpoison_memory(pfn));
}

TEST_FAMILY(hard)
{
	ASSERT_FAMILY_MAPPED(BAD * psize());
	poison(_metadata, &self->tree, told_of_page);
	ASSERT_FAMILY();
}

static int mergeable(struct avl_tree *t)
{
	return madvise(avl_family_area(t), t->size, MADV_MERGEABLE);
}

/* There are other ways to those who map a KSM page. */
TEST_FAMILY(ksm)
{
	struct avl_tree *t = &self->tree;

	/* Of each page there are several. */
	ASSERT_EQ(0, avl_tree_run(t, avl_family_write));
	ASSERT_EQ(0, avl_tree_run(t, mergeable));
	ASSERT_EQ(0, avl_ksm_merge(PAGES * avl_tree_size(t)));
	poison(_metadata, t, told_of_ksm_page);
	ASSERT_FAMILY();
	ASSERT_EQ(0, ksm_stop());
	ASSERT_FAMILY();
}

/* A huge page is split first: one page of it is lost. */
TEST_FAMILY(huge)
{
	const size_t huge = read_pmd_pagesize();
	struct avl_tree tree = { .depth = 2, .width = 2 };
	char *area = avl_map(100 * huge / psize(), huge / psize());

	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, madvise(area, huge, MADV_HUGEPAGE));
	ASSERT_EQ(0, avl_family_start(&tree, area, huge, variant->displaced));
	ASSERT_TRUE(check_huge_anon(area, huge, 1, huge));
	poison(_metadata, &tree, told_of_page);
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_end(&tree));
}

/* The page is replaced, nobody notices. */
TEST_FAMILY(soft)
{
	struct avl_tree *t = &self->tree;
	char *page = t->areas[0] + BAD * psize();
	const unsigned long pfn = avl_pfn(page);

	ASSERT_EQ(0, madvise(page, psize(), MADV_SOFT_OFFLINE));
	ASSERT_NE(pfn, avl_pfn(page));
	ASSERT_FAMILY_MAPPED(BAD * psize());
	ASSERT_FAMILY();
	ASSERT_EQ(0, unpoison_memory(pfn));
}

TEST_HARNESS_MAIN
