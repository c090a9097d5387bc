/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - see record.h */
#include "record.h"

#include "keep.h"

#include "format/control_size.h"
#include "os/control_sock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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
		.published = seg->own ? RECORD_OWN : seg->ro_fd >= 0,
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
		.stream_bytes = topic->stream_bytes,
		.stream_slots = topic->stream_slots,
		.log = topic->log,
		.self_slot = topic->busd->self ? topic->busd->self->slot : 0,
	};

	memcpy(body.uuid, topic->uuid, sizeof(body.uuid));
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
		.version_max = client->versions.max,
		.version_min = client->versions.min,
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
	struct record_pub body = { .id = pub->id,
				   .client_id = pub->client->id,
				   .topic_id = pub->topic->id,
				   .ring_id = pub->ring ? pub->ring->id : 0,
				   .pending_id = pub->pending ? pub->pending->id : 0,
				   .req = pub->req,
				   .line = pub->line,
				   .settings = pub->settings,
				   .source = pub->source,
				   BUS_NEXT(.label = pub->label) };

	memcpy(body.name, pub->name, sizeof(body.name));
	PUT(pub->client->busd, &pub->place, RECORD_PUB, body);
}

void record_ring(struct ring *ring)
{
	struct record_ring body = { .id = ring->id,
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
				    .source = ring->source,
				    BUS_NEXT(.label = ring->label) };

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
	memcpy(body.durable, sub->durable, sizeof(body.durable));
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

/* ---- is all of it known? ---- */

static const uint16_t known_sizes[RECORD_KIND_COUNT] = {
	[RECORD_BUSD] = sizeof(struct record_busd),
	[RECORD_USER] = sizeof(struct record_user),
	[RECORD_TOPIC] = sizeof(struct record_topic),
	[RECORD_CLIENT] = sizeof(struct record_client),
	[RECORD_GROUPS] = sizeof(struct record_groups),
	[RECORD_OBSERVE] = sizeof(struct record_observe),
	[RECORD_BELL] = sizeof(struct record_bell),
	[RECORD_PUB] = sizeof(struct record_pub),
	[RECORD_RING] = sizeof(struct record_ring),
	[RECORD_SUB] = sizeof(struct record_sub),
	[RECORD_MEMBER] = sizeof(struct record_member),
	[RECORD_READER] = sizeof(struct record_reader),
};

static bool is_longer(const struct journal *journal, const void *body, uint64_t at)
{
	const uint8_t *byte = body;
	size_t i;

	for (i = known_sizes[journal_kind(journal, at)]; i < journal_room(journal, at); i++)
		if (byte[i])
			return true;
	return false;
}

static int check_client(const struct record_client *body, struct why *why)
{
	char ours[CONTROL_VERSIONS_TEXT], theirs[CONTROL_VERSIONS_TEXT];

	if (body->left || ctl_spoken(body->version_max, body->version_min))
		return 0;
	return because(why, EPROTONOSUPPORT,
		       "\"%.*s\" (pid %u) is attached by a library that speaks protocol version %s, and busd %s speaks %s: start "
		       "it anew with a library of this release first",
		       (int)sizeof(body->name), body->name[0] ? body->name : body->command,
		       body->pid, control_versions(body->version_min, body->version_max, theirs),
		       BUSD_VERSION, control_versions(CTL_VERSION_MIN, CTL_VERSION, ours));
}

/* The board's own word on what it is: it was made by another worker, perhaps of another version. */
static int check_board(const struct record_topic *body, struct why *why)
{
	size_t from = offsetof(struct board_head, magic);
	struct {
		uint64_t magic;
		uint32_t version, features;
	} board;

	static_assert(offsetof(struct board_head, version) == offsetof(struct board_head, magic) + 8 &&
			      offsetof(struct board_head, features) ==
				      offsetof(struct board_head, magic) + 12,
		      "read at once");
	if (pread(keep_look(body->board.id), &board, sizeof(board), (off_t)from) != sizeof(board) ||
	    board_known(board.magic, board.version, board.features))
		return 0; /* one that is lost is left out later */
	return because(
		why, EPROTONOSUPPORT,
		"the board of topic \"%.*s\" has version %u and features %#x, busd %s knows version %u and features %#x",
		(int)sizeof(body->name), body->name, board.version, board.features, BUSD_VERSION,
		BOARD_VERSION, BOARD_FEATURES_KNOWN);
}

static int check_one(const struct journal *journal, uint64_t at, struct why *why)
{
	uint32_t kind = journal_kind(journal, at);
	union record_body body;

	journal_read(journal, at, &body, known_sizes[kind]);
	switch (kind) {
	case RECORD_CLIENT:
		return check_client(&body.client, why);
	case RECORD_TOPIC:
		return check_board(&body.topic, why);
	case RECORD_RING:
		if ((body.ring.seg.geometry.features & ~RING_FEATURES_KNOWN) == 0)
			return 0;
		return because(why, EPROTONOSUPPORT,
			       "a ring of \"%.*s\" (pid %u) has features %#x, busd %s knows %#x",
			       (int)sizeof(body.ring.name), body.ring.name, body.ring.pid,
			       body.ring.seg.geometry.features, BUSD_VERSION, RING_FEATURES_KNOWN);
	default:
		return 0;
	}
}

int record_check(const struct busd *busd, struct why *why)
{
	const struct journal *journal = &busd->journal;
	uint64_t at = 0;
	const void *body;

	while ((body = journal_next(journal, 0, &at))) {
		uint32_t kind = journal_kind(journal, at);
		int rc;

		if (kind >= RECORD_KIND_COUNT)
			return because(
				why, E2BIG,
				"the former worker (busd %.*s) noted what busd %s does not know (records of kind %u)",
				(int)sizeof(journal->head->writer), journal->head->writer,
				BUSD_VERSION, kind);
		if (is_longer(journal, body, at))
			return because(
				why, E2BIG,
				"the former worker (busd %.*s) noted what busd %s does not know (more in a record of kind "
				"%u): something that is open uses what only the former version has",
				(int)sizeof(journal->head->writer), journal->head->writer,
				BUSD_VERSION, kind);
		rc = check_one(journal, at, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}
