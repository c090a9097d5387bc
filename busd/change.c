/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - see change.h */
#include "change.h"

#include "event.h"
#include "share.h"

uint64_t change_begin(struct topic *topic)
{
	return topic->epoch + 1;
}

static void tell(struct pub *pub, struct ctl_ev_member *msg)
{
	msg->head = (struct ctl_head){ .type = CTL_EV_MEMBER,
				       .version = CTL_VERSION,
				       .len = sizeof(*msg) };
	msg->pub_id = pub->id;
	msg->number = pub->topic->epoch + 1;
	pub->told = msg->number;
	event_push(pub->client, msg, NULL, false);
}

void change_add(struct reader *reader, bool gates)
{
	const struct sub *sub = reader->member->sub;
	struct ring *ring = reader->ring;
	struct client *publisher = ring->pub->client;
	struct ctl_ev_member msg = {
		.ring_id = ring->id,
		.op = CTL_MEMBER_ADD,
		.flags = gates ? CTL_MEMBER_GATES : 0,
		.sub_id = sub->id,
		.segment_id = sub->seg->info.segment_id,
		.start = reader->start,
		.entry = reader->entry,
		.bell_word = sub->client->slot,
		.client_id = sub->client->id,
		.uid = sub->client->uid,
	};

	if (!reader->told) {
		if (share_segment(publisher, sub->seg) < 0)
			return;
		share_peer(publisher, sub->client);
		reader->told = true;
	}
	tell(ring->pub, &msg);
}

void change_remove(struct reader *reader)
{
	struct ctl_ev_member msg = {
		.ring_id = reader->ring->id,
		.op = CTL_MEMBER_REMOVE,
		.sub_id = reader->member->sub->id,
		.client_id = reader->member->sub->client->id,
		.uid = reader->member->sub->client->uid,
	};

	if (!reader->told)
		return;
	tell(reader->ring->pub, &msg);
	unshare_segment(reader->ring->pub->client, reader->member->sub->seg);
	unshare_peer(reader->ring->pub->client, reader->member->sub->client);
	reader->told = false;
}

/*
 * Nothing changes for this publisher. Where its last queued message is of the same kind, that one takes the new number: a
 * publisher that sleeps for days while others come and go is owed one message, not thousands.
 */
static void tell_nothing(struct pub *pub)
{
	struct list *events = &pub->client->events;
	struct event *last = list_entry(events->prev, struct event, link);
	struct ctl_ev_member msg = { .op = CTL_MEMBER_NONE };

	if (!list_empty(events) && last->msg.head.type == CTL_EV_MEMBER &&
	    last->msg.member.op == CTL_MEMBER_NONE && last->msg.member.pub_id == pub->id) {
		last->msg.member.number = pub->topic->epoch + 1;
		pub->told = last->msg.member.number;
		client_bell_due(pub->client);
		return;
	}
	tell(pub, &msg);
}

void change_commit(struct topic *topic)
{
	uint64_t number = topic->epoch + 1;
	struct pub *pub;

	list_for_each(pub, &topic->pubs, topic_link) if (pub->told != number) tell_nothing(pub);
	client_send_due(topic->busd);
	topic->epoch = number;
	board_set_epoch(&topic->board, number);
	bus_fence_seq_cst(); /* F2 */
	/* the bells ring in client_ring_bells(), which every caller ends with */
}
