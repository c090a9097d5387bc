/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_table.h - rows and columns of text that fit a width and can be sorted by a column. The
 * screens of bus-stat are filled into tables; a terminal, a pipe and the live display then show the
 * same thing.
 *
 * Cells hold what other processes call themselves: nothing but printable ASCII gets through.
 */
#ifndef STAT_TABLE_H
#define STAT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#define STAT_COLUMNS_MAX 16

enum stat_mark { STAT_PLAIN, STAT_QUIET, STAT_WARN, STAT_BAD };

struct stat_column {
	const char *title;
	const char *key; /* for --sort */
	bool left;       /* aligned; numbers stand right */
	bool rising;     /* sorted with the least first */
	unsigned least;  /* may be cut to so many characters where the width is short; 0: never */
};

struct stat_cell {
	char *text;
	double value; /* to sort by; of a left column the text counts */
};

struct stat_row {
	struct stat_cell cells[STAT_COLUMNS_MAX];
	enum stat_mark mark;
};

struct stat_table {
	const struct stat_column *columns;
	int column_count;
	struct stat_row *rows;
	int row_count, room;
	int filled; /* cells of the last row */
	unsigned widths[STAT_COLUMNS_MAX];
};

/*
 * columns: an array that ends with a title of NULL, at most STAT_COLUMNS_MAX. Running out of memory
 * ends the program.
 */
void stat_table_init(struct stat_table *table, const struct stat_column *columns);
void stat_table_free(struct stat_table *table);

/* Begins a row; the cells follow, in the order of the columns. */
void stat_table_row(struct stat_table *table, enum stat_mark mark);
void stat_table_text(struct stat_table *table, const char *text);
/* text stands for value: "1.2k" for 1203 */
void stat_table_number(struct stat_table *table, const char *text, double value);

/* The column of a key, -1: none. */
int stat_table_column(const struct stat_column *columns, const char *key);

/* Keeps the order of rows that are equal. reversed: against the column's own direction. */
void stat_table_sort(struct stat_table *table, int column, bool reversed);

/* Finds the widths. columns: of the screen, 0: as wide as need be. */
void stat_table_fit(struct stat_table *table, unsigned columns);

/* One line, no newline, without spaces at its end. row -1: the titles. */
void stat_table_line(const struct stat_table *table, int row, char *line, size_t size);

#endif
