// SPDX-License-Identifier: GPL-2.0
/* Each allocation of an event fails, one after the other. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"

#define PAGES	16
#define SIZE	(PAGES * psize())
#define INJECT	"/sys/kernel/debug/fail"
/* The exit status of the program that is executed. */
#define ALL_WENT_WELL	42
#define ONE_FAILED	43

static char *area, *moved;
static int fail_nth = -1;

/* Lets an allocation of this thread fail; 0: none. */
static void arm(int nth)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%d", nth);

	if (pwrite(fail_nth, buf, len, 0) != len)
		_exit(EXIT_FAILURE);
}

/* Did it fail? */
static bool disarm(void)
{
	char buf[16] = "";

	if (pread(fail_nth, buf, sizeof(buf) - 1, 0) <= 0)
		_exit(EXIT_FAILURE);
	arm(0);
	return atoi(buf) == 0;
}

static int intact(void)
{
	return avl_check(area, SIZE, 1) && avl_check(moved, SIZE, 50);
}

/*
 * An event: returns 0, -1 if it failed for lack of memory, or 1 if it went
 * wrong. What undoes it is called in each case.
 */
static int fault(void)
{
	char *p = avl_map(300, PAGES);

	if (p == MAP_FAILED)
		return -1;
	avl_fill(p, SIZE, 5);
	return !avl_check(p, SIZE, 5);
}

static void undo_fault(void)
{
	munmap(avl_addr(300), SIZE);
}

static int fork_one(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		bool ok = intact();

		avl_fill(area, SIZE, 5);
		avl_fill(moved, SIZE, 5);
		_exit(!ok);
	}
	if (pid < 0)
		return -1;
	return waitpid(pid, &status, 0) != pid || status;
}

static int split(void)
{
	return mprotect(area + psize(), psize(), PROT_READ) ?:
		mprotect(moved + psize(), psize(), PROT_READ);
}

static int merge(void)
{
	return mprotect(area, SIZE, PROT_READ | PROT_WRITE) ?:
		mprotect(moved, SIZE, PROT_READ | PROT_WRITE);
}

static void undo_split(void)
{
	merge();
}

static void undo_merge(void)
{
	split();
}

static int move(char *from, char *to, int flags)
{
	return mremap(from, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		      to) == to ? 0 : -1;
}

static int move_away(void)
{
	return move(area, avl_addr(400), 0);
}

static int keep_empty(void)
{
	return move(area, avl_addr(400), MREMAP_DONTUNMAP);
}

static void undo_away(void)
{
	move(avl_addr(400), area, 0);
}

static int move_home(void)
{
	return move(moved, avl_addr(100), 0);
}

static void undo_home(void)
{
	move(avl_addr(100), moved, 0);
}

static int unmap(void)
{
	if (!munmap(area + psize(), psize()) &&
	    !munmap(moved + psize(), psize()))
		return 0;
	return avl_check(area, psize(), 1) && avl_check(moved, psize(), 50) ?
		-1 : 1;
}

static char *map_over(char *p, int flags)
{
	return mmap(p, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | flags, -1, 0);
}

static int map_fixed(void)
{
	return map_over(area + psize(), MAP_FIXED) == MAP_FAILED ||
		map_over(moved + psize(), MAP_FIXED) == MAP_FAILED ? -1 : 0;
}

static void undo_unmap(void)
{
	map_over(area + psize(), MAP_FIXED_NOREPLACE);
	map_over(moved + psize(), MAP_FIXED_NOREPLACE);
	avl_fill(area + psize(), psize(), 2);
	avl_fill(moved + psize(), psize(), 51);
}

static int open_fail_nth(void)
{
	return open("/proc/thread-self/fail-nth", O_RDWR);
}

/* A natural VMA and a displaced one. */
static void map_both(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, avl_write(INJECT "slab/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, avl_write(INJECT "slab/verbose", "0"));
	ASSERT_EQ(0, avl_write(INJECT "_page_alloc/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, avl_write(INJECT "_page_alloc/min-order", "0"));
	ASSERT_EQ(0, avl_write(INJECT "_page_alloc/verbose", "0"));
	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, SIZE, 1);
	ASSERT_NE(MAP_FAILED, avl_map(100, PAGES));
	avl_fill(avl_addr(100), SIZE, 50);
	moved = avl_addr(200);
	ASSERT_EQ(0, move(avl_addr(100), moved, 0));
	avl_mark();
}

FIXTURE(event)
{
	bool lazy;
};

FIXTURE_VARIANT(event)
{
	int (*run)(void);
	void (*undo)(void);
};

FIXTURE_VARIANT_ADD(event, fault) { fault, undo_fault };
FIXTURE_VARIANT_ADD(event, fork) { fork_one, undo_fault };
FIXTURE_VARIANT_ADD(event, split) { split, undo_split };
FIXTURE_VARIANT_ADD(event, merge) { merge, undo_merge };
FIXTURE_VARIANT_ADD(event, move_away) { move_away, undo_away };
FIXTURE_VARIANT_ADD(event, move_home) { move_home, undo_home };
FIXTURE_VARIANT_ADD(event, dontunmap) { keep_empty, undo_away };
FIXTURE_VARIANT_ADD(event, munmap) { unmap, undo_unmap };
FIXTURE_VARIANT_ADD(event, map_fixed) { map_fixed, undo_unmap };

FIXTURE_SETUP(event)
{
	self->lazy = avl_setup();
	fail_nth = open_fail_nth();
	if (fail_nth < 0)
		SKIP(return, "needs CONFIG_FAULT_INJECTION, as VARIANT=debug has");
	map_both(_metadata);
	variant->undo();
}

FIXTURE_TEARDOWN(event)
{
}

TEST_F_TIMEOUT(event, each, 100)
{
	bool failed = true;
	int nth = 0;

	while (failed) {
		int result;

		arm(++nth);
		result = variant->run();
		failed = disarm();
		ASSERT_NE(1, result);
		variant->undo();
		ASSERT_TRUE(intact());
		ASSERT_VERIFIED();
		ASSERT_EQ(0, avl_since("contexts"));
		ASSERT_EQ(0, avl_since("anon_vmas"));
	}
	/* The first one at least failed. */
	ASSERT_LT(1, nth);
}

FIXTURE(program)
{
	bool lazy;
};

FIXTURE_SETUP(program)
{
	int fd = open_fail_nth();

	self->lazy = avl_setup();
	if (fd < 0)
		SKIP(return, "needs CONFIG_FAULT_INJECTION, as VARIANT=debug has");
	map_both(_metadata);
	close(fd);
}

FIXTURE_TEARDOWN(program)
{
}

/* In the end a program is executed without any failure. */
TEST_F_TIMEOUT(program, exec, 100)
{
	int status = 0;

	for (int nth = 1; status != ALL_WENT_WELL << 8; nth++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			char fd[16];
			char *const argv[] = { "nomem", fd, NULL };

			fail_nth = open_fail_nth();
			snprintf(fd, sizeof(fd), "%d", fail_nth);
			arm(nth);
			execv("/proc/self/exe", argv);
			arm(0);
			_exit(!intact());
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(intact());
		ASSERT_VERIFIED();
		ASSERT_EQ(0, avl_since("contexts"));
		/* It may also be killed: some failures are too late for an error. */
		ASSERT_NE(1 << 8, status);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && atoi(argv[1]) > 0) {
		fail_nth = atoi(argv[1]);
		_exit(disarm() ? ONE_FAILED : ALL_WENT_WELL);
	}
	return test_harness_run(argc, argv);
}
