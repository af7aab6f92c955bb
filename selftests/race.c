// SPDX-License-Identifier: GPL-2.0
/*
 * Races: address space operations against migration of the same pages. A walk
 * that misses a page leaves a stale migration entry; whoever meets it next hangs
 * or makes the kernel complain.
 */

#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"
#include "kmsg.h"

/* At least as many of each. */
#define ROUNDS		40
#define MIGRATED	1000	/* pages */
#define PAGES		64
/* Pages at two places, moved 8 times. */
#define NR_MOVED	(8 * 2 * PAGES)

struct migrator {
	pthread_t thread;
	char *places[2];	/* where the pages are, or may be as well */
	atomic_bool stop;
};

FIXTURE(race)
{
	struct migrator m;
	long log;		/* its last record before the test */
	long migrated;		/* by the system before the test, in pages */
	struct avl_child child;
};

/* How pages are migrated meanwhile; walks of a process with a child take other locks. */
FIXTURE_VARIANT(race)
{
	void *(*migrate)(void *arg);
	bool child;
};

/* All pages to one node, to the other, and so on. */
static void *move_pages_back_and_forth(void *arg)
{
	static int nodes[NR_MOVED], status[NR_MOVED];
	static void *pages[NR_MOVED];
	struct migrator *m = arg;

	for (int i = 0; i < NR_MOVED; i++) {
		char *place = m->places[i / PAGES % 2];

		pages[i] = place + i % PAGES * psize();
		nodes[i] = i / (2 * PAGES) % 2;
	}
	while (!m->stop) {
		/* Many will not be there, which ends up in the status. */
		syscall(__NR_move_pages, 0, NR_MOVED, pages, nodes, status,
			MPOL_MF_MOVE_ALL);
	}
	return NULL;
}

/* Makes new pages and then holes between them, so that there is something to do. */
static void *compact(void *arg)
{
	const size_t size = 2048 * psize();
	struct migrator *m = arg;

	while (!m->stop) {
		char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		for (size_t i = 0; i < size; i += 2 * psize())
			madvise(p + i, psize(), MADV_DONTNEED);
		avl_write("/proc/sys/vm/compact_memory", "1");
		munmap(p, size);
	}
	return NULL;
}

FIXTURE_VARIANT_ADD(race, move_pages)
{
	.migrate = move_pages_back_and_forth,
};

FIXTURE_VARIANT_ADD(race, family)
{
	.migrate = move_pages_back_and_forth,
	.child = true,
};

FIXTURE_VARIANT_ADD(race, compaction)
{
	.migrate = compact,
};

static int start(struct migrator *m, void *(*migrate)(void *arg), char *place,
		 char *other_place)
{
	m->places[0] = place;
	m->places[1] = other_place;
	return pthread_create(&m->thread, NULL, migrate, m);
}

static void stop(struct migrator *m)
{
	m->stop = true;
	pthread_join(m->thread, NULL);
}

/* Pages that the kernel has migrated since it was booted. */
static long migrated(void)
{
	return avl_vmstat("pgmigrate_success");
}

/* Is there another round? */
static bool more(int round, long before)
{
	/* What there is without lazy VMAs is tested as well, but not as hard. */
	const int part = avl_enabled() ? 1 : 4;

	return round < ROUNDS / part || migrated() < before + MIGRATED / part;
}

FIXTURE_SETUP(race)
{
	char hit[1024];

	avl_enabled();
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two NUMA nodes");
	/* What warns once is to warn in each test. */
	avl_write("/sys/kernel/debug/clear_warn_once", "1");
	self->migrated = migrated();
	self->log = kmsg_scan(0, hit, sizeof(hit));
	ASSERT_LE(0, self->log);
	/* It waits, and ends with its parent. */
	if (variant->child)
		ASSERT_EQ(0, avl_child_start(&self->child, NULL, NULL, NULL));
}

/* The kernel may complain as late as when the process exits. */
FIXTURE_TEARDOWN_PARENT(race)
{
	char hit[1024];

	avl_commit_default();
	EXPECT_EQ(0, ksm_stop());
	EXPECT_LE(0, kmsg_scan(self->log, hit, sizeof(hit)));
	EXPECT_STREQ("", hit);
}

/*
 * The pages are at the end of a large range: munmap() needs a while until it
 * gets to them.
 */
TEST_F(race, munmap)
{
	const unsigned long before = 2048, size = PAGES * psize();
	char *p = avl_addr(0), *tail = avl_addr(before);
	int i = 0;

	ASSERT_EQ(0, start(&self->m, variant->migrate, tail, tail));
	for (; more(i, self->migrated); i++) {
		ASSERT_EQ(p, avl_map(0, before + PAGES));
		for (unsigned long page = 0; page < before; page++)
			p[page * psize()] = 1;
		avl_fill(tail, size, i);
		sched_yield();
		ASSERT_TRUE(avl_check(tail, size, i));
		ASSERT_EQ(0, munmap(p, before * psize() + size));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/* At the second place the pages are not where their offset says. */
TEST_F(race, mremap)
{
	const int moves = 40;
	const unsigned long size = PAGES * psize();
	char *place[2] = { avl_addr(0), avl_addr(2 * PAGES) };
	int i = 0;

	ASSERT_EQ(0, start(&self->m, variant->migrate, place[0], place[1]));
	ASSERT_EQ(place[0], avl_map(0, PAGES));
	for (; more(i, self->migrated); i++) {
		avl_fill(place[0], size, i);
		for (int move = 0; move < moves; move++) {
			char *from = place[move % 2], *to = place[(move + 1) % 2];

			ASSERT_EQ(to, mremap(from, size, size,
					     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		}
		ASSERT_TRUE(avl_check(place[0], size, i));
		ASSERT_EQ(0, madvise(place[0], size, MADV_DONTNEED));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/* New memory over the middle of the old. */
TEST_F(race, map_fixed)
{
	const unsigned long size = PAGES * psize(), part = size / 4;
	char *p = avl_addr(0), *middle = p + part, *end = middle + 2 * part;
	int i = 0;

	ASSERT_EQ(0, start(&self->m, variant->migrate, p, p));
	ASSERT_EQ(p, avl_map(0, PAGES));
	for (; more(i, self->migrated); i++) {
		avl_fill(p, size, i);
		sched_yield();
		ASSERT_EQ(middle, mmap(middle, 2 * part, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				       -1, 0));
		ASSERT_TRUE(avl_check(p, part, i));
		ASSERT_EQ(0, middle[0] | middle[2 * part - 1]);
		ASSERT_TRUE(avl_check(end, part, i + 3 * PAGES / 4));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/*
 * A collapse takes the page table away for a moment, and puts it back when it
 * finds a page that is being migrated.
 */
TEST_F(race, collapse)
{
	const unsigned long huge = read_pmd_pagesize(), size = PAGES * psize();
	char *p = avl_addr(0);
	int i = 0;

	ASSERT_EQ(0, start(&self->m, variant->migrate, p, p + huge - size));
	ASSERT_EQ(p, avl_map(0, huge / psize()));
	for (; more(i, self->migrated); i++) {
		ASSERT_EQ(0, madvise(p, huge, MADV_NOHUGEPAGE));
		avl_fill(p, huge, i);
		ASSERT_EQ(0, madvise(p, huge, MADV_HUGEPAGE));
		/* It may fail, and as often as not it does. */
		for (int attempt = 0; attempt < 2; attempt++)
			madvise(p, huge, MADV_COLLAPSE);
		ASSERT_TRUE(avl_check(p, huge, i));
		ASSERT_EQ(0, madvise(p, huge, MADV_DONTNEED));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/* Reads what it has inherited, writes half of it, exits. */
static int child(unsigned long seed)
{
	const unsigned long size = PAGES * psize();
	char *p = avl_addr(0);

	if (!avl_check(p, size, seed))
		return 1;
	avl_fill(p, size / 2, seed + 1000);
	return !avl_check(p, size / 2, seed + 1000) ||
		!avl_check(p + size / 2, size / 2, seed + PAGES / 2);
}

TEST_F(race, fork)
{
	const unsigned long size = PAGES * psize();
	int i = 0, status;
	pid_t pid[4];

	ASSERT_EQ(0, start(&self->m, variant->migrate, avl_addr(0), avl_addr(0)));
	ASSERT_EQ(avl_addr(0), avl_map(0, PAGES));
	for (; more(i, self->migrated); i++) {
		avl_fill(avl_addr(0), size, i);
		for (int c = 0; c < 4; c++) {
			pid[c] = fork();
			ASSERT_LE(0, pid[c]);
			if (!pid[c])
				_exit(child(i));
		}
		for (int c = 0; c < 4; c++) {
			ASSERT_EQ(pid[c], waitpid(pid[c], &status, 0));
			ASSERT_EQ(0, status);
		}
		ASSERT_TRUE(avl_check(avl_addr(0), size, i));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/* What the child does not get leaves its tree while walks look at the rest. */
TEST_F(race, dontfork)
{
	const unsigned long size = PAGES * psize();
	int i = 0, status;

	ASSERT_EQ(0, start(&self->m, variant->migrate, avl_addr(0), avl_addr(PAGES)));
	ASSERT_EQ(avl_addr(0), avl_map(0, 2 * PAGES));
	for (unsigned long page = 1; page < 2 * PAGES; page += 2)
		ASSERT_EQ(0, madvise(avl_addr(page), psize(), MADV_DONTFORK));
	for (; more(i, self->migrated); i++) {
		avl_fill(avl_addr(0), 2 * size, i);
		for (int c = 0; c < 4; c++) {
			pid_t pid = fork();

			ASSERT_LE(0, pid);
			for (int page = 0; !pid && page < 2 * PAGES; page += 2)
				if (!avl_check(avl_addr(page), psize(), i + page))
					_exit(1);
			if (!pid)
				_exit(0);
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
			ASSERT_EQ(0, status);
		}
		ASSERT_TRUE(avl_check(avl_addr(0), 2 * size, i));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/* Children that are never born: there is too little memory for one of their last VMAs. */
TEST_F(race, failed_fork)
{
	const unsigned long size = PAGES * psize();
	int i = 0;

	ASSERT_EQ(avl_addr(0), avl_map(0, PAGES));
	avl_fill(avl_addr(0), size, 0);
	ASSERT_EQ(0, avl_commit_all());
	ASSERT_EQ(0, start(&self->m, variant->migrate, avl_addr(0), avl_addr(0)));
	for (; more(i, self->migrated); i++) {
		for (int c = 0; c < 10; c++) {
			pid_t pid = fork();

			if (!pid)
				_exit(0);
			ASSERT_EQ(-1, pid);
			ASSERT_EQ(ENOMEM, errno);
		}
		ASSERT_TRUE(avl_check(avl_addr(0), size, 0));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages", i, migrated() - self->migrated);
	ASSERT_VERIFIED();
}

/* Changes what it has of the merged pages, with a child, and ends when that has ended. */
static int merged_child(char *p, unsigned long seed, int depth)
{
	const unsigned long size = PAGES * psize(), part = size / 4;
	const pid_t pid = depth ? fork() : 0;
	int status = 0;

	if (pid < 0)
		return 1;
	if (depth && !pid)
		_exit(merged_child(p, seed, depth - 1));
	for (int i = 0; i < 4; i++) {
		if (mprotect(p + part, part, PROT_READ) || munmap(p + i * psize(), psize()) ||
		    !avl_check(p + part, size - part, seed + PAGES / 4) ||
		    mprotect(p + part, part, PROT_READ | PROT_WRITE))
			return 2;
		sched_yield();
	}
	/* These are its own now, all others still merged. */
	avl_fill(p + part, part / 2, 0);
	if (depth && (waitpid(pid, &status, 0) != pid || status))
		return 3;
	return !avl_check(p + part + part / 2, size - part - part / 2, seed + 3 * PAGES / 8);
}

/*
 * Merged pages while those who inherited them live, and nobody else exits: ksmd is stopped, so
 * each is found. The parent has less and less of the second copy.
 */
TEST_F(race, merged)
{
	const unsigned long size = PAGES * psize();
	char *p = avl_addr(0), *copy = p + size;
	static struct avl_verify verify;
	unsigned long gone = 0;
	long checked = 0;
	int i = 0, living, status;

	ASSERT_EQ(p, avl_map(0, 2 * PAGES));
	avl_fill(p, size, 1);
	avl_fill(copy, size, 1);
	ASSERT_EQ(0, madvise(p, 2 * size, MADV_MERGEABLE));
	ASSERT_EQ(0, avl_ksm_merge(2 * PAGES));
	ASSERT_EQ(0, start(&self->m, variant->migrate, p, copy));
	for (; more(i, self->migrated); i++) {
		for (living = 0; living < 4; living++) {
			pid_t pid = fork();

			ASSERT_LE(0, pid);
			if (!pid)
				_exit(merged_child(p, 1, 1));
		}
		/* The children have it still. */
		if (gone < PAGES - 1)
			ASSERT_EQ(0, munmap(copy + gone++ * psize(), psize()));
		ASSERT_EQ(0, mprotect(p, size, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE));
		while (living) {
			ASSERT_EQ(0, avl_verify(&verify));
			ASSERT_EQ(0, verify.missed + verify.ksm_missed + verify.unchecked) {
				TH_LOG("verify:\n%s", verify.text);
			}
			checked += verify.ksm;
			while (living && waitpid(-1, &status, WNOHANG) > 0) {
				ASSERT_EQ(0, status);
				living--;
			}
		}
		ASSERT_TRUE(avl_check(p, size, 1));
	}
	stop(&self->m);
	TH_LOG("%d rounds, %ld pages, %ld merged ones checked", i, migrated() - self->migrated,
	       checked);
	ASSERT_LE(i * PAGES, checked);
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
