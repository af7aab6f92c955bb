// SPDX-License-Identifier: GPL-2.0
/*
 * Stress: processes with threads and children change their address spaces at
 * random while memory is compacted, migrated, swapped and merged, and the module
 * verifies all of it again and again. What each page must hold is known.
 *
 * stress [SEED [OPERATIONS]]: the operations of a thread depend on the seed only.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "avl.h"
#include "kmsg.h"
#include "worker.h"

#define PROCESSES	3
#define OPERATIONS	200	/* of a thread */
#define TIME_LIMIT	1800	/* s, for a process that hangs */

int main(int argc, char **argv)
{
	unsigned long seed, operations = OPERATIONS;
	static struct avl_verify v;
	bool failed = false, missed = false;
	long present = 0, ksm = 0, migration = 0, swap = 0;
	char hit[1024];
	int status;
	pid_t pid;
	long log;

	worker_init(argc, argv);
	ksft_print_header();
	ksft_set_plan(1);
	avl_enabled();
	if (argc > 1)
		seed = strtoul(argv[1], NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		ksft_exit_fail_perror("getrandom");
	if (argc > 2)
		operations = strtoul(argv[2], NULL, 0);
	ksft_print_msg("stress %#lx %lu\n", seed, operations);
	alarm(TIME_LIMIT);
	log = kmsg_scan(0, hit, sizeof(hit));

	avl_write("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	avl_write("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < PROCESSES; i++)
		if (worker_start(seed, i, operations) < 0)
			ksft_exit_fail_perror("fork");

	/* A page may be visited in vain, and is never missed. */
	while (!missed && (pid = waitpid(-1, &status, WNOHANG)) >= 0) {
		if (pid > 0 && !worker_ended(status)) {
			failed = true;
			if (WIFSIGNALED(status))
				ksft_print_msg("a process died of signal %d\n", WTERMSIG(status));
		}
		missed = avl_verify(&v) || v.missed;
		present += v.present;
		ksm += v.ksm;
		migration += v.migration;
		swap += v.swap;
	}
	avl_write("/sys/kernel/mm/ksm/run", "2");
	avl_write("/sys/kernel/mm/ksm/run", "0");

	ksft_print_msg("%lu operations, %lu forks, %lu execs, %lu daemons\n",
		       worker_shared->operations, worker_shared->forks, worker_shared->execs,
		       worker_shared->daemons);
	worker_did_all(false);
	ksft_print_msg("verified: present %ld ksm %ld migration %ld swap %ld\n", present, ksm,
		       migration, swap);
	if (missed)
		ksft_print_msg("verify:\n%s\n", v.text);
	if (worker_shared->killed)
		ksft_print_msg("%lu processes were killed\n", worker_shared->killed);
	if (log < 0 || kmsg_scan(log, hit, sizeof(hit)) < 0)
		snprintf(hit, sizeof(hit), "cannot read the kernel log\n");
	if (*hit)
		ksft_print_msg("%s", hit);
	failed |= worker_did_nothing();
	ksft_test_result(present && !missed && !failed && !worker_shared->killed && !*hit,
			 "stress\n");
	ksft_finished();
}
