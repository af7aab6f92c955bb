// SPDX-License-Identifier: GPL-2.0
/* Every allocation of every event fails once (/proc/PID/fail-nth). */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avl_test.h"

#define PAGES	16
#define SIZE	(PAGES * 4096UL)
#define MAX_NTH	600

static int nth_fd = -1;

static void arm(int n)
{
	char buf[16];
	int len = sprintf(buf, "%d", n);

	if (pwrite(nth_fd, buf, len, 0) != len)
		_exit(99);
}

/* Was it injected? Disarms. */
static bool disarm(void)
{
	char buf[16] = "";

	if (pread(nth_fd, buf, 15, 0) <= 0)
		_exit(98);
	arm(0);
	return atoi(buf) == 0;
}

static void open_nth(void)
{
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	if (nth_fd < 0)
		ksft_exit_fail_msg("no fail-nth\n");
	avl_write("/sys/kernel/debug/failslab/verbose", "0");
	avl_write("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	avl_write("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	avl_write("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	avl_write("/sys/kernel/debug/fail_page_alloc/min-order", "0");
}

static char *a, *moved, *wiped, *priv, *dont;

static void layout(void)
{
	char *x;

	a = avl_map(0, PAGES);
	avl_fill(a, SIZE, 1);
	for (int i = 0; i < PAGES; i += 2)
		mprotect(a + i * 4096, 4096, PROT_READ);
	x = avl_map(100, PAGES);
	avl_fill(x, SIZE, 2);
	moved = mremap(x, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(200));
	mprotect(moved + 4 * 4096, 4096, PROT_READ);
	x = avl_map(300, PAGES);
	avl_fill(x, SIZE, 3);
	wiped = mremap(x, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(400));
	madvise(wiped, SIZE, MADV_WIPEONFORK);
	dont = avl_map(500, PAGES);
	avl_fill(dont, SIZE, 4);
	madvise(dont, SIZE, MADV_DONTFORK);
	priv = mmap(avl_addr(600), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		    open("/proc/self/exe", O_RDONLY), 0);
	avl_fill(priv, SIZE, 5);
}

static bool intact(bool child)
{
	return avl_check(a, SIZE, 1) && avl_check(moved, SIZE, 2) &&
		(child || (avl_check(wiped, SIZE, 3) && avl_check(dont, SIZE, 4))) &&
		avl_check(priv, SIZE, 5);
}

FIXTURE(nomem)
{
	bool lazy;
};

FIXTURE_SETUP(nomem)
{
	self->lazy = avl_setup();
	open_nth();
	layout();
}

FIXTURE_TEARDOWN(nomem)
{
	arm(0);
	avl_set_parameter("enabled", self->lazy ? "1" : "0");
}

TEST_F_TIMEOUT(nomem, fork, 600)
{
	int n, failed = 0;

	for (n = 1; n < MAX_NTH; n++) {
		int status;
		bool injected;
		pid_t pid;

		arm(n);
		pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (!pid) {
			bool ok = intact(true);

			a[4096] = 1;
			moved[0] = 1;
			wiped[0] = 1;
			_exit(ok ? 0 : 1);
		}
		injected = disarm();
		if (pid < 0) {
			failed++;
		} else {
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
			ASSERT_EQ(0, status);
		}
		ASSERT_TRUE(intact(false));
		if (n % 16 == 0)
			ASSERT_VERIFIED();
		if (!injected)
			break;
	}
	TH_LOG("fork: %d allocations, %d failures", n - 1, failed);
	ASSERT_LT(n, MAX_NTH);
	ASSERT_VERIFIED();
}

/* A step that may fail and is undone without failures. */
#define STEPS(name, op, undo)							\
do {										\
	int n_, failed_ = 0;							\
	for (n_ = 1; n_ < MAX_NTH; n_++) {					\
		long ret_;							\
		bool injected_;							\
		arm(n_);							\
		ret_ = (long)(op);						\
		injected_ = disarm();						\
		if (ret_ == -1)							\
			failed_++;						\
		else								\
			(void)(undo);						\
		ASSERT_TRUE(intact(false)) TH_LOG("%s %d", name, n_);		\
		ASSERT_VERIFIED();						\
		if (!injected_)							\
			break;							\
	}									\
	TH_LOG("%s: %d allocations, %d failures", name, n_ - 1, failed_);	\
	ASSERT_LT(n_, MAX_NTH);							\
} while (0)

TEST_F_TIMEOUT(nomem, vmas, 900)
{
	char *far = avl_addr(1000);

	STEPS("split", mprotect(moved + 8 * 4096, 4096, PROT_READ),
	      mprotect(moved + 8 * 4096, 4096, PROT_READ | PROT_WRITE));
	STEPS("split natural", mprotect(a + 3 * 4096 + 0, 4096, PROT_NONE),
	      mprotect(a + 3 * 4096, 4096, PROT_READ | PROT_WRITE));
	mprotect(a + 3 * 4096, 4096, PROT_READ | PROT_WRITE);
	STEPS("merge", mprotect(a + 2 * 4096, 4096, PROT_READ | PROT_WRITE),
	      mprotect(a + 2 * 4096, 4096, PROT_READ));
	STEPS("move away", mremap(a + 4096, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, far),
	      mremap(far, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, a + 4096));
	STEPS("move home", mremap(moved, SIZE / 4, SIZE / 4, MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(100)),
	      mremap(avl_addr(100), SIZE / 4, SIZE / 4, MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	STEPS("dontunmap", mremap(priv, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, far),
	      mremap(far, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, priv));
}

TEST_F_TIMEOUT(nomem, unmap, 900)
{
	for (int kind = 0; kind < 4; kind++) {
		int n, failed = 0;

		for (n = 1; n < MAX_NTH; n++) {
			char *p = avl_map(2000, PAGES);
			bool injected;
			long ret = 0;

			if (kind == 0)
				arm(n);
			avl_fill(p, SIZE, 9);
			if (kind == 0)
				injected = disarm();
			if (kind == 1) {
				p = mremap(p, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(3000));
				arm(n);
				ret = munmap(p + 4096, SIZE - 2 * 4096);
				injected = disarm();
			}
			if (kind == 2) {
				arm(n);
				ret = munmap(p + 4096, SIZE - 2 * 4096);
				injected = disarm();
			}
			if (kind == 3) {
				arm(n);
				ret = (long)mmap(p + 4096, SIZE - 2 * 4096, PROT_READ | PROT_WRITE,
						 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
				injected = disarm();
			}
			failed += ret == -1;
			if (ret == -1 && kind < 3)
				ASSERT_TRUE(avl_check(p, SIZE, 9));
			if (kind == 0)
				ASSERT_TRUE(avl_check(p, SIZE, 9));
			ASSERT_VERIFIED();
			ASSERT_EQ(0, munmap(p, SIZE));
			ASSERT_TRUE(intact(false));
			if (!injected)
				break;
		}
		TH_LOG("unmap %d: %d allocations, %d failures", kind, n - 1, failed);
		ASSERT_LT(n, MAX_NTH);
	}
	ASSERT_VERIFIED();
}

TEST_F_TIMEOUT(nomem, exec, 1200)
{
	int n, failed = 0;

	for (n = 1; n < MAX_NTH; n++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			char number[16];
			char *argv[] = { "nomem", number, NULL };

			close(nth_fd);
			open_nth();
			sprintf(number, "%d", nth_fd);
			arm(n);
			execv("/proc/self/exe", argv);
			arm(0);
			_exit(intact(true) ? 0 : 1);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(intact(false));
		if (n % 16 == 0)
			ASSERT_VERIFIED();
		if (WIFEXITED(status) && WEXITSTATUS(status) == 42)
			break;
		ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0 ||
			    WEXITSTATUS(status) == 43);
		failed++;
	}
	TH_LOG("exec: %d allocations, %d failures", n - 1, failed);
	ASSERT_LT(n, MAX_NTH);
	ASSERT_VERIFIED();
}

int main(int argc, char **argv)
{
	if (argc == 2 && atoi(argv[1]) > 0) {
		nth_fd = atoi(argv[1]);
		_exit(disarm() ? 43 : 42);
	}
	return test_harness_run(argc, argv);
}
