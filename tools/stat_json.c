/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_json.c - see stat_json.h
 */
#include <stdlib.h>
#include <string.h>

#include "stat_json.h"
#include "tool.h"

static void set(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
}

static void append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
}

/* JSON's integers end at 2^63 here; what a peer claims may be larger. */
static void set_count(json_t *object, const char *key, uint64_t n)
{
	set(object, key, json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n));
}

static void set_seconds(json_t *object, const char *key, uint64_t ns)
{
	set(object, key, json_real((double)ns / 1e9));
}

static void set_rate(json_t *object, const char *key, double rate)
{
	set(object, key, rate < 0 ? json_null() : json_real(rate));
}

/* Names are given by processes: JSON wants UTF-8. */
static void set_name(json_t *object, const char *key, const char *name)
{
	tool_json_set_bytes(object, key, name, strlen(name));
}

static void set_process(json_t *object, uint64_t id, uint32_t pid, const char *name, uint32_t uid)
{
	set_count(object, "id", id);
	set_count(object, "pid", pid);
	set_name(object, "name", name);
	set_count(object, "uid", uid);
	set_name(object, "user", tool_user(uid).s);
}

/* As the metric has it, but each bucket by itself. */
static json_t *syncs_json(const struct bus_stat_log *log)
{
	json_t *o = json_object(), *buckets = json_array();
	uint64_t count = 0;

	for (int i = 0; i < BUS_STAT_SYNC_PLACES; i++) {
		json_t *bucket = json_object();

		count += log->sync_us[i];
		if (log->sync_us[i] == 0) {
			json_decref(bucket);
			continue;
		}
		set(bucket, "below",
		    i + 1 < BUS_STAT_SYNC_PLACES ? json_real((double)(UINT64_C(2) << i) / 1e6)
						 : json_null());
		set_count(bucket, "count", log->sync_us[i]);
		json_array_append_new(buckets, bucket);
	}
	set_count(o, "count", count);
	set(o, "sum", json_real((double)log->sync_ns / 1e9));
	set(o, "buckets", buckets);
	return o;
}

static void set_log(json_t *o, const struct bus_stat_log *log)
{
	set_name(o, "sync", tool_sync(log->sync, log->sync_interval_ns).s);
	set_name(o, "log_state", tool_log_state(log->state));
	set_count(o, "durable_seq", log->durable_seq);
	set_count(o, "oldest_seq", log->oldest_seq);
	set_count(o, "disk_bytes", log->disk_bytes);
	set_count(o, "segments", log->segments);
	set_count(o, "spill_lag_bytes", log->lag_bytes);
	set_count(o, "spill_errors", log->errors);
	set_count(o, "spill_full", log->full);
	set_count(o, "spill_lost", log->lost);
	set_name(o, "on_full", log->on_full == BUS_ON_FULL_DROP ? "drop" : "block");
	set_count(o, "spill_dropped", log->dropped);
	set_count(o, "spill_syncs", log->syncs);
	set(o, "spill_fsync_seconds", syncs_json(log));
	set_name(o, "io", log->io);
	set_name(o, "io_why", log->io_why);
	set_name(o, "log_why", log->why);
}

static json_t *pub_json(const struct stat_pub *pub)
{
	const struct bus_stat_pub *p = &pub->now;
	json_t *o = json_object();

	set_process(o, p->id, p->pid, p->name, p->uid);
	set_count(o, "client_id", p->client_id);
	set(o, "last_seq", p->messages ? json_integer((json_int_t)(p->messages - 1)) : json_null());
	set_count(o, "bytes", p->bytes);
	set_count(o, "taken", p->taken);
	set_rate(o, "messages_per_second", pub->messages_rate);
	set_rate(o, "bytes_per_second", pub->bytes_rate);
	set(o, "used_ratio", json_real(p->used_ratio));
	set_count(o, "ring_id", p->ring_id);
	set_count(o, "ring_slots", p->ring_slots);
	set_count(o, "ring_bytes", p->ring_bytes);
	set(o, "blocked", json_boolean(p->blocked_now));
	set_seconds(o, "blocked_seconds", p->blocked_ns);
	set_seconds(o, "blocked_now_seconds", p->block_ns);
	set_rate(o, "blocked_share", pub->blocked_share);
	if (pub->held_by) {
		json_t *by = json_object();

		set_process(by, pub->held_by->id, pub->held_by->pid, pub->held_by->name,
			    pub->held_by->uid);
		set(o, "blocked_by", by);
	} else {
		set(o, "blocked_by", json_null());
	}
	set_count(o, "refused", p->refused);
	set_count(o, "wakes", p->wakes);
	set_count(o, "evictions", p->evictions);
	set(o, "closed", json_boolean(p->closed));
	set(o, "gone", json_boolean(p->gone));
	set(o, "opened", tool_json_time(p->opened_ns));
	set(o, "last_time", tool_json_time(p->last_time_ns));
	return o;
}

static json_t *sub_json(const struct stat_sub *sub)
{
	const struct bus_stat_sub *s = &sub->now;
	json_t *o = json_object();

	set_process(o, s->id, s->pid, s->name, s->uid);
	set_count(o, "client_id", s->client_id);
	set_name(o, "pattern", s->pattern);
	set(o, "policy", json_string(s->lossy ? "lossy" : "reliable"));
	set_count(o, "lag_messages", s->lag_messages);
	set_seconds(o, "lag_seconds", s->lag_ns);
	set_count(o, "delivered", s->delivered);
	set_rate(o, "messages_per_second", sub->messages_rate);
	set_count(o, "lost", s->lost);
	set_count(o, "evictions", s->evictions);
	set_count(o, "holds", s->holds);
	set(o, "asleep", json_boolean(s->asleep));
	set(o, "gone", json_boolean(s->gone));
	set(o, "node", s->node < 0 ? json_null() : json_integer(s->node));
	set(o, "opened", tool_json_time(s->opened_ns));
	return o;
}

static void set_asked(json_t *o, const struct bus_stat_topic *t)
{
	set(o, "numa",
	    t->numa == BUS_NUMA_AUTO         ? json_string("auto")
	    : t->numa == BUS_NUMA_INTERLEAVE ? json_string("interleave")
					     : json_integer(t->numa - 1));
	set(o, "huge", json_boolean(t->huge));
}

json_t *stat_json_topic(const struct stat_topic *topic)
{
	const struct bus_stat_topic *t = &topic->now;
	json_t *o = json_object(), *pubs = json_array(), *subs = json_array();

	set_name(o, "topic", t->name);
	set_count(o, "messages", t->messages);
	set_count(o, "bytes", t->bytes);
	set_rate(o, "messages_per_second", topic->messages_rate);
	set_rate(o, "bytes_per_second", topic->bytes_rate);
	set_count(o, "lag_messages", t->lag_messages);
	set_seconds(o, "lag_seconds", t->lag_ns);
	set_count(o, "lost", t->lost);
	set(o, "used_ratio", json_real(topic->used_ratio));
	set_count(o, "blocked", (uint64_t)topic->blocked_pubs);
	set_count(o, "memory_bytes", t->memory_bytes);
	set_count(o, "slots", t->slots);
	set_count(o, "ring_bytes", t->ring_bytes);
	set_count(o, "max_bytes", t->max_bytes);
	set(o, "explicit", json_boolean(t->explicit_));
	set_asked(o, t);
	set(o, "stream", json_boolean(t->stream));
	set_count(o, "stream_slots", t->stream_slots);
	set_count(o, "stream_bytes", t->stream_bytes);
	set_log(o, &t->log); /* keys are there for every topic */
	set(o, "created", tool_json_time(t->created_ns));
	if (t->busd_pid)
		set_count(o, "busd_pid", t->busd_pid);
	for (int i = 0; i < topic->pub_count; i++)
		append(pubs, pub_json(&topic->pubs[i]));
	for (int i = 0; i < topic->sub_count; i++)
		append(subs, sub_json(&topic->subs[i]));
	set(o, "publishers", pubs);
	set(o, "subscribers", subs);
	return o;
}

json_t *stat_json_topics(const struct stat_take *take)
{
	json_t *array = json_array();

	for (int i = 0; i < take->topic_count; i++)
		append(array, stat_json_topic(&take->topics[i]));
	return array;
}

json_t *stat_json_publishers(const struct stat_take *take)
{
	json_t *array = json_array();

	for (int i = 0; i < take->topic_count; i++)
		for (int k = 0; k < take->topics[i].pub_count; k++) {
			json_t *o = pub_json(&take->topics[i].pubs[k]);

			set_name(o, "topic", take->topics[i].now.name);
			append(array, o);
		}
	return array;
}

json_t *stat_json_subscribers(const struct stat_take *take)
{
	json_t *array = json_array();

	for (int i = 0; i < take->topic_count; i++)
		for (int k = 0; k < take->topics[i].sub_count; k++) {
			json_t *o = sub_json(&take->topics[i].subs[k]);

			set_name(o, "topic", take->topics[i].now.name);
			append(array, o);
		}
	return array;
}

static json_t *ring_json(const struct bus_stat_pub *p)
{
	json_t *o = json_object(), *nodes = json_array();

	set_process(o, p->id, p->pid, p->name, p->uid);
	set_count(o, "ring_id", p->ring_id);
	set_count(o, "page_bytes", (uint64_t)p->page_kib * 1024);
	for (int k = 0; k < BUS_STAT_NODES; k++) {
		json_t *node = json_object();

		if (p->node_pages[k] == 0) {
			json_decref(node);
			continue;
		}
		set_count(node, "node", (uint64_t)k);
		set_count(node, "memory_bytes", (uint64_t)p->node_pages[k] * p->page_kib * 1024);
		append(nodes, node);
	}
	set(o, "nodes", nodes);
	return o;
}

json_t *stat_json_numa(const struct stat_take *take)
{
	json_t *array = json_array();

	for (int i = 0; i < take->topic_count; i++) {
		const struct stat_topic *t = &take->topics[i];
		json_t *o = json_object(), *rings = json_array(), *subs = json_array();

		set_name(o, "topic", t->now.name);
		set_asked(o, &t->now);
		for (int k = 0; k < t->pub_count; k++)
			append(rings, ring_json(&t->pubs[k].now));
		for (int k = 0; k < t->sub_count; k++) {
			const struct bus_stat_sub *s = &t->subs[k].now;
			json_t *sub = json_object();

			set_process(sub, s->id, s->pid, s->name, s->uid);
			set(sub, "node", s->node < 0 ? json_null() : json_integer(s->node));
			append(subs, sub);
		}
		set(o, "publishers", rings);
		set(o, "subscribers", subs);
		append(array, o);
	}
	return array;
}

/* What the boards do not say is null. */
static void set_known(json_t *object, const char *key, uint64_t n, bool known)
{
	if (known)
		set_count(object, key, n);
	else
		set(object, key, json_null());
}

json_t *stat_json_clients(const struct stat_source *source, const struct stat_take *take)
{
	json_t *array = json_array();
	struct stat_client *clients;
	int count;

	clients = stat_source_clients(source, take, &count);
	for (int i = 0; i < count; i++) {
		const struct bus_stat_client *c = &clients[i].now;
		bool known = !clients[i].by_maps;
		json_t *o = json_object();

		set_process(o, c->id, c->pid, c->name, c->uid);
		set_known(o, "gid", c->gid, known);
		set_name(o, "command", c->command);
		set_count(o, "publishers", c->publishers);
		set_count(o, "subscriptions", c->subscriptions);
		set_known(o, "memory_bytes", c->memory_bytes, known);
		set_known(o, "queued", c->queued, known);
		set(o, "node", c->node < 0 ? json_null() : json_integer(c->node));
		set(o, "connected", tool_json_time(c->connected_ns));
		set(o, "gone", json_boolean(clients[i].gone));
		append(array, o);
	}
	free(clients);
	return array;
}

static json_t *headers_json(const struct bus_msg *m)
{
	json_t *array = json_array();
	struct bus_header h;
	uint32_t at = 0;

	while (bus_msg_header_next(m, &at, &h) > 0) {
		json_t *o = json_object();

		tool_json_set_bytes(o, "name", h.name, h.name_len);
		tool_json_set_bytes(o, "value", h.value, h.value_len);
		append(array, o);
	}
	return array;
}

json_t *stat_json_messages(const struct bus_msg *msgs, int n)
{
	json_t *array = json_array();

	for (int i = 0; i < n; i++) {
		const struct bus_msg *m = &msgs[i];
		json_t *o = json_object(), *from = json_object();

		set_name(o, "topic", m->topic);
		set_count(o, "seq", m->seq);
		set(o, "time", tool_json_time(m->time_ns));
		set_process(from, m->from->id, m->from->pid, m->from->name, m->from->uid);
		set(o, "publisher", from);
		set_count(o, "len", m->len);
		if (m->key)
			tool_json_set_bytes(o, "key", m->key, m->key_len);
		if (m->headers)
			set(o, "headers", headers_json(m));
		tool_json_set_bytes(o, "payload", m->data, m->len);
		append(array, o);
	}
	return array;
}

json_t *stat_json_namespaces(const struct bus_stat_namespace *spaces, int count)
{
	json_t *array = json_array();

	for (int i = 0; i < count; i++) {
		const struct bus_stat_namespace *s = &spaces[i];
		json_t *o = json_object();

		set_name(o, "namespace", s->name);
		if (s->owner == BUS_STAT_OWNER_NONE)
			set(o, "owner", json_null());
		else
			set_name(o, "owner", stat_owner(s).s);
		set_count(o, "memory_bytes", s->memory_bytes);
		set_known(o, "memory_limit_bytes", s->memory_limit, s->memory_limit != 0);
		set_count(o, "topics", s->topics);
		set_known(o, "topics_limit", s->topics_limit, s->topics_limit != 0);
		set_count(o, "rings", s->rings);
		set_known(o, "rings_limit", s->rings_limit, s->rings_limit != 0);
		set_count(o, "clients", s->clients);
		set_known(o, "clients_limit", s->clients_limit, s->clients_limit != 0);
		set(o, "configured", json_boolean(s->configured));
		append(array, o);
	}
	return array;
}
