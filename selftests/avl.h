/* SPDX-License-Identifier: GPL-2.0 */
#ifndef AVL_H
#define AVL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "vm_util.h"

#define AVL_DEBUGFS	"/sys/kernel/debug/anon_vma_lazy/"
#define AVL_PARAMETERS	"/sys/module/anon_vma_lazy/parameters/"

/* Seconds for a test. Emulated debug kernels are slow: this is for what hangs. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

/* Where avl_map() maps; nothing else is near. */
#define AVL_BASE	0x100000000000UL

/* What the file "verify" says. */
struct avl_verify {
	long processes;
	long present;
	long ksm;
	long migration;
	long swap;
	long unchecked;
	long hwpoison;
	long missed;
	long ksm_missed;
	long surplus;
	char text[4096];
};

/* A process that waits until it is told to run a function, or to end. */
struct avl_child {
	pid_t pid;
	int to;
	int from;
};

#define AVL_MAX_WIDTH	64

/*
 * A tree of processes: each node sees its own copy, and starts width children
 * as long as depth is not 0. Node ids are 0 for the test itself, then 1 to
 * width, and so on level by level. All share pids[id] and, for
 * avl_family_start(), areas[id]: where the process has the tested memory.
 */
struct avl_tree {
	unsigned int depth;
	unsigned int width;
	int (*before)(struct avl_tree *t);
	int (*after)(struct avl_tree *t);
	void *arg;
	unsigned int id;
	char **areas;
	size_t size;
	pid_t *pids;
	unsigned int *run_in;
	struct avl_child children[AVL_MAX_WIDTH];
};

int avl_load(const char *parameters);
int avl_unload(void);
bool avl_enabled(void);
bool avl_setup(void);
int avl_set_parameter(const char *name, const char *value);
long avl_stat(const char *name);
void avl_mark(void);
long avl_since(const char *name);
long avl_slab(const char *name);
long avl_vmstat(const char *name);
int avl_verify(struct avl_verify *v);
int avl_rmap_walk(pid_t pid, const void *addr, char *buf, size_t size);
bool avl_rmap_shows(const char *buf, pid_t pid, const void *addr,
		    const char *state);
bool avl_rmap_maps(const char *buf, pid_t pid, const void *addr);

int avl_read(const char *path, char *buf, size_t size);
int avl_write(const char *path, const char *text);

void *avl_addr(unsigned long page);
void *avl_map(unsigned long page, unsigned long pages);
int avl_commit_all(void);
void avl_commit_default(void);
int avl_vmas(const void *p, size_t size);
int avl_swapped(const void *p, size_t size);
int avl_move(pid_t pid, const void *p, size_t size, int node);
int avl_nodes(void);
unsigned long avl_pfn(const void *p);
int avl_drain(void);
int avl_ksm_merge(long pages);
int avl_memcg_enter(void);
int avl_memcg_reclaim(void);
void avl_memcg_leave(void);
void avl_fill(void *p, size_t size, unsigned long seed);
bool avl_check(const void *p, size_t size, unsigned long seed);

int avl_child_start(struct avl_child *c, int (*before)(void *arg),
		    int (*after)(void *arg), void *arg);
int avl_child_run(struct avl_child *c, int (*fn)(void *arg));
int avl_child_end(struct avl_child *c);

int avl_fork_on(int (*live)(int nth), const bool *stop, unsigned long *lives);
void avl_wait_for(const unsigned long *counter, unsigned long more);

int avl_tree_start(struct avl_tree *t);
int avl_tree_run(struct avl_tree *t, int (*fn)(struct avl_tree *t));
int avl_tree_run_in(struct avl_tree *t, unsigned int id,
		    int (*fn)(struct avl_tree *t));
int avl_tree_end(struct avl_tree *t);
unsigned int avl_tree_size(const struct avl_tree *t);

int avl_family_start(struct avl_tree *t, char *area, size_t size, bool displaced);
char *avl_family_area(const struct avl_tree *t);
int avl_family_check(struct avl_tree *t);
int avl_family_write(struct avl_tree *t);
int avl_family_touch(struct avl_tree *t);
unsigned int avl_family_mapped(const struct avl_tree *t, size_t offset);

/* For use in the tests of kselftest_harness.h. */

/* VMAs became, or ceased to be, lazy since avl_mark(); nothing if disabled. */
#define ASSERT_LAZY(number, name)					\
	ASSERT_EQ(self->lazy ? (number) : 0, avl_since(name))

#define ASSERT_VERIFIED()						\
do {									\
	static struct avl_verify __verify;				\
									\
	ASSERT_EQ(0, avl_verify(&__verify));				\
	/* Only KSM knows pages that nobody here has had. */		\
	ASSERT_EQ(0, __verify.missed + __verify.unchecked) {		\
		TH_LOG("verify:\n%s", __verify.text);			\
	}								\
} while (0)

#endif /* AVL_H */
