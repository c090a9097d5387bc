/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_format.h - messages as tools print them: for people, raw, by a format of the user's, as
 * JSON.
 */
#ifndef TOOL_FORMAT_H
#define TOOL_FORMAT_H

#include <stdbool.h>

#include <bus.h>

#include "tool_output.h"

enum tool_style {
	TOOL_STYLE_TEXT,   /* for people: topic and number, headers, payload, an empty line */
	TOOL_STYLE_LINES,  /* payload and '\n' */
	TOOL_STYLE_WHOLE,  /* payload, nothing between */
	TOOL_STYLE_LENGTH, /* 32-bit little-endian length and payload */
	TOOL_STYLE_FORMAT, /* spec */
	TOOL_STYLE_JSON,   /* an object a line */
};

struct tool_format {
	enum tool_style style;
	bool headers; /* TEXT, LINES: `name: value` lines and an empty one before each payload */
	bool colour;  /* TEXT */
	bool chosen;  /* style was, by an option */
	/*
	 * FORMAT: %t topic %s seq %k key %T time %h headers %p payload %l lost %%, \n \t \r \0 \\
	 */
	const char *spec;
};

/* ---- from options; what contradicts itself ends the program (TOOL_USAGE) ---- */

/* --raw, --json. */
void tool_format_choose(struct tool_format *format, enum tool_style style);
/* --stdout=lines|whole|length */
void tool_format_stdout(struct tool_format *format, const char *text);
/* -f: spec must stay. Something unknown in it ends the program. */
void tool_format_spec(struct tool_format *format, const char *spec);
/* After all options: what was not chosen is for people on a terminal, lines else. */
void tool_format_complete(struct tool_format *format);

/* Ends the program (TOOL_USAGE) where spec has something unknown in it. */
void tool_format_check(const char *spec);

/*
 * Adds the message to the output. Its bytes may change meanwhile (a lossy reader, before release):
 * what was added must then be dropped, but nothing worse happens.
 */
void tool_format_add(const struct tool_format *format, const struct bus_msg *msg,
		     struct tool_output *out);

#endif
