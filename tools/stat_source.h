/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_source.h - where bus-stat looks: at a busd, or, where none answers and it may, at what living
 * processes still map of one. Whatever shows something of the second kind says so.
 */
#ifndef STAT_SOURCE_H
#define STAT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <bus_stat.h>

#include "tool.h"

struct stat_take;

struct stat_source {
	struct bus *bus; /* NULL: no busd answers */
	struct bus_stat *stat;
	bool silent;    /* somebody listens there all the same */
	char why[1024]; /* where nothing could be opened: a sentence */
};

/* 0, or -errno with source->why. pattern NULL: all topics. */
int stat_source_try(struct stat_source *source, const char *pattern) BUS_MUST_CHECK;
/* Ends the program with a message instead. */
void stat_source_open(struct stat_source *source, const char *pattern);
/* Closes. Returns the exit code: TOOL_NOBODY where no busd answered, whatever was shown. */
int stat_source_close(struct stat_source *source);

/* A line about busd, without newline. take may be NULL where no busd answers. */
void stat_source_line(const struct stat_source *source, const struct stat_take *take, char *line,
		      size_t size);
/* What has no such line of its own (JSON, messages, metrics) has it on stderr, where it matters. */
void stat_source_warn(const struct stat_source *source, const struct stat_take *take);
/* Sets "busd" in an object, or in each of an array: serving, silent or dead. Gives it back. */
json_t *stat_source_mark(const struct stat_source *source, json_t *json);

/* A process, as busd knows it or as the boards do. */
struct stat_client {
	struct bus_stat_client now;
	bool gone;    /* its process */
	bool by_maps; /* memory, queue and node are not known */
};

/* All of them, to be freed; *count of them. */
struct stat_client *stat_source_clients(const struct stat_source *source,
					const struct stat_take *take, int *count);

/* All that the caller may see, to be freed; ends the program where busd cannot be asked. */
struct bus_stat_namespace *stat_namespaces(struct bus *bus, int *count);
/* "root", "group:staff", or "-". */
struct tool_text stat_owner(const struct bus_stat_namespace *space);

#endif
