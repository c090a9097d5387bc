/* SPDX-License-Identifier: Apache-2.0 */
/* sub.c - see sub.h */
#include "sub.h"

#include "alloc.h"
#include "change.h"
#include "event.h"
#include "log.h"
#include "namespace.h"
#include "observe.h"
#include "position.h"
#include "record.h"
#include "stream.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct sub *sub_of(struct client *client, uint64_t sub_id, struct why *why)
{
	struct sub *sub = idmap_get(&client->busd->subs_by_id, sub_id);

	if (sub && sub->client == client)
		return sub;
	because(why, ENOENT, "this connection has no subscription %llu", (unsigned long long)sub_id);
	return NULL;
}

static bool wants(const struct sub *sub, const struct topic *topic)
{
	struct acl_subject subject = client_subject(sub->client);

	/* not of a stream that came under the same name: its numbers are others */
	if (sub->durable[0] && !position_is_of(sub, topic))
		return false;
	return topic_matches(sub->pattern, topic->name) &&
	       acl_allows(&topic->busd->config->acl, topic->busd->uid, &subject, ACL_SUBSCRIBE,
			  topic->name);
}

static struct sub *sub_new(struct client *client, struct job *job)
{
	struct busd *busd = client->busd;
	struct sub *sub = calloc(1, sizeof(*sub));

	if (sub)
		sub->entry = calloc(job->entries, sizeof(struct reader *));
	if (!sub || !sub->entry) {
		free(sub);
		return NULL;
	}
	sub->id = busd_new_id(busd);
	if (idmap_put(&busd->subs_by_id, sub->id, sub) < 0) {
		free(sub->entry);
		free(sub);
		return NULL;
	}
	sub->client = client;
	sub->space = job->space;
	memcpy(sub->pattern, job->pattern, sizeof(sub->pattern));
	memcpy(sub->name, job->name, sizeof(sub->name));
	sub->wild = topic_is_wild(sub->pattern);
	sub->start = job->start;
	sub->line = job->line;
	sub->node = job->node;
	sub->opened_ns = bus_realtime_ns();
	sub->entries = job->entries;
	sub->flags = job->flags;
	sub->seg = job->seg;
	job->seg = NULL;
	sub->seg->info.owner_id = sub->id;
	sub->seg->info.uid = client->uid;
	sub->seg->info.entries = sub->entries;
	sub->req = job->req;
	segment_hold(sub->seg);
	list_init(&sub->members);
	list_append(&busd->subs, &sub->link);
	list_append(&client->subs, &sub->client_link);
	client->sub_count++;
	busd->sub_count++;
	position_give(job, sub);
	record_sub(sub);
	return sub;
}

void sub_free(struct sub *sub)
{
	struct client *client = sub->client;
	struct busd *busd = client->busd;
	struct member *member;

	position_drop(sub->hold);
	for_each(member, &sub->members, sub_link)
		member_free(member);
	event_cancel_about(client, sub->id);
	namespace_leave(client, sub->space);
	if (sub->active)
		observe_gone(busd, sub->seg);
	list_remove(&sub->link);
	list_remove(&sub->client_link);
	client->sub_count--;
	busd->sub_count--;
	idmap_remove(&busd->subs_by_id, sub->id);
	journal_drop(&busd->journal, &sub->place);
	segment_unref(sub->seg);
	free(sub->entry);
	free(sub);
}

/* All rings there are now; how many were announced. */
static uint32_t attach_rings(struct member *member)
{
	struct ring *ring;
	uint32_t count = 0;

	for_each(ring, &member->topic->rings, link) {
		if (!stream_shows(ring, member->sub) ||
		    (!ring->pub && member->sub->start == CTL_START_NOW))
			continue;
		count += reader_new(member, ring, 0, ring->pub ? 0 : CTL_RING_CLOSED) != NULL;
	}
	return count;
}

static int match_topics(struct sub *sub, uint32_t *rings, struct why *why)
{
	struct busd *busd = sub->client->busd;
	struct member *member;
	size_t i;
	int rc;

	for (i = 0; i < busd->topic_count; i++) {
		if (!wants(sub, busd->topics[i]))
			continue;
		member = member_new(sub, busd->topics[i], &rc, why);
		if (member)
			*rings += attach_rings(member);
		else if (!sub->wild || rc == -ENOMEM)
			return rc;
		else
			log_warning("subscription \"%s\" of %s does not get \"%s\": %s", sub->pattern,
				    client_label(sub->client), busd->topics[i]->name, why->text);
	}
	return 0;
}

static void answer_opened(struct sub *sub, uint32_t req, uint32_t rings)
{
	struct ctl_sub_reply reply = { .head = { .type = CTL_REPLY | CTL_SUB_OPEN,
						 .version = CTL_VERSION,
						 .len = sizeof(reply),
						 .req = req },
				       .sub_id = sub->id,
				       .segment_id = sub->seg->info.segment_id,
				       .size = sub->seg->info.size,
				       .entries = sub->entries,
				       .rings = rings,
				       .position = position_of(sub) };

	client_reply(sub->client, &reply, &sub->seg->rw_fd, 1);
}

static void opened(struct client *client, struct job *job)
{
	uint32_t rings = 0;
	struct sub *sub = NULL;
	int rc = job->rc;

	position_let_go(job);
	if (client && rc == 0)
		rc = namespace_enter(client, job->space, &job->why);
	if (client && rc == 0) {
		sub = sub_new(client, job);
		if (!sub)
			namespace_leave(client, job->space);
		rc = sub ? match_topics(sub, &rings, &job->why)
			 : because(&job->why, ENOMEM, "busd is out of memory");
	}
	if (sub && rc < 0)
		sub_free(sub);
	if (client && rc < 0)
		client_reply_error(client, CTL_VERSION, job->req, -rc, job->why.text);
	else if (client)
		answer_opened(sub, job->req, rings);
	job_free(job);
}

/* A former worker made it: its rings were announced anew when the client came back. */
static bool opened_before(struct client *client, const struct ctl_sub_open *open)
{
	struct sub *sub;

	if (!client->retrying)
		return false;
	for_each(sub, &client->subs, client_link) {
		const struct member *member;
		const struct reader *reader;
		uint32_t rings = 0;

		if (sub->req != open->head.req || sub->active)
			continue;
		if (sub->durable[0]) { /* where it stands is asked again */
			sub_free(sub);
			return false;
		}
		for_each(member, &sub->members, sub_link)
			for_each(reader, &member->readers, member_link)
				rings++;
		answer_opened(sub, open->head.req, rings);
		return true;
	}
	return false;
}

int sub_open(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_sub_open *open = msg;
	struct acl_subject subject = client_subject(client);
	const struct busd *busd = client->busd;
	const char *wrong = topic_pattern_check(open->pattern);
	uint32_t entries = open->entries ? open->entries : CURSOR_DEFAULT_ENTRIES;
	bool allowed;
	struct job *job;
	int rc;

	if (wrong)
		return because(why, EINVAL, "topic pattern %s", wrong);
	if (opened_before(client, open))
		return 0;
	if (open->flags & ~BOARD_SUB_LOSSY || open->start > CTL_START_SEQ ||
	    entries > CURSOR_MAX_ENTRIES)
		return because(
			why, EINVAL,
			"a subscription has unknown flags, an unknown start or more than %d rings",
			CURSOR_MAX_ENTRIES);
	allowed = topic_is_wild(open->pattern) ? acl_allows_somewhere(&busd->config->acl, busd->uid,
								      &subject, ACL_SUBSCRIBE)
					       : acl_allows(&busd->config->acl, busd->uid, &subject,
							    ACL_SUBSCRIBE, open->pattern);
	if (!allowed)
		return because(why, EACCES,
			       "no right to subscribe (uid %u); ask who runs busd for a rule",
			       client->uid);
	if (open->start == CTL_START_SEQ) {
		const struct topic *topic = topic_find(client->busd, open->pattern);

		rc = topic ? 0 : stream_check_refused(busd, open->pattern, why);
		if (rc < 0)
			return rc;
		if (!topic || !topic_is_stream(topic))
			return because(
				why, EINVAL,
				"there is no stream \"%s\": only a stream has numbers to start from",
				open->pattern);
	}
	if (client->sub_count >= CLIENT_SUBS_MAX)
		return because(why, EDQUOT,
			       "this connection has %u subscriptions, the most that one may have",
			       client->sub_count);
	job = job_new(client, msg);
	if (!job)
		return because(why, ENOMEM, "busd is out of memory");
	memcpy(job->pattern, open->pattern, sizeof(job->pattern));
	client_copy_name(job->name, open->name[0] ? open->name : client->name);
	job->start = open->start;
	job->line = open->line;
	job->node = open->node >= 0 ? open->node : client->node;
	job->entries = entries;
	job->flags = open->flags;
	job->done = opened;
	rc = namespace_find(client->busd, job->pattern, &job->space, why);
	if (rc < 0) {
		job_free(job);
		return rc;
	}
	job->plan = (struct segment_plan){ .kind = CTL_SEG_CURSOR,
					   .size = sizeof(struct cursor_segment) +
						   (size_t)entries * sizeof(struct cursor_entry) };
	if (!open->durable[0]) {
		alloc_build(job);
		return 0;
	}
	rc = position_begin(job, open->durable, why);
	if (rc < 0)
		job_free(job);
	return rc;
}

/* From now on publishers wait for it (or wake it), each from where busd finds its ring now. */
static void activate(struct member *member)
{
	struct reader *reader;

	change_begin(member->topic);
	for_each(reader, &member->readers, member_link) {
		if (!reader->ring->pub)
			continue;
		reader->start = ring_head(reader->ring);
		record_reader(reader);
		change_add(reader, reader_gates(reader));
	}
	change_commit(member->topic);
}

/* A worker that died in the midst of a join had told the publishers of some topics only. */
static void activate_rest(struct sub *sub)
{
	struct member *member;

	for_each(member, &sub->members, sub_link) {
		const struct reader *reader;
		bool untold = false;

		for_each(reader, &member->readers, member_link)
			untold = untold || (reader->ring->pub && !reader->told);
		if (untold)
			activate(member);
	}
}

static void answer_ok(struct client *client, const struct ctl_head *request)
{
	struct ctl_ok ok = { .head = { .type = CTL_REPLY | request->type,
				       .version = CTL_VERSION,
				       .len = sizeof(ok),
				       .req = request->req } };

	client_ring_bells(client->busd);
	client_reply_after_events(client, &ok);
}

int sub_join(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_sub_join *join = msg;
	struct sub *sub = sub_of(client, join->sub_id, why);
	struct member *member;
	int rc;

	if (!sub)
		return -ENOENT;
	if (sub->active && client->retrying) {
		activate_rest(sub);
		answer_ok(client, &join->head);
		return 0;
	}
	if (sub->active)
		return because(why, EALREADY, "subscription %llu has joined already",
			       (unsigned long long)sub->id);
	rc = segment_seal(sub->seg, why);
	if (rc == 0)
		rc = segment_refill(sub->seg, why);
	if (rc == 0)
		rc = segment_publish(sub->seg, why);
	if (rc == 0)
		rc = segment_map_readonly(sub->seg, sub->seg->info.size, why);
	if (rc < 0) {
		log_warning("subscription \"%s\" of %s is discarded: %s", sub->pattern,
			    client_label(client), why->text);
		sub_free(sub);
		client_ring_bells(client->busd);
		return rc;
	}
	sub->active = true;
	record_sub(sub);
	for_each(member, &sub->members, sub_link) {
		board_put_sub(member);
		activate(member);
	}
	observe_cursors(sub);
	position_joined(sub);
	answer_ok(client, &join->head);
	return 0;
}

/* Those that were evicted, each from where busd finds its ring now. The others were never gone. */
static void take_back(struct member *member)
{
	struct reader *reader;

	change_begin(member->topic);
	for_each(reader, &member->readers, member_link) {
		if (!reader->evicted)
			continue;
		reader->evicted = false;
		if (reader->ring->pub) {
			reader->start = ring_head(reader->ring);
			change_add(reader, true);
		}
		record_reader(reader);
	}
	change_commit(member->topic);
}

int sub_rejoin(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_sub_join *join = msg;
	struct sub *sub = sub_of(client, join->sub_id, why);
	struct member *member;

	if (!sub)
		return -ENOENT;
	if (!sub->active)
		return because(why, EINVAL, "subscription %llu has not joined yet",
			       (unsigned long long)sub->id);
	for_each(member, &sub->members, sub_link) {
		if (member->topic->id != join->topic_id)
			continue;
		take_back(member);
		answer_ok(client, &join->head);
		return 0;
	}
	return because(why, ENOENT, "subscription %llu has no part in topic %llu",
		       (unsigned long long)sub->id, (unsigned long long)join->topic_id);
}

int sub_close(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_sub_close *close = msg;
	struct sub *sub = sub_of(client, close->sub_id, why);

	if (!sub && !client->retrying)
		return -ENOENT;
	if (sub)
		sub_free(sub);
	answer_ok(client, &close->head);
	return 0;
}

/* An entry is free again: rings that found none get it. */
static void feed(struct sub *sub)
{
	struct member *member;

	for_each(member, &sub->members, sub_link) {
		struct ring *ring;

		for_each(ring, &member->topic->rings, link) {
			struct reader *reader;
			bool has = false;

			for_each(reader, &member->readers, member_link)
				has = has || reader->ring == ring;
			if (has || !ring->pub || !stream_shows(ring, sub))
				continue;
			reader = reader_new(member, ring, ring_head(ring),
					    sub->active ? CTL_RING_FRESH : 0);
			if (!reader)
				return;
			if (!sub->active)
				continue;
			change_begin(member->topic);
			change_add(reader, reader_gates(reader));
			change_commit(member->topic);
		}
	}
	sub->starved = false; /* only now: those that still found none have been told of */
	record_sub(sub);
}

void sub_ring_done(struct client *client, uint64_t sub_id, uint64_t ring_id)
{
	struct why why;
	struct sub *sub = sub_of(client, sub_id, &why);
	struct ring *ring = idmap_get(&client->busd->rings_by_id, ring_id);
	struct reader *reader;

	if (!sub || !ring)
		return; /* taken away at the same moment */
	for_each(reader, &ring->readers, ring_link) {
		if (reader->member->sub != sub)
			continue;
		if (ring->pub && reader->told) {
			/*
			 * it does not want this publisher's messages: then it must not hold it up
			 * either
			 */
			change_begin(ring->topic);
			change_remove(reader);
			change_commit(ring->topic);
		}
		reader_free(reader, false);
		ring_settle(ring);
		if (sub->starved)
			feed(sub);
		break;
	}
	client_ring_bells(client->busd);
}

void sub_match_topic(struct topic *topic)
{
	struct why why;
	struct sub *sub;
	int rc;

	for_each(sub, &topic->busd->subs, link) {
		struct member *member;

		if (sub->client->doomed || !wants(sub, topic))
			continue;
		member = member_new(sub, topic, &rc, &why);
		if (!member && rc == -ENOMEM)
			client_doom(sub->client, "%s", why.text); /* it would never know */
		else if (!member)
			log_warning("subscription \"%s\" of %s does not get \"%s\": %s",
				    sub->pattern, client_label(sub->client), topic->name, why.text);
		else if (sub->active) {
			board_put_sub(member);
			observe_membership(member);
		}
	}
}

static bool takes_part(const struct sub *sub, const struct topic *topic)
{
	const struct member *member;

	for_each(member, &sub->members, sub_link)
		if (member->topic == topic)
			return true;
	return false;
}

void sub_match_again(struct sub *sub)
{
	struct busd *busd = sub->client->busd;
	struct why why;
	size_t i;
	int rc;

	for (i = 0; i < busd->topic_count; i++) {
		struct topic *topic = busd->topics[i];
		struct member *member;

		if (!wants(sub, topic) || takes_part(sub, topic))
			continue;
		member = member_new(sub, topic, &rc, &why);
		if (!member)
			log_warning("subscription \"%s\" of %s does not get \"%s\": %s",
				    sub->pattern, client_label(sub->client), topic->name, why.text);
		else if (sub->active)
			board_put_sub(member);
	}
	feed(sub);
}

void sub_announce_ring(struct ring *ring)
{
	uint64_t first = ring->seg->info.geometry.first_seq;
	struct member *member;

	for_each(member, &ring->topic->members, topic_link)
		if (stream_shows(ring, member->sub))
			reader_new(member, ring, first, member->sub->active ? CTL_RING_FRESH : 0);
}
