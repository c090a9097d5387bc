/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_take.c - see stat_take.h
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stat_take.h"
#include "tool.h"

static void *need(size_t count, size_t size)
{
	void *memory = calloc(count + 1, size);

	if (!memory)
		tool_fail(TOOL_FAILED, "out of memory");
	return memory;
}

/* Counters of what has gone are gone too, so a sum may shrink: that is no traffic. */
static double rate(uint64_t before, uint64_t now, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static const struct stat_topic *find_topic(const struct stat_take *take,
					   const struct bus_stat_topic *now)
{
	for (int i = 0; take && i < take->topic_count; i++)
		if (take->topics[i].now.id == now->id &&
		    take->topics[i].now.busd_started_ns == now->busd_started_ns)
			return &take->topics[i];
	return NULL;
}

static const struct stat_pub *find_pub(const struct stat_topic *topic, uint64_t id)
{
	for (int i = 0; topic && i < topic->pub_count; i++)
		if (topic->pubs[i].now.id == id)
			return &topic->pubs[i];
	return NULL;
}

static const struct stat_sub *find_sub(const struct stat_topic *topic, uint64_t id)
{
	for (int i = 0; topic && i < topic->sub_count; i++)
		if (topic->subs[i].now.id == id)
			return &topic->subs[i];
	return NULL;
}

static void take_pub(struct stat_pub *pub, const struct bus_stat_pub *now,
		     const struct stat_topic *topic, const struct stat_topic *before, double seconds)
{
	const struct stat_pub *was = find_pub(before, now->id);

	*pub = (struct stat_pub){
		.now = *now,
		.messages_rate = STAT_UNKNOWN,
		.bytes_rate = STAT_UNKNOWN,
		.blocked_share = STAT_UNKNOWN,
	};
	if (was) {
		pub->messages_rate = rate(was->now.messages, now->messages, seconds);
		pub->bytes_rate = rate(was->now.bytes, now->bytes, seconds);
		pub->blocked_share = rate(was->now.blocked_ns, now->blocked_ns, seconds) / 1e9;
		if (pub->blocked_share > 1)
			pub->blocked_share = 1;
	}
	if (now->blocked_now) {
		const struct stat_sub *holder = find_sub(topic, now->blocked_by);

		pub->held_by = holder ? &holder->now : NULL;
	}
}

static void take_sub(struct stat_sub *sub, const struct bus_stat_sub *now,
		     const struct stat_topic *topic, const struct stat_topic *before, double seconds)
{
	const struct stat_sub *was = find_sub(before, now->id);

	*sub = (struct stat_sub){
		.now = *now,
		.topic = topic->now.name,
		.messages_rate = was ? rate(was->now.delivered, now->delivered, seconds)
				     : STAT_UNKNOWN,
	};
}

static bool lags_more(const struct bus_stat_sub *a, const struct stat_sub *b)
{
	if (!b)
		return a->lag_messages > 0;
	if (a->lag_messages != b->now.lag_messages)
		return a->lag_messages > b->now.lag_messages;
	return a->lag_ns > b->now.lag_ns;
}

static void take_topic(struct stat_topic *topic, const struct bus_stat_topic *now,
		       const struct stat_take *take, const struct stat_take *before)
{
	const struct stat_topic *was = find_topic(before, now);
	double seconds = before ? (double)(take->now_ns - before->now_ns) / 1e9 : 0;

	*topic = (struct stat_topic){
		.now = *now,
		.messages_rate = was ? rate(was->now.messages, now->messages, seconds) : STAT_UNKNOWN,
		.bytes_rate = was ? rate(was->now.bytes, now->bytes, seconds) : STAT_UNKNOWN,
		.pubs = need((size_t)now->publisher_count, sizeof(*topic->pubs)),
		.subs = need((size_t)now->subscriber_count, sizeof(*topic->subs)),
		.pub_count = now->publisher_count,
	};
	topic->now.publishers = NULL;
	topic->now.subscribers = NULL;
	for (int i = 0; i < now->subscriber_count; i++) {
		struct stat_sub *sub = &topic->subs[topic->sub_count++];

		take_sub(sub, &now->subscribers[i], topic, was, seconds);
		if (lags_more(&sub->now, topic->worst))
			topic->worst = sub;
	}
	for (int i = 0; i < now->publisher_count; i++) {
		const struct bus_stat_pub *pub = &now->publishers[i];

		take_pub(&topic->pubs[i], pub, topic, was, seconds);
		topic->open_pubs += !pub->closed && !pub->gone;
		topic->blocked_pubs += pub->blocked_now != 0;
		if (pub->used_ratio > topic->used_ratio)
			topic->used_ratio = pub->used_ratio;
	}
}

/* They are sorted by name. */
static void label_topics(struct stat_take *take)
{
	for (int i = 0; i < take->topic_count; i++) {
		struct stat_topic *t = &take->topics[i];
		bool twice = (i > 0 && strcmp(t[-1].now.name, t->now.name) == 0) ||
			     (i + 1 < take->topic_count && strcmp(t[1].now.name, t->now.name) == 0);

		if (twice)
			snprintf(t->label, sizeof(t->label), "%s#%u", t->now.name, t->now.busd_pid);
		else
			snprintf(t->label, sizeof(t->label), "%s", t->now.name);
	}
}

struct stat_take *stat_take(struct bus *bus, struct bus_stat *stat, const struct stat_take *before)
{
	struct stat_take *take = need(1, sizeof(*take));
	const struct bus_stat_topic *topics;
	int n = bus_stat_refresh(stat, &topics, &take->now_ns);

	if (n < 0)
		tool_fail_bus(bus, n, "look at the bus");
	take->topics = need((size_t)n, sizeof(*take->topics));
	take->topic_count = n;
	for (int i = 0; i < n; i++)
		take_topic(&take->topics[i], &topics[i], take, before);
	label_topics(take);
	return take;
}

void stat_take_free(struct stat_take *take)
{
	if (!take)
		return;
	for (int i = 0; i < take->topic_count; i++) {
		free(take->topics[i].pubs);
		free(take->topics[i].subs);
	}
	free(take->topics);
	free(take);
}

struct stat_take *stat_take_twice(struct bus *bus, struct bus_stat *stat, int64_t ns)
{
	struct stat_take *first = stat_take(bus, stat, NULL), *second;

	if (tool_sleep_until(tool_clock_ns() + ns) < 0)
		tool_die_of_signal(tool_stop_signal);
	second = stat_take(bus, stat, first);
	stat_take_free(first);
	return second;
}

const struct stat_topic *stat_take_topic(const struct stat_take *take, const char *name)
{
	for (int i = 0; i < take->topic_count; i++)
		if (strcmp(take->topics[i].now.name, name) == 0)
			return &take->topics[i];
	return NULL;
}
