// SPDX-License-Identifier: GPL-2.0
/* The files in debugfs: who may read them, what they say, what they refuse. */

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "avl_test.h"

#define NR	50

static const struct {
	const char *name;
	unsigned int mode;
} files[] = {
	{ "stats", 0400 }, { "verify", 0400 }, { "rmap_walk", 0600 }, { "contexts", 0400 },
	{ "vmas", 0600 }, { "policy", 0600 }, { "drain", 0600 },
};

/* Who is not root cannot open any of the files. */
static int open_unprivileged(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		char path[128];

		if (setresgid(1, 1, 1) || setresuid(1, 1, 1))
			_exit(1);
		for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
			snprintf(path, sizeof(path), AVL_DEBUGFS "%s", files[i].name);
			if (open(path, O_RDONLY) >= 0 || errno != EACCES)
				_exit(2);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

TEST_F(vmas, permissions)
{
	char path[128];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), AVL_DEBUGFS "%s", files[i].name);
		ASSERT_EQ(0, stat(path, &st));
		ASSERT_EQ(files[i].mode, st.st_mode & 07777);
		ASSERT_EQ(0, st.st_uid);
	}
	ASSERT_EQ(0, open_unprivileged());
}

/* Lines "name value" only, of both files. */
TEST_F(vmas, format)
{
	char path[128], text[4096], *line, *rest, *value, *end;

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), AVL_DEBUGFS "%s", files[i].name);
		ASSERT_LT(0, avl_read(path, text, sizeof(text)));
		rest = text;
		while ((line = strsep(&rest, "\n")) && *line) {
			value = line + strspn(line, "abcdefghijklmnopqrstuvwxyz_");
			ASSERT_LT(line, value);
			ASSERT_EQ(' ', *value);
			value++;
			ASSERT_TRUE(isdigit(*value) || *value == '-');
			strtol(value, &end, 10);
			ASSERT_EQ('\0', *end);
		}
		/* Nothing follows the last newline. */
		ASSERT_NE(NULL, line);
		ASSERT_EQ(NULL, rest);
	}
}

static void check_sums(struct __test_metadata *_metadata)
{
	ASSERT_LE(avl_stat("contexts_dead"), avl_stat("contexts"));
	ASSERT_LE(avl_stat("families"), avl_stat("contexts"));
	ASSERT_LE(avl_stat("families"), avl_stat("anon_vmas"));
	ASSERT_LE(0, avl_stat("vmas_lazy"));
	ASSERT_LE(0, avl_stat("vmas_displaced"));
	ASSERT_LE(avl_stat("vmas_displaced"), avl_stat("vmas_lazy"));
	ASSERT_LE(avl_stat("vmas_lazy"), avl_stat("vmas_lazy_total"));
	ASSERT_EQ(avl_stat("vmas_lazy") - avl_stat("anon_vmas"),
		  avl_stat("anon_vmas_saved"));
	ASSERT_EQ(avl_stat("vmas_lazy") - avl_stat("vmas_displaced"),
		  avl_stat("chains_saved"));
	ASSERT_LE(avl_stat("walk_contexts"), avl_stat("walk_vmas") +
		  avl_stat("walk_contexts"));
}

/* A line of the file "contexts", and of "vmas". */
struct context {
	long id;
	long parent;
	unsigned long anchor;
	long holder;
	long used;
	long spare;
	long natural;
	long displaced;
	long eager;
	long unfaulted;
	char state[8];
	int pid;
	char comm[80];
};

struct vma {
	unsigned long start;
	unsigned long end;
	char flags[8];
	unsigned long pgoff;
	char kind[16];
	char why[16];
};

#define CONTEXTS	1000

static struct context contexts[CONTEXTS];
static char listing[CONTEXTS * 200];

/* All contexts; -1 if a line is malformed. */
static int read_contexts(void)
{
	struct context *c = contexts;

	if (avl_read(AVL_DEBUGFS "contexts", listing, sizeof(listing)) < 0)
		return -1;
	for (char *line = listing; *line; line = strchr(line, '\n') + 1, c++) {
		if (c == contexts + CONTEXTS || !strchr(line, '\n'))
			return -1;
		if (sscanf(line,
			   "context %ld parent %ld anchor %lx holder %ld used %ld spare %ld natural %ld displaced %ld eager %ld unfaulted %ld state %7s pid %d comm %79[^\n]",
			   &c->id, &c->parent, &c->anchor, &c->holder, &c->used, &c->spare,
			   &c->natural, &c->displaced, &c->eager, &c->unfaulted, c->state,
			   &c->pid, c->comm) < 12)
			return -1;
	}
	return c - contexts;
}

static struct context *context_of(pid_t pid)
{
	const int nr = read_contexts();

	for (int i = 0; i < nr; i++)
		if (contexts[i].pid == pid)
			return &contexts[i];
	return NULL;
}

/* The contexts are those that are counted, each parent is listed before its children. */
static void check_contexts(struct __test_metadata *_metadata)
{
	long families = 0, dead = 0, anchors = 0, lazy = 0, displaced = 0;
	const int nr = read_contexts();

	for (int i = 0; i < nr; i++) {
		const struct context *c = &contexts[i];
		bool parent = !c->parent, holder = false;

		ASSERT_TRUE(!strcmp(c->state, "live") || !strcmp(c->state, "dead"));
		if (i)
			ASSERT_LT(contexts[i - 1].id, c->id);
		for (int j = 0; j <= i; j++) {
			parent |= j < i && contexts[j].id == c->parent;
			holder |= contexts[j].id == c->holder;
		}
		ASSERT_TRUE(parent && holder) {
			TH_LOG("%s", listing);
		}
		families += !c->parent;
		dead += !strcmp(c->state, "dead");
		anchors += c->used + c->spare;
		lazy += c->natural + c->displaced;
		displaced += c->displaced;
	}
	ASSERT_EQ(avl_stat("contexts"), nr);
	ASSERT_EQ(avl_stat("contexts_dead"), dead);
	ASSERT_EQ(avl_stat("families"), families);
	ASSERT_EQ(avl_stat("anon_vmas"), anchors);
	ASSERT_EQ(avl_stat("vmas_lazy"), lazy);
	ASSERT_EQ(avl_stat("vmas_displaced"), displaced);
}

static int nothing(void *arg)
{
	return 0;
}

/* Each of the counters counts what it says. */
TEST_F(vmas, stats)
{
	const long size = psize();
	struct avl_child child[2];
	char answer[1024];
	long saved;

	check_sums(_metadata);
	avl_mark();
	for (int i = 0; i < NR; i++) {
		ASSERT_NE(MAP_FAILED, avl_map(2 * i, 1));
		avl_fill(avl_addr(2 * i), size, i);
	}
	ASSERT_LAZY(NR, "vmas_lazy");
	ASSERT_LAZY(NR, "vmas_lazy_total");
	ASSERT_LAZY(NR, "anon_vmas_saved");
	ASSERT_LAZY(NR, "chains_saved");
	ASSERT_EQ(self->lazy ? 0 : NR, avl_since("vmas_eager_total"));
	/* An anon_vma and a chain each: some bytes, always as many. */
	saved = avl_since("bytes_saved");
	ASSERT_EQ(0, saved % NR);
	ASSERT_EQ(self->lazy, saved / NR > 64);

	/* A move, a walk, and an unmap of the same VMA. */
	avl_mark();
	ASSERT_EQ(avl_addr(1000), mremap(avl_addr(0), size, size,
					 MREMAP_MAYMOVE | MREMAP_FIXED,
					 avl_addr(1000)));
	ASSERT_LAZY(1, "vmas_displaced");
	ASSERT_LAZY(-1, "chains_saved");
	ASSERT_EQ(0, avl_rmap_walk(getpid(), avl_addr(1000), answer, sizeof(answer)));
	/* At least one: reclaim may walk at any time. */
	ASSERT_LE(self->lazy, avl_since("walks"));
	ASSERT_LE(self->lazy, avl_since("walk_contexts"));
	ASSERT_LE(self->lazy, avl_since("walk_vmas"));
	/* The move has unmapped the old place. */
	ASSERT_LAZY(1, "vmas_detached_total");
	ASSERT_EQ(0, munmap(avl_addr(1000), size));
	ASSERT_LAZY(0, "vmas_displaced");
	ASSERT_LAZY(1, "vmas_detached_total");
	ASSERT_EQ(0, munmap(avl_addr(2), size));
	ASSERT_LAZY(2, "vmas_detached_total");
	ASSERT_LAZY(-2, "vmas_lazy");

	/* Two children, one after the other; both have the NR - 2 VMAs and others. */
	avl_mark();
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, avl_child_start(&child[i], nothing, NULL, NULL));
	ASSERT_LAZY(2, "forks");
	ASSERT_LAZY(2, "contexts");
	ASSERT_EQ(self->lazy ? 2 : 0,
		  avl_since("anon_vmas") + avl_since("anchors_borrowed"));
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("contexts_dead"));
	ASSERT_LE(self->lazy ? 2 * (NR - 2) : 0, avl_since("vmas_lazy"));
	check_sums(_metadata);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, avl_child_end(&child[i]));
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	check_sums(_metadata);
}

/* A context whose process has ended stays as long as it has two children. */
TEST_F(vmas, dead)
{
	int keep[2], children = 0;
	pid_t pid;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(keep));
	avl_mark();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(keep[1]);
		if (fork() && fork())
			_exit(0);
		/* A child: as long as the test has the other end. */
		_exit(read(keep[0], &pid, 1) != 0);
	}
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_LAZY(1, "contexts_dead");
	ASSERT_LAZY(3, "contexts");
	ASSERT_VERIFIED();
	check_contexts(_metadata);

	close(keep[1]);
	while (waitpid(-1, NULL, 0) > 0)
		children++;
	ASSERT_EQ(2, children);
	ASSERT_EQ(0, avl_since("contexts_dead"));
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_LAZY(1, "anchors_donated");
}

static int alone[2], end[2];

/* Says so when the first thread is a zombie, and stays until it is told. */
static void *last_thread(void *arg)
{
	char stat[512];

	do {
		if (avl_read("/proc/self/stat", stat, sizeof(stat)) < 0)
			_exit(1);
	} while (!strstr(stat, ") Z "));
	_exit(write(alone[1], "", 1) != 1 || read(end[0], stat, 1));
}

/* A process whose first thread has exited has an address space as long as there are others. */
TEST_F(vmas, first_thread_exited)
{
	static struct avl_verify before, verify;
	char answer[1024], byte;
	pthread_t thread;
	int status;
	pid_t pid;

	ASSERT_EQ(avl_addr(0), avl_map(0, 1));
	avl_fill(avl_addr(0), psize(), 1);
	ASSERT_EQ(0, pipe(alone) | pipe(end));
	ASSERT_EQ(0, avl_verify(&before));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(end[1]);
		if (pthread_create(&thread, NULL, last_thread, NULL))
			_exit(1);
		/* pthread_exit() wants a shared library. */
		syscall(__NR_exit, 0);
	}
	close(alone[1]);
	ASSERT_EQ(1, read(alone[0], &byte, 1));

	ASSERT_EQ(0, avl_rmap_walk(pid, avl_addr(0), answer, sizeof(answer))) {
		TH_LOG("%s", answer);
	}
	ASSERT_TRUE(avl_rmap_maps(answer, pid, avl_addr(0))) {
		TH_LOG("%s", answer);
	}
	ASSERT_EQ(0, avl_verify(&verify));
	ASSERT_EQ(before.processes + 1, verify.processes);
	ASSERT_EQ(0, verify.missed);

	close(end[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
}

#define GENERATIONS	100

/* A dead context above each process but the first: they are listed once each. */
TEST_F(vmas, many_dead)
{
	int keep[2], ready[2], children = 0;
	pid_t pid;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(keep));
	ASSERT_EQ(0, pipe(ready));
	avl_mark();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(keep[1]);
		close(ready[0]);
		/* Each leaves a child and goes on as another one. */
		for (int i = 0; i < GENERATIONS; i++) {
			if (!fork())
				break;
			if (fork())
				_exit(0);
		}
		close(ready[1]);
		_exit(read(keep[0], &pid, 1) != 0);
	}
	/* All are there when nobody has the other end. */
	close(ready[1]);
	ASSERT_EQ(0, read(ready[0], &pid, 1));
	while (children < GENERATIONS && waitpid(-1, NULL, 0) > 0)
		children++;
	ASSERT_LAZY(GENERATIONS, "contexts_dead");
	ASSERT_LAZY(2 * GENERATIONS + 1, "contexts");
	check_contexts(_metadata);

	close(keep[1]);
	while (waitpid(-1, NULL, 0) > 0)
		children++;
	ASSERT_EQ(2 * GENERATIONS + 1, children);
	check_contexts(_metadata);
}

/* Writes a question and reads the answer of one open file. */
static int ask_file(int fd, const void *question, size_t len, char *answer,
		    size_t size)
{
	int err = write(fd, question, len) == (ssize_t)len ? 0 : errno;
	ssize_t got = read(fd, answer, size - 1);

	answer[got > 0 ? got : 0] = '\0';
	return err;
}

/* The same for a file of its own. Returns an errno. */
static int ask(const void *question, size_t len, char *answer, size_t size)
{
	int fd = open(AVL_DEBUGFS "rmap_walk", O_RDWR | O_CLOEXEC);
	int err = ask_file(fd, question, len, answer, size);

	close(fd);
	return err;
}

/* A question that is refused, with a line that says why. */
static void refused(struct __test_metadata *_metadata, int error,
		    const char *reason, const char *question, size_t len)
{
	char answer[256];

	ASSERT_EQ(error, ask(question, len, answer, sizeof(answer))) {
		TH_LOG("question \"%.40s\"", question);
	}
	ASSERT_STREQ(reason, answer) {
		TH_LOG("question \"%.40s\"", question);
	}
}

/* Each process has one line, with numbers that stay and a name that cannot break it. */
TEST_F(vmas, contexts)
{
	const long size = psize();
	struct context before, *c;
	struct avl_child child;

	check_contexts(_metadata);
	ASSERT_EQ(0, prctl(PR_SET_NAME, "x\ncontext 1 "));
	c = context_of(getpid());
	ASSERT_EQ(self->lazy, !!c);
	if (!self->lazy)
		return;
	before = *c;
	ASSERT_STREQ("x\\ncontext 1 ", c->comm);
	ASSERT_STREQ("live", c->state);
	ASSERT_EQ(c->id, c->holder);
	ASSERT_LE(1, c->used);

	for (int i = 0; i < NR; i++) {
		ASSERT_NE(MAP_FAILED, avl_map(2 * i, 1));
		if (i)
			avl_fill(avl_addr(2 * i), size, i);
	}
	ASSERT_EQ(avl_addr(1000), mremap(avl_addr(2), size, size,
					 MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(1000)));
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_NE(MAP_FAILED, avl_map(2000, 1));
	avl_fill(avl_addr(2000), size, 1);
	ASSERT_EQ(0, avl_set_parameter("enabled", "1"));
	c = context_of(getpid());
	ASSERT_NE(NULL, c);
	ASSERT_EQ(before.id, c->id);
	ASSERT_EQ(before.parent, c->parent);
	ASSERT_EQ(before.anchor, c->anchor);
	ASSERT_EQ(before.natural + NR - 2, c->natural);
	ASSERT_EQ(before.displaced + 1, c->displaced);
	ASSERT_EQ(before.eager + 1, c->eager);
	ASSERT_EQ(before.unfaulted + 1, c->unfaulted);
	before = *c;

	ASSERT_EQ(0, avl_child_start(&child, nothing, NULL, NULL));
	c = context_of(child.pid);
	ASSERT_NE(NULL, c);
	ASSERT_EQ(before.id, c->parent);
	ASSERT_LT(before.id, c->id);
	ASSERT_EQ(before.displaced, c->displaced);
	ASSERT_NE(before.anchor, c->anchor);
	check_contexts(_metadata);
	ASSERT_EQ(0, avl_child_end(&child));
	ASSERT_EQ(NULL, context_of(child.pid));
	check_contexts(_metadata);
}

/* Writes a question to a file and reads the answer. Returns an errno. */
static int ask_vmas(const char *question, char *answer, size_t size)
{
	int fd = open(AVL_DEBUGFS "vmas", O_RDWR | O_CLOEXEC);
	int err = write(fd, question, strlen(question)) < 0 ? errno : 0;
	ssize_t len = 0, got;

	while ((got = read(fd, answer + len, size - 1 - len)) > 0)
		len += got;
	answer[len] = '\0';
	close(fd);
	return err;
}

static bool parse_vma(const char *line, struct vma *vma)
{
	return sscanf(line, "vma %lx-%lx flags %7s pgoff %lx kind %15s why %15s", &vma->start,
		      &vma->end, vma->flags, &vma->pgoff, vma->kind, vma->why) == 6;
}

/* The VMA at an address, or NULL. */
static const struct vma *vma_at(pid_t pid, const void *p)
{
	static struct vma vma;
	char question[16];

	snprintf(question, sizeof(question), "%d\n", pid);
	if (ask_vmas(question, listing, sizeof(listing)))
		return NULL;
	for (char *line = listing; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (parse_vma(line, &vma) && vma.start == (unsigned long)p)
			return &vma;
	return NULL;
}

static void is_vma(struct __test_metadata *_metadata, pid_t pid, const void *p,
		   const char *kind, const char *why)
{
	const struct vma *vma = vma_at(pid, p);

	ASSERT_NE(NULL, vma) {
		TH_LOG("no VMA at %p:\n%s", p, listing);
	}
	ASSERT_STREQ(kind, vma->kind);
	ASSERT_STREQ(why, vma->why);
}

/* Every kind, and every reason to be eager. */
TEST_F(vmas, kinds)
{
	const unsigned long size = psize(), huge = read_pmd_pagesize();
	const char *first = self->lazy ? "natural" : "eager";
	const char *stock = self->lazy ? "-" : "stock";
	struct avl_child child;
	void *large;

	/* 0: unfaulted, 2: natural, 1000: moved when faulted. */
	for (int i = 0; i < 6; i += 2)
		ASSERT_NE(MAP_FAILED, avl_map(i, 1));
	avl_fill(avl_addr(2), size, 1);
	avl_fill(avl_addr(4), size, 1);
	ASSERT_EQ(avl_addr(1000), mremap(avl_addr(4), size, size,
					 MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(1000)));
	is_vma(_metadata, getpid(), avl_addr(0), "unfaulted", "-");
	is_vma(_metadata, getpid(), avl_addr(2), first, stock);
	is_vma(_metadata, getpid(), avl_addr(1000), self->lazy ? "displaced" : "eager",
	       self->lazy ? "-" : "moved");
	ASSERT_EQ((unsigned long)avl_addr(4) / size, vma_at(getpid(), avl_addr(1000))->pgoff);
	ASSERT_STREQ("rw--", vma_at(getpid(), avl_addr(1000))->flags);

	/* 2000: faulted when disabled, 2010: moved then, 2020 and 2021: split then. */
	ASSERT_EQ(0, avl_set_parameter("enabled", "0"));
	ASSERT_NE(MAP_FAILED, avl_map(2000, 1));
	ASSERT_NE(MAP_FAILED, avl_map(2008, 1));
	ASSERT_NE(MAP_FAILED, avl_map(2020, 2));
	avl_fill(avl_addr(2000), size, 1);
	avl_fill(avl_addr(2008), size, 1);
	avl_fill(avl_addr(2020), 2 * size, 1);
	ASSERT_EQ(0, avl_set_parameter("enabled", self->lazy ? "1" : "0"));
	ASSERT_EQ(avl_addr(2010), mremap(avl_addr(2008), size, size,
					 MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(2010)));
	ASSERT_EQ(0, mprotect(avl_addr(2021), size, PROT_READ));
	is_vma(_metadata, getpid(), avl_addr(2000), "eager", "stock");
	is_vma(_metadata, getpid(), avl_addr(2010), "eager", "moved");
	is_vma(_metadata, getpid(), avl_addr(2020), "eager", "neighbour");
	is_vma(_metadata, getpid(), avl_addr(2021), "eager", "neighbour");
	ASSERT_STREQ("r---", vma_at(getpid(), avl_addr(2021))->flags);

	/* In a child: what was eager is, what was lazy is. */
	ASSERT_EQ(0, avl_child_start(&child, nothing, NULL, NULL));
	is_vma(_metadata, child.pid, avl_addr(0), "unfaulted", "-");
	is_vma(_metadata, child.pid, avl_addr(2), first, self->lazy ? "-" : "forked");
	is_vma(_metadata, child.pid, avl_addr(2000), "eager", "forked");
	ASSERT_EQ(0, avl_child_end(&child));

	ASSERT_EQ(0, avl_write("/proc/sys/vm/nr_hugepages", "2"));
	large = mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, large);
	*(char *)large = 1;
	is_vma(_metadata, getpid(), large, "eager", "hugetlb");
	ASSERT_EQ(0, munmap(large, huge));
	ASSERT_EQ(0, avl_write("/proc/sys/vm/nr_hugepages", "0"));
}

/* The VMAs are those of /proc/PID/maps, and the sums are right. */
TEST_F(vmas, all_vmas)
{
	long number, natural, displaced, eager, unfaulted, sums[4] = {}, context, lines = 0;
	static const char * const kinds[] = { "natural", "displaced", "eager", "unfaulted" };
	char question[16], *maps, *next, *line = listing;
	const struct context *c;
	int pid, n = 0;

	/* Not the buffer of stdio, which would be one VMA more. */
	maps = avl_map(0, 64);
	ASSERT_NE(MAP_FAILED, maps);
	memset(maps, 1, 64 * psize());
	c = context_of(getpid());
	context = c ? c->id : 0;
	snprintf(question, sizeof(question), "%d", getpid());
	ASSERT_LT(0, avl_read("/proc/self/maps", maps, 64 * psize()));
	ASSERT_EQ(0, ask_vmas(question, listing, sizeof(listing)));

	ASSERT_TRUE(sscanf(line, "process %d context %ld comm debugfs\n%n", &pid, &natural,
			   &n) == 2 && n);
	ASSERT_EQ(getpid(), pid);
	ASSERT_EQ(context, natural);
	for (line += n; !strncmp(line, "vma ", 4); line = strchr(line, '\n') + 1, lines++) {
		unsigned long start, end;
		struct vma vma;
		char flags[5];

		ASSERT_TRUE(parse_vma(line, &vma));
		ASSERT_TRUE(sscanf(maps, "%lx-%lx %4s", &start, &end, flags) == 3);
		ASSERT_EQ(start, vma.start);
		ASSERT_EQ(end, vma.end);
		flags[3] = flags[3] == 's' ? 's' : '-';
		ASSERT_STREQ(flags, vma.flags);
		for (int i = 0; i < 4; i++)
			sums[i] += !strcmp(vma.kind, kinds[i]);
		ASSERT_EQ(!strcmp(vma.kind, "eager"), !!strcmp(vma.why, "-"));
		next = strchr(maps, '\n');
		ASSERT_NE(NULL, next);
		maps = next + 1;
	}
	/* Only what belongs to no process is left. */
	ASSERT_TRUE(!*maps || strstr(maps, "[vsyscall]")) {
		TH_LOG("%s", maps);
	}
	n = 0;
	ASSERT_TRUE(sscanf(line, "vmas %ld natural %ld displaced %ld eager %ld unfaulted %ld\n%n",
			   &number, &natural, &displaced, &eager, &unfaulted, &n) == 5 && n);
	ASSERT_EQ('\0', line[n]);
	ASSERT_EQ(lines, number);
	ASSERT_EQ(sums[0], natural);
	ASSERT_EQ(sums[1], displaced);
	ASSERT_EQ(sums[2], eager);
	ASSERT_EQ(sums[3], unfaulted);
	if (self->lazy) {
		c = context_of(getpid());
		ASSERT_NE(NULL, c);
		ASSERT_EQ(natural, c->natural);
		ASSERT_EQ(eager, c->eager);
		ASSERT_EQ(unfaulted, c->unfaulted);
	}
}

TEST_F(vmas, no_vmas)
{
	static const char * const bad[] = {
		"", "\n", "x", "1 1", "pfn 1", "99999999999", "1:", "0x1",
	};
	const int dead[] = { 2 /* kthreadd */, 4194305 /* more than there can be */, -1, 0 };
	char question[16], reason[128];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(EINVAL, ask_vmas(bad[i], listing, sizeof(listing)));
		ASSERT_STREQ("error: write \"PID\"\n", listing);
	}
	for (size_t i = 0; i < ARRAY_SIZE(dead); i++) {
		snprintf(question, sizeof(question), "%d", dead[i]);
		snprintf(reason, sizeof(reason),
			 "error: no process %d with an address space\n", dead[i]);
		ASSERT_EQ(ESRCH, ask_vmas(question, listing, sizeof(listing)));
		ASSERT_STREQ(reason, listing);
	}
}

#define BAD_QUESTION	"error: write \"PID ADDRESS\" or \"pfn N\"\n"
#define NO_PAGE		"error: no anonymous page at this address\n"
#define NO_PFN		"error: no page in use with this number\n"

TEST_F(vmas, bad_questions)
{
	static const char * const bad[] = {
		"", "\n", "x", "1", "1\n", "1 x", "x 1", "1 2 3", "1  2,", "pfn",
		"pfn x", "pfn 1 2", "PFN 1", "pfn -1", "1 -1", "0x1 1", "1 0x",
		"99999999999 1", "1 99999999999999999999", "1:2",
	};
	static char large[1 << 20];
	char answer[256];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(_metadata, EINVAL, BAD_QUESTION, bad[i], strlen(bad[i]));
	/* With NULs, one of them at the end. */
	refused(_metadata, EINVAL, BAD_QUESTION, "pfn\0001", 5);
	refused(_metadata, EINVAL, BAD_QUESTION, "1 1", 4);
	/* Too long. */
	memset(large, ' ', sizeof(large));
	memcpy(large, "pfn 1", 5);
	refused(_metadata, EINVAL, BAD_QUESTION, large, 64);
	refused(_metadata, EINVAL, BAD_QUESTION, large, 4096);
	refused(_metadata, EINVAL, BAD_QUESTION, large, sizeof(large));

	/* No memory to read from; nothing is asked, so there is no answer. */
	fd = open(AVL_DEBUGFS "rmap_walk", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(EFAULT, ask_file(fd, avl_addr(0), 5, answer, sizeof(answer)));
	ASSERT_STREQ("", answer);
	/* So it can still be asked. */
	ASSERT_EQ(EINVAL, ask_file(fd, "x", 1, answer, sizeof(answer)));
	ASSERT_EQ(0, strncmp(answer, "error: ", 7));
	ASSERT_EQ(0, close(fd));
}

/* A process that has ended has no address space, waited for or not. */
TEST_F(vmas, dead_process)
{
	char question[64], reason[128], answer[256];
	siginfo_t info;
	pid_t pids[] = { 0, 2 /* kthreadd */, 4194305 /* more than there can be */, -1 };

	pids[0] = fork();
	ASSERT_LE(0, pids[0]);
	if (!pids[0])
		_exit(0);
	ASSERT_EQ(0, waitid(P_PID, pids[0], &info, WEXITED | WNOWAIT));
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		snprintf(question, sizeof(question), "%d %#lx", pids[i], AVL_BASE);
		snprintf(reason, sizeof(reason),
			 "error: no process %d with an address space\n", pids[i]);
		ASSERT_EQ(ESRCH, ask(question, strlen(question), answer,
				     sizeof(answer)));
		ASSERT_STREQ(reason, answer);
	}
	ASSERT_EQ(pids[0], waitpid(pids[0], NULL, 0));
	snprintf(question, sizeof(question), "%d 0", pids[0]);
	ASSERT_EQ(ESRCH, ask(question, strlen(question), answer, sizeof(answer)));
}

/* Addresses without an anonymous page: nothing, the zero page, files, the kernel's. */
TEST_F(vmas, no_page)
{
	char *unfaulted = avl_map(0, 1), *zero = avl_map(2, 1), *shared, *file;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char question[64];

	ASSERT_NE(MAP_FAILED, unfaulted);
	FORCE_READ(*zero);
	shared = mmap(NULL, psize(), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	*shared = 1;
	file = mmap(NULL, psize(), PROT_READ, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	FORCE_READ(*file);

	const unsigned long addresses[] = {
		0, 1, (unsigned long)avl_addr(1), (unsigned long)unfaulted,
		(unsigned long)zero, (unsigned long)shared, (unsigned long)file,
		1UL << 47, 1UL << 63, -(unsigned long)psize(), -1UL,
	};

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		snprintf(question, sizeof(question), "%d %#lx", getpid(), addresses[i]);
		refused(_metadata, EFAULT, NO_PAGE, question, strlen(question));
	}
}

TEST_F(vmas, pfn)
{
	char question[64], answer[1024], *page = avl_map(0, 1), *shared;

	ASSERT_NE(MAP_FAILED, page);
	avl_fill(page, psize(), 1);
	snprintf(question, sizeof(question), " pfn\t%#lx\n", avl_pfn(page));
	ASSERT_EQ(0, ask(question, strlen(question), answer, sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), page));

	shared = mmap(NULL, psize(), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	*shared = 1;
	snprintf(question, sizeof(question), "pfn %lu", avl_pfn(shared));
	refused(_metadata, EINVAL, "error: not an anonymous page\n", question,
		strlen(question));

	refused(_metadata, ENXIO, NO_PFN, "pfn 0xfffffffffffff", 19);
	refused(_metadata, ENXIO, NO_PFN, "pfn 0xffffffffffffffff", 22);
}

/* Whatever there is in the memory of this machine, there is an answer. */
TEST_F(vmas, any_pfn)
{
	const unsigned long last = 1UL << 20, step = 509;
	char question[64], answer[256];
	int described = 0, refused = 0;

	ASSERT_NE(MAP_FAILED, avl_map(0, 1));
	avl_fill(avl_addr(0), psize(), 1);
	/* One of them is ours. */
	for (unsigned long pfn = avl_pfn(avl_addr(0)) % step; pfn < last; pfn += step) {
		snprintf(question, sizeof(question), "pfn %lu", pfn);
		if (!ask(question, strlen(question), answer, sizeof(answer))) {
			ASSERT_EQ(0, strncmp(answer, "folio ", 6));
			described++;
		} else {
			ASSERT_EQ(0, strncmp(answer, "error: ", 7));
			refused++;
		}
	}
	ASSERT_LT(0, described);
	ASSERT_LT(0, refused);
}

/* Each open file has one answer, read in one go or bytewise, that stays. */
TEST_F(vmas, per_file)
{
	char question[64], answer[2][1024], again[1024];
	int fd[2];

	for (int i = 0; i < 2; i++) {
		ASSERT_NE(MAP_FAILED, avl_map(2 * i, 1));
		avl_fill(avl_addr(2 * i), psize(), 1);
		fd[i] = open(AVL_DEBUGFS "rmap_walk", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, read(fd[i], answer, 1));
	}
	for (int i = 0; i < 2; i++) {
		snprintf(question, sizeof(question), "%d %p", getpid(), avl_addr(2 * i));
		ASSERT_EQ(strlen(question), write(fd[i], question, strlen(question)));
	}
	ASSERT_EQ(0, munmap(avl_addr(0), psize()));
	for (int i = 1; i >= 0; i--) {
		ssize_t len = read(fd[i], answer[i], sizeof(answer[i]) - 1);

		ASSERT_LT(0, len);
		answer[i][len] = '\0';
		ASSERT_EQ(0, read(fd[i], again, 1));
		ASSERT_TRUE(avl_rmap_maps(answer[i], getpid(), avl_addr(2 * i)));
		ASSERT_FALSE(avl_rmap_maps(answer[i], getpid(), avl_addr(2 - 2 * i)));

		ASSERT_EQ(0, lseek(fd[i], 0, SEEK_SET));
		for (ssize_t at = 0; at < len; at++)
			ASSERT_EQ(1, read(fd[i], again + at, 1));
		ASSERT_EQ(0, memcmp(again, answer[i], len));

		/* It is not asked twice. */
		errno = 0;
		ASSERT_EQ(-1, write(fd[i], "1 1", 3));
		ASSERT_EQ(EBUSY, errno);
		ASSERT_EQ(len, pread(fd[i], again, sizeof(again), 0));
		ASSERT_EQ(0, memcmp(again, answer[i], len));
		ASSERT_EQ(0, close(fd[i]));
	}
}

#define CHILDREN	100

/* No mapping is left out, however many there are. */
TEST_F(vmas, many)
{
	static char answer[65536], expected[128];
	struct avl_child child[CHILDREN];
	char *page = avl_map(0, 1), *last;

	ASSERT_NE(MAP_FAILED, page);
	avl_fill(page, psize(), 1);
	for (int i = 0; i < CHILDREN; i++)
		ASSERT_EQ(0, avl_child_start(&child[i], NULL, NULL, NULL));

	for (int i = -1; i < CHILDREN; i += 20) {
		const pid_t pid = i < 0 ? getpid() : child[i].pid;

		ASSERT_EQ(0, avl_rmap_walk(pid, page, answer, sizeof(answer)));
		ASSERT_LT(4096, strlen(answer));
		snprintf(expected, sizeof(expected),
			 "folio anon order 0 index %#lx anchor %s mapcount %d\n",
			 (unsigned long)page / psize(),
			 self->lazy ? "lazy" : "eager", CHILDREN + 1);
		ASSERT_EQ(0, strncmp(answer, expected, strlen(expected)));
		ASSERT_TRUE(avl_rmap_maps(answer, getpid(), page));
		for (int j = 0; j < CHILDREN; j++)
			ASSERT_TRUE(avl_rmap_maps(answer, child[j].pid, page));
		snprintf(expected, sizeof(expected), "\nmappings %d visits ",
			 CHILDREN + 1);
		last = strstr(answer, "\nmappings ");
		ASSERT_NE(NULL, last);
		ASSERT_EQ(0, strncmp(last, expected, strlen(expected)));
	}
	for (int i = 0; i < CHILDREN; i++)
		ASSERT_EQ(0, avl_child_end(&child[i]));
}

/* Asked for any page of a large folio, also when its first ones are gone. */
TEST_F(vmas, large)
{
	const unsigned long size = read_pmd_pagesize();
	char answer[1024], expected[32], *p, *place;

	ASSERT_LT(0, size);
	snprintf(expected, sizeof(expected), "folio anon order %d ",
		 __builtin_ctzl(size / psize()));
	p = mmap(avl_addr(0), 2 * size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ(avl_addr(0), p);
	ASSERT_EQ(0, madvise(p, size, MADV_HUGEPAGE));
	*p = 1;
	ASSERT_EQ(0, avl_rmap_walk(getpid(), p + size / 2, answer, sizeof(answer)));
	ASSERT_EQ(0, strncmp(answer, expected, strlen(expected))) {
		TH_LOG("%s", answer);
	}
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), p));

	ASSERT_EQ(0, madvise(p, 3 * psize(), MADV_DONTNEED));
	place = p + 3 * psize();
	ASSERT_EQ(0, avl_rmap_walk(getpid(), p + size / 2, answer, sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, getpid(), place)) {
		TH_LOG("%s", answer);
	}
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
