/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_check.h - bus-stat check: one line and an exit code for a monitoring system.
 */
#ifndef STAT_CHECK_H
#define STAT_CHECK_H

#include "stat_take.h"

enum stat_verdict { STAT_OK = 0, STAT_WARNING = 1, STAT_CRITICAL = 2, STAT_NOT_KNOWN = 3 };

#define STAT_NO_LIMIT UINT64_MAX

/* Beyond warn: WARNING, beyond crit: CRITICAL. Lag in messages, and in ns. */
struct stat_limits {
	uint64_t warn_messages, crit_messages;
	uint64_t warn_ns, crit_ns;
};

/* "N" is critical, "W,C" warns too. A bad one ends the program (TOOL_USAGE). */
void stat_limit_messages(struct stat_limits *limits, const char *text);
void stat_limit_seconds(struct stat_limits *limits, const char *text);

/* Prints the line, returns the verdict. */
/* trouble: with busd itself, which makes it CRITICAL; NULL: none. */
int stat_check(const struct stat_take *take, const struct stat_limits *limits, const char *trouble);

/* The same where nothing could be looked at. */
int stat_check_unknown(const char *why);

#endif
