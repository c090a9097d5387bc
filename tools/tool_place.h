/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_place.h - places in the past of a stream, as people name them: oldest, end, seq:N, time:T, -1h, -N.
 */
#ifndef TOOL_PLACE_H
#define TOOL_PLACE_H

#include <stdbool.h>
#include <stdint.h>

enum tool_place_kind {
	TOOL_PLACE_OLDEST, /* the oldest that is kept */
	TOOL_PLACE_END,    /* behind the newest */
	TOOL_PLACE_SEQ,    /* number `value` */
	TOOL_PLACE_TIME,   /* the first message of this Unix time (ns) or later */
	TOOL_PLACE_BACK,   /* so many messages before the end */
};

struct tool_place {
	enum tool_place_kind kind;
	uint64_t value;
};

/* For -h and man pages to agree on. */
#define TOOL_PLACE_HELP \
	"oldest, end, seq:N (number N), time:T (T is 2026-11-28,\n" \
	"2026-11-28T10:00:00.5Z, ...+01:00 or @SECONDS; UTC), -1h (that\n" \
	"long before now), -N (N messages before the end)"

/*
 * False where text is none of these, *ret untouched: the caller may know more words. A number or time in it that is
 * none ends the program (TOOL_USAGE), naming the option.
 */
bool tool_place(const char *option, const char *text, struct tool_place *ret);

/*
 * 2026-11-28, 2026-11-28T10:00, 2026-11-28T10:00:00.123456789 (or a blank for the T), with Z, +01:00 or nothing
 * behind it, which is UTC; @1764324000.5: seconds since 1970. In ns since 1970. A bad one ends the
 * program (TOOL_USAGE).
 */
uint64_t tool_time_value(const char *option, const char *text);

#endif
