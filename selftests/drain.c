// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading while processes live: what is lazy is turned into what stock would
 * have. Needs a system on which the module is not loaded. New VMAs are to become
 * lazy unless ENABLED=0 is in the environment.
 */

#include <fcntl.h>
#include <linux/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"
#include "inject.h"

#define DRAIN		AVL_DEBUGFS "drain"
#define NR		16	/* pages of a kind */
#define SIZE		(NR * psize())
#define HUGE		read_pmd_pagesize()
#define GENERATIONS	6
#define MANY		40
#define MANY_ROUNDS	6
#define VMAS		20	/* of each of many */
#define ROUNDS		40
#define WORKERS		3

/* Where what is: in pages from avl_addr(0). */
enum { NATURAL = 0, FROM = 100, DISPLACED = 200, FILE_PRIVATE = 300, SWAPPED = 400,
	MERGED = 500, NEW = 600, ELSEWHERE = 700, KEPT = 800, HUGE_PAGE = 1 << 20 };

/* What the processes of a test share. */
static struct {
	pid_t pid;		/* of a process that nobody can wait for */
	int result;		/* its own, 1 until it has one */
	bool go;
	bool stop;
	unsigned long walks;
} *shared;

static bool is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

/* Is there before the module, and a family of its own. */
static struct avl_child child;

FIXTURE(drain)
{
	bool lazy;
};

static int nothing(void *arg)
{
	return 0;
}

/* The test has no context: what others fault is made lazy meanwhile only. */
static void enable(bool lazy)
{
	avl_set_parameter("enabled", lazy ? "1" : "0");
}

FIXTURE_SETUP(drain)
{
	const char *enabled = getenv("ENABLED");

	ASSERT_NE(0, access(AVL_DEBUGFS, F_OK)) {
		TH_LOG("the module must not be loaded yet");
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	shared->result = 1;
	ASSERT_EQ(0, avl_child_start(&child, nothing, nothing, NULL));
	ASSERT_EQ(0, avl_load("enabled=0"));
	self->lazy = !enabled || strcmp(enabled, "0");
	avl_slab("anon_vma");
	avl_mark();
}

/* The processes of the test have ended, or are about to if it failed. */
FIXTURE_TEARDOWN_PARENT(drain)
{
	int err = avl_unload();

	EXPECT_EQ(0, err);
	for (int i = 0; i < 50 && err; i++) {
		usleep(100000);
		err = avl_unload();
	}
	EXPECT_NE(0, access(AVL_DEBUGFS, F_OK));
	EXPECT_GT(0, avl_slab("anon_vma_lazy"));
}

/* Lets the child do something, and makes it lazy. */
static int run_lazily(int (*fn)(void *arg), bool lazy)
{
	int err;

	enable(lazy);
	err = avl_child_run(&child, fn);
	enable(false);
	return err;
}

/* A value of the file "drain". */
static long drain_says(const char *name)
{
	static char text[65536];
	char line[64];
	const char *found;

	if (avl_read(DRAIN, text, sizeof(text)) < 0)
		return -1;
	snprintf(line, sizeof(line), "%s ", name);
	found = !strncmp(text, line, strlen(line)) ? text : strstr(text, line);
	return found ? atol(found + strlen(line)) : -1;
}

/* Does it say of this process that it is there, and why? */
static bool drain_names(pid_t pid, const char *why)
{
	static char text[65536];
	char line[64], found[16];
	const char *process;

	if (avl_read(DRAIN, text, sizeof(text)) < 0)
		return false;
	snprintf(line, sizeof(line), "\nprocess %d context ", pid);
	process = strstr(text, line);
	return process &&
		sscanf(process, "\nprocess %*d context %*d %15s comm drain", found) == 1 &&
		!strcmp(found, why);
}

/* Nothing is left of what the module counts. */
static void check_none(struct __test_metadata *_metadata)
{
	static const char * const balance[] = {
		"contexts", "contexts_dead", "families", "anon_vmas", "vmas_lazy",
		"vmas_displaced", "indexes", "shares"
	};

	for (size_t i = 0; i < ARRAY_SIZE(balance); i++) {
		ASSERT_EQ(0, avl_stat(balance[i])) {
			TH_LOG("%s", balance[i]);
		}
	}
}

/* Is the anon_vma of a page of a process lazy? -1 if not known. */
static int is_lazy(pid_t pid, unsigned long page)
{
	char answer[4096];

	if (avl_rmap_walk(pid, avl_addr(page), answer, sizeof(answer)) ||
	    !avl_rmap_maps(answer, pid, avl_addr(page)))
		return -1;
	return !!strstr(answer, " anchor lazy ");
}

static int fill_new(unsigned long page, unsigned long pages)
{
	char *area = avl_map(page, pages);

	if (area == MAP_FAILED)
		return -1;
	avl_fill(area, pages * psize(), page);
	return 0;
}

/* Some of everything. */
static int make_kinds(void *arg)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char *file, *huge = avl_map(HUGE_PAGE, HUGE / psize());

	file = mmap(avl_addr(FILE_PRIVATE), SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
	close(fd);
	if (file == MAP_FAILED || huge == MAP_FAILED || fill_new(NATURAL, NR) ||
	    fill_new(KEPT, 1) || fill_new(FROM, NR) || fill_new(SWAPPED, NR) ||
	    fill_new(MERGED, NR) || fill_new(MERGED + 2 * NR, NR))
		return -1;
	avl_fill(file, SIZE, FILE_PRIVATE);
	/* Twice the same. */
	avl_fill(avl_addr(MERGED + 2 * NR), SIZE, MERGED);
	madvise(huge, HUGE, MADV_HUGEPAGE);
	avl_fill(huge, HUGE, HUGE_PAGE);
	if (mremap(avl_addr(FROM), SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   avl_addr(DISPLACED)) == MAP_FAILED ||
	    mprotect(avl_addr(DISPLACED + NR / 2), psize(), PROT_READ) ||
	    madvise(avl_addr(MERGED), SIZE, MADV_MERGEABLE) ||
	    madvise(avl_addr(MERGED + 2 * NR), SIZE, MADV_MERGEABLE) ||
	    madvise(avl_addr(SWAPPED), SIZE, MADV_PAGEOUT))
		return -1;
	return 0;
}

static int check_kinds(void *arg)
{
	return !avl_check(avl_addr(NATURAL), SIZE, NATURAL) ||
		!avl_check(avl_addr(DISPLACED), SIZE, FROM) ||
		!avl_check(avl_addr(FILE_PRIVATE), SIZE, FILE_PRIVATE) ||
		!avl_check(avl_addr(SWAPPED), SIZE, SWAPPED) ||
		!avl_check(avl_addr(MERGED), SIZE, MERGED) ||
		!avl_check(avl_addr(MERGED + 2 * NR), SIZE, MERGED) ||
		!avl_check(avl_addr(HUGE_PAGE), HUGE, HUGE_PAGE);
}

static int check_child(void)
{
	return !avl_check(avl_addr(NATURAL), SIZE, NATURAL) ||
		!avl_check(avl_addr(ELSEWHERE), 2 * psize(), FROM);
}

/* A child, and its child, write and move a part; the parent writes another. */
static int fork_and_check(void)
{
	const pid_t pid = fork();
	int status;

	if (!pid) {
		avl_fill(avl_addr(NATURAL), SIZE / 2, NATURAL);
		if (mremap(avl_addr(DISPLACED), 2 * psize(), 2 * psize(),
			   MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(ELSEWHERE)) == MAP_FAILED ||
		    munmap(avl_addr(SWAPPED), SIZE / 2))
			_exit(1);
		if (!fork())
			_exit(check_child());
		_exit(check_child() || wait(&status) < 0 || status);
	}
	avl_fill(avl_addr(NATURAL), SIZE, NATURAL);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return -1;
	return check_kinds(NULL);
}

/* All that a process does to its VMAs, but exit. */
static int go_on(void *arg)
{
	if (check_kinds(NULL) || fork_and_check() || fill_new(NEW, NR) || fork_and_check())
		return -1;
	/* Split, merge, move back, over another one, away. */
	if (mprotect(avl_addr(NATURAL + 3), 4 * psize(), PROT_READ) ||
	    mprotect(avl_addr(NATURAL + 3), 4 * psize(), PROT_READ | PROT_WRITE) ||
	    avl_vmas(avl_addr(NATURAL), SIZE) != 1 ||
	    mremap(avl_addr(NEW), SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   avl_addr(ELSEWHERE)) == MAP_FAILED ||
	    !avl_check(avl_addr(ELSEWHERE), SIZE, NEW) || munmap(avl_addr(ELSEWHERE), SIZE))
		return -1;
	return check_kinds(NULL);
}

/* Walks of all kinds, from outside, until the end. */
static int walk(pid_t pid)
{
	const int pidfd = syscall(__NR_pidfd_open, pid, 0);
	const int idle = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	static const unsigned long at[] = { NATURAL, DISPLACED, FILE_PRIVATE, SWAPPED, MERGED };
	static const unsigned long all[64] = { [0 ... 63] = -1UL };
	unsigned long buf[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned long n = 0; !is_set(&shared->stop); n++) {
		for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
			struct iovec vec = { avl_addr(at[i]), SIZE };

			avl_move(pid, vec.iov_base, SIZE, n % 2);
			if (n % 4 == i % 4)
				syscall(__NR_process_madvise, pidfd, &vec, 1, MADV_PAGEOUT, 0);
		}
		if (n % 16 == 0)
			avl_write("/proc/sys/vm/compact_memory", "1");
		if (pwrite(idle, all, sizeof(all), n % 64 * sizeof(all)) < 0 ||
		    pread(idle, buf, sizeof(buf), n % 64 * sizeof(all)) < 0)
			return -1;
		__atomic_add_fetch(&shared->walks, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* A process with all that there is, drained under load, is as on stock. */
TEST_F(drain, kinds)
{
	pid_t walker;
	int status;

	ASSERT_EQ(0, run_lazily(make_kinds, self->lazy));
	ASSERT_EQ(0, avl_ksm_merge(2 * NR));
	ASSERT_EQ(self->lazy, is_lazy(child.pid, KEPT));
	ASSERT_LE(3 * self->lazy, avl_stat("vmas_displaced"));
	walker = fork();
	if (!walker)
		_exit(walk(child.pid));
	avl_wait_for(&shared->walks, 2);

	if (self->lazy) {
		ASSERT_EQ(EWOULDBLOCK, avl_unload());
		ASSERT_TRUE(drain_names(child.pid, "alone"));
		ASSERT_EQ(1, drain_says("alone"));
	}
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	check_none(_metadata);
	ASSERT_EQ(self->lazy, drain_says("drained"));
	ASSERT_EQ(0, drain_says("alone") + drain_says("related") + drain_says("others"));
	ASSERT_EQ(0, is_lazy(child.pid, KEPT));
	avl_wait_for(&shared->walks, 2);
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_unload());

	/* Without the module, then with it once more. */
	ASSERT_EQ(0, avl_child_run(&child, go_on));
	avl_wait_for(&shared->walks, 2);
	ASSERT_EQ(0, avl_load("enabled=0"));
	ASSERT_VERIFIED();
	enable(self->lazy);
	ASSERT_EQ(0, avl_child_run(&child, go_on));
	ASSERT_EQ(0, is_lazy(child.pid, KEPT));
	ASSERT_VERIFIED();
	enable(false);
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	check_none(_metadata);
	avl_wait_for(&shared->walks, 2);
	ASSERT_VERIFIED();
	shared->stop = true;
	ASSERT_EQ(walker, waitpid(walker, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, avl_child_run(&child, check_kinds));
	ASSERT_EQ(0, ksm_stop());
	ASSERT_EQ(0, avl_child_end(&child));
}

static int fork_one(void *arg)
{
	const pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (!is_set(&shared->go))
			usleep(1000);
		_exit(!avl_check(avl_addr(NATURAL), SIZE, NATURAL));
	}
	shared->pid = pid;
	return pid < 0;
}

static int fill_natural(void *arg)
{
	return fill_new(NATURAL, NR);
}

/* With pages that are swapped out when others inherit them. */
static int fill_and_swap(void *arg)
{
	return fill_natural(arg) || fill_new(SWAPPED, NR) ||
		madvise(avl_addr(SWAPPED), SIZE, MADV_PAGEOUT);
}

/* They might be shared when they are mapped again: they refer to the root. */
static int check_swapped(void *arg)
{
	return !avl_check(avl_addr(SWAPPED), SIZE, SWAPPED);
}

static int check_natural(void *arg)
{
	return !avl_check(avl_addr(NATURAL), SIZE, NATURAL);
}

static int wait_for_one(void *arg)
{
	int status;

	return wait(&status) < 0 || status;
}

/* Parents and children are left, and named; and drained when they are alone. */
TEST_F(drain, related)
{
	ASSERT_EQ(0, run_lazily(fill_and_swap, self->lazy));
	ASSERT_EQ(0, avl_child_run(&child, fork_one));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, avl_write(DRAIN, "1"));
		ASSERT_EQ(2 * self->lazy, avl_stat("contexts"));
		ASSERT_EQ(2 * self->lazy, drain_says("related"));
		ASSERT_EQ(0, drain_says("drained"));
		ASSERT_VERIFIED();
		ASSERT_EQ(self->lazy, drain_names(child.pid, "related"));
		ASSERT_EQ(self->lazy, drain_names(shared->pid, "related"));
		ASSERT_EQ(self->lazy, is_lazy(child.pid, NATURAL));
		if (self->lazy)
			ASSERT_EQ(EWOULDBLOCK, avl_unload());
	}
	shared->go = true;
	ASSERT_EQ(0, avl_child_run(&child, wait_for_one));
	ASSERT_EQ(self->lazy, drain_says("alone"));
	ASSERT_EQ(0, avl_child_run(&child, check_swapped));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	check_none(_metadata);
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_unload());
	ASSERT_EQ(0, avl_child_run(&child, fork_one));
	ASSERT_EQ(0, avl_child_run(&child, check_natural));
	ASSERT_EQ(0, avl_child_run(&child, wait_for_one));
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_EQ(0, avl_load("enabled=0"));
}

/* The parent of each goes away, the last one has what all of them had. */
static int survivor(void *arg)
{
	pid_t parent = getpid(), pid = fork();

	for (int i = 1; !pid; i++) {
		/* Shared with whom comes after; of its own. */
		while (getppid() == parent)
			usleep(1000);
		avl_fill(avl_addr(NATURAL + i), psize(), NATURAL + i);
		if (i == GENERATIONS)
			break;
		parent = getpid();
		pid = fork();
		if (pid)
			_exit(0);
	}
	if (pid)
		return pid < 0;
	__atomic_store_n(&shared->pid, getpid(), __ATOMIC_RELEASE);
	while (!is_set(&shared->go))
		usleep(1000);
	shared->result = check_natural(NULL) || fork_one(NULL) || wait_for_one(NULL) ||
		munmap(avl_addr(NATURAL), SIZE / 2) || fill_new(NEW, NR) || fork_one(NULL);
	_exit(0);
}

TEST_F(drain, survivor)
{
	pid_t pid;

	ASSERT_EQ(0, run_lazily(fill_natural, self->lazy));
	ASSERT_EQ(0, avl_child_run(&child, survivor));
	ASSERT_EQ(0, avl_child_end(&child));
	while (!(pid = __atomic_load_n(&shared->pid, __ATOMIC_ACQUIRE)))
		usleep(1000);
	/* Its parent's context may leave a little later. */
	while (avl_stat("contexts") > 1)
		usleep(1000);
	if (self->lazy)
		ASSERT_LE(GENERATIONS - 1, avl_stat("anon_vmas"));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	check_none(_metadata);
	ASSERT_VERIFIED();
	for (int i = 0; i < NR; i++)
		ASSERT_EQ(0, is_lazy(pid, i));
	shared->go = true;
	while (shared->result > 0 && !kill(pid, 0))
		usleep(1000);
	ASSERT_EQ(0, shared->result);
	ASSERT_EQ(0, avl_unload());
	ASSERT_EQ(0, avl_load("enabled=0"));
}

static int refill(void *arg)
{
	return munmap(avl_addr(NATURAL), SIZE) || fill_natural(arg);
}

/* It has a root then, and is a leaf again. */
static int refill_and_fork(void *arg)
{
	int status, err = refill(arg);
	const pid_t pid = fork();

	if (!pid)
		_exit(0);
	return err || waitpid(pid, &status, 0) != pid || status;
}

/* There is always a walk while a process becomes lazy and is drained. */
TEST_F(drain, walked)
{
	pid_t walker;
	int status;

	ASSERT_EQ(0, avl_child_run(&child, fill_natural));
	walker = fork();
	if (!walker) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int n = 0; !is_set(&shared->stop); n++)
			avl_move(child.pid, avl_addr(NATURAL), SIZE, n % 2);
		_exit(0);
	}
	for (int round = 0; round < 3 * ROUNDS; round++) {
		ASSERT_EQ(0, run_lazily(round % 2 ? refill_and_fork : refill, self->lazy));
		ASSERT_EQ(0, avl_write(DRAIN, "1"));
		ASSERT_EQ(0, avl_stat("contexts"));
		ASSERT_EQ(0, avl_child_run(&child, check_natural));
	}
	ASSERT_EQ(3 * ROUNDS * self->lazy, drain_says("drained"));
	if (self->lazy)
		ASSERT_LT(0, avl_since("walks"));
	ASSERT_VERIFIED();
	shared->stop = true;
	ASSERT_EQ(walker, waitpid(walker, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, avl_child_end(&child));
	check_none(_metadata);
}

/* A process with a context and no lazy VMA. */
static int unmap_natural(void *arg)
{
	return munmap(avl_addr(NATURAL), SIZE);
}

TEST_F(drain, empty)
{
	ASSERT_EQ(0, run_lazily(fill_natural, self->lazy));
	ASSERT_EQ(0, avl_child_run(&child, unmap_natural));
	ASSERT_EQ(self->lazy, avl_stat("contexts"));
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	check_none(_metadata);
	ASSERT_EQ(0, run_lazily(fill_natural, self->lazy));
	ASSERT_EQ(0, avl_child_run(&child, check_natural));
	ASSERT_EQ(self->lazy, is_lazy(child.pid, NATURAL));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	ASSERT_EQ(0, avl_child_end(&child));
	check_none(_metadata);
}

TEST_F(drain, errors)
{
	static const char * const bad[] = { "\n", "0", "2", "11", "1 1", "-1", "y", "drain" };

	ASSERT_EQ(0, run_lazily(fill_natural, self->lazy));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ASSERT_EQ(-EINVAL, avl_write(DRAIN, bad[i]));
	ASSERT_EQ(self->lazy, drain_says("alone"));
	avl_set_parameter("enabled", "1");
	ASSERT_EQ(-EBUSY, avl_write(DRAIN, "1"));
	avl_set_parameter("enabled", "0");
	ASSERT_EQ(self->lazy, drain_says("alone"));
	ASSERT_EQ(0, drain_says("drained"));
	ASSERT_EQ(0, avl_write(DRAIN, "1\n"));
	check_none(_metadata);
	ASSERT_EQ(0, avl_child_end(&child));
}

static int fill_many(void *arg)
{
	for (int i = 0; i < VMAS; i++)
		if (fill_new(2 * i, 1))
			return -1;
	return 0;
}

static int check_many(void *arg)
{
	for (int i = 0; i < VMAS; i++)
		if (!avl_check(avl_addr(2 * i), psize(), 2 * i))
			return -1;
	return 0;
}

/* Does the kernel keep what is freed, and count it as in use? */
static bool keeps_freed(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, " kasan_quarantine_put\n");
	if (file)
		fclose(file);
	return found;
}

/* Signals, at longer and longer intervals. */
static void again(int signal)
{
	static suseconds_t interval = 25;
	struct itimerval timer = { .it_value.tv_usec = interval };

	interval *= 2;
	if (interval < 1000000)
		setitimer(ITIMER_REAL, &timer, NULL);
}

/* A signal ends it, and what is done stays done. Nothing leaks. */
TEST_F(drain, many)
{
	static const char * const caches[] = { "anon_vma", "anon_vma_chain" };
	const struct sigaction action = { .sa_handler = again };
	static struct avl_child children[MANY];
	const struct itimerval off = { };
	long before[2] = { };
	int err, interrupted = 0;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	for (int round = 0; round < MANY_ROUNDS; round++) {
		/* The module's files are for those who started without it. */
		for (int i = 0; i < MANY; i++)
			ASSERT_EQ(0, avl_child_start(&children[i], nothing, check_many, NULL));
		enable(self->lazy);
		for (int i = 0; i < MANY; i++)
			ASSERT_EQ(0, avl_child_run(&children[i], fill_many));
		enable(false);
		ASSERT_EQ(MANY * self->lazy, avl_stat("contexts"));
		avl_mark();
		if (round == 0) {
			again(0);
			err = avl_write(DRAIN, "1");
			setitimer(ITIMER_REAL, &off, NULL);
			interrupted = err == -EINTR;
			ASSERT_EQ(0, err ? err + EINTR : 0);
			ASSERT_EQ(-avl_since("contexts"), drain_says("drained"));
			ASSERT_EQ(avl_stat("contexts"), drain_says("alone"));
			if (interrupted && self->lazy)
				ASSERT_LT(0, drain_says("alone"));
			ASSERT_VERIFIED();
		}
		ASSERT_EQ(0, avl_write(DRAIN, "1"));
		check_none(_metadata);
		ASSERT_VERIFIED();
		for (int i = 0; i < MANY; i++)
			ASSERT_EQ(0, avl_child_end(&children[i]));
		/* They are freed after a grace period. */
		sleep(1);
		for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
			char shrink[64];

			/* What each CPU has in store counts as in use. */
			snprintf(shrink, sizeof(shrink), "/sys/kernel/slab/%s/shrink", caches[i]);
			ASSERT_EQ(0, avl_write(shrink, "1"));
			if (round == 1)
				before[i] = avl_slab(caches[i]);
			if (round == MANY_ROUNDS - 1 && !keeps_freed())
				ASSERT_GT(before[i] + MANY, avl_slab(caches[i])) {
					TH_LOG("%s", caches[i]);
				}
		}
	}
	TH_LOG("%s", interrupted ? "interrupted" : "too fast to be interrupted");
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Out of memory nothing changes, whichever allocation fails. */
TEST_F(drain, nomem)
{
	static const char * const functions[] = { "anon_vma_lazy_drain" };
	int nth = 1, err;
	bool failed;

	if (!inject_available())
		SKIP(return, "no CONFIG_FAULT_INJECTION_STACKTRACE_FILTER");
	inject_find(functions, ARRAY_SIZE(functions));
	inject_open();
	inject_setup(false);
	ASSERT_EQ(0, run_lazily(make_kinds, self->lazy));
	avl_mark();
	inject_at("anon_vma_lazy_drain", "anon_vma_chain", NULL);
	for (;; nth++) {
		inject_arm(nth);
		err = avl_write(DRAIN, "1");
		failed = inject_disarm();
		if (!failed)
			break;
		ASSERT_EQ(-ENOMEM, err);
		ASSERT_EQ(0, avl_since("contexts") | avl_since("anon_vmas") |
			  avl_since("vmas_lazy") | avl_since("vmas_displaced"));
		ASSERT_EQ(1, drain_says("alone"));
		ASSERT_EQ(0, avl_child_run(&child, check_kinds));
	}
	inject_at(NULL, NULL, NULL);
	TH_LOG("%d allocations failed", nth - 1);
	ASSERT_EQ(0, err);
	/* One chain for each VMA that is not displaced. */
	ASSERT_LE(5 * self->lazy, nth);
	check_none(_metadata);
	ASSERT_EQ(0, avl_child_run(&child, go_on));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

/* Faults, forks, moves and exits of a process that may be drained at any time. */
static int live(int nth)
{
	char *area = avl_map(0, 4);
	pid_t pid;
	int status;

	if (area == MAP_FAILED)
		return -1;
	for (int i = 0; i < 8; i++) {
		avl_fill(area, 3 * psize(), nth);
		avl_move(0, area, 2 * psize(), i % 2);
		if (i % 4 == nth % 4) {
			pid = fork();
			if (!pid)
				_exit(!avl_check(area, 3 * psize(), nth));
			avl_fill(area + psize(), psize(), nth + 1);
			if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
				return -1;
		}
		area = mremap(area, 3 * psize(), 3 * psize(), MREMAP_MAYMOVE | MREMAP_FIXED,
			      avl_addr(10 * (i + 1)));
		if (area == MAP_FAILED || !avl_check(area, 3 * psize(), nth))
			return -1;
		if (munmap(area + 3 * psize(), psize()) || mprotect(area, psize(), PROT_READ) ||
		    mprotect(area, psize(), PROT_READ | PROT_WRITE))
			return -1;
	}
	return 0;
}

TEST_F(drain, beside)
{
	pid_t workers[WORKERS];
	int status;

	for (int i = 0; i < WORKERS; i++) {
		workers[i] = fork();
		if (!workers[i])
			_exit(avl_fork_on(live, &shared->stop, &shared->walks));
		ASSERT_LT(0, workers[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		enable(self->lazy);
		avl_wait_for(&shared->walks, 1);
		usleep(round * 100);
		enable(false);
		ASSERT_EQ(0, avl_write(DRAIN, "1"));
		if (round % 8 == 0)
			ASSERT_VERIFIED();
	}
	TH_LOG("%lu processes, %ld drained", shared->walks, drain_says("drained"));
	if (self->lazy)
		ASSERT_LT(0, drain_says("drained"));
	shared->stop = true;
	for (int i = 0; i < WORKERS; i++) {
		ASSERT_EQ(workers[i], waitpid(workers[i], &status, 0));
		ASSERT_EQ(0, status);
	}
	ASSERT_EQ(0, avl_write(DRAIN, "1"));
	ASSERT_EQ(0, avl_child_end(&child));
	check_none(_metadata);
}

TEST_HARNESS_MAIN
