/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_segment.h - bus-stat segment: what one file of a stream's log says of itself, and with verify whether its
 * messages are whole.
 */
#ifndef STAT_SEGMENT_H
#define STAT_SEGMENT_H

#include <stdbool.h>

/* Prints. Returns the exit code: TOOL_FAILED where the file is no segment in use, or something of it is damaged. */
int stat_segment(const char *file, bool verify, bool json);

#endif
