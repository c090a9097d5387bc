/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_pace.h - so many a second, without drift: number n is due at start + n / rate, however late
 * the ones before were.
 */
#ifndef TOOL_PACE_H
#define TOOL_PACE_H

#include <stdint.h>

struct tool_pace {
	double rate; /* a second; 0: as fast as it goes */
	int64_t start_ns;
	uint64_t done;
};

void tool_pace_start(struct tool_pace *pace, double rate);

/*
 * Sleeps until at least one is due. Returns how many are, at most max, counted as done: do them
 * now. -EINTR: a stop signal came.
 */
int tool_pace_next(struct tool_pace *pace, int max);

/*
 * The last waited_ns were spent waiting for work: what fell due meanwhile is not made up for in a
 * burst.
 */
void tool_pace_forgive(struct tool_pace *pace, int64_t waited_ns);

#endif
