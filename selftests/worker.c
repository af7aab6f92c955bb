// SPDX-License-Identifier: GPL-2.0
/*
 * A worker is a thread with a part of the address space, which it changes at
 * random. It knows what each page must hold: a pattern made of who wrote it,
 * where, and when, which it checks. Its operations depend on its seed and number
 * only, not on what the kernel makes of them: which pages are mapped decides what
 * comes next, so operations that can fail end with the same pages mapped.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "avl.h"
#include "worker.h"

#define OPERATIONS_FORKED 30	/* of a child */
#define OPERATIONS_EXEC	20	/* of a child that executed this program again */
#define DEPTH		2	/* children of children */
#define CHILDREN	3	/* at a time */
#define GENERATIONS	5	/* of a chain of parents that exit */
#define PAGES		1024	/* of a worker */
#define RANGE		48	/* pages at most per operation */
#define STACK		64	/* pages of what grows downwards, at the end of twice PAGES */
#define HEAP		64	/* pages of brk() */

/* What a page holds: one of these, or what avl_fill() writes. */
enum { UNMAPPED, ZERO, GUARD, POOL };

#define POOL_SIZE	8	/* contents of which there are many, for KSM to merge */

/* The rest of a page's state. */
#define READONLY	1
#define NO_ACCESS	2
#define FREED		4	/* MADV_FREE: zeroes, sooner or later */
#define WIPE		8	/* zeroes in a child */
#define DONT_FORK	16	/* unmapped in a child */

struct page {
	unsigned long seed;
	unsigned char flags;
};

/* A worker, and what its part of the address space must look like. */
struct worker {
	unsigned int process, thread, depth;
	unsigned long random, operation, id, generation;
	char *base, *heap;
	unsigned int nr_heap, nr_stack, nr_children;
	pid_t children[CHILDREN];
	struct page page[PAGES];
	unsigned long heap_seed[HEAP], stack_seed[STACK];
};

static struct worker_shared private_shared;
struct worker_shared *worker_shared = &private_shared;
static int shared_fd = -1;

#define DID(member)	{ #member, offsetof(struct worker_shared, member) }
#define DID_ADVISE(advice)						\
	{ #advice, offsetof(struct worker_shared, advise[advice]) }
#define DID_ADVISE_PROCESS(advice)					\
	{ "process " #advice, offsetof(struct worker_shared, advise_process[advice]) }

/*
 * What workers should have done, the rare last. MADV_COLLAPSE has success with nothing to do: only
 * that of a whole huge page counts.
 */
static const struct {
	const char *name;
	size_t counter;
} did_often[] = {
	DID(forks), DID(execs), DID(daemons), DID(move), DID(move_with_holes),
	DID(move_and_keep), DID(cut_off), DID(grow), DID(move_and_resize), DID(move_anywhere),
	DID(move_by_uffd), DID(migrate), DID(grow_stack), DID(resize_heap),
	DID_ADVISE(MADV_WILLNEED), DID_ADVISE(MADV_DONTNEED), DID_ADVISE(MADV_FREE),
	DID_ADVISE(MADV_DONTFORK), DID_ADVISE(MADV_DOFORK), DID_ADVISE(MADV_MERGEABLE),
	DID_ADVISE(MADV_UNMERGEABLE), DID_ADVISE(MADV_HUGEPAGE), DID_ADVISE(MADV_NOHUGEPAGE),
	DID_ADVISE(MADV_WIPEONFORK), DID_ADVISE(MADV_KEEPONFORK), DID_ADVISE(MADV_COLD),
	DID_ADVISE(MADV_PAGEOUT), DID_ADVISE(MADV_POPULATE_READ),
	DID_ADVISE(MADV_POPULATE_WRITE), DID_ADVISE(MADV_GUARD_INSTALL),
	DID_ADVISE(MADV_GUARD_REMOVE),
}, did_rarely[] = {
	DID(collapse), DID(collapse_process), DID_ADVISE(MADV_SOFT_OFFLINE),
	DID_ADVISE_PROCESS(MADV_WILLNEED),
	DID_ADVISE_PROCESS(MADV_COLD), DID_ADVISE_PROCESS(MADV_PAGEOUT),
};

static char did_nothing[1024];

/* Says how often something was done, which is to be once at least. */
void worker_did(const char *name, long count)
{
	const size_t len = strlen(did_nothing);

	ksft_print_msg("did: %s %ld\n", name, count);
	if (count <= 0)
		snprintf(did_nothing + len, sizeof(did_nothing) - len, "%s%s", len ? ", " : "",
			 name);
}

static atomic_ulong *counter(size_t offset)
{
	return (atomic_ulong *)((char *)worker_shared + offset);
}

/* Likewise all that workers do, or just what a few of them do as well. */
void worker_did_all(bool rare)
{
	for (size_t i = 0; i < ARRAY_SIZE(did_often); i++)
		worker_did(did_often[i].name, *counter(did_often[i].counter));
	for (size_t i = 0; rare && i < ARRAY_SIZE(did_rarely); i++)
		worker_did(did_rarely[i].name, *counter(did_rarely[i].counter));
}

/* Was there something that was never done? Says what. */
bool worker_did_nothing(void)
{
	if (*did_nothing)
		ksft_print_msg("never done: %s\n", did_nothing);
	return *did_nothing;
}

/* Ends the process. No stdio: its locks may have been held when a thread forked. */
static void fail(const struct worker *w, const char *what, unsigned long value)
{
	char line[256];
	int len = snprintf(line, sizeof(line),
			   "# process %u thread %u depth %u operation %lu: %s %lu\n",
			   w->process, w->thread, w->depth, w->operation, what, value);

	_exit(write(STDOUT_FILENO, line, len) == len ? EXIT_FAILURE : EXIT_FAILURE + 1);
}

static void must(const struct worker *w, bool ok, const char *what)
{
	const int error = errno;

	if (!ok)
		fail(w, what, error);
}

/* xorshift64* */
unsigned long worker_random(unsigned long *state, unsigned long n)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * 0x2545f4914f6cdd1dUL >> 33) % n;
}

static unsigned long below(struct worker *w, unsigned long n)
{
	return worker_random(&w->random, n);
}

static char *page(struct worker *w, unsigned long i)
{
	return w->base + i * psize();
}

static bool is_zero(const unsigned long *p)
{
	for (size_t i = 0; i < psize() / sizeof(*p); i++)
		if (p[i])
			return false;
	return true;
}

/* A guard page and one that is not mapped cannot be read: ask. */
static bool cannot_populate(char *p, int error)
{
	return madvise(p, psize(), MADV_POPULATE_READ) && errno == error;
}

static bool holds(struct worker *w, unsigned long i)
{
	struct page *p = &w->page[i];

	switch (p->seed) {
	case UNMAPPED:
		return cannot_populate(page(w, i), ENOMEM);
	case GUARD:
		return p->flags & NO_ACCESS || cannot_populate(page(w, i), EFAULT);
	}
	if (p->flags & NO_ACCESS)
		return true;
	if (p->flags & FREED && is_zero((void *)page(w, i))) {
		p->seed = ZERO;
		p->flags &= ~FREED;
	}
	return p->seed == ZERO ? is_zero((void *)page(w, i)) :
				 avl_check(page(w, i), psize(), p->seed);
}

static void check(struct worker *w, unsigned long first, unsigned long nr)
{
	for (unsigned long i = first; i < first + nr; i++)
		if (!holds(w, i))
			fail(w, "other contents than expected in page", i);
}

static void check_all(struct worker *w)
{
	char *top = page(w, 2 * PAGES);

	check(w, 0, PAGES);
	for (unsigned int i = 0; i < w->nr_heap; i++)
		if (!avl_check(w->heap + i * psize(), psize(), w->heap_seed[i]))
			fail(w, "other contents than written in heap page", i);
	for (unsigned int i = 0; i < w->nr_stack; i++)
		if (!avl_check(top - (i + 1) * psize(), psize(), w->stack_seed[i]))
			fail(w, "other contents than written in stack page", i);
}

static void set(struct worker *w, unsigned long first, unsigned long nr,
		unsigned long seed, unsigned char flags)
{
	for (unsigned long i = first; i < first + nr; i++)
		w->page[i] = (struct page){ seed, flags };
}

static void set_flag(struct worker *w, unsigned long first, unsigned long nr,
		     unsigned char flag, bool on)
{
	for (unsigned long i = first; i < first + nr; i++)
		w->page[i].flags = (w->page[i].flags & ~flag) | (on ? flag : 0);
}

/* New contents for page i: one of a few, or one that is nowhere else. */
static unsigned long new_seed(struct worker *w, unsigned long i)
{
	const unsigned long common = below(w, 2 * POOL_SIZE);

	if (common < POOL_SIZE)
		return POOL + common;
	return w->id << 32 | i << 20 | (w->generation++ & 0xfffff);
}

static void fill(struct worker *w, unsigned long first, unsigned long nr)
{
	for (unsigned long i = first; i < first + nr; i++) {
		const unsigned long seed = new_seed(w, i);

		if (w->page[i].seed == GUARD || w->page[i].flags & (READONLY | NO_ACCESS))
			continue;
		w->page[i].seed = seed;
		w->page[i].flags &= ~FREED;
		avl_fill(page(w, i), psize(), seed);
	}
}

static void map(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, mmap(page(w, first), nr * psize(), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page(w, first),
	     "mmap: errno");
	set(w, first, nr, ZERO, 0);
}

static void unmap(struct worker *w, unsigned long first, unsigned long nr)
{
	if (!nr)
		return;
	must(w, !munmap(page(w, first), nr * psize()), "munmap: errno");
	set(w, first, nr, UNMAPPED, 0);
}

static void protect(struct worker *w, unsigned long first, unsigned long nr)
{
	static const int prot[] = { PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
				    PROT_READ, PROT_READ, PROT_NONE };
	const unsigned long i = below(w, ARRAY_SIZE(prot));

	must(w, !mprotect(page(w, first), nr * psize(), prot[i]), "mprotect: errno");
	set_flag(w, first, nr, READONLY, prot[i] == PROT_READ);
	set_flag(w, first, nr, NO_ACCESS, prot[i] == PROT_NONE);
}

static bool advised(struct worker *w, unsigned long first, unsigned long nr, int advice)
{
	if (madvise(page(w, first), nr * psize(), advice))
		return false;
	worker_shared->advise[advice]++;
	return true;
}

/* In two pieces. */
static bool advised_process(struct worker *w, pid_t pid, unsigned long first, unsigned long nr,
			    int advice)
{
	const unsigned long part = advice == MADV_COLLAPSE ? 0 : nr / 2;
	const struct iovec vec[] = {
		{ page(w, first), part * psize() },
		{ page(w, first + part), (nr - part) * psize() },
	};
	const int fd = syscall(__NR_pidfd_open, pid, 0);
	bool done;

	must(w, fd >= 0, "pidfd_open: errno");
	done = syscall(__NR_process_madvise, fd, vec, 2, advice, 0) > 0;
	close(fd);
	worker_shared->advise_process[advice] += done;
	return done;
}

static bool overlap(unsigned long a, unsigned long nr_a, unsigned long b, unsigned long nr_b)
{
	return a < b + nr_b && b < a + nr_a;
}

static void *remap(struct worker *w, unsigned long first, unsigned long nr,
		   unsigned long new_nr, int flags, unsigned long to)
{
	return mremap(page(w, first), nr * psize(), new_nr * psize(), flags, page(w, to));
}

/*
 * To somewhere else, whatever there is, or back to where it once was: all VMAs
 * in the range, and the holes between them stay holes.
 */
static void relocate(struct worker *w, unsigned long first, unsigned long nr,
		     unsigned long to, int flags)
{
	bool holes = false;

	must(w, remap(w, first, nr, nr, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) ==
	     page(w, to), "mremap: errno");
	for (unsigned long i = 0; i < nr; i++) {
		struct page *p = &w->page[first + i];

		if (p->seed == UNMAPPED) {
			holes = true;
			continue;
		}
		w->page[to + i] = *p;
		if (flags & MREMAP_DONTUNMAP)
			*p = (struct page){ ZERO, p->flags & ~FREED };
		else
			*p = (struct page){ UNMAPPED, 0 };
	}
	if (flags & MREMAP_DONTUNMAP)
		worker_shared->move_and_keep++;
	else if (holes)
		worker_shared->move_with_holes++;
	else
		worker_shared->move++;
}

static void move(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long to = below(w, PAGES - nr + 1);

	if (!overlap(first, nr, to, nr))
		relocate(w, first, nr, to, 0);
}

static void move_with_holes(struct worker *w, unsigned long first, unsigned long nr)
{
	nr = 1 + below(w, PAGES - first < 2 * RANGE ? PAGES - first : 2 * RANGE);
	move(w, first, nr);
}

static void move_and_keep(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long to = below(w, PAGES - nr + 1);

	if (!overlap(first, nr, to, nr))
		relocate(w, first, nr, to, MREMAP_DONTUNMAP);
}

/* Other sizes are for one VMA only. Is that why it failed? */
static bool remapped(struct worker *w, void *result)
{
	must(w, result != MAP_FAILED || errno == EFAULT || errno == ENOMEM,
	     "mremap to another size: errno");
	return result != MAP_FAILED;
}

static void cut_off(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long left = 1 + below(w, nr);

	must(w, remap(w, first, nr, left, 0, 0) == page(w, first), "mremap to less: errno");
	set(w, first + left, nr - left, UNMAPPED, 0);
	worker_shared->cut_off += left < nr;
}

/* What was added to a VMA has its flags; children are to have it. */
static void added(struct worker *w, unsigned long first, unsigned long nr, unsigned char flags)
{
	must(w, advised(w, first, nr, MADV_DOFORK), "MADV_DOFORK: errno");
	set(w, first, nr, ZERO, flags & ~(FREED | DONT_FORK));
}

static void grow(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long max = 1 + below(w, RANGE);
	const int flags = below(w, 2) ? MREMAP_MAYMOVE : 0;
	const unsigned long end = first + nr;
	unsigned long more = 0;

	while (more < max && end + more < PAGES && w->page[end + more].seed == UNMAPPED)
		more++;
	if (!more)
		return;
	if (!remapped(w, remap(w, first, nr, nr + more, flags, 0))) {
		map(w, end, more);
	} else {
		added(w, end, more, w->page[end - 1].flags);
		worker_shared->grow++;
	}
}

/* To another place with another size at once. */
static void move_and_resize(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long new_nr = 1 + below(w, RANGE), to = below(w, PAGES - new_nr + 1);
	const unsigned long both = nr < new_nr ? nr : new_nr;
	const unsigned char flags = w->page[first + nr - 1].flags;

	if (overlap(first, nr, to, new_nr))
		return;
	if (!remapped(w, remap(w, first, nr, new_nr, MREMAP_MAYMOVE | MREMAP_FIXED, to))) {
		relocate(w, first, both, to, 0);
		if (new_nr > both)
			map(w, to + both, new_nr - both);
	} else {
		memcpy(&w->page[to], &w->page[first], both * sizeof(*w->page));
		if (new_nr > both)
			added(w, to + both, new_nr - both, flags);
		worker_shared->move_and_resize += new_nr != nr;
	}
	unmap(w, first, nr);
}

/* Where the kernel likes, and from there into the area again. */
static void move_anywhere(struct worker *w, unsigned long first, unsigned long nr)
{
	const int keep = below(w, 2) ? MREMAP_DONTUNMAP : 0;
	const unsigned long new_nr = keep ? nr : nr + 1, to = below(w, PAGES - new_nr + 1);
	struct page moved[RANGE];
	void *p;

	/* It would grow where it is. */
	if (!keep && (first + nr == PAGES || w->page[first + nr].seed == UNMAPPED))
		return;
	p = mremap(page(w, first), nr * psize(), new_nr * psize(), MREMAP_MAYMOVE | keep, NULL);
	if (!remapped(w, p)) {
		if (!keep)
			unmap(w, first, nr);
		map(w, to, new_nr);
		return;
	}

	memcpy(moved, &w->page[first], nr * sizeof(*moved));
	for (unsigned long i = first; i < first + nr; i++)
		w->page[i] = (struct page){ keep ? ZERO : UNMAPPED,
					    keep ? w->page[i].flags & ~FREED : 0 };
	must(w, mremap(p, new_nr * psize(), new_nr * psize(), MREMAP_MAYMOVE | MREMAP_FIXED,
		       page(w, to)) == page(w, to), "mremap back: errno");
	memcpy(&w->page[to], moved, nr * sizeof(*moved));
	if (!keep)
		added(w, to + nr, 1, moved[nr - 1].flags);
	worker_shared->move_anywhere++;
}

/* Pages without their VMA. Those that are shared with a child stay, and all after them. */
static void move_by_uffd(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long to = below(w, PAGES - nr + 1), size = nr * psize();
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_move m = {
		.dst = (unsigned long)page(w, to),
		.src = (unsigned long)page(w, first),
		.len = size,
		.mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
	};
	struct uffdio_register range = {
		.range = { m.dst, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	long moved;
	int uffd;

	if (overlap(first, nr, to, nr))
		return;
	map(w, to, nr);
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	must(w, uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) &&
	     !ioctl(uffd, UFFDIO_REGISTER, &range), "userfaultfd: errno");
	ioctl(uffd, UFFDIO_MOVE, &m);
	moved = m.move > 0 ? m.move / psize() : 0;
	worker_shared->move_by_uffd += moved > 0;
	must(w, !ioctl(uffd, UFFDIO_UNREGISTER, &range.range), "UFFDIO_UNREGISTER: errno");
	close(uffd);
	for (long i = 0; i < moved; i++) {
		struct page *p = &w->page[first + i];

		w->page[to + i] = (struct page){ p->seed, p->flags & FREED };
		*p = (struct page){ ZERO, p->flags & ~FREED };
	}
}

/* None of these changes what is there; some may find nothing to do. */
static void advise(struct worker *w, unsigned long first, unsigned long nr)
{
	static const int advice[] = {
		MADV_PAGEOUT, MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED, MADV_MERGEABLE,
		MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_COLLAPSE, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
	};

	advised(w, first, nr, advice[below(w, ARRAY_SIZE(advice))]);
}

/* Likewise, to a child if there is one. */
static void advise_process(struct worker *w, unsigned long first, unsigned long nr)
{
	static const int advice[] = { MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED, MADV_COLLAPSE };

	advised_process(w, w->nr_children ? w->children[0] : getpid(), first, nr,
			advice[below(w, ARRAY_SIZE(advice))]);
}

/* What there is for children. */
static void advise_fork(struct worker *w, unsigned long first, unsigned long nr)
{
	static const struct {
		int advice;
		unsigned char flag;
		bool on;
	} advice[] = {
		{ MADV_WIPEONFORK, WIPE, true }, { MADV_KEEPONFORK, WIPE, false },
		{ MADV_DONTFORK, DONT_FORK, true }, { MADV_DOFORK, DONT_FORK, false },
	};
	const unsigned long i = below(w, ARRAY_SIZE(advice));

	must(w, advised(w, first, nr, advice[i].advice), "madvise about forks: errno");
	set_flag(w, first, nr, advice[i].flag, advice[i].on);
}

static void drop(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, advised(w, first, nr, MADV_DONTNEED), "MADV_DONTNEED: errno");
	for (unsigned long i = first; i < first + nr; i++)
		if (w->page[i].seed != GUARD)
			w->page[i] = (struct page){ ZERO, w->page[i].flags & ~FREED };
}

static void drop_lazily(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, advised(w, first, nr, MADV_FREE), "MADV_FREE: errno");
	set_flag(w, first, nr, FREED, true);
}

static void guard_pages(struct worker *w, unsigned long first, unsigned long nr)
{
	const bool install = below(w, 2);

	must(w, advised(w, first, nr, install ? MADV_GUARD_INSTALL : MADV_GUARD_REMOVE),
	     "MADV_GUARD: errno");
	for (unsigned long i = first; i < first + nr; i++)
		if (install || w->page[i].seed == GUARD)
			w->page[i] = (struct page){ install ? GUARD : ZERO,
						    w->page[i].flags & ~FREED };
}

/* Gives up the page frame under a page, of those that are not the zero page. */
static void soft_offline(struct worker *w, unsigned long first, unsigned long nr)
{
	const struct page *p = &w->page[first];

	if (p->seed < POOL || p->flags & (FREED | NO_ACCESS))
		return;
	if (atomic_fetch_sub(&worker_shared->soft_offline, 1) > 0)
		advised(w, first, 1, MADV_SOFT_OFFLINE);
	else
		atomic_fetch_add(&worker_shared->soft_offline, 1);
}

static void migrate(struct worker *w, unsigned long first, unsigned long nr)
{
	if (avl_move(0, page(w, first), nr * psize(), below(w, avl_nodes())) > 0)
		worker_shared->migrate++;
}

static void compact(struct worker *w, unsigned long first, unsigned long nr)
{
	/* It takes long. */
	if (!below(w, 4))
		must(w, !avl_write("/proc/sys/vm/compact_memory", "1"),
		     "compact_memory: errno");
}

/* A large part, where a large folio fits: filled as such, or made of small ones. */
static void fill_large(struct worker *w, unsigned long first, unsigned long nr)
{
	const bool collapse = first % 2, myself = first % 4 == 1;

	first = below(w, 2) * PAGES / 2;
	map(w, first, PAGES / 2);
	advised(w, first, PAGES / 2, collapse ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	fill(w, first, PAGES / 2);
	if (!collapse)
		return;
	advised(w, first, PAGES / 2, MADV_HUGEPAGE);
	if (!myself)
		worker_shared->collapse += advised(w, first, PAGES / 2, MADV_COLLAPSE);
	else
		worker_shared->collapse_process += advised_process(w, getpid(), first,
								   PAGES / 2, MADV_COLLAPSE);
}

/* A stack grows when a page below it is touched, by all up to there. */
static void grow_stack(struct worker *w, unsigned long first, unsigned long nr)
{
	char *top = page(w, 2 * PAGES);
	unsigned int old = w->nr_stack;

	if (old == STACK) {
		must(w, !munmap(top - STACK * psize(), STACK * psize()),
		     "munmap of a stack: errno");
		old = 0;
	}
	if (!old)
		must(w, mmap(top - psize(), psize(), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0) ==
		     top - psize(), "mmap of a stack: errno");
	w->nr_stack = old + nr < STACK ? old + nr : STACK;
	for (unsigned int i = w->nr_stack; i-- > old;) {
		w->stack_seed[i] = new_seed(w, PAGES + i);
		avl_fill(top - (i + 1) * psize(), psize(), w->stack_seed[i]);
	}
	worker_shared->grow_stack += old && w->nr_stack > old;
}

/* There is one brk() per process, which the first thread has. */
static void resize_heap(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned int old = w->nr_heap, new = below(w, HEAP + 1);

	if (w->thread)
		return;
	if (!old) {
		w->heap = sbrk(0);
		w->heap += -(unsigned long)w->heap % psize();
		must(w, !brk(w->heap), "brk: errno");
	}
	must(w, !brk(w->heap + new * psize()), "brk: errno");
	for (unsigned int i = old; i < new; i++) {
		w->heap_seed[i] = new_seed(w, PAGES + STACK + i);
		avl_fill(w->heap + i * psize(), psize(), w->heap_seed[i]);
	}
	w->nr_heap = new;
	worker_shared->resize_heap += old != new;
}

/*
 * Did a worker end well? The OOM killer may have come, to it or to a parent: that is
 * counted.
 */
bool worker_ended(int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		worker_shared->killed++;
		return true;
	}
	return status == 0;
}

static void wait_for(struct worker *w, pid_t pid)
{
	int status;

	must(w, waitpid(pid, &status, 0) == pid, "waitpid: errno");
	if (worker_ended(status))
		return;
	if (WIFSIGNALED(status))
		fail(w, "a child died of signal", WTERMSIG(status));
	_exit(EXIT_FAILURE);
}

/* The eldest. */
static void wait_for_child(struct worker *w, unsigned long first, unsigned long nr)
{
	if (!w->nr_children)
		return;
	wait_for(w, w->children[0]);
	w->nr_children--;
	memmove(w->children, w->children + 1, w->nr_children * sizeof(*w->children));
}

/* A child has what the worker had, but for what is not for children. */
static pid_t fork_worker(struct worker *w, unsigned long random)
{
	const pid_t pid = fork();

	must(w, pid >= 0, "fork: errno");
	worker_shared->forks += !pid;
	if (pid)
		return pid;
	w->nr_children = 0;
	w->depth++;
	w->random = random | 1;
	w->id = 1 + below(w, (1UL << 20) - 1);
	for (unsigned long i = 0; i < PAGES; i++) {
		if (w->page[i].flags & DONT_FORK)
			w->page[i] = (struct page){ UNMAPPED, 0 };
		else if (w->page[i].flags & WIPE)
			w->page[i] = (struct page){ ZERO, w->page[i].flags & ~FREED };
	}
	return 0;
}

static void work(struct worker *w, unsigned long nr);

/* The child of a worker, NULL in the worker itself or if the tree is high enough. */
static struct worker *fork_child(struct worker *w)
{
	const unsigned long random = below(w, -1UL);
	pid_t pid;

	if (w->depth == DEPTH)
		return NULL;
	if (w->nr_children == CHILDREN)
		wait_for_child(w, 0, 0);
	pid = fork_worker(w, random);
	if (pid) {
		w->children[w->nr_children++] = pid;
		return NULL;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return w;
}

/* Both go on with it. */
static void fork_and_work(struct worker *w, unsigned long first, unsigned long nr)
{
	struct worker *child = fork_child(w);

	if (!child)
		return;
	work(child, OPERATIONS_FORKED);
	_exit(EXIT_SUCCESS);
}

/* Parents exit as soon as they have a child, but for the last one. */
static void daemonize(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long random = below(w, -1UL);
	pid_t pid;

	if (w->depth == DEPTH)
		return;
	pid = fork_worker(w, random);
	if (pid) {
		wait_for(w, pid);
		return;
	}
	for (int i = 0; i < GENERATIONS; i++) {
		const unsigned long written = below(w, PAGES);

		if (w->page[written].seed != UNMAPPED)
			fill(w, written, 1);
		if (fork_worker(w, below(w, -1UL)))
			_exit(EXIT_SUCCESS);
	}
	worker_shared->daemons++;
	w->depth = DEPTH;
	work(w, OPERATIONS_FORKED);
	_exit(EXIT_SUCCESS);
}

/* The child becomes this program once more. */
static void fork_and_exec(struct worker *w, unsigned long first, unsigned long nr)
{
	struct worker *child = fork_child(w);
	char args[128];

	if (!child)
		return;
	snprintf(args, sizeof(args), "%u %u %u %lu %d", child->process, child->thread,
		 child->depth, child->random, shared_fd);
	execl("/proc/self/exe", "worker", args, NULL);
	fail(w, "exec: errno", errno);
}

/* Operations on pages that are mapped, all of them, and how often they come. */
static const struct {
	unsigned int weight;
	void (*fn)(struct worker *w, unsigned long first, unsigned long nr);
} mapped_operations[] = {
	{ 24, fill }, { 10, unmap }, { 12, protect }, { 8, move }, { 4, move_with_holes },
	{ 4, move_and_keep }, { 4, cut_off }, { 4, grow }, { 4, move_and_resize },
	{ 4, move_anywhere }, { 4, move_by_uffd }, { 20, advise }, { 2, advise_process },
	{ 4, advise_fork }, { 3, drop }, { 3, drop_lazily }, { 3, guard_pages },
	{ 1, soft_offline }, { 8, migrate }, { 10, check }, { 2, fill_large }, { 1, compact },
	{ 2, grow_stack }, { 2, resize_heap }, { 3, fork_and_work }, { 1, daemonize },
	{ 1, fork_and_exec }, { 1, wait_for_child },
};

static void operate(struct worker *w)
{
	const unsigned long first = below(w, PAGES);
	unsigned long nr = 0, choice = 0;
	size_t i = 0;

	/* A run of mapped pages, else map some. */
	const unsigned long max = 1 + below(w, RANGE);

	while (nr < max && first + nr < PAGES && w->page[first + nr].seed != UNMAPPED)
		nr++;
	if (!nr) {
		nr = first + max < PAGES ? max : PAGES - first;
		map(w, first, nr);
		fill(w, first, nr);
		return;
	}

	for (size_t j = 0; j < ARRAY_SIZE(mapped_operations); j++)
		choice += mapped_operations[j].weight;
	choice = below(w, choice);
	while (choice >= mapped_operations[i].weight)
		choice -= mapped_operations[i++].weight;
	mapped_operations[i].fn(w, first, nr);
}

static void work(struct worker *w, unsigned long nr)
{
	check_all(w);
	for (w->operation = 0; w->operation < nr && !worker_shared->end; w->operation++) {
		operate(w);
		worker_shared->operations++;
	}
	check_all(w);
	while (w->nr_children)
		wait_for_child(w, 0, 0);
}

static void init_worker(struct worker *w, unsigned long random)
{
	w->random = random | 1;
	for (int i = 0; i < 10; i++)
		below(w, 1);
	w->id = 1 + below(w, (1UL << 20) - 1);
	w->base = avl_addr(2 * PAGES * w->thread);
}

/* Deep calls, for a stack as processes have it. */
static void use_stack(struct worker *w, unsigned int depth)
{
	char frame[8192];

	avl_fill(frame, sizeof(frame), depth);
	if (depth)
		use_stack(w, depth - 1);
	if (!avl_check(frame, sizeof(frame), depth))
		fail(w, "other contents than written in the stack at depth", depth);
}

static void map_shared(int fd)
{
	worker_shared = mmap(NULL, sizeof(*worker_shared), PROT_READ | PROT_WRITE, MAP_SHARED,
			     fd, 0);
	if (worker_shared == MAP_FAILED)
		_exit(EXIT_FAILURE);
	shared_fd = fd;
}

/* To be called first by main(): it may have been executed by a worker. */
void worker_init(int argc, char **argv)
{
	static struct worker w;
	unsigned long random;
	int fd;

	/* Those whose parents have gone are ours. */
	if (strcmp(argv[0], "worker")) {
		fd = memfd_create("worker", 0);
		if (fd < 0 || ftruncate(fd, sizeof(*worker_shared)))
			ksft_exit_fail_perror("memfd_create");
		map_shared(fd);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		return;
	}
	if (argc != 2 || sscanf(argv[1], "%u %u %u %lu %d", &w.process, &w.thread, &w.depth,
				&random, &fd) != 5)
		_exit(EXIT_FAILURE);
	map_shared(fd);
	worker_shared->execs++;
	init_worker(&w, random);
	use_stack(&w, 1 + below(&w, 64));
	work(&w, OPERATIONS_EXEC);
	_exit(EXIT_SUCCESS);
}

static unsigned long operations;
static pthread_barrier_t all_there;

static void *thread(void *arg)
{
	const struct worker *w = arg;

	pthread_barrier_wait(&all_there);
	work(arg, operations);
	if (w->operation < operations) {
		printf("# process %u worker %u: %lu operations\n", w->process, w->thread,
		       w->operation);
		fflush(stdout);
	}
	return NULL;
}

/* Threads with an area each. */
static void process(unsigned long seed, unsigned int number)
{
	static struct worker workers[WORKER_THREADS];
	pthread_t threads[WORKER_THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_barrier_init(&all_there, NULL, WORKER_THREADS);
	for (unsigned int i = 0; i < WORKER_THREADS; i++) {
		workers[i].process = number;
		workers[i].thread = i;
		init_worker(&workers[i], (seed + number) * 0x9e3779b97f4a7c15UL + 2 * i);
		if (pthread_create(&threads[i], NULL, thread, &workers[i]))
			_exit(EXIT_FAILURE);
	}
	for (unsigned int i = 0; i < WORKER_THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(EXIT_SUCCESS);
}

/* Starts a process with workers, each of which does so many operations. */
pid_t worker_start(unsigned long seed, unsigned int number, unsigned long nr)
{
	pid_t pid;

	operations = nr;
	pid = fork();
	if (!pid)
		process(seed, number);
	return pid;
}
