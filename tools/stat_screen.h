/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_screen.h - what bus-stat shows, as tables: made from a take, printed here or drawn by the
 * live display.
 */
#ifndef STAT_SCREEN_H
#define STAT_SCREEN_H

#include "stat_source.h"
#include "stat_table.h"
#include "stat_take.h"

enum stat_list { STAT_TOPICS, STAT_PUBLISHERS, STAT_SUBSCRIBERS, STAT_LISTS };

/* Columns of a list over all topics. */
const struct stat_column *stat_list_columns(enum stat_list list);

/* Fills an empty table with a row for each topic, publisher or subscriber of the take. */
void stat_list_fill(struct stat_table *table, enum stat_list list, const struct stat_take *take);

/* Prints a fitted table to stdout: titles, then rows, in colour where that is wanted. */
void stat_print_table(struct stat_table *table);

/*
 * Who is held back by whom, a sentence a line, without newline. false: no more. Set *at to 0 to
 * begin.
 */
bool stat_blocked_line(const struct stat_take *take, int *at, char *line, size_t size);

/* The columns of stdout: of the terminal; 0 (no limit) where it is none. */
unsigned stat_width(void);

/* Whole screens, printed. */
void stat_show_all(const struct stat_source *source, const struct stat_take *take);
void stat_show_topic(const struct stat_source *source, const struct stat_topic *topic,
		     const struct stat_take *take);
void stat_show_numa(const struct stat_take *take);
void stat_show_clients(const struct stat_source *source, const struct stat_take *take);
void stat_show_namespaces(const struct bus_stat_namespace *spaces, int count);
void stat_show_messages(const struct bus_msg *msgs, int n);

#endif
