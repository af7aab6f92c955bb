/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel complained about while a test ran. */
#ifndef KMSG_H
#define KMSG_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Reads the kernel log. Copies the first complaint that is newer than record
 * number after to hit, or "". Returns the number of the last record, -1 if the
 * log cannot be read. Data races are found everywhere in the kernel: report.py
 * tells which are ours.
 */
static inline long kmsg_scan(long after, char *hit, size_t size)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[1024];
	long last = after;
	ssize_t len;

	if (fd < 0)
		return -1;
	*hit = '\0';
	/* One record per read, EPIPE if some were overwritten meanwhile. */
	while ((len = read(fd, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		long number;

		if (len < 0)
			continue;
		record[len] = '\0';
		if (sscanf(record, "%*u,%ld,", &number) != 1 || number <= after)
			continue;
		last = number;
		if (!*hit && !strstr(record, "BUG: KCSAN:") &&
		    (strstr(record, "BUG: ") || strstr(record, "WARNING: ")))
			snprintf(hit, size, "%s", record);
	}
	close(fd);
	return last;
}

#endif /* KMSG_H */
