// SPDX-License-Identifier: GPL-2.0
/* First faults: in separate VMAs, by reads, threads and other processes. */

#include <pthread.h>
#include <sys/uio.h>

#include "avl_test.h"

#define NR		400
#define NR_THREADS	4

/* Each VMA that takes its first fault is counted, and needs no anon_vma. */
TEST_F(vmas, separate)
{
	const long slab = avl_slab("anon_vma");
	char *p[NR];

	for (int i = 0; i < NR; i++) {
		p[i] = avl_map(4 * i, 2);
		ASSERT_NE(MAP_FAILED, p[i]);
	}
	ASSERT_EQ(0, avl_since("vmas_lazy"));
	for (int i = 0; i < NR; i++)
		avl_fill(p[i], 2 * psize(), i);

	ASSERT_LAZY(NR, "vmas_lazy");
	ASSERT_EQ(self->lazy ? 0 : NR, avl_since("vmas_eager_total"));
	ASSERT_EQ(0, avl_since("anon_vmas"));
	/* That figure is not exact. */
	ASSERT_EQ(self->lazy, avl_slab("anon_vma") < slab + NR / 2);
	for (int i = 0; i < NR; i++)
		ASSERT_TRUE(avl_check(p[i], 2 * psize(), i));
	ASSERT_VERIFIED();

	for (int i = 0; i < NR; i++)
		ASSERT_EQ(0, munmap(p[i], 2 * psize()));
	ASSERT_EQ(0, avl_since("vmas_lazy"));
}

/* The zero page is not anonymous memory. */
TEST_F(vmas, read)
{
	char *p = avl_map(0, 2);

	ASSERT_NE(MAP_FAILED, p);
	FORCE_READ(p[0]);
	FORCE_READ(p[psize()]);
	ASSERT_EQ(0, avl_since("vmas_lazy_total"));
	avl_fill(p, psize(), 1);
	ASSERT_LAZY(1, "vmas_lazy_total");
	ASSERT_EQ(0, p[psize()]);
	ASSERT_VERIFIED();
}

static pthread_barrier_t barrier;

static void *fault_all(void *arg)
{
	pthread_barrier_wait(&barrier);
	/* The test looks at the statistics. */
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < NR; i++)
		((int *)avl_addr(2 * i))[(long)arg] = i;
	pthread_barrier_wait(&barrier);
	/* And again, before stacks go. */
	pthread_barrier_wait(&barrier);
	return NULL;
}

/* First faults of the same VMAs at the same time. */
TEST_F(vmas, threads)
{
	pthread_t threads[NR_THREADS];

	for (int i = 0; i < NR; i++)
		ASSERT_NE(MAP_FAILED, avl_map(2 * i, 1));
	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, NR_THREADS + 1));
	for (long i = 0; i < NR_THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, fault_all,
					    (void *)i));
	pthread_barrier_wait(&barrier);
	avl_mark();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	ASSERT_LAZY(NR, "vmas_lazy_total");
	ASSERT_VERIFIED();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < NR_THREADS; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	for (int i = 0; i < NR; i++)
		for (int j = 0; j < NR_THREADS; j++)
			ASSERT_EQ(i, ((int *)avl_addr(2 * i))[j]);
}

static int check_first(void *arg)
{
	return !avl_check(arg, psize(), 7);
}

/* A fault in another address space than that of who faults. */
TEST_F(vmas, remote)
{
	char *page = avl_map(100, 1);
	struct iovec local = { page, psize() };
	struct iovec remote = { avl_addr(0), psize() };
	struct avl_child child;
	char answer[1024];

	ASSERT_NE(MAP_FAILED, page);
	avl_fill(page, psize(), 7);
	ASSERT_NE(MAP_FAILED, avl_map(0, 1));
	ASSERT_EQ(0, avl_child_start(&child, NULL, check_first, avl_addr(0)));

	avl_mark();
	ASSERT_EQ(psize(), process_vm_writev(child.pid, &local, 1, &remote, 1,
					     0));
	ASSERT_LAZY(1, "vmas_lazy");
	ASSERT_EQ(0, avl_rmap_walk(child.pid, avl_addr(0), answer,
				   sizeof(answer)));
	ASSERT_TRUE(avl_rmap_maps(answer, child.pid, avl_addr(0)));
	ASSERT_VERIFIED();
	ASSERT_EQ(0, avl_child_end(&child));
}

/* A stack that grows. */
TEST_F(vmas, grows_down)
{
	char *p = mmap(avl_addr(1000), 2 * psize(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
		       MAP_GROWSDOWN, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	avl_fill(p, 2 * psize(), 100);
	for (int i = 1; i <= 20; i++)
		avl_fill(p - i * psize(), psize(), 100 - i);
	ASSERT_LAZY(1, "vmas_lazy_total");
	ASSERT_EQ(0, avl_since("vmas_displaced"));
	ASSERT_TRUE(avl_check(p - 20 * psize(), 22 * psize(), 80));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN
