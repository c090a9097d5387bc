/* SPDX-License-Identifier: Apache-2.0 */
/* member.c - a subscription's part in a topic, and its place at each ring there; see registry.h */
#include "record.h"

#include "change.h"
#include "event.h"
#include "log.h"
#include "share.h"
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct member *member_new(struct sub *sub, struct topic *topic, int *rc, struct why *why)
{
	struct member *member = calloc(1, sizeof(*member));

	*rc = member ? board_take_sub(&topic->board, why)
		     : because(why, ENOMEM, "busd is out of memory");
	if (*rc < 0) {
		free(member);
		return NULL;
	}
	member->topic = topic;
	member->sub = sub;
	member->board_index = (uint32_t)*rc;
	list_init(&member->readers);
	list_append(&topic->members, &member->topic_link);
	list_append(&sub->members, &member->sub_link);
	topic->member_count++;
	if (topic->first_node < 0 && sub->node >= 0) {
		topic->first_node = sub->node;
		record_topic(topic);
	}
	record_member(member);
	return member;
}

/* An entry of the cursor segment for one more ring; -1: max_rings are in use. */
static int take_entry(struct sub *sub, struct reader *reader)
{
	uint32_t i;

	for (i = 0; i < sub->entries; i++) {
		uint32_t entry = (sub->entry_hint + i) % sub->entries;

		if (sub->entry[entry])
			continue;
		sub->entry[entry] = reader;
		sub->entry_hint = entry + 1;
		return (int)entry;
	}
	return -1;
}

static bool reads(const struct member *member, const struct ring *ring)
{
	const struct reader *reader;

	for_each(reader, &member->readers, member_link)
		if (reader->ring == ring)
			return true;
	return false;
}

void reader_announce(struct reader *reader)
{
	struct member *member = reader->member;
	struct ring *ring = reader->ring;
	struct ctl_ev_ring msg = {
		.head = { .type = CTL_EV_RING, .version = CTL_VERSION, .len = sizeof(msg) },
		.sub_id = member->sub->id,
		.topic_id = member->topic->id,
		.ring_id = ring->id,
		.segment_id = ring->seg->info.segment_id,
		.board_id = member->topic->board.seg->info.segment_id,
		.prev_ring = ring->prev && reads(member, ring->prev) ? ring->prev->id : 0,
		.client_id = ring->client_id,
		.pub_id = ring->pub_id,
		.board_index = ring->board_index,
		.sub_index = member->board_index,
		.entry = reader->entry,
		.flags = ring->pub ? reader->flags : reader->flags | CTL_RING_CLOSED,
		.start = reader->start,
		.pid = ring->pid,
		.uid = ring->uid,
		.bell_word = ring->pub ? ring->pub->client->slot : 0,
		.line = ring->line,
	};

	memcpy(msg.topic, member->topic->name, sizeof(msg.topic));
	memcpy(msg.name, ring->name, sizeof(msg.name));
	BUS_NEXT(if (member->sub->client->versions.spoken == CTL_VERSION) msg.label = ring->label);
	event_push(member->sub->client, &msg, NULL, false);
}

/* The subscriber is told that it misses a publisher: no segment, no entry, nothing to attach. */
static void announce_starved(const struct member *member, const struct ring *ring)
{
	struct ctl_ev_ring msg = {
		.head = { .type = CTL_EV_RING, .version = CTL_VERSION, .len = sizeof(msg) },
		.sub_id = member->sub->id,
		.topic_id = member->topic->id,
		.ring_id = ring->id,
		.pub_id = ring->pub_id,
		.flags = CTL_RING_STARVED,
	};

	memcpy(msg.topic, member->topic->name, sizeof(msg.topic));
	memcpy(msg.name, ring->name, sizeof(msg.name));
	event_push(member->sub->client, &msg, NULL, false);
}

/* What follows a ring holds nobody up either, until it joins again. */
static bool was_evicted(const struct member *member, const struct ring *ring)
{
	const struct reader *reader;

	for_each(reader, &member->readers, member_link)
		if (reader->ring == ring->prev)
			return reader->evicted;
	return false;
}

struct reader *reader_new(struct member *member, struct ring *ring, uint64_t start, uint32_t flags)
{
	struct sub *sub = member->sub;
	struct reader *reader = calloc(1, sizeof(*reader));
	int entry = reader ? take_entry(sub, reader) : -1;

	if (entry < 0) {
		if (!sub->starved) {
			announce_starved(member, ring);
			log_warning("subscription \"%s\" of %s reads as many rings as it has room for (%u): it misses "
				    "\"%s\" on \"%s\"",
				    sub->pattern, client_label(sub->client), sub->entries,
				    ring->name, member->topic->name);
		}
		sub->starved = true;
		record_sub(sub);
		free(reader);
		return NULL;
	}
	reader->member = member;
	reader->ring = ring;
	reader->entry = (uint32_t)entry;
	reader->start = start;
	reader->flags = flags;
	reader->evicted = was_evicted(member, ring);
	list_append(&ring->readers, &reader->ring_link);
	list_append(&member->readers, &reader->member_link);
	if (!member->has_board) {
		member->has_board = true;
		record_member(member);
		share_segment(sub->client, member->topic->board.seg);
	}
	share_segment(sub->client, ring->seg);
	if (ring->pub) {
		reader->open = true;
		share_peer(sub->client, ring->pub->client);
	}
	record_reader(reader);
	if (client_is_self(sub->client))
		stream_read_ring(reader);
	else
		reader_announce(reader);
	return reader;
}

void reader_part(struct reader *reader)
{
	struct client *subscriber = reader->member->sub->client;
	struct client *publisher = reader->ring->pub->client;

	if (client_is_self(publisher)) { /* nothing but its wakes was shared */
		if (reader->told)
			stream_remove_reader(reader);
		reader->open = reader->told = false;
		record_reader(reader);
		return;
	}
	if (client_is_self(subscriber))
		stream_part(reader->ring);
	if (reader->open)
		unshare_peer(subscriber, publisher);
	if (reader->told) {
		unshare_segment(publisher, reader->member->sub->seg);
		unshare_peer(publisher, subscriber);
	}
	reader->open = reader->told = false;
	record_reader(reader);
}

void reader_free(struct reader *reader, bool taken)
{
	struct sub *sub = reader->member->sub;
	struct ring *ring = reader->ring;

	if (ring->pub)
		reader_part(reader);
	if (taken && !event_cancel_ring(sub->client, sub->id, ring->id)) {
		struct ctl_ev_ring_gone msg = {
			.head = { .type = CTL_EV_RING_GONE, .version = CTL_VERSION, .len = sizeof(msg) },
			.sub_id = sub->id,
			.ring_id = ring->id,
		};

		event_push(sub->client, &msg, NULL, false);
	}
	sub->entry[reader->entry] = NULL;
	journal_drop(&ring->topic->busd->journal, &reader->place);
	unshare_segment(sub->client, ring->seg);
	list_remove(&reader->ring_link);
	list_remove(&reader->member_link);
	free(reader);
}

void member_free(struct member *member)
{
	struct topic *topic = member->topic;
	struct reader *reader;

	topic_pin(topic);
	if (member->sub->active) {
		if (topic->pub_count) {
			change_begin(topic);
			for_each(reader, &member->readers, member_link)
				if (reader->ring->pub)
					change_remove(reader);
			change_commit(topic);
		}
		board_remove_sub(member);
	}
	for_each(reader, &member->readers, member_link) {
		struct ring *ring = reader->ring;

		reader_free(reader, false);
		ring_settle(ring);
	}
	if (member->has_board)
		unshare_segment(member->sub->client, topic->board.seg);
	list_remove(&member->topic_link);
	list_remove(&member->sub_link);
	topic->member_count--;
	journal_drop(&topic->busd->journal, &member->place);
	board_give_back_sub(&topic->board, member->board_index);
	free(member);
	topic_unpin(topic);
}
