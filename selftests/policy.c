// SPDX-License-Identifier: GPL-2.0
/* The file "policy": cgroups decide whose VMAs may become lazy. */

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"

#define POLICY		AVL_DEBUGFS "policy"
#define CGROUPS		"/sys/fs/cgroup"
/* Without controllers below it: what is removed there is pinned by nobody else. */
#define TOP		"/avl_policy"
#define A		TOP "/a"
#define C		A "/c"
#define B		TOP "/b"
#define D		TOP "/d"
#define X		TOP "/x"

static const char * const cgroups[] = { TOP, A, C, B, D };

static int policy(const char *text)
{
	return avl_write(POLICY, text);
}

static int make(const char *cgroup)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUPS "%s", cgroup);
	return mkdir(path, 0700) ? -errno : 0;
}

/* Who has been waited for may be there for a moment still. */
static int unmake(const char *cgroup)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUPS "%s", cgroup);
	for (int i = 0; rmdir(path); i++) {
		if (errno != EBUSY || i == 3000)
			return -errno;
		usleep(1000);
	}
	return 0;
}

static int move(pid_t pid, const char *cgroup, const char *file)
{
	char path[256], text[16];

	snprintf(path, sizeof(path), CGROUPS "%s/%s", cgroup, file);
	snprintf(text, sizeof(text), "%d", pid);
	return avl_write(path, text);
}

static int enter(const char *cgroup)
{
	return move(getpid(), cgroup, "cgroup.procs");
}

/* Removed cgroups below ours that somebody still refers to. */
static long dying(void)
{
	static const char name[] = "nr_dying_descendants ";
	char stat[4096], *line;

	if (avl_read(CGROUPS TOP "/cgroup.stat", stat, sizeof(stat)) < 0)
		return -1;
	line = strstr(stat, name);
	return line ? strtol(line + strlen(name), NULL, 10) : -1;
}

/* Waits until no more than so many are left. Returns how many there are. */
static long wait_for_dying(long nr)
{
	for (int i = 0; i < 3000 && dying() > nr; i++)
		usleep(10000);
	return dying();
}

/* Is what a process has there lazy? -1 if that is not known. */
static int is_lazy(pid_t pid, const void *p)
{
	char answer[4096];

	if (avl_rmap_walk(pid, p, answer, sizeof(answer)) || !avl_rmap_maps(answer, pid, p))
		return -1;
	return !!strstr(answer, " anchor lazy ");
}

/* Does a new VMA of one page become lazy? */
static int fault_of(pid_t pid, unsigned long page)
{
	char *p = avl_map(page, 1);

	if (p == MAP_FAILED)
		return -1;
	avl_fill(p, psize(), page);
	return is_lazy(pid, p);
}

static int fault(unsigned long page)
{
	return fault_of(getpid(), page);
}

/* Do VMAs of a process that is in a cgroup become lazy? */
static int decided(const char *cgroup)
{
	const pid_t pid = fork();
	int status;

	if (!pid)
		_exit(enter(cgroup) ? 2 : fault(0));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* What the processes of the race share. */
static struct {
	unsigned long lives[3];
	unsigned long policies[2];
	bool stop;
} *shared;

FIXTURE(policy)
{
	bool lazy;
};

FIXTURE_SETUP(policy)
{
	self->lazy = avl_setup();
	for (size_t i = 0; i < ARRAY_SIZE(cgroups); i++)
		ASSERT_EQ(0, make(cgroups[i]));
}

FIXTURE_TEARDOWN(policy)
{
	if (shared) {
		/* Not all of them, if it failed. */
		shared->stop = true;
		while (wait(NULL) > 0)
			;
	}
	EXPECT_EQ(0, policy("all"));
	EXPECT_EQ(0, enter(""));
	unmake(X);
	for (size_t i = ARRAY_SIZE(cgroups); i--;)
		EXPECT_EQ(0, unmake(cgroups[i]));
}

#define ASSERT_POLICY(text)							\
do {										\
	char __is[8192];							\
										\
	ASSERT_LT(0, avl_read(POLICY, __is, sizeof(__is)));			\
	ASSERT_STREQ(text "\n", __is);						\
} while (0)

/* Of the root, and of cgroups. */
#define ASSERT_DECIDED(root, top, a, c, b)					\
do {										\
	ASSERT_EQ(self->lazy && (root), decided(""));				\
	ASSERT_EQ(self->lazy && (top), decided(TOP));				\
	ASSERT_EQ(self->lazy && (a), decided(A));				\
	ASSERT_EQ(self->lazy && (c), decided(C));				\
	ASSERT_EQ(self->lazy && (b), decided(B));				\
} while (0)

TEST_F(policy, all)
{
	ASSERT_POLICY("all");
	ASSERT_DECIDED(1, 1, 1, 1, 1);
}

/* A cgroup and what is below it, but not above or beside. */
TEST_F(policy, only)
{
	ASSERT_EQ(0, policy("only " A));
	ASSERT_POLICY("only " A);
	ASSERT_DECIDED(0, 0, 1, 1, 0);
	ASSERT_EQ(0, policy("only " C));
	ASSERT_DECIDED(0, 0, 0, 1, 0);
	ASSERT_EQ(0, policy("only " TOP "\n"));
	ASSERT_POLICY("only " TOP);
	ASSERT_DECIDED(0, 1, 1, 1, 1);
	ASSERT_EQ(0, policy("only " B " " C));
	ASSERT_POLICY("only " B " " C);
	ASSERT_DECIDED(0, 0, 0, 1, 1);
	ASSERT_EQ(0, policy("only /"));
	ASSERT_POLICY("only /");
	ASSERT_DECIDED(1, 1, 1, 1, 1);
}

TEST_F(policy, except)
{
	ASSERT_EQ(0, policy("except " A));
	ASSERT_POLICY("except " A);
	ASSERT_DECIDED(1, 1, 0, 0, 1);
	ASSERT_EQ(0, policy(" except\t" C "  " B "\n"));
	ASSERT_POLICY("except " C " " B);
	ASSERT_DECIDED(1, 1, 1, 0, 0);
	ASSERT_EQ(0, policy("except /"));
	ASSERT_DECIDED(0, 0, 0, 0, 0);
	ASSERT_EQ(0, policy("all\n"));
	ASSERT_POLICY("all");
	ASSERT_DECIDED(1, 1, 1, 1, 1);
}

/* As many as there may be: all of them count. */
TEST_F(policy, eight)
{
	ASSERT_EQ(0, policy("only " C " " C " " C " " C " " C " " C " " C " " B));
	ASSERT_POLICY("only " C " " C " " C " " C " " C " " C " " C " " B);
	ASSERT_DECIDED(0, 0, 0, 1, 1);
}

/* With the parameter "enabled" everybody's stay eager; the policy is kept. */
TEST_F(policy, disabled)
{
	ASSERT_EQ(0, policy("only " A));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_EQ(0, decided(A));
	ASSERT_EQ(0, policy("except " B));
	ASSERT_EQ(0, decided(A));
	ASSERT_EQ(0, avl_set_parameter("enabled", self->lazy ? "1" : "0"));
	ASSERT_POLICY("except " B);
	ASSERT_DECIDED(1, 1, 1, 1, 0);
}

/* A policy is about the cgroup that was there, and does not keep it from being removed. */
TEST_F(policy, removed)
{
	const long before = dying();

	ASSERT_EQ(0, make(X));
	ASSERT_EQ(0, policy("except " X " " C));
	ASSERT_EQ(0, decided(X));
	ASSERT_EQ(0, unmake(X));
	ASSERT_EQ(0, unmake(B));
	/* The one that is named stays, without a name; the other one goes. */
	ASSERT_EQ(before + 1, wait_for_dying(before + 1));
	ASSERT_POLICY("except " X " (deleted) " C);
	ASSERT_EQ(-ENOENT, policy("only " X));
	ASSERT_EQ(0, make(X));
	ASSERT_EQ(0, make(B));
	ASSERT_EQ(self->lazy, decided(X));
	ASSERT_DECIDED(1, 1, 1, 0, 1);
	ASSERT_EQ(0, policy("only " X));
	ASSERT_POLICY("only " X);
	ASSERT_EQ(self->lazy, decided(X));
	ASSERT_DECIDED(0, 0, 0, 0, 0);
	ASSERT_EQ(before, wait_for_dying(before));
}

/* The cgroup that a child starts in. */
static const char *home;

static int come(void *arg)
{
	return enter(home) || avl_map(2, 1) == MAP_FAILED;
}

static int fault_4(void *arg)
{
	return fault(4);
}

static int fault_6(void *arg)
{
	return fault(6);
}

static int fault_8(void *arg)
{
	return fault(8);
}

static int check_4(void *arg)
{
	return !avl_check(avl_addr(4), psize(), 4);
}

static int check_all(void *arg)
{
	return !avl_check(avl_addr(4), psize(), 4) || !avl_check(avl_addr(6), psize(), 6) ||
		!avl_check(avl_addr(8), psize(), 8);
}

/* The child of a child: what it has of it, and what becomes of its own. */
static int fork_and_fault(void *arg)
{
	struct avl_child child;
	int lazy = avl_child_start(&child, check_4, NULL, NULL);

	if (!lazy)
		lazy = avl_child_run(&child, fault_6);
	if (is_lazy(child.pid, avl_addr(4)) != is_lazy(getpid(), avl_addr(4)))
		lazy = -1;
	return avl_child_end(&child) ? -1 : lazy;
}

/* What is lazy stays so, and what is eager; new VMAs are as the new cgroup wants it. */
TEST_F(policy, moved)
{
	struct avl_child child;

	ASSERT_EQ(0, policy("only " A));
	home = A;
	ASSERT_EQ(0, avl_child_start(&child, come, check_all, NULL));
	ASSERT_EQ(self->lazy, avl_child_run(&child, fault_4));
	ASSERT_EQ(self->lazy, avl_child_run(&child, fork_and_fault));

	ASSERT_EQ(0, move(child.pid, B, "cgroup.procs"));
	ASSERT_EQ(self->lazy, is_lazy(child.pid, avl_addr(4)));
	ASSERT_EQ(0, avl_child_run(&child, fork_and_fault));
	ASSERT_EQ(0, avl_child_run(&child, fault_6));
	ASSERT_VERIFIED();

	ASSERT_EQ(0, move(child.pid, C, "cgroup.procs"));
	ASSERT_EQ(self->lazy, is_lazy(child.pid, avl_addr(4)));
	ASSERT_EQ(0, is_lazy(child.pid, avl_addr(6)));
	ASSERT_EQ(self->lazy, avl_child_run(&child, fault_8));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Whose VMA it is counts, not who faults. */
TEST_F(policy, remote)
{
	static const char * const from[] = { B, A }, * const to[] = { A, B };
	struct avl_child child;

	ASSERT_EQ(0, policy("only " A));
	for (int i = 0; i < 2; i++) {
		unsigned long word = 1;
		struct iovec local = { .iov_base = &word, .iov_len = sizeof(word) };
		struct iovec remote = { .iov_base = avl_addr(2), .iov_len = sizeof(word) };

		home = to[i];
		ASSERT_EQ(0, avl_child_start(&child, come, NULL, NULL));
		ASSERT_EQ(0, enter(from[i]));
		ASSERT_EQ(sizeof(word), process_vm_writev(child.pid, &local, 1, &remote, 1, 0));
		ASSERT_EQ(self->lazy && !i, is_lazy(child.pid, avl_addr(2)));
		ASSERT_EQ(0, avl_child_end(&child));
	}
	ASSERT_EQ(0, enter(""));
}

struct borrower {
	pid_t parent;
	int lazy;
};

static int borrow(void *arg)
{
	struct borrower *b = arg;

	if (enter(B))
		return 1;
	b->lazy = fault_of(b->parent, 4);
	return 0;
}

/* Who borrows an address space, as vfork() does, is not its owner. */
TEST_F(policy, vfork)
{
	static char stack[16 * 4096];
	struct borrower b = { .parent = getpid() };
	int status;
	pid_t pid;

	ASSERT_EQ(0, policy("only " A));
	ASSERT_EQ(0, enter(A));
	pid = clone(borrow, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(self->lazy, b.lazy);
	ASSERT_EQ(0, enter(""));
}

static bool is_zombie(pid_t pid)
{
	char path[64], stat[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return avl_read(path, stat, sizeof(stat)) > 0 && strstr(stat, ") Z ");
}

/* One bit for each of its VMAs. */
static void *thread(void *arg)
{
	const pid_t pid = getpid();
	int lazy[2];

	if (move(gettid(), TOP "/t/x", "cgroup.threads"))
		_exit(4);
	lazy[0] = fault(4);
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELAXED);
	while (!is_zombie(pid))
		usleep(1000);
	lazy[1] = fault(6);
	for (int i = 0; i < 2; i++)
		if (lazy[i] < 0)
			_exit(5);
	_exit(lazy[0] | lazy[1] << 1);
}

static int threads(void)
{
	static bool go;
	const pid_t pid = fork();
	pthread_t other;
	int status;

	if (!pid) {
		if (enter(TOP "/t") || pthread_create(&other, NULL, thread, &go))
			_exit(6);
		while (!__atomic_load_n(&go, __ATOMIC_RELAXED))
			usleep(1000);
		syscall(SYS_exit, 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Of several threads the first one counts; when it has ended another one. */
TEST_F(policy, threads)
{
	ASSERT_EQ(0, make(TOP "/t"));
	ASSERT_EQ(0, make(TOP "/t/x"));
	ASSERT_EQ(0, avl_write(CGROUPS TOP "/t/x/cgroup.type", "threaded"));
	ASSERT_EQ(0, policy("only " TOP "/t/x"));
	EXPECT_EQ(self->lazy ? 2 : 0, threads());
	ASSERT_EQ(0, policy("except " TOP "/t/x"));
	EXPECT_EQ(self->lazy ? 1 : 0, threads());
	ASSERT_EQ(0, unmake(TOP "/t/x"));
	ASSERT_EQ(0, unmake(TOP "/t"));
}

/* What is refused changes nothing. */
TEST_F(policy, refused)
{
	static const struct {
		const char *text;
		int error;
	} bad[] = {
		{ "", EINVAL }, { "\n", EINVAL }, { " \t", EINVAL }, { "none", EINVAL },
		{ "ALL", EINVAL }, { "al", EINVAL }, { "alll", EINVAL }, { "all all", EINVAL },
		{ "all " B, EINVAL }, { B, EINVAL }, { "only", EINVAL }, { "except\n", EINVAL },
		{ "only" B, EINVAL }, { "only all", EINVAL }, { "only avl_policy/b", EINVAL },
		{ "only " B " b", EINVAL }, { "only " X, ENOENT }, { "only " B " " X, ENOENT },
		{ "except " X " " B, ENOENT }, { "except " B "\\x", ENOENT },
		{ "only " B "/..", ENOENT }, { "only " CGROUPS B, ENOENT },
		{ "only " B "/cgroup.procs", ENOENT },
		{ "only " B "/cgroup.procs/x", ENOENT }, { "only " B "/", ENOENT },
		{ "only /" B, ENOENT }, { "only //", ENOENT },
		{ "except " B " " B " " B " " B " " B " " B " " B " " B " " B, E2BIG },
	};
	static const struct {
		const char *text;
		size_t size;
	} nuls[] = {
		{ "all", 4 }, { "\0all", 4 }, { "only " B, sizeof("only " B) },
		{ "only " B "\0b", sizeof("only " B "\0b") - 1 }, { "al\0l", 4 },
	};
	static char text[3 * 4096];
	struct iovec two[] = { { "except", 6 }, { " " B, strlen(" " B) } };
	int fd = open(POLICY, O_RDWR | O_CLOEXEC);

	/* Open, it must not be taken for a directory. */
	int file = open(CGROUPS B "/cgroup.procs", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, file);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, policy("only " A));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-bad[i].error, policy(bad[i].text)) {
			TH_LOG("\"%s\"", bad[i].text);
		}
		ASSERT_POLICY("only " A);
	}
	for (size_t i = 0; i < ARRAY_SIZE(nuls); i++) {
		EXPECT_EQ(-1, write(fd, nuls[i].text, nuls[i].size));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(-1, write(fd, (void *)(1UL << 46), 3));
	EXPECT_EQ(EFAULT, errno);
	/* A page of 4 KiB is too much, whatever there is in it. */
	memset(text, ' ', sizeof(text));
	memcpy(text, "all", 3);
	for (size_t size = 4096; size <= sizeof(text); size += 4096) {
		EXPECT_EQ(-1, write(fd, text, size));
		EXPECT_EQ(E2BIG, errno);
	}
	memset(text + 3, '/', 4092);
	EXPECT_EQ(-1, write(fd, text, 4095));
	EXPECT_EQ(EINVAL, errno);
	/* Each write is a policy. */
	EXPECT_EQ(-1, writev(fd, two, 2));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_POLICY("only " A);
	ASSERT_DECIDED(0, 0, 1, 1, 0);

	/* Just not too long. */
	memset(text, ' ', 4095);
	memcpy(text, "all", 3);
	EXPECT_EQ(4095, write(fd, text, 4095));
	ASSERT_POLICY("all");
	ASSERT_EQ(0, close(fd));
	ASSERT_EQ(0, close(file));
}

/* Faults, checks, forks, unmaps: always lazy, or never. */
static int work(int nth, const char *cgroup, int lazy)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(cgroup))
		return 2;
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		int status;
		pid_t pid;

		if (fault(0) != lazy)
			return 3;
		pid = fork();
		if (!pid)
			_exit(!avl_check(avl_addr(0), psize(), 0) || fault(2) != lazy);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return 4;
		if (!avl_check(avl_addr(0), psize(), 0) || munmap(avl_addr(0), psize()))
			return 5;
		__atomic_add_fetch(&shared->lives[nth], 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Policies that all have lazy VMAs in A and D and eager ones in B, some of a cgroup that goes. */
static int replace(int nth)
{
	static const char * const policies[] = {
		"only " D " " A, "except " B, "only " A " " D, "except " X " " B,
		"only " X " " D " " A,
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = nth; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); i++) {
		const char *text = policies[i % ARRAY_SIZE(policies)];
		int err;

		make(X);
		err = policy(text);
		/* The other one may have removed it. */
		if (err && err != -ENOENT)
			return 1;
		unmake(X);
		__atomic_add_fetch(&shared->policies[nth], 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* A policy is replaced as a whole, and is used as long as somebody reads it. */
TEST_F(policy, race)
{
	static const char * const where[] = { A, B, D };
	const unsigned long rounds = 60;
	const long before = dying();
	pid_t pids[5];
	int status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	ASSERT_EQ(0, policy("except " B));
	for (int i = 0; i < 5; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(i < 3 ? work(i, where[i], self->lazy && i != 1) : replace(i - 3));
		ASSERT_LT(0, pids[i]);
	}
	for (int i = 0, busy = 1; busy; i++) {
		char text[1024];

		/* From one cgroup that is allowed to another one, and back. */
		ASSERT_EQ(0, move(pids[2], i % 2 ? D : A, "cgroup.procs"));
		/* What is there must not be freed while it is shown. */
		ASSERT_LT(0, avl_read(POLICY, text, sizeof(text)));
		ASSERT_TRUE(strstr(text, "only ") == text || strstr(text, "except ") == text) {
			TH_LOG("%s", text);
		}
		busy = shared->policies[0] < rounds || shared->policies[1] < rounds;
		for (int j = 0; j < 3; j++)
			busy |= shared->lives[j] < rounds;
		/* Who has ended failed. */
		ASSERT_EQ(0, waitpid(-1, &status, WNOHANG)) {
			TH_LOG("status %#x", status);
		}
	}
	shared->stop = true;
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	TH_LOG("%lu, %lu, %lu faults beside %lu and %lu policies", shared->lives[0],
	       shared->lives[1], shared->lives[2], shared->policies[0], shared->policies[1]);
	ASSERT_VERIFIED();
	ASSERT_EQ(0, policy("all"));
	unmake(X);
	ASSERT_EQ(before, wait_for_dying(before));
}

TEST_HARNESS_MAIN
