// SPDX-License-Identifier: GPL-2.0
/* What the benchmarks share. All print lines "name value unit". */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "bench.h"

#define ROUNDS	15

/* Flag of /proc/kpageflags, as vm_util.h has others. */
#define KPF_IDLE	BIT_ULL(25)

/* All that bench_map() maps is in here. */
#define AREA	0x40000000UL

/* Nanoseconds: instructions, if QEMU counts them. */
long bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

/*
 * Lets the kernel do what it put off, as it frees page tables and maple nodes
 * after a grace period. Where instructions are counted it does not take longer.
 */
void bench_settle(void)
{
	usleep(100000);
}

/* stdout is no terminal: it is written when the program ends, not while it measures. */
void bench_row(const char *name, double value, const char *unit)
{
	printf("%s %.1f %s\n", name, value, unit);
}

static int compare(const void *a, const void *b)
{
	const long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

/*
 * Goes on with one row for ever, for make profile, which is told where modules are.
 */
static void run_forever(const char *name, long (*round)(long nr), long nr)
{
	FILE *modules = fopen("/proc/modules", "r");
	FILE *log = fopen("/dev/kmsg", "w");
	char line[256];

	MUST(modules && log);
	while (fgets(line, sizeof(line), modules)) {
		fputs(line, log);
		fflush(log);
	}
	fprintf(log, "profile %s\n", name);
	fclose(log);
	for (;;)
		round(nr);
}

/*
 * Prints the median of what some rounds of ops operations took, per operation,
 * after one to warm up. An interrupt makes one round longer, not the median.
 */
void bench_run(const char *name, long (*round)(long nr), long nr, long ops)
{
	const char *wanted = getenv("PROFILE");
	long took[ROUNDS];

	if (wanted && !strcmp(wanted, name))
		run_forever(name, round, nr);
	bench_settle();
	round(nr);
	for (int i = 0; i < ROUNDS; i++)
		took[i] = round(nr);
	qsort(took, ROUNDS, sizeof(*took), compare);
	bench_row(name, (double)took[ROUNDS / 2] / ops, "ns");
}

/* How far it is from one VMA of bench_map() to the next, in pages. */
static long stride = 1;

/* The first page of VMA i. */
char *bench_page(long i)
{
	return avl_addr(i * stride);
}

/*
 * Maps VMAs, in place of those that were there, with a page between them: they
 * do not merge, and stock gives each an anon_vma.
 */
void bench_map(long nr, long pages)
{
	MUST(!munmap(avl_addr(0), AREA));
	stride = pages + 1;
	for (long i = 0; i < nr; i++)
		MUST(mmap(bench_page(i), pages * psize(), READ_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
}

/* Writes to one page of each. */
void bench_touch(long nr, long page)
{
	for (long i = 0; i < nr; i++)
		bench_page(i)[page * psize()] = 1;
}

/*
 * Forks a child that calls fn(arg) and then sleeps until it is killed. Returns
 * when it has done so.
 */
pid_t bench_child(void (*fn)(long arg), long arg)
{
	int done[2];
	pid_t pid;
	char c = 0;

	MUST(!pipe(done));
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fn)
			fn(arg);
		if (write(done[1], &c, 1) != 1)
			_exit(EXIT_FAILURE);
		for (;;)
			pause();
	}
	close(done[1]);
	MUST(read(done[0], &c, 1) == 1);
	close(done[0]);
	return pid;
}

void bench_kill(const pid_t *pids, long nr)
{
	for (long i = 0; i < nr; i++) {
		kill(pids[i], SIGKILL);
		MUST(waitpid(pids[i], NULL, 0) == pids[i]);
	}
}

static int idle_bitmap(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	MUST(fd >= 0);
	return fd;
}

/* Writes to the word of a page in the bitmap of idle ones: its bit, or nothing. */
static void set_idle(unsigned long pfn, bool set)
{
	const unsigned long bits = set ? 1UL << pfn % 64 : 0;

	/* Nothing counts as written to the last word, if memory ends in it. */
	MUST(pwrite(idle_bitmap(), &bits, sizeof(bits), pfn / 64 * 8) >= 0);
}

/* Ends the program if one of these pages is not walked by bench_walk(). */
void bench_check_pfns(const unsigned long *pfns, long nr)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	MUST(!avl_drain());
	for (long i = 0; i < nr; i++) {
		unsigned long flags;

		set_idle(pfns[i], true);
		MUST(!pageflags_get(pfns[i], fd, &flags));
		if (!(flags & KPF_IDLE))
			ksft_exit_fail_msg("page %ld is not idle: there was no walk\n", i);
	}
	close(fd);
}

/* The page frame numbers of faulted pages, for bench_walk(). */
void bench_pfns(unsigned long *pfns, long nr, char *(*page)(long i))
{
	for (long i = 0; i < nr; i++)
		pfns[i] = avl_pfn(page(i));
	bench_check_pfns(pfns, nr);
}

/*
 * How long an rmap walk of each page takes: to set its bit in the bitmap of idle
 * pages is one, to set none is the same without. Of so few pages that the timer
 * interrupts less than half of the rounds, where that matters.
 */
long bench_walk(const unsigned long *pfns, long nr)
{
	const long start = bench_now();
	long middle;

	for (long i = 0; i < nr; i++)
		set_idle(pfns[i], false);
	middle = bench_now();
	for (long i = 0; i < nr; i++)
		set_idle(pfns[i], true);
	return bench_now() - middle - (middle - start);
}
