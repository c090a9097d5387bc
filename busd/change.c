/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - see change.h */
#include "change.h"

#include "event.h"
#include "record.h"
#include "resume.h"
#include "share.h"
#include "stream.h"

#include "os/wake.h"

uint64_t change_begin(struct topic *topic)
{
	return topic->epoch + 1;
}

/*
 * What is queued for a publisher and was not sent yet is kept short: one that sleeps for days
 * while subscriptions come and go is owed what is so now, not what was. An older message about
 * the same subscription may go, since until the publisher has the newer one it has not reached
 * the epoch; and an OP_NONE at the end takes the next number instead of being followed by
 * another.
 */
static struct event *last_for(const struct pub *pub)
{
	struct list *link;

	for (link = pub->client->events.prev; link != &pub->client->events; link = link->prev) {
		struct event *event = list_entry(link, struct event, link);

		if (event->msg.head.type == CTL_EV_MEMBER && event->msg.member.pub_id == pub->id)
			return event;
	}
	return NULL;
}

/* true: that was the first that it would have heard of the subscription. */
static bool drop_older(const struct pub *pub, uint64_t sub_id)
{
	struct event *event;
	bool first = false;

	for_each(event, &pub->client->events, link) {
		if (event->msg.head.type != CTL_EV_MEMBER || event->msg.member.pub_id != pub->id ||
		    event->msg.member.sub_id != sub_id)
			continue;
		first = first || event->introduces;
		event_cancel(event);
	}
	return first;
}

static struct event *push(struct pub *pub, struct ctl_ev_member *msg)
{
	msg->head = (struct ctl_head){ .type = CTL_EV_MEMBER,
				       .version = CTL_VERSION,
				       .len = sizeof(*msg) };
	msg->pub_id = pub->id;
	msg->number = pub->topic->epoch + 1;
	pub->told = msg->number;
	return event_push(pub->client, msg, NULL, false);
}

static void tell_nothing(struct pub *pub)
{
	struct event *last = last_for(pub);
	struct ctl_ev_member msg = { .op = CTL_MEMBER_NONE };

	if (!last || last->msg.member.op != CTL_MEMBER_NONE) {
		push(pub, &msg);
		return;
	}
	last->msg.member.number = pub->topic->epoch + 1;
	pub->told = last->msg.member.number;
	client_bell_due(pub->client);
}

struct ctl_ev_member change_describe(const struct reader *reader, bool gates)
{
	const struct sub *sub = reader->member->sub;

	return (struct ctl_ev_member){
		.ring_id = reader->ring->id,
		.op = CTL_MEMBER_ADD,
		.flags = gates ? CTL_MEMBER_GATES : 0,
		.sub_id = sub->id,
		.segment_id = sub->seg->info.segment_id,
		.start = reader->start,
		.entry = reader->entry,
		.bell_word = sub->client->slot,
		.client_id = sub->client->id,
		.uid = sub->client->uid,
		.line = sub->line,
	};
}

void change_add(struct reader *reader, bool gates)
{
	const struct sub *sub = reader->member->sub;
	struct ring *ring = reader->ring;
	struct client *publisher = ring->pub->client;
	struct ctl_ev_member msg = change_describe(reader, gates);
	bool introduces = drop_older(ring->pub, sub->id);
	struct event *event;

	if (client_is_self(publisher)) {
		stream_add_reader(reader);
		return;
	}
	if (!reader->told) {
		if (share_segment(publisher, sub->seg) < 0)
			return;
		share_peer(publisher, sub->client);
		reader->told = true;
		record_reader(reader);
		/* with a second ring the publisher knows its readers from the first */
		introduces = introduces || !ring->succeeds;
	}
	event = push(ring->pub, &msg);
	if (event)
		event->introduces = introduces;
}

void change_remove(struct reader *reader)
{
	struct pub *pub = reader->ring->pub;
	struct ctl_ev_member msg = {
		.ring_id = reader->ring->id,
		.op = CTL_MEMBER_REMOVE,
		.sub_id = reader->member->sub->id,
		.client_id = reader->member->sub->client->id,
		.uid = reader->member->sub->client->uid,
	};

	if (!reader->told)
		return;
	if (client_is_self(pub->client)) {
		stream_remove_reader(reader);
		reader->told = false;
		record_reader(reader);
		return;
	}
	if (drop_older(pub, msg.sub_id))
		tell_nothing(pub);
	else
		push(pub, &msg);
	unshare_segment(pub->client, reader->member->sub->seg);
	unshare_peer(pub->client, reader->member->sub->client);
	reader->told = false;
	record_reader(reader);
}

void change_commit(struct topic *topic)
{
	uint64_t number = topic->epoch + 1;
	struct pub *pub;

	for_each(pub, &topic->pubs, topic_link)
		if (pub->told != number)
			tell_nothing(pub);
	topic->epoch = number;
	topic->owed = true;
	record_topic(topic);
	record_commit(topic->busd);
	client_send_due(topic->busd);
	if (!resume_waits(topic))
		change_raise(topic);
}

void change_raise(struct topic *topic)
{
	board_set_epoch(&topic->board, topic->epoch, true);
	bus_fence_seq_cst(); /* F2 */
	/*
	 * A new subscriber that has no membarrier relies on publishers' fences, and theirs begin when
	 * they hear of it: until then this makes the epoch seen by whoever does not fence. And a
	 * ring that is ended may be closed from here on (ring_end_open()).
	 */
	wake_barrier();
	/*
	 * Only now is nothing owed any more, and not before this transaction is committed either: a
	 * worker that dies on the way leaves `owed` as change_commit() has committed it, and the next
	 * one raises the epoch once more, which costs its publishers a look. The other way round it
	 * would be lost: the epoch moves in any case (restore_epoch()), but without `changed` a
	 * publisher takes that for a call to come back, is content with the memberships that it has,
	 * and does not wait for the reader that it was sent a message about.
	 */
	topic->owed = false;
	record_topic(topic);
	/* the bells ring in client_ring_bells(), which every caller ends with */
}
