/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_table.h - the lines that `make bench` prints, and the same as JSON and as a table for
 * docs/benchmarks.md.
 */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "bench_measure.h"

#include <jansson.h>
#include <stdbool.h>

enum bench_unit {
	UNIT_NS,         /* printed as ns, us, ms */
	UNIT_PER_SECOND, /* messages */
	UNIT_BYTES_PER_SECOND,
	UNIT_BYTES,
	UNIT_COUNT,
	UNIT_PERCENT,
};

/* What a figure has to be. The ratio is judged where there is a limit, else the value. */
enum bench_target_kind { TARGET_NONE, TARGET_AT_MOST, TARGET_AT_LEAST };

struct bench_figure {
	const char *name;
	enum bench_unit unit;
	double value;
	double limit;              /* 0: there is none */
	const char *limit_name;    /* "ideal ring", ... */
	struct bench_spread ratio; /* count 0: there is none, the value is judged */
	enum bench_target_kind kind;
	double target;
	int calm, rounds;    /* undisturbed ones of all; 0, 0: does not apply */
	const char *missing; /* why it could not be measured; NULL: it was */
};

struct bench_table {
	json_t *figures;
	char *text; /* the rows of the table for the document */
	size_t text_bytes;
	FILE *rows;
	int below, missing, disturbed;
};

void bench_table_begin(struct bench_table *table);
/* A heading between lines. */
void bench_table_part(struct bench_table *table, const char *title);
void bench_table_add(struct bench_table *table, const struct bench_figure *figure);
/*
 * Writes both files (NULL: not) and drops the table. Returns how many figures missed their target.
 */
int bench_table_end(struct bench_table *table, const char *json_path, const char *rows_path);

#endif
