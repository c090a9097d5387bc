/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_report.h - figures as JSON, from which the other forms derive.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench_measure.h"

#include <jansson.h>
#include <stdio.h>

/* New references; NULL: out of memory. Times in ns, rates per second. */
json_t *bench_json_percentiles(const struct bench_histogram *h); /* {p50,p90,p99,p999,max} */
json_t *bench_json_trips(const struct bench_plan *plan, const struct bench_effort *effort,
			 const struct bench_trips *trips);
/* kind: "pub", "sub", "stream" or "replay" */
json_t *bench_json_flow(const char *kind, const struct bench_plan *plan,
			const struct bench_effort *effort, const struct bench_flow *flow);

/* On one line, without digits that mean nothing. -1: out of memory, or the stream failed. */
int bench_print_json(FILE *out, json_t *object);

/* A line of names and a line of values; members of members as "limit_p50". */
void bench_print_csv(FILE *out, json_t *object);

/* For people. */
void bench_print_trips(FILE *out, const struct bench_plan *plan, const struct bench_effort *effort,
		       const struct bench_trips *trips);
/* what: "published", "received", "streamed" or "replayed" */
void bench_print_flow(FILE *out, const char *what, const struct bench_plan *plan,
		      const struct bench_effort *effort, const struct bench_flow *flow);

#endif
