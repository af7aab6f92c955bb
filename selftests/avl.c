// SPDX-License-Identifier: GPL-2.0
/* What the tests share: the module's files, memory contents, children. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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

/* A value of the file "stats"; a wrong name ends the program. */
long avl_stat(const char *name)
{
	char buf[2048];
	int err = avl_read(AVL_DEBUGFS "stats", buf, sizeof(buf));
	long value;

	if (err < 0)
		ksft_exit_fail_msg("stats: %s\n", strerror(-err));
	value = value_of(buf, name);
	if (value == LONG_MIN)
		ksft_exit_fail_msg("stats: no line \"%s\"\n", name);
	return value;
}

/* Objects of a slab cache in use, about: /proc/slabinfo is not exact. */
long avl_slab(const char *name)
{
	static char buf[65536];

	if (avl_read("/proc/slabinfo", buf, sizeof(buf)) < 0)
		ksft_exit_fail_msg("cannot read /proc/slabinfo\n");
	return value_of(buf, name);
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
		{ "swap", &v->swap }, { "hwpoison", &v->hwpoison },
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

/* Does an answer of avl_rmap_walk() say that a process maps the page there? */
bool avl_rmap_maps(const char *buf, pid_t pid, const void *addr)
{
	char start[32], place[48];

	snprintf(start, sizeof(start), "pid %d ", pid);
	snprintf(place, sizeof(place), " address %lx state present\n",
		 (unsigned long)addr);
	for (; buf; buf = strchr(buf, '\n'), buf = buf ? buf + 1 : NULL) {
		const char *end = strchr(buf, '\n');
		const char *hit = strstr(buf, place);

		if (!strncmp(buf, start, strlen(start)) && hit && hit < end)
			return true;
	}
	return false;
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

/*
 * Forks a child that calls before(arg), then waits for avl_child_end(), then
 * calls after(arg). NULL functions do nothing; others return 0 if all is well.
 * Children may have children in the same way. Returns once before() is done:
 * its result, or -errno.
 */
int avl_child_start(struct avl_child *c, int (*before)(void *arg),
		    int (*after)(void *arg), void *arg)
{
	int go[2], done[2], result = -EPIPE;

	if (pipe(go) || pipe(done))
		return -errno;
	c->pid = fork();
	if (c->pid < 0)
		return -errno;
	if (!c->pid) {
		char byte;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		close(done[0]);
		result = before ? before(arg) : 0;
		if (write(done[1], &result, sizeof(result)) != sizeof(result))
			_exit(EXIT_FAILURE);
		close(done[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(EXIT_FAILURE);
		_exit(after ? after(arg) : 0);
	}
	close(go[0]);
	close(done[1]);
	c->go = go[1];
	if (read(done[0], &result, sizeof(result)) != sizeof(result))
		result = -EPIPE;
	close(done[0]);
	return result;
}

/*
 * Lets a child go on and waits for its end. Returns 0 if after() did, else its
 * exit status, or the number of the signal that killed it as a negative.
 */
int avl_child_end(struct avl_child *c)
{
	int status;

	if (write(c->go, "", 1) != 1)
		return EXIT_FAILURE;
	close(c->go);
	if (waitpid(c->pid, &status, 0) != c->pid)
		return EXIT_FAILURE;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
