/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - see record.h */
#include "record.h"

#include <string.h>

#define PUT(busd, place, kind, body) \
	journal_put(&(busd)->journal, (place), (kind), &(body), sizeof(body))

static_assert(sizeof(struct record_user) % 8 == 0 && sizeof(struct record_topic) % 8 == 0 &&
		      sizeof(struct record_client) % 8 == 0 && sizeof(struct record_groups) % 8 == 0 &&
		      sizeof(struct record_observe) % 8 == 0 && sizeof(struct record_bell) % 8 == 0 &&
		      sizeof(struct record_pub) % 8 == 0 && sizeof(struct record_ring) % 8 == 0 &&
		      sizeof(struct record_sub) % 8 == 0 && sizeof(struct record_member) % 8 == 0 &&
		      sizeof(struct record_reader) % 8 == 0 && sizeof(struct record_busd) % 8 == 0,
	      "the journal is written by words");

static struct record_segment segment_body(const struct segment *seg)
{
	struct record_segment body = {
		.id = seg->info.segment_id,
		.size = seg->info.size,
		.charged_bytes = seg->bill.bytes,
		.kind = seg->info.kind,
		.entries = seg->info.entries,
		.charged = seg->bill.account != NULL,
		.charged_uid = seg->bill.account ? seg->bill.account->uid : 0,
		.files = seg->bill.files,
		.published = seg->ro_fd >= 0,
		.page = (uint32_t)seg->page,
		.made_seals = seg->made_seals,
		.huge_refused = seg->huge_refused,
		.geometry = seg->info.geometry,
	};

	memcpy(body.node_pages, seg->node_pages, sizeof(body.node_pages));
	return body;
}

void record_busd(struct busd *busd)
{
	struct record_busd body = { .started_ns = busd->started_ns,
				    .evictions = busd->evictions,
				    .instance = busd->instance,
				    .calibrator = busd->calibrator };

	PUT(busd, &busd->place, RECORD_BUSD, body);
}

void record_user(struct busd *busd, struct user *user)
{
	struct record_user body = { .uid = user->account.uid };

	if (!user->busd_bell) {
		journal_drop(&busd->journal, &user->place);
		return;
	}
	body.bell = segment_body(user->busd_bell);
	PUT(busd, &user->place, RECORD_USER, body);
}

void record_topic(struct topic *topic)
{
	struct record_topic body = {
		.id = topic->id,
		.created_ns = topic->created_ns,
		.epoch = topic->epoch,
		.made_by = topic->made_by,
		.settings = topic->settings,
		.explicit_ = topic->explicit_,
		.removed = topic->removed,
		.owed = topic->owed,
		.uid = topic->account->uid,
		.made_req = topic->made_req,
		.first_node = topic->first_node,
		.board = segment_body(topic->board.seg),
	};

	memcpy(body.name, topic->name, sizeof(body.name));
	PUT(topic->busd, &topic->place, RECORD_TOPIC, body);
}

static void record_groups(struct client *client)
{
	struct record_groups body;
	size_t from = 0;
	size_t i;

	for (i = 0; i < BUS_ARRAY_LEN(client->group_places); i++) {
		if (from >= client->group_count)
			return;
		memset(&body, 0, sizeof(body));
		body.client_id = client->id;
		while (body.count < RECORD_GROUPS_MAX && from < client->group_count)
			body.gid[body.count++] = client->groups[from++];
		PUT(client->busd, &client->group_places[i], RECORD_GROUPS, body);
	}
}

void record_client(struct client *client)
{
	struct record_client body = {
		.id = client->id,
		.connected_ns = client->connected_ns,
		.token = { client->token[0], client->token[1] },
		.slot = client->slot,
		.pid = client->pid,
		.uid = client->uid,
		.gid = client->gid,
		.begun_req = client->begun_req,
		.left = client->left,
		.node = client->node,
	};
	bool fresh = client->place == 0;

	memcpy(body.name, client->name, sizeof(body.name));
	memcpy(body.command, client->command, sizeof(body.command));
	PUT(client->busd, &client->place, RECORD_CLIENT, body);
	if (fresh)
		record_groups(client);
}

void record_client_left(struct client *client)
{
	client->left = true;
	record_client(client);
}

void record_client_gone(struct client *client)
{
	struct journal *journal = &client->busd->journal;
	struct client_bell *bell;
	size_t i;

	record_unobserve(client);
	for (bell = client->bells; bell; bell = bell->next)
		journal_drop(journal, &bell->place);
	for (i = 0; i < BUS_ARRAY_LEN(client->group_places); i++)
		journal_drop(journal, &client->group_places[i]);
	journal_drop(journal, &client->place);
}

void record_observe(struct client *client, uint32_t index)
{
	struct record_observe body = { .client_id = client->id };

	snprintf(body.pattern, sizeof(body.pattern), "%s", client->observed[index]);
	PUT(client->busd, &client->observe_places[index], RECORD_OBSERVE, body);
}

void record_unobserve(struct client *client)
{
	size_t i;

	for (i = 0; i < BUS_ARRAY_LEN(client->observe_places); i++)
		journal_drop(&client->busd->journal, &client->observe_places[i]);
}

void record_bell(struct client *client, struct client_bell *bell)
{
	struct record_bell body = { .client_id = client->id,
				    .uid = bell->uid,
				    .seg = segment_body(bell->seg) };

	PUT(client->busd, &bell->place, RECORD_BELL, body);
}

void record_pub(struct pub *pub)
{
	struct record_pub body = {
		.id = pub->id,
		.client_id = pub->client->id,
		.topic_id = pub->topic->id,
		.ring_id = pub->ring ? pub->ring->id : 0,
		.pending_id = pub->pending ? pub->pending->id : 0,
		.req = pub->req,
		.line = pub->line,
		.settings = pub->settings,
	};

	memcpy(body.name, pub->name, sizeof(body.name));
	PUT(pub->client->busd, &pub->place, RECORD_PUB, body);
}

void record_ring(struct ring *ring)
{
	struct record_ring body = {
		.id = ring->id,
		.topic_id = ring->topic->id,
		.open_pub_id = ring->pub ? ring->pub->id : 0,
		.next_id = ring->next ? ring->next->id : 0,
		.prev_id = ring->prev ? ring->prev->id : 0,
		.opened_ns = ring->opened_ns,
		.closed_ns = ring->closed_ns,
		.client_id = ring->client_id,
		.pub_id = ring->pub_id,
		.line = ring->line,
		.board_index = ring->board_index,
		.on_board = ring->on_board,
		.succeeds = ring->succeeds,
		.req = ring->req,
		.pid = ring->pid,
		.uid = ring->uid,
		.seg = segment_body(ring->seg),
	};

	memcpy(body.name, ring->name, sizeof(body.name));
	PUT(ring->topic->busd, &ring->place, RECORD_RING, body);
}

void record_sub(struct sub *sub)
{
	struct record_sub body = {
		.id = sub->id,
		.client_id = sub->client->id,
		.opened_ns = sub->opened_ns,
		.line = sub->line,
		.active = sub->active,
		.starved = sub->starved,
		.flags = sub->flags,
		.start = sub->start,
		.entries = sub->entries,
		.req = sub->req,
		.node = sub->node,
		.seg = segment_body(sub->seg),
	};

	memcpy(body.pattern, sub->pattern, sizeof(body.pattern));
	memcpy(body.name, sub->name, sizeof(body.name));
	PUT(sub->client->busd, &sub->place, RECORD_SUB, body);
}

void record_member(struct member *member)
{
	struct record_member body = {
		.topic_id = member->topic->id,
		.sub_id = member->sub->id,
		.evictions = member->evictions,
		.board_index = member->board_index,
		.has_board = member->has_board,
	};

	PUT(member->topic->busd, &member->place, RECORD_MEMBER, body);
}

void record_reader(struct reader *reader)
{
	struct record_reader body = {
		.ring_id = reader->ring->id,
		.sub_id = reader->member->sub->id,
		.start = reader->start,
		.entry = reader->entry,
		.open = reader->open,
		.told = reader->told,
		.evicted = reader->evicted,
		.flags = reader->flags,
	};

	PUT(reader->ring->topic->busd, &reader->place, RECORD_READER, body);
}
