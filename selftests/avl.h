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

/* Where avl_map() maps; nothing else is near. */
#define AVL_BASE	0x100000000000UL

/* What the file "verify" says. */
struct avl_verify {
	long processes;
	long present;
	long ksm;
	long migration;
	long swap;
	long hwpoison;
	long missed;
	long ksm_missed;
	long surplus;
	char text[4096];
};

/* A process that waits between two functions. */
struct avl_child {
	pid_t pid;
	int go;
	int (*after)(void *arg);
	void *arg;
};

bool avl_enabled(void);
int avl_set_parameter(const char *name, const char *value);
long avl_stat(const char *name);
long avl_slab(const char *name);
int avl_verify(struct avl_verify *v);
int avl_rmap_walk(pid_t pid, const void *addr, char *buf, size_t size);
bool avl_rmap_maps(const char *buf, pid_t pid, const void *addr);

int avl_read(const char *path, char *buf, size_t size);
int avl_write(const char *path, const char *text);

void *avl_addr(unsigned long page);
void *avl_map(unsigned long page, unsigned long pages);
void avl_fill(void *p, size_t size, unsigned long seed);
bool avl_check(const void *p, size_t size, unsigned long seed);

int avl_child_start(struct avl_child *c, int (*before)(void *arg),
		    int (*after)(void *arg), void *arg);
int avl_child_end(struct avl_child *c);

/* For use in the tests of kselftest_harness.h. */
#define ASSERT_VERIFIED()						\
do {									\
	static struct avl_verify __verify;				\
									\
	ASSERT_EQ(0, avl_verify(&__verify));				\
	ASSERT_EQ(0, __verify.missed) {					\
		TH_LOG("verify:\n%s", __verify.text);			\
	}								\
} while (0)

#endif /* AVL_H */
