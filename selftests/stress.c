// SPDX-License-Identifier: GPL-2.0
/*
 * Stress: processes with threads and children change their address spaces at
 * random while memory is compacted, migrated, swapped and merged, and the module
 * verifies all of it again and again. What each page must hold is known.
 *
 * stress [SEED [OPERATIONS]]: the operations of a thread depend on the seed only.
 */

#include <linux/mman.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "avl.h"
#include "kmsg.h"

#define PROCESSES	3
#define THREADS		3
#define OPERATIONS	400	/* of a thread */
#define OPERATIONS_FORKED 30	/* of a child of a thread */
#define DEPTH		2	/* children of children */
#define PAGES		1024	/* of a thread */
#define RANGE		48	/* pages at most per operation */
#define TIME_LIMIT	1800	/* s, for a process that hangs */

/* What a page holds: nothing, zeroes, or else what avl_fill() writes. */
#define UNMAPPED	0UL
#define ZERO		1UL

/* A thread, and what its part of the address space must look like. */
struct worker {
	unsigned int process, thread, depth;
	unsigned long random, operation;
	char *base;
	unsigned long seed[PAGES];
	bool readonly[PAGES];
	pid_t child;
};

static unsigned long seed, operations = OPERATIONS;

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
static unsigned long below(struct worker *w, unsigned long n)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (w->random * 0x2545f4914f6cdd1dUL >> 33) % n;
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

static void check(struct worker *w, unsigned long first, unsigned long nr)
{
	for (unsigned long i = first; i < first + nr; i++) {
		if (w->seed[i] == ZERO ? !is_zero((void *)page(w, i)) :
		    w->seed[i] != UNMAPPED && !avl_check(page(w, i), psize(), w->seed[i]))
			fail(w, "other contents than written in page", i);
	}
}

static void set(struct worker *w, unsigned long first, unsigned long nr,
		unsigned long to)
{
	for (unsigned long i = first; i < first + nr; i++) {
		w->seed[i] = to;
		w->readonly[i] = false;
	}
}

/* Few different contents, so that there is something to merge, or unique ones. */
static void fill(struct worker *w, unsigned long first, unsigned long nr)
{
	for (unsigned long i = first; i < first + nr; i++) {
		if (w->readonly[i])
			continue;
		w->seed[i] = ZERO + 1 + (below(w, 2) ? below(w, 8) : below(w, 1UL << 30));
		avl_fill(page(w, i), psize(), w->seed[i]);
	}
}

static void map(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, mmap(page(w, first), nr * psize(), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page(w, first),
	     "mmap: errno");
	set(w, first, nr, ZERO);
}

static void unmap(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, !munmap(page(w, first), nr * psize()), "munmap: errno");
	set(w, first, nr, UNMAPPED);
}

static void protect(struct worker *w, unsigned long first, unsigned long nr)
{
	const bool readonly = below(w, 2);

	must(w, !mprotect(page(w, first), nr * psize(),
			  readonly ? PROT_READ : PROT_READ | PROT_WRITE), "mprotect: errno");
	for (unsigned long i = first; i < first + nr; i++)
		w->readonly[i] = readonly;
}

/* To somewhere else, whatever there is, or back to where it once was. */
static void move(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long to = below(w, PAGES - nr + 1);

	if (to < first + nr && first < to + nr)
		return;
	must(w, mremap(page(w, first), nr * psize(), nr * psize(),
		       MREMAP_MAYMOVE | MREMAP_FIXED, page(w, to)) == page(w, to),
	     "mremap: errno");
	for (unsigned long i = 0; i < nr; i++) {
		w->seed[to + i] = w->seed[first + i];
		w->readonly[to + i] = w->readonly[first + i];
	}
	set(w, first, nr, UNMAPPED);
}

/* None of these changes what is there; some may find nothing to do. */
static void advise(struct worker *w, unsigned long first, unsigned long nr)
{
	static const int advice[] = {
		MADV_PAGEOUT, MADV_PAGEOUT, MADV_COLD, MADV_MERGEABLE, MADV_MERGEABLE,
		MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE,
	};

	madvise(page(w, first), nr * psize(), advice[below(w, ARRAY_SIZE(advice))]);
}

static void drop(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, !madvise(page(w, first), nr * psize(), MADV_DONTNEED),
	     "MADV_DONTNEED: errno");
	for (unsigned long i = first; i < first + nr; i++)
		w->seed[i] = ZERO;
}

static void migrate(struct worker *w, unsigned long first, unsigned long nr)
{
	avl_move(0, page(w, first), nr * psize(), below(w, avl_nodes()));
}

static void compact(struct worker *w, unsigned long first, unsigned long nr)
{
	must(w, !avl_write("/proc/sys/vm/compact_memory", "1"), "compact_memory: errno");
}

/* A large part, where a large folio fits. */
static void fill_large(struct worker *w, unsigned long first, unsigned long nr)
{
	first = below(w, 2) * PAGES / 2;
	map(w, first, PAGES / 2);
	madvise(page(w, first), PAGES / 2 * psize(), MADV_HUGEPAGE);
	fill(w, first, PAGES / 2);
}

static void wait_for_child(struct worker *w)
{
	int status;

	if (!w->child)
		return;
	must(w, waitpid(w->child, &status, 0) == w->child, "waitpid: errno");
	if (WIFSIGNALED(status))
		fail(w, "a child died of signal", WTERMSIG(status));
	if (status)
		_exit(EXIT_FAILURE);
	w->child = 0;
}

static void work(struct worker *w, unsigned long nr);

/* The child has what the thread had, and both go on with it. */
static void fork_child(struct worker *w, unsigned long first, unsigned long nr)
{
	const unsigned long random = below(w, -1UL);

	wait_for_child(w);
	if (w->depth == DEPTH)
		return;
	w->child = fork();
	must(w, w->child >= 0, "fork: errno");
	if (w->child)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	w->depth++;
	w->random = random | 1;
	work(w, OPERATIONS_FORKED);
	_exit(EXIT_SUCCESS);
}

/* Operations on pages that are mapped, all of them, and how often they come. */
static const struct {
	unsigned int weight;
	void (*fn)(struct worker *w, unsigned long first, unsigned long nr);
} mapped_operations[] = {
	{ 20, fill }, { 10, unmap }, { 12, protect }, { 15, move }, { 20, advise },
	{ 4, drop }, { 8, migrate }, { 8, check }, { 3, fork_child }, { 1, fill_large },
	{ 1, compact },
};

static void operate(struct worker *w)
{
	const unsigned long first = below(w, PAGES);
	unsigned long nr = 0, choice = 0;
	size_t i = 0;

	/* A run of mapped pages, else map some. */
	const unsigned long max = 1 + below(w, RANGE);

	while (nr < max && first + nr < PAGES && w->seed[first + nr] != UNMAPPED)
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
	check(w, 0, PAGES);
	for (w->operation = 0; w->operation < nr; w->operation++)
		operate(w);
	check(w, 0, PAGES);
	wait_for_child(w);
}

static void *thread(void *arg)
{
	work(arg, operations);
	return NULL;
}

/* One of the processes: threads with an area each. */
static void process(unsigned int number)
{
	static struct worker workers[THREADS];
	pthread_t threads[THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.process = number,
			.thread = i,
			.random = (seed * PROCESSES + number) * THREADS + i + 1,
			.base = avl_addr(2 * PAGES * i),
		};
		for (int j = 0; j < 10; j++)
			below(&workers[i], 1);
		if (pthread_create(&threads[i], NULL, thread, &workers[i]))
			_exit(EXIT_FAILURE);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
	static struct avl_verify v;
	bool failed = false, missed = false;
	long present = 0, ksm = 0, migration = 0, swap = 0;
	char hit[1024];
	int left, status;
	long log;

	ksft_print_header();
	ksft_set_plan(3);
	avl_enabled();
	if (argc > 1)
		seed = strtoul(argv[1], NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		ksft_exit_fail_perror("getrandom");
	if (argc > 2)
		operations = strtoul(argv[2], NULL, 0);
	ksft_print_msg("stress %#lx %lu\n", seed, operations);
	alarm(TIME_LIMIT);
	log = kmsg_scan(0, hit, sizeof(hit));

	avl_write("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	avl_write("/sys/kernel/mm/ksm/run", "1");
	for (left = 0; left < PROCESSES; left++)
		if (!fork())
			process(left);

	/* A page may be visited in vain, and is never missed. */
	while (left) {
		const pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			left--;
			failed |= status != 0;
			if (WIFSIGNALED(status))
				ksft_print_msg("a process died of signal %d\n", WTERMSIG(status));
		}
		missed |= avl_verify(&v) || v.missed;
		present += v.present;
		ksm += v.ksm;
		migration += v.migration;
		swap += v.swap;
		if (missed)
			break;
	}
	avl_write("/sys/kernel/mm/ksm/run", "2");
	avl_write("/sys/kernel/mm/ksm/run", "0");

	ksft_test_result(!failed && !left, "contents\n");
	ksft_print_msg("verified: present %ld ksm %ld migration %ld swap %ld\n", present, ksm,
		       migration, swap);
	if (missed)
		ksft_print_msg("verify:\n%s\n", v.text);
	ksft_test_result(!missed && present, "verify\n");
	if (log < 0 || kmsg_scan(log, hit, sizeof(hit)) < 0)
		ksft_print_msg("cannot read the kernel log\n");
	else if (*hit)
		ksft_print_msg("%s", hit);
	ksft_test_result(log >= 0 && !*hit, "kernel log\n");
	ksft_finished();
}
