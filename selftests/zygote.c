// SPDX-License-Identifier: GPL-2.0
/*
 * The workload of the demo: a process with 1000 faulted VMAs forks 24 children
 * which each write to a third of them and fault 200 more. Prints "ready" when
 * all of it is there, and ends when its input does.
 */

#include <stdio.h>

#include "avl.h"

#define CHILDREN	24
#define INHERITED	1000
#define OWN		200

static char *page(int i)
{
	/* With gaps, so that the VMAs do not merge. */
	return avl_addr(2 * i);
}

static int fault(int first, int nr)
{
	for (int i = first; i < first + nr; i++) {
		if (avl_map(2 * i, 1) == MAP_FAILED)
			return -1;
		avl_fill(page(i), psize(), i);
	}
	return 0;
}

static int work(void *arg)
{
	const int *number = arg;

	for (int i = *number % 3; i < INHERITED; i += 3)
		avl_fill(page(i), psize(), i + 1);
	return fault(INHERITED, OWN);
}

/* Everybody still has what was written, or inherited. */
static int check(void *arg)
{
	const int *number = arg;

	for (int i = 0; i < INHERITED + OWN; i++) {
		const bool written = i < INHERITED && i % 3 == *number % 3;

		if (!avl_check(page(i), psize(), i + written))
			return -1;
	}
	return 0;
}

int main(void)
{
	struct avl_child children[CHILDREN];
	int result = 0, number;
	char c;

	if (fault(0, INHERITED)) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	for (number = 0; number < CHILDREN; number++) {
		if (avl_child_start(&children[number], work, check, &number)) {
			printf("child %d failed\n", number);
			return EXIT_FAILURE;
		}
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;

	for (int i = 0; i < CHILDREN; i++)
		if (avl_child_end(&children[i]))
			result = EXIT_FAILURE;
	return result;
}
