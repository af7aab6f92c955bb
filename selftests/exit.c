// SPDX-License-Identifier: GPL-2.0
/* Exit: of leaves, of parents with one child and with several, of threads. */

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "avl_test.h"

#define PAGES	8

static char *area;

static int check(void *arg)
{
	return !avl_check(area, PAGES * psize(), 1);
}

static int check_node(struct avl_tree *t)
{
	return check(NULL);
}

TEST_F(vmas, leaf)
{
	struct avl_child child;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	avl_mark();
	ASSERT_EQ(0, avl_child_start(&child, NULL, check, NULL));
	ASSERT_LAZY(1, "contexts");
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

/* A whole tree is killed, in no order. */
TEST_F(vmas, killed)
{
	struct avl_tree tree = { .depth = 3, .width = 3, .after = check_node };
	int status;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	avl_mark();
	ASSERT_EQ(0, avl_tree_start(&tree));
	ASSERT_LAZY(39, "contexts");
	for (int i = 39; i > 0; i -= 2) {
		ASSERT_EQ(0, kill(tree.pids[i], SIGKILL)) {
			TH_LOG("process %d of the tree", i);
		}
	}
	ASSERT_VERIFIED();
	for (int i = 1; i <= 3; i++)
		kill(tree.pids[i], SIGKILL);
	while (wait(&status) > 0)
		;
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

/*
 * A process writes pages, has children and goes away. Their pages point at what
 * it left, as long as two of them live.
 */
struct orphans {
	int nr;
	int to[3];
	int from;
};

static void orphan(struct orphans *o, int to, int from)
{
	char byte;

	if (write(to, "", 1) != 1 || read(from, &byte, 1) != 1 || check(NULL))
		_exit(EXIT_FAILURE);
	_exit(0);
}

static void parent(struct __test_metadata *_metadata, struct orphans *o)
{
	int to[3][2], from[2], status;
	char byte;
	pid_t pid;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 50);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(from));
	for (int i = 0; i < o->nr; i++) {
		ASSERT_EQ(0, pipe(to[i])) {
			TH_LOG("pipe %d", i);
		}
	}
	avl_mark();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		avl_fill(area, PAGES * psize(), 1);
		for (int i = 0; i < o->nr; i++)
			if (!fork())
				orphan(o, from[1], to[i][0]);
		_exit(0);
	}
	for (int i = 0; i < o->nr; i++) {
		ASSERT_EQ(1, read(from[0], &byte, 1)) {
			TH_LOG("orphan %d", i);
		}
		o->to[i] = to[i][1];
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
}

/* Lets an orphan check its memory and exit. */
static void end_orphan(struct __test_metadata *_metadata, struct orphans *o,
		       int i)
{
	int status;

	ASSERT_EQ(1, write(o->to[i], "", 1));
	ASSERT_LT(0, wait(&status));
	ASSERT_EQ(0, status);
}

TEST_F(vmas, three_orphans)
{
	struct orphans o = { .nr = 3 };

	parent(_metadata, &o);
	ASSERT_LAZY(4, "contexts");
	ASSERT_LAZY(1, "contexts_dead");
	ASSERT_VERIFIED();
	end_orphan(_metadata, &o, 1);
	ASSERT_LAZY(3, "contexts");
	ASSERT_LAZY(1, "contexts_dead");
	ASSERT_VERIFIED();
	/* The last one inherits what the parent left. */
	end_orphan(_metadata, &o, 0);
	ASSERT_LAZY(1, "contexts");
	ASSERT_EQ(0, avl_since("contexts_dead"));
	ASSERT_VERIFIED();
	end_orphan(_metadata, &o, 2);
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_TRUE(avl_check(area, PAGES * psize(), 50));
	ASSERT_VERIFIED();
}

TEST_F(vmas, one_orphan)
{
	struct orphans o = { .nr = 1 };

	parent(_metadata, &o);
	ASSERT_LAZY(1, "contexts");
	ASSERT_EQ(0, avl_since("contexts_dead"));
	if (self->lazy)
		ASSERT_LT(0, avl_since("anchors_donated"));
	ASSERT_VERIFIED();
	end_orphan(_metadata, &o, 0);
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
}

static void *nothing(void *arg)
{
	return NULL;
}

static int run(void *arg)
{
	_exit(check(NULL));
}

/* Neither a thread nor a vfork() child is an address space. */
TEST_F(vmas, shared_mm)
{
	static char stack[65536];
	pthread_t thread;
	int status;
	pid_t pid;

	area = avl_map(0, PAGES);
	ASSERT_NE(MAP_FAILED, area);
	avl_fill(area, PAGES * psize(), 1);
	avl_mark();
	ASSERT_EQ(0, pthread_create(&thread, NULL, nothing, NULL));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	pid = clone(run, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
		    NULL);
	ASSERT_LE(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("forks"));
	ASSERT_EQ(0, check(NULL));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
