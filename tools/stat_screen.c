/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_screen.c - topics, publishers and subscribers as rows of a table.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "stat_screen.h"
#include "tool.h"

static const struct stat_column topic_columns[] = {
	{ .title = "TOPIC", .key = "topic", .left = true, .least = 16 },
	{ .title = "MSG/S", .key = "rate" },
	{ .title = "BYTE/S", .key = "bytes" },
	{ .title = "PUB", .key = "pub" },
	{ .title = "SUB", .key = "sub" },
	{ .title = "FILL", .key = "fill" },
	{ .title = "LAG", .key = "lag" },
	{ .title = "AGE", .key = "age" },
	{ .title = "LOST", .key = "lost" },
	{ .title = "BLOCKED", .key = "blocked" },
	{ .title = "WORST", .key = "worst", .left = true, .least = 8 },
	{ 0 },
};

static const struct stat_column pub_columns[] = {
	{ .title = "TOPIC", .key = "topic", .left = true, .least = 8 },
	{ .title = "PUBLISHER", .key = "name", .left = true, .least = 8 },
	{ .title = "PID", .key = "pid", .rising = true },
	{ .title = "USER", .key = "user", .left = true, .least = 6 },
	{ .title = "SENT", .key = "sent" },
	{ .title = "MSG/S", .key = "rate" },
	{ .title = "BYTE/S", .key = "bytes" },
	{ .title = "FILL", .key = "fill" },
	{ .title = "BLOCKED", .key = "blocked" },
	{ .title = "NOW", .key = "now" },
	{ .title = "BY", .key = "by", .left = true, .least = 8 },
	{ .title = "WAKES", .key = "wakes" },
	{ .title = "REFUSED", .key = "refused" },
	{ 0 },
};

static const struct stat_column sub_columns[] = {
	{ .title = "TOPIC", .key = "topic", .left = true, .least = 8 },
	{ .title = "SUBSCRIBER", .key = "name", .left = true, .least = 8 },
	{ .title = "PID", .key = "pid", .rising = true },
	{ .title = "USER", .key = "user", .left = true, .least = 6 },
	{ .title = "POLICY", .key = "policy", .left = true },
	{ .title = "MSG/S", .key = "rate" },
	{ .title = "LAG", .key = "lag" },
	{ .title = "AGE", .key = "age" },
	{ .title = "LOST", .key = "lost" },
	{ .title = "EVICTED", .key = "evicted" },
	{ .title = "HOLDS", .key = "holds" },
	{ .title = "STATE", .key = "state", .left = true },
	{ 0 },
};

/* ---- cells ---- */

static void put_count(struct stat_table *t, uint64_t n)
{
	stat_table_number(t, tool_count((double)n).s, (double)n);
}

/* A count of which 0 is the good case: not to be looked at. */
static void put_trouble(struct stat_table *t, uint64_t n)
{
	stat_table_number(t, n ? tool_count((double)n).s : "-", (double)n);
}

static void put_rate(struct stat_table *t, double rate)
{
	stat_table_number(t, rate < 0 ? "-" : tool_count(rate).s, rate);
}

static void put_byte_rate(struct stat_table *t, double rate)
{
	stat_table_number(t, rate < 0 ? "-" : tool_bytes((uint64_t)rate).s, rate);
}

static void put_share(struct stat_table *t, double share)
{
	char text[16];

	/* 99.7 % is not full */
	snprintf(text, sizeof(text), "%d%%", (int)(share * 100));
	stat_table_number(t, share < 0 ? "-" : text, share);
}

static void put_age(struct stat_table *t, uint64_t ns)
{
	stat_table_number(t, ns ? tool_seconds(ns).s : "-", (double)ns);
}

static void put_id(struct stat_table *t, uint32_t n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	stat_table_number(t, text, n);
}

/* "name[pid]": names are given freely, processes are found by number */
static void put_peer(struct stat_table *t, const char *name, uint32_t pid)
{
	char text[BUS_NAME_MAX + 20];

	snprintf(text, sizeof(text), "%s[%u]", name, pid);
	stat_table_text(t, text);
}

/* ---- rows ---- */

static void topic_row(struct stat_table *t, const struct stat_topic *topic)
{
	const struct bus_stat_sub *worst = topic->worst ? &topic->worst->now : NULL;
	const struct stat_pub *held = NULL;

	for (int i = 0; i < topic->pub_count && !held; i++)
		if (topic->pubs[i].held_by)
			held = &topic->pubs[i];
	if (held) /* of all who lag, the one that others wait for */
		worst = held->held_by;
	stat_table_row(t, topic->blocked_pubs                          ? STAT_BAD
			  : topic->now.lost || topic->used_ratio > 0.8 ? STAT_WARN
			  : topic->pub_count + topic->sub_count == 0   ? STAT_QUIET
								       : STAT_PLAIN);
	stat_table_text(t, topic->label);
	put_rate(t, topic->messages_rate);
	put_byte_rate(t, topic->bytes_rate);
	put_count(t, (uint64_t)topic->open_pubs);
	put_count(t, (uint64_t)topic->sub_count);
	put_share(t, topic->open_pubs ? topic->used_ratio : STAT_UNKNOWN);
	put_trouble(t, worst ? worst->lag_messages : 0);
	put_age(t, worst ? worst->lag_ns : 0);
	put_trouble(t, topic->now.lost);
	put_trouble(t, (uint64_t)topic->blocked_pubs);
	if (worst)
		put_peer(t, worst->name, worst->pid);
	else
		stat_table_text(t, "-");
}

static void pub_row(struct stat_table *t, const char *topic, const struct stat_pub *pub)
{
	stat_table_row(t, pub->now.closed || pub->now.gone ? STAT_QUIET
			  : pub->now.blocked_now           ? STAT_BAD
			  : pub->now.refused               ? STAT_WARN
							   : STAT_PLAIN);
	if (topic)
		stat_table_text(t, topic);
	stat_table_text(t, pub->now.name);
	put_id(t, pub->now.pid);
	stat_table_text(t, tool_user(pub->now.uid).s);
	put_count(t, pub->now.messages);
	put_rate(t, pub->messages_rate);
	put_byte_rate(t, pub->bytes_rate);
	put_share(t, pub->now.used_ratio);
	put_age(t, pub->now.blocked_ns);
	put_share(t, pub->blocked_share);
	if (pub->now.closed || pub->now.gone)
		stat_table_text(t, "(has gone)");
	else if (pub->held_by)
		put_peer(t, pub->held_by->name, pub->held_by->pid);
	else
		stat_table_text(t, pub->now.blocked_now ? "(nobody known)" : "-");
	put_trouble(t, pub->now.wakes);
	put_trouble(t, pub->now.refused);
}

static void sub_row(struct stat_table *t, const char *topic, const struct stat_sub *sub)
{
	stat_table_row(t, sub->now.holds                        ? STAT_BAD
			  : sub->now.gone                       ? STAT_QUIET
			  : sub->now.lost || sub->now.evictions ? STAT_WARN
								: STAT_PLAIN);
	if (topic)
		stat_table_text(t, topic);
	stat_table_text(t, sub->now.name);
	put_id(t, sub->now.pid);
	stat_table_text(t, tool_user(sub->now.uid).s);
	stat_table_text(t, sub->now.lossy ? "lossy" : "reliable");
	put_rate(t, sub->messages_rate);
	put_trouble(t, sub->now.lag_messages);
	put_age(t, sub->now.lag_ns);
	put_trouble(t, sub->now.lost);
	put_trouble(t, sub->now.evictions);
	put_trouble(t, sub->now.holds);
	stat_table_text(t, sub->now.gone ? "(has gone)" : sub->now.asleep ? "asleep" : "awake");
}

/* ---- lists ---- */

const struct stat_column *stat_list_columns(enum stat_list list)
{
	return list == STAT_TOPICS       ? topic_columns
	       : list == STAT_PUBLISHERS ? pub_columns
					 : sub_columns;
}

void stat_list_fill(struct stat_table *table, enum stat_list list, const struct stat_take *take)
{
	for (int i = 0; i < take->topic_count; i++) {
		const struct stat_topic *topic = &take->topics[i];

		if (list == STAT_TOPICS)
			topic_row(table, topic);
		for (int k = 0; list == STAT_PUBLISHERS && k < topic->pub_count; k++)
			pub_row(table, topic->label, &topic->pubs[k]);
		for (int k = 0; list == STAT_SUBSCRIBERS && k < topic->sub_count; k++)
			sub_row(table, topic->label, &topic->subs[k]);
	}
}

/* For one topic the first column says nothing. */
static void show_peers(const struct stat_topic *topic, enum stat_list list)
{
	struct stat_table table;

	stat_table_init(&table, stat_list_columns(list) + 1);
	for (int k = 0; list == STAT_PUBLISHERS && k < topic->pub_count; k++)
		pub_row(&table, NULL, &topic->pubs[k]);
	for (int k = 0; list == STAT_SUBSCRIBERS && k < topic->sub_count; k++)
		sub_row(&table, NULL, &topic->subs[k]);
	if (table.row_count)
		stat_print_table(&table);
	else
		printf("no %s\n", list == STAT_PUBLISHERS ? "publishers" : "subscribers");
	stat_table_free(&table);
}

/* ---- printing ---- */

unsigned stat_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return 0;
	return size.ws_col;
}

void stat_print_table(struct stat_table *table)
{
	static const char *const begin[] = {
		[STAT_PLAIN] = "",
		[STAT_QUIET] = "\033[2m",
		[STAT_WARN] = "\033[33m",
		[STAT_BAD] = "\033[31m",
	};
	bool colour = tool_colour();
	char line[2048];

	stat_table_fit(table, stat_width());
	for (int i = -1; i < table->row_count; i++) {
		const char *on = i < 0 ? "\033[1m" : begin[table->rows[i].mark];

		stat_table_line(table, i, line, sizeof(line));
		if (colour && *on)
			printf("%s%s\033[0m\n", on, line);
		else
			printf("%s\n", line);
	}
}

bool stat_blocked_line(const struct stat_take *take, int *at, char *line, size_t size)
{
	int n = 0;

	for (int i = 0; i < take->topic_count; i++)
		for (int k = 0; k < take->topics[i].pub_count; k++) {
			const struct stat_pub *p = &take->topics[i].pubs[k];
			const struct bus_stat_sub *by = p->held_by;

			if (!p->now.blocked_now || n++ < *at)
				continue;
			*at = n;
			snprintf(line, size, "%s: %s[%u] has been blocked for %s (%s in all) by %s",
				 take->topics[i].now.name, p->now.name, p->now.pid,
				 tool_seconds(p->now.block_ns).s, tool_seconds(p->now.blocked_ns).s,
				 by ? by->name : "a subscriber that has gone");
			if (by && by->lag_messages == 0)
				snprintf(line + strlen(line), size - strlen(line),
					 "[%u] (%s), which has caught up just now", by->pid,
					 tool_user(by->uid).s);
			else if (by)
				snprintf(line + strlen(line), size - strlen(line),
					 "[%u] (%s), %s messages behind%s", by->pid,
					 tool_user(by->uid).s, tool_count((double)by->lag_messages).s,
					 by->asleep ? " and asleep" : "");
			for (char *c = line; *c; c++)
				if (*c < 0x20 || *c > 0x7e)
					*c = '?';
			return true;
		}
	return false;
}

void stat_show_all(const struct stat_source *source, const struct stat_take *take)
{
	struct stat_table table;
	char line[1024];
	int at = 0;

	stat_source_line(source, take, line, sizeof(line));
	printf("%s\n\n", line);
	if (take->topic_count == 0) {
		puts("no topics");
		return;
	}
	stat_table_init(&table, topic_columns);
	stat_list_fill(&table, STAT_TOPICS, take);
	stat_print_table(&table);
	stat_table_free(&table);
	for (int first = 1; stat_blocked_line(take, &at, line, sizeof(line)); first = 0)
		printf("%s%s\n", first ? "\n" : "", line);
}

/* The bound below which that part of the syncs stayed, "128 us"; of none "-". */
static void sync_bound(const struct bus_stat_log *log, double part, char *buf, size_t size)
{
	uint64_t all = 0, sum = 0;
	int i = 0;

	for (int k = 0; k < BUS_STAT_SYNC_PLACES; k++)
		all += log->sync_us[k];
	while (i < BUS_STAT_SYNC_PLACES - 1 && (double)(sum + log->sync_us[i]) < part * (double)all)
		sum += log->sync_us[i++];
	if (i + 1 == BUS_STAT_SYNC_PLACES)
		snprintf(buf, size, "more than a minute");
	else if (i < 9)
		snprintf(buf, size, "%" PRIu64 " us", UINT64_C(2) << i);
	else
		snprintf(buf, size, "%.3g ms", (double)(UINT64_C(2) << i) / 1e3);
}

static void show_syncs(const struct bus_stat_log *log)
{
	char half[32], most[32];

	if (log->syncs == 0)
		return;
	sync_bound(log, 0.5, half, sizeof(half));
	sync_bound(log, 0.99, most, sizeof(most));
	printf("\n%" PRIu64 " syncs, half of them within %s, 99 %% within %s", log->syncs, half,
	       most);
}

static void show_log(const struct bus_stat_log *log)
{
	printf("\non disk from %" PRIu64 " on, durable below %" PRIu64 ", %s in %" PRIu64
	       " files; sync %s, %s not written yet; %s by %s%s%s",
	       log->oldest_seq, log->durable_seq, tool_bytes(log->disk_bytes).s, log->segments,
	       tool_sync(log->sync, log->sync_interval_ns).s, tool_bytes(log->lag_bytes).s,
	       tool_log_state(log->state), log->io[0] ? log->io : "-", log->io_why[0] ? ": " : "",
	       log->io_why);
	if (log->errors || log->full || log->why[0])
		printf("\nthe disk reported %" PRIu64 " errors, %" PRIu64 " times no room: %s",
		       log->errors, log->full, log->why);
	if (log->dropped)
		printf("\n%" PRIu64 " messages found no room, and were dropped", log->dropped);
	show_syncs(log);
}

void stat_show_topic(const struct stat_source *source, const struct stat_topic *topic,
		     const struct stat_take *take)
{
	const struct bus_stat_topic *t = &topic->now;
	struct stat_take one = { .topics = (struct stat_topic *)(uintptr_t)topic, .topic_count = 1 };
	char line[1024];
	int at = 0;

	if (!source->bus) {
		stat_source_line(source, take, line, sizeof(line));
		printf("%s\n\n", line);
	}
	printf("%s: %" PRIu64 " messages, %s", topic->label, t->messages, tool_bytes(t->bytes).s);
	if (topic->messages_rate >= 0)
		printf("; %s messages/s, %s/s", tool_count(topic->messages_rate).s,
		       tool_bytes((uint64_t)topic->bytes_rate).s);
	if (t->stream)
		printf("\na stream: its last %u messages, up to %s of them, are in memory",
		       t->stream_slots, tool_bytes(t->stream_bytes).s);
	if (t->log.state != BUS_LOG_NONE)
		show_log(&t->log);
	printf("\n%s, %s old; rings take %s, a new one has %u slots and %s\n",
	       t->explicit_ ? "created" : "made on demand",
	       tool_seconds(take->now_ns > t->created_ns ? take->now_ns - t->created_ns : 0).s,
	       tool_bytes(t->memory_bytes).s, t->slots, tool_bytes(t->ring_bytes).s);
	putchar('\n');
	show_peers(topic, STAT_PUBLISHERS);
	for (int k = 0; t->stream && k < topic->pub_count; k++) {
		const struct bus_stat_pub *p = &topic->pubs[k].now;

		printf("%s[%u]: %" PRIu64 " of %" PRIu64 " are in the stream\n", p->name, p->pid,
		       p->taken, p->messages);
	}
	putchar('\n');
	show_peers(topic, STAT_SUBSCRIBERS);
	for (int first = 1; stat_blocked_line(&one, &at, line, sizeof(line)); first = 0)
		printf("%s%s\n", first ? "\n" : "", line);
}
