/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_range.c - see replay_range.h
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "replay_range.h"
#include "tool.h"

#define PATIENCE_NS 30000000000
#define PAUSE_NS    50000000

/* ---- open ---- */

/* No file is a segment, and yet one is named so. */
static bool begins_broken(struct bus_log *log)
{
	struct bus_log_gap gap;
	struct bus_msg msg;
	uint32_t at = 0;

	return bus_log_next(log, &msg, 1) == 0 && bus_log_gap_next(log, &at, &gap) == 1;
}

void replay_range_open(struct replay_range *range, struct bus *bus, const char *topic, const char *dir)
{
	int err;

	*range = (struct replay_range){ .name = topic };
	err = dir ? bus_log_open(&range->log, dir, NULL)
		  : bus_log_open_topic(&range->log, bus, topic, NULL);
	if (err)
		tool_fail_bus(NULL, err, "replay \"%s\"", dir ? dir : topic);
	err = bus_log_info(range->log, &range->at_start);
	if (err)
		tool_fail_bus(NULL, err, "replay \"%s\"", dir ? dir : topic);
	if (dir && range->at_start.segments == 0 && !begins_broken(range->log))
		tool_fail(TOOL_FAILED, "\"%s\": there is no log of a stream in it", dir);
	if (dir && topic && range->at_start.topic[0] && strcmp(topic, range->at_start.topic) != 0)
		tool_fail(TOOL_FAILED, "the log in \"%s\" is that of \"%s\", not of \"%s\"", dir,
			  range->at_start.topic, topic);
	if (!topic)
		range->name = range->at_start.topic[0] ? range->at_start.topic : dir;
}

void replay_range_close(struct replay_range *range)
{
	bus_log_close(range->log);
	range->log = NULL;
}

/* ---- places ---- */

static _Noreturn void fail_read(int err)
{
	tool_fail_bus(NULL, err, "read the log");
}

static void seek(struct replay_range *range, uint32_t place, uint64_t value)
{
	int err = bus_log_seek(range->log, place, value);

	if (err)
		fail_read(err);
}

/* The number of the first message at a place, or of the first that is missing there. */
static uint64_t number_at(struct replay_range *range, uint32_t place, uint64_t value)
{
	struct bus_log_gap gap;
	struct bus_msg msg;
	uint32_t at = 0;
	int n;

	seek(range, place, value);
	n = bus_log_next(range->log, &msg, 1);
	if (n < 0)
		fail_read(n);
	if (bus_log_gap_next(range->log, &at, &gap) == 1)
		return gap.from;
	return n > 0 ? msg.seq : range->at_start.end_seq;
}

static uint64_t resolve(struct replay_range *range, const struct tool_place *place)
{
	switch (place->kind) {
	case TOOL_PLACE_OLDEST:
		return number_at(range, BUS_LOG_OLDEST, 0);
	case TOOL_PLACE_TIME:
		return number_at(range, BUS_LOG_TIME, place->value);
	case TOOL_PLACE_BACK:
		return number_at(range, BUS_LOG_BACK, place->value);
	case TOOL_PLACE_SEQ:
		return place->value;
	case TOOL_PLACE_END:
		break;
	}
	return range->at_start.end_seq;
}

void replay_range_set(struct replay_range *range, const struct tool_place *from,
		      const struct tool_place *to, uint64_t count)
{
	range->from = range->next = resolve(range, from);
	range->to = resolve(range, to);
	if (range->to > range->at_start.end_seq)
		range->to = range->at_start.end_seq;
	range->left = count ? count : UINT64_MAX;
	range->ended = range->from > range->to;
	if (range->ended)
		tool_warn("nothing of \"%s\" is there from number %" PRIu64
			  " on: it ends before %" PRIu64,
			  range->name, range->from, range->to);
	else
		seek(range, BUS_LOG_SEQ, range->from);
}

void replay_range_skip(struct replay_range *range, uint64_t seq, uint64_t given, int back)
{
	range->next = seq;
	range->left += (uint64_t)back;
	range->left -= given < range->left ? given : range->left;
	range->ended = range->left == 0 || seq >= range->to;
	if (!range->ended)
		seek(range, BUS_LOG_SEQ, seq);
}

/* ---- gaps ---- */

static void tell_gap(struct replay_range *range, const struct bus_log_gap *gap)
{
	uint64_t from = gap->from, last = gap->to - 1;

	if (gap->to == BUS_LOG_UNKNOWN) {
		range->gaps++;
		tool_warn("messages of \"%s\" from number %" PRIu64
			  " on cannot be had: %s (file %020" PRIu64 ".log); how many, nobody knows",
			  range->name, from, bus_log_fault_text(gap->why), gap->file);
		return;
	}
	if (last >= range->to)
		last = range->to - 1;
	if (gap->why == BUS_LOG_HOLE) {
		tool_warn("numbers %" PRIu64 " to %" PRIu64
			  " of \"%s\" were passed over after a crash: no messages",
			  from, last, range->name);
		return;
	}
	range->gaps++;
	range->missing += last - from + 1;
	if (last > from)
		tool_warn("messages %" PRIu64 " to %" PRIu64
			  " of \"%s\" are missing: %s (file %020" PRIu64 ".log)",
			  from, last, range->name, bus_log_fault_text(gap->why), gap->file);
	else
		tool_warn("message %" PRIu64 " of \"%s\" is missing: %s (file %020" PRIu64 ".log)",
			  from, range->name, bus_log_fault_text(gap->why), gap->file);
}

/*
 * Those of the last bus_log_next() that begin within the range; one without an end begins behind the last
 * message there is.
 */
static void tell_gaps(struct replay_range *range)
{
	struct bus_log_gap gap;
	uint32_t at = 0;

	while (bus_log_gap_next(range->log, &at, &gap) == 1)
		if (gap.from < range->to ||
		    (gap.to == BUS_LOG_UNKNOWN && range->to == range->at_start.end_seq))
			tell_gap(range, &gap);
}

/* ---- messages ---- */

/* How many of n are within the range. */
static int within(const struct replay_range *range, const struct bus_msg *msgs, int n)
{
	while (n > 0 && msgs[n - 1].seq >= range->to)
		n--;
	return n;
}

/* busd is asked for each segment, and may be away: another one is waited for. */
static bool may_come_back(struct replay_range *range, int err)
{
	int64_t now = tool_clock_ns();

	if (err != -EPIPE && err != -ETIMEDOUT && err != -EAGAIN && err != -ECONNREFUSED)
		return false;
	if (!range->away_ns) {
		range->away_ns = now;
		tool_warn("%s; tried again for %s", bus_why(NULL), tool_seconds(PATIENCE_NS).s);
	}
	return now - range->away_ns < PATIENCE_NS && tool_sleep_until(now + PAUSE_NS) == 0;
}

/* And tells of gaps: a call that fails may have passed over some first. */
static int read_some(struct replay_range *range, struct bus_msg *msgs, int max)
{
	int n;

	do {
		n = bus_log_next(range->log, msgs, max);
		tell_gaps(range);
	} while (n < 0 && may_come_back(range, n));
	if (n < 0 && tool_stop_signal)
		return -EINTR;
	if (n < 0)
		fail_read(n);
	range->away_ns = 0;
	return n;
}

int replay_range_next(struct replay_range *range, struct bus_msg *msgs, int max)
{
	int n, got;

	if (range->ended)
		return 0;
	if ((uint64_t)max > range->left)
		max = (int)range->left;
	/* at the end one more, for what is missing there */
	got = read_some(range, msgs, max);
	if (got < 0)
		return 0;
	n = within(range, msgs, got);
	range->left -= (uint64_t)n;
	range->ended = got == 0 || n < got || range->left == 0;
	range->next = n > 0 ? msgs[n - 1].seq + 1 : range->to;
	return n;
}
