// SPDX-License-Identifier: GPL-2.0
/* run NAME COMMAND...: how long a command takes that nobody here wrote. */

#include <fcntl.h>
#include <sys/wait.h>

#include "bench.h"

/* It takes long enough for interrupts not to matter. */
#define TIMES	2

static char **command;

static void run(void)
{
	const pid_t pid = fork();
	int status;

	if (!pid) {
		/* What it says is of no interest, what it complains of is. */
		dup2(open("/dev/null", O_RDWR), STDOUT_FILENO);
		execvp(*command, command);
		perror(*command);
		_exit(EXIT_FAILURE);
	}
	MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status)
		ksft_exit_fail_msg("%s: exit status %d\n", *command, status);
}

int main(int argc, char **argv)
{
	long start;

	MUST(argc > 2);
	command = argv + 2;
	run();
	bench_settle();
	start = bench_now();
	for (int i = 0; i < TIMES; i++)
		run();
	bench_row(argv[1], (double)(bench_now() - start) / TIMES, "ns");
	return 0;
}
