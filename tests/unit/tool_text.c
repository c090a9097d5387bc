/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: values are read and shown as the manual pages say; messages are printed in each style
 * with every byte where it belongs, and nothing of a void batch stays in the output.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "tool_format.h"
#include "tool_pace.h"
#include "tool_template.h"

static void values_are_read(void **state)
{
	(void)state;
	assert_int_equal(tool_size("x", "4096", 0, UINT64_MAX), 4096);
	assert_int_equal(tool_size("x", "64K", 0, UINT64_MAX), 65536);
	assert_int_equal(tool_size("x", "1.5MiB", 0, UINT64_MAX), 1572864);
	assert_int_equal(tool_size("x", "2G", 0, UINT64_MAX), 2147483648);
	assert_int_equal(tool_duration("x", "500ms"), 500000000);
	assert_int_equal(tool_duration("x", "2s"), 2000000000);
	assert_int_equal(tool_duration("x", "2"), 2000000000);
	assert_int_equal(tool_duration("x", "1.5h"), 5400000000000);
	assert_int_equal(tool_duration("x", "250us"), 250000);
	assert_true(tool_rate("x", "2.5k") == 2500);
	assert_int_equal(tool_number("x", "18446744073709551615", 0, UINT64_MAX), UINT64_MAX);
	assert_int_equal(tool_choice("x", "evict", "evict|block|fail"), 0);
	assert_int_equal(tool_choice("x", "fail", "evict|block|fail"), 2);
}

static void values_are_shown(void **state)
{
	(void)state;
	assert_string_equal(tool_bytes(0).s, "0 B");
	assert_string_equal(tool_bytes(1023).s, "1023 B");
	assert_string_equal(tool_bytes(262144).s, "256 KiB");
	assert_string_equal(tool_bytes(1572864).s, "1.50 MiB");
	assert_string_equal(tool_count(950).s, "950");
	assert_string_equal(tool_count(12345).s, "12.3k");
	assert_string_equal(tool_count(4560000).s, "4.56M");
	assert_string_equal(tool_seconds(850).s, "850 ns");
	assert_string_equal(tool_seconds(3400000).s, "3.40 ms");
	assert_string_equal(tool_seconds(200000000000).s, "3m20s");
	assert_string_equal(tool_seconds(18420000000000).s, "5h07m");
	assert_string_equal(tool_time(1714564800123456789).s, "2024-05-01T12:00:00.123456789Z");
	assert_string_equal(tool_time(5).s, "1970-01-01T00:00:00.000000005Z");
	assert_string_equal(tool_user(0).s, "root");
}

static void templates_are_filled(void **state)
{
	static const char text[] = "a{{Count}}b{{Random}}{{x}}{{Count}}";
	char buf[256], again[256];
	size_t n;

	(void)state;
	assert_true(sizeof(buf) >= tool_template_size(text));
	assert_true(tool_template_check(text));
	assert_false(tool_template_check("{{x}} {Count}"));
	n = tool_template_write(text, 42, buf);
	assert_int_equal(n, 1 + 2 + 1 + 16 + 5 + 2);
	assert_memory_equal(buf, "a42b", 4);
	assert_memory_equal(buf + n - 7, "{{x}}42", 7);
	tool_template_write(text, 42, again);
	assert_memory_not_equal(buf, again, n);
	assert_int_equal(tool_template_write("{{Time}}", 1, buf), 30);
}

/* ---- printing ---- */

static struct bus_peer peer = { 7, 4711, 1000, "pub" };

static struct bus_msg message(const char *data, size_t len)
{
	return (struct bus_msg){ .data = data,
				 .len = (uint32_t)len,
				 .seq = 12,
				 .lost = 3,
				 .key = "K\xff",
				 .key_len = 2,
				 .time_ns = 1000000000,
				 .topic = "a.b",
				 .from = &peer };
}

static void assert_printed(struct tool_format format, const char *data, size_t len,
			   const char *want, size_t want_len)
{
	struct bus_msg msg = message(data, len);
	struct tool_output out;

	tool_output_open(&out, -1);
	tool_format_add(&format, &msg, &out);
	assert_int_equal(tool_output_open_bytes(&out), want_len);
	assert_memory_equal(out.data, want, want_len);
	tool_output_close(&out);
}

#define PRINTED(len, want, ...) \
	assert_printed((struct tool_format){ .style = __VA_ARGS__ }, "x\0\xfe", len, want, \
		       sizeof(want) - 1)

static void every_style_prints_what_it_says(void **state)
{
	(void)state;
	PRINTED(3, "x\0\xfe\n", TOOL_STYLE_LINES);
	PRINTED(0, "\n", TOOL_STYLE_LINES);
	PRINTED(3, "x\0\xfe", TOOL_STYLE_WHOLE);
	PRINTED(3, "\3\0\0\0x\0\xfe", TOOL_STYLE_LENGTH);
	PRINTED(1, "a.b 12 K\xff 1970-01-01T00:00:01.000000000Z  x 3 %\n\t\\", TOOL_STYLE_FORMAT,
		.spec = "%t %s %k %T %h %p %l %%\\n\\t\\\\");
	/* What a terminal would act on is shown, not sent. */
	PRINTED(2, "[#12] a.b key=K\xff lost=3\nx\\x00\n\n", TOOL_STYLE_TEXT);
	PRINTED(1,
		"{\"topic\":\"a.b\",\"seq\":12,\"time\":\"1970-01-01T00:00:01.000000000Z\",\"key_base64\":\"S/8=\","
		"\"payload\":\"x\",\"lost\":3,\"publisher\":{\"pid\":4711,\"uid\":1000,\"name\":\"pub\"}}\n",
		TOOL_STYLE_JSON);
	PRINTED(3,
		"{\"topic\":\"a.b\",\"seq\":12,\"time\":\"1970-01-01T00:00:01.000000000Z\",\"key_base64\":\"S/8=\","
		"\"payload_base64\":\"eAD+\",\"lost\":3,\"publisher\":{\"pid\":4711,\"uid\":1000,\"name\":\"pub\"}}\n",
		TOOL_STYLE_JSON);
}

static void only_what_was_confirmed_is_written(void **state)
{
	struct tool_output out;
	char got[16];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	tool_output_open(&out, ends[1]);
	tool_output_text(&out, "good");
	tool_output_confirm(&out);
	tool_output_text(&out, "void");
	tool_output_drop(&out);
	tool_output_number(&out, 18446744073709551615u);
	tool_output_drop(&out);
	tool_output_number(&out, 0);
	tool_output_confirm(&out);
	assert_int_equal(tool_output_flush(&out), 0);
	assert_int_equal(tool_output_flush(&out), 0);
	assert_int_equal(read(ends[0], got, sizeof(got)), 5);
	assert_memory_equal(got, "good0", 5);
	tool_output_close(&out);
	close(ends[0]);
	close(ends[1]);
}

/* ---- pace ---- */

static void a_rate_does_not_drift(void **state)
{
	struct tool_pace pace;
	int64_t start = tool_clock_ns(), passed;
	int count = 0;

	(void)state;
	tool_pace_start(&pace, 1000);
	tool_sleep_until(start + 50000000); /* late from the start: made up for, 50 at once */
	assert_true(tool_pace_next(&pace, 10) == 10);
	for (count = 10; count < 151;)
		count += tool_pace_next(&pace, 151 - count);
	passed = tool_clock_ns() - start;
	assert_true(passed >= 150000000);
	assert_true(passed < 1000000000);
	/* What the wait for work cost is not made up for. */
	tool_sleep_until(tool_clock_ns() + 50000000);
	tool_pace_forgive(&pace, 50000000);
	assert_true(tool_pace_next(&pace, 100) < 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(values_are_shown),
		cmocka_unit_test(templates_are_filled),
		cmocka_unit_test(every_style_prints_what_it_says),
		cmocka_unit_test(only_what_was_confirmed_is_written),
		cmocka_unit_test(a_rate_does_not_drift),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
