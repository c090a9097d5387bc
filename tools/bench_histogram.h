/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_histogram.h - counts of latencies by value, three significant digits, in memory of fixed
 * size.
 *
 * Values below 2048 are counted exactly, larger ones in buckets of which 1024 make a doubling: what
 * is read back is at most 0.1 % above what was recorded. A struct holds no pointers, so it may lie
 * in shared memory and be copied. Percentiles and the text format are those of HdrHistogram, so
 * that its plotter reads the files.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define BENCH_HISTOGRAM_HALF 1024 /* buckets in a doubling */
#define BENCH_HISTOGRAM_BITS 42   /* values from 2^42 (73 minutes in ns) on count as 2^42 - 1 */
#define BENCH_HISTOGRAM_BUCKETS \
	(2 * BENCH_HISTOGRAM_HALF + (BENCH_HISTOGRAM_BITS - 11) * BENCH_HISTOGRAM_HALF)

struct bench_histogram {
	uint64_t total;
	uint64_t min, max; /* as recorded; min is UINT64_MAX while empty */
	double sum, sum_of_squares;
	uint64_t counts[BENCH_HISTOGRAM_BUCKETS];
};

/* What people compare. */
struct bench_percentiles {
	double p50, p90, p99, p999, max;
};

void bench_histogram_reset(struct bench_histogram *h);
void bench_histogram_record(struct bench_histogram *h, uint64_t value);
void bench_histogram_add(struct bench_histogram *to, const struct bench_histogram *from);

/* The bucket of a value, and the largest value that shares it. */
uint32_t bench_histogram_bucket(uint64_t value);
uint64_t bench_histogram_bucket_top(uint32_t bucket);

/* The value at or below which `percentile` (0 to 100) of all recorded ones lie. 0 while empty. */
uint64_t bench_histogram_at(const struct bench_histogram *h, double percentile);
struct bench_percentiles bench_histogram_percentiles(const struct bench_histogram *h);
double bench_histogram_mean(const struct bench_histogram *h);
double bench_histogram_deviation(const struct bench_histogram *h);

/* HdrHistogram's percentile distribution (.hgrm): values divided by `unit`, five lines for each halving of the rest.
 * 0, or -errno of the stream. */
int bench_histogram_print(const struct bench_histogram *h, FILE *out, double unit);

#endif
