/* SPDX-License-Identifier: Apache-2.0 */
/* registry.c - topics by name; see registry.h */
#include "registry.h"

#include "change.h"
#include "log.h"
#include "namespace.h"
#include "observe.h"
#include "record.h"
#include "alloc.h"
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The first place whose name is >= name (strict: > name). */
static size_t lower_bound(const struct busd *busd, const char *name, bool strict)
{
	size_t low = 0, high = busd->topic_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(busd->topics[middle]->name, name);

		if (order < 0 || (strict && order == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct topic *topic_find(struct busd *busd, const char *name)
{
	size_t i = lower_bound(busd, name, false);

	return i < busd->topic_count && strcmp(busd->topics[i]->name, name) == 0 ? busd->topics[i]
										 : NULL;
}

size_t topic_index_after(struct busd *busd, const char *after)
{
	return lower_bound(busd, after, true);
}

int topic_insert(struct topic *topic)
{
	struct busd *busd = topic->busd;
	size_t i = lower_bound(busd, topic->name, false);

	if (busd->topic_count == busd->topic_room) {
		size_t room = busd->topic_room ? busd->topic_room * 2 : 64;
		struct topic **larger = realloc(busd->topics, room * sizeof(struct topic *));

		if (!larger)
			return -ENOMEM;
		busd->topics = larger;
		busd->topic_room = room;
	}
	memmove(&busd->topics[i + 1], &busd->topics[i],
		(busd->topic_count - i) * sizeof(struct topic *));
	busd->topics[i] = topic;
	busd->topic_count++;
	return 0;
}

/* One more topic of this user, and of its namespace. */
static int take_place(struct client *client, const char *name, struct namespace **space,
		      struct why *why)
{
	int rc = namespace_find(client->busd, name, space, why);

	if (rc == 0)
		rc = quota_take_topic(&client->user->account, why);
	if (rc < 0)
		return rc;
	rc = namespace_take_topic(*space, why);
	if (rc < 0)
		client->user->account.topics--;
	return rc;
}

static void begin_stream(struct topic *topic, const struct job *job)
{
	topic->stream_slots = job->stream_slots;
	topic->stream_bytes = job->stream_bytes;
	topic->log = job->log;
	memcpy(topic->uuid, job->uuid, sizeof(topic->uuid));
}

struct topic *topic_make(struct client *client, const char *name,
			 const struct ctl_topic_settings *settings, bool explicit_,
			 const struct job *stream, int *rc, struct why *why)
{
	struct busd *busd = client->busd;
	struct namespace *space;
	struct topic *topic;

	*rc = stream_check_refused(busd, name, why);
	if (*rc == 0)
		*rc = take_place(client, name, &space, why);
	if (*rc < 0)
		return NULL;
	topic = calloc(1, sizeof(*topic));
	if (!topic) {
		client->user->account.topics--;
		space->topics--;
		*rc = because(why, ENOMEM, "busd is out of memory");
		return NULL;
	}
	topic->busd = busd;
	topic->id = busd_new_id(busd);
	snprintf(topic->name, sizeof(topic->name), "%s", name);
	topic->settings = *settings;
	topic->explicit_ = explicit_;
	topic->created_ns = bus_realtime_ns();
	topic->account = &client->user->account;
	topic->space = space;
	topic->first_node = -1;
	topic->made_by = client->id;
	topic->made_req = client->begun_req;
	list_init(&topic->pubs);
	list_init(&topic->rings);
	list_init(&topic->members);
	if (stream)
		begin_stream(topic, stream);
	*rc = board_make(topic, &busd->calibrator.now, why);
	if (*rc == 0 && topic_insert(topic) < 0)
		*rc = because(why, ENOMEM, "busd is out of memory");
	if (*rc < 0) {
		board_free(&topic->board);
		topic->account->topics--;
		space->topics--;
		free(topic);
		return NULL;
	}
	segment_hold(topic->board.seg);
	record_topic(topic);
	log_debug("topic \"%s\" made by %s", name, client_label(client));
	sub_match_topic(topic);
	observe_board(topic);
	return topic;
}

static void unlink_topic(struct topic *topic)
{
	struct busd *busd = topic->busd;
	size_t i = lower_bound(busd, topic->name, false);

	memmove(&busd->topics[i], &busd->topics[i + 1],
		(--busd->topic_count - i) * sizeof(struct topic *));
	topic->removed = true;
	record_topic(topic);
	board_settings(topic);
}

/*
 * A subscription to the name itself waits for it to come back: to it the topic is there. A
 * pattern is no such claim.
 */
static bool is_claimed(const struct topic *topic)
{
	const struct member *member;

	for_each(member, &topic->members, topic_link)
		if (!member->sub->wild)
			return true;
	return false;
}

void topic_release(struct topic *topic)
{
	struct member *member;

	if (topic->pins || topic->ring_count)
		return;
	if (!topic->removed && (topic->explicit_ || is_claimed(topic)))
		return;
	topic->pins++; /* what follows must not come back here */
	if (!topic->removed)
		unlink_topic(topic);
	for_each(member, &topic->members, topic_link)
		member_free(member);
	stream_free(topic);
	observe_gone(topic->busd, topic->board.seg);
	log_debug("topic \"%s\" is gone", topic->name);
	topic->account->topics--;
	topic->space->topics--;
	journal_drop(&topic->busd->journal, &topic->place);
	board_free(&topic->board);
	free(topic);
}

void topic_unpin(struct topic *topic)
{
	topic->pins--;
	topic_release(topic);
}

/* The rings stay until their readers are done; the name is free at once. */
void topic_remove(struct topic *topic)
{
	struct ring *ring;

	topic_pin(topic);
	unlink_topic(topic);
	record_commit(topic->busd); /* before anybody can see it end */
	ring_end_open(topic, NULL);
	for_each(ring, &topic->rings, link)
		ring_settle(ring);
	topic_unpin(topic);
}

void topic_restore_end(struct topic *topic)
{
	struct ring *ring;

	ring_end_told(topic);
	if (!topic->removed)
		return;
	topic_pin(topic);
	for_each(ring, &topic->rings, link)
		ring_settle(ring);
	topic_unpin(topic);
}

uint64_t topic_memory(const struct topic *topic)
{
	uint64_t bytes = topic->board.seg->bill.bytes;
	const struct ring *ring;

	for_each(ring, &topic->rings, link)
		bytes += ring->seg->info.size;
	return bytes;
}
