/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_latency.h - bus-stat latency: how long messages take from publishing to arrival in this
 * process.
 */
#ifndef STAT_LATENCY_H
#define STAT_LATENCY_H

#include <stdbool.h>

#include <bus.h>

/* Listens for duration_ns, prints. Returns the exit code: TOOL_NOBODY where nothing came. */
int stat_latency(struct bus *bus, const char *topic, int64_t duration_ns, bool json);

#endif
