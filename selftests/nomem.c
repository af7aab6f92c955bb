// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail: the first one of an event, then the second one, until
 * the event needs no more of them. What fails must not have changed anything.
 *
 * Once all of an event, wherever they are; once, for each place in our code and
 * around the kernel's hooks that allocates, those there: it must have some.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#ifdef __x86_64__
#include <asm/ldt.h>
#endif

#include "kselftest_harness.h"

#include "avl.h"
#include "inject.h"

#define PAGES	16
#define SIZE	(PAGES * psize())
#define RANGE	4096

/* The tested memory; pages 0 to 3, 4 to 11, 12 to 15 of it; memory without pages. */
static char *area, *first, *middle, *last, *empty;
static pid_t child;

/* It is there now. */
static void place(char *p)
{
	area = p;
	first = p;
	middle = p + 4 * psize();
	last = p + 12 * psize();
}

static int map(bool displaced)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	char *p = avl_map(0, PAGES);

	empty = avl_map(500, PAGES);
	if (p == MAP_FAILED || empty == MAP_FAILED)
		return -1;
	avl_fill(p, SIZE, 1);
	if (displaced)
		p = mremap(p, SIZE, SIZE, flags, avl_addr(100));
	if (p == MAP_FAILED)
		return -1;
	place(p);
	child = 0;
	return 0;
}

static int unmap(void)
{
	return munmap(avl_addr(0), RANGE * psize());
}

static bool intact(void)
{
	return avl_check(first, 4 * psize(), 1) &&
		(!middle || avl_check(middle, 8 * psize(), 5)) &&
		avl_check(last, 4 * psize(), 13);
}

/*
 * The events: one system call each, or page faults. They return 0, or -1 and
 * errno if they failed.
 */
static int event_fault(void)
{
	avl_fill(empty, SIZE, 100);
	return 0;
}

/* The child checks its copy and makes pages of its own. */
static int event_fork(void)
{
	child = fork();
	if (!child) {
		const bool ok = intact();

		avl_fill(area, SIZE, 200);
		_exit(!ok);
	}
	return child < 0 ? -1 : 0;
}

static int event_split(void)
{
	return mprotect(middle, 8 * psize(), PROT_READ);
}

static int event_merge(void)
{
	return mprotect(middle, 8 * psize(), PROT_READ | PROT_WRITE);
}

static int move(char **from, size_t size, char *to, int flags)
{
	if (mremap(*from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != to)
		return -1;
	*from = to;
	return 0;
}

static int move_area(char *to, int flags)
{
	if (move(&area, SIZE, to, flags))
		return -1;
	place(to);
	return 0;
}

/* What is displaced goes home. */
static char *elsewhere(void)
{
	return area == avl_addr(0) ? avl_addr(200) : avl_addr(0);
}

static int event_move(void)
{
	return move_area(elsewhere(), 0);
}

static int event_dontunmap(void)
{
	return move_area(elsewhere(), MREMAP_DONTUNMAP);
}

/* To where there are no page tables yet; it needs two. */
static int event_move_far(void)
{
	return move_area(avl_addr(4 * 512 - PAGES / 2), 0);
}

static int event_dontunmap_far(void)
{
	return move_area(avl_addr(4 * 512 - PAGES / 2), MREMAP_DONTUNMAP);
}

static int event_move_part(void)
{
	return move(&middle, 8 * psize(), avl_addr(300), 0);
}

static int event_munmap(void)
{
	if (munmap(middle, 8 * psize()))
		return -1;
	middle = NULL;
	return 0;
}

/* Two VMAs and a part of a third: the tree needs a node to forget them. */
static int before_unmap_two(void)
{
	return mprotect(middle, 4 * psize(), PROT_READ);
}

/* What was there may be gone even if it fails. */
static int event_map_fixed(void)
{
	char *over = middle;

	middle = NULL;
	return mmap(over, 8 * psize(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED, -1, 0) == over ? 0 : -1;
}

/* The tree needs a node to fill a gap. */
static int before_grow(void)
{
	char *next = avl_map((area - (char *)avl_addr(0)) / psize() + 2 * PAGES, 1);

	return next == MAP_FAILED || mprotect(next, psize(), PROT_NONE);
}

static int event_grow(void)
{
	return mremap(area, SIZE, 2 * SIZE, 0) == area ? 0 : -1;
}

/* The first pages leave a VMA behind that has none... */
static int before_merge_unfaulted(void)
{
	return mprotect(first, 4 * psize(), PROT_READ) ||
		move(&first, 4 * psize(), avl_addr(300), MREMAP_DONTUNMAP);
}

/* ...which takes over its neighbour. */
static int event_merge_unfaulted(void)
{
	return mprotect(middle, 12 * psize(), PROT_READ);
}

/* Who comes home, between two neighbours, takes over the unfaulted one. */
static int once_merge_home(void)
{
	return avl_map(-1, 1) == MAP_FAILED || mprotect(avl_addr(-1), psize(), PROT_NONE);
}

static int before_merge_home(void)
{
	return avl_map(PAGES, 4) == MAP_FAILED;
}

/* The heap grows by a VMA, as its last page is unlike the rest. */
static char *heap_end, *heap_page;

static int before_brk(void)
{
	heap_end = sbrk(0);
	heap_page = (char *)(((unsigned long)heap_end + psize()) & -(unsigned long)psize());
	return brk(heap_page + psize()) || madvise(heap_page, psize(), MADV_DONTDUMP);
}

static int event_brk(void)
{
	return brk(heap_page + 64 * psize());
}

static int after_brk(void)
{
	return brk(heap_end);
}

/* Memory that the kernel writes to: it returns an error. */
static int read_zero(void *p)
{
	static int zero = -1;

	if (zero < 0)
		zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	return read(zero, p, 1) == 1 ? 0 : -1;
}

/* Memory that grows downwards. */
static int before_stack(void)
{
	char *p = mmap(avl_addr(1500), psize(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
		       MAP_GROWSDOWN, -1, 0);
	char *below = avl_map(1490, 7);

	/* Without a gap in between, the tree needs a node. */
	if (p == MAP_FAILED || below == MAP_FAILED ||
	    mprotect(below, 7 * psize(), PROT_NONE))
		return -1;
	return read_zero(p);
}

static int event_stack(void)
{
	return read_zero((char *)avl_addr(1500) - 3 * psize());
}

/* A VMA of each kind, each with pages, for a fork that is to fail in between. */
static int before_fork_many(void)
{
	enum { NATURAL, DISPLACED, EAGER, WIPED, LEFT_OUT, POLICY, NR };
	const unsigned long nodes = 1;
	const bool enabled = avl_enabled();

	for (int i = 0; i < 2 * NR; i++) {
		char *p = avl_map(1000 + 4 * i, 2);

		if (p == MAP_FAILED)
			return -1;
		if (i % NR == EAGER)
			avl_set_parameter("enabled", "0");
		avl_fill(p, 2 * psize(), i);
		avl_set_parameter("enabled", enabled ? "1" : "0");
		if ((i % NR == DISPLACED || i % NR == WIPED) &&
		    move(&p, 2 * psize(), avl_addr(1200 + 4 * i), 0))
			return -1;
		if ((i % NR == WIPED && madvise(p, 2 * psize(), MADV_WIPEONFORK)) ||
		    (i % NR == LEFT_OUT && madvise(p, 2 * psize(), MADV_DONTFORK)))
			return -1;
		if (i % NR == POLICY && syscall(__NR_mbind, p, 2 * psize(), MPOL_PREFERRED,
						&nodes, 8 * sizeof(nodes), 0))
			return -1;
	}
	return 0;
}

#ifdef __x86_64__
/* A process with an LDT: the child's is made when it has all VMAs. */
static int once_ldt(void)
{
	struct user_desc segment = { .seg_not_present = 1, .read_exec_only = 1 };

	return syscall(__NR_modify_ldt, 0x11, &segment, sizeof(segment));
}
#endif

/* The stack of a thread, which is kept for the next one, has its first fault now. */
static pthread_t thread;

static void *do_nothing(void *unused)
{
	return NULL;
}

static int once_thread(void)
{
	return pthread_create(&thread, NULL, do_nothing, NULL) ||
		pthread_join(thread, NULL);
}

/* Takes the child's userfaultfd, which fork waits for. */
static void *take_uffd(void *fd)
{
	struct uffd_msg msg;

	while (read((long)fd, &msg, sizeof(msg)) == sizeof(msg))
		if (msg.event == UFFD_EVENT_FORK)
			close(msg.arg.fork.ufd);
	return NULL;
}

static long uffd;

static int once_uffd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_MOVE,
	};

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	return uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || once_thread() ||
		pthread_create(&thread, NULL, take_uffd, (void *)uffd);
}

static int before_fork_uffd(void)
{
	struct uffdio_register range = {
		.range = { (unsigned long)area, SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &range);
}

/* Another thread faults, splits and unmaps while this one forks. */
static bool busy;

static void *be_busy(void *unused)
{
	while (__atomic_load_n(&busy, __ATOMIC_RELAXED)) {
		char *p = avl_map(5000, 4);

		if (p == MAP_FAILED)
			return "mmap";
		avl_fill(p, 4 * psize(), 1);
		if (munmap(p + psize(), psize()) || munmap(p, 4 * psize()))
			return "munmap";
	}
	return NULL;
}

static int before_fork_threads(void)
{
	busy = true;
	return pthread_create(&thread, NULL, be_busy, NULL);
}

static int after_fork_threads(void)
{
	void *failure;

	busy = false;
	return pthread_join(thread, &failure) || failure ? -1 : 0;
}

/* A huge page: at the first fault, or out of small ones. */
#define HUGE_PAGES	512

static int before_huge(void)
{
	char *p = avl_map(HUGE_PAGES * 2, HUGE_PAGES);

	return p == MAP_FAILED || madvise(p, HUGE_PAGES * psize(), MADV_HUGEPAGE);
}

static int event_huge_fault(void)
{
	*(char *)avl_addr(HUGE_PAGES * 2) = 1;
	return 0;
}

static int before_collapse(void)
{
	char *p = avl_map(HUGE_PAGES * 2, HUGE_PAGES);

	if (p == MAP_FAILED)
		return -1;
	*p = 1;
	return 0;
}

static int event_collapse(void)
{
	return madvise(avl_addr(HUGE_PAGES * 2), HUGE_PAGES * psize(), MADV_COLLAPSE);
}

/* What is swapped out, all or most of it, comes back. */
static int before_swap_in(void)
{
	if (avl_drain() || madvise(area, SIZE, MADV_PAGEOUT))
		return -1;
	return avl_swapped(area, SIZE) > 0 ? 0 : -1;
}

static int event_swap_in(void)
{
	return intact() ? 0 : -1;
}

/* A page goes to another VMA, whose first one it is; if not, it stays. */
static char *uffd_from, *uffd_to;

static int before_uffd_move(void)
{
	struct uffdio_register range = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	uffd_from = avl_map(2000, 1);
	uffd_to = avl_map(3000, 1);
	if (uffd_from == MAP_FAILED || uffd_to == MAP_FAILED)
		return -1;
	avl_fill(uffd_from, psize(), 7);
	range.range.start = (unsigned long)uffd_to;
	range.range.len = psize();
	return ioctl(uffd, UFFDIO_REGISTER, &range);
}

static int event_uffd_move(void)
{
	struct uffdio_move move = {
		.dst = (unsigned long)uffd_to,
		.src = (unsigned long)uffd_from,
		.len = psize(),
	};

	if (ioctl(uffd, UFFDIO_MOVE, &move))
		return -1;
	uffd_from = uffd_to;
	return 0;
}

static int after_uffd_move(void)
{
	return avl_check(uffd_from, psize(), 7) ? 0 : -1;
}

/* The first pages are merged with others. */
static int before_merged(void)
{
	avl_fill(empty, 4 * psize(), 1);
	return madvise(area, SIZE, MADV_MERGEABLE) ||
		madvise(empty, SIZE, MADV_MERGEABLE) || avl_ksm_merge(8);
}

static int event_unmerge(void)
{
	return madvise(area, SIZE, MADV_UNMERGEABLE);
}

/* What still is merged is found. */
static int after_merged(void)
{
	static struct avl_verify verify;

	return avl_verify(&verify) || verify.ksm < 4 || verify.ksm_missed;
}

/* A page of three processes, twice if it is a merged one, that gets lost. */
static struct avl_child told_too[2];
static unsigned long bad;
static int told, mapped;

static void count(int sig)
{
	told++;
}

static int times_told(void *unused)
{
	return told;
}

static int once_poison(void)
{
	signal(SIGBUS, count);
	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

static int share_poison(int times)
{
	told = 0;
	mapped = 3 * times;
	bad = avl_pfn(empty);
	for (size_t i = 0; i < ARRAY_SIZE(told_too); i++)
		if (avl_child_start(&told_too[i], NULL, NULL, NULL))
			return -1;
	return 0;
}

static int before_poison(void)
{
	avl_fill(empty, psize(), 1);
	return share_poison(1);
}

static int before_poison_merged(void)
{
	avl_fill(empty, psize(), 1000);
	avl_fill(empty + psize(), psize(), 1000);
	return madvise(empty, SIZE, MADV_MERGEABLE) || avl_ksm_merge(2) ||
		share_poison(2);
}

static int event_poison(void)
{
	return madvise(empty, psize(), MADV_HWPOISON);
}

/* All have lost it, and all but one at least know. */
static int after_poison(void)
{
	static struct avl_verify verify;
	int err = avl_verify(&verify) || verify.hwpoison != mapped;

	for (size_t i = 0; i < ARRAY_SIZE(told_too); i++) {
		told += avl_child_run(&told_too[i], times_told);
		err = avl_child_end(&told_too[i]) || err;
	}
	return munmap(empty, SIZE) || unpoison_memory(bad) || err || told < 2;
}

/* The module's files. */
static int read_all(const char *path)
{
	static char text[65536];
	const int len = avl_read(path, text, sizeof(text));

	if (len < 0) {
		errno = -len;
		return -1;
	}
	return 0;
}

static int event_stats(void)
{
	return read_all(AVL_DEBUGFS "stats");
}

static int event_verify(void)
{
	return read_all(AVL_DEBUGFS "verify");
}

static int event_policy_read(void)
{
	return read_all(AVL_DEBUGFS "policy");
}

/* What fails must not have changed it. */
static int event_policy_write(void)
{
	const int err = avl_write(AVL_DEBUGFS "policy", "only / /");
	char now[64];

	if (avl_read(AVL_DEBUGFS "policy", now, sizeof(now)) > 0 &&
	    !strcmp(now, err ? "all\n" : "only / /\n"))
		errno = -err;
	else
		errno = EINVAL;
	return errno ? -1 : 0;
}

static int policy_all(void)
{
	return avl_write(AVL_DEBUGFS "policy", "all");
}

static int event_contexts(void)
{
	return read_all(AVL_DEBUGFS "contexts");
}

static int event_vmas(void)
{
	char question[16];
	int err;

	snprintf(question, sizeof(question), "%d", getpid());
	err = avl_write(AVL_DEBUGFS "vmas", question);
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

static int ask(const void *page)
{
	static char answer[65536];
	const int err = avl_rmap_walk(getpid(), page, answer, sizeof(answer));

	if (err) {
		errno = -err;
		return -1;
	}
	return avl_rmap_maps(answer, getpid(), page) ? 0 : -1;
}

static int event_ask(void)
{
	return ask(area);
}

/* A page of so many that the answer needs more room than usual. */
static struct avl_child sharers[60];

static int once_ask_many(void)
{
	if (avl_map(5000, 1) == MAP_FAILED)
		return -1;
	avl_fill(avl_addr(5000), psize(), 1);
	for (size_t i = 0; i < ARRAY_SIZE(sharers); i++)
		if (avl_child_start(&sharers[i], NULL, NULL, NULL))
			return -1;
	return 0;
}

static int event_ask_many(void)
{
	return ask(avl_addr(5000));
}

static int end_many(void)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sharers); i++)
		err = avl_child_end(&sharers[i]) || err;
	return err;
}

/* Children about whom a walk learns, as many as that takes and some more. */
#define LEARNED	10

static int drop(void *unused)
{
	return munmap(middle, 8 * psize());
}

static int start_sharers(size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (avl_child_start(&sharers[i], NULL, NULL, NULL) ||
		    avl_child_run(&sharers[i], drop))
			return -1;
	return 0;
}

static int before_learn(void)
{
	return start_sharers(LEARNED);
}

static int event_learn(void)
{
	return ask(middle);
}

static int after_learn(void)
{
	for (size_t i = 0; i < LEARNED; i++)
		if (sharers[i].pid && avl_child_end(&sharers[i]))
			return -1;
	memset(sharers, 0, sizeof(sharers));
	return 0;
}

static int before_index(void)
{
	return start_sharers(LEARNED - 2);
}

struct event {
	int (*once)(void);
	int (*before)(void);
	int (*run)(void);
	int (*after)(void);
	int (*finally)(void);
	/* Page faults are tried again, a VMA that cannot merge is copied. */
	bool cannot_fail;
	/* Anonymous pages may fail as well: the process does nothing else. */
	bool pages;
	/* What it fails with, too. */
	int error;
};

static const struct event fault = { .run = event_fault, .cannot_fail = true, .pages = true };
static const struct event fork_one = { .run = event_fork };
static const struct event fork_many = { .before = before_fork_many, .run = event_fork };
#ifdef __x86_64__
static const struct event fork_ldt = {
	.once = once_ldt, .before = before_fork_many, .run = event_fork
};
#endif

static const struct event fork_uffd = {
	.once = once_uffd, .before = before_fork_uffd, .run = event_fork
};

static const struct event fork_threads = {
	.once = once_thread, .before = before_fork_threads, .run = event_fork,
	.after = after_fork_threads
};

static const struct event split = { .run = event_split };
static const struct event merge = { .before = event_split, .run = event_merge };
static const struct event merge_unfaulted = {
	.before = before_merge_unfaulted, .run = event_merge_unfaulted
};

static const struct event merge_home = {
	.once = once_merge_home, .before = before_merge_home, .run = event_move,
	.cannot_fail = true
};

static const struct event grow = { .before = before_grow, .run = event_grow };
static const struct event heap = { .before = before_brk, .run = event_brk, .after = after_brk };
static const struct event stack = {
	.before = before_stack, .run = event_stack, .error = EFAULT
};

static const struct event move_all = { .run = event_move };
static const struct event move_far = { .run = event_move_far };
static const struct event move_part = { .run = event_move_part };
static const struct event dontunmap = { .run = event_dontunmap };
static const struct event dontunmap_far = { .run = event_dontunmap_far };
static const struct event unmap_part = { .run = event_munmap };
static const struct event unmap_two = { .before = before_unmap_two, .run = event_munmap };
static const struct event map_fixed = { .run = event_map_fixed };
static const struct event huge_fault = {
	.before = before_huge, .run = event_huge_fault, .cannot_fail = true, .pages = true
};

static const struct event collapse = {
	.before = before_collapse, .run = event_collapse, .pages = true, .error = EAGAIN
};

static const struct event swap_in = {
	.before = before_swap_in, .run = event_swap_in, .cannot_fail = true, .pages = true
};

static const struct event uffd_move = {
	.once = once_uffd, .before = before_uffd_move, .run = event_uffd_move,
	.after = after_uffd_move, .pages = true
};

static const struct event move_merged = {
	.before = before_merged, .run = event_move, .after = after_merged,
	.finally = ksm_stop, .pages = true
};

static const struct event unmerge = {
	.before = before_merged, .run = event_unmerge, .after = after_merged,
	.finally = ksm_stop, .pages = true, .error = EAGAIN
};

static const struct event poison = {
	.once = once_poison, .before = before_poison, .run = event_poison,
	.after = after_poison, .cannot_fail = true
};

static const struct event poison_merged = {
	.once = once_poison, .before = before_poison_merged, .run = event_poison,
	.after = after_poison, .finally = ksm_stop, .cannot_fail = true
};

static const struct event stats = { .run = event_stats };
static const struct event verify = { .run = event_verify };
static const struct event walk = { .run = event_ask };
static const struct event vmas = { .run = event_vmas };
static const struct event policy_read = { .run = event_policy_read };
static const struct event policy_write = {
	.run = event_policy_write, .after = policy_all, .finally = policy_all
};

static const struct event contexts = {
	.once = once_ask_many, .run = event_contexts, .finally = end_many
};

static const struct event learn = {
	.before = before_learn, .run = event_learn, .after = after_learn, .cannot_fail = true
};

static const struct event fork_index = {
	.before = before_index, .run = event_fork, .after = after_learn, .cannot_fail = true
};

static const struct event walk_many = {
	.once = once_ask_many, .run = event_ask_many, .finally = end_many
};

static void set_up(struct __test_metadata *_metadata, const struct event *event)
{
	inject_open();
	inject_setup(event->pages);
	/* The first VMAs, and the context for them. */
	ASSERT_EQ(0, map(false));
	ASSERT_EQ(0, unmap());
	if (event->once)
		ASSERT_EQ(0, event->once());
	avl_mark();
}

static void assert_nothing_left(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
}

/* Most events need few allocations. Of many, not each is worth the time. */
static void assert_verified(struct __test_metadata *_metadata, int nth)
{
	if (nth < 24 || nth % 8 == 0)
		ASSERT_VERIFIED();
}

/* Returns whether an allocation failed; counts if the event did. */
static bool fail_nth_of(struct __test_metadata *_metadata,
			const struct event *event, bool displaced, int nth,
			int *failures)
{
	int result, err, status;
	bool failed;

	ASSERT_EQ(0, map(displaced));
	if (event->before)
		ASSERT_EQ(0, event->before());
	inject_arm(nth);
	result = event->run();
	err = errno;
	failed = inject_disarm();
	if (event->after)
		ASSERT_EQ(0, event->after());
	if (result) {
		ASSERT_TRUE(failed);
		if (err != event->error)
			ASSERT_EQ(ENOMEM, err);
		ASSERT_FALSE(event->cannot_fail);
		(*failures)++;
	}
	if (child > 0) {
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, status);
	}
	ASSERT_TRUE(intact());
	if (event->run == event_fault)
		ASSERT_TRUE(avl_check(empty, SIZE, 100));
	assert_verified(_metadata, nth);
	ASSERT_EQ(0, unmap());
	assert_nothing_left(_metadata);
	return failed;
}

/* Returns how many allocations failed until there were no more. */
static int fail_each(struct __test_metadata *_metadata,
		     const struct event *event, bool displaced)
{
	int nth = 0, failures = 0;

	do {
		nth++;
	} while (fail_nth_of(_metadata, event, displaced, nth, &failures));
	TH_LOG("%d allocations failed, %d times the event", nth - 1, failures);
	if (nth > 1 && !event->cannot_fail)
		ASSERT_LT(0, failures);
	return nth - 1;
}

/* Each allocation of an event, wherever it is. */
FIXTURE(nomem)
{
	bool lazy;
};

FIXTURE_VARIANT(nomem)
{
	const struct event *event;
};

FIXTURE_VARIANT_ADD(nomem, fault) { &fault };
FIXTURE_VARIANT_ADD(nomem, fork) { &fork_one };
FIXTURE_VARIANT_ADD(nomem, split) { &split };
FIXTURE_VARIANT_ADD(nomem, merge) { &merge };
FIXTURE_VARIANT_ADD(nomem, move) { &move_all };
FIXTURE_VARIANT_ADD(nomem, move_part) { &move_part };
FIXTURE_VARIANT_ADD(nomem, dontunmap) { &dontunmap };
FIXTURE_VARIANT_ADD(nomem, munmap) { &unmap_part };
FIXTURE_VARIANT_ADD(nomem, map_fixed) { &map_fixed };
FIXTURE_VARIANT_ADD(nomem, huge_fault) { &huge_fault };
FIXTURE_VARIANT_ADD(nomem, collapse) { &collapse };
FIXTURE_VARIANT_ADD(nomem, swap_in) { &swap_in };
FIXTURE_VARIANT_ADD(nomem, uffd_move) { &uffd_move };

FIXTURE_SETUP(nomem)
{
	self->lazy = avl_setup();
	set_up(_metadata, variant->event);
}

FIXTURE_TEARDOWN(nomem)
{
}

/*
 * One fails, then all that come after it as well, unless it is for a process
 * that has to live on so.
 */
static void fail_all(struct __test_metadata *_metadata,
		     const struct event *event, bool displaced)
{
	ASSERT_LT(0, fail_each(_metadata, event, displaced));
	if (event != &fork_one && !event->cannot_fail) {
		inject_from_then_on(true);
		ASSERT_LT(0, fail_each(_metadata, event, displaced));
		inject_from_then_on(false);
	}
	ASSERT_VERIFIED();
}

TEST_F(nomem, natural)
{
	fail_all(_metadata, variant->event, false);
}

TEST_F(nomem, displaced)
{
	fail_all(_metadata, variant->event, true);
}

/*
 * A place that allocates, in a function and what it calls. LAZY: one that is
 * used for lazy VMAs only. FROM_THEN_ON: all have to fail from the nth on, as
 * kvmalloc() and mas_store_gfp() try twice.
 */
enum { LAZY = 1, DISPLACED = 2, FROM_THEN_ON = 4 };

static const char * const functions[] = {
	"__anon_vma_prepare", "anon_vma_lazy_alloc", "anon_vma_lazy_displace",
	"anon_vma_fork", "dup_mmap", "__mt_dup", "vm_area_dup", "vma_dup_policy",
	"dup_userfaultfd", "copy_page_range", "__split_vma", "copy_vma",
	"commit_merge", "move_page_tables", "mas_store_gfp",
	"vms_gather_munmap_vmas", "expand_downwards", "do_brk_flags",
	"relocate_vma_down", "setup_arg_pages", "single_open", "single_open_size",
	"anon_vma_lazy_verify_show", "ask_write", "contexts_open", "policy_show",
	"policy_write", "seq_read_iter",
	"ksm_madvise", "__add_to_kill", "avl_index_alloc", "avl_share_insert",
#ifdef __x86_64__
	"ldt_dup_context",
#endif
};

FIXTURE(site)
{
	bool lazy;
};

FIXTURE_VARIANT(site)
{
	const char *function;
	const char *object;
	const char *except;
	int flags;
	const struct event *event;
};

#define SITE(name)	FIXTURE_VARIANT_ADD(site, name)

/* The context and the anchor of a child, the chains of its displaced VMAs. */
SITE(fork_context) { "dup_mmap", "anon_vma_lazy", NULL, LAZY, &fork_one };
SITE(fork_anchor) { "anon_vma_lazy_alloc", "anon_vma", NULL, LAZY, &fork_one };
SITE(fork_chain) { "anon_vma_lazy_displace", "anon_vma_chain", NULL, LAZY | DISPLACED, &fork_one };
/* A fork that fails at each VMA, and before. */
SITE(fork_tree) { "__mt_dup", NULL, NULL, 0, &fork_many };
SITE(fork_vma) { "dup_mmap", "vm_area_struct", NULL, 0, &fork_many };
SITE(fork_policy) { "vma_dup_policy", NULL, NULL, 0, &fork_many };
SITE(fork_chains) { "anon_vma_fork", "anon_vma_chain", NULL, 0, &fork_many };
SITE(fork_eager) { "anon_vma_fork", "anon_vma", NULL, 0, &fork_many };
SITE(fork_left_out) { "mas_store_gfp", NULL, NULL, LAZY | FROM_THEN_ON, &fork_many };
SITE(fork_page_table) { "copy_page_range", NULL, NULL, 0, &fork_many };
SITE(fork_uffd) { "dup_userfaultfd", NULL, NULL, 0, &fork_uffd };
SITE(fork_threads) { "dup_mmap", NULL, NULL, 0, &fork_threads };
#ifdef __x86_64__
/* After the last VMA. */
SITE(fork_ldt) { "ldt_dup_context", NULL, NULL, 0, &fork_ldt };
#endif

SITE(split_vma) { "__split_vma", "vm_area_struct", NULL, 0, &split };
SITE(split_tree) { "__split_vma", NULL, "vm_area_dup", 0, &split };
SITE(split_chain) { "__split_vma", "anon_vma_chain", NULL, DISPLACED, &split };
SITE(merge_tree) { "commit_merge", NULL, NULL, 0, &merge };
/* The neighbour's anon_vma is there already, then there is no room in the tree. */
SITE(merge_unfaulted) { "commit_merge", NULL, NULL, 0, &merge_unfaulted };
SITE(merge_home) { "commit_merge", NULL, NULL, DISPLACED, &merge_home };
SITE(grow_tree) { "commit_merge", NULL, NULL, 0, &grow };
SITE(grow_heap) { "do_brk_flags", NULL, NULL, 0, &heap };
SITE(grow_stack) { "expand_downwards", NULL, NULL, 0, &stack };

SITE(move_vma) { "copy_vma", "vm_area_struct", NULL, 0, &move_all };
SITE(move_chain) { "copy_vma", "anon_vma_chain", NULL, 0, &move_all };
SITE(move_tree) { "copy_vma", NULL, "vm_area_dup", 0, &move_all };
SITE(move_home) { "copy_vma", NULL, NULL, DISPLACED, &move_all };
SITE(move_page_table) { "move_page_tables", NULL, NULL, 0, &move_far };
SITE(move_page_table_displaced) { "move_page_tables", NULL, NULL, DISPLACED, &move_far };
SITE(dontunmap_chain) { "copy_vma", "anon_vma_chain", NULL, 0, &dontunmap };
SITE(dontunmap_page_table) { "move_page_tables", NULL, NULL, 0, &dontunmap_far };

/* What is to be unmapped is detached already when the tree has no room. */
SITE(munmap_gather) { "vms_gather_munmap_vmas", NULL, NULL, FROM_THEN_ON, &unmap_part };
SITE(munmap_clear) {
	"mas_store_gfp", NULL, "vms_gather_munmap_vmas", FROM_THEN_ON, &unmap_two
};

SITE(munmap_clear_displaced) {
	"mas_store_gfp", NULL, "vms_gather_munmap_vmas", FROM_THEN_ON | DISPLACED, &unmap_two
};

/* Some pages are no longer merged, the others still are, all are where they were. */
SITE(move_merged) { "ksm_madvise", NULL, NULL, 0, &move_merged };
SITE(move_merged_displaced) { "ksm_madvise", NULL, NULL, DISPLACED, &move_merged };
SITE(unmerge) { "ksm_madvise", NULL, NULL, 0, &unmerge };
/* Inside of walks: they go on; or end where they are. */
SITE(memory_failure) { "__add_to_kill", NULL, NULL, 0, &poison };
SITE(memory_failure_merged) { "__add_to_kill", NULL, NULL, 0, &poison_merged };

/* What walks learn with, and do without. */
SITE(learn_index) { "avl_index_alloc", NULL, NULL, LAZY, &fork_index };
SITE(learn_share) { "avl_share_insert", NULL, NULL, LAZY, &learn };

/* The module's files. */
SITE(stats_open) { "single_open", NULL, NULL, 0, &stats };
SITE(stats_text) { "seq_read_iter", NULL, NULL, 0, &stats };
SITE(verify_open) { "single_open_size", NULL, NULL, 0, &verify };
SITE(verify_pids) { "anon_vma_lazy_verify_show", NULL, NULL, FROM_THEN_ON, &verify };
SITE(rmap_walk) { "ask_write", NULL, NULL, FROM_THEN_ON, &walk };
SITE(rmap_walk_more) { "ask_write", NULL, NULL, FROM_THEN_ON, &walk_many };
SITE(vmas) { "ask_write", NULL, NULL, FROM_THEN_ON, &vmas };
SITE(contexts) { "contexts_open", NULL, NULL, FROM_THEN_ON, &contexts };
SITE(policy_show) { "policy_show", NULL, NULL, FROM_THEN_ON, &policy_read };
SITE(policy_write) { "policy_write", NULL, NULL, FROM_THEN_ON, &policy_write };

FIXTURE_SETUP(site)
{
	self->lazy = avl_setup();
	set_up(_metadata, variant->event);
	inject_at(variant->function, variant->object, variant->except);
	inject_from_then_on(variant->flags & FROM_THEN_ON);
}

FIXTURE_TEARDOWN(site)
{
	inject_at(NULL, NULL, NULL);
	if (variant->event->finally)
		EXPECT_EQ(0, variant->event->finally());
}

TEST_F(site, each)
{
	const int allocations = fail_each(_metadata, variant->event,
					  variant->flags & DISPLACED);

	ASSERT_EQ(self->lazy || !(variant->flags & LAZY), allocations > 0);
	ASSERT_VERIFIED();
}

/* A new address space: its first VMA, its context, its stack that moves. */
FIXTURE(exec)
{
	bool lazy;
};

FIXTURE_VARIANT(exec)
{
	const char *function;
	const char *object;
	int flags;
	/* It goes on, eager. */
	bool cannot_fail;
};

FIXTURE_VARIANT_ADD(exec, any) { };
FIXTURE_VARIANT_ADD(exec, context) { "__anon_vma_prepare", "anon_vma_lazy", LAZY, true };
FIXTURE_VARIANT_ADD(exec, anchor) { "anon_vma_lazy_alloc", "anon_vma", LAZY, true };
FIXTURE_VARIANT_ADD(exec, chain) { "relocate_vma_down", "anon_vma_chain", LAZY };
FIXTURE_VARIANT_ADD(exec, relocate) { "relocate_vma_down" };
FIXTURE_VARIANT_ADD(exec, stack) { "setup_arg_pages" };

FIXTURE_SETUP(exec)
{
	self->lazy = avl_setup();
	inject_setup(false);
	inject_at(variant->function, variant->object, NULL);
	ASSERT_EQ(0, map(false));
	avl_mark();
}

FIXTURE_TEARDOWN(exec)
{
	inject_at(NULL, NULL, NULL);
}

/* How a process ends that executes this program. */
enum { COMPLETE, LATE_FAILURE, EXEC_FAILED, BROKEN };

static void execute(char *how, int nth)
{
	char fd[16], number[16];
	char *const argv[] = { "nomem", how, fd, number, NULL };

	snprintf(fd, sizeof(fd), "%d", inject_open());
	snprintf(number, sizeof(number), "%d", nth);
	if (!strcmp(how, "executed"))
		inject_arm(nth);
	execv("/proc/self/exe", argv);
	_exit(inject_disarm() && intact() ? EXEC_FAILED : BROKEN);
}

static int executed(void)
{
	return inject_disarm() ? LATE_FAILURE : COMPLETE;
}

static int execute_and_wait(char *how, int nth)
{
	const pid_t pid = fork();
	int status;

	if (!pid)
		execute(how, nth);
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

TEST_F(exec, each)
{
	int nth = 0, failures = 0, status;

	do {
		nth++;
		status = execute_and_wait("executed", nth);
		ASSERT_LE(0, status);
		/* Where exec or libc cannot go back the process is killed. */
		ASSERT_NE(BROKEN, WEXITSTATUS(status)) {
			TH_LOG("allocation %d", nth);
		}
		failures += status != COMPLETE && WEXITSTATUS(status) != LATE_FAILURE;
		ASSERT_TRUE(intact());
		assert_verified(_metadata, nth);
		assert_nothing_left(_metadata);
	} while (status != COMPLETE);
	TH_LOG("%d allocations failed, %d times exec", nth - 1, failures);
	ASSERT_EQ(self->lazy || !(variant->flags & LAZY), nth > 1);
	ASSERT_EQ(nth > 1 && !variant->cannot_fail, failures > 0);
	ASSERT_VERIFIED();
}

/*
 * A process's first fault that may be lazy, without the context: that VMA is
 * eager, and nobody notices; without what is eager as well, the fault fails. The
 * next one is lazy. Runs in a process that was executed while the module was
 * disabled.
 */
static int first_fault(int nth, bool neither)
{
	bool failed, ok;

	if (map(false))
		return BROKEN;
	avl_setup();
	if (neither) {
		inject_open();
		inject_from_then_on(true);
	}
	avl_set_parameter("enabled", "1");
	inject_arm(nth);
	ok = !read_zero(empty);
	failed = inject_disarm();
	ok = ok != (failed && neither) && avl_since("contexts") == !failed &&
		avl_since("families") == !failed && avl_since("anon_vmas") == !failed &&
		avl_since("vmas_lazy") == !failed;

	if (avl_map(2000, 1) == MAP_FAILED)
		return BROKEN;
	*(char *)avl_addr(2000) = 1;
	avl_fill(empty, SIZE, 100);
	ok = ok && avl_check(empty, SIZE, 100) && avl_since("contexts") == 1 &&
		avl_since("families") == 1 && avl_since("anon_vmas") == 1 &&
		avl_since("vmas_lazy") == 2 - (failed && !neither);
	if (!ok)
		return BROKEN;
	return failed ? LATE_FAILURE : COMPLETE;
}

static int empty_intact(void *arg)
{
	return !avl_check(empty, SIZE, 100);
}

/* The first fork of such a process makes the root and the child's anchor. */
static int first_fork(int nth)
{
	struct avl_child child;
	bool failed, ok;
	int result;

	if (map(false))
		return BROKEN;
	avl_setup();
	avl_set_parameter("enabled", "1");
	avl_fill(empty, SIZE, 100);
	avl_mark();
	inject_arm(nth);
	result = avl_child_start(&child, NULL, empty_intact, NULL);
	failed = inject_disarm();
	ok = result == (failed ? -ENOMEM : 0) && avl_since("contexts") == !failed &&
		avl_since("anon_vmas") == 2 * !failed;
	if (!result)
		ok = !avl_child_end(&child) && ok;

	/* The root stays, or is made by a fork that does not fail. */
	ok = ok && !avl_child_start(&child, NULL, empty_intact, NULL) &&
		avl_since("contexts") == 1 && avl_since("anon_vmas") == 2 &&
		!avl_since("families") && !avl_child_end(&child) &&
		!avl_since("contexts") && avl_since("anon_vmas") == 1;
	if (!ok)
		return BROKEN;
	return failed ? LATE_FAILURE : COMPLETE;
}

FIXTURE(first_fault)
{
	bool lazy;
};

FIXTURE_VARIANT(first_fault)
{
	const char *function;
	const char *object;
	int allocations;
	char *how;
};

FIXTURE_VARIANT_ADD(first_fault, context) {
	"__anon_vma_prepare", "anon_vma_lazy", 1, "eager"
};

FIXTURE_VARIANT_ADD(first_fault, anchor) { "anon_vma_lazy_alloc", "anon_vma", 1, "eager" };
FIXTURE_VARIANT_ADD(first_fault, neither) { "__anon_vma_prepare", "anon_vma", 1, "neither" };
FIXTURE_VARIANT_ADD(first_fault, fork) { "anon_vma_lazy_alloc", "anon_vma", 2, "fork" };
FIXTURE_VARIANT_ADD(first_fault, fork_context) { "dup_mmap", "anon_vma_lazy", 1, "fork" };

FIXTURE_SETUP(first_fault)
{
	self->lazy = avl_setup();
	inject_setup(false);
	inject_at(variant->function, variant->object, NULL);
	ASSERT_EQ(0, map(false));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	avl_mark();
}

FIXTURE_TEARDOWN(first_fault)
{
	inject_at(NULL, NULL, NULL);
	avl_set_parameter("enabled", self->lazy ? "1" : "0");
}

TEST_F(first_fault, each)
{
	for (int nth = 1; nth <= variant->allocations + 1; nth++) {
		ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
		const int status = execute_and_wait(variant->how, nth);

		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_EQ(nth <= variant->allocations ? LATE_FAILURE : COMPLETE,
			  WEXITSTATUS(status));
		ASSERT_VERIFIED();
		assert_nothing_left(_metadata);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4) {
		inject_use(atoi(argv[2]));
		if (!strcmp(argv[1], "executed"))
			return executed();
		if (!strcmp(argv[1], "fork"))
			return first_fork(atoi(argv[3]));
		return first_fault(atoi(argv[3]), !strcmp(argv[1], "neither"));
	}
	if (!inject_available()) {
		ksft_print_header();
		ksft_exit_skip("no CONFIG_FAULT_INJECTION_STACKTRACE_FILTER\n");
	}
	inject_find(functions, ARRAY_SIZE(functions));
	return test_harness_run(argc, argv);
}
