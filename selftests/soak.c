// SPDX-License-Identifier: GPL-2.0
/*
 * Soak: the workers of stress, one process after the other, for many minutes, while
 * everything around them changes as well:
 *
 *   a memory cgroup is too small for them, so that reclaim never ends; in another
 *   one processes are killed for want of memory; swap devices come and go, memory is
 *   compacted and migrated, KSM is started and stopped, VMAs become lazy or not,
 *   the module verifies all processes, and its other files are read and written.
 *
 * MINUTES says how long that goes on, and SEED what processes do: number n does the
 * same in every run. The seed is printed, and what the last ones did not finish.
 */

#include <errno.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "avl.h"
#include "kmsg.h"
#include "worker.h"

#define PROCESSES	3	/* of workers, at a time */
#define OPERATIONS	100	/* of a worker */
#define READERS		6	/* of "verify" */
#define SOFT_OFFLINE	1000	/* pages that may be given up */
#define SETTLE		60	/* s, for what the kernel does in the background */
#define ATTEMPTS	64	/* to find a process, and a page of it */

#define CGROUP		"/sys/fs/cgroup/"
#define WORK		CGROUP "anon_vma_lazy_work/"
#define OOM		CGROUP "anon_vma_lazy_oom/"
#define WORK_MAX	20480	/* pages, about half of what the workers would use */
#define OOM_MAX		1536
#define OOM_SWAP_MAX	512
#define OOM_PAGES	4096	/* what is wanted there */

#define KSM		"/sys/kernel/mm/ksm/"
#define THP		"/sys/kernel/mm/transparent_hugepage/"

static unsigned long seed;
static bool failed;

/* What the processes around the workers share, and did. */
static struct {
	pid_t workers[PROCESSES];	/* others look for their pages */
	atomic_ulong present, ksm, migration, swap;	/* verified */
	atomic_ulong answers;		/* of "rmap_walk", without error */
	atomic_ulong swapon, swapoff, reclaim, unmerge, migrate_process;
	atomic_ulong advise_process[WORKER_ADVICE];
} *shared;

/* What the kernel is to do meanwhile: events of /proc/vmstat */
static const char *const events[] = {
	"pswpout", "pswpin", "pgmigrate_success", "compact_isolated", "thp_fault_alloc",
	"thp_collapse_alloc", "thp_split_page", "thp_split_pmd", "cow_ksm",
};

static long events_before[ARRAY_SIZE(events)];

/* Says what is wrong; the run ends. */
static void complain(const char *what, long value)
{
	ksft_print_msg("%s: %ld\n", what, value);
	failed = true;
}

/* A child process that runs a function. Its exit status is the result of that. */
static pid_t start(int (*run)(unsigned long random), unsigned long random)
{
	const pid_t pid = fork();

	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run(random | 1));
	}
	return pid;
}

static void enter(const char *procs, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	if (avl_write(procs, text))
		ksft_exit_fail_msg("cannot write %s\n", procs);
}

static void limit(const char *path, unsigned long pages)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", pages * psize());
	if (avl_write(path, text))
		ksft_exit_fail_msg("cannot write %s\n", path);
}

static void make_cgroups(void)
{
	if (avl_write(CGROUP "cgroup.subtree_control", "+memory") ||
	    mkdir(WORK, 0700) || mkdir(OOM, 0700))
		ksft_exit_fail_msg("cannot make memory cgroups\n");
	limit(WORK "memory.max", WORK_MAX);
	limit(OOM "memory.max", OOM_MAX);
	limit(OOM "memory.swap.max", OOM_SWAP_MAX);
}

/* The number behind a name in a file. */
static long number_in(const char *path, const char *name)
{
	static char buf[16384];
	const char *p;

	if (avl_read(path, buf, sizeof(buf)) < 0)
		return -1;
	p = strstr(buf, name);
	return p ? atol(p + strlen(name)) : -1;
}

/* Writes more than there may be until it is killed, and so do its children. */
static int want_memory(unsigned long random)
{
	const unsigned long seed = random % (1UL << 32) << 16;
	char *p = avl_map(0, OOM_PAGES);

	if (p == MAP_FAILED)
		return EXIT_FAILURE;
	for (unsigned long i = 0; i < OOM_PAGES; i++) {
		const unsigned long some = worker_random(&random, i + 1);

		if (i % 256 == 128 && !fork())
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		avl_fill(p + i * psize(), psize(), seed + i);
		if (!avl_check(p + some * psize(), psize(), seed + some)) {
			printf("# a page of one that is to be killed has other contents\n");
			fflush(stdout);
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}

/* In that cgroup, one such family after the other. All that happens to them is SIGKILL. */
static int starve(unsigned long random)
{
	int status;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	while (!worker_shared->stop) {
		enter(OOM "cgroup.procs", getpid());
		start(want_memory, worker_random(&random, 1UL << 32));
		enter(CGROUP "cgroup.procs", getpid());
		while (waitpid(-1, &status, 0) > 0)
			if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
				return EXIT_FAILURE;
		/* The kernel has much to say of each. */
		sleep(20);
	}
	return EXIT_SUCCESS;
}

static int verify(unsigned long random)
{
	static struct avl_verify v;

	while (!worker_shared->stop) {
		const int err = avl_verify(&v);

		if (err || v.missed) {
			printf("# error %d, missed %ld\n%s\n", err, v.missed, v.text);
			fflush(stdout);
			return EXIT_FAILURE;
		}
		shared->present += v.present;
		shared->ksm += v.ksm;
		shared->migration += v.migration;
		shared->swap += v.swap;
	}
	return EXIT_SUCCESS;
}

static pid_t some_worker(unsigned long *random)
{
	/* Their children have other numbers, close to theirs. */
	return shared->workers[worker_random(random, PROCESSES)] + worker_random(random, 4);
}

/* Of any worker of a process. */
static char *some_page(unsigned long *random)
{
	return avl_addr(worker_random(random, 6144));
}

/* Reads and writes the module's other files. Only these errors come back. */
static int ask(unsigned long random)
{
	static const int errors[] = { 0, -EINVAL, -ESRCH, -EFAULT, -EHWPOISON, -ENXIO };
	static char answer[65536];

	while (!worker_shared->stop) {
		const pid_t pid = some_worker(&random);
		const char *page = some_page(&random);
		size_t i = 0;
		int err;

		err = avl_rmap_walk(pid, page, answer, sizeof(answer));
		while (i < ARRAY_SIZE(errors) && errors[i] != err)
			i++;
		if (i == ARRAY_SIZE(errors) || !*answer) {
			printf("# rmap_walk of %d %p: error %d\n%s", pid, page, err, answer);
			fflush(stdout);
			return EXIT_FAILURE;
		}
		shared->answers += !err;
		/* A wrong name ends the program. */
		avl_stat("contexts");
	}
	return EXIT_SUCCESS;
}

static int must_write(const char *path, const char *text)
{
	const int err = avl_write(path, text);

	if (!err)
		return 0;
	printf("# %s: %s\n", path, strerror(-err));
	fflush(stdout);
	return EXIT_FAILURE;
}

static char swap_device[32];

/* A second swap device, so that the first one can take what is on it. */
static void make_swap_device(void)
{
	char number[16], command[128];

	if (avl_read("/sys/class/zram-control/hot_add", number, sizeof(number)) < 0)
		ksft_exit_fail_msg("cannot add a zram device\n");
	snprintf(swap_device, sizeof(swap_device), "/dev/zram%d", atoi(number));
	snprintf(command, sizeof(command), "/sys/block/zram%d/disksize", atoi(number));
	if (avl_write(command, "256M"))
		ksft_exit_fail_msg("cannot write %s\n", command);
	snprintf(command, sizeof(command), "mkswap %s >/dev/null", swap_device);
	if (system(command))
		ksft_exit_fail_msg("%s failed\n", command);
}

static int toggle_swap(void)
{
	static bool on;
	int err;

	if (on)
		err = swapoff(swap_device);
	else
		err = swapon(swap_device, SWAP_FLAG_PREFER | 10);
	/* There may not be memory enough for what is on it. */
	if (err && !(on && errno == ENOMEM)) {
		printf("# swap%s: %s\n", on ? "off" : "on", strerror(errno));
		fflush(stdout);
		return EXIT_FAILURE;
	}
	if (!err) {
		on = !on;
		shared->swapon += on;
		shared->swapoff += !on;
	}
	return 0;
}

static int migrate_process(unsigned long *random)
{
	const unsigned long node = 1 + worker_random(random, 2), other = 3 - node;

	/* It may be gone by now, and not all pages can be moved. */
	for (int i = 0; i < ATTEMPTS; i++) {
		if (syscall(__NR_migrate_pages, some_worker(random), 3, &node, &other) >= 0) {
			shared->migrate_process++;
			break;
		}
	}
	return 0;
}

static int advise_process(unsigned long *random)
{
	static const int advice[] = { MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED };
	static unsigned int turn;
	const int choice = advice[turn++ % ARRAY_SIZE(advice)];
	bool done = false;

	/* It ends at the first hole. */
	for (int i = 0; i < ATTEMPTS && !done; i++) {
		const struct iovec vec = { some_page(random), 8 * psize() };
		const int fd = syscall(__NR_pidfd_open, some_worker(random), 0);

		if (fd < 0)
			continue;
		done = syscall(__NR_process_madvise, fd, &vec, 1, choice, 0) > 0;
		close(fd);
	}
	shared->advise_process[choice] += done;
	return 0;
}

/* What changes around the workers. */
static int disturb(unsigned long random)
{
	const char *const enabled = avl_enabled() ? "1" : "0";
	int err = 0;

	/* All in turn: on a slow machine there are few rounds. */
	for (unsigned int i = 0; !err && !worker_shared->stop; i++) {
		const bool even = worker_random(&random, 2);

		switch (i % 16) {
		case 0:
		case 9:
			err = toggle_swap();
			break;
		case 2:
			err = must_write(KSM "run", even ? "1" : "0");
			break;
		case 3:
			/* There may not be memory enough for what was merged. */
			if (i / 16 % 2 == 0)
				shared->unmerge += !avl_write(KSM "run", "2");
			err = must_write(KSM "run", "1");
			break;
		case 4:
		case 5:
			err = must_write(AVL_PARAMETERS "enabled", even ? "1" : "0");
			break;
		case 7:
			err = must_write("/proc/sys/vm/drop_caches", even ? "1" : "3");
			break;
		case 8:
		case 10:
			/* So much there may not be. */
			shared->reclaim += !avl_write(WORK "memory.reclaim",
						      "1M swappiness=max");
			break;
		case 1:
		case 6:
		case 11:
			err = advise_process(&random);
			break;
		case 12:
			err = must_write("/proc/sys/vm/compact_memory", "1");
			break;
		case 13:
			err = must_write(THP "enabled", even ? "always" : "madvise");
			break;
		default:
			err = migrate_process(&random);
			break;
		}
		usleep(1000 * worker_random(&random, 50));
	}
	while (!err && swapoff(swap_device) && errno == ENOMEM)
		sleep(1);
	return err ?: must_write(AVL_PARAMETERS "enabled", enabled) ?:
	       must_write(THP "enabled", "madvise") ?: must_write(KSM "run", "2") ?:
	       must_write(KSM "run", "0");
}

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void progress(long seconds, unsigned int started)
{
	ksft_print_msg("%ld s: verified %ld missed %ld, processes %u operations %lu\n", seconds,
		       avl_stat("verify_mappings"), avl_stat("verify_missed"), started,
		       worker_shared->operations);
	ksft_print_msg("forks %lu execs %lu daemons %lu, killed for want of memory %ld and %ld\n",
		       worker_shared->forks, worker_shared->execs, worker_shared->daemons,
		       number_in(OOM "memory.events", "oom_kill "),
		       number_in(WORK "memory.events", "oom_kill "));
}

static void start_worker(int slot, unsigned int number)
{
	enter(WORK "cgroup.procs", getpid());
	shared->workers[slot] = worker_start(seed, number, OPERATIONS);
	if (shared->workers[slot] < 0)
		ksft_exit_fail_perror("fork");
	enter(CGROUP "cgroup.procs", getpid());
}

static const char *const counted[] = { "contexts", "families", "anon_vmas" };
static long before[ARRAY_SIZE(counted)];

/* Is there as much of everything as before? Some of it is freed in the background. */
static void settle(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
		int s = 0;

		while (avl_stat(counted[i]) != before[i] && s++ < SETTLE)
			sleep(1);
		if (avl_stat(counted[i]) == before[i])
			continue;
		ksft_print_msg("%s: %ld before, %ld now\n", counted[i], before[i],
			       avl_stat(counted[i]));
		failed = true;
	}
}

/* Was everything done that the run is about? */
static void look_back(void)
{
	const struct {
		const char *name;
		long count;
	} did[] = {
		{ "verify present", shared->present }, { "verify ksm", shared->ksm },
		{ "verify migration", shared->migration }, { "verify swap", shared->swap },
		{ "rmap_walk", shared->answers },
		{ "swapon", shared->swapon }, { "swapoff", shared->swapoff },
		{ "memory.reclaim", shared->reclaim }, { "unmerge", shared->unmerge },
		{ "migrate_pages", shared->migrate_process },
		{ "MADV_PAGEOUT to others", shared->advise_process[MADV_PAGEOUT] },
		{ "MADV_COLD to others", shared->advise_process[MADV_COLD] },
		{ "MADV_WILLNEED to others", shared->advise_process[MADV_WILLNEED] },
		{ "oom_kill", number_in(OOM "memory.events", "oom_kill ") },
	};

	worker_did_all(true);
	for (size_t i = 0; i < ARRAY_SIZE(did); i++)
		worker_did(did[i].name, did[i].count);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		worker_did(events[i], avl_vmstat(events[i]) - events_before[i]);
	failed |= worker_did_nothing();
}

int main(int argc, char **argv)
{
	const char *env = getenv("MINUTES");
	const long minutes = env ? atol(env) : 1;
	static struct avl_verify v;
	unsigned int started = 0;
	long begin, said, log;
	char hit[1024];
	int status;
	pid_t pid;

	worker_init(argc, argv);
	ksft_print_header();
	ksft_set_plan(1);
	env = getenv("SEED");
	if (env && *env)
		seed = strtoul(env, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		ksft_exit_fail_perror("getrandom");
	ksft_print_msg("MINUTES=%ld SEED=%#lx: processes of %d workers, %d operations each\n",
		       minutes, seed, WORKER_THREADS, OPERATIONS);

	avl_enabled();
	log = kmsg_scan(0, hit, sizeof(hit));
	make_cgroups();
	make_swap_device();
	avl_write("/proc/sys/vm/oom_dump_tasks", "0");
	avl_write(KSM "pages_to_scan", "100");
	avl_write(KSM "run", "1");
	/* The first fork makes an anon_vma that stays. */
	pid = fork();
	if (!pid)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid)
		ksft_exit_fail_perror("fork");
	for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
		before[i] = avl_stat(counted[i]);

	worker_shared->soft_offline = SOFT_OFFLINE;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		events_before[i] = avl_vmstat(events[i]);
	begin = now();
	said = begin;
	for (int i = 0; i < READERS; i++)
		start(verify, 0);
	start(disturb, seed + 1);
	start(ask, seed + 2);
	start(starve, seed + 3);

	/* Until time is over and all have ended, those too who are nobody's children. */
	while (!failed && (pid = waitpid(-1, &status, WNOHANG)) >= 0) {
		const bool over = now() - begin >= 60 * minutes;
		bool working = false;

		if (now() - said >= 60) {
			said = now();
			progress(said - begin, started);
		}
		if (pid && !worker_ended(status))
			complain("a process ended with status", status);
		for (int i = 0; i < PROCESSES; i++) {
			if (pid && shared->workers[i] == pid)
				shared->workers[i] = 0;
			if (!shared->workers[i] && !over)
				start_worker(i, started++);
			working |= shared->workers[i];
		}
		worker_shared->end = over;
		worker_shared->stop = !working;
		if (!pid)
			usleep(50000);
	}

	progress(now() - begin, started);
	if (!failed)
		look_back();
	if (!failed)
		settle();
	if (!failed && (avl_verify(&v) || v.missed))
		complain("verify at the end, missed", v.missed);
	if (worker_shared->killed && number_in(WORK "memory.events", "oom_kill ") <= 0)
		complain("killed, but not for want of memory", worker_shared->killed);
	if (avl_stat("verify_missed"))
		complain("mappings missed", avl_stat("verify_missed"));
	if (log < 0 || kmsg_scan(log, hit, sizeof(hit)) < 0)
		snprintf(hit, sizeof(hit), "cannot read the kernel log\n");
	if (*hit)
		ksft_print_msg("%s", hit);
	if (!failed && (rmdir(WORK) || rmdir(OOM)))
		complain("rmdir of a cgroup: errno", errno);
	ksft_test_result(!failed && !*hit && avl_stat("verify_mappings") > 0, "soak\n");
	ksft_finished();
}
