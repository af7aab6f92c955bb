// SPDX-License-Identifier: GPL-2.0
/*
 * A program that has not forked: its anon_vma has no other root, and gets one at
 * the first fork. Tests are processes that were forked themselves, so they execute
 * this program again.
 */

#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "avl_test.h"

#define ROUNDS		20	/* programs */
#define NR_HUGE		8
#define SHRINKERS	3
#define SIZE		(NR_HUGE * read_pmd_pagesize())
#define PAGES		(SIZE / psize())
/* In the environment of the program that is executed: what it does. */
#define MARK		"ANON_VMA_LAZY_ALONE"

static char *area;

/* Is so much of both halves huge? */
static bool huge(int nr)
{
	for (int node = 0; node < 2; node++)
		if (!check_huge_anon(area + node * SIZE / 2, SIZE / 2, nr / 2, read_pmd_pagesize()))
			return false;
	return true;
}

/* Half of them are on each node: shrinkers look for what to split by node. */
static int map_huge(void)
{
	area = avl_map(0, PAGES);
	if (area == MAP_FAILED || madvise(area, SIZE, MADV_HUGEPAGE))
		return 1;
	for (int node = 0; node < 2; node++) {
		const unsigned long nodes = 1UL << node;

		if (syscall(__NR_mbind, area + node * SIZE / 2, SIZE / 2, MPOL_BIND, &nodes,
			    8 * sizeof(nodes), 0))
			return 1;
	}
	avl_fill(area, SIZE, 1);
	return !huge(NR_HUGE);
}

static int split(int order)
{
	char question[64];

	snprintf(question, sizeof(question), "%d,0x%lx,0x%lx,%d", getpid(),
		 (long)area, (long)area + SIZE, order);
	return avl_write("/sys/kernel/debug/split_huge_pages", question);
}

static int intact(void *arg)
{
	return !avl_check(area, SIZE, 1);
}

/* Without the last page of each huge one. */
static int intact_in_part(void *arg)
{
	const size_t huge = read_pmd_pagesize();

	for (int i = 0; i < NR_HUGE; i++)
		if (!avl_check(area + i * huge, psize(), 1 + i * huge / psize()))
			return 1;
	return 0;
}

static int verified(void)
{
	static struct avl_verify v;

	return avl_verify(&v) || v.missed || v.unchecked;
}

static int line;	/* of the first check that failed */

static void check(bool ok, int at)
{
	if (!ok && !line)
		line = at;
}

/* Nothing is done any more once one has failed. */
#define CHECK(condition)	check(line || (condition), __LINE__)

/* All that walks, one after the other, then children. Returns the line that failed. */
static int walks(void)
{
	const int lazy = avl_enabled();
	struct avl_child children[2];

	CHECK(!map_huge());
	CHECK(!split(4) && !split(0));
	CHECK(huge(0));
	CHECK(!intact(NULL) && !verified());
	for (int node = 0; node < 3; node++)
		CHECK(avl_move(0, area, SIZE, node % 2) == (long)PAGES);
	CHECK(!intact(NULL) && !verified());
	CHECK(!madvise(area, SIZE, MADV_PAGEOUT) && avl_swapped(area, SIZE));
	CHECK(!verified() && !intact(NULL));
	CHECK(!madvise(area, SIZE, MADV_COLLAPSE) && huge(NR_HUGE));

	/* The first child comes with a root, the second has it. */
	avl_mark();
	for (int i = 0; i < 2; i++) {
		CHECK(!avl_child_start(&children[i], NULL, intact, NULL));
		CHECK(avl_since("anon_vmas") == lazy * (i + 2));
	}
	CHECK(!avl_since("families") && !verified());
	CHECK(!split(0) && !verified());
	for (int i = 0; i < 2; i++)
		CHECK(!avl_child_end(&children[i]));
	CHECK(avl_since("anon_vmas") == lazy && !avl_since("families"));
	CHECK(!split(0) && !intact(NULL) && !verified());
	return line;
}

/* They become small folios when the shrinker comes, without the mmap_lock. */
static void *shrink(void *barrier)
{
	pthread_barrier_wait(barrier);
	return avl_write("/proc/sys/vm/drop_caches", "2") ? barrier : NULL;
}

/*
 * The first fork, while several threads split huge pages that are mapped in part:
 * it and they wait for the same lock.
 */
static int fork_in_split(void)
{
	const size_t huge = read_pmd_pagesize();
	pthread_t thread[SHRINKERS];
	pthread_barrier_t barrier;
	struct avl_child child;
	long splits;
	void *failed;

	CHECK(!map_huge());
	for (int i = 0; i < NR_HUGE; i++)
		CHECK(!munmap(area + (i + 1) * huge - psize(), psize()));
	if (line)
		return line;
	splits = avl_vmstat("thp_split_page");
	pthread_barrier_init(&barrier, NULL, SHRINKERS + 1);
	for (int i = 0; i < SHRINKERS; i++)
		CHECK(!pthread_create(&thread[i], NULL, shrink, &barrier));
	pthread_barrier_wait(&barrier);
	CHECK(!avl_child_start(&child, NULL, intact_in_part, NULL));
	for (int i = 0; i < SHRINKERS; i++)
		CHECK(!pthread_join(thread[i], &failed) && !failed);
	CHECK(!intact_in_part(NULL) && !verified() && !avl_child_end(&child));
	CHECK(!verified() && avl_vmstat("thp_split_page") >= splits + NR_HUGE);
	return line;
}

static void execute(struct __test_metadata *_metadata, const char *what)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		setenv(MARK, what, 1);
		execl("/proc/self/exe", "alone", NULL);
		_exit(255);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	ASSERT_EQ(0, WEXITSTATUS(status)) {
		TH_LOG("line %d", WEXITSTATUS(status));
	}
}

TEST_F(vmas, walks)
{
	avl_mark();
	execute(_metadata, "walks");
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
}

TEST_F(vmas, fork_in_split)
{
	avl_mark();
	for (int i = 0; i < ROUNDS; i++)
		execute(_metadata, "fork_in_split");
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_VERIFIED();
}

int main(int argc, char **argv)
{
	const char *what = getenv(MARK);

	if (what)
		return strcmp(what, "walks") ? fork_in_split() : walks();
	return test_harness_run(argc, argv);
}
