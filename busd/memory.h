/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - how much memory there is for busd: on the machine, and in the control groups that it
 * is in. What exceeds a group's limit is no error to the kernel but a reason to kill somebody, busd
 * first: so it is asked before.
 */
#ifndef BUSD_MEMORY_H
#define BUSD_MEMORY_H

#include "base/base.h"

struct memory_room {
	uint64_t ceiling; /* bytes that there are at all */
	uint64_t free;    /* that can be had now without killing anybody: an estimate */
	bool by_group;    /* a control group is what leaves so little free */
};

void memory_look(struct memory_room *ret);

/*
 * Before and after something of that size is allocated, by any thread. False: it is not there, and
 * nothing is to be done after. What others are allocating at the moment counts as taken.
 */
bool memory_begin(uint64_t size, struct memory_room *ret);
void memory_end(uint64_t size);

#endif
