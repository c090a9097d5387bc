/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_replay.h - messages a second out of a stream's log, read from the page cache by bus_log.h; in turn with plain
 * reads of as many bytes. Used by bus-bench.
 */
#ifndef BENCH_REPLAY_H
#define BENCH_REPLAY_H

#include "bench_measure.h"

/*
 * dir: the log to be read; NULL: a stream is made for it on the plan's busd, with effort->count messages of the
 * plan's size (0: as many as make 128 MiB), and removed afterwards. plan->size becomes the mean size of what was read.
 * ret->bus: the log; ret->limit: read() of as many bytes as slots and payload take, from one file, 256 KiB
 * at a time; ret->ratio: the one by the other. 0 or a negative errno, *why says what failed.
 */
int bench_measure_replay(struct bench_plan *plan, const struct bench_effort *effort,
			 const char *dir, struct bench_flow *ret, const char **why);

#endif
