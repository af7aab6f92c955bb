/* SPDX-License-Identifier: GPL-2.0 */
#ifndef AVL_TEST_H
#define AVL_TEST_H

#include "kselftest_harness.h"

#include "avl.h"

/* The fixture of all tests: are the VMAs of this program lazy? */
FIXTURE(vmas)
{
	bool lazy;
};

FIXTURE_SETUP(vmas)
{
	self->lazy = avl_setup();
}

FIXTURE_TEARDOWN(vmas)
{
	avl_set_parameter("enabled", self->lazy ? "1" : "0");
}

#endif /* AVL_TEST_H */
