/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_table.c - see stat_table.h
 */
#include <stdlib.h>
#include <string.h>

#include "stat_table.h"
#include "tool.h"

static void *need(void *memory)
{
	if (!memory)
		tool_fail(TOOL_FAILED, "out of memory");
	return memory;
}

void stat_table_init(struct stat_table *table, const struct stat_column *columns)
{
	*table = (struct stat_table){ .columns = columns };
	while (columns[table->column_count].title)
		table->column_count++;
}

void stat_table_free(struct stat_table *table)
{
	for (int i = 0; i < table->row_count; i++)
		for (int k = 0; k < table->column_count; k++)
			free(table->rows[i].cells[k].text);
	free(table->rows);
	table->rows = NULL;
	table->row_count = table->room = 0;
}

void stat_table_row(struct stat_table *table, enum stat_mark mark)
{
	if (table->row_count == table->room) {
		table->room = table->room ? 2 * table->room : 16;
		table->rows = need(realloc(table->rows, (size_t)table->room * sizeof(*table->rows)));
	}
	table->rows[table->row_count++] = (struct stat_row){ .mark = mark };
	table->filled = 0;
}

void stat_table_number(struct stat_table *table, const char *text, double value)
{
	struct stat_cell *cell = &table->rows[table->row_count - 1].cells[table->filled++];

	cell->value = value;
	cell->text = need(strdup(text));
	for (char *p = cell->text; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}

void stat_table_text(struct stat_table *table, const char *text)
{
	stat_table_number(table, text, 0);
}

int stat_table_column(const struct stat_column *columns, const char *key)
{
	for (int i = 0; columns[i].title; i++)
		if (strcmp(columns[i].key, key) == 0)
			return i;
	return -1;
}

/* ---- sorting ---- */

/*
 * Insertion sort by binary search would do too; what matters is that equal rows do not change
 * places on a live screen.
 */
static int compare(const struct stat_table *table, int column, const struct stat_row *a,
		   const struct stat_row *b)
{
	const struct stat_cell *x = &a->cells[column], *y = &b->cells[column];
	const struct stat_column *c = &table->columns[column];
	int order;

	if (c->left)
		order = strcmp(x->text ? x->text : "", y->text ? y->text : "");
	else
		order = x->value < y->value ? -1 : x->value > y->value;
	return c->left || c->rising ? order : -order;
}

static void merge(const struct stat_table *table, int column, int sign, struct stat_row *rows,
		  int n, struct stat_row *spare)
{
	int half = n / 2, i = 0, k = half, to = 0;

	if (n < 2)
		return;
	merge(table, column, sign, rows, half, spare);
	merge(table, column, sign, rows + half, n - half, spare);
	memcpy(spare, rows, (size_t)n * sizeof(*rows));
	while (i < half && k < n)
		rows[to++] = sign * compare(table, column, &spare[k], &spare[i]) < 0 ? spare[k++]
										     : spare[i++];
	while (i < half)
		rows[to++] = spare[i++];
	while (k < n)
		rows[to++] = spare[k++];
}

void stat_table_sort(struct stat_table *table, int column, bool reversed)
{
	struct stat_row *spare;

	if (table->row_count < 2)
		return;
	spare = need(malloc((size_t)table->row_count * sizeof(*spare)));
	merge(table, column, reversed ? -1 : 1, table->rows, table->row_count, spare);
	free(spare);
}

/* ---- showing ---- */

void stat_table_fit(struct stat_table *table, unsigned columns)
{
	unsigned sum = 0;

	for (int k = 0; k < table->column_count; k++) {
		unsigned width = (unsigned)strlen(table->columns[k].title);

		for (int i = 0; i < table->row_count; i++) {
			const char *text = table->rows[i].cells[k].text;

			if (text && strlen(text) > width)
				width = (unsigned)strlen(text);
		}
		table->widths[k] = width;
		sum += width + (k > 0);
	}
	/* The widest that may be cut gives one, until it fits or none may give more. */
	while (columns && sum > columns) {
		int widest = -1;

		for (int k = 0; k < table->column_count; k++)
			if (table->columns[k].least && table->widths[k] > table->columns[k].least &&
			    (widest < 0 || table->widths[k] > table->widths[widest]))
				widest = k;
		if (widest < 0)
			return;
		table->widths[widest]--;
		sum--;
	}
}

static void put(char *line, size_t size, size_t *at, const char *text, size_t n)
{
	for (size_t i = 0; i < n && *at + 1 < size; i++)
		line[(*at)++] = text ? text[i] : ' ';
}

void stat_table_line(const struct stat_table *table, int row, char *line, size_t size)
{
	size_t at = 0;

	for (int k = 0; k < table->column_count; k++) {
		const char *text = row < 0 ? table->columns[k].title : table->rows[row].cells[k].text;
		size_t width = table->widths[k], len = text ? strlen(text) : 0;
		bool cut = len > width;

		if (k > 0)
			put(line, size, &at, NULL, 1);
		if (!table->columns[k].left && !cut)
			put(line, size, &at, NULL, width - len);
		put(line, size, &at, text, cut ? width - 1 : len);
		if (cut)
			put(line, size, &at, "~", 1);
		if (table->columns[k].left && !cut)
			put(line, size, &at, NULL, width - len);
	}
	while (at > 0 && line[at - 1] == ' ')
		at--;
	line[at] = '\0';
}
