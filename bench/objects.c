// SPDX-License-Identifier: GPL-2.0
/*
 * How many VMAs has a program that does what an interpreter does: threads, the
 * arenas and large blocks of malloc(), code that is written and then executed,
 * and a child that goes on like that? The same operations each time.
 */

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "bench.h"

#define THREADS	8
#define BLOCKS	64
#define CODE	256

/* Lines of /proc/self/maps: one per VMA. No stdio, which would use malloc(). */
static long vmas(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	static char buf[4096];
	long count = 0;
	ssize_t len;

	MUST(fd >= 0);
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < len; i++)
			count += buf[i] == '\n';
	close(fd);
	return count;
}

static unsigned int next(unsigned int *state)
{
	*state = *state * 1103515245 + 12345;
	return *state >> 16;
}

/* Blocks of 16 bytes to 1 MB come, grow, shrink and go. */
static void heap(unsigned int seed)
{
	void *blocks[BLOCKS] = { };
	size_t sizes[BLOCKS] = { };

	for (int i = 0; i < 4000; i++) {
		const int block = next(&seed) % BLOCKS;

		if (next(&seed) % 4 == 0) {
			free(blocks[block]);
			blocks[block] = NULL;
			continue;
		}
		sizes[block] = 16UL << next(&seed) % 17;
		blocks[block] = realloc(blocks[block], sizes[block]);
		MUST(blocks[block]);
		memset(blocks[block], i, sizes[block]);
	}
}

/* Code is written page by page, and only then executable; some of it goes. */
static void code(unsigned int seed)
{
	char *area = mmap(NULL, CODE * psize(), READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(area != MAP_FAILED);
	for (int i = 0; i < 4 * CODE; i++) {
		char *page = area + next(&seed) % CODE * psize();

		MUST(!mprotect(page, psize(), READ_WRITE));
		if (next(&seed) % 4 == 0) {
			MUST(!madvise(page, psize(), MADV_DONTNEED));
			continue;
		}
		memset(page, i, psize());
		MUST(!mprotect(page, psize(), PROT_READ | PROT_EXEC));
	}
}

/* Threads run one at a time, and all remain until the program ends. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int finished;

static void *thread(void *arg)
{
	const unsigned int number = (unsigned long)arg;

	heap(number);
	code(number);
	pthread_mutex_lock(&turn);
	finished++;
	pthread_cond_broadcast(&changed);
	for (;;)
		pthread_cond_wait(&changed, &turn);
	return NULL;
}

static void interpret(unsigned int seed)
{
	heap(seed);
	finished = 0;
	for (unsigned long i = 0; i < THREADS; i++) {
		pthread_t id;

		MUST(!pthread_create(&id, NULL, thread, (void *)(seed + i)));
		pthread_mutex_lock(&turn);
		while (finished <= (int)i)
			pthread_cond_wait(&changed, &turn);
		pthread_mutex_unlock(&turn);
	}
}

static long *in_child;

static void child(long seed)
{
	pthread_mutex_init(&turn, NULL);
	pthread_cond_init(&changed, NULL);
	interpret(seed);
	*in_child = vmas();
}

int main(void)
{
	pid_t pid;

	in_child = mmap(NULL, psize(), READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(in_child != MAP_FAILED);
	interpret(1);
	pid = bench_child(child, 1001);
	bench_row("vmas", vmas(), "VMAs");
	bench_row("vmas_child", *in_child, "VMAs");
	bench_kill(&pid, 1);
	return 0;
}
