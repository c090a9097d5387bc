/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_top.h - bus-stat top: the lists, live.
 */
#ifndef STAT_TOP_H
#define STAT_TOP_H

#include "stat_screen.h"

struct stat_top {
	enum stat_list list;
	int sort; /* column of the list, -1: as it comes, by topic */
	bool reversed;
	int64_t interval_ns;
	uint64_t count; /* screens, 0: until stopped */
	bool json;      /* batch only */
};

/* On a terminal, until q. Returns the exit code. */
int stat_top_live(const struct stat_source *source, struct stat_top *top);
/* Printed one under the other. */
int stat_top_batch(const struct stat_source *source, const struct stat_top *top);

#endif
