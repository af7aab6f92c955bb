// SPDX-License-Identifier: GPL-2.0
/* Breakpoints of uprobes: anonymous pages in a mapping of a file. */

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "avl.h"

#define PROBE		"/tmp/avl_probe"
#define TRACEFS		"/sys/kernel/tracing/"
#define EVENTS		TRACEFS "uprobe_events"
#define ENABLE		TRACEFS "events/anon_vma_lazy/probe/enable"
#define PAGES		4
#define OFFSET		psize()

#ifdef __x86_64__
#define NOP		((const char[]){ 0x90, 0x90, 0x90, 0x90 })
#else
#define NOP		((const char[]){ 0x1f, 0x20, 0x03, 0xd5 })
#endif

FIXTURE(probe)
{
	bool lazy;
};

static char *text;

/* A file that is mapped as a program's text. */
FIXTURE_SETUP(probe)
{
	int fd = open(PROBE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	char event[64];

	self->lazy = avl_setup();
	for (int i = 0; i < PAGES * psize() / 4; i++)
		ASSERT_EQ(4, write(fd, NOP, 4));
	text = mmap(avl_addr(0), PAGES * psize(), PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
	ASSERT_EQ(avl_addr(0), text);
	close(fd);
	if (mount("tracefs", TRACEFS, "tracefs", 0, NULL))
		ASSERT_EQ(EBUSY, errno);
	snprintf(event, sizeof(event), "p:anon_vma_lazy/probe " PROBE ":%u", OFFSET);
	ASSERT_EQ(0, avl_write(EVENTS, event));
}

FIXTURE_TEARDOWN(probe)
{
	EXPECT_EQ(0, avl_write(EVENTS, "-:anon_vma_lazy/probe"));
	EXPECT_EQ(0, unlink(PROBE));
}

/* Is there a breakpoint, and everything else as it was? */
static int probed(void *arg)
{
	for (int i = 0; i < PAGES * psize(); i += 4)
		if (i != OFFSET && memcmp(text + i, NOP, 4))
			return -1;
	return !memcmp(text + OFFSET, NOP, 4);
}

static int as_it_was(void *arg)
{
	for (int i = 0; i < PAGES * psize(); i += 4)
		if (memcmp(text + i, NOP, 4))
			return -1;
	return 0;
}

TEST_F(probe, fork)
{
	struct avl_child children[2];
	char answer[1024];

	ASSERT_EQ(0, avl_child_start(&children[0], NULL, as_it_was, NULL));
	avl_mark();
	ASSERT_EQ(0, avl_write(ENABLE, "1"));
	/* In each of the two processes. */
	ASSERT_LAZY(2, "vmas_lazy");
	ASSERT_EQ(0, probed(NULL));
	ASSERT_EQ(0, avl_child_run(&children[0], probed));
	ASSERT_EQ(0, avl_rmap_walk(getpid(), text + OFFSET, answer,
				   sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), text + OFFSET));
	ASSERT_FALSE(avl_rmap_maps(answer, children[0].pid,
				   text + OFFSET));
	ASSERT_VERIFIED();

	/* This one has the page of its parent. */
	ASSERT_EQ(0, avl_child_start(&children[1], NULL, as_it_was, NULL));
	ASSERT_EQ(0, avl_child_run(&children[1], probed));
	ASSERT_EQ(0, avl_rmap_walk(getpid(), text + OFFSET, answer,
				   sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, children[1].pid,
				  text + OFFSET));
	ASSERT_VERIFIED();
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(1, avl_move(0, text + OFFSET, psize(), i));

	ASSERT_EQ(0, avl_write(ENABLE, "0"));
	ASSERT_EQ(0, as_it_was(NULL));
	ASSERT_VERIFIED();
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, avl_child_end(&children[i]));
}

TEST_HARNESS_MAIN
