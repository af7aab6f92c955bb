// SPDX-License-Identifier: GPL-2.0
/* UFFDIO_MOVE: pages get another place, and index, without a copy. */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"

#include "avl.h"

#define PAGES	16
#define HUGE	read_pmd_pagesize()

FIXTURE(move)
{
	bool lazy;
};

static int uffd;
static char *from, *to;
static size_t size;

/* What is moved: pages that are displaced already, or huge, or swapped out. */
FIXTURE_VARIANT(move)
{
	bool displaced;
	bool huge;
	bool swapped;
};

FIXTURE_VARIANT_ADD(move, small) { };
FIXTURE_VARIANT_ADD(move, displaced) { .displaced = true };
FIXTURE_VARIANT_ADD(move, huge) { .huge = true };
FIXTURE_VARIANT_ADD(move, swapped) { .swapped = true };

/* Maps memory that has a page, and moves it by mremap(). */
static char *map(unsigned long page, bool huge, bool displaced)
{
	const unsigned long pages = size / psize();
	char *p = avl_map(page, pages), *moved = avl_addr(page + 2 * pages);

	if (p == MAP_FAILED || madvise(p, size, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	if (huge && madvise(p, size, MADV_HUGEPAGE))
		return MAP_FAILED;
	if (!displaced)
		return p;
	avl_fill(p, psize(), 50);
	return mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		      moved);
}

FIXTURE_SETUP(move)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };

	self->lazy = avl_setup();
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	size = variant->huge ? HUGE : PAGES * psize();
	from = map(0, variant->huge, variant->displaced);
	to = map(100 * size / psize(), variant->huge, variant->displaced);
	ASSERT_NE(MAP_FAILED, from);
	ASSERT_NE(MAP_FAILED, to);
	avl_fill(from, size, 1);
	ASSERT_EQ(variant->huge, check_huge_anon(from, size, 1,
						 HUGE));
	/* Only a hole can be moved to. */
	ASSERT_EQ(0, madvise(to, size, MADV_DONTNEED));
	ASSERT_EQ(0, uffd_register(uffd, to, size, true, false,
				   false));
	if (variant->swapped) {
		ASSERT_EQ(0, avl_drain());
		ASSERT_EQ(0, madvise(from, size, MADV_PAGEOUT));
		ASSERT_EQ(PAGES, avl_swapped(from, size));
	}
	if (variant->displaced)
		ASSERT_LAZY(2, "vmas_displaced");
}

FIXTURE_TEARDOWN(move)
{
	close(uffd);
}

/* Moves everything. Returns 0 or -errno. */
static int move(void *arg)
{
	struct uffdio_move move = {
		.dst = (unsigned long)to,
		.src = (unsigned long)from,
		.len = size,
	};

	while (ioctl(uffd, UFFDIO_MOVE, &move)) {
		/* In part only, which is the caller's to go on with. */
		if (errno != EAGAIN)
			return -errno;
		if (move.move > 0) {
			move.dst += move.move;
			move.src += move.move;
			move.len -= move.move;
		}
		move.move = 0;
	}
	return 0;
}

static int check(void *arg)
{
	return !avl_check(to, size, 1);
}

TEST_F(move, alone)
{
	char answer[1024];

	ASSERT_EQ(0, move(NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, check(NULL));
	ASSERT_EQ(0, avl_rmap_walk(getpid(), to, answer, sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), to));
	ASSERT_NE(NULL, strstr(answer, self->lazy ? "anchor lazy" :
			       "anchor eager"));
	ASSERT_EQ(0, *from);
	/* New pages where they were. */
	avl_fill(from, size, 1000);
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
	ASSERT_LAZY(2, "vmas_lazy");
}

/* Walks find them at their new place, also from a child. */
TEST_F(move, then_fork)
{
	struct avl_child child;

	ASSERT_EQ(0, move(NULL));
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	ASSERT_EQ(0, check(NULL));
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(1, avl_move(0, to, psize(), i % 2));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_child_run(&child, check));
	ASSERT_EQ(0, check(NULL));
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Pages that are not this process's alone cannot be moved. */
TEST_F(move, shared)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_start(&child, NULL, NULL, NULL));
	ASSERT_EQ(-EBUSY, move(NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
	/* They are now, which the kernel learns by a write. */
	avl_fill(from, size, 1);
	ASSERT_EQ(0, move(NULL));
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
