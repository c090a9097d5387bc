/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_segment.c - see stat_segment.h. A segment is looked at together with the others of its directory: the next
 * one says up to where it counts.
 */
#include "stat_segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bus_log.h>

#include "tool.h"

struct verdict {
	uint64_t good, damaged;
	unsigned flaws;
	bool unusable;
	json_t *findings; /* NULL: text */
};

static bool find(struct bus_log *log, const char *name, struct bus_log_file *ret)
{
	uint32_t at = 0;

	while (bus_log_file_next(log, &at, ret))
		if (strcmp(ret->name, name) == 0)
			return true;
	return false;
}

static void add_finding(struct verdict *v, const struct bus_log_finding *f)
{
	if (f->kind == BUS_LOG_CHECKED) {
		v->good = f->messages;
		return;
	}
	v->damaged += f->kind == BUS_LOG_DAMAGE ? f->to - f->from : 0;
	v->flaws += f->kind == BUS_LOG_FLAW;
	v->unusable |= f->kind == BUS_LOG_FILE;
	if (v->findings)
		json_array_append_new(v->findings,
				      json_pack("{s:I, s:I, s:s}", "from", (json_int_t)f->from, "to",
						(json_int_t)(f->to > f->from ? f->to - 1 : f->to),
						"what", f->what));
	else if (f->to > f->from)
		printf("messages %" PRIu64 " to %" PRIu64 ": %s\n", f->from, f->to - 1, f->what);
	else
		printf("%s\n", f->what);
}

static void verify_file(struct bus_log *log, const char *name, struct verdict *v)
{
	struct bus_log_finding f;
	int n;

	while ((n = bus_log_verify(log, &f)) > 0)
		if (strcmp(f.file, name) == 0 && f.kind != BUS_LOG_ABSENT)
			add_finding(v, &f);
	if (n < 0)
		tool_fail_bus(NULL, n, "check \"%s\"", name);
}

static void show(const char *path, const struct bus_log_file *file)
{
	printf("file         %s, %s\n", path, tool_bytes(file->bytes).s);
	if (file->slots == 0) {
		printf("state        %s\n", file->what);
		return;
	}
	printf("state        %s%s\n", file->flags & BUS_LOG_FILE_SEGMENT ? "in use" : file->what,
	       file->flags & BUS_LOG_FILE_FLAWED ? ", with flaws: see --verify" : "");
	printf("index        %" PRIu64 "\n", file->index);
	printf("begins with  message %" PRIu64, file->base_seq);
	if (file->prev_end < file->base_seq)
		printf(", %" PRIu64 " numbers before it were passed over",
		       file->base_seq - file->prev_end);
	printf("\nroom for     %" PRIu64 " messages, %s of payload\n", file->slots,
	       tool_bytes(file->payload_bytes).s);
	printf("made         %s\n", tool_time(file->created_ns).s);
}

static json_t *to_json(const char *path, const struct bus_log_file *file)
{
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "file", path, "what",
			 file->what, "in_use", (file->flags & BUS_LOG_FILE_SEGMENT) != 0, "bytes",
			 (json_int_t)file->bytes, "index", (json_int_t)file->index, "base_seq",
			 (json_int_t)file->base_seq, "prev_end", (json_int_t)file->prev_end, "slots",
			 (json_int_t)file->slots, "payload_bytes", (json_int_t)file->payload_bytes,
			 "created", tool_json_time(file->created_ns));
}

int stat_segment(const char *path, bool verify, bool json)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct verdict v = { .findings = json && verify ? json_array() : NULL };
	struct bus_log_file file;
	struct bus_log *log;
	json_t *object;
	int err;

	if (!directory)
		tool_fail(TOOL_FAILED, "out of memory");
	err = bus_log_open(&log, directory, BUS_OPTS(log, .flags = BUS_LOG_ANY_VERSION));
	if (err)
		tool_fail_bus(NULL, err, "read \"%s\"", path);
	if (!find(log, name, &file))
		tool_fail(TOOL_FAILED, "cannot read \"%s\": there is no such file", path);
	if (!json)
		show(path, &file);
	if (verify)
		verify_file(log, name, &v);
	if (json) {
		object = to_json(path, &file);
		if (verify) {
			json_object_set_new(object, "messages", json_integer((json_int_t)v.good));
			json_object_set_new(object, "damaged", json_integer((json_int_t)v.damaged));
			json_object_set_new(object, "flaws", json_integer((json_int_t)v.flaws));
			json_object_set_new(object, "findings", v.findings);
		}
		tool_json_print(object);
	} else if (verify) {
		printf("messages     %" PRIu64 " whole, %" PRIu64 " damaged\n", v.good, v.damaged);
	}
	bus_log_close(log);
	free(directory);
	return v.damaged || v.flaws || v.unusable || !(file.flags & BUS_LOG_FILE_SEGMENT)
		       ? TOOL_FAILED
		       : TOOL_DONE;
}
