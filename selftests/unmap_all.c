// SPDX-License-Identifier: GPL-2.0
/* A process unmaps all that it has, and dies of it. Its children live on. */

#include <sched.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"
#include "kmsg.h"

#define PAGES	8
#define SIZE	(PAGES * psize())

/* What children write their pids to, and read a byte from before they end. */
static int ready[2], go[2];
static char *area, *moved;
static char hit[1024];

FIXTURE(unmap_all)
{
	bool lazy;
};

FIXTURE_VARIANT(unmap_all)
{
	int children;
};

FIXTURE_VARIANT_ADD(unmap_all, childless) { .children = 0 };
FIXTURE_VARIANT_ADD(unmap_all, one_child) { .children = 1 };
FIXTURE_VARIANT_ADD(unmap_all, two_children) { .children = 2 };
FIXTURE_VARIANT_ADD(unmap_all, three_children) { .children = 3 };

FIXTURE_SETUP(unmap_all)
{
	self->lazy = avl_setup();
	area = avl_addr(0);
	moved = avl_addr(200);
	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	avl_mark();
}

FIXTURE_TEARDOWN(unmap_all)
{
}

/* A natural VMA and a displaced one. */
static bool map(void)
{
	char *from = avl_map(100, PAGES);

	if (avl_map(0, PAGES) != area || from == MAP_FAILED)
		return false;
	avl_fill(area, SIZE, 1);
	avl_fill(from, SIZE, 50);
	return mremap(from, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, moved) ==
		moved;
}

static bool check(void)
{
	return avl_check(area, SIZE, 1) && avl_check(moved, SIZE, 50);
}

static int child(void)
{
	const pid_t pid = getpid();
	char byte;

	if (write(ready[1], &pid, sizeof(pid)) != sizeof(pid) ||
	    read(go[0], &byte, 1) != 1)
		return 1;
	return !check();
}

/*
 * Tries what may be the length of an address space: a power of two, perhaps
 * less a page. There is nothing to return to from the one that is.
 */
static void unmap_all(void)
{
	for (int bits = 63; bits > 0; bits--) {
		munmap(NULL, 1UL << bits);
		munmap(NULL, (1UL << bits) - psize());
	}
}

static int parent(int children)
{
	/* Who waits for it is not to wait for ever if the test fails. */
	close(go[1]);
	if (!map())
		return 1;
	for (int i = 0; i < children; i++) {
		const pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (!pid)
			_exit(child());
	}
	unmap_all();
	return 3;
}

/* A CPU keeps the last mm that it ran until it runs another one. */
static int run_on_all_cpus(void)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all))
		return -1;
	for (int cpu = 0; cpu < get_nprocs(); cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			return -1;
	}
	return sched_setaffinity(0, sizeof(all), &all);
}

/* Children find each other's pages, and nothing else. */
static void assert_mapped(struct __test_metadata *_metadata, const pid_t *pids,
			  int children, const char *p)
{
	char mappings[32], answer[2048];

	snprintf(mappings, sizeof(mappings), "\nmappings %d visits ", children);
	for (int i = 0; i < children; i++) {
		ASSERT_EQ(0, avl_rmap_walk(pids[i], p, answer, sizeof(answer)));
		for (int j = 0; j < children; j++)
			ASSERT_TRUE(avl_rmap_maps(answer, pids[j], p));
		ASSERT_NE(NULL, strstr(answer, mappings));
	}
	for (int node = 0; children && node < avl_nodes(); node++)
		ASSERT_EQ(PAGES, avl_move(pids[0], p, SIZE, node));
}

TEST_F(unmap_all, exit)
{
	const int children = variant->children;
	const long log = kmsg_scan(0, hit, sizeof(hit));
	pid_t pids[4];
	int status;

	ASSERT_LE(0, log);
	pids[3] = fork();
	ASSERT_LE(0, pids[3]);
	if (!pids[3])
		_exit(parent(children));
	for (int i = 0; i < children; i++)
		ASSERT_EQ(sizeof(pids[i]), read(ready[0], &pids[i], sizeof(pids[i])));
	ASSERT_EQ(pids[3], waitpid(pids[3], &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status)) {
		TH_LOG("exit status %d", WEXITSTATUS(status));
	}
	ASSERT_EQ(SIGSEGV, WTERMSIG(status));

	/* Walks do not look for the parent's VMAs in memory that is free. */
	ASSERT_EQ(0, run_on_all_cpus());

	/* With one child left, this has all. With several, it stays. */
	ASSERT_LAZY(children + (children > 1), "contexts");
	ASSERT_LAZY(children > 1, "contexts_dead");
	/* One, and the stack since exec. */
	ASSERT_LAZY(2 * children, "vmas_displaced");
	ASSERT_VERIFIED();
	assert_mapped(_metadata, pids, children, area);
	assert_mapped(_metadata, pids, children, moved);

	for (int left = children - 1; left >= 0; left--) {
		ASSERT_EQ(1, write(go[1], "", 1));
		ASSERT_LT(0, wait(&status));
		ASSERT_EQ(0, status);
		ASSERT_LAZY(left + (left > 1), "contexts");
		ASSERT_VERIFIED();
	}
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("contexts_dead"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_LE(0, kmsg_scan(log, hit, sizeof(hit)));
	ASSERT_STREQ("", hit);
}

TEST_HARNESS_MAIN
