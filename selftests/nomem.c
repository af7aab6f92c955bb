// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail: the first one of an event, then the second one, until
 * the event needs no more of them. What fails must not have changed anything.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"

#define PAGES	16
#define SIZE	(PAGES * psize())
#define RANGE	1000
#define FAIL_NTH	"/proc/thread-self/fail-nth"

static int fail_nth;

/* Lets the nth allocation of this thread fail; none for 0. */
static void arm(int nth)
{
	char buf[16];
	const int len = snprintf(buf, sizeof(buf), "%d", nth);

	if (pwrite(fail_nth, buf, len, 0) != len)
		ksft_exit_fail_perror("write " FAIL_NTH);
}

/* Has it failed? If not, no longer. */
static bool disarm(void)
{
	char buf[16] = "";

	if (pread(fail_nth, buf, sizeof(buf) - 1, 0) <= 0)
		ksft_exit_fail_perror("read " FAIL_NTH);
	arm(0);
	return atoi(buf) == 0;
}

/* That of this process. */
static void open_fail_nth(void)
{
	fail_nth = open(FAIL_NTH, O_RDWR);
	if (fail_nth < 0)
		ksft_exit_fail_perror("open " FAIL_NTH);
}

/*
 * Allocations of all kinds may fail, without a word about it. Those of
 * anonymous pages are for page faults of the process: after a fork the kernel
 * needs one as well, to write to the process's rseq area, and kills it if there
 * is none.
 */
static int allow_failures(bool anonymous_pages)
{
	const char * const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", anonymous_pages ? "N" : "Y" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[64];
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(settings) && !err; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		err = avl_write(path, settings[i][1]);
	}
	return err;
}

/* The tested memory, the pages 4 to 11 of it, and memory without pages. */
static char *area, *middle, *empty;
static pid_t child;

static int map(bool displaced)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	area = avl_map(0, PAGES);
	empty = avl_map(500, PAGES);
	if (area == MAP_FAILED || empty == MAP_FAILED)
		return -1;
	avl_fill(area, SIZE, 1);
	if (displaced)
		area = mremap(area, SIZE, SIZE, flags, avl_addr(100));
	if (area == MAP_FAILED)
		return -1;
	middle = area + 4 * psize();
	child = 0;
	return 0;
}

static int unmap(void)
{
	return munmap(avl_addr(0), RANGE * psize());
}

static bool intact(void)
{
	return avl_check(area, 4 * psize(), 1) &&
		avl_check(area + 12 * psize(), 4 * psize(), 13) &&
		(!middle || avl_check(middle, 8 * psize(), 5));
}

/*
 * The events: one system call each, or page faults. They return 0, or -1 and
 * errno if they failed.
 */
static int event_fault(void)
{
	avl_fill(empty, SIZE, 100);
	return 0;
}

/* The child checks its copy and makes pages of its own. */
static int event_fork(void)
{
	child = fork();
	if (!child) {
		const bool ok = intact();

		avl_fill(area, SIZE, 200);
		_exit(!ok);
	}
	return child < 0 ? -1 : 0;
}

static int event_split(void)
{
	return mprotect(middle, 8 * psize(), PROT_READ);
}

static int event_merge(void)
{
	return mprotect(middle, 8 * psize(), PROT_READ | PROT_WRITE);
}

static int move(char **from, size_t size, char *to, int flags)
{
	if (mremap(*from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != to)
		return -1;
	*from = to;
	return 0;
}

static int move_area(int flags)
{
	/* What is displaced goes home. */
	char *to = area == avl_addr(0) ? avl_addr(200) : avl_addr(0);

	if (move(&area, SIZE, to, flags))
		return -1;
	middle = area + 4 * psize();
	return 0;
}

static int event_move(void)
{
	return move_area(0);
}

static int event_dontunmap(void)
{
	return move_area(MREMAP_DONTUNMAP);
}

static int event_move_part(void)
{
	return move(&middle, 8 * psize(), avl_addr(300), 0);
}

static int event_munmap(void)
{
	if (munmap(middle, 8 * psize()))
		return -1;
	middle = NULL;
	return 0;
}

/* What was there may be gone even if it fails. */
static int event_map_fixed(void)
{
	char *over = middle;

	middle = NULL;
	return mmap(over, 8 * psize(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED, -1, 0) == over ? 0 : -1;
}

struct event {
	int (*before)(void);
	int (*run)(void);
	/* Page faults are tried again, until they succeed. */
	bool cannot_fail;
};

FIXTURE(nomem)
{
	bool lazy;
};

FIXTURE_VARIANT(nomem)
{
	struct event event;
};

FIXTURE_VARIANT_ADD(nomem, fault) { { NULL, event_fault, true } };
FIXTURE_VARIANT_ADD(nomem, fork) { { NULL, event_fork } };
FIXTURE_VARIANT_ADD(nomem, split) { { NULL, event_split } };
FIXTURE_VARIANT_ADD(nomem, merge) { { event_split, event_merge } };
FIXTURE_VARIANT_ADD(nomem, move) { { NULL, event_move } };
FIXTURE_VARIANT_ADD(nomem, move_part) { { NULL, event_move_part } };
FIXTURE_VARIANT_ADD(nomem, dontunmap) { { NULL, event_dontunmap } };
FIXTURE_VARIANT_ADD(nomem, munmap) { { NULL, event_munmap } };
FIXTURE_VARIANT_ADD(nomem, map_fixed) { { NULL, event_map_fixed } };

FIXTURE_SETUP(nomem)
{
	self->lazy = avl_setup();
	open_fail_nth();
	ASSERT_EQ(0, allow_failures(variant->event.run == event_fault));
	/* The first VMAs, and the context for them. */
	ASSERT_EQ(0, map(false));
	ASSERT_EQ(0, unmap());
	avl_mark();
}

FIXTURE_TEARDOWN(nomem)
{
}

static void assert_nothing_left(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
}

/* Most events need few allocations. Of many, not each is worth the time. */
static void assert_verified(struct __test_metadata *_metadata, int nth)
{
	if (nth < 24 || nth % 8 == 0)
		ASSERT_VERIFIED();
}

/* Returns whether an allocation failed; counts if the event did. */
static bool fail_nth_of(struct __test_metadata *_metadata,
			const struct event *event, bool displaced, int nth,
			int *failures)
{
	int result, err, status;
	bool failed;

	ASSERT_EQ(0, map(displaced));
	if (event->before)
		ASSERT_EQ(0, event->before());
	arm(nth);
	result = event->run();
	err = errno;
	failed = disarm();
	if (result) {
		ASSERT_TRUE(failed);
		ASSERT_EQ(ENOMEM, err);
		(*failures)++;
	}
	if (child > 0) {
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, status);
	}
	ASSERT_TRUE(intact());
	if (event->run == event_fault)
		ASSERT_TRUE(avl_check(empty, SIZE, 100));
	assert_verified(_metadata, nth);
	ASSERT_EQ(0, unmap());
	assert_nothing_left(_metadata);
	return failed;
}

static void fail_each(struct __test_metadata *_metadata,
		      const struct event *event, bool displaced)
{
	int allocations = 0, failures = 0;

	/* Twice: caches are full or not, so that the nth is not always the same. */
	for (int i = 0; i < 2; i++) {
		int nth = 1;

		while (fail_nth_of(_metadata, event, displaced, nth, &failures))
			nth++;
		allocations += nth - 1;
	}
	TH_LOG("%d allocations failed, %d times the event", allocations, failures);
	ASSERT_LT(0, allocations);
	if (!event->cannot_fail)
		ASSERT_LT(0, failures);
	ASSERT_VERIFIED();
}

TEST_F(nomem, natural)
{
	fail_each(_metadata, &variant->event, false);
}

TEST_F(nomem, displaced)
{
	fail_each(_metadata, &variant->event, true);
}

FIXTURE(exec)
{
	bool lazy;
};

FIXTURE_SETUP(exec)
{
	self->lazy = avl_setup();
	ASSERT_EQ(0, allow_failures(false));
	ASSERT_EQ(0, map(false));
	avl_mark();
}

FIXTURE_TEARDOWN(exec)
{
}

/* How a process ends that executes this program. */
enum { COMPLETE, LATE_FAILURE, EXEC_FAILED, BROKEN };

static void execute(int nth)
{
	char fd[16];
	char *const argv[] = { "nomem", "executed", fd, NULL };

	open_fail_nth();
	snprintf(fd, sizeof(fd), "%d", fail_nth);
	arm(nth);
	execv("/proc/self/exe", argv);
	_exit(disarm() && intact() ? EXEC_FAILED : BROKEN);
}

static int executed(const char *fd)
{
	fail_nth = atoi(fd);
	return disarm() ? LATE_FAILURE : COMPLETE;
}

/* A new address space: its first VMA, its context, its stack that moves. */
TEST_F(exec, each)
{
	int nth = 0, failures = 0, status;

	do {
		pid_t pid;

		nth++;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			execute(nth);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		/* Where exec or libc cannot go back the process is killed. */
		ASSERT_NE(BROKEN, WEXITSTATUS(status)) {
			TH_LOG("allocation %d", nth);
		}
		failures += WEXITSTATUS(status) == EXEC_FAILED;
		ASSERT_TRUE(intact());
		assert_verified(_metadata, nth);
		assert_nothing_left(_metadata);
	} while (status != COMPLETE);
	TH_LOG("%d allocations failed, %d times exec", nth - 1, failures);
	ASSERT_LT(0, failures);
	ASSERT_VERIFIED();
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "executed"))
		return executed(argv[2]);
	if (access(FAIL_NTH, F_OK)) {
		ksft_print_header();
		ksft_exit_skip("no " FAIL_NTH ": CONFIG_FAULT_INJECTION is not set\n");
	}
	return test_harness_run(argc, argv);
}
