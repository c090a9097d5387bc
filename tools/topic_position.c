/* SPDX-License-Identifier: Apache-2.0 */
/* topic_position.c - see topic_position.h */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bus_log.h>

#include "topic_position.h"

/* ---- showing ---- */

static uint64_t lag_of(const struct bus_position *p)
{
	return p->head_seq > p->seq ? p->head_seq - p->seq : 0;
}

/* What retention removed before it was read. */
static uint64_t gone_of(const struct bus_position *p)
{
	return p->oldest_seq > p->seq ? p->oldest_seq - p->seq : 0;
}

static uint64_t age(uint64_t unix_ns)
{
	const uint64_t now = tool_unix_time_ns();

	return unix_ns && now > unix_ns ? now - unix_ns : 0;
}

static json_t *named(const char *name)
{
	json_t *o = json_object();

	tool_json_set_bytes(o, "name", name, strlen(name));
	return o;
}

json_t *position_json(const struct bus_position *p)
{
	json_t *o = named(p->name);
	json_t *rest = json_pack("{s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o}",
				 "uid", (json_int_t)p->uid, "user", tool_user(p->uid).s, "held",
				 p->held != 0, "seq", (json_int_t)p->seq, "kept_seq",
				 (json_int_t)p->kept_seq, "head_seq", (json_int_t)p->head_seq,
				 "oldest_seq", (json_int_t)p->oldest_seq, "lag_messages",
				 (json_int_t)lag_of(p), "gone_messages", (json_int_t)gone_of(p),
				 "lag_seconds", (double)age(p->unread_ns) / 1e9, "moved",
				 tool_json_time(p->moved_ns), "created",
				 tool_json_time(p->created_ns));

	json_object_update(o, rest);
	json_decref(rest);
	if (p->held) {
		json_t *holder = named(p->holder);

		json_object_set_new(holder, "pid", json_integer(p->holder_pid));
		json_object_set_new(holder, "uid", json_integer(p->holder_uid));
		json_object_set_new(o, "holder", holder);
	}
	return o;
}

static void show_row(const struct bus_position *p)
{
	char holder[BUS_NAME_MAX + 32] = "-";

	if (p->held)
		snprintf(holder, sizeof(holder), "%s (pid %u)", p->holder, p->holder_pid);
	printf("%-24s %-10s %-24s %14" PRIu64 " %10s %9s %9s%s\n", p->name, tool_user(p->uid).s,
	       holder, p->seq, tool_count((double)lag_of(p)).s,
	       p->unread_ns ? tool_seconds(age(p->unread_ns)).s : "-",
	       p->moved_ns ? tool_seconds(age(p->moved_ns)).s : "-",
	       gone_of(p) ? "  some of it is not kept any more" : "");
}

int position_list(struct bus *bus, const char *topic, bool json)
{
	struct bus_position p = { .name = "" };
	json_t *array = json ? json_array() : NULL;
	int n, rows = 0;

	while ((n = bus_position_next(bus, topic, &p)) > 0) {
		if (array) {
			json_array_append_new(array, position_json(&p));
			continue;
		}
		if (rows++ == 0)
			printf("%-24s %-10s %-24s %14s %10s %9s %9s\n", "NAME", "USER", "HOLDER",
			       "POSITION", "LAG", "OLDEST", "MOVED");
		show_row(&p);
	}
	if (n < 0)
		tool_fail_bus(bus, n, "list the durable subscriptions of \"%s\"", topic);
	if (array)
		tool_json_print(array);
	return TOOL_DONE;
}

/* ---- moving ---- */

/* Whether it is there; else *p says what the stream has, where it has any position at all. */
static bool find(struct bus *bus, const char *topic, const char *name, struct bus_position *p)
{
	struct bus_position each = { .name = "" };
	int n;

	while ((n = bus_position_next(bus, topic, &each)) > 0) {
		*p = each;
		if (strcmp(each.name, name) == 0)
			return true;
	}
	if (n < 0)
		tool_fail_bus(bus, n, "look for durable subscription \"%s\"", name);
	return false;
}

/* Of a stream without positions. */
static void ask_stream(struct bus *bus, const char *topic, const char *name, struct bus_position *p)
{
	struct bus_topic_info info = { .name = "" };
	int n = bus_topic_next(bus, topic, &info);

	if (n <= 0)
		tool_fail_bus(bus, n < 0 ? n : -ENOENT, "describe stream \"%s\"", topic);
	*p = (struct bus_position){ .head_seq = info.head_seq, .oldest_seq = info.oldest_seq };
	snprintf(p->name, sizeof(p->name), "%s", name);
}

/* The first message of that time or later; p->head_seq: it has not come yet. */
static uint64_t seq_at(struct bus *bus, const char *topic, const struct bus_position *p,
		       uint64_t time_ns)
{
	struct bus_msg msg = { .seq = 0 };
	struct bus_log *log;
	uint64_t seq = p->head_seq;
	int n = bus_log_open_topic(&log, bus, topic, NULL);

	if (n < 0)
		tool_fail_bus(bus, n, "look for a time in the log of \"%s\"", topic);
	n = bus_log_seek(log, BUS_LOG_TIME, time_ns);
	if (n == 0)
		n = bus_log_next(log, &msg, 1);
	if (n < 0)
		tool_fail_bus(bus, n, "look for a time in the log of \"%s\"", topic);
	if (n > 0 && msg.seq < seq)
		seq = msg.seq;
	bus_log_close(log);
	return seq;
}

void position_parse_to(const char *to, struct tool_place *ret)
{
	if (strcmp(to, "now") == 0)
		ret->kind = TOOL_PLACE_END;
	else if (!tool_place("--to", to, ret))
		tool_fail_usage("--to: \"%s\" is not seq:N, oldest, now, time:T, -1h or -N", to);
}

static uint64_t target_of(struct bus *bus, const char *topic, const struct bus_position *p,
			  const struct position_change *change)
{
	const uint64_t value = change->to.value;

	if (!change->moves) {
		if (change->skip > lag_of(p))
			tool_fail(TOOL_FAILED,
				  "cannot pass over %" PRIu64 " messages: \"%s\" has %" PRIu64
				  " before it (--to=now passes over all of them)",
				  change->skip, p->name, lag_of(p));
		return p->seq + change->skip;
	}
	switch (change->to.kind) {
	case TOOL_PLACE_OLDEST:
		return p->oldest_seq;
	case TOOL_PLACE_TIME:
		return seq_at(bus, topic, p, value);
	case TOOL_PLACE_BACK:
		return value < p->head_seq ? p->head_seq - value : 0;
	case TOOL_PLACE_SEQ:
		if (value <= p->head_seq)
			return value;
		tool_fail(TOOL_FAILED,
			  "cannot move \"%s\" to message %" PRIu64
			  ": the stream's next message is %" PRIu64 " (--to=now goes there)",
			  p->name, value, p->head_seq);
	case TOOL_PLACE_END:
		break;
	}
	return p->head_seq;
}

/* "are" or "would be" done. */
static void say(const struct bus_position *p, bool is_new, uint64_t to, const char *will)
{
	if (is_new)
		printf("durable subscription \"%s\": new, at message %" PRIu64 "\n", p->name, to);
	else
		printf("durable subscription \"%s\": from message %" PRIu64 " to message %" PRIu64
		       "\n",
		       p->name, p->seq, to);
	if (!is_new && to > p->seq)
		printf("  %" PRIu64 " messages %s passed over: %" PRIu64 " to %" PRIu64 "\n",
		       to - p->seq, will, p->seq, to - 1);
	else if (!is_new && to < p->seq)
		printf("  %" PRIu64 " messages %s repeated: %" PRIu64 " to %" PRIu64 "\n",
		       p->seq - to, will, to, p->seq - 1);
	if (to < p->oldest_seq)
		printf("  %" PRIu64 " of what follows are not kept any more: it begins at %" PRIu64
		       "\n",
		       p->oldest_seq - to, p->oldest_seq);
}

static void say_removed(const struct bus_position *p, const char *is)
{
	printf("durable subscription \"%s\" %s deleted: it stood at message %" PRIu64 ", %" PRIu64
	       " before the end\n",
	       p->name, is, p->seq, lag_of(p));
}

static void say_dry(const struct bus_position *p)
{
	if (p->held)
		printf("nothing is changed: it is held by %s (pid %u, %s), which has to close it first\n",
		       p->holder, p->holder_pid, tool_user(p->holder_uid).s);
	else
		printf("nothing is changed: --execute does it\n");
}

int position_change(struct bus *bus, const char *topic, const char *name,
		    const struct position_change *change, bool json)
{
	struct bus_position p = { .name = "" };
	const bool is_new = !find(bus, topic, name, &p);
	uint64_t to;
	int err;

	if (is_new && !change->moves)
		tool_fail(TOOL_FAILED,
			  "cannot %s durable subscription \"%s\": there is none on \"%s\"",
			  change->remove ? "delete"
			  : change->skip ? "move"
					 : "show",
			  name, topic);
	if (is_new)
		ask_stream(bus, topic, name, &p);
	if (!change->moves && !change->skip && !change->remove) {
		if (json)
			tool_json_print(position_json(&p));
		else
			show_row(&p);
		return TOOL_DONE;
	}
	to = change->remove ? 0 : target_of(bus, topic, &p, change);
	if (!change->execute) {
		if (change->remove)
			say_removed(&p, "would be");
		else
			say(&p, is_new, to, "would be");
		say_dry(&p);
		return TOOL_DONE;
	}
	err = bus_position_set(bus, topic, name, p.seq, to,
			       change->remove ? BUS_POSITION_REMOVE
			       : is_new       ? BUS_POSITION_NEW
					      : 0);
	if (err)
		tool_fail_bus(bus, err, "change durable subscription \"%s\"", name);
	if (change->remove)
		say_removed(&p, "is");
	else
		say(&p, is_new, to, "are");
	return TOOL_DONE;
}
