/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of bus-stat: they fit the screen, sort without shuffling equals, and let nothing through
 * that a terminal obeys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stat_table.h"

static const struct stat_column columns[] = {
	{ .title = "NAME", .key = "name", .left = true, .least = 4 },
	{ .title = "LAG", .key = "lag" },
	{ .title = "PID", .key = "pid", .rising = true },
	{ .title = "WHO", .key = "who", .left = true, .least = 3 },
	{ 0 },
};

static void add(struct stat_table *t, const char *name, const char *lag, double value, double pid,
		const char *who)
{
	stat_table_row(t, STAT_PLAIN);
	stat_table_text(t, name);
	stat_table_number(t, lag, value);
	stat_table_number(t, "1", pid);
	stat_table_text(t, who);
}

static void fill(struct stat_table *t)
{
	stat_table_init(t, columns);
	add(t, "b", "9", 9, 30, "first");
	add(t, "a-long-name", "1.2k", 1200, 20, "second");
	add(t, "c", "9", 9, 10, "third");
}

static const char *line(const struct stat_table *t, int row)
{
	static char text[256];

	stat_table_line(t, row, text, sizeof(text));
	return text;
}

static void test_as_wide_as_need_be(void **state)
{
	struct stat_table t;

	(void)state;
	fill(&t);
	stat_table_fit(&t, 0);
	assert_string_equal(line(&t, -1), "NAME         LAG PID WHO");
	assert_string_equal(line(&t, 0), "b              9   1 first");
	assert_string_equal(line(&t, 1), "a-long-name 1.2k   1 second");
	stat_table_free(&t);
}

static void test_cut_to_fit(void **state)
{
	struct stat_table t;
	char text[8];

	(void)state;
	fill(&t);
	stat_table_fit(&t, 22);
	assert_string_equal(line(&t, 1), "a-lon~ 1.2k   1 second");
	stat_table_fit(&t, 17);
	assert_string_equal(line(&t, 1), "a-l~ 1.2k   1 se~");
	assert_string_equal(line(&t, -1), "NAME  LAG PID WHO");
	/* narrower than may be cut: numbers are never cut */
	stat_table_fit(&t, 5);
	assert_string_equal(line(&t, 1), "a-l~ 1.2k   1 se~");
	stat_table_line(&t, 1, text, sizeof(text));
	assert_string_equal(text, "a-l~ 1.");
	stat_table_free(&t);
}

static void test_sort(void **state)
{
	struct stat_table t;

	(void)state;
	fill(&t);
	stat_table_sort(&t, stat_table_column(columns, "lag"), false);
	assert_string_equal(t.rows[0].cells[3].text, "second"); /* the largest first */
	assert_string_equal(t.rows[1].cells[3].text, "first");  /* equals as they were */
	assert_string_equal(t.rows[2].cells[3].text, "third");
	stat_table_sort(&t, stat_table_column(columns, "lag"), true);
	assert_string_equal(t.rows[0].cells[3].text, "first");
	assert_string_equal(t.rows[2].cells[3].text, "second");
	stat_table_sort(&t, stat_table_column(columns, "pid"), false);
	assert_string_equal(t.rows[0].cells[3].text, "third");
	stat_table_sort(&t, stat_table_column(columns, "name"), false);
	assert_string_equal(t.rows[0].cells[3].text, "second");
	assert_string_equal(t.rows[2].cells[3].text, "third");
	assert_int_equal(stat_table_column(columns, "no"), -1);
	stat_table_free(&t);
}

static void test_sort_many(void **state)
{
	struct stat_table t;

	(void)state;
	stat_table_init(&t, columns);
	srandom(7);
	for (int i = 0; i < 1000; i++)
		add(&t, "x", "x", (double)(random() % 50), i, "x");
	stat_table_sort(&t, 1, false);
	for (int i = 1; i < 1000; i++) {
		const struct stat_cell *a = t.rows[i - 1].cells, *b = t.rows[i].cells;

		assert_true(a[1].value > b[1].value ||
			    (a[1].value == b[1].value && a[2].value < b[2].value));
	}
	stat_table_free(&t);
}

/* What processes call themselves is shown on somebody's terminal. */
static void test_nothing_obeyed(void **state)
{
	struct stat_table t;

	(void)state;
	stat_table_init(&t, columns);
	add(&t, "\033[31mred\a", "1", 1, 1, "a\nb\x7f\xc3\xa9");
	stat_table_fit(&t, 0);
	assert_string_equal(line(&t, 0), "?[31mred?   1   1 a?b???");
	stat_table_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_wide_as_need_be),
		cmocka_unit_test(test_cut_to_fit),
		cmocka_unit_test(test_sort),
		cmocka_unit_test(test_sort_many),
		cmocka_unit_test(test_nothing_obeyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
