// SPDX-License-Identifier: GPL-2.0
/* A process without any VMA exits, with and without children. */

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avl_test.h"

#define SIZE	(8 * 4096UL)

static int check(void *arg)
{
	return !avl_check(avl_addr(0), SIZE, 7);
}

static void unmap_all(void)
{
	register long r10 __asm__("r10") = 0;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_munmap), "D"(0L),
			 "S"(0x7ffffffff000L), "r"(r10) : "rcx", "r11", "memory");
	_exit(1);
}

TEST_F_TIMEOUT(vmas, nothing_left, 120)
{
	for (int children = 0; children < 4; children++) {
		struct avl_child c[4];
		int status, pipes[2];
		pid_t pid;

		ASSERT_EQ(0, pipe(pipes));
		avl_mark();
		pid = fork();
		if (!pid) {
			avl_fill(avl_map(0, 8), SIZE, 7);
			for (int i = 0; i < children; i++)
				if (avl_child_start(&c[i], NULL, check, NULL))
					_exit(2);
			if (write(pipes[1], c, sizeof(c)) != sizeof(c))
				_exit(3);
			unmap_all();
		}
		ASSERT_EQ(sizeof(c), read(pipes[0], c, sizeof(c)));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status)) TH_LOG("status %x", status);
		ASSERT_VERIFIED();
		for (int i = 0; i < children; i++)
			kill(c[i].pid, SIGKILL);
		sleep(1);
		ASSERT_VERIFIED();
		close(pipes[0]);
		close(pipes[1]);
		TH_LOG("children %d: contexts %ld, anon_vmas %ld", children,
		       avl_since("contexts"), avl_since("anon_vmas"));
	}
}

TEST_HARNESS_MAIN
