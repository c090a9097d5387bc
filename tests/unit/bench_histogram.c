/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: bus-bench's histogram counts each value where it belongs, its percentiles are those of
 * the sorted values to 0.1 %, and its text form is HdrHistogram's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/bench_histogram.c"

static struct bench_histogram hist, other;

static void buckets_are_tight_and_in_order(void **state)
{
	uint64_t last_top = 0;

	(void)state;
	for (uint32_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
		uint64_t top = bench_histogram_bucket_top(i);

		assert_int_equal(bench_histogram_bucket(top), i);
		if (i > 0) {
			assert_true(top > last_top);
			/* The bucket begins right behind the one before it. */
			assert_int_equal(bench_histogram_bucket(last_top + 1), i);
			assert_true((double)(top - last_top - 1) <= (double)top * 0.001);
		}
		last_top = top;
	}
	assert_int_equal(last_top, (UINT64_C(1) << BENCH_HISTOGRAM_BITS) - 1);
	assert_int_equal(bench_histogram_bucket(UINT64_MAX), BENCH_HISTOGRAM_BUCKETS - 1);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void percentiles_agree_with_sorting(void **state)
{
	static const double wanted[] = { 0, 1, 50, 90, 99, 99.9, 99.99, 100 };
	enum { N = 20000 };
	static uint64_t values[N];
	uint64_t x = 88172645463325252u;

	(void)state;
	bench_histogram_reset(&hist);
	for (int i = 0; i < N; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		values[i] = (x >> 40) >> (x % 17); /* spread over many doublings */
		bench_histogram_record(&hist, values[i]);
	}
	qsort(values, N, sizeof(values[0]), compare_u64);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		int rank = (int)(wanted[i] / 100 * N + 0.999999);
		uint64_t exact = values[rank ? rank - 1 : 0],
			 got = bench_histogram_at(&hist, wanted[i]);

		assert_true(got >= exact && (double)got <= (double)exact * 1.001 + 0.5);
	}
	assert_int_equal(hist.min, values[0]);
	assert_int_equal(hist.max, values[N - 1]);
}

static void an_empty_one_is_all_zeros(void **state)
{
	struct bench_percentiles p;

	(void)state;
	bench_histogram_reset(&hist);
	p = bench_histogram_percentiles(&hist);
	assert_true(p.p50 == 0 && p.p999 == 0 && p.max == 0);
	assert_true(bench_histogram_mean(&hist) == 0 && bench_histogram_deviation(&hist) == 0);
}

static void adding_is_recording_both(void **state)
{
	(void)state;
	bench_histogram_reset(&hist);
	bench_histogram_reset(&other);
	for (uint64_t i = 1; i <= 50; i++) {
		bench_histogram_record(&hist, i);
		bench_histogram_record(&other, i + 50);
	}
	bench_histogram_add(&hist, &other);
	assert_int_equal(hist.total, 100);
	assert_int_equal(bench_histogram_at(&hist, 90), 90);
	assert_int_equal(hist.min, 1);
	assert_int_equal(hist.max, 100);
	assert_true(bench_histogram_mean(&hist) == 50.5);
	/* Of 1..100: sqrt((100^2 - 1) / 12) = 28.866 */
	assert_true(fabs(bench_histogram_deviation(&hist) - 28.866) < 0.001);
}

static void text_is_hdr_histograms(void **state)
{
	char text[8192] = "", *line;
	double value, share, inverse, last_share = -1;
	unsigned long upto, last_upto = 0;
	FILE *f = tmpfile();
	int lines = 0, ends = 0;

	(void)state;
	assert_non_null(f);
	bench_histogram_reset(&hist);
	for (uint64_t i = 1; i <= 1000; i++)
		bench_histogram_record(&hist, i * 1000);
	assert_int_equal(bench_histogram_print(&hist, f, 1000), 0);
	rewind(f);
	assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	line = strtok(text, "\n");
	assert_string_equal(line, "       Value     Percentile TotalCount 1/(1-Percentile)");
	while ((line = strtok(NULL, "\n")) && line[0] != '#') {
		int got = sscanf(line, "%lf %lf %lu %lf", &value, &share, &upto, &inverse);

		assert_true(got == 4 || got == 3);
		ends += got == 3;
		assert_true(share > last_share && upto >= last_upto &&
			    (double)upto >= share * 1000 - 1e-6);
		if (got == 4) /* printed with two decimals */
			assert_true(fabs(inverse - 1 / (1 - share)) < 0.006);
		/* Value and count belong together: 1, 2, ... 1000. */
		assert_true(fabs(value - (double)upto) <= value * 0.0011);
		last_share = share;
		last_upto = upto;
		lines++;
	}
	assert_true(lines > 20);
	assert_int_equal(ends, 1);
	assert_int_equal(last_upto, 1000);
	assert_non_null(line);
	assert_string_equal(line, "#[Mean    =      500.500, StdDeviation   =      288.675]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_are_tight_and_in_order),
		cmocka_unit_test(percentiles_agree_with_sorting),
		cmocka_unit_test(an_empty_one_is_all_zeros),
		cmocka_unit_test(adding_is_recording_both),
		cmocka_unit_test(text_is_hdr_histograms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
