/* SPDX-License-Identifier: GPL-2.0 */
#ifndef WORKER_H
#define WORKER_H
/*
 * Processes that change their address spaces at random and know what each page
 * must hold: what the stress tests are made of.
 */

#include <linux/mman.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define WORKER_THREADS	3

#define WORKER_ADVICE	(MADV_GUARD_REMOVE + 1)

/* What all processes share. */
struct worker_shared {
	atomic_ulong operations;
	atomic_ulong forks, execs, daemons;
	/* Successes of what may fail, or not come to pass, with nothing being wrong. */
	atomic_ulong move, move_with_holes, move_and_keep, cut_off, grow, move_and_resize;
	atomic_ulong move_anywhere, move_by_uffd, migrate, grow_stack, resize_heap;
	atomic_ulong collapse, collapse_process;
	atomic_ulong advise[WORKER_ADVICE], advise_process[WORKER_ADVICE];
	atomic_ulong killed;		/* of workers, by SIGKILL: the OOM killer */
	atomic_long soft_offline;	/* so many pages may yet be given up */
	atomic_bool end;		/* time is over, for workers */
	atomic_bool stop;		/* likewise, for those who disturb them */
};

extern struct worker_shared *worker_shared;

void worker_init(int argc, char **argv);
pid_t worker_start(unsigned long seed, unsigned int number, unsigned long operations);
bool worker_ended(int status);
unsigned long worker_random(unsigned long *state, unsigned long n);
void worker_did(const char *name, long count);
void worker_did_all(bool rare);
bool worker_did_nothing(void);

#endif /* WORKER_H */
