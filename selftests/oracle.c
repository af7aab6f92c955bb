// SPDX-License-Identifier: GPL-2.0
/* The oracle: it says so when a look-up is broken. */

#include "kselftest_harness.h"

#include "avl.h"

#define PAGES	20
#define SHOWN	16	/* misses that are described */

static char *area;
static struct avl_child child;
static struct avl_verify verify;

FIXTURE(hidden)
{
	bool lazy;
};

static int check(void *arg)
{
	return !avl_check(area, PAGES * psize(), 1);
}

/* Hides nothing, or what covers an address. */
static int hide(const void *address)
{
	char value[32];

	snprintf(value, sizeof(value), "%#lx", (unsigned long)address);
	return avl_set_parameter("hide_address", value);
}

FIXTURE_SETUP(hidden)
{
	self->lazy = avl_setup();
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	ASSERT_VERIFIED();
}

FIXTURE_TEARDOWN_PARENT(hidden)
{
	hide(NULL);
}

/* How many lines of the report describe a miss in the area of a process? */
static int described(pid_t pid)
{
	char line[128];
	int lines = 0;

	for (int i = 0; i < PAGES; i++) {
		snprintf(line, sizeof(line),
			 "miss pid %d comm oracle address %p entry present\n",
			 pid, area + i * psize());
		lines += !!strstr(verify.text, line);
	}
	return lines;
}

/* Both processes' mappings of each page are missed, and there again. */
TEST_F(hidden, vma)
{
	const int missed = self->lazy ? PAGES : 0;

	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, hide(area + i * psize()));
		ASSERT_EQ(0, avl_verify(&verify));
		ASSERT_EQ(2 * missed, verify.missed) {
			TH_LOG("%s", verify.text);
		}
		ASSERT_EQ(self->lazy ? SHOWN : 0,
			  described(getpid()) + described(child.pid));

		ASSERT_EQ(0, hide(NULL));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_child_end(&child));
}

/* The read-back of a walk lacks both, and has them again. */
TEST_F(hidden, rmap_walk)
{
	char answer[1024];

	for (int i = 0; i < 2; i++) {
		const bool there = i || !self->lazy;

		ASSERT_EQ(0, hide(i ? NULL : area));
		ASSERT_EQ(0, avl_rmap_walk(getpid(), area, answer, sizeof(answer)));
		ASSERT_NE(NULL, strstr(answer, " mapcount 2\n"));
		ASSERT_NE(NULL, strstr(answer, there ? "\nmappings 2 " :
				       "\nmappings 0 "));
		ASSERT_EQ(there, avl_rmap_maps(answer, getpid(), area));
		ASSERT_EQ(there, avl_rmap_maps(answer, child.pid, area));
	}
	ASSERT_EQ(0, avl_child_end(&child));
}

static int write_first(void *arg)
{
	avl_fill(area, psize(), 1);
	return 0;
}

/* A page of the child's own is missed in the child alone; its neighbours in both. */
TEST_F(hidden, own_page)
{
	ASSERT_EQ(0, munmap(area + psize(), (PAGES - 1) * psize()));
	ASSERT_EQ(0, avl_child_run(&child, write_first));
	ASSERT_EQ(0, hide(area));
	ASSERT_EQ(0, avl_verify(&verify));
	ASSERT_EQ(self->lazy ? PAGES + 1 : 0, verify.missed);
	ASSERT_EQ(self->lazy, described(getpid()));
	ASSERT_EQ(0, hide(NULL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Another address hides nothing. */
TEST_F(hidden, elsewhere)
{
	const void *others[] = { area - 1, area + PAGES * psize() };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		ASSERT_EQ(0, hide(others[i]));
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_child_end(&child));
}

/* All pages are looked at, and a VMA that a walk visits in vain is surplus. */
TEST_F(hidden, counts)
{
	long present, surplus;

	ASSERT_EQ(0, avl_verify(&verify));
	ASSERT_LE(2, verify.processes);
	present = verify.present;
	surplus = verify.surplus;
	ASSERT_LE(2 * PAGES, present);
	ASSERT_NE(MAP_FAILED, avl_map(1000, 10 * PAGES));
	avl_fill(avl_addr(1000), 10 * PAGES * psize(), 1);
	ASSERT_EQ(0, avl_child_run(&child, write_first));
	ASSERT_EQ(0, avl_verify(&verify));
	ASSERT_LE(present + 10 * PAGES, verify.present);
	/* The test's page is looked for in the child too. */
	ASSERT_LT(surplus, verify.surplus);
	ASSERT_EQ(0, avl_child_end(&child));
}

TEST_HARNESS_MAIN
