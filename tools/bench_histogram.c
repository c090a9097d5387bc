/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_histogram.c - see bench_histogram.h.
 */
#include "bench_histogram.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define EXACT_BITS        11 /* 2^11 = 2 * HALF values have a bucket each */
#define LINES_PER_HALVING 5

void bench_histogram_reset(struct bench_histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

uint32_t bench_histogram_bucket(uint64_t value)
{
	uint32_t shift;

	if (value >= UINT64_C(1) << BENCH_HISTOGRAM_BITS)
		value = (UINT64_C(1) << BENCH_HISTOGRAM_BITS) - 1;
	if (value < 2 * BENCH_HISTOGRAM_HALF)
		return (uint32_t)value;
	/* So many low bits are dropped that the rest is between HALF and 2 * HALF. */
	shift = 64 - (uint32_t)__builtin_clzll(value) - EXACT_BITS;
	return shift * BENCH_HISTOGRAM_HALF + (uint32_t)(value >> shift);
}

uint64_t bench_histogram_bucket_top(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < 2 * BENCH_HISTOGRAM_HALF)
		return bucket;
	shift = bucket / BENCH_HISTOGRAM_HALF - 1;
	return ((uint64_t)(bucket - shift * BENCH_HISTOGRAM_HALF + 1) << shift) - 1;
}

void bench_histogram_record(struct bench_histogram *h, uint64_t value)
{
	h->counts[bench_histogram_bucket(value)]++;
	h->total++;
	h->sum += (double)value;
	h->sum_of_squares += (double)value * (double)value;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
}

void bench_histogram_add(struct bench_histogram *to, const struct bench_histogram *from)
{
	for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
		to->counts[i] += from->counts[i];
	to->total += from->total;
	to->sum += from->sum;
	to->sum_of_squares += from->sum_of_squares;
	if (from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
}

static uint64_t value_of(const struct bench_histogram *h, uint32_t bucket)
{
	uint64_t top = bench_histogram_bucket_top(bucket);

	return top < h->max ? top : h->max;
}

uint64_t bench_histogram_at(const struct bench_histogram *h, double percentile)
{
	uint64_t want, seen = 0;

	if (h->total == 0)
		return 0;
	want = (uint64_t)ceil((double)h->total * percentile / 100);
	if (want < 1)
		want = 1;
	for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
		seen += h->counts[i];
		if (seen >= want)
			return value_of(h, i);
	}
	return h->max;
}

struct bench_percentiles bench_histogram_percentiles(const struct bench_histogram *h)
{
	return (struct bench_percentiles){
		.p50 = (double)bench_histogram_at(h, 50),
		.p90 = (double)bench_histogram_at(h, 90),
		.p99 = (double)bench_histogram_at(h, 99),
		.p999 = (double)bench_histogram_at(h, 99.9),
		.max = (double)h->max,
	};
}

double bench_histogram_mean(const struct bench_histogram *h)
{
	return h->total ? h->sum / (double)h->total : 0;
}

double bench_histogram_deviation(const struct bench_histogram *h)
{
	double mean = bench_histogram_mean(h), variance;

	if (h->total == 0)
		return 0;
	variance = h->sum_of_squares / (double)h->total - mean * mean;
	return variance > 0 ? sqrt(variance) : 0;
}

int bench_histogram_print(const struct bench_histogram *h, FILE *out, double unit)
{
	double rest = 1; /* share of the values that lie above the line printed next */

	fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
		"1/(1-Percentile)");
	for (int line = 0; h->total; line++) {
		double share = 1 - rest;
		uint64_t value = bench_histogram_at(h, share * 100), upto = 0;
		uint32_t bucket = bench_histogram_bucket(value);

		for (uint32_t i = 0; i <= bucket; i++)
			upto += h->counts[i];
		if (upto >= h->total)
			break;
		fprintf(out, "%12.3f %2.12f %10" PRIu64 " %14.2f\n", (double)value / unit, share,
			upto, 1 / rest);
		rest = pow(0.5, (line + 1) / LINES_PER_HALVING) *
		       (1 - 0.5 * ((line + 1) % LINES_PER_HALVING) / LINES_PER_HALVING);
	}
	if (h->total)
		fprintf(out, "%12.3f %2.12f %10" PRIu64 "\n", (double)h->max / unit, 1.0, h->total);
	fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n",
		bench_histogram_mean(h) / unit, bench_histogram_deviation(h) / unit);
	fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", (double)h->max / unit,
		h->total);
	fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n",
		BENCH_HISTOGRAM_BITS - EXACT_BITS + 1, 2 * BENCH_HISTOGRAM_HALF);
	return ferror(out) || fflush(out) == EOF ? -(errno ? errno : EIO) : 0;
}
