/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_range.h - a range of a stream's log, message by message, and what is missing in it. Used by bus-replay.
 *
 *	from                       next                        to
 *	 |  given, or told as gaps  |  to be given              |  written later, or not asked for
 */
#ifndef REPLAY_RANGE_H
#define REPLAY_RANGE_H

#include <bus_log.h>

#include "tool_place.h"

struct replay_range {
	struct bus_log *log;
	const char *name;             /* of the stream, for messages */
	struct bus_log_info at_start; /* of the log, when the range was fixed */
	uint64_t from, to;            /* numbers [from, to) */
	uint64_t next;                /* all below it was given or told */
	uint64_t left;                /* messages that are still to be given */
	uint64_t gaps, missing;       /* told; missing: messages in those whose end is known */
	bool ended;
	int64_t away_ns; /* since when busd does not answer; 0: it does */
};

/*
 * Opens the log in directory dir, or, where that is NULL, that of topic, by bus. Both: the log must be the topic's.
 * Ends the program with a message where that fails.
 */
void replay_range_open(struct replay_range *range, struct bus *bus, const char *topic,
		       const char *dir);
void replay_range_close(struct replay_range *range);

/*
 * Fixes what is replayed: from one place up to, not including, another, at most count messages (0: all), and never
 * beyond the end as it is now.
 */
void replay_range_set(struct replay_range *range, const struct tool_place *from,
		      const struct tool_place *to, uint64_t count);

/*
 * Goes on at number seq instead of `next`, `given` messages of the count being done already. The last `back` of those
 * that replay_range_next() gave were not used: they are not of the count, or among those given.
 */
void replay_range_skip(struct replay_range *range, uint64_t seq, uint64_t given, int back);

/*
 * The next messages, at most max; 0: the range is over. What is missing before them is told on stderr. They
 * are good until the next call. Where busd is away another one is waited for, a while or until a stop signal. Ends
 * the program where the log cannot be read.
 */
int replay_range_next(struct replay_range *range, struct bus_msg *msgs, int max);

#endif
