/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_format.c - see tool_format.h. Runs once per message: no printf() on the raw paths.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "tool_format.h"

#define DIM   "\033[2m"
#define PLAIN "\033[0m"

/* ---- for people ---- */

/* A payload is anything: bytes that would steer the terminal are shown instead. */
static void add_visible(struct tool_output *out, const void *data, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *from = data;
	char *to = tool_output_room(out, len * 4);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		/* Once: a lossy reader's bytes may change. */
		unsigned char c = *(volatile const unsigned char *)&from[i];

		if ((c >= ' ' && c != 0x7f) || c == '\n' || c == '\t') {
			to[n++] = (char)c;
			continue;
		}
		to[n++] = '\\';
		to[n++] = 'x';
		to[n++] = hex[c >> 4];
		to[n++] = hex[c & 15];
	}
	out->end += n;
}

static void add_header_lines(struct tool_output *out, const struct bus_msg *msg, bool visible)
{
	struct bus_header header;
	uint32_t at = 0;

	while (bus_msg_header_next(msg, &at, &header) > 0) {
		if (visible) {
			add_visible(out, header.name, header.name_len);
			tool_output_text(out, ": ");
			add_visible(out, header.value, header.value_len);
		} else {
			tool_output_add(out, header.name, header.name_len);
			tool_output_text(out, ": ");
			tool_output_add(out, header.value, header.value_len);
		}
		tool_output_text(out, "\n");
	}
	tool_output_text(out, "\n");
}

static void add_text(const struct tool_format *format, const struct bus_msg *msg,
		     struct tool_output *out)
{
	if (format->colour)
		tool_output_text(out, DIM);
	tool_output_text(out, "[#");
	tool_output_number(out, msg->seq);
	tool_output_text(out, "] ");
	tool_output_text(out, msg->topic);
	if (msg->key) {
		tool_output_text(out, " key=");
		add_visible(out, msg->key, msg->key_len);
	}
	if (msg->lost) {
		tool_output_text(out, " lost=");
		tool_output_number(out, msg->lost);
	}
	if (format->colour)
		tool_output_text(out, PLAIN);
	tool_output_text(out, "\n");
	if (format->headers)
		add_header_lines(out, msg, true);
	add_visible(out, msg->data, msg->len);
	tool_output_text(out, "\n\n");
}

/* ---- -f ---- */

static const char escapes[] = "n\nt\tr\r0\0\\\\";

/* What stands for \c, -1: nothing does. */
static int escape(char c)
{
	for (size_t i = 0; i + 1 < sizeof(escapes); i += 2)
		if (escapes[i] == c)
			return escapes[i + 1];
	return -1;
}

void tool_format_check(const char *spec)
{
	for (const char *s = spec; *s; s++) {
		if (*s == '%') {
			s++;
			if (!*s || !strchr("tskThpl%", *s))
				tool_fail_usage("-f: %%%c is unknown; known are %%t topic, %%s seq, %%k key, %%T time,\n"
						"         %%h headers, %%p payload, %%l lost, %%%%",
						*s ? *s : ' ');
		} else if (*s == '\\') {
			s++;
			if (!*s || escape(*s) < 0)
				tool_fail_usage(
					"-f: \\%c is unknown; known are \\n, \\t, \\r, \\0, \\\\",
					*s ? *s : ' ');
		}
	}
}

/* ---- options ---- */

void tool_format_choose(struct tool_format *format, enum tool_style style)
{
	if (format->chosen && format->style != style)
		tool_fail_usage("--raw, --stdout, --format and --json exclude each other");
	format->style = style;
	format->chosen = true;
}

void tool_format_stdout(struct tool_format *format, const char *text)
{
	static const enum tool_style styles[] = { TOOL_STYLE_LINES, TOOL_STYLE_WHOLE,
						  TOOL_STYLE_LENGTH };

	tool_format_choose(format, styles[tool_choice("--stdout", text, "lines|whole|length")]);
}

void tool_format_spec(struct tool_format *format, const char *spec)
{
	tool_format_check(spec);
	tool_format_choose(format, TOOL_STYLE_FORMAT);
	format->spec = spec;
}

void tool_format_complete(struct tool_format *format)
{
	if (!format->chosen)
		format->style = isatty(STDOUT_FILENO) ? TOOL_STYLE_TEXT : TOOL_STYLE_LINES;
	if (format->headers && format->style > TOOL_STYLE_LINES)
		tool_fail_usage(
			"--headers goes with --raw or output for people; there is %%h, and --json has them");
	format->colour = tool_colour();
}

/* ---- -f, a message ---- */

/* name=value,name=value */
static void add_header_list(struct tool_output *out, const struct bus_msg *msg)
{
	struct bus_header header;
	const char *between = "";
	uint32_t at = 0;

	while (bus_msg_header_next(msg, &at, &header) > 0) {
		tool_output_text(out, between);
		tool_output_add(out, header.name, header.name_len);
		tool_output_text(out, "=");
		tool_output_add(out, header.value, header.value_len);
		between = ",";
	}
}

static void add_field(struct tool_output *out, const struct bus_msg *msg, char field)
{
	switch (field) {
	case 't':
		tool_output_text(out, msg->topic);
		break;
	case 's':
		tool_output_number(out, msg->seq);
		break;
	case 'k':
		tool_output_add(out, msg->key, msg->key ? msg->key_len : 0);
		break;
	case 'T':
		tool_output_text(out, tool_time(msg->time_ns).s);
		break;
	case 'h':
		add_header_list(out, msg);
		break;
	case 'p':
		tool_output_add(out, msg->data, msg->len);
		break;
	case 'l':
		tool_output_number(out, msg->lost);
		break;
	default:
		tool_output_add(out, &field, 1);
	}
}

static void add_by_spec(const char *spec, const struct bus_msg *msg, struct tool_output *out)
{
	while (*spec) {
		size_t plain = strcspn(spec, "%\\");
		char c;

		tool_output_add(out, spec, plain);
		spec += plain;
		if (!*spec)
			break;
		if (*spec == '%') {
			add_field(out, msg, spec[1]);
		} else {
			c = (char)escape(spec[1]);
			tool_output_add(out, &c, 1);
		}
		spec += 2;
	}
}

/* ---- JSON ---- */

/* A private copy: the test for UTF-8 and the encoding must see the same bytes. */
static void set_copied(json_t *object, const char *key, const void *data, size_t len)
{
	static char *copy;
	static size_t size;

	if (size < len) {
		size = len * 2;
		free(copy);
		copy = malloc(size);
		if (!copy)
			tool_fail(TOOL_FAILED, "no memory for a message of %s", tool_bytes(len).s);
	}
	if (len)
		memcpy(copy, data, len);
	tool_json_set_bytes(object, key, copy, len);
}

/* An array of {name, value}: names may repeat, and their order is the publisher's. */
static json_t *json_headers(const struct bus_msg *msg)
{
	json_t *headers = json_array();
	struct bus_header header;
	uint32_t at = 0;

	while (bus_msg_header_next(msg, &at, &header) > 0) {
		json_t *pair = json_object();

		set_copied(pair, "name", header.name, header.name_len);
		set_copied(pair, "value", header.value, header.value_len);
		json_array_append_new(headers, pair);
	}
	return headers;
}

static int add_json_piece(const char *text, size_t len, void *out)
{
	tool_output_add(out, text, len);
	return 0;
}

static void add_json(const struct bus_msg *msg, struct tool_output *out)
{
	json_t *object = json_pack("{s:s, s:I, s:o}", "topic", msg->topic, "seq",
				   (json_int_t)msg->seq, "time", tool_json_time(msg->time_ns));

	if (!object)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
	if (msg->key)
		set_copied(object, "key", msg->key, msg->key_len);
	if (msg->headers_len)
		json_object_set_new(object, "headers", json_headers(msg));
	set_copied(object, "payload", msg->data, msg->len);
	json_object_set_new(object, "lost", json_integer((json_int_t)msg->lost));
	if (msg->from)
		json_object_set_new(object, "publisher",
				    json_pack("{s:I, s:I, s:s}", "pid", (json_int_t)msg->from->pid,
					      "uid", (json_int_t)msg->from->uid, "name",
					      msg->from->name));
	if (json_dump_callback(object, add_json_piece, out, JSON_COMPACT) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
	json_decref(object);
	tool_output_text(out, "\n");
}

void tool_format_add(const struct tool_format *format, const struct bus_msg *msg,
		     struct tool_output *out)
{
	uint32_t len;

	switch (format->style) {
	case TOOL_STYLE_TEXT:
		add_text(format, msg, out);
		break;
	case TOOL_STYLE_LINES:
		if (format->headers)
			add_header_lines(out, msg, false);
		tool_output_add(out, msg->data, msg->len);
		tool_output_add(out, "\n", 1);
		break;
	case TOOL_STYLE_LENGTH:
		len = htole32(msg->len);
		tool_output_add(out, &len, sizeof(len));
		tool_output_add(out, msg->data, msg->len);
		break;
	case TOOL_STYLE_WHOLE:
		tool_output_add(out, msg->data, msg->len);
		break;
	case TOOL_STYLE_FORMAT:
		add_by_spec(format->spec, msg, out);
		break;
	case TOOL_STYLE_JSON:
		add_json(msg, out);
		break;
	}
}
