/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_places.c - the screens about processes, memory and messages: clients, numa, peek.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stat_screen.h"
#include "tool.h"

static const struct stat_column client_columns[] = {
	{ .title = "ID", .key = "id" },
	{ .title = "PID", .key = "pid" },
	{ .title = "USER", .key = "user", .left = true, .least = 6 },
	{ .title = "NAME", .key = "name", .left = true, .least = 8 },
	{ .title = "COMMAND", .key = "command", .left = true, .least = 8 },
	{ .title = "PUB", .key = "pub" },
	{ .title = "SUB", .key = "sub" },
	{ .title = "MEMORY", .key = "memory" },
	{ .title = "QUEUED", .key = "queued" },
	{ .title = "NODE", .key = "node" },
	{ .title = "SINCE", .key = "since", .left = true },
	{ 0 },
};

static const struct stat_column numa_columns[] = {
	{ .title = "TOPIC", .key = "topic", .left = true, .least = 8 },
	{ .title = "ASKED", .key = "asked", .left = true },
	{ .title = "PUBLISHER", .key = "name", .left = true, .least = 8 },
	{ .title = "PID", .key = "pid" },
	{ .title = "PAGES OF", .key = "page" },
	{ .title = "MEMORY IS ON", .key = "pages", .left = true },
	{ .title = "SUBSCRIBERS RUN ON", .key = "subs", .left = true },
	{ 0 },
};

static void put_number(struct stat_table *t, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	stat_table_number(t, text, (double)n);
}

static void client_row(struct stat_table *t, const struct stat_client *client, uint64_t now_ns)
{
	const struct bus_stat_client *c = &client->now;

	stat_table_row(t, client->gone ? STAT_QUIET : c->queued ? STAT_WARN : STAT_PLAIN);
	put_number(t, c->id);
	put_number(t, c->pid);
	stat_table_text(t, tool_user(c->uid).s);
	stat_table_text(t, c->name);
	stat_table_text(t, client->gone ? "(has gone)" : c->command);
	put_number(t, c->publishers);
	put_number(t, c->subscriptions);
	if (client->by_maps) {
		stat_table_text(t, "?");
		stat_table_text(t, "?");
	} else {
		stat_table_number(t, tool_bytes(c->memory_bytes).s, (double)c->memory_bytes);
		put_number(t, c->queued);
	}
	if (c->node >= 0)
		put_number(t, (uint64_t)c->node);
	else
		stat_table_text(t, "?");
	stat_table_text(t, tool_seconds(now_ns > c->connected_ns ? now_ns - c->connected_ns : 0).s);
}

void stat_show_clients(const struct stat_source *source, const struct stat_take *take)
{
	uint64_t now_ns = tool_unix_time_ns();
	struct stat_client *clients;
	struct stat_table t;
	char line[1024];
	int count;

	clients = stat_source_clients(source, take, &count);
	if (!source->bus) {
		stat_source_line(source, take, line, sizeof(line));
		printf("%s\n\n", line);
	}
	stat_table_init(&t, client_columns);
	for (int i = 0; i < count; i++)
		client_row(&t, &clients[i], now_ns);
	stat_print_table(&t);
	stat_table_free(&t);
	free(clients);
}

/* ---- namespaces ---- */

static const struct stat_column space_columns[] = {
	{ .title = "NAMESPACE", .key = "namespace", .left = true, .least = 8 },
	{ .title = "OWNER", .key = "owner", .left = true, .least = 6 },
	{ .title = "MEMORY", .key = "memory" },
	{ .title = "LIMIT", .key = "memory-limit" },
	{ .title = "TOPICS", .key = "topics" },
	{ .title = "LIMIT", .key = "topics-limit" },
	{ .title = "RINGS", .key = "rings" },
	{ .title = "LIMIT", .key = "rings-limit" },
	{ .title = "CLIENTS", .key = "clients" },
	{ .title = "LIMIT", .key = "clients-limit" },
	{ 0 },
};

static void put_limit(struct stat_table *t, uint64_t n)
{
	if (n)
		put_number(t, n);
	else
		stat_table_text(t, "-");
}

/* Nearly full is worth a look, and full is what refuses. */
static enum stat_mark mark_of(const struct bus_stat_namespace *s)
{
	const struct {
		uint64_t use, limit;
	} all[] = { { s->memory_bytes, s->memory_limit },
		    { s->topics, s->topics_limit },
		    { s->rings, s->rings_limit },
		    { s->clients, s->clients_limit } };
	enum stat_mark mark = STAT_PLAIN;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].limit && all[i].use >= all[i].limit)
			return STAT_BAD;
		if (all[i].limit && all[i].use >= all[i].limit / 10 * 9 && all[i].limit >= 10)
			mark = STAT_WARN;
	}
	return mark;
}

void stat_show_namespaces(const struct bus_stat_namespace *spaces, int count)
{
	struct stat_table t;

	stat_table_init(&t, space_columns);
	for (int i = 0; i < count; i++) {
		const struct bus_stat_namespace *s = &spaces[i];

		stat_table_row(&t, mark_of(s));
		stat_table_text(&t, s->name);
		stat_table_text(&t, stat_owner(s).s);
		stat_table_number(&t, tool_bytes(s->memory_bytes).s, (double)s->memory_bytes);
		stat_table_number(&t, s->memory_limit ? tool_bytes(s->memory_limit).s : "-",
				  (double)s->memory_limit);
		put_number(&t, s->topics);
		put_limit(&t, s->topics_limit);
		put_number(&t, s->rings);
		put_limit(&t, s->rings_limit);
		put_number(&t, s->clients);
		put_limit(&t, s->clients_limit);
	}
	if (count)
		stat_print_table(&t);
	else
		puts("no namespaces, or no right to see one");
	stat_table_free(&t);
}

/* ---- numa ---- */

static void asked_text(const struct bus_stat_topic *t, char *text, size_t size)
{
	if (t->numa == BUS_NUMA_AUTO)
		snprintf(text, size, "auto");
	else if (t->numa == BUS_NUMA_INTERLEAVE)
		snprintf(text, size, "interleave");
	else
		snprintf(text, size, "node %d", t->numa - 1);
	if (t->huge)
		snprintf(text + strlen(text), size - strlen(text), ", huge");
}

/* "0: 412 KiB, 1: 4 KiB" */
static void pages_text(const struct bus_stat_pub *p, char *text, size_t size)
{
	*text = '\0';
	for (int k = 0; k < BUS_STAT_NODES; k++) {
		uint64_t bytes = (uint64_t)p->node_pages[k] * p->page_kib * 1024;
		size_t len = strlen(text);

		if (bytes)
			snprintf(text + len, size - len, "%s%s%d: %s", len ? ", " : "",
				 k == BUS_STAT_NODES - 1 ? ">=" : "", k, tool_bytes(bytes).s);
	}
	if (!*text)
		snprintf(text, size, "(not known)");
}

static void nodes_text(const struct stat_topic *t, char *text, size_t size)
{
	*text = '\0';
	for (int node = -1; node < BUS_STAT_NODES; node++) {
		size_t len = strlen(text);
		int n = 0;

		for (int i = 0; i < t->sub_count; i++)
			n += t->subs[i].now.node == node;
		if (n && node < 0)
			snprintf(text, size, "?: %d", n);
		else if (n)
			snprintf(text + len, size - len, "%s%d: %d", len ? ", " : "", node, n);
	}
	if (!*text)
		snprintf(text, size, "-");
}

void stat_show_numa(const struct stat_take *take)
{
	char asked[32], pages[BUS_STAT_NODES * 24], nodes[BUS_STAT_NODES * 16];
	struct stat_table t;

	stat_table_init(&t, numa_columns);
	for (int i = 0; i < take->topic_count; i++) {
		const struct stat_topic *topic = &take->topics[i];

		asked_text(&topic->now, asked, sizeof(asked));
		nodes_text(topic, nodes, sizeof(nodes));
		for (int k = 0; k < topic->pub_count || k == 0; k++) {
			const struct bus_stat_pub *p = k < topic->pub_count ? &topic->pubs[k].now
									    : NULL;

			stat_table_row(&t, p ? STAT_PLAIN : STAT_QUIET);
			stat_table_text(&t, topic->label);
			stat_table_text(&t, asked);
			stat_table_text(&t, p ? p->name : "-");
			if (p) {
				put_number(&t, p->pid);
				stat_table_number(&t, tool_bytes((uint64_t)p->page_kib * 1024).s,
						  p->page_kib);
				pages_text(p, pages, sizeof(pages));
				stat_table_text(&t, pages);
			} else {
				for (int column = 0; column < 3; column++)
					stat_table_text(&t, "-");
			}
			stat_table_text(&t, nodes);
		}
	}
	if (t.row_count)
		stat_print_table(&t);
	else
		puts("no topics");
	stat_table_free(&t);
}

/* ---- peek ---- */

static const struct stat_column message_columns[] = {
	{ .title = "SEQ", .key = "seq" },
	{ .title = "TIME", .key = "time", .left = true },
	{ .title = "PUBLISHER", .key = "name", .left = true, .least = 8 },
	{ .title = "LEN", .key = "len" },
	{ .title = "KEY", .key = "key", .left = true, .least = 8 },
	{ .title = "PAYLOAD", .key = "payload", .left = true, .least = 16 },
	{ 0 },
};

/* Text stays text, other bytes become dots; what does not fit ends in "...". */
static const char *printable(char *to, size_t size, const void *from, size_t len)
{
	const unsigned char *bytes = from;
	bool cut = len > size - 1;
	size_t n = cut ? size - 4 : len;

	for (size_t i = 0; i < n; i++)
		to[i] = bytes[i] < 0x20 || bytes[i] > 0x7e ? '.' : (char)bytes[i];
	strcpy(to + n, cut ? "..." : "");
	return to;
}

void stat_show_messages(const struct bus_msg *msgs, int n)
{
	char text[256];
	struct stat_table t;

	stat_table_init(&t, message_columns);
	for (int i = 0; i < n; i++) {
		const struct bus_msg *m = &msgs[i];

		stat_table_row(&t, STAT_PLAIN);
		put_number(&t, m->seq);
		stat_table_text(&t, m->time_ns ? tool_time(m->time_ns).s : "-");
		snprintf(text, sizeof(text), "%s[%u]", m->from->name, m->from->pid);
		stat_table_text(&t, text);
		put_number(&t, m->len);
		stat_table_text(&t, m->key ? printable(text, 64, m->key, m->key_len) : "-");
		stat_table_text(&t, printable(text, sizeof(text), m->data, m->len));
	}
	if (n)
		stat_print_table(&t);
	else
		puts("no messages in the rings");
	stat_table_free(&t);
}
