// SPDX-License-Identifier: GPL-2.0
/* A process forks and exits, its child does the same, and so on. */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "avl_test.h"

#define GENERATIONS	2000
#define CHECK_EACH	100
#define PAGES		16
#define ROUNDS		40
#define CHAIN		8

/*
 * One process of the chain: writes its page, lets a child go on when told, and
 * exits. The last one checks what its ancestors wrote.
 */
static void generation(char *area, int from, int to)
{
	for (int i = 0; i < GENERATIONS; i++) {
		char byte;

		if (!avl_check(area + i % PAGES * psize(), psize(),
			       i < PAGES ? i : i - PAGES))
			_exit(1);
		avl_fill(area + i % PAGES * psize(), psize(), i);
		if (write(to, "", 1) != 1 || read(from, &byte, 1) != 1)
			_exit(2);
		switch (fork()) {
		case -1:
			_exit(3);
		case 0:
			break;
		default:
			_exit(0);
		}
	}
	for (int i = GENERATIONS - PAGES; i < GENERATIONS; i++)
		if (!avl_check(area + i % PAGES * psize(), psize(), i))
			_exit(4);
	_exit(0);
}

/* Contexts and anon_vmas must not pile up, nor mappings get lost. */
TEST_F(vmas, bounded)
{
	char *area = avl_map(0, PAGES);
	int to[2], from[2], status;
	pid_t pid;
	char byte;

	ASSERT_NE(MAP_FAILED, area);
	for (int i = 0; i < PAGES; i++)
		avl_fill(area + i * psize(), psize(), i);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	avl_mark();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(to[1]);
		close(from[0]);
		generation(area, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);

	for (int i = 0; i < GENERATIONS; i++) {
		ASSERT_EQ(1, read(from[0], &byte, 1)) {
			wait(&status);
			TH_LOG("generation %d: status %x", i, status);
		}
		/* Nobody but the process that waits is left. */
		if (i)
			ASSERT_LT(0, wait(&status));
		if (i % CHECK_EACH == 0 || i == GENERATIONS - 1) {
			ASSERT_LAZY(1, "contexts");
			ASSERT_EQ(0, avl_since("contexts_dead"));
			ASSERT_LE(avl_since("anon_vmas"), 8);
			ASSERT_VERIFIED();
		}
		ASSERT_EQ(1, write(to[1], "", 1));
	}
	while (wait(&status) > 0)
		ASSERT_EQ(0, status);
	ASSERT_EQ(ECHILD, errno);
	ASSERT_LAZY(GENERATIONS + 1, "forks");
	ASSERT_EQ(0, avl_since("contexts"));
	for (int i = 0; i < PAGES; i++)
		ASSERT_TRUE(avl_check(area + i * psize(), psize(), i));
}

/* Somebody ignores SIGCHLD: once a process cannot be found its mappings are gone. */
static void wait_gone(pid_t pid)
{
	while (!kill(pid, 0))
		sched_yield();
}

/*
 * A process waits until a chain of others came and went below it, and exits;
 * the last one of the chain does the same, and so on.
 */
static void supervise(char *area)
{
	for (int round = 0; round < ROUNDS; round++) {
		pid_t supervisor = getpid();
		int go[2];
		char byte;

		if (pipe(go))
			_exit(1);
		switch (fork()) {
		case -1:
			_exit(2);
		case 0:
			break;
		default:
			close(go[1]);
			_exit(read(go[0], &byte, 1) != 1);
		}
		close(go[0]);
		for (int i = 0; i < CHAIN; i++) {
			pid_t parent = getpid();

			avl_fill(area + i * psize(), psize(), round + i);
			switch (fork()) {
			case -1:
				_exit(3);
			case 0:
				break;
			default:
				_exit(0);
			}
			wait_gone(parent);
		}
		if (write(go[1], "", 1) != 1)
			_exit(4);
		close(go[1]);
		wait_gone(supervisor);
	}
	for (int i = 0; i < CHAIN; i++)
		if (!avl_check(area + i * psize(), psize(), ROUNDS - 1 + i))
			_exit(5);
}

/* Nor may anon_vmas pile up if a parent is not the one who has spare ones. */
TEST_F(vmas, supervised)
{
	char *area = avl_map(0, PAGES);
	int to[2], from[2];
	pid_t pid;
	char byte;

	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_NE(SIG_ERR, signal(SIGCHLD, SIG_IGN));
	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	avl_mark();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(to[1]);
		close(from[0]);
		supervise(area);
		if (write(from[1], "", 1) != 1)
			_exit(6);
		_exit(read(to[0], &byte, 1) != 1);
	}
	close(to[0]);
	close(from[1]);

	/* The last process writes, or nobody is left who could. */
	ASSERT_EQ(1, read(from[0], &byte, 1));
	ASSERT_LAZY(1, "contexts");
	ASSERT_LAZY(1 + ROUNDS * (CHAIN + 1), "forks");
	TH_LOG("%ld anon_vmas", (long)avl_since("anon_vmas"));
	/* At most four processes live at a time. */
	ASSERT_LE(avl_since("anon_vmas"), 27);
	ASSERT_VERIFIED();
	ASSERT_EQ(1, write(to[1], "", 1));
	while (wait(NULL) > 0)
		;
	ASSERT_EQ(ECHILD, errno);
	ASSERT_EQ(0, avl_since("contexts"));
}

TEST_HARNESS_MAIN
