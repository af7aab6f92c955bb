// SPDX-License-Identifier: GPL-2.0
/*
 * Races: address space operations against migration of the same pages. A walk
 * that misses a page leaves a stale migration entry; whoever meets it next hangs
 * or makes the kernel complain.
 */

#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"
#include "kmsg.h"

#define TIMEOUT		100
#define PAGES		64
/* Pages at two places, moved 8 times. */
#define NR_MOVED	(8 * 2 * PAGES)

struct migrator {
	pthread_t thread;
	char *places[2];	/* where the pages are, or may be as well */
	atomic_bool stop;
	atomic_long migrated;
};

FIXTURE(race)
{
	struct migrator m;
	long log;
};

/* How pages are migrated meanwhile; for how many rounds and migrations at least. */
FIXTURE_VARIANT(race)
{
	void *(*migrate)(void *arg);
	int rounds;
	long migrations;
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
		for (int i = 0; i < NR_MOVED; i++)
			status[i] = -EAGAIN;
		syscall(SYS_move_pages, 0, NR_MOVED, pages, nodes, status, MPOL_MF_MOVE_ALL);
		for (int i = 0; i < NR_MOVED; i++)
			m->migrated += status[i] == nodes[i];
	}
	return NULL;
}

static void *compact(void *arg)
{
	struct migrator *m = arg;

	while (!m->stop) {
		if (avl_write("/proc/sys/vm/compact_memory", "1"))
			break;
		m->migrated++;
	}
	return NULL;
}

FIXTURE_VARIANT_ADD(race, move_pages)
{
	.migrate = move_pages_back_and_forth,
	.rounds = 20,
	.migrations = 2000,
};

FIXTURE_VARIANT_ADD(race, compaction)
{
	.migrate = compact,
	.rounds = 20,
	.migrations = 4,
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

FIXTURE_SETUP(race)
{
	char hit[1024];

	avl_enabled();
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two NUMA nodes");
	self->log = kmsg_scan(0, hit, sizeof(hit));
	ASSERT_LE(0, self->log);
}

/* The kernel may complain as late as when the process exits. */
FIXTURE_TEARDOWN_PARENT(race)
{
	char hit[1024];

	EXPECT_LE(0, kmsg_scan(self->log, hit, sizeof(hit)));
	EXPECT_STREQ("", hit);
}

static bool more(struct migrator *m, const FIXTURE_VARIANT(race) *variant, int i)
{
	return i < variant->rounds || m->migrated < variant->migrations;
}

/*
 * The pages are at the end of a large range: munmap() needs a while until it
 * gets to them.
 */
TEST_F_TIMEOUT(race, munmap, TIMEOUT)
{
	const unsigned long before = 2048, size = PAGES * psize();
	char *p = avl_addr(0), *tail = avl_addr(before);

	ASSERT_EQ(0, start(&self->m, variant->migrate, tail, tail));
	for (int i = 0; more(&self->m, variant, i); i++) {
		ASSERT_EQ(p, avl_map(0, before + PAGES));
		for (unsigned long page = 0; page < before; page++)
			p[page * psize()] = 1;
		avl_fill(tail, size, i);
		sched_yield();
		ASSERT_TRUE(avl_check(tail, size, i));
		ASSERT_EQ(0, munmap(p, before * psize() + size));
	}
	stop(&self->m);
	ASSERT_VERIFIED();
}

/* At the second place the pages are not where their offset says. */
TEST_F_TIMEOUT(race, mremap, TIMEOUT)
{
	const int moves = 100;
	const unsigned long size = PAGES * psize();
	char *place[2] = { avl_addr(0), avl_addr(2 * PAGES) };

	ASSERT_EQ(0, start(&self->m, variant->migrate, place[0], place[1]));
	ASSERT_EQ(place[0], avl_map(0, PAGES));
	for (int i = 0; more(&self->m, variant, i); i++) {
		avl_fill(place[0], size, i);
		for (int move = 0; move < moves; move++) {
			char *from = place[move % 2], *to = place[(move + 1) % 2];

			ASSERT_EQ(to, mremap(from, size, size,
					     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		}
		ASSERT_TRUE(avl_check(place[0], size, i));
	}
	stop(&self->m);
	ASSERT_VERIFIED();
}

/* New memory over the middle of the old. */
TEST_F_TIMEOUT(race, map_fixed, TIMEOUT)
{
	const unsigned long size = PAGES * psize(), part = size / 4;
	char *p = avl_addr(0), *middle = p + part, *end = middle + 2 * part;

	ASSERT_EQ(0, start(&self->m, variant->migrate, p, p));
	ASSERT_EQ(p, avl_map(0, PAGES));
	for (int i = 0; more(&self->m, variant, i); i++) {
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

TEST_F_TIMEOUT(race, fork, TIMEOUT)
{
	const unsigned long size = PAGES * psize();
	pid_t pid[4];
	int status;

	ASSERT_EQ(0, start(&self->m, variant->migrate, avl_addr(0), avl_addr(0)));
	ASSERT_EQ(avl_addr(0), avl_map(0, PAGES));
	for (int i = 0; more(&self->m, variant, i); i++) {
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
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
