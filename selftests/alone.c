// SPDX-License-Identifier: GPL-2.0
/*
 * A program that has not forked: its anon_vma has no other root, and gets one at
 * the first fork. Tests are processes that were forked themselves, so they execute
 * this program again.
 */

#include <linux/mman.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "avl_test.h"

#define ROUNDS		20	/* programs */
#define NR_HUGE		4
#define SIZE		(NR_HUGE * read_pmd_pagesize())
#define PAGES		(SIZE / psize())
/* In the environment of the program that is executed: what it does. */
#define MARK		"ANON_VMA_LAZY_ALONE"

static char *area;

static int map_huge(void)
{
	area = avl_map(0, PAGES);
	if (area == MAP_FAILED || madvise(area, SIZE, MADV_HUGEPAGE))
		return 1;
	avl_fill(area, SIZE, 1);
	return !check_huge_anon(area, SIZE, NR_HUGE, read_pmd_pagesize());
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

static int verified(void)
{
	static struct avl_verify v;

	return avl_verify(&v) || v.missed || v.unchecked;
}

/* All that walks, one after the other, then children. Returns the line that failed. */
static int walks(void)
{
	const int lazy = avl_enabled();
	struct avl_child children[2];

#define CHECK(condition) do { if (!(condition)) return __LINE__; } while (0)
	CHECK(!map_huge());
	CHECK(!split(4) && !split(0));
	CHECK(!check_huge_anon(area, SIZE, 1, read_pmd_pagesize()));
	CHECK(!intact(NULL) && !verified());
	CHECK(avl_move(0, area, SIZE, 0) >= 0 && avl_move(0, area, SIZE, 1) >= 0);
	CHECK(!intact(NULL) && !verified());
	CHECK(!madvise(area, SIZE, MADV_PAGEOUT) && avl_swapped(area, SIZE));
	CHECK(!verified() && !intact(NULL));
	CHECK(!madvise(area, SIZE, MADV_COLLAPSE));

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
#undef CHECK
	return 0;
}

static atomic_int splits;

static void *split_on(void *arg)
{
	for (int order = 8; order >= 0; order--) {
		if (order != 1 && split(order))
			return arg;
		splits++;
	}
	return NULL;
}

/* The first fork, while huge pages are split. */
static int fork_in_split(void)
{
	struct avl_child child;
	pthread_t thread;
	void *failed;

	if (map_huge() || pthread_create(&thread, NULL, split_on, &child))
		return 1;
	while (!splits)
		;
	if (avl_child_start(&child, NULL, intact, NULL))
		return 2;
	if (pthread_join(thread, &failed) || failed)
		return 3;
	if (intact(NULL) || verified() || avl_child_end(&child))
		return 4;
	return 0;
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
