/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore.c - see restore.h. The journal is busd's own, so what it says is believed; but a client
 * may have gone half way, and a segment may be one whose writer tampered with it: what cannot be
 * restored is left out, with all that hangs on it.
 */
#include "restore.h"

#include "change.h"
#include "keep.h"
#include "log.h"
#include "namespace.h"
#include "record.h"
#include "resume.h"
#include "server.h"
#include "stream.h"

#include "format/topic_name.h"
#include "os/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A record's place, by number. All that are sorted begin with theirs. */
struct found {
	uint64_t id, place;
};

static int by_id(const void *a, const void *b)
{
	const struct found *one = a, *two = b;

	return one->id < two->id ? -1 : one->id > two->id;
}

/* All of a kind. How many, or -ENOMEM. */
static ssize_t find_all(struct busd *busd, enum record_kind kind, struct found **ret)
{
	struct found *found = NULL;
	size_t count = 0, room = 0;
	uint64_t at = 0;
	const void *body;

	while ((body = journal_next(&busd->journal, kind, &at))) {
		if (count == room) {
			struct found *larger =
				realloc(found, (room = room * 2 + 64) * sizeof(*found));

			if (!larger) {
				free(found);
				return -ENOMEM;
			}
			found = larger;
		}
		memcpy(&found[count].id, body, sizeof(found[count].id));
		found[count++].place = at;
	}
	if (count)
		qsort(found, count, sizeof(*found), by_id);
	*ret = found;
	return (ssize_t)count;
}

/* Runs for all of a kind in the order of their numbers. What is not restored is struck off. */
static int each(struct busd *busd, enum record_kind kind,
		bool (*restore)(struct busd *busd, const void *body, uint64_t place))
{
	struct found *found = NULL;
	ssize_t count = find_all(busd, kind, &found);
	ssize_t i;

	for (i = 0; i < count; i++) {
		union record_body body;

		/* an older version may have written less of it than we know: zeros */
		journal_read(&busd->journal, found[i].place, &body, sizeof(body));
		if (restore(busd, &body, found[i].place))
			continue;
		log_warning("left out of the former worker's registry: kind %d, number %llu", kind,
			    (unsigned long long)found[i].id);
		journal_drop(&busd->journal, &found[i].place);
	}
	free(found);
	return count < 0 ? (int)count : 0;
}

static struct segment *restore_segment(struct busd *busd, const struct record_segment *body,
				       uint64_t owner_id, struct namespace *space)
{
	struct segment *seg = segment_new(body->id);
	struct why why = { "" };
	struct user *user;

	if (!seg)
		return NULL;
	seg->rw_fd = keep_take(body->id);
	seg->held = seg->rw_fd >= 0;
	seg->info.kind = body->kind;
	seg->info.size = body->size;
	seg->info.entries = body->entries;
	seg->info.geometry = body->geometry;
	seg->own = body->published == RECORD_OWN;
	seg->info.owner_id = owner_id;
	seg->page = body->page;
	seg->made_seals = body->made_seals;
	seg->huge_refused = body->huge_refused;
	memcpy(seg->node_pages, body->node_pages, sizeof(seg->node_pages));
	if (body->charged) {
		user = user_get(busd, body->charged_uid);
		if (user) {
			seg->bill = (struct quota_bill){
				.account = &user->account,
				.space = space,
				/* its further pages are counted as they are found */
				.bytes = body->kind != CTL_SEG_BOARD ? body->charged_bytes
					 : body->size <= BOARD_SIZE
						 ? BOARD_HEAD
						 : BOARD_HEAD + body->size - BOARD_SIZE,
				.files = body->files
			};
			quota_restore(&seg->bill);
		}
	}
	if (seg->rw_fd >= 0 && segment_restore(seg, body->published, &why) == 0)
		return seg;
	log_warning("segment %llu is lost: %s", (unsigned long long)body->id,
		    seg->rw_fd < 0 ? "the keeper does not have it" : why.text);
	segment_unref(seg);
	return NULL;
}

static bool restore_user(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_user *body = record;
	struct user *user = user_get(busd, body->uid);

	if (!user)
		return false;
	user->busd_bell = restore_segment(busd, &body->bell, 0, NULL);
	if (!user->busd_bell)
		return false;
	user->busd_bell->info.uid = body->uid;
	user->place = place;
	return true;
}

/* What was within a limit stays, also where the limit is another now. */
static bool enter(struct client *client, struct namespace *space)
{
	struct namespace_limits limits;
	struct why why;
	int rc;

	if (!space || client_is_self(client))
		return true;
	limits = space->limits;
	space->limits.clients = 0;
	rc = namespace_enter(client, space, &why);
	space->limits = limits;
	return rc == 0;
}

/* Topics by number, while all is put together. */
static struct idmap topics;

static bool restore_topic(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_topic *body = record;
	struct user *user = user_get(busd, body->uid);
	struct topic *topic = calloc(1, sizeof(*topic));
	struct namespace *space = NULL;
	struct why why;

	if (!topic || !user || namespace_find(busd, body->name, &space, &why) < 0 ||
	    idmap_put(&topics, body->id, topic) < 0) {
		free(topic);
		return false;
	}
	topic->busd = busd;
	topic->id = body->id;
	topic->place = place;
	topic->settings = body->settings;
	topic->explicit_ = body->explicit_;
	topic->owed = body->owed;
	topic->created_ns = body->created_ns;
	topic->epoch = body->epoch;
	topic->first_node = body->first_node;
	topic->made_by = body->made_by;
	topic->made_req = body->made_req;
	topic->stream_bytes = body->stream_bytes;
	topic->stream_slots = body->stream_slots;
	topic->log = body->log;
	if (topic_is_stream(topic) && topic->log.sync == CTL_SYNC_DEFAULT)
		topic->log.sync = CTL_SYNC_MEMORY; /* by a worker that knew no others */
	memcpy(topic->uuid, body->uuid, sizeof(topic->uuid));
	topic->account = &user->account;
	topic->space = space;
	memcpy(topic->name, body->name, sizeof(topic->name));
	topic->removed = body->removed || stream_is_aside(topic);
	list_init(&topic->pubs);
	list_init(&topic->rings);
	list_init(&topic->members);
	topic->board.seg = restore_segment(busd, &body->board, 0, topic->space);
	if (topic->board.seg && topic_is_stream(topic) &&
	    stream_self(busd, (int)body->self_slot, &why) < 0) {
		log_warning("stream \"%s\": %s", body->name, why.text);
		segment_unref(topic->board.seg);
		topic->board.seg = NULL;
	}
	if (!topic->board.seg || (!topic->removed && topic_insert(topic) < 0)) {
		idmap_remove(&topics, body->id);
		segment_unref(topic->board.seg);
		free(topic);
		return false;
	}
	topic->board.seg->info.topic_id = topic->id;
	topic->board.seg->info.uid = body->uid;
	topic->account->topics++;
	space->topics++;
	return true;
}

static bool restore_client(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_client *body = record;
	struct user *user = user_get(busd, body->uid);
	struct client *client = user && user->busd_bell ? client_new(busd) : NULL;
	int pidfd = keep_take(body->id);

	if (!client || idmap_put(&busd->clients_by_id, body->id, client) < 0) {
		if (client) {
			list_remove(&client->link);
			busd->client_count--;
		}
		free(client);
		if (pidfd >= 0)
			close(pidfd);
		keep_drop(body->id);
		return false;
	}
	client->id = body->id;
	client->place = place;
	client->absent = true;
	busd->absent_count++;
	client->state = CLIENT_ATTACHED;
	client->left = body->left;
	client->begun_req = body->begun_req;
	memcpy(client->token, body->token, sizeof(client->token));
	client->user = user;
	client->slot = body->slot;
	user->slots[body->slot / 64] |= UINT64_C(1) << (body->slot % 64);
	client->pid = body->pid;
	client->uid = body->uid;
	client->gid = body->gid;
	client->node = body->node;
	client->versions =
		(struct client_versions){ .max = body->version_max, .min = body->version_min };
	client->connected_ns = body->connected_ns;
	memcpy(client->name, body->name, sizeof(client->name));
	memcpy(client->command, body->command, sizeof(client->command));
	if (pidfd >= 0 && server_watch(busd, &client->process, pidfd, EPOLLIN) < 0)
		client_doom(client, "busd cannot watch it");
	if (client->left)
		client_doom(client, NULL);
	return true;
}

static bool restore_groups(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_groups *body = record;
	struct client *client = idmap_get(&busd->clients_by_id, body->client_id);
	gid_t *groups;
	size_t i;

	for (i = 0; client && i < BUS_ARRAY_LEN(client->group_places); i++) {
		if (client->group_places[i])
			continue;
		groups = realloc(client->groups,
				 (client->group_count + body->count) * sizeof(*groups));
		if (!groups)
			return false;
		memcpy(groups + client->group_count, body->gid, body->count * sizeof(*groups));
		client->groups = groups;
		client->group_count += body->count;
		client->group_places[i] = place;
		return true;
	}
	return false;
}

static bool restore_observe(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_observe *body = record;
	struct client *client = idmap_get(&busd->clients_by_id, body->client_id);
	char *pattern;

	if (!client || client->observe_count == CLIENT_OBSERVE_MAX)
		return false;
	pattern = strdup(body->pattern);
	if (!pattern)
		return false;
	busd->observer_count += client->observe_count == 0;
	client->observe_places[client->observe_count] = place;
	client->observed[client->observe_count++] = pattern;
	return true;
}

static bool restore_bell(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_bell *body = record;
	struct client *client = idmap_get(&busd->clients_by_id, body->client_id);
	struct client_bell *bell = client ? calloc(1, sizeof(*bell)) : NULL;

	if (!bell)
		return false;
	bell->seg = restore_segment(busd, &body->seg, client->id, NULL);
	if (!bell->seg) {
		free(bell);
		return false;
	}
	bell->uid = body->uid;
	bell->seg->info.uid = body->uid;
	bell->place = place;
	bell->next = client->bells;
	client->bells = bell;
	return true;
}

static bool restore_pub(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_pub *body = record;
	struct client *client = idmap_get(&busd->clients_by_id, body->client_id);
	struct topic *topic = idmap_get(&topics, body->topic_id);
	struct pub *pub = client && topic ? calloc(1, sizeof(*pub)) : NULL;

	if (!pub || !enter(client, topic->space) || idmap_put(&busd->pubs_by_id, body->id, pub) < 0) {
		free(pub);
		return false;
	}
	pub->id = body->id;
	pub->place = place;
	pub->client = client;
	pub->topic = topic;
	pub->req = body->req;
	pub->line = body->line;
	pub->source = body->source;
	pub->settings = body->settings;
	BUS_NEXT(pub->label = body->label);
	memcpy(pub->name, body->name, sizeof(pub->name));
	if (!client_is_self(client))
		topic_pin(topic);
	list_init(&pub->topic_link);
	list_append(&client->pubs, &pub->client_link);
	client->pub_count++;
	return true;
}

/*
 * Is it what its publisher writes, what it is about to write, or neither? Of two on the board the later
 * one succeeds the other, and the worker died before it closed that (put_into_service in pub.c).
 */
static void give_to_pub(struct ring *ring, struct pub *pub)
{
	ring->pub = pub;
	if (!ring->on_board) {
		pub->pending = ring;
		return;
	}
	if (pub->ring) {
		pub->ring->pub = NULL;
		pub->ring->closed_ns = bus_monotonic_ns();
		record_ring(pub->ring);
	}
	pub->ring = ring;
	if (!ring->topic->removed && list_empty(&pub->topic_link) && !client_is_self(pub->client)) {
		list_append(&ring->topic->pubs, &pub->topic_link);
		ring->topic->pub_count++;
	}
}

static bool restore_ring(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_ring *body = record;
	struct topic *topic = idmap_get(&topics, body->topic_id);
	struct pub *pub = idmap_get(&busd->pubs_by_id, body->open_pub_id);
	struct ring *ring;
	struct segment *seg;

	if (!topic || (body->open_pub_id && !pub))
		return false;
	seg = restore_segment(busd, &body->seg, body->id, topic->space);
	ring = seg ? calloc(1, sizeof(*ring)) : NULL;
	if (!ring || idmap_put(&busd->rings_by_id, body->id, ring) < 0) {
		if (pub)
			client_doom(pub->client, "its ring on \"%s\" is lost", topic->name);
		segment_unref(seg);
		free(ring);
		return false;
	}
	seg->info.topic_id = topic->id;
	seg->info.uid = body->uid;
	ring->id = body->id;
	ring->place = place;
	ring->topic = topic;
	ring->seg = seg;
	ring->board_index = body->board_index;
	ring->on_board = body->on_board;
	ring->succeeds = body->succeeds;
	ring->req = body->req;
	ring->opened_ns = body->opened_ns;
	ring->closed_ns = body->closed_ns;
	ring->client_id = body->client_id;
	ring->pub_id = body->pub_id;
	ring->line = body->line;
	ring->pid = body->pid;
	ring->uid = body->uid;
	ring->source = body->source;
	memcpy(ring->name, body->name, sizeof(ring->name));
	BUS_NEXT(ring->label = body->label);
	list_init(&ring->link);
	list_init(&ring->readers);
	board_retake_ring(&topic->board, ring->board_index);
	topic->space->rings++;
	/* the older of two is there already */
	ring->prev = idmap_get(&busd->rings_by_id, body->prev_id);
	if (ring->prev)
		ring->prev->next = ring;
	if (ring->on_board) {
		list_append(&topic->rings, &ring->link);
		topic->ring_count++;
		busd->ring_count++;
	}
	if (pub)
		give_to_pub(ring, pub);
	return true;
}

static bool restore_sub(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_sub *body = record;
	struct client *client = idmap_get(&busd->clients_by_id, body->client_id);
	struct sub *sub = client ? calloc(1, sizeof(*sub)) : NULL;
	struct namespace *space = NULL;
	struct why why;

	if (sub && (namespace_find(busd, body->pattern, &space, &why) < 0 || !enter(client, space))) {
		free(sub);
		sub = NULL;
	}
	if (sub)
		sub->entry = calloc(body->entries, sizeof(struct reader *));
	if (sub && sub->entry)
		sub->seg = restore_segment(busd, &body->seg, body->id, space);
	if (!sub || !sub->seg || idmap_put(&busd->subs_by_id, body->id, sub) < 0) {
		if (client)
			client_doom(client, "its subscription \"%s\" is lost", body->pattern);
		if (sub) {
			segment_unref(sub->seg);
			free(sub->entry);
		}
		free(sub);
		return false;
	}
	sub->id = body->id;
	sub->place = place;
	sub->client = client;
	sub->space = space;
	memcpy(sub->pattern, body->pattern, sizeof(sub->pattern));
	memcpy(sub->name, body->name, sizeof(sub->name));
	memcpy(sub->durable, body->durable, sizeof(sub->durable));
	sub->wild = topic_is_wild(sub->pattern);
	sub->active = body->active;
	sub->starved = body->starved;
	sub->flags = body->flags;
	sub->start = body->start;
	sub->line = body->line;
	sub->req = body->req;
	sub->node = body->node;
	sub->opened_ns = body->opened_ns;
	sub->entries = body->entries;
	sub->seg->info.uid = client->uid;
	list_init(&sub->members);
	list_init(&sub->link);
	list_append(&client->subs, &sub->client_link);
	if (client_is_self(client))
		return true;
	list_append(&busd->subs, &sub->link);
	client->sub_count++;
	busd->sub_count++;
	return true;
}

static bool restore_member(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_member *body = record;
	struct topic *topic = idmap_get(&topics, body->topic_id);
	struct sub *sub = idmap_get(&busd->subs_by_id, body->sub_id);
	struct member *member = topic && sub ? calloc(1, sizeof(*member)) : NULL;

	if (!member)
		return false;
	member->topic = topic;
	member->sub = sub;
	member->place = place;
	member->board_index = body->board_index;
	member->evictions = body->evictions;
	member->has_board = body->has_board;
	board_retake_sub(&topic->board, member->board_index);
	list_init(&member->readers);
	list_append(&topic->members, &member->topic_link);
	list_append(&sub->members, &member->sub_link);
	topic->member_count++;
	return true;
}

static bool restore_reader(struct busd *busd, const void *record, uint64_t place)
{
	const struct record_reader *body = record;
	struct ring *ring = idmap_get(&busd->rings_by_id, body->ring_id);
	struct sub *sub = idmap_get(&busd->subs_by_id, body->sub_id);
	struct member *member;
	struct reader *reader;

	if (!ring || !sub || body->entry >= sub->entries || sub->entry[body->entry])
		return false;
	for_each(member, &sub->members, sub_link) {
		if (member->topic != ring->topic)
			continue;
		reader = calloc(1, sizeof(*reader));
		if (!reader)
			return false;
		reader->ring = ring;
		reader->member = member;
		reader->place = place;
		reader->entry = body->entry;
		reader->start = body->start;
		reader->flags = body->flags;
		reader->open = body->open && ring->pub;
		reader->told = body->told && ring->pub;
		reader->evicted = body->evicted;
		sub->entry[body->entry] = reader;
		list_append(&ring->readers, &reader->ring_link);
		list_append(&member->readers, &reader->member_link);
		return true;
	}
	return false;
}

bool restore_clocks(struct busd *busd)
{
	uint64_t at = 0;
	bool again = journal_next(&busd->journal, RECORD_BUSD, &at) != NULL;
	union record_body body;

	busd->next_id = journal_first_id(&busd->journal);
	if (!again)
		return false;
	journal_read(&busd->journal, at, &body, sizeof(body));
	busd->place = at;
	busd->started_ns = body.busd.started_ns;
	busd->evictions = body.busd.evictions;
	busd->instance = body.busd.instance;
	busd->calibrator = body.busd.calibrator;
	return true;
}

/*
 * Numbers go on beyond all that was ever sent. The epoch moves in any case, so that publishers look
 * and come back; that somebody's membership changed is said only where a change was under way, and
 * once they are back.
 */
static void restore_epoch(struct topic *topic)
{
	uint64_t seen = board_restore(topic);
	uint64_t number = bus_max_u64(seen, topic->epoch) + 2;

	topic->owed = topic->owed && !topic->removed; /* nobody waits for it any more */
	topic->epoch = topic->owed ? number + 1 : number;
	record_topic(topic);
	record_commit(topic->busd);
	board_calibrate(&topic->board, &topic->busd->calibrator.now);
	board_set_epoch(&topic->board, number, false);
}

int restore_all(struct busd *busd, struct why *why)
{
	static const struct {
		enum record_kind kind;
		bool (*restore)(struct busd *busd, const void *body, uint64_t place);
	} kinds[] = {
		{ RECORD_USER, restore_user },       { RECORD_TOPIC, restore_topic },
		{ RECORD_CLIENT, restore_client },   { RECORD_GROUPS, restore_groups },
		{ RECORD_OBSERVE, restore_observe }, { RECORD_BELL, restore_bell },
		{ RECORD_PUB, restore_pub },         { RECORD_RING, restore_ring },
		{ RECORD_SUB, restore_sub },         { RECORD_MEMBER, restore_member },
		{ RECORD_READER, restore_reader },
	};
	struct why reason = { "" };
	struct topic *topic;
	struct client *client;
	struct pub *pub;
	size_t i, at = 0;

	for (i = 0; i < BUS_ARRAY_LEN(kinds); i++)
		if (each(busd, kinds[i].kind, kinds[i].restore) < 0)
			return because(why, ENOMEM, "no memory to read the former worker's journal");
	while ((topic = idmap_next(&topics, &at)))
		restore_epoch(topic);
	for (at = 0; (topic = idmap_next(&topics, &at));)
		if (topic_is_stream(topic) && !stream_restart(topic, &reason))
			return because(why, EIO, "stream \"%s\" cannot go on: %s", topic->name,
				       reason.text);
	bus_fence_seq_cst();
	wake_barrier(); /* as in ring_end_open(), which the former worker may have begun */
	for (at = 0; (topic = idmap_next(&topics, &at));)
		topic_restore_end(topic);
	idmap_free(&topics);
	/* one whose ring did not come back */
	for_each(client, &busd->clients, link)
		for_each(pub, &client->pubs, client_link)
			if (!pub->ring && !pub->pending && !pub->topic->removed)
				pub_free(pub);
	keep_drop_rest();
	server_set_deadline(busd, TIMER_KEPT, bus_monotonic_ns() + busd->config->keep_time_ns);
	record_commit(busd);
	resume_begin(busd);
	client_ring_bells(busd);
	return 0;
}
