// SPDX-License-Identifier: GPL-2.0
/* exec: the stack is built at one place and moved to another. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "avl_test.h"

#define NR		8
#define NR_ARGS		16
#define ARG_SIZE	100000
/* In the environment of the program that is executed; that one checks them. */
#define MARK		"ANON_VMA_LAZY_EXEC=1"

static char *args[NR_ARGS + 3];

static void make_args(void)
{
	args[0] = "exec";
	args[1] = "check";
	for (int i = 2; i < NR_ARGS + 2; i++) {
		args[i] = malloc(ARG_SIZE);
		memset(args[i], 'a' + i, ARG_SIZE - 1);
		args[i][ARG_SIZE - 1] = '\0';
	}
}

static int check_args(int argc, char **argv)
{
	if (argc != NR_ARGS + 2)
		return 1;
	for (int i = 2; i < argc; i++) {
		const char letter[] = { 'a' + i, '\0' };

		if (strspn(argv[i], letter) != ARG_SIZE - 1 ||
		    argv[i][ARG_SIZE - 1])
			return 1;
	}
	return 0;
}

/* The stack grows, and keeps what is in it. */
static int deep(int depth)
{
	char page[4096];

	avl_fill(page, sizeof(page), depth);
	if (depth && deep(depth - 1))
		return 1;
	return !avl_check(page, sizeof(page), depth);
}

static int checked_argc;
static char **checked_argv;

static int check_copy(void *arg)
{
	return deep(100) || check_args(checked_argc, checked_argv);
}

/*
 * The program that is executed: says that it runs, waits, checks its arguments
 * and its stack, and those of a child.
 */
static int executed(int argc, char **argv)
{
	struct avl_child child;
	char byte;

	checked_argc = argc;
	checked_argv = argv;
	if (avl_child_start(&child, NULL, check_copy, NULL))
		return 10;
	if (write(STDOUT_FILENO, "", 1) != 1 ||
	    read(STDIN_FILENO, &byte, 1) != 1)
		return 11;
	if (deep(100))
		return 12;
	if (check_args(argc, argv))
		return 13;
	if (avl_child_end(&child))
		return 14;
	return 0;
}

struct program {
	pid_t pid;
	int to;
	int from;
};

static int start(struct program *p)
{
	char *const env[] = { MARK, NULL };
	int to[2], from[2];
	char byte;

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		return -errno;
	p->pid = fork();
	if (p->pid < 0)
		return -errno;
	if (!p->pid) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		execve("/proc/self/exe", args, env);
		_exit(EXIT_FAILURE);
	}
	close(to[0]);
	close(from[1]);
	p->to = to[1];
	p->from = from[0];
	return read(p->from, &byte, 1) == 1 ? 0 : -EPIPE;
}

static int end(struct program *p)
{
	int status;

	if (write(p->to, "", 1) != 1 || waitpid(p->pid, &status, 0) != p->pid)
		return -1;
	close(p->to);
	close(p->from);
	return status;
}

/* Each program is a family of its own, with a child, and both stacks moved. */
TEST_F(vmas, stack)
{
	struct program programs[NR];

	make_args();
	avl_mark();
	for (int i = 0; i < NR; i++) {
		ASSERT_EQ(0, start(&programs[i])) {
			TH_LOG("program %d", i);
		}
	}
	ASSERT_LAZY(NR, "families");
	ASSERT_LAZY(2 * NR, "contexts");
	ASSERT_LAZY(2 * NR, "vmas_displaced");
	ASSERT_VERIFIED();
	for (int i = 0; i < NR; i++) {
		ASSERT_EQ(0, end(&programs[i])) {
			TH_LOG("program %d", i);
		}
	}
	ASSERT_EQ(0, avl_since("families"));
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
}

/* exec that fails when the arguments are on the new stack already. */
TEST_F(vmas, fails)
{
	const int fd = memfd_create("exec", 0);
	char path[32];

	ASSERT_EQ(8, write(fd, "no magic", 8));
	sprintf(path, "/proc/self/fd/%d", fd);
	make_args();
	avl_mark();
	for (int i = 0; i < NR; i++) {
		ASSERT_EQ(-1, execve(path, args, NULL)) {
			TH_LOG("executed %s", path);
		}
		ASSERT_EQ(ENOEXEC, errno);
	}
	ASSERT_EQ(0, avl_since("contexts"));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	/* Each new address space had a stack. */
	ASSERT_LAZY(NR, "vmas_lazy_total");
	ASSERT_VERIFIED();
}

int main(int argc, char **argv)
{
	if (getenv("ANON_VMA_LAZY_EXEC"))
		return executed(argc, argv);
	return test_harness_run(argc, argv);
}
