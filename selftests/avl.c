// SPDX-License-Identifier: GPL-2.0
/* What the tests share: the module's files, memory contents, children. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "avl.h"

/*
 * Reads a file as a string. No stdio: its buffers are anonymous memory, whose
 * first fault would be counted. Returns the length or -errno.
 */
int avl_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;
	size_t len = 0;

	if (fd < 0)
		return -errno;
	while (got > 0 && len < size - 1) {
		got = read(fd, buf + len, size - 1 - len);
		if (got > 0)
			len += got;
	}
	if (got < 0)
		got = -errno;
	close(fd);
	buf[len] = '\0';
	return got < 0 ? got : (int)len;
}

/* Writes a string in one go. Returns 0 or -errno. */
int avl_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int parameter_path(char *path, size_t size, const char *name)
{
	return snprintf(path, size, AVL_PARAMETERS "%s", name);
}

/* For tests that start without the module. Returns 0 or an errno. */
int avl_load(const char *parameters)
{
	int fd = open("/anon_vma_lazy.ko", O_RDONLY | O_CLOEXEC);
	int err = syscall(__NR_finit_module, fd, parameters, 0) ? errno : 0;

	close(fd);
	return err;
}

/* Likewise; EWOULDBLOCK is what a module in use gives. */
int avl_unload(void)
{
	return syscall(__NR_delete_module, "anon_vma_lazy", O_NONBLOCK) ? errno : 0;
}

/* Do new VMAs become lazy? */
bool avl_enabled(void)
{
	char path[128], buf[8];

	parameter_path(path, sizeof(path), "enabled");
	if (avl_read(path, buf, sizeof(buf)) <= 0)
		ksft_exit_skip("no %s: load anon_vma_lazy.ko first\n", path);
	return buf[0] == 'Y';
}

int avl_set_parameter(const char *name, const char *value)
{
	char path[128];

	parameter_path(path, sizeof(path), name);
	return avl_write(path, value);
}

/* The value of a line "name value" of a text, LONG_MIN if there is none. */
static long value_of(const char *text, const char *name)
{
	size_t len = strlen(name);

	while (text) {
		if (!strncmp(text, name, len) && text[len] == ' ')
			return strtol(text + len, NULL, 10);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return LONG_MIN;
}

static long stat_of(const char *text, const char *name)
{
	const long value = value_of(text, name);

	if (value == LONG_MIN)
		ksft_exit_fail_msg("stats: no line \"%s\"\n", name);
	return value;
}

static void read_stats(char *buf, size_t size)
{
	const int err = avl_read(AVL_DEBUGFS "stats", buf, size);

	if (err < 0)
		ksft_exit_fail_msg("stats: %s\n", strerror(-err));
}

/* A value of the file "stats"; a wrong name ends the program. */
long avl_stat(const char *name)
{
	char buf[2048];

	read_stats(buf, sizeof(buf));
	return stat_of(buf, name);
}

static char marked[2048];

/* Remembers the statistics for avl_since(). */
void avl_mark(void)
{
	read_stats(marked, sizeof(marked));
}

/* By how much a value of the file "stats" has changed since avl_mark(). */
long avl_since(const char *name)
{
	return avl_stat(name) - stat_of(marked, name);
}

/* Objects of a slab cache in use, about: /proc/slabinfo is not exact. */
long avl_slab(const char *name)
{
	static char buf[65536];

	if (avl_read("/proc/slabinfo", buf, sizeof(buf)) < 0)
		ksft_exit_fail_msg("cannot read /proc/slabinfo\n");
	return value_of(buf, name);
}

/* A value of /proc/vmstat; a wrong name ends the program. */
long avl_vmstat(const char *name)
{
	static char buf[16384];
	long value = LONG_MIN;

	if (avl_read("/proc/vmstat", buf, sizeof(buf)) > 0)
		value = value_of(buf, name);
	if (value == LONG_MIN)
		ksft_exit_fail_msg("/proc/vmstat: no line \"%s\"\n", name);
	return value;
}

/* Lets the module check all processes. Returns 0 or -errno. */
int avl_verify(struct avl_verify *v)
{
	const struct {
		const char *name;
		long *value;
	} fields[] = {
		{ "processes", &v->processes }, { "present", &v->present },
		{ "ksm", &v->ksm }, { "migration", &v->migration },
		{ "swap", &v->swap }, { "unchecked", &v->unchecked },
		{ "hwpoison", &v->hwpoison },
		{ "missed", &v->missed }, { "ksm_missed", &v->ksm_missed },
		{ "surplus", &v->surplus },
	};
	int err = avl_read(AVL_DEBUGFS "verify", v->text, sizeof(v->text));

	if (err < 0)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		*fields[i].value = value_of(v->text, fields[i].name);
		if (*fields[i].value < 0)
			return -EPROTO;
	}
	return 0;
}

/*
 * What every test starts with: is it run with lazy VMAs? What looks at the
 * statistics touch has had its first fault afterwards, and they are marked.
 */
bool avl_setup(void)
{
	avl_slab("anon_vma");
	avl_vmas(NULL, 0);
	avl_mark();
	return avl_enabled();
}

/*
 * Asks which mappings an rmap walk of a page finds. Returns 0 or -errno of the
 * question; the answer is read back in both cases.
 */
int avl_rmap_walk(pid_t pid, const void *addr, char *buf, size_t size)
{
	int fd = open(AVL_DEBUGFS "rmap_walk", O_RDWR | O_CLOEXEC);
	char question[64];
	ssize_t len;
	int err = 0;

	if (fd < 0)
		return -errno;
	snprintf(question, sizeof(question), "%d %p", pid, addr);
	if (write(fd, question, strlen(question)) < 0)
		err = -errno;
	len = read(fd, buf, size - 1);
	buf[len > 0 ? len : 0] = '\0';
	close(fd);
	return err;
}

/*
 * Does an answer of avl_rmap_walk() say that a process has an entry for the
 * page there, in this state?
 */
bool avl_rmap_shows(const char *buf, pid_t pid, const void *addr,
		    const char *state)
{
	char start[32], place[64];

	snprintf(start, sizeof(start), "pid %d ", pid);
	snprintf(place, sizeof(place), " address %lx state %s\n",
		 (unsigned long)addr, state);
	for (; buf; buf = strchr(buf, '\n'), buf = buf ? buf + 1 : NULL) {
		const char *end = strchr(buf, '\n');
		const char *hit = strstr(buf, place);

		if (!strncmp(buf, start, strlen(start)) && hit && hit < end)
			return true;
	}
	return false;
}

/* Likewise, does it map the page? */
bool avl_rmap_maps(const char *buf, pid_t pid, const void *addr)
{
	return avl_rmap_shows(buf, pid, addr, "present");
}

/* The address of a page of the area for avl_map(). */
void *avl_addr(unsigned long page)
{
	return (void *)(AVL_BASE + page * psize());
}

/* Maps anonymous memory at a page of the area; MAP_FAILED if it is in use. */
void *avl_map(unsigned long page, unsigned long pages)
{
	return mmap(avl_addr(page), pages * psize(), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

/*
 * Takes what memory may be committed, but for a little, in a VMA behind all others
 * of the tests, where a fork fails then. How much that is takes trying: an exec that
 * failed leaves the kernel's count of what is committed too low, on stock too.
 * -errno on failure.
 */
int avl_commit_all(void)
{
	const unsigned long first = 1UL << 20, spare = 64UL << 20;
	unsigned long page = first;
	int err;

	err = avl_write("/proc/sys/vm/overcommit_kbytes", "1") ?:
	      avl_write("/proc/sys/vm/overcommit_memory", "2");
	if (err)
		return err;
	for (unsigned long size = 1UL << 40; size >= spare; size /= 2) {
		while (avl_map(page, size / psize()) != MAP_FAILED)
			page += size / psize();
	}
	/* What is left has to be more than is spared. */
	if ((page - first) * psize() < 4 * spare)
		return -ENOMEM;
	return munmap(avl_addr(page - spare / psize()), spare) ? -errno : 0;
}

/* As it was. */
void avl_commit_default(void)
{
	avl_write("/proc/sys/vm/overcommit_memory", "0");
	avl_write("/proc/sys/vm/overcommit_ratio", "50");
}

/* VMAs in a range of this process, -errno on failure. */
int avl_vmas(const void *p, size_t size)
{
	const unsigned long first = (unsigned long)p, end = first + size;
	unsigned long vma_start, vma_end;
	static char buf[65536];
	const char *line = buf;
	int count = 0;
	int err = avl_read("/proc/self/maps", buf, sizeof(buf));

	if (err < 0)
		return err;
	while (line && sscanf(line, "%lx-%lx", &vma_start, &vma_end) == 2) {
		if (vma_start < end && vma_end > first)
			count++;
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return count;
}

/* Pages of a range of this process that are swapped out. */
int avl_swapped(const void *p, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int count = 0;

	/* pagemap_is_swapped() asks twice, but pages may be on their way. */
	for (size_t i = 0; i < size; i += psize())
		count += !!(pagemap_get_entry(fd, (char *)p + i) & PM_SWAP);
	close(fd);
	return count;
}

/* NUMA nodes, assumed to be numbered without gaps. */
int avl_nodes(void)
{
	char path[64];
	int node = 0;

	do {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d",
			 node);
	} while (!access(path, F_OK) && ++node);
	return node;
}

/*
 * Moves the pages of a range, and all who map them, to a node. Returns how many
 * are there now, or -errno.
 */
int avl_move(pid_t pid, const void *p, size_t size, int node)
{
	const unsigned long nr = size / psize();
	int nodes[nr], status[nr], moved = 0;
	void *pages[nr];

	for (unsigned long i = 0; i < nr; i++) {
		pages[i] = (char *)p + i * psize();
		nodes[i] = node;
		status[i] = -1;
	}
	if (syscall(__NR_move_pages, pid, nr, pages, nodes, status,
		    MPOL_MF_MOVE_ALL) < 0)
		return -errno;
	/* Those that were there already have a status too. */
	for (unsigned long i = 0; i < nr; i++)
		moved += status[i] == node;
	return moved;
}

/* The number of the page frame of a page of this process. */
unsigned long avl_pfn(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long pfn = pagemap_get_pfn(fd, (char *)p);

	close(fd);
	return pfn;
}

/* Puts new pages on the LRU lists: where they are not, who looks misses them. */
int avl_drain(void)
{
	return avl_write("/proc/sys/vm/drop_caches", "1");
}

/*
 * Lets KSM merge pages until so many mappings of KSM pages are there. Then it is
 * paused: ksmd forgets a page for a moment when it looks at it.
 */
int avl_ksm_merge(long pages)
{
	static struct avl_verify verify;
	int err = avl_write("/sys/kernel/mm/ksm/sleep_millisecs", "0");

	do {
		err = err ?: ksm_start();
		err = err ?: avl_write("/sys/kernel/mm/ksm/run", "0");
		err = err ?: avl_verify(&verify);
	} while (!err && verify.ksm < pages);
	return err;
}

#define CGROUP		"/sys/fs/cgroup/"
#define MEMCG		CGROUP "anon_vma_lazy/"

static int enter_cgroup(const char *procs)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return avl_write(procs, pid);
}

/*
 * Moves this process to a memory cgroup of its own. What it and its children
 * fault from now on avl_memcg_reclaim() can reclaim.
 */
int avl_memcg_enter(void)
{
	int err = avl_write(CGROUP "cgroup.subtree_control", "+memory");

	if (err)
		return err;
	if (mkdir(MEMCG, 0700) && errno != EEXIST)
		return -errno;
	return enter_cgroup(MEMCG "cgroup.procs");
}

/* Swaps out some anonymous pages of the cgroup, shared ones as well. */
int avl_memcg_reclaim(void)
{
	int err = avl_write(MEMCG "memory.reclaim", "1M swappiness=max");

	/* So much there may not be. */
	return err == -EAGAIN ? 0 : err;
}

/* Undoes avl_memcg_enter(). */
void avl_memcg_leave(void)
{
	enter_cgroup(CGROUP "cgroup.procs");
	rmdir(MEMCG);
}

/* The words of a page: all different, and other ones for each seed. */
static unsigned long word(unsigned long seed, unsigned long i)
{
	return (seed * 4096 + i) * 0x9e3779b97f4a7c15UL;
}

/* Fills pages: the first with what seed says, the next with seed + 1, ... */
void avl_fill(void *p, size_t size, unsigned long seed)
{
	const size_t words = psize() / sizeof(unsigned long);
	unsigned long *to = p;

	for (size_t i = 0; i < size / sizeof(*to); i++)
		to[i] = word(seed + i / words, i % words);
}

/* Does memory hold what avl_fill() wrote? */
bool avl_check(const void *p, size_t size, unsigned long seed)
{
	const size_t words = psize() / sizeof(unsigned long);
	const unsigned long *from = p;

	for (size_t i = 0; i < size / sizeof(*from); i++)
		if (from[i] != word(seed + i / words, i % words))
			return false;
	return true;
}

/* What a child is told to do: nothing more if run is NULL. */
struct order {
	int (*run)(void *arg, void *fn);
	void *fn;
};

static int send_order(struct avl_child *c, int (*run)(void *arg, void *fn),
		      void *fn)
{
	struct order order = { run, fn };
	int result;

	if (write(c->to, &order, sizeof(order)) != sizeof(order) ||
	    read(c->from, &result, sizeof(result)) != sizeof(result))
		return -EPIPE;
	return result;
}

static void child(int from, int to, int (*before)(void *arg),
		  int (*after)(void *arg), void *arg)
{
	int result = before ? before(arg) : 0;
	struct order order;

	while (write(to, &result, sizeof(result)) == sizeof(result) &&
	       read(from, &order, sizeof(order)) == sizeof(order)) {
		if (!order.run)
			_exit(after ? after(arg) : 0);
		result = order.run(arg, order.fn);
	}
	_exit(EXIT_FAILURE);
}

/*
 * Forks a child that calls before(arg), then does as avl_child_run() says, and
 * calls after(arg) last. Functions return 0 if all is well; NULL ones are not
 * called. Returns what before() did, or -errno. Children may have children.
 */
int avl_child_start(struct avl_child *c, int (*before)(void *arg),
		    int (*after)(void *arg), void *arg)
{
	int to[2], from[2], result;

	/* A child may die of what is tested. */
	signal(SIGPIPE, SIG_IGN);
	if (pipe(to) || pipe(from))
		return -errno;
	c->pid = fork();
	if (c->pid < 0)
		return -errno;
	if (!c->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		child(to[0], from[1], before, after, arg);
	}
	close(to[0]);
	close(from[1]);
	c->to = to[1];
	c->from = from[0];
	if (read(c->from, &result, sizeof(result)) != sizeof(result))
		return -EPIPE;
	return result;
}

/*
 * Forks, again and again until told to stop: each child is to return 0 from
 * live(nth), and counts. Ends with the process that started it.
 */
int avl_fork_on(int (*live)(int nth), const bool *stop, unsigned long *lives)
{
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int nth = 0; !__atomic_load_n(stop, __ATOMIC_RELAXED); nth++) {
		const pid_t pid = fork();

		if (!pid)
			_exit(live(nth));
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return -1;
		__atomic_add_fetch(lives, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Waits until others have counted so many more. */
void avl_wait_for(const unsigned long *counter, unsigned long more)
{
	const unsigned long end = __atomic_load_n(counter, __ATOMIC_RELAXED) + more;

	while (__atomic_load_n(counter, __ATOMIC_RELAXED) < end)
		usleep(1000);
}

static int run_fn(void *arg, void *fn)
{
	return ((int (*)(void *))fn)(arg);
}

/* Lets a child call fn(arg) and returns what that did, -EPIPE if it died. */
int avl_child_run(struct avl_child *c, int (*fn)(void *arg))
{
	return send_order(c, run_fn, fn);
}

/*
 * Lets a child end. Returns 0 if after() did, else its exit status, or the
 * number of the signal that killed it as a negative.
 */
int avl_child_end(struct avl_child *c)
{
	struct order end = { NULL, NULL };
	int status;

	if (write(c->to, &end, sizeof(end)) != sizeof(end) && errno != EPIPE)
		return EXIT_FAILURE;
	close(c->to);
	close(c->from);
	if (waitpid(c->pid, &status, 0) != c->pid)
		return EXIT_FAILURE;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* How many processes a tree has, the test itself included. */
unsigned int avl_tree_size(const struct avl_tree *t)
{
	unsigned int size = 1, level = 1;

	for (unsigned int i = 0; i < t->depth; i++) {
		level *= t->width;
		size += level;
	}
	return size;
}

static int start_children(struct avl_tree *t);

static int node_before(void *arg)
{
	struct avl_tree *t = arg;
	int err = t->before ? t->before(t) : 0;

	t->pids[t->id] = getpid();
	t->depth--;
	return err ?: start_children(t);
}

static int node_after(void *arg)
{
	struct avl_tree *t = arg;
	int err = avl_tree_end(t);

	if (err)
		return err;
	return t->after ? t->after(t) : 0;
}

static int start_children(struct avl_tree *t)
{
	const unsigned int id = t->id;
	int err = 0;

	for (unsigned int i = 0; t->depth && i < t->width && !err; i++) {
		t->id = id * t->width + i + 1;
		err = avl_child_start(&t->children[i], node_before, node_after,
				      t);
	}
	t->id = id;
	return err;
}

/*
 * Starts the children of a tree and theirs. Each calls before() first, and
 * after() when its own children have ended. Returns 0 if all is well.
 */
int avl_tree_start(struct avl_tree *t)
{
	const unsigned int size = avl_tree_size(t);

	t->id = 0;
	t->areas = mmap(NULL, size * (sizeof(*t->areas) + sizeof(*t->pids)) +
			sizeof(*t->run_in), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->areas == MAP_FAILED)
		return -errno;
	t->pids = (pid_t *)(t->areas + size);
	t->run_in = (unsigned int *)(t->pids + size);
	t->pids[0] = getpid();
	return start_children(t);
}

static int run_node(void *arg, void *fn)
{
	struct avl_tree *t = arg;
	int err = 0;

	if (*t->run_in == UINT_MAX || *t->run_in == t->id)
		err = ((int (*)(struct avl_tree *))fn)(t);
	for (unsigned int i = 0; t->depth && i < t->width && !err; i++)
		err = send_order(&t->children[i], run_node, fn);
	return err;
}

/*
 * Calls fn() in each process of a tree, one after the other, the test first.
 * Returns 0 if all did.
 */
int avl_tree_run(struct avl_tree *t, int (*fn)(struct avl_tree *t))
{
	return avl_tree_run_in(t, UINT_MAX, fn);
}

/* Calls fn() in one process of a tree. */
int avl_tree_run_in(struct avl_tree *t, unsigned int id,
		    int (*fn)(struct avl_tree *t))
{
	*t->run_in = id;
	return run_node(t, fn);
}

/* Ends all processes of a tree except the test. Returns 0 if all was well. */
int avl_tree_end(struct avl_tree *t)
{
	int err = 0;

	for (unsigned int i = 0; t->depth && i < t->width; i++) {
		int result = avl_child_end(&t->children[i]);

		err = err ?: result;
	}
	return err;
}

/* Where this process has the memory of its family. */
char *avl_family_area(const struct avl_tree *t)
{
	return t->areas[t->id];
}

/* Does it hold what avl_family_start() wrote? */
int avl_family_check(struct avl_tree *t)
{
	return !avl_check(avl_family_area(t), t->size, 1);
}

/* Gets this process a page of its own, with the same contents. */
int avl_family_write(struct avl_tree *t)
{
	const unsigned long page = t->id % (t->size / psize());

	avl_fill(avl_family_area(t) + page * psize(), psize(), 1 + page);
	return 0;
}

/*
 * Marks the first page as accessed in the page table. The TLB may think that it
 * is, so it is flushed.
 */
int avl_family_touch(struct avl_tree *t)
{
	char *area = avl_family_area(t);

	if (mprotect(area, t->size, PROT_NONE) ||
	    mprotect(area, t->size, PROT_READ | PROT_WRITE))
		return -errno;
	FORCE_READ(*area);
	return 0;
}

static int displace(struct avl_tree *t)
{
	char *to = t->areas[0] + (1 + t->id) * t->size;

	if (t->id % 2 == 0)
		return 0;
	t->areas[t->id] = mremap(t->areas[t->id], t->size, t->size,
				 MREMAP_MAYMOVE | MREMAP_FIXED, to);
	return t->areas[t->id] != to;
}

/*
 * Starts a tree of processes that share the pages of an area, which is filled
 * first. Each checks it at its end. Every other process has it elsewhere, if
 * displaced. Returns 0 if all is well.
 */
int avl_family_start(struct avl_tree *t, char *area, size_t size, bool displaced)
{
	int err;

	if (area == MAP_FAILED)
		return -errno;
	avl_fill(area, size, 1);
	t->size = size;
	t->after = avl_family_check;
	err = avl_tree_start(t);
	if (err)
		return err;
	for (unsigned int i = 0; i < avl_tree_size(t); i++)
		t->areas[i] = area;
	return displaced ? avl_tree_run(t, displace) : 0;
}

/* In how many of the processes does a walk find a page of the area? */
unsigned int avl_family_mapped(const struct avl_tree *t, size_t offset)
{
	static char answer[8192];
	unsigned int count = 0;

	if (avl_rmap_walk(t->pids[0], t->areas[0] + offset, answer,
			  sizeof(answer)))
		return 0;
	for (unsigned int i = 0; i < avl_tree_size(t); i++)
		count += avl_rmap_maps(answer, t->pids[i],
				       t->areas[i] + offset);
	return count;
}
