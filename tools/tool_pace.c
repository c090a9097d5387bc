/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_pace.c - see tool_pace.h
 */
#include <errno.h>

#include "tool.h"
#include "tool_pace.h"

static int64_t due_ns(const struct tool_pace *pace)
{
	return pace->start_ns + (int64_t)((double)pace->done / pace->rate * 1e9);
}

void tool_pace_start(struct tool_pace *pace, double rate)
{
	*pace = (struct tool_pace){ .rate = rate, .start_ns = tool_clock_ns() };
}

int tool_pace_next(struct tool_pace *pace, int max)
{
	int64_t now = tool_clock_ns();
	int count = max;

	if (pace->rate > 0) {
		double owed;

		if (due_ns(pace) > now && tool_sleep_until(due_ns(pace)))
			return -EINTR;
		now = tool_clock_ns();
		owed = (double)(now - pace->start_ns) / 1e9 * pace->rate - (double)pace->done;
		if (owed + 1 < max)
			count = owed < 1 ? 1 : (int)owed + 1;
	}
	pace->done += (uint64_t)count;
	return count;
}

void tool_pace_forgive(struct tool_pace *pace, int64_t waited_ns)
{
	int64_t late;

	if (!(pace->rate > 0))
		return;
	late = tool_clock_ns() - due_ns(pace);
	/* What was late before the wait began stays owed. */
	if (late > waited_ns)
		late = waited_ns;
	if (late > 0)
		pace->start_ns += late;
}
