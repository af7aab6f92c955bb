/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "avl.h"

#define READ_WRITE	(PROT_READ | PROT_WRITE)

/* Ends the program, which counts as failed, if something does not work. */
#define MUST(cond)							\
do {									\
	if (!(cond))							\
		ksft_exit_fail_perror(#cond);				\
} while (0)

long bench_now(void);
void bench_settle(void);
void bench_row(const char *name, double value, const char *unit);
void bench_run(const char *name, long (*round)(long nr), long nr, long ops);

char *bench_page(long i);
void bench_map(long nr, long pages);
void bench_touch(long nr, long page);

pid_t bench_child(void (*fn)(long arg), long arg);
void bench_kill(const pid_t *pids, long nr);

void bench_pfns(unsigned long *pfns, long nr, char *(*page)(long i));
void bench_check_pfns(const unsigned long *pfns, long nr);
long bench_walk(const unsigned long *pfns, long nr);

#endif /* BENCH_H */
