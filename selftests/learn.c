// SPDX-License-Identifier: GPL-2.0
/* A parent and many children that unmapped most of it: walks learn who has nothing. */

#include <pthread.h>
#include <sys/wait.h>

#include "avl_test.h"

#define CHILDREN	40	/* enough of them to be learned about */
#define AREAS		40
#define FAR		1000	/* page where nothing is */

FIXTURE(learn)
{
	bool lazy;
	struct avl_tree tree;
};

static char *area(unsigned int i)
{
	return avl_addr(2 * i);		/* one page each, and a gap */
}

static bool keeps(unsigned int id, unsigned int i)
{
	return (id - 1) % AREAS == i;
}

static int keep_one(struct avl_tree *t)
{
	for (unsigned int i = 0; i < AREAS; i++)
		if (t->id && !keeps(t->id, i) && munmap(area(i), psize()))
			return -1;
	return 0;
}

static int check(struct avl_tree *t)
{
	for (unsigned int i = 0; i < AREAS; i++)
		if ((!t->id || keeps(t->id, i)) && !avl_check(area(i), psize(), i))
			return -1;
	return 0;
}

FIXTURE_SETUP(learn)
{
	self->lazy = avl_setup();
	for (unsigned int i = 0; i < AREAS; i++) {
		ASSERT_NE(MAP_FAILED, avl_map(2 * i, 1));
		avl_fill(area(i), psize(), i);
	}
	self->tree = (struct avl_tree){ .depth = 1, .width = CHILDREN };
	ASSERT_EQ(0, avl_tree_start(&self->tree));
}

FIXTURE_TEARDOWN(learn)
{
	EXPECT_EQ(0, avl_tree_end(&self->tree));
}

/* Walks all areas; returns how many contexts were visited. */
static long walk_all(struct __test_metadata *_metadata)
{
	static char buf[65536];

	avl_mark();
	for (unsigned int i = 0; i < AREAS; i++) {
		ASSERT_EQ(0, avl_rmap_walk(getpid(), area(i), buf, sizeof(buf)));
		ASSERT_TRUE(avl_rmap_maps(buf, getpid(), area(i)));
	}
	return avl_since("walk_contexts");
}

/* The process maps the page, and a walk from it sees that. */
static bool seen(pid_t pid, const void *addr)
{
	static char buf[65536];

	return !avl_rmap_walk(pid, addr, buf, sizeof(buf)) &&
		avl_rmap_maps(buf, pid, addr);
}

/*
 * After one round of walks those are visited that have the page, but for two
 * or three of whose siblings' pages somebody else walked meanwhile.
 */
static void learn(struct __test_metadata *_metadata, bool lazy)
{
	const long first = walk_all(_metadata);
	const long second = walk_all(_metadata);

	if (!lazy)
		return;
	ASSERT_LE(CHILDREN + 1, first);
	ASSERT_LE(2 * AREAS, second);
	ASSERT_LE(second, 2 * AREAS + AREAS / 4);
}

TEST_F(learn, each_keeps_one)
{
	struct avl_tree *t = &self->tree;

	/* Who has all of it teaches nothing. */
	ASSERT_LE(self->lazy ? AREAS * (CHILDREN + 1) : 0, walk_all(_metadata));
	ASSERT_LE(self->lazy ? AREAS * (CHILDREN + 1) : 0, walk_all(_metadata));
	ASSERT_EQ(0, avl_tree_run(t, keep_one));
	learn(_metadata, self->lazy);
	for (unsigned int id = 1; id <= CHILDREN; id++)
		ASSERT_TRUE(seen(t->pids[id], area((id - 1) % AREAS)));
	ASSERT_EQ(0, avl_tree_run(t, check));
	ASSERT_VERIFIED();
}

static pid_t grandchild;

static int fork_and_unmap(struct avl_tree *t)
{
	if (!t->id)
		return 0;
	grandchild = fork();
	if (!grandchild)
		while (true)
			pause();
	return grandchild < 0 ? -1 : keep_one(t);
}

static int end_grandchild(struct avl_tree *t)
{
	if (!t->id)
		return 0;
	kill(grandchild, SIGKILL);
	return waitpid(grandchild, NULL, 0) == grandchild ? 0 : -1;
}

/* Nothing is learned of a child whose own child has the page. */
TEST_F(learn, grandchildren)
{
	struct avl_tree *t = &self->tree;
	struct avl_verify v;

	ASSERT_EQ(0, avl_tree_run(t, fork_and_unmap));
	for (int i = 0; i < 2; i++) {
		ASSERT_LE(self->lazy ? AREAS * (2 * CHILDREN + 1) : 0, walk_all(_metadata));
		ASSERT_EQ(0, avl_verify(&v));
		ASSERT_EQ(0, v.missed) {
			TH_LOG("%s", v.text);
		}
	}
	ASSERT_EQ(0, avl_tree_run(t, end_grandchild));
	learn(_metadata, self->lazy);
	/* Those that they fork from now on have what they have. */
	ASSERT_EQ(0, avl_tree_run(t, fork_and_unmap));
	ASSERT_LE(walk_all(_metadata), 4 * AREAS + AREAS / 4);
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(t, end_grandchild));
}

static int move(struct avl_tree *t, bool back)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	char *here, *there;

	if (!t->id)
		return 0;
	here = area((t->id - 1) % AREAS);
	there = avl_addr(FAR + t->id);
	if (back)
		return mremap(there, psize(), psize(), flags, here) == here ? 0 : -1;
	return mremap(here, psize(), psize(), flags, there) == there ? 0 : -1;
}

static int move_away(struct avl_tree *t)
{
	return move(t, false);
}

static int move_back(struct avl_tree *t)
{
	return move(t, true);
}

/* What moved is not where a walk looks, but there. */
TEST_F(learn, moved)
{
	struct avl_tree *t = &self->tree;

	ASSERT_EQ(0, avl_tree_run(t, keep_one));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, avl_tree_run(t, move_away));
		learn(_metadata, self->lazy);
		for (unsigned int id = 1; id <= CHILDREN; id++)
			ASSERT_TRUE(seen(t->pids[id], avl_addr(FAR + id)));
		ASSERT_VERIFIED();
		ASSERT_EQ(0, avl_tree_run(t, move_back));
		learn(_metadata, self->lazy);
		ASSERT_EQ(0, avl_tree_run(t, check));
		ASSERT_VERIFIED();
	}
}

/* Each child maps something of its own where it had its parent's. */
static int map_anew(struct avl_tree *t)
{
	for (unsigned int i = 0; i < AREAS; i++) {
		if (!t->id || (i & 1 && keeps(t->id, i)))
			continue;
		if (mmap(area(i), psize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return -1;
		avl_fill(area(i), psize(), t->id);
	}
	return 0;
}

static int drop_anew(struct avl_tree *t)
{
	for (unsigned int i = 0; i < AREAS; i += 2)
		if (t->id && munmap(area(i), psize()))
			return -1;
	return 0;
}

TEST_F(learn, mapped_anew)
{
	struct avl_tree *t = &self->tree;

	ASSERT_EQ(0, avl_tree_run(t, keep_one));
	learn(_metadata, self->lazy);
	ASSERT_EQ(0, avl_tree_run(t, map_anew));
	walk_all(_metadata);
	ASSERT_VERIFIED();
	/* Its own children have it, and are found from it. */
	ASSERT_EQ(0, avl_tree_run(t, fork_and_unmap));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_tree_run(t, end_grandchild));
	ASSERT_EQ(0, avl_tree_run(t, drop_anew));
	walk_all(_metadata);
	ASSERT_VERIFIED();
}

static int spare(void *arg)
{
	return 0;
}

/* Who is forked later has all, whatever was learned about others; and what was is forgotten. */
TEST_F(learn, comes_and_goes)
{
	struct avl_child child;
	long visits;

	ASSERT_EQ(0, avl_tree_run(&self->tree, keep_one));
	learn(_metadata, self->lazy);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, avl_child_start(&child, spare, spare, NULL));
		for (unsigned int j = 0; j < AREAS; j++)
			ASSERT_TRUE(seen(child.pid, area(j)));
		visits = walk_all(_metadata);
		if (self->lazy)
			ASSERT_LE(3 * AREAS, visits);
		ASSERT_LE(visits, 3 * AREAS + AREAS / 4);
		ASSERT_EQ(0, avl_child_end(&child));
		ASSERT_LE(walk_all(_metadata), 2 * AREAS + AREAS / 4);
	}
	if (self->lazy)
		ASSERT_LE(CHILDREN, avl_stat("shares"));
	avl_mark();
	ASSERT_EQ(0, avl_tree_end(&self->tree));
	if (self->lazy)
		ASSERT_GE(-CHILDREN, avl_since("shares"));
	ASSERT_EQ(0, avl_tree_start(&self->tree));
	ASSERT_VERIFIED();
}

static bool stop;
static long rounds;

static void *walk_on(void *arg)
{
	static char buf[65536];

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (unsigned int i = 0; i < AREAS; i++)
			if (avl_rmap_walk(getpid(), area(i), buf, sizeof(buf)))
				return "no answer";
		__atomic_add_fetch(&rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Walks meet children that are being forked: what is not copied yet is not missing. */
TEST_F(learn, while_forking)
{
	pthread_t thread;
	void *error;

	ASSERT_EQ(0, avl_tree_run(&self->tree, keep_one));
	/* So that it takes long to get to the areas. */
	ASSERT_NE(MAP_FAILED, mmap(avl_addr(0) - (1UL << 30), 1UL << 28, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	avl_fill(avl_addr(0) - (1UL << 30), 1UL << 23, 1);
	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, walk_on, NULL));
	for (int i = 0; i < 20; i++) {
		const long before = __atomic_load_n(&rounds, __ATOMIC_RELAXED);
		struct avl_child child;

		ASSERT_EQ(0, avl_child_start(&child, spare, spare, NULL));
		for (unsigned int j = 0; j < AREAS; j += 7)
			ASSERT_TRUE(seen(child.pid, area(j)));
		while (__atomic_load_n(&rounds, __ATOMIC_RELAXED) == before)
			usleep(1000);
		for (unsigned int j = 0; j < AREAS; j++)
			ASSERT_TRUE(seen(child.pid, area(j)));
		ASSERT_EQ(0, avl_child_end(&child));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &error));
	ASSERT_EQ(NULL, error);
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
