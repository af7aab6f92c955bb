// SPDX-License-Identifier: GPL-2.0
/*
 * Loading the module while processes run, and removing it. Needs a system on
 * which it is not loaded, and no process that faults for the first time but
 * those of the test. New VMAs are to become lazy unless ENABLED=0 is in the
 * environment.
 */

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"
#include "inject.h"
#include "kmsg.h"

#define NAME	"anon_vma_lazy"
#define NR	100
#define WORKERS	3
#define ROUNDS	20
#define CGROUP	"/sys/fs/cgroup/avl_load/"
#define PRINTK	"/proc/sys/kernel/printk"
#define TRACING	"/sys/kernel/tracing"
#define EVENTS	TRACING "/events/" NAME "/"

/* VMAs that are faulted before the module is loaded are 0 to NR - 1. */
static int fault(int first)
{
	for (int i = first; i < first + NR; i++) {
		if (avl_map(2 * i, 1) == MAP_FAILED)
			return -1;
		avl_fill(avl_addr(2 * i), psize(), i);
	}
	return 0;
}

static int check(int first)
{
	for (int i = first; i < first + NR; i++)
		if (!avl_check(avl_addr(2 * i), psize(), i))
			return -1;
	return 0;
}

static int check_old(void *arg)
{
	return check(0);
}

static int check_all(void *arg)
{
	return check(0) || check(NR);
}

static int fault_new(void *arg)
{
	return fault(NR) || check_all(NULL);
}

static int write_old(void *arg)
{
	for (int i = 0; i < NR; i++)
		avl_fill(avl_addr(2 * i), psize(), i);
	return 0;
}

/* Is the anon_vma of what a process has at the place of a VMA lazy? -1 if not known. */
static int is_lazy(pid_t pid, int i)
{
	char answer[4096];

	if (avl_rmap_walk(pid, avl_addr(2 * i), answer, sizeof(answer)) ||
	    !avl_rmap_maps(answer, pid, avl_addr(2 * i)))
		return -1;
	return !!strstr(answer, " anchor lazy ");
}

/* Removed cgroups below ours that somebody still refers to. */
static int dying(void)
{
	static const char name[] = "nr_dying_descendants ";
	char stat[4096], *line;

	if (avl_read(CGROUP "cgroup.stat", stat, sizeof(stat)) < 0)
		return -1;
	line = strstr(stat, name);
	return line ? atoi(line + strlen(name)) : -1;
}

/* Is there before the module. */
static struct avl_child old;

FIXTURE(module)
{
	bool lazy;
};

FIXTURE_SETUP(module)
{
	const char *enabled = getenv("ENABLED");

	ASSERT_NE(0, access(AVL_DEBUGFS, F_OK)) {
		TH_LOG("the module must not be loaded yet");
	}
	ASSERT_EQ(0, fault(0));
	ASSERT_EQ(0, avl_child_start(&old, check_old, check_old, NULL));
	/* The harness is to stay without a context: on as long as it waits. */
	ASSERT_EQ(0, avl_load("enabled=0"));
	ASSERT_FALSE(avl_enabled());
	ASSERT_EQ(0, avl_stat("contexts"));
	self->lazy = !enabled || strcmp(enabled, "0");
	ASSERT_EQ(0, avl_set_parameter("enabled", self->lazy ? "1" : "0"));
	avl_mark();
}

/* The processes of the test have ended: it goes, and leaves nothing behind. */
FIXTURE_TEARDOWN_PARENT(module)
{
	EXPECT_EQ(0, avl_unload());
	EXPECT_NE(0, access(AVL_DEBUGFS, F_OK));
	EXPECT_NE(0, access("/sys/module/" NAME, F_OK));
	EXPECT_GT(0, avl_slab(NAME));
	for (int i = 0; i < 3000 && dying() > 0; i++)
		usleep(10000);
	EXPECT_GE(0, dying());
	rmdir(CGROUP);
	EXPECT_NE(0, access(EVENTS "walk", F_OK));
	/* The kernel's own stay on. */
	avl_write(EVENTS "enable", "0");
}

/* Ends the other process; its contents were right to the end. */
static void end(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(0, avl_child_end(&old));
}

/* Being traced does not keep it; its events, but not those of the kernel, go with it. */
TEST_F(module, traced)
{
	if (mount("tracefs", TRACING, "tracefs", 0, NULL))
		ASSERT_EQ(EBUSY, errno);
	ASSERT_EQ(0, access(EVENTS "walk", F_OK));
	ASSERT_EQ(0, avl_write(EVENTS "enable", "1"));
	ASSERT_EQ(0, fault_new(NULL));
	end(_metadata);
}

/* What was faulted before is eager for ever, also in children. */
TEST_F(module, running_processes)
{
	struct avl_child child;

	ASSERT_EQ(0, avl_child_run(&old, write_old));
	ASSERT_EQ(0, write_old(NULL));
	ASSERT_EQ(0, is_lazy(getpid(), 0));
	ASSERT_EQ(0, is_lazy(old.pid, 0));
	ASSERT_VERIFIED();

	/* New ones beside them. */
	ASSERT_EQ(0, avl_child_run(&old, fault_new));
	ASSERT_EQ(0, fault_new(NULL));
	ASSERT_EQ(self->lazy, is_lazy(getpid(), NR));
	ASSERT_EQ(self->lazy, is_lazy(old.pid, NR));
	ASSERT_EQ(0, is_lazy(old.pid, NR - 1));
	ASSERT_LE(self->lazy ? 2 * NR : 0, avl_since("vmas_lazy"));
	ASSERT_VERIFIED();

	ASSERT_EQ(0, avl_child_start(&child, check_all, check_all, NULL));
	ASSERT_EQ(0, avl_child_run(&child, write_old));
	ASSERT_EQ(0, is_lazy(child.pid, 0));
	ASSERT_EQ(self->lazy, is_lazy(child.pid, NR));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_EQ(0, avl_child_run(&old, check_all));
	ASSERT_EQ(0, check_all(NULL));
	end(_metadata);
}

/* The kernel asks the module nothing before it is enabled for the first time. */
TEST_F(module, asked)
{
	const long eager = avl_stat("vmas_eager_total");

	if (!self->lazy) {
		ASSERT_EQ(0, fault_new(NULL));
		ASSERT_EQ(eager, avl_stat("vmas_eager_total"));
	}
	ASSERT_EQ(0, avl_set_parameter("enabled", "1"));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(0, fault(2 * NR));
	ASSERT_LE(eager + NR, avl_stat("vmas_eager_total"));
	end(_metadata);
}

/* It cannot be removed as long as there is a context, and all goes on. */
TEST_F(module, in_use)
{
	ASSERT_EQ(0, fault_new(NULL));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(self->lazy, avl_stat("contexts") > 0);
	for (int i = 0; i < 3 && self->lazy; i++) {
		ASSERT_EQ(EWOULDBLOCK, avl_unload());
		ASSERT_EQ(1, is_lazy(getpid(), NR));
		ASSERT_VERIFIED();
		ASSERT_EQ(0, check_all(NULL));
	}
	end(_metadata);
}

/* Nor while a file of it is open. */
TEST_F(module, open_file)
{
	static const char * const files[] = { "stats", "verify", "rmap_walk", "policy" };
	char path[128];

	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), AVL_DEBUGFS "%s", files[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		ASSERT_LE(0, fd);
		ASSERT_EQ(EWOULDBLOCK, avl_unload());
		ASSERT_EQ(0, close(fd));
	}
	end(_metadata);
}

/* Its policy refers to a cgroup that is removed: it goes when the module does. */
TEST_F(module, policy)
{
	ASSERT_EQ(0, mkdir(CGROUP, 0700));
	ASSERT_EQ(0, mkdir(CGROUP "named", 0700));
	ASSERT_EQ(0, mkdir(CGROUP "other", 0700));
	ASSERT_EQ(0, avl_write(AVL_DEBUGFS "policy", "except /avl_load/named"));
	ASSERT_EQ(0, fault_new(NULL));
	ASSERT_EQ(self->lazy, is_lazy(getpid(), NR));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(0, rmdir(CGROUP "named"));
	ASSERT_EQ(0, rmdir(CGROUP "other"));
	/* The other one goes now. */
	for (int i = 0; i < 3000 && dying() > 1; i++)
		usleep(10000);
	ASSERT_EQ(1, dying());
	end(_metadata);
}

/* What the workers and the test share: how many of their children lived, and the end. */
static struct {
	unsigned long lives;
	bool stop;
} *shared;

/* A process with pages of its own, every now and then a family. */
static int live(int nth)
{
	char *area = avl_map(0, 4);
	int status = 0;

	if (area == MAP_FAILED)
		return -1;
	avl_fill(area, psize(), nth);
	if (nth % 4 == 0) {
		const pid_t pid = fork();

		if (!pid)
			_exit(!avl_check(area, psize(), nth));
		avl_fill(area + psize(), psize(), nth + 1);
		if (avl_move(0, area, psize(), nth / 4 % 2) < 0 || pid < 0 ||
		    waitpid(pid, &status, 0) != pid || status)
			return -1;
		return !avl_check(area, 2 * psize(), nth);
	}
	return !avl_check(area, psize(), nth);
}

/* A worker has no first fault: all of its children have. */
static int work(void)
{
	munmap(avl_addr(0), 2 * NR * psize());
	return avl_fork_on(live, &shared->stop, &shared->lives);
}

/* Tries until it is gone: returns how often it was in use. */
static int unload_beside(struct __test_metadata *_metadata, int tries)
{
	int busy = 0, err;

	do {
		err = avl_unload();
		if (err)
			ASSERT_EQ(EWOULDBLOCK, err);
	} while (err && ++busy != tries);
	return busy;
}

/*
 * It comes and goes while there are first faults, forks, exits and walks. All on one
 * CPU: emulated ones can be late at the breakpoint of a jump label being patched.
 */
TEST_F(module, beside_faults)
{
	static const char * const balance[] = {
		"contexts", "contexts_dead", "families", "anon_vmas", "vmas_lazy",
		"vmas_displaced"
	};
	int enabled = 0, status;
	pid_t workers[WORKERS];
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(0, avl_child_end(&old));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = fork();
		if (!workers[i])
			_exit(work());
		ASSERT_LT(0, workers[i]);
	}
	ASSERT_EQ(0, avl_unload());
	for (int round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, avl_load("enabled=1"));
		if (!self->lazy)
			ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
		avl_wait_for(&shared->lives, WORKERS);
		if (round % 16 == 0)
			ASSERT_VERIFIED();
		if (unload_beside(_metadata, 100) < 100) {
			enabled++;
			continue;
		}
		/* Soon there is nobody left who has a context. */
		ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
		unload_beside(_metadata, -1);
	}
	ASSERT_EQ(0, avl_load(self->lazy ? "enabled=1" : "enabled=0"));
	avl_mark();
	avl_wait_for(&shared->lives, 4 * WORKERS);
	ASSERT_EQ(self->lazy, avl_since("vmas_lazy_total") > 0);
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	shared->stop = true;
	for (int i = 0; i < WORKERS; i++) {
		ASSERT_EQ(workers[i], waitpid(workers[i], &status, 0));
		ASSERT_EQ(0, status);
	}
	TH_LOG("%lu processes, removed %d times while enabled", shared->lives, enabled);
	ASSERT_VERIFIED();
	for (size_t i = 0; i < ARRAY_SIZE(balance); i++) {
		ASSERT_EQ(0, avl_stat(balance[i])) {
			TH_LOG("%s", balance[i]);
		}
	}
}

/* Loading it, with one allocation after the other that fails. */
FIXTURE(nomem)
{
	char console[64];
	long last;
};

/* The kernel shows where it could not make a slab cache: not on the console. */
FIXTURE_SETUP(nomem)
{
	static const char * const functions[] = { "do_one_initcall" };

	if (!inject_available())
		SKIP(return, "no CONFIG_FAULT_INJECTION_STACKTRACE_FILTER");
	ASSERT_LT(0, avl_read(PRINTK, self->console, sizeof(self->console)));
	ASSERT_EQ(0, avl_write(PRINTK, "4"));
	self->last = kmsg_scan(-1, self->console + 63, 1);
	inject_find(functions, ARRAY_SIZE(functions));
	inject_open();
	inject_setup(false);
	inject_at("do_one_initcall", NULL, NULL);
}

FIXTURE_TEARDOWN(nomem)
{
	if (!inject_available())
		return;
	inject_at(NULL, NULL, NULL);
	avl_write(PRINTK, self->console);
}

/* This is slow on kernels with many checks: half of them with ENABLED=0, half without. */
TEST_F(nomem, each)
{
	const char *enabled = getenv("ENABLED");
	const int first = enabled && !strcmp(enabled, "0") ? 1 : 2;
	int nth = first, tried = 0, failures = 0;
	char complaint[1024];
	bool failed;

	for (;; nth += 2) {
		inject_arm(nth);
		const int err = avl_load("enabled=0");

		failed = inject_disarm();
		if (err) {
			ASSERT_TRUE(failed);
			ASSERT_EQ(ENOMEM, err);
			failures++;
		} else {
			/* Perhaps not all of its files are there. */
			ASSERT_EQ(0, avl_unload());
		}
		ASSERT_NE(0, access(AVL_DEBUGFS, F_OK));
		ASSERT_NE(0, access("/sys/module/" NAME, F_OK));
		ASSERT_GT(0, avl_slab(NAME));
		if (!failed)
			break;
		tried++;
	}
	TH_LOG("%d allocations failed, %d times insmod", tried, failures);
	ASSERT_LT(failures, tried);
	ASSERT_LE(0, kmsg_scan(self->last, complaint, sizeof(complaint)));
	ASSERT_STREQ("", complaint);
}

TEST_HARNESS_MAIN
