/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_metrics.c - a snapshot as OpenMetrics text, from the one table of metrics. Called by stat.c
 * and by unit tests. Knows snapshots only: no shared memory, no connection.
 *
 * The format wants all samples of a family together, so each family walks the whole snapshot.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/stat_internal.h"
#include "format/metric_table.h"

static const struct metric {
	const char *family, *type, *unit, *help;
} metrics[METRIC_COUNT] = {
#define METRIC_ROW(id, family, type, unit, key, labels, help) { family, type, unit, help },
	METRIC_TABLE(METRIC_ROW)
#undef METRIC_ROW
};

struct exposition {
	FILE *out;
	const struct bus_stat_daemon *daemon; /* NULL: none answers */
	const struct bus_stat_topic *topics;
	int topic_count;
	const struct bus_stat_namespace *spaces;
	int space_count;
	const struct stat_absent *absent;
	int absent_count;
};

static void begin_family(struct exposition *e, enum metric_id id)
{
	const struct metric *m = &metrics[id];

	fprintf(e->out, "# TYPE bus_%s %s\n", m->family, m->type);
	if (*m->unit)
		fprintf(e->out, "# UNIT bus_%s %s\n", m->family, m->unit);
	fprintf(e->out, "# HELP bus_%s %s.\n", m->family, m->help);
}

static void begin_sample(struct exposition *e, enum metric_id id)
{
	const char *type = metrics[id].type;

	fprintf(e->out, "bus_%s%s", metrics[id].family,
		strcmp(type, "counter") == 0 ? "_total"
		: strcmp(type, "info") == 0  ? "_info"
					     : "");
}

/* A name may hold anything: what the format cannot carry is shown as '?'. */
static void put_label(struct exposition *e, const char *lead, const char *name, const char *value)
{
	fprintf(e->out, "%s%s=\"", lead, name);
	for (const char *p = value; *p; p++) {
		if (*p == '\n')
			fputs("\\n", e->out);
		else if (*p == '"' || *p == '\\')
			fprintf(e->out, "\\%c", *p);
		else
			fputc((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e ? '?' : *p,
			      e->out);
	}
	fputc('"', e->out);
}

static void put_count(struct exposition *e, uint64_t value)
{
	fprintf(e->out, " %" PRIu64 "\n", value);
}

static void put_seconds(struct exposition *e, uint64_t ns)
{
	fprintf(e->out, " %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

/* ---- busd ---- */

static void put_up(struct exposition *e)
{
	begin_family(e, METRIC_UP);
	begin_sample(e, METRIC_UP);
	put_count(e, e->daemon != NULL);
}

static void put_daemon(struct exposition *e)
{
	const struct bus_stat_daemon *d = e->daemon;
	const struct {
		enum metric_id id;
		uint64_t value;
	} plain[] = {
		{ METRIC_CLIENTS, d->clients },
		{ METRIC_TOPICS, d->topics },
		{ METRIC_RINGS, d->rings },
		{ METRIC_SUBSCRIPTIONS, d->subscriptions },
		{ METRIC_EVICTIONS, d->evictions },
		{ METRIC_MEMORY, d->memory_bytes },
		{ METRIC_MEMORY_LIMIT, d->memory_limit },
	};

	begin_family(e, METRIC_BUILD);
	begin_sample(e, METRIC_BUILD);
	put_label(e, "{", "version", d->version);
	fputs("} 1\n", e->out);
	begin_family(e, METRIC_START_TIME);
	begin_sample(e, METRIC_START_TIME);
	put_seconds(e, d->started_ns);
	for (size_t i = 0; i < BUS_ARRAY_LEN(plain); i++) {
		begin_family(e, plain[i].id);
		begin_sample(e, plain[i].id);
		put_count(e, plain[i].value);
	}
}

/* false: there is no such limit. */
static bool space_value(const struct bus_stat_namespace *s, enum metric_id id, uint64_t *ret)
{
	switch (id) {
	case METRIC_NAMESPACE_MEMORY:
		*ret = s->memory_bytes;
		return true;
	case METRIC_NAMESPACE_TOPICS:
		*ret = s->topics;
		return true;
	case METRIC_NAMESPACE_RINGS:
		*ret = s->rings;
		return true;
	case METRIC_NAMESPACE_CLIENTS:
		*ret = s->clients;
		return true;
	case METRIC_NAMESPACE_MEMORY_LIMIT:
		*ret = s->memory_limit;
		break;
	case METRIC_NAMESPACE_TOPICS_LIMIT:
		*ret = s->topics_limit;
		break;
	case METRIC_NAMESPACE_RINGS_LIMIT:
		*ret = s->rings_limit;
		break;
	default: /* METRIC_NAMESPACE_CLIENTS_LIMIT */
		*ret = s->clients_limit;
		break;
	}
	return *ret != 0;
}

static void put_namespaces(struct exposition *e)
{
	for (int id = METRIC_NAMESPACE_MEMORY; id <= METRIC_NAMESPACE_CLIENTS_LIMIT; id++) {
		begin_family(e, (enum metric_id)id);
		for (int i = 0; i < e->space_count; i++) {
			uint64_t value;

			if (!space_value(&e->spaces[i], (enum metric_id)id, &value))
				continue;
			begin_sample(e, (enum metric_id)id);
			put_label(e, "{", "namespace", e->spaces[i].name);
			fputc('}', e->out);
			put_count(e, value);
		}
	}
}

static void put_numa(struct exposition *e)
{
	uint64_t bytes[BUS_STAT_NODES] = { 0 };
	uint32_t nodes = e->daemon ? e->daemon->nodes : 0;

	for (int i = 0; i < e->topic_count; i++)
		for (int j = 0; j < e->topics[i].publisher_count; j++) {
			const struct bus_stat_pub *p = &e->topics[i].publishers[j];

			for (int k = 0; k < BUS_STAT_NODES; k++)
				bytes[k] += (uint64_t)p->node_pages[k] * p->page_kib * 1024;
		}
	begin_family(e, METRIC_NUMA_MEMORY);
	for (uint32_t k = 0; k < BUS_STAT_NODES; k++) {
		char number[16];

		if (k >= nodes && bytes[k] == 0)
			continue;
		snprintf(number, sizeof(number), "%u", k);
		begin_sample(e, METRIC_NUMA_MEMORY);
		put_label(e, "{", "node", number);
		fputc('}', e->out);
		put_count(e, bytes[k]);
	}
}

/* ---- topics ---- */

/*
 * Where no busd answers, two that listened one after another may each have left a topic of that name:
 * the keeper's pid is added to both. Topics are sorted by name.
 */
static void put_topic(struct exposition *e, const struct bus_stat_topic *t)
{
	const struct bus_stat_topic *end = e->topics + e->topic_count;
	char full[BUS_TOPIC_MAX + 24];
	bool twice = (t > e->topics && strcmp(t[-1].name, t->name) == 0) ||
		     (t + 1 < end && strcmp(t[1].name, t->name) == 0);

	if (twice)
		snprintf(full, sizeof(full), "%s#%u", t->name, t->busd_pid);
	put_label(e, "{", "topic", twice ? full : t->name);
}

static void put_topic_count(struct exposition *e, enum metric_id id, const struct bus_stat_topic *t,
			    const char *direction, uint64_t value)
{
	begin_sample(e, id);
	put_topic(e, t);
	if (direction)
		put_label(e, ",", "direction", direction);
	fputc('}', e->out);
	put_count(e, value);
}

/* Of a stream on disk. */
static void put_log(struct exposition *e, enum metric_id id, const struct bus_stat_topic *t)
{
	const struct bus_stat_log *log = &t->log;

	if (log->state != BUS_LOG_NONE)
		put_topic_count(e, id, t, NULL,
				id == METRIC_STREAM_DURABLE ? log->durable_seq
				: id == METRIC_STREAM_DISK  ? log->disk_bytes
				: id == METRIC_SPILL_LAG    ? log->lag_bytes
				: id == METRIC_SPILL_ERRORS ? log->errors
				: id == METRIC_SPILL_FULL   ? log->full
							    : log->dropped);
}

static void put_sync_count(struct exposition *e, const struct bus_stat_topic *t, const char *le,
			   uint64_t value)
{
	fprintf(e->out, "bus_%s_bucket", metrics[METRIC_SPILL_FSYNC].family);
	put_topic(e, t);
	put_label(e, ",", "le", le);
	fputc('}', e->out);
	put_count(e, value);
}

/* Bounds from 128 us on, each twice the one before; the last place of the board has no bound. */
#define SYNC_FIRST 6

static void put_syncs(struct exposition *e, const struct bus_stat_topic *t)
{
	const struct bus_stat_log *log = &t->log;
	const char *family = metrics[METRIC_SPILL_FSYNC].family;
	uint64_t sum = 0;
	char le[32];

	if (log->state == BUS_LOG_NONE)
		return;
	for (int i = 0; i < BUS_STAT_SYNC_PLACES - 1; i++) {
		const uint64_t us = UINT64_C(2) << i;

		sum += log->sync_us[i];
		snprintf(le, sizeof(le), "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
		if (i >= SYNC_FIRST)
			put_sync_count(e, t, le, sum);
	}
	sum += log->sync_us[BUS_STAT_SYNC_PLACES - 1];
	put_sync_count(e, t, "+Inf", sum);
	fprintf(e->out, "bus_%s_sum", family);
	put_topic(e, t);
	fputc('}', e->out);
	put_seconds(e, log->sync_ns);
	/* the buckets' own sum: the board's words are read one after another, and must agree here */
	fprintf(e->out, "bus_%s_count", family);
	put_topic(e, t);
	fputc('}', e->out);
	put_count(e, sum);
}

static void put_one_topic(struct exposition *e, enum metric_id id, const struct bus_stat_topic *t)
{
	uint64_t out = 0;

	switch (id) {
	case METRIC_TOPIC_MESSAGES:
		for (int i = 0; i < t->subscriber_count; i++)
			out += t->subscribers[i].delivered;
		put_topic_count(e, id, t, "in", t->messages);
		put_topic_count(e, id, t, "out", out);
		break;
	case METRIC_TOPIC_BYTES:
		put_topic_count(e, id, t, "in", t->bytes);
		break;
	case METRIC_TOPIC_PUBLISHERS:
		for (int i = 0; i < t->publisher_count; i++)
			out += !t->publishers[i].closed && !t->publishers[i].gone;
		put_topic_count(e, id, t, NULL, out);
		break;
	case METRIC_TOPIC_SUBSCRIBERS:
		for (int i = 0; i < t->subscriber_count; i++)
			out += !t->subscribers[i].gone;
		put_topic_count(e, id, t, NULL, out);
		break;
	case METRIC_TOPIC_MEMORY:
		put_topic_count(e, id, t, NULL, t->memory_bytes);
		break;
	case METRIC_SPILL_FSYNC:
		put_syncs(e, t);
		break;
	default:
		put_log(e, id, t);
		break;
	}
}

/*
 * Two samples must never have the same labels. Where one process has two publishers (or
 * subscribers) of one name on a topic, their numbers are added to the name.
 */
static void put_peer(struct exposition *e, const struct bus_stat_topic *topic, const char *kind,
		     const char *name, bool twice, uint64_t id, uint32_t pid)
{
	char full[BUS_NAME_MAX + 24], number[16];

	if (twice)
		snprintf(full, sizeof(full), "%s#%" PRIu64, name, id);
	else
		snprintf(full, sizeof(full), "%s", name);
	snprintf(number, sizeof(number), "%u", pid);
	put_topic(e, topic);
	put_label(e, ",", kind, full);
	put_label(e, ",", "pid", number);
}

static void put_pub(struct exposition *e, enum metric_id id, const struct bus_stat_topic *t, int at)
{
	const struct bus_stat_pub *p = &t->publishers[at];
	bool twice = false;

	if (id == METRIC_TOPIC_LAST_SEQ && p->messages == 0)
		return;
	for (int i = 0; i < t->publisher_count; i++)
		twice = twice || (i != at && t->publishers[i].pid == p->pid &&
				  strcmp(t->publishers[i].name, p->name) == 0);
	begin_sample(e, id);
	put_peer(e, t, "publisher", p->name, twice, p->id, p->pid);
	fputc('}', e->out);
	switch (id) {
	case METRIC_TOPIC_LAST_SEQ:
		put_count(e, p->messages - 1);
		break;
	case METRIC_RING_USED:
		fprintf(e->out, " %.6f\n", p->used_ratio);
		break;
	case METRIC_PUBLISH_BLOCKED_SECONDS:
		put_seconds(e, p->blocked_ns);
		break;
	case METRIC_PUBLISH_BLOCKED:
		put_count(e, p->blocked_now);
		break;
	case METRIC_PUBLISH_REFUSED:
		put_count(e, p->refused);
		break;
	case METRIC_PUBLISH_WAKES:
		put_count(e, p->wakes);
		break;
	default: /* METRIC_PUBLISH_EVICTIONS */
		put_count(e, p->evictions);
		break;
	}
}

static void put_sub(struct exposition *e, enum metric_id id, const struct bus_stat_topic *t, int at)
{
	const struct bus_stat_sub *s = &t->subscribers[at];
	bool twice = false;

	for (int i = 0; i < t->subscriber_count; i++)
		twice = twice || (i != at && t->subscribers[i].pid == s->pid &&
				  strcmp(t->subscribers[i].name, s->name) == 0);
	begin_sample(e, id);
	put_peer(e, t, "subscriber", s->name, twice, s->id, s->pid);
	if (id == METRIC_LOST)
		put_label(e, ",", "reason", s->lossy ? "overwritten" : "evicted");
	fputc('}', e->out);
	switch (id) {
	case METRIC_LOST:
		put_count(e, s->lost);
		break;
	case METRIC_LAG_MESSAGES:
		put_count(e, s->lag_messages);
		break;
	case METRIC_LAG_SECONDS:
		put_seconds(e, s->lag_ns);
		break;
	case METRIC_DELIVERED:
		put_count(e, s->delivered);
		break;
	case METRIC_SUB_EVICTIONS:
		put_count(e, s->evictions);
		break;
	case METRIC_HOLDS:
		put_count(e, s->holds);
		break;
	default: /* METRIC_ASLEEP */
		put_count(e, s->asleep);
		break;
	}
}

/* By its name, without a pid: nobody holds it. */
static void put_absent(struct exposition *e, enum metric_id id, const struct stat_absent *absent)
{
	const struct bus_stat_topic *t = &e->topics[absent->topic];
	const struct bus_position *p = &absent->position;
	const uint64_t now = bus_realtime_ns();

	begin_sample(e, id);
	put_peer(e, t, "subscriber", p->name, false, 0, 0);
	fputc('}', e->out);
	if (id == METRIC_LAG_MESSAGES)
		put_count(e, p->head_seq > p->seq ? p->head_seq - p->seq : 0);
	else
		put_seconds(e, p->unread_ns && now > p->unread_ns ? now - p->unread_ns : 0);
}

static void put_family(struct exposition *e, enum metric_id id)
{
	begin_family(e, id);
	for (int i = 0; i < e->topic_count; i++) {
		const struct bus_stat_topic *t = &e->topics[i];

		switch (id) {
		case METRIC_TOPIC_MESSAGES:
		case METRIC_TOPIC_BYTES:
		case METRIC_TOPIC_PUBLISHERS:
		case METRIC_TOPIC_SUBSCRIBERS:
		case METRIC_TOPIC_MEMORY:
		case METRIC_STREAM_DURABLE:
		case METRIC_STREAM_DISK:
		case METRIC_SPILL_LAG:
		case METRIC_SPILL_ERRORS:
		case METRIC_SPILL_FULL:
		case METRIC_SPILL_DROPPED:
		case METRIC_SPILL_FSYNC:
			put_one_topic(e, id, t);
			break;
		case METRIC_TOPIC_LAST_SEQ:
		case METRIC_RING_USED:
		case METRIC_PUBLISH_BLOCKED_SECONDS:
		case METRIC_PUBLISH_BLOCKED:
		case METRIC_PUBLISH_REFUSED:
		case METRIC_PUBLISH_WAKES:
		case METRIC_PUBLISH_EVICTIONS:
			for (int j = 0; j < t->publisher_count; j++)
				put_pub(e, id, t, j);
			break;
		default:
			for (int j = 0; j < t->subscriber_count; j++)
				put_sub(e, id, t, j);
			break;
		}
	}
	for (int i = 0; i < e->absent_count; i++)
		if (id == METRIC_LAG_MESSAGES || id == METRIC_LAG_SECONDS)
			put_absent(e, id, &e->absent[i]);
}

int bus__stat_openmetrics(const struct bus_stat_daemon *daemon, const struct bus_stat_topic *topics,
			  int topic_count, const struct bus_stat_namespace *spaces, int space_count,
			  const struct stat_absent *absent, int absent_count, char **text,
			  size_t *len)
{
	struct exposition e = { .daemon = daemon,
				.topics = topics,
				.topic_count = topic_count,
				.spaces = spaces,
				.space_count = space_count,
				.absent = absent,
				.absent_count = absent_count };
	char *made = NULL;
	size_t size = 0;
	bool failed;

	e.out = open_memstream(&made, &size);
	if (!e.out)
		return -ENOMEM;
	put_up(&e);
	if (daemon) {
		put_daemon(&e);
		put_namespaces(&e);
	}
	put_numa(&e);
	for (int id = METRIC_NUMA_MEMORY + 1; id < METRIC_COUNT; id++)
		put_family(&e, (enum metric_id)id);
	fputs("# EOF\n", e.out);
	failed = ferror(e.out) != 0;
	failed = fclose(e.out) != 0 || failed;
	if (failed) {
		free(made);
		return -ENOMEM;
	}
	*text = made;
	*len = size;
	return 0;
}
