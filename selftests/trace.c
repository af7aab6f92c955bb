// SPDX-License-Identifier: GPL-2.0
/* Tracepoints: what they say, against /proc, the files and the statistics. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "avl_test.h"

#define TRACING		"/sys/kernel/tracing/"
#define EVENTS		TRACING "events/anon_vma_lazy/"
#define INSTANCE	TRACING "instances/anon_vma_lazy/"
#define CHILDREN	10	/* enough of them to be learned about */
#define POOL		"/proc/sys/vm/nr_hugepages"
#define WALK		"walk: holder=%ld pgoff=%lx-%lx visits=%d hits=%d contended=0\n"

/* All events, each with its fields. */
static const char * const events[][2] = {
	{ "context_create", "context" },
	{ "context_join", "context parent" },
	{ "context_leave", "context freed" },
	{ "donate", "context heir anchors" },
	{ "borrow", "context holder" },
	{ "vma_lazy", "context start end pgoff" },
	{ "vma_eager", "context start end pgoff reason" },
	{ "displaced", "context start end pgoff" },
	{ "detach", "context start end pgoff" },
	{ "walk", "holder first last visits hits contended" },
	{ "learn", "context first last" },
};

/* As Documentation/usage.rst has them. */
static const char * const one_liners[] = {
	"tracepoint:anon_vma_lazy:vma_eager { @[comm, args->reason] = count(); }",
	"tracepoint:anon_vma_lazy:walk { @visits = hist(args->visits); @hits = hist(args->hits); }",
};

FIXTURE(trace)
{
	bool lazy;
	long context;		/* of the test */
};

/* What the file "contexts" says of a process. */
struct context {
	long id;
	long parent;
	long holder;
};

static char text[1 << 21];

/* The number behind a word. */
static long number(const char *line, const char *word, int base)
{
	return strtol(strstr(line, word) + strlen(word), NULL, base);
}

static struct context context_of(pid_t pid)
{
	char who[32], *line, *rest = text;

	snprintf(who, sizeof(who), " pid %d ", pid);
	avl_read(AVL_DEBUGFS "contexts", text, sizeof(text));
	while ((line = strsep(&rest, "\n")))
		if (strstr(line, who))
			return (struct context){
				.id = number(line, "context ", 10),
				.parent = number(line, " parent ", 10),
				.holder = number(line, " holder ", 10),
			};
	return (struct context){};
}

static int start(void)
{
	/* This clears it. */
	int fd = open(INSTANCE "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	avl_mark();
	return avl_write(INSTANCE "events/anon_vma_lazy/enable", "1");
}

/* Reads what was traced; all of it must be there. */
static int stop(void)
{
	const char *entries;
	long kept, written;

	if (avl_write(INSTANCE "events/anon_vma_lazy/enable", "0") ||
	    avl_read(INSTANCE "trace", text, sizeof(text)) < 0)
		return -1;
	entries = strstr(text, "entries-written:");
	if (!entries || sscanf(entries, "entries-written: %ld/%ld", &kept, &written) != 2)
		return -1;
	return kept == written ? 0 : -1;
}

/* How many events are exactly this, or begin with it if it does not end in a newline? */
static int traced(const char *format, ...)
{
	char event[256];
	int nr = 0;
	va_list ap;

	event[0] = ' ';
	va_start(ap, format);
	vsnprintf(event + 1, sizeof(event) - 1, format, ap);
	va_end(ap);
	for (const char *pos = text; (pos = strstr(pos, event)); pos++)
		nr++;
	return nr;
}

/* The sum of a field over all events of a kind. */
static long sum(const char *event, const char *field)
{
	char name[32], value[32];
	long total = 0;

	snprintf(name, sizeof(name), " %s: ", event);
	snprintf(value, sizeof(value), " %s=", field);
	for (const char *pos = text; (pos = strstr(pos, name)); pos++)
		total += number(pos, value, 10);
	return total;
}

/* An event of a VMA, which has not been moved unless pgoff says so. */
static int traced_vma(const char *event, long context, const char *p, size_t size,
		      const char *origin, const char *rest)
{
	return traced("%s: context=%ld vma=%lx-%lx pgoff=%lx%s\n", event, context,
		      (unsigned long)p, (unsigned long)p + size,
		      (unsigned long)origin / psize(), rest);
}

FIXTURE_SETUP(trace)
{
	self->lazy = avl_setup();
	if (mount("tracefs", TRACING, "tracefs", 0, NULL))
		ASSERT_EQ(EBUSY, errno);
	if (mkdir(INSTANCE, 0700))
		ASSERT_EQ(EEXIST, errno);
	ASSERT_EQ(0, avl_write(INSTANCE "buffer_size_kb", "4096"));
	memset(text, 0, sizeof(text));
	self->context = context_of(getpid()).id;
	ASSERT_EQ(self->lazy, self->context != 0);
}

FIXTURE_TEARDOWN(trace)
{
	avl_set_parameter("enabled", self->lazy ? "1" : "0");
	EXPECT_EQ(0, rmdir(INSTANCE));
}

/* The files that tools read: each event, its fields. */
TEST_F(trace, format)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		char path[128], fields[128], *rest = fields, *field;

		snprintf(path, sizeof(path), EVENTS "%s/format", events[i][0]);
		ASSERT_LT(0, avl_read(path, text, sizeof(text))) {
			TH_LOG("no event %s", events[i][0]);
		}
		snprintf(fields, sizeof(fields), "%s", events[i][1]);
		while ((field = strsep(&rest, " "))) {
			char want[64];

			snprintf(want, sizeof(want), " %s;\toffset:", field);
			ASSERT_NE(NULL, strstr(text, want)) {
				TH_LOG("%s has no field %s", events[i][0], field);
			}
		}
		/* None is a pointer. */
		ASSERT_EQ(NULL, strchr(strstr(text, "common_pid"), '*'));
	}
}

/* What the one-liners use is there. */
TEST_F(trace, one_liners)
{
	for (size_t i = 0; i < ARRAY_SIZE(one_liners); i++) {
		const char *fields = NULL, *args = one_liners[i];
		char start[64], field[32];

		for (size_t j = 0; j < ARRAY_SIZE(events); j++) {
			snprintf(start, sizeof(start), "tracepoint:anon_vma_lazy:%s ",
				 events[j][0]);
			if (!strncmp(args, start, strlen(start)))
				fields = events[j][1];
		}
		ASSERT_NE(NULL, fields);
		ASSERT_NE(NULL, strstr(args, "args->"));
		while ((args = strstr(args, "args->"))) {
			args += strlen("args->");
			snprintf(field, sizeof(field), "%.*s",
				 (int)strspn(args, "abcdefghijklmnopqrstuvwxyz"), args);
			ASSERT_NE(NULL, strstr(fields, field));
		}
	}
}

static int nothing(void *arg)
{
	return 0;
}

/* From the first fault to the end, in two processes. */
TEST_F(trace, life)
{
	char *first = avl_map(0, 2), *moved = avl_addr(100);
	const size_t size = 2 * psize();
	struct avl_child child;
	struct context c;
	long forks;

	ASSERT_NE(MAP_FAILED, first);
	ASSERT_EQ(0, start());
	avl_fill(first, size, 1);
	ASSERT_EQ(0, avl_child_start(&child, NULL, nothing, NULL));
	c = context_of(child.pid);
	ASSERT_EQ(moved, mremap(first, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	ASSERT_EQ(0, munmap(moved, size));
	forks = avl_since("forks");
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_EQ(0, stop());

	ASSERT_EQ(avl_since("vmas_lazy_total"), traced("vma_lazy: "));
	ASSERT_EQ(avl_since("vmas_eager_total"), traced("vma_eager: "));
	ASSERT_EQ(avl_since("vmas_detached_total"), traced("detach: "));
	ASSERT_EQ(forks, traced("context_join: "));
	if (!self->lazy) {
		ASSERT_EQ(1, traced_vma("vma_eager", 0, first, size, first, " reason=disabled"));
		ASSERT_EQ(0, traced("context_"));
		return;
	}
	ASSERT_EQ(1, forks);
	ASSERT_EQ(self->context, c.parent);
	ASSERT_LT(c.parent, c.id);
	ASSERT_EQ(1, traced_vma("vma_lazy", self->context, first, size, first, ""));
	ASSERT_EQ(1, traced("context_join: context=%ld parent=%ld\n", c.id, c.parent));
	ASSERT_EQ(1, traced_vma("vma_lazy", c.id, first, size, first, ""));
	/* It was moved away, and back nowhere. */
	ASSERT_EQ(1, traced_vma("displaced", self->context, moved, size, first, ""));
	ASSERT_EQ(1, traced_vma("vma_lazy", self->context, moved, size, first, ""));
	ASSERT_EQ(1, traced_vma("detach", self->context, first, size, first, ""));
	ASSERT_EQ(0, traced_vma("detach", self->context, moved, size, first, ""));
	ASSERT_EQ(1, traced_vma("detach", c.id, first, size, first, ""));
	ASSERT_EQ(1, traced("context_leave: context=%ld freed=1\n", c.id));
}

/* Why VMAs are eager, as the module says and as the kernel does. */
TEST_F(trace, reasons)
{
	const size_t huge = read_pmd_pagesize(), size = psize();
	char *stock = avl_map(0, 1), *beside = avl_addr(1), *big = avl_addr(10 * huge / psize());

	ASSERT_NE(MAP_FAILED, stock);
	ASSERT_EQ(0, write_sysfs(POOL, 2));
	ASSERT_EQ(big, mmap(big, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_HUGETLB | MAP_FIXED_NOREPLACE, -1, 0));
	ASSERT_EQ(0, start());
	avl_fill(big, size, 1);
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	avl_fill(stock, size, 1);
	ASSERT_EQ(beside, mmap(beside, size, PROT_READ | PROT_WRITE | PROT_EXEC,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	ASSERT_EQ(0, avl_set_parameter("enabled", "1"));
	avl_fill(beside, size, 1);
	ASSERT_EQ(0, stop());
	ASSERT_EQ(0, munmap(big, huge));
	ASSERT_EQ(0, write_sysfs(POOL, 0));

	ASSERT_EQ(avl_since("vmas_eager_total"), traced("vma_eager: "));
	ASSERT_EQ(1, traced_vma("vma_eager", self->context, stock, size, stock,
				" reason=disabled"));
	ASSERT_EQ(1, traced_vma("vma_eager", self->context, beside, size, beside,
				" reason=neighbour"));
	ASSERT_EQ(1, traced_vma("vma_eager", self->context, big, huge, big,
				self->lazy ? " reason=flags" : " reason=disabled"));
}

/* A program that is executed gets a context of its own. */
TEST_F(trace, exec)
{
	char who[32], *line;
	long context;
	int status;
	pid_t pid;

	ASSERT_EQ(0, start());
	pid = fork();
	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(EXIT_FAILURE);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(0, stop());
	if (!self->lazy) {
		ASSERT_EQ(0, traced("context_create: "));
		return;
	}
	/* Its name may be that from before or after. */
	ASSERT_EQ(1, traced("context_create: "));
	line = strstr(text, " context_create: ");
	context = number(line, " context=", 10);
	ASSERT_EQ(1, traced("context_create: context=%ld\n", context));
	snprintf(who, sizeof(who), "-%d ", pid);
	while (line > text && *line != '\n')
		line--;
	ASSERT_NE(NULL, strstr(line, who));
	ASSERT_LT(strstr(line, who), strstr(line, "context_create"));
	/* Its stack is shifted, and it is the only process of its family. */
	ASSERT_EQ(1, traced("displaced: context=%ld ", context));
	ASSERT_EQ(1, traced("context_leave: context=%ld freed=1\n", context));
}

/* Processes fork and exit, one after the other: anchors are handed over, then lent. */
TEST_F(trace, chain)
{
	char *page = avl_map(0, 1), byte;
	struct context last;
	int to[2], from[2];
	pid_t pid;

	ASSERT_NE(MAP_FAILED, page);
	avl_fill(page, psize(), 1);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	ASSERT_EQ(0, start());
	if (!fork()) {
		for (int i = 0; i < 12; i++) {
			const pid_t parent = getpid();

			if (fork())
				_exit(0);
			while (getppid() == parent)
				usleep(1000);
		}
		pid = getpid();
		if (write(from[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(EXIT_FAILURE);
		_exit(read(to[0], &byte, 1) != 1);
	}
	ASSERT_EQ(sizeof(pid), read(from[0], &pid, sizeof(pid)));
	for (int i = 0; i < 12; i++)
		ASSERT_LT(0, wait(NULL));
	last = context_of(pid);
	ASSERT_EQ(0, stop());
	ASSERT_EQ(1, write(to[1], "", 1));
	ASSERT_EQ(pid, wait(NULL));

	ASSERT_EQ(avl_since("anchors_borrowed"), traced("borrow: "));
	ASSERT_EQ(avl_since("anchors_donated"), sum("donate", "anchors"));
	if (!self->lazy) {
		ASSERT_EQ(0, traced("donate: ") + traced("borrow: "));
		return;
	}
	ASSERT_LT(0, traced("borrow: "));
	ASSERT_LE(12, traced("donate: "));
	/* It inherits what it borrowed. */
	ASSERT_EQ(last.id, last.holder);
	ASSERT_EQ(1, traced("borrow: context=%ld holder=%ld\n", last.id, last.id - 1));
	ASSERT_EQ(1, traced("context_leave: context=%ld freed=1\n", last.id - 1));
	ASSERT_EQ(1, traced("donate: context=%ld heir=%ld anchors=", last.id - 1, last.id));
}

static int unmap_own(struct avl_tree *t)
{
	return t->id && munmap(avl_addr(0), psize());
}

/* A walk of one process, the first time and again; of a family; of one that unmapped the page. */
TEST_F(trace, walk)
{
	struct avl_tree t = { .depth = 1, .width = 2 };
	static char answer[4096];
	char *page = avl_map(0, 1);
	unsigned long at = (unsigned long)page / psize();

	ASSERT_NE(MAP_FAILED, page);
	avl_fill(page, psize(), 1);
	for (int round = 0; round < 4; round++) {
		const int visits = round < 2 ? 1 : 3, hits = round < 3 ? visits : 1;

		if (round == 2)
			ASSERT_EQ(0, avl_tree_start(&t));
		if (round == 3)
			ASSERT_EQ(0, avl_tree_run(&t, unmap_own));
		ASSERT_EQ(0, start());
		ASSERT_EQ(0, avl_rmap_walk(getpid(), page, answer, sizeof(answer)));
		ASSERT_EQ(0, stop());
		ASSERT_EQ(avl_since("walks"), traced("walk: "));
		ASSERT_EQ(avl_since("walk_contexts"), sum("walk", "visits"));
		ASSERT_EQ(avl_since("walk_vmas"), sum("walk", "hits"));
		if (!self->lazy) {
			ASSERT_EQ(0, traced("walk: "));
			continue;
		}
		ASSERT_LT(0, traced(WALK, self->context, at, at, visits, hits));
	}
	ASSERT_EQ(0, avl_tree_end(&t));
}

/* The kernel steps through a walk itself, for each place of a KSM page. */
TEST_F(trace, ksm)
{
	char *pages = avl_map(0, 2);
	unsigned long at = (unsigned long)pages / psize();
	static char answer[4096];

	ASSERT_NE(MAP_FAILED, pages);
	for (int i = 0; i < 2; i++)
		avl_fill(pages + i * psize(), psize(), 1);
	ASSERT_EQ(0, madvise(pages, 2 * psize(), MADV_MERGEABLE));
	ASSERT_EQ(0, avl_ksm_merge(2));
	ASSERT_EQ(0, start());
	ASSERT_EQ(0, avl_rmap_walk(getpid(), pages, answer, sizeof(answer)));
	ASSERT_EQ(0, stop());
	ASSERT_EQ(0, ksm_stop());

	ASSERT_NE(NULL, strstr(answer, " ksm "));
	ASSERT_EQ(avl_since("walks"), traced("walk: "));
	for (int i = 0; self->lazy && i < 2; i++)
		ASSERT_LT(0, traced(WALK, self->context, at + i, at + i, 1, 1));
}

/* Many children have unmapped a page, and a walk learns so. */
TEST_F(trace, learn)
{
	struct avl_tree t = { .depth = 1, .width = CHILDREN };
	char *page = avl_map(0, 1), event[64], *line;
	long at = (unsigned long)page / psize();
	static char answer[4096];
	struct context c[CHILDREN];

	ASSERT_NE(MAP_FAILED, page);
	avl_fill(page, psize(), 1);
	ASSERT_EQ(0, avl_tree_start(&t));
	ASSERT_EQ(0, avl_tree_run(&t, unmap_own));
	for (int i = 0; i < CHILDREN; i++)
		c[i] = context_of(t.pids[i + 1]);
	ASSERT_EQ(0, start());
	ASSERT_EQ(0, avl_rmap_walk(getpid(), page, answer, sizeof(answer)));
	ASSERT_EQ(0, stop());

	ASSERT_EQ(avl_since("holes_learned"), traced("learn: "));
	ASSERT_EQ(self->lazy ? CHILDREN : 0, traced("learn: "));
	for (int i = 0; self->lazy && i < CHILDREN; i++) {
		snprintf(event, sizeof(event), " learn: context=%ld pgoff=", c[i].id);
		line = strstr(text, event);
		ASSERT_NE(NULL, line);
		ASSERT_LE(number(line, " pgoff=", 16), at);
		ASSERT_LE(at, number(line + strlen(event), "-", 16));
	}
	ASSERT_EQ(0, avl_tree_end(&t));
}

/* Who has it can run what the user guide says. */
TEST_F(trace, bpftrace)
{
	if (system("command -v bpftrace >/dev/null 2>&1"))
		SKIP(return, "no bpftrace here");
	for (size_t i = 0; i < ARRAY_SIZE(one_liners); i++) {
		static char command[512], answer[4096];
		FILE *file;
		size_t len;

		snprintf(command, sizeof(command),
			 "bpftrace -e '%s interval:s:5 { exit(); }' 2>&1", one_liners[i]);
		file = popen(command, "r");
		ASSERT_NE(NULL, file);
		for (int round = 0; round < 40; round++) {
			char *page = avl_map(0, 1);

			avl_set_parameter("enabled", round & 1 ? "1" : "0");
			avl_fill(page, psize(), 1);
			avl_rmap_walk(getpid(), page, answer, sizeof(answer));
			munmap(page, psize());
			usleep(100000);
		}
		len = fread(answer, 1, sizeof(answer) - 1, file);
		answer[len] = '\0';
		ASSERT_EQ(0, pclose(file)) {
			TH_LOG("%s: %s", one_liners[i], answer);
		}
		ASSERT_NE(NULL, strchr(answer, '@')) {
			TH_LOG("%s: %s", one_liners[i], answer);
		}
	}
}

TEST_HARNESS_MAIN
