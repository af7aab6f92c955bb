/* SPDX-License-Identifier: GPL-2.0 */
/* Allocations of one thread that fail, picked by number and by call site. */
#ifndef INJECT_H
#define INJECT_H

#include <stdbool.h>
#include <stddef.h>

bool inject_available(void);
void inject_setup(bool anonymous_pages);
int inject_open(void);
void inject_use(int fd);
void inject_from_then_on(bool on);
void inject_arm(int nth);
bool inject_disarm(void);

void inject_find(const char *const functions[], size_t nr);
void inject_at(const char *function, const char *object, const char *except);

#endif /* INJECT_H */
