/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_stream.h - messages a second into a stream: from one publisher's first send until all of them
 * stand in the stream; in turn with what the live ring does between two processes. Used by bus-bench.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include "bench_measure.h"

/*
 * ret->bus: the stream; ret->limit: a live topic with one subscriber, in the same run; ret->ratio: the one by
 * the other. 0 or a negative errno, *why says what failed.
 */
int bench_measure_stream(const struct bench_plan *plan, const struct bench_effort *effort,
			 struct bench_flow *ret, const char **why);

#endif
