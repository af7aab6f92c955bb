// SPDX-License-Identifier: GPL-2.0
/*
 * Fault injection: the kernel lets the nth allocation of a thread fail whose
 * stack trace, and slab cache, are those that its filters want.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avl.h"
#include "inject.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define MAKE_IT_FAIL	"/proc/thread-self/make-it-fail"
#define FAILSLAB	"/sys/kernel/debug/failslab"
#define FAIL_PAGE_ALLOC	"/sys/kernel/debug/fail_page_alloc"
#define MAX_FUNCTIONS	64
#define MAX_MODULE	4096

/* The code of a function. */
struct range {
	const char *name;
	unsigned long start;
	unsigned long end;
};

static const struct range everywhere = { NULL, 0, -1UL };
static const struct range nowhere;
static struct range functions[MAX_FUNCTIONS];
static size_t nr_functions;
static const char *object;
static int fail_nth, make_it_fail;
static bool from_then_on;

/* Can call sites be picked? */
bool inject_available(void)
{
	return !access(FAILSLAB "/require-start", F_OK) &&
		!access(FAIL_PAGE_ALLOC "/require-start", F_OK) &&
		!access(FAIL_NTH, F_OK);
}

static void set(const char *dir, const char *name, const char *value)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	err = avl_write(path, value);
	if (err)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(-err));
}

static void set_address(const char *dir, const char *name, unsigned long address)
{
	char text[32];

	snprintf(text, sizeof(text), "%#lx", address);
	set(dir, name, text);
}

static void set_filter(const char *dir, const struct range *require,
		       const struct range *reject)
{
	set_address(dir, "require-start", require->start);
	set_address(dir, "require-end", require->end);
	set_address(dir, "reject-start", reject->start);
	set_address(dir, "reject-end", reject->end);
}

/* The slab caches that may fail: this one alone, or all. */
static void set_object(const char *name)
{
	char dir[128];

	if (object) {
		snprintf(dir, sizeof(dir), "/sys/kernel/slab/%s", object);
		set(dir, "failslab", "0");
	}
	object = name;
	if (object) {
		snprintf(dir, sizeof(dir), "/sys/kernel/slab/%s", object);
		set(dir, "failslab", "1");
	}
	set(FAILSLAB, "cache-filter", object ? "Y" : "N");
}

/*
 * Allocations of all kinds may fail, without a word about it. Those of
 * anonymous pages are for page faults of the process: after a fork the kernel
 * needs one as well, to write to the process's rseq area, and kills it if there
 * is none.
 */
void inject_setup(bool anonymous_pages)
{
	set(FAILSLAB, "ignore-gfp-wait", "N");
	set(FAILSLAB, "verbose", "0");
	set(FAILSLAB, "task-filter", "Y");
	set(FAILSLAB, "times", "-1");
	set(FAIL_PAGE_ALLOC, "ignore-gfp-wait", "N");
	set(FAIL_PAGE_ALLOC, "ignore-gfp-highmem", anonymous_pages ? "N" : "Y");
	set(FAIL_PAGE_ALLOC, "min-order", "0");
	set(FAIL_PAGE_ALLOC, "verbose", "0");
	set(FAIL_PAGE_ALLOC, "task-filter", "Y");
	set(FAIL_PAGE_ALLOC, "times", "-1");
	inject_from_then_on(false);
	inject_at(NULL, NULL, NULL);
}

/* The files of this thread; returns the descriptor for inject_use(). */
int inject_open(void)
{
	fail_nth = open(FAIL_NTH, O_RDWR);
	make_it_fail = open(MAKE_IT_FAIL, O_WRONLY | O_CLOEXEC);
	if (fail_nth < 0 || make_it_fail < 0)
		ksft_exit_fail_perror("open " FAIL_NTH ", " MAKE_IT_FAIL);
	return fail_nth;
}

/* The file that the program before this one opened. */
void inject_use(int fd)
{
	fail_nth = fd;
}

/* Does not only the nth allocation fail, but all that come after it? */
void inject_from_then_on(bool on)
{
	from_then_on = on;
	set(FAILSLAB, "probability", on ? "100" : "0");
	set(FAIL_PAGE_ALLOC, "probability", on ? "100" : "0");
}

/* Lets the nth allocation of this thread fail; none for 0. */
void inject_arm(int nth)
{
	char buf[16];
	const int len = snprintf(buf, sizeof(buf), "%d", nth);

	if (from_then_on && pwrite(make_it_fail, nth ? "1" : "0", 1, 0) != 1)
		ksft_exit_fail_perror("write " MAKE_IT_FAIL);
	if (pwrite(fail_nth, buf, len, 0) != len)
		ksft_exit_fail_perror("write " FAIL_NTH);
}

/* Has it failed? If not, no longer. */
bool inject_disarm(void)
{
	char buf[16] = "";

	if (pread(fail_nth, buf, sizeof(buf) - 1, 0) <= 0)
		ksft_exit_fail_perror("read " FAIL_NTH);
	inject_arm(0);
	return atoi(buf) == 0;
}

static void follows(unsigned long address)
{
	for (size_t i = 0; i < nr_functions; i++) {
		struct range *f = &functions[i];

		if (f->start && address > f->start && (!f->end || address < f->end))
			f->end = address;
	}
}

/*
 * Finds the code of functions for inject_at(). Takes a while: do it once. The
 * symbols of the kernel are sorted, those of the module are not.
 */
void inject_find(const char *const names[], size_t nr)
{
	static unsigned long module[MAX_MODULE];
	char line[512], name[256], type;
	size_t nr_module = 0;
	unsigned long address;
	FILE *file = fopen("/proc/kallsyms", "r");

	if (!file || nr > MAX_FUNCTIONS)
		ksft_exit_fail_msg("/proc/kallsyms, or room for %zu functions\n", nr);
	nr_functions = nr;
	for (size_t i = 0; i < nr; i++)
		functions[i].name = names[i];
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx %c %255s", &address, &type, name) != 3 ||
		    !strchr("tTwW", type))
			continue;
		for (size_t i = 0; i < nr; i++)
			if (!strcmp(name, names[i]))
				functions[i].start = address;
		if (!strchr(line, '['))
			follows(address);
		else if (nr_module < MAX_MODULE)
			module[nr_module++] = address;
	}
	fclose(file);
	for (size_t i = 0; i < nr_module; i++)
		follows(module[i]);
	for (size_t i = 0; i < nr; i++)
		if (!functions[i].start || !functions[i].end)
			ksft_exit_fail_msg("no function %s in /proc/kallsyms: inlined now?\n",
					   names[i]);
}

static const struct range *find(const char *name)
{
	for (size_t i = 0; i < nr_functions; i++)
		if (!strcmp(functions[i].name, name))
			return &functions[i];
	ksft_exit_fail_msg("inject_find() was not asked for %s\n", name);
}

/*
 * From now on only the allocations in a function and what it calls count, but
 * not those in another one; only those from one slab cache. NULL: any.
 */
void inject_at(const char *function, const char *object, const char *except)
{
	const struct range *require = function ? find(function) : &everywhere;
	const struct range *reject = except ? find(except) : &nowhere;

	set_object(object);
	set_filter(FAILSLAB, require, reject);
	set_filter(FAIL_PAGE_ALLOC, object ? &nowhere : require, reject);
}
